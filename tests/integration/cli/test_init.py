"""`rollout init`: a plan from what a number serves now, which passes `check`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rollout.adapters.planfile import load_plan
from rollout.interfaces.cli import init
from rollout.sandbox import Sandbox
from tests.support.inside import Inside
from tests.support.values import ONE, entry

THREE = "+14157774446"  # has outbound agents, too


def test_a_plan_is_written_that_check_accepts(inside: Inside, quiet: Sandbox) -> None:
    done = inside("init", ONE, "--holds", "30m,2h,2d", "--weights", "0.2,0.6,1", "--profile", "low-traffic")
    assert (done.code, done.out) == (0, "frontdesk-main-v8.yaml\n")
    assert "rollout check frontdesk-main-v8.yaml" in done.err
    plan = load_plan((inside.folder / "frontdesk-main-v8.yaml").read_text())
    assert plan.canary is not None and plan.canary.pair == ("agent_frontdesk", 8), "the newest published"
    assert plan.expected_baseline == [entry(6, 1.0)]
    assert [s.weight for s in plan.steps] == [0.2, 0.6, 1.0]
    assert plan.gates.profile == "low-traffic"
    checked = inside("check", "frontdesk-main-v8.yaml")
    assert checked.code == 0, checked.err
    assert quiet.log(method="PATCH") == []


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Somebody at the terminal who gives these answers; an empty one takes the proposal."""
    given: list[str] = []

    def prompt(question: str, default: str, err: bool) -> str:
        assert err, "questions must not end up in the plan"
        return given.pop(0) or default

    monkeypatch.setattr(init, "interactive", lambda: True)
    monkeypatch.setattr(init.typer, "prompt", prompt)
    yield given
    assert given == [], "not everything was asked"


def test_questions_are_asked_at_a_terminal(inside: Inside, answers: list[str]) -> None:
    answers += [THREE, "sms", "outbound", "7", "Clinic: night's v7", "0.5, 1", "1h, 1d", "none"]
    done = inside("init", "-o", "-")
    assert done.code == 0, done.err
    plan = load_plan(done.out)
    assert (plan.name, plan.numbers, list(plan.channels)) == ("Clinic: night's v7", (THREE,), ["outbound"])
    assert [s.weight for s in plan.steps] == [0.5, 1.0]
    assert "Clinic Evening" in done.err and "write one of: inbound, outbound" in done.err


def test_nobody_is_asked_with_yes(inside: Inside, answers: list[str]) -> None:
    assert inside("init", ONE, "--yes", "-o", "-").code == 0


def test_a_split_baseline_is_written_whole_and_what_cannot_be_said_exactly_is_left_out(
    inside: Inside, quiet: Sandbox
) -> None:
    quiet.edit(ONE, inbound_agents=[entry(6, 0.75), entry(7, 0.25)])
    done = inside("init", ONE, "--canary", "8", "-o", "-")
    assert load_plan(done.out).expected_baseline == [entry(6, 0.75), entry(7, 0.25)]
    quiet.edit(ONE, inbound_agents=[entry("prod", 1)])
    done = inside("init", ONE, "--canary", "8", "-o", "-")
    assert load_plan(done.out).expected_baseline is None
    assert "names the tag prod" in done.err


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ((), 2, "name a number: rollout init +14157774444 (3 in this account)"),
        (("+14157770000",), 2, "Retell does not know this number"),
        (("14157774444",), 2, "14157774444 is not a phone number; write it with its plus: +14157774444"),
        (("front",), 2, "front is not a phone number; write E.164"),
        ((ONE, "--channel", "outbound"), 2, "serves inbound, but not outbound"),
        ((ONE, "--canary", "prod"), 2, "is not a version"),
        ((ONE, "--canary", "9"), 3, "is a draft: publish it before you start"),
        ((ONE, "--canary", "99"), 3, "does not exist"),
        ((ONE, "--weights", "0.1,1"), 2, "one hold for each step"),
        ((ONE, "--weights", "0.1,0.5,1.2"), 2, "steps"),
        ((ONE, "--profile", "best"), 2, "not one of standard"),
        ((ONE, "-o", "absent/plan.yaml"), 2, "cannot be written"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    inside: Inside, args: tuple[str, ...], code: int, words: str
) -> None:
    done = inside("init", *args)
    assert (done.code, done.out) == (code, ""), done.err
    assert words in done.err
    assert list(inside.folder.glob("**/*.yaml")) == []


def test_a_file_is_not_written_over_unless_told_to(inside: Inside) -> None:
    inside.write("mine.yaml", "kept")
    assert inside("init", ONE, "-o", "mine.yaml").code == 2
    assert (inside.folder / "mine.yaml").read_text() == "kept"
    assert inside("init", ONE, "-o", "mine.yaml", "--force").code == 0
    assert load_plan((inside.folder / "mine.yaml").read_text()).name == "frontdesk-main-v8"


def test_a_number_without_agents_has_nothing_to_begin_with(inside: Inside, quiet: Sandbox) -> None:
    quiet.add_number("+12125550100")
    done = inside("init", "+12125550100")
    assert (done.code, done.out) == (2, "")
    assert "has no agent on any channel" in done.err


def test_a_service_that_is_away_is_said(inside: Inside) -> None:
    done = inside("init", ONE, ROLLOUT_RETELL_BASE_URL="http://127.0.0.1:1")
    assert (done.code, done.out) == (4, "")
