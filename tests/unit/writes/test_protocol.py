"""What to send, what a reading means, what became of a write: the tables behind P2, P5, P6 and P8."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.domain.lifecycle.state import Kind, Target, Write
from rollout.domain.writes.answers import Reading, Trouble
from rollout.domain.writes.protocol import (
    Finding,
    Settled,
    answers_with,
    body_of,
    examine_reading,
    is_ours,
    lists_at,
    others_of,
    settle,
    shows,
)
from tests.support import retreating
from tests.support.clock import START
from tests.support.values import FIELD, HORIZON, Shown, applied, confirmed, entry, only, plan, target, write

PLAN = plan()
FIRST, SECOND = lists_at(PLAN, only(6), 1), lists_at(PLAN, only(6), 2)
FOREIGN = {FIELD: [entry(7, 0.3), entry(6, 0.7)]}
BEFORE_THE_END = START + HORIZON - timedelta(seconds=1)
AFTER_THE_END = START + HORIZON

# ------------------------------------------------------------------ what to send


def test_a_body_names_the_plans_channels_and_nothing_else() -> None:
    two = plan(channels=["inbound", "outbound"])
    baseline = {FIELD: [entry(6)], "outbound_agents": [entry(5)]}
    body = body_of(lists_at(two, baseline, 1))
    assert json.loads(body) == {
        FIELD: [entry(7, 0.1), entry(6, 0.9)],
        "outbound_agents": [entry(7, 0.1), entry(5, 0.9)],
    }


def test_step_zero_is_the_baseline_verbatim() -> None:
    odd = {FIELD: [{**entry("prod", 0.33335), "note": "kept"}, entry(6, 0.66665)]}
    assert lists_at(PLAN, odd, 0) == odd
    assert json.loads(body_of(lists_at(PLAN, odd, 0))) == odd


def test_what_is_sent_is_not_shared_between_numbers() -> None:
    one, two = lists_at(PLAN, only(6), 1), lists_at(PLAN, only(6), 1)
    one[FIELD].append(entry(9))
    assert lists_at(PLAN, only(6), 1) == two


@pytest.mark.parametrize(
    ("shown", "same"),
    [
        ({FIELD: [entry(7, 0.1), entry(6, 0.9)]}, True),
        ({FIELD: [entry(6, 0.9), entry(7, 0.1)]}, True),
        ({FIELD: [entry("7", 0.1), entry(6, 0.9)]}, True),
        ({FIELD: [{**entry(7, 0.1), "new_field": 1}, entry(6, 0.9)]}, True),
        ({FIELD: [entry(7, 0.10000000000000002), entry(6, 0.9)]}, True),
        ({FIELD: [entry(7, 0.1), entry(6, 0.9)], "outbound_agents": [entry(1)]}, True),
        ({FIELD: [entry(7, 0.1001), entry(6, 0.8999)]}, False),
        ({FIELD: [entry(7, 0.1), entry(6, 0.9, "agent_other")]}, False),
        ({FIELD: [entry(7, 0.1)]}, False),
        ({FIELD: []}, False),
        ({FIELD: None}, False),
        ({}, False),
    ],
    ids=[
        "as-sent",
        "other-order",
        "version-as-text",
        "extra-field",
        "float-noise",
        "other-list",
        "a-point-off",
        "other-agent",
        "entry-missing",
        "empty",
        "null",
        "left-out",
    ],
)
def test_shows(shown: dict[str, Any], same: bool) -> None:
    assert shows(shown, FIRST) is same


def test_a_digest_of_the_rest_changes_with_what_is_not_ours_alone() -> None:
    def others(**lists: Any) -> str:
        return others_of(Reading("+1", lists, 1_000, "digest"), only(6))

    assert others(inbound_agents=[entry(7)]) == others(inbound_agents=[entry(6)], outbound_agents=None) == "digest"
    assert others(outbound_agents=[]) == "digest"
    texts = [
        others(outbound_agents=[entry(6)]),
        others(outbound_agents=[entry(7)]),
        others(inbound_sms_agents=[entry(6)]),
    ]
    assert len({"digest", *texts}) == 4
    assert others(outbound_agents=[entry(6)]) == texts[0]
    both = others(outbound_agents=[entry(6)], inbound_sms_agents=[entry(7)])
    assert both == others(inbound_sms_agents=[entry(7)], outbound_agents=[entry(6)]), "the order says nothing"


def test_a_number_shows_its_lists_only_if_it_shows_each_of_them() -> None:
    both = {**only(6), "outbound_agents": [entry(5)]}
    assert shows(both, both)
    assert not shows({**both, "outbound_agents": [entry(4)]}, both)
    assert not shows({**both, **only(4)}, both)


# ------------------------------------------------------------------ what a reading means

UNKNOWN = write(step=1)
CLOSED = applied(UNKNOWN, START)
SHORTENED = applied(UNKNOWN, START + timedelta(seconds=5))
AT_ZERO, AT_ONE = target(written=True), confirmed(step=1)

READINGS: list[tuple[str, Target, Shown, list[Write], datetime, Finding, str | None]] = [
    ("nothing moved", AT_ONE, Shown(FIRST), [], START, Finding.AS_EXPECTED, None),
    ("another field was changed", AT_ONE, Shown(FIRST, 1_001, "other"), [], START, Finding.OTHER_FIELDS, None),
    ("only the time stamp moved", AT_ONE, Shown(FIRST, 1_001), [], START, Finding.TOUCHED, None),
    ("older than known", AT_ONE, Shown(FIRST, 999), [], START, Finding.STALE, None),
    ("older than known, and different", AT_ONE, Shown(FOREIGN, 999), [], START, Finding.STALE, None),
    ("somebody else's split", AT_ONE, Shown(FOREIGN, 1_001), [], START, Finding.DRIFT, None),
    ("foreign without a newer time stamp", AT_ONE, Shown(FOREIGN), [], START, Finding.DRIFT, None),
    ("list taken away", AT_ONE, Shown({FIELD: None}, 1_001), [], START, Finding.DRIFT, None),
    ("list left out of the answer", AT_ONE, Shown({}, 1_001), [], START, Finding.DRIFT, None),
    ("the baseline is back", AT_ONE, Shown(only(6), 1_001), [], START, Finding.AT_BASELINE, None),
    ("an earlier step of ours", confirmed(step=2), Shown(FIRST, 1_001), [], START, Finding.LATE_OWN, None),
    ("our step on a number never written", target(), Shown(FIRST, 1_001), [], START, Finding.DRIFT, None),
    # an outcome that is not known
    ("it was applied", AT_ZERO, Shown(FIRST, 1_001), [UNKNOWN], START, Finding.APPLIED, "w1"),
    ("applied, seen after its horizon", AT_ZERO, Shown(FIRST, 1_001), [UNKNOWN], AFTER_THE_END, Finding.APPLIED, "w1"),
    ("it may still land", AT_ZERO, Shown(only(6)), [UNKNOWN], BEFORE_THE_END, Finding.PENDING, "w1"),
    ("it can land no more", AT_ZERO, Shown(only(6)), [UNKNOWN], AFTER_THE_END, Finding.NOT_APPLIED, "w1"),
    ("a foreign split while it may land", AT_ZERO, Shown(FOREIGN, 1_001), [UNKNOWN], START, Finding.DRIFT, None),
    # an outcome that is known, with its horizon open
    ("known, not over", AT_ONE, Shown(FIRST), [SHORTENED], START, Finding.PENDING, "w1"),
    ("known, over", AT_ONE, Shown(FIRST), [CLOSED], START, Finding.AS_EXPECTED, None),
]


@pytest.mark.parametrize(
    ("known", "shown", "writes", "began", "finding", "settles"),
    [case[1:] for case in READINGS],
    ids=[case[0].replace(" ", "-") for case in READINGS],
)
def test_a_reading(
    known: Target, shown: Shown, writes: list[Write], began: datetime, finding: Finding, settles: str | None
) -> None:
    examined = examine_reading(known, shown, writes, began, PLAN)
    assert examined.finding is finding
    assert (examined.write.id if examined.write else None) == settles


def test_of_two_writes_that_would_show_the_same_the_newer_one_is_settled() -> None:
    older, newer = write(id="old", at=START - timedelta(seconds=60)), write(id="new")
    examined = examine_reading(AT_ZERO, Shown(FIRST, 1_001), [older, newer], START, PLAN)
    assert (examined.finding, examined.write) == (Finding.APPLIED, newer)


def test_another_rollouts_write_on_other_channels_is_not_taken_for_ours() -> None:
    """It may be open on the same number after both have ended (seed 2400 of the simulation)."""
    elsewhere = {"outbound_agents": only(6)[FIELD]}
    theirs = replace(write(step=0, kind=Kind.BASELINE), lists=elsewhere)
    examined = examine_reading(AT_ONE, Shown({**FIRST, **elsewhere}, 1_001), [theirs], START, PLAN)
    assert examined.finding is Finding.PENDING


def test_not_applied_needs_every_horizon_to_be_over() -> None:
    older = write(id="old", at=START - timedelta(seconds=60))
    newer = write(id="new")
    between = older.horizon_until + timedelta(seconds=1)
    assert examine_reading(AT_ZERO, Shown(only(6)), [older, newer], between, PLAN).finding is Finding.PENDING
    assert examine_reading(AT_ZERO, Shown(only(6)), [older, newer], AFTER_THE_END, PLAN).finding is Finding.NOT_APPLIED


def test_a_write_that_changes_nothing_shows_itself_by_the_time_stamp_alone() -> None:
    again = write(step=0, kind=Kind.BASELINE)
    assert examine_reading(AT_ZERO, Shown(only(6)), [again], START, PLAN).finding is Finding.PENDING
    assert examine_reading(AT_ZERO, Shown(only(6), 1_001), [again], START, PLAN).finding is Finding.APPLIED


@pytest.mark.parametrize(("lists", "ours"), [(FIRST, True), (SECOND, True), (FOREIGN, False), (only(6), False)])
def test_is_ours(lists: dict[str, Any], ours: bool) -> None:
    assert is_ours(AT_ONE, lists, PLAN) is ours


# ------------------------------------------------------------------ what became of a write

OLD, NEW = Shown(only(6)), Shown(FIRST, 2_000)
NEWER_FOREIGN = Shown(FOREIGN, 3_000)
LISTLESS = Shown({}, 2_000)
NOW, EARLY = Shown(FIRST), Shown(FIRST, 999)

ENDINGS: list[tuple[str, dict[str, Any], Settled]] = [
    ("200 and read back", {"answer": NEW, "back": NEW}, Settled.APPLIED),
    ("200 without the list, read back", {"answer": LISTLESS, "back": NEW}, Settled.APPLIED),
    ("200 and no read-back", {"answer": NEW, "back": None}, Settled.ANSWERED),
    ("200 without the list and no read-back", {"answer": LISTLESS, "back": None}, Settled.UNKNOWN),
    ("200 that shows the old split", {"answer": Shown(only(6), 2_000), "back": None}, Settled.UNKNOWN),
    ("200 without a newer time stamp", {"answer": Shown(FIRST), "back": None}, Settled.UNKNOWN),
    ("200, and the read-back shows the old one", {"answer": NEW, "back": OLD}, Settled.UNKNOWN),
    ("200, and somebody else was quicker", {"answer": NEW, "back": NEWER_FOREIGN}, Settled.UNKNOWN),
    ("200, and the read-back is older than it", {"answer": NEW, "back": Shown(FIRST, 1_500)}, Settled.UNKNOWN),
    ("no answer, and it shows", {"answer": None, "back": NEW}, Settled.SEEN),
    ("no answer, and it does not show", {"answer": None, "back": OLD}, Settled.UNKNOWN),
    ("no answer, nothing read", {"answer": None, "back": None}, Settled.UNKNOWN),
    ("a definite no", {"answer": None, "trouble": Trouble.REJECTED}, Settled.REJECTED),
    ("a definite no, whatever is read", {"answer": None, "trouble": Trouble.REJECTED, "back": NEW}, Settled.REJECTED),
    ("it had changed", {"answer": None, "trouble": Trouble.CHANGED, "back": NEWER_FOREIGN}, Settled.CHANGED),
    ("it had changed, and it shows", {"answer": None, "trouble": Trouble.CHANGED, "back": NEW}, Settled.SEEN),
    ("it had changed, nothing read", {"answer": None, "trouble": Trouble.CHANGED}, Settled.CHANGED),
    ("equal readings without a newer time stamp", {"answer": NOW, "back": NOW, "agreed": True}, Settled.APPLIED),
    ("equal readings older than the answer", {"answer": NEW, "back": NOW, "agreed": True}, Settled.UNKNOWN),
    ("equal readings and no answer", {"answer": None, "back": Shown(FIRST, 999), "agreed": True}, Settled.UNKNOWN),
    ("older than before, though read back", {"answer": EARLY, "back": EARLY}, Settled.UNKNOWN),
    ("equal readings older than before", {"answer": EARLY, "back": EARLY, "agreed": True}, Settled.APPLIED),
    ("no byte left", {"answer": None, "trouble": Trouble.UNREACHABLE}, Settled.NOT_SENT),
]


@pytest.mark.parametrize(
    ("given", "settled"), [case[1:] for case in ENDINGS], ids=[case[0].replace(" ", "-") for case in ENDINGS]
)
def test_an_ending(given: dict[str, Any], settled: Settled) -> None:
    assert settle(FIRST, 1_000, changes=True, **given) is settled


@pytest.mark.parametrize(
    ("answer", "back", "settled"),
    [
        (OLD, OLD, Settled.APPLIED),  # a restore that changes nothing needs no newer time stamp
        (OLD, None, Settled.ANSWERED),
        (None, OLD, Settled.UNKNOWN),  # without an answer the old time stamp proves nothing
        (None, replace(OLD, modified=1_001), Settled.SEEN),
    ],
    ids=["answered-and-read", "answered", "not-answered", "not-answered-but-newer"],
)
def test_a_write_that_changes_nothing(answer: Shown | None, back: Shown | None, settled: Settled) -> None:
    assert settle(only(6), 1_000, changes=False, answer=answer, back=back) is settled


@pytest.mark.parametrize(
    ("modified", "changes", "definite"),
    [(2_000, True, True), (1_000, True, False), (1_000, False, True), (999, False, False)],
)
def test_an_answer_that_is_a_definite_success(modified: int, changes: bool, definite: bool) -> None:
    assert answers_with(FIRST, 1_000, Shown(FIRST, modified), changes=changes) is definite
    assert not answers_with(FIRST, 1_000, Shown(only(6), modified), changes=changes)


def test_the_retreat_split_is_one_of_ours() -> None:
    lists = lists_at(retreating.LOW, only(6), 2, 2000)
    assert is_ours(retreating.at(2), lists, retreating.LOW)
    assert not is_ours(confirmed(step=2), lists, plan())
    assert examine_reading(retreating.at(2), Shown(lists, 1_001), (), START, retreating.LOW).finding is Finding.LATE_OWN
    assert examine_reading(retreating.low(), Shown(lists), (), START, retreating.LOW).finding is Finding.AS_EXPECTED
