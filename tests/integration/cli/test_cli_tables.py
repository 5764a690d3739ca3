"""Tables for people: nothing is cut, whatever the width; and in a pipe one row is one line."""

from __future__ import annotations

import pytest

from rollout.interfaces.cli.screen import Table, table
from rollout.sandbox import Sandbox
from tests.support.command_line import CommandLine
from tests.support.plans import PLAN

NUMBER = "+14157774444"
NAME = "frontdesk-lobby-of-the-west-wing"
WIDTHS = (40, 80, 120)


@pytest.fixture
def id_(rollout: CommandLine) -> str:
    """A live rollout with a long name, and a token, in the folder's database."""
    rollout.write("plan.yaml", PLAN.replace("name: frontdesk-v7", f"name: {NAME}"))
    (rollout.folder / "plans").mkdir()
    rollout.write("plans/one.yaml", PLAN.replace("name: frontdesk-v7", f"name: {NAME}"))
    done = rollout("start", "plan.yaml")
    assert done.code == 0, done.err
    assert rollout("token", "create", "--role", "viewer", "--name", "the screen in the hall").code == 0
    return done.out.strip()


def commands(id_: str) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Every command with a table, and what must stand whole in its output."""
    return {
        "list": (("list",), (id_, "pending", NAME)),
        "show": (("show", id_), (id_, "pending", NUMBER)),
        "history": (("history", id_), ("created",)),
        "check": (("check", "plan.yaml"), (NUMBER,)),
        "doctor": (("doctor",), ("schema", "database")),
        "tokens": (("token", "list"), ("viewer", "usable")),
        "apply": (("apply", "plans", "--dry-run"), (id_, "running", "plans/one.yaml")),
        "rehearse": (("rehearse", "plan.yaml", "--calls-per-day", "50", "--runs", "20"), ("equal", "dead")),
    }


@pytest.mark.parametrize("command", sorted(commands("")))
def test_on_a_terminal_of_any_width_nothing_is_cut(rollout: CommandLine, id_: str, command: str) -> None:
    args, whole = commands(id_)[command]
    for width in WIDTHS:
        done = rollout.on_terminal(width, *args)
        words = done.out.split()
        for text in whole:
            assert set(text.split()) <= set(words), (width, text, done.out)
        too_long = [line for line in done.out.splitlines() if len(line) > width and " " in line.strip()]
        assert not too_long, (width, too_long)


@pytest.mark.parametrize("command", sorted(commands("")))
def test_in_a_pipe_a_row_is_a_line_whatever_the_width(rollout: CommandLine, id_: str, command: str) -> None:
    args, whole = commands(id_)[command]
    wide, narrow = (rollout(*args, COLUMNS=width) for width in ("1000", "40"))
    assert len(narrow.out.splitlines()) == len(wide.out.splitlines())
    for text in whole:
        assert any(text in line for line in narrow.out.splitlines()), narrow.out
    without = rollout("list", COLUMNS="")
    assert len(without.out.splitlines()) == 2, "a heading and a row"


@pytest.mark.parametrize("phase", ["progressing", "rolling_back", "held (rollback-impossible)"])
@pytest.mark.parametrize("width", WIDTHS)
def test_ids_and_phases_stay_on_the_first_line_of_a_row(phase: str, width: int) -> None:
    lines = drawn(_listed(phase), width)
    assert "k7m2xwq4nd" in lines[1]
    assert phase in lines[1]
    assert all(len(line) <= width for line in lines)
    assert " ".join(" ".join(lines).split()).count("about 40 more calls") == 1


def test_a_cell_with_line_ends_is_one_line() -> None:
    shown = table("id", "why", keys=("id",))
    shown.add_row("k7m2xwq4nd", "first\nsecond\tthird")
    assert drawn(shown, None) == ["id          why", "k7m2xwq4nd  first second third"]


def test_what_does_not_fit_follows_with_its_names() -> None:
    lines = drawn(_listed("progressing"), 40)
    assert lines[:2] == ["id          phase", "k7m2xwq4nd  progressing"]
    assert lines[2].startswith("  name: ")
    assert any("why: " in line for line in lines[2:])


def _listed(phase: str) -> Table:
    shown = table("id", "name", "phase", "at", "why", keys=("id", "phase"))
    shown.add_row("k7m2xwq4nd", NAME, phase, "1.2", "Not decided yet; about 40 more calls, Thursday afternoon")
    return shown


def drawn(shown: Table, width: int | None) -> list[str]:
    """Its lines on a terminal of this width; None: in a pipe."""
    import io

    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=width or 80, soft_wrap=width is None, markup=False).print(shown)
    return text.getvalue().splitlines()


# ------------------------------------------------------------------ outputs that are not UTF-8

ENCODINGS = ("iso-8859-1", "ascii", "cp1252", "koi8-r")
ODD = "Empfang \N{LATIN SMALL LETTER O WITH DIAERESIS} \N{CYRILLIC SMALL LETTER ZHE} \N{TELEPHONE RECEIVER}"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_output_that_is_not_utf8_shows_what_it_can(rollout: CommandLine, retell: Sandbox, encoding: str) -> None:
    retell.edit(NUMBER, nickname=ODD)
    rollout.write("plan.yaml", PLAN.replace("name: frontdesk-v7", f'name: "{ODD}"'))
    (rollout.folder / "plans").mkdir()
    rollout.write("plans/one.yaml", PLAN.replace("name: frontdesk-v7", f'name: "{ODD}"'))
    first = rollout("start", "plan.yaml", "--reason", ODD, encoding=encoding)
    assert first.code == 0, first.err
    id_ = first.out.strip()
    for args in (
        ("list",),
        ("show", id_),
        ("history", id_),
        ("check", "plan.yaml"),
        ("check", "plan.yaml", "--offline"),
        ("report", id_),
        ("replay", id_),
        ("doctor",),
        ("apply", "plans"),
        ("token", "list"),
        ("verify",),
        ("pause", id_, "--reason", ODD),
        ("rehearse", "plan.yaml", "--calls-per-day", "50", "--runs", "20"),
        ("init", NUMBER, "--yes", "-o", "-"),
        ("rollback", id_, "--reason", ODD),
    ):
        done = rollout(*args, encoding=encoding)
        assert "Traceback" not in done.err, (args, done.err)
        assert "unexpected" not in done.err, (args, done.err)
    wrong = rollout("show", ODD + "?", encoding=encoding)
    assert wrong.code == 2
    assert "there is no rollout Empfang" in wrong.err
    shown = rollout("show", id_, "--json", encoding=encoding)
    assert shown.out.isascii()
    assert shown.json["name"] == ODD


def test_half_a_character_fails_no_command(rollout: CommandLine) -> None:
    """A terminal's bytes that are no text come in as half a surrogate pair."""
    done = rollout("check", "no-\udce9-plan.yaml")
    assert (done.code, done.err) == (
        2,
        "rollout: no-?-plan.yaml: there is no such file; write another path, or - for standard input\n",
    )


def test_a_plan_from_standard_input_is_utf8_whatever_the_terminal_speaks(rollout: CommandLine) -> None:
    plan = PLAN.replace("name: frontdesk-v7", f'name: "{ODD}"')
    done = rollout("check", "-", "--offline", "--json", input=plan, encoding="iso-8859-1")
    assert done.json["name"] == ODD
