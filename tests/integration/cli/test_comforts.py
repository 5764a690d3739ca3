"""Completion, signs of life, plain output where nobody looks at a terminal, and several plans at once."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from rollout.interfaces.cli import progress, screen
from rollout.interfaces.cli.progress import waiting
from tests.support.inside import Inside
from tests.support.values import ONE, TWO

PLAN = """\
version: 1
name: {name}
numbers: ["{number}"]
channels: [inbound]
canary: {{agent_id: agent_frontdesk, agent_version: 7}}
steps:
  - {{weight: 1.0, hold: 30m}}
gates: {{profile: none}}
"""


def on(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> io.StringIO:
    """What goes to standard error, on a terminal or not."""
    text = io.StringIO()
    made = Console(file=text, force_terminal=terminal, width=100, highlight=False, markup=False)
    monkeypatch.setattr(screen, "console", lambda stderr=False: made)
    return text


def test_what_is_quick_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = on(monkeypatch, terminal=True)
    with waiting("reading 300 numbers", after=5):
        pass
    assert text.getvalue() == ""


def test_what_takes_long_says_so_in_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = on(monkeypatch, terminal=False)
    with waiting("reading 300 numbers", after=0.02, again=0.02) as say:
        until(text, "reading 300 numbers ...\n")
        say("comparing")
        until(text, "comparing ...\n")
    assert "\x1b" not in text.getvalue()


def test_on_a_terminal_it_is_a_spinner_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    text = on(monkeypatch, terminal=True)
    with waiting("reading 300 numbers", after=0.02):
        until(text, "reading 300 numbers")
    assert text.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")  # the cursor is back, the line is gone


def test_an_error_ends_the_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    text = on(monkeypatch, terminal=False)
    with pytest.raises(ValueError, match="broken"), waiting("reading", after=0.01, again=0.01):
        until(text, "reading")
        raise ValueError("broken")
    said = text.getvalue()
    time.sleep(0.05)
    assert text.getvalue() == said


def until(text: io.StringIO, words: str) -> None:
    end = time.monotonic() + 5
    while words not in text.getvalue():
        assert time.monotonic() < end, text.getvalue()
        time.sleep(0.01)


def test_two_seconds_is_when_people_begin_to_wonder() -> None:
    assert progress.AFTER == 2.0


def test_several_plans_are_checked_and_every_complaint_is_said(inside: Inside) -> None:
    good = inside.write("good.yaml", PLAN.format(name="good", number=ONE))
    other = inside.write("other.yaml", PLAN.format(name="other", number=TWO))
    done = inside("check", "--offline", "--json", good, other)
    assert (done.code, [r["name"] for r in done.json]) == (0, ["good", "other"])
    assert inside("check", "--offline", "--json", good).json["name"] == "good"

    first = inside.write("first.yaml", "version: 1\nnumbers: [1]\n")
    second = inside.write("second.yaml", "version: 2\n")
    done = inside("check", "--offline", first, good, second)
    assert done.code == 2
    assert "first.yaml:" in done.err and "second.yaml:" in done.err and "2 of 3 plans are not valid" in done.err
    assert "plan good" in done.out

    live = inside("check", good, other)
    assert (live.code, live.out.count("ok: nothing was written")) == (0, 2)


def test_a_wrong_plan_is_said_before_a_database_that_is_away(inside: Inside) -> None:
    wrong = inside.write("wrong.yaml", "version: 2\n")
    away = {"ROLLOUT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}
    assert inside("check", wrong, **away).code == 2


def test_output_is_plain_where_there_is_no_terminal(inside: Inside) -> None:
    good = inside.write("good.yaml", PLAN.format(name="good", number=ONE))
    for args in (("check", good), ("start", good), ("list",), ("show", "good"), ("history", "good"), ("doctor",)):
        done = inside(*args)
        assert "\x1b" not in done.out + done.err, args


def test_no_color_is_honoured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed() -> str:
        screen.console.cache_clear()
        text = io.StringIO()
        out = screen.console()
        out.file = text
        shown = screen.table("phase", keys=("phase",))
        shown.add_row("promoted", style="green")
        out.print(shown)
        out.print("refused", style="red")
        return text.getvalue()

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31m" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed()
    screen.console.cache_clear()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(inside: Inside, shell: str) -> None:
    asked = {
        "bash": {"COMP_WORDS": "rollout ro", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "rollout ro"},
        "fish": {"_TYPER_COMPLETE_ARGS": "rollout ro", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    done = inside(_ROLLOUT_COMPLETE=f"complete_{shell}", **asked)
    assert "rollback" in done.out, done.err


def test_completion_can_be_installed(inside: Inside) -> None:
    # The shell is given: typer asks the processes above, and where a service manager runs this there is none.
    done = inside("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert (done.code, "complete -o default -F _rollout_completion rollout" in done.out) == (0, True)
