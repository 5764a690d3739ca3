"""How values read: shares, times, splits, and text that would turn or hide."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import pytest

from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.lifecycle.machine import HeldReason, Phase
from rollout.domain.lifecycle.state import TargetState
from rollout.interfaces.cli import screen
from rollout.interfaces.dashboard import actions, buttons, formatting
from rollout.interfaces.dashboard.formatting import NO_BREAK
from rollout.interfaces.views import value_text
from rollout.interfaces.views.listing import PHASE_ORDER
from tests.support.clock import START
from tests.support.values import entry


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.1, "10\u00a0%"), (0.125, "12.5\u00a0%"), (1, "100\u00a0%"), (0.0001, "0.01\u00a0%"), (None, "–")],
)
def test_percent(share: float | None, text: str) -> None:
    assert formatting.percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (45, "45 s"),
        (60, "1 min"),
        (150, "2 min 30 s"),
        (5400, "1 h 30 min"),
        (90_000, "1 d 1 h"),
        (15 * 86_400, "15 d"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text


def test_from_now_says_which_way() -> None:
    assert formatting.from_now(START + timedelta(minutes=4), START) == "in 4 min"
    assert formatting.from_now(START - timedelta(hours=2), START) == "2 h ago"
    assert formatting.from_now(START, START) == "now"
    assert formatting.from_now(None, START) == "–"


def test_times_are_in_utc() -> None:
    assert formatting.clock_text(START) == "2 Nov 17:00:00 UTC"
    assert formatting.parse_time("2026-11-02T17:00:00Z") == START


def test_a_split_names_its_agent_once() -> None:
    assert formatting.split_text([entry(7, 0.1), entry(6, 0.9)]) == "agent_frontdesk: 10~%~v7, 90~%~v6".replace(
        "~", NO_BREAK
    )
    assert formatting.split_text([entry(6)]) == f"100{NO_BREAK}% agent_frontdesk v6"
    other = entry(1, 0.5, agent="agent_b")
    two = "50~% agent_frontdesk v7, 50~% agent_b v1".replace("~", NO_BREAK)
    assert formatting.split_text([entry(7, 0.5), other]) == two
    assert formatting.split_text(None) == "nothing bound"


def test_channels_are_named_when_there_are_several() -> None:
    lists = {"inbound_agents": [entry(6)], "outbound_sms_agents": None}
    text = f"inbound: 100{NO_BREAK}% agent_frontdesk v6; outbound sms: nothing bound"
    assert formatting.lists_text(lists) == text
    assert formatting.lists_text(None) == "–"


def test_characters_that_hide_or_turn_text_are_seen() -> None:
    assert value_text.visible("a\u202eb\u200bc\x1b[31m\n") == "a\ufffdb\ufffdc\ufffd[31m\n"


def test_evidence_in_as_many_digits_as_it_is_worth() -> None:
    assert [formatting.evidence(e) for e in (0.43, 6.12, 76.4, 25_679.0)] == ["0.43", "6.1", "76", "over 1000"]


def test_actors_are_people() -> None:
    assert value_text.actor_name("token:ab12:Maria: night") == "Maria: night"
    assert value_text.actor_name("cli:noor") == "noor"
    assert value_text.actor_name("service") == "service"


STYLES = (Path(formatting.__file__).parent / "static" / "page.css").read_text()


@pytest.mark.parametrize(
    ("of", "have"),
    [
        (Phase, formatting.PHASES),
        (TargetState, formatting.TARGETS),
        (HeldReason, formatting.HELD),
        (GateOutcome, formatting.VERDICTS),
        (Phase, screen.PHASES),
        (Phase, PHASE_ORDER),
    ],
)
def test_every_state_phase_reason_and_verdict_has_words_and_no_other_word_has(
    of: type[StrEnum], have: Collection[str]
) -> None:
    assert len(have) == len(of) and set(have) == set(of)


def test_every_command_of_the_page_says_what_it_did() -> None:
    assert set(actions.DONE) == {*buttons.EVENTS, "start"}


def test_every_tone_is_in_the_style_sheet_and_every_word_is_its_own() -> None:
    tones = {tone for *_, tone in (*formatting.PHASES.values(), *formatting.TARGETS.values())}
    assert {
        tone for tone in tones - {"quiet"} if f".badge.{tone}" not in STYLES
    } == set()  # quiet is a badge's own tone
    for have in (formatting.PHASES, formatting.TARGETS):
        assert len({said[0] for said in have.values()}) == len(have)
