"""Calls as seen: one row each, corrected in place, whatever comes late, twice or out of order."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.adapters.store import gate_records, key_values, observations
from rollout.adapters.store.repository import Store
from rollout.domain.calls import CallDetails, CallRecord, FetchMark
from rollout.domain.gates.verdict import StoredLook
from tests.support.clock import START
from tests.support.values import AGENT, ONE, TWO, said

MINUTE = timedelta(minutes=1)


def call(id: str = "c1", at: datetime | None = START, **changes: Any) -> CallRecord:  # noqa: A002 - the field's name
    """A call that has been taken and is still going on."""
    return replace(CallRecord(id, AGENT, 7, ONE, "inbound", at, None, "ongoing"), **changes)


ENDED: dict[str, Any] = {
    "status": "ended",
    "ended_at": START + MINUTE,
    "disconnection_reason": "user_hangup",
    "e2e_p50_ms": 812.5,
    "figures": {"cost": 12.5},
}
JUDGED: dict[str, Any] = {
    **ENDED,
    "successful": False,
    "sentiment": "Negative",
    "in_voicemail": False,
    "custom": {"booked": True, "score": 4.0, "mood": "calm"},
    "analyzed": True,
    "figures": {"cost": 12.5, "llm_p90": 900.0},
    "details": CallDetails(False, {"book": None, "pay": True}),
}


def kept(store: Store, *numbers: str, since: datetime = START, until: datetime | None = None) -> list[CallRecord]:
    with store.database.read() as connection:
        return observations.calls(connection, numbers or (ONE,), ["inbound"], since, until)


def test_a_call_comes_back_as_it_was_reported(store: Store) -> None:
    assert store.calls.observe([call(**JUDGED)]) == 1
    assert kept(store) == [call(**JUDGED)]


def test_a_call_is_corrected_in_place_as_it_goes_on(store: Store) -> None:
    for later in (call(), call(**ENDED), call(**JUDGED)):
        assert store.calls.observe([later]) == 1
    assert kept(store) == [call(**JUDGED)]


def test_the_same_report_again_changes_nothing(store: Store) -> None:
    store.calls.observe([call(**JUDGED)])
    assert store.calls.observe([call(**JUDGED)]) == 0
    assert store.calls.observe([call(**JUDGED), call(**JUDGED)]) == 0
    assert len(kept(store)) == 1


@pytest.mark.parametrize("older", [call(), call(**ENDED)], ids=["begun", "ended"])
def test_a_result_is_never_lost_to_an_older_report(store: Store, older: CallRecord) -> None:
    store.calls.observe([call(**JUDGED)])
    assert store.calls.observe([older]) == 0
    assert kept(store) == [call(**JUDGED)]


def test_a_changed_result_is_taken_over(store: Store) -> None:
    """The analysis was run again: what it says now is what counts."""
    store.calls.observe([call(**JUDGED)])
    again = call(**{**JUDGED, "successful": True, "sentiment": "Positive", "custom": {"paid": False}})
    assert store.calls.observe([again]) == 1
    assert kept(store) == [replace(again, custom={**JUDGED["custom"], "paid": False})]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_the_order_of_reports_does_not_matter(store: Store, order: tuple[int, ...]) -> None:
    reports = [call(), call(**ENDED), call(**JUDGED)]
    for i in order:
        store.calls.observe([reports[i]])
    assert kept(store) == [call(**JUDGED)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_nor_does_it_within_one_batch(store: Store, order: tuple[int, ...]) -> None:
    reports = (call(), call(**ENDED), call(**JUDGED))
    store.calls.observe([reports[i] for i in order])
    assert kept(store) == [call(**JUDGED)]


def test_of_two_reports_in_one_batch_the_later_counts(store: Store) -> None:
    store.calls.observe([call(), call(**ENDED)])
    assert kept(store) == [call(**ENDED)]


def test_ended_phone_calls_are_read_themselves_once_those_that_ended_first_in_front(store: Store) -> None:
    store.calls.observe(
        [
            call("second", **{**ENDED, "ended_at": START + 2 * MINUTE}),
            call("first", **ENDED),
            call("too_old", **{**ENDED, "ended_at": START - MINUTE}),
            call("going_on"),
            call("known", **JUDGED),
            call("nobody", **{**ENDED, "status": "not_connected"}),
            call("others", **{**ENDED, "agent_version": 5}),
            call("elsewhere", **{**ENDED, "number": TWO}),
            call("sms", **{**ENDED, "channel": "inbound_sms"}),
        ]
    )
    assert store.calls.without_details([ONE], [(AGENT, 7)], START, 9) == ["first", "second"]
    assert store.calls.without_details([ONE], [(AGENT, 7)], START, 1) == ["first"]
    store.calls.keep_details({"first": CallDetails(True, {"book": False}), "second": CallDetails()})
    assert store.calls.without_details([ONE], [(AGENT, 7)], START, 9) == []
    found = {c.call_id: c.details for c in kept(store)}
    assert (found["first"], found["second"]) == (CallDetails(True, {"book": False}), CallDetails())


def test_calls_are_listed_by_number_channel_and_start(store: Store) -> None:
    store.calls.observe(
        [
            call("late", START + MINUTE),
            call("early", START),
            call("before", START - MINUTE),
            call("other", number=TWO),
            call("sms", channel="inbound_sms"),
            call("unstarted", None),
        ]
    )
    assert [c.call_id for c in kept(store)] == ["early", "late"]
    assert [c.call_id for c in kept(store, ONE, TWO, until=START + MINUTE)] == ["early", "other"]


def test_many_calls_at_once(store: Store) -> None:
    calls = [call(f"c{i:04d}", START + i * timedelta(seconds=1)) for i in range(1_200)]
    assert store.calls.observe(calls) == 1_200
    assert store.calls.observe([replace(c, status="ended") for c in calls]) == 1_200
    assert [c.call_id for c in kept(store)] == [c.call_id for c in calls]
    assert store.calls.observe([]) == 0


def test_a_long_reason_is_cut_and_not_refused(store: Store) -> None:
    store.calls.observe([call(status="s" * 200, disconnection_reason="r" * 200, sentiment="x" * 200)])
    assert kept(store)[0].disconnection_reason == "r" * 80


def test_marks_say_how_far_calls_were_fetched(store: Store) -> None:
    mark = FetchMark(ONE, "inbound", START, START + MINUTE)
    store.calls.mark(mark)
    store.calls.mark(replace(mark, since=START + MINUTE))
    assert store.calls.marks([ONE, TWO]) == {(ONE, "inbound"): replace(mark, since=START + MINUTE)}


def test_trouble_is_kept_from_its_beginning_and_ends_with_a_fetch(store: Store) -> None:
    store.calls.mark(FetchMark(ONE, "inbound", START, START))
    store.calls.mark_trouble(ONE, "inbound", START - MINUTE, "Retell is down")
    first = store.calls.marks([ONE])[ONE, "inbound"]
    store.calls.mark_trouble(ONE, "inbound", START - MINUTE, "still down")
    again = store.calls.marks([ONE])[ONE, "inbound"]
    assert (again.trouble, again.trouble_since, again.since) == ("still down", first.trouble_since, START)
    store.calls.mark(FetchMark(ONE, "inbound", START, START))
    assert store.calls.marks([ONE])[ONE, "inbound"].trouble_since is None


def test_looks_are_numbered_per_rollout(store: Store) -> None:
    with store.database.write() as connection:
        for id_ in ("r1", "r2", "r1"):
            gate_records.keep_look(connection, id_, START, (1, 2), said("undecided"))
        assert gate_records.looks_of(connection, "r1") == [StoredLook(n, START, said("undecided")) for n in (1, 2)]


def test_what_was_fixed_stays(store: Store) -> None:
    with store.database.write() as connection:
        assert key_values.value_of(connection, "slow:r1") is None
        key_values.set_once(connection, "slow:r1", "[1, 2]")
        key_values.set_once(connection, "slow:r1", "[3, 4]")
        assert key_values.value_of(connection, "slow:r1") == "[1, 2]"
