"""Recording: what a driver and a command may write, what is refused, and that refused means nothing happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollout.adapters.store import repository
from rollout.adapters.store.repository import Store
from rollout.adapters.store.requests import first_answer, remember
from rollout.domain.decide.actions import Wait
from rollout.domain.errors import ClaimLost, Refused, UnknownRollout
from rollout.domain.lifecycle.changes import Change, WriteResult
from rollout.domain.lifecycle.entries import PreflightSummary
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import JournalEntry, Request
from rollout.domain.lifecycle.started import NO_FINDINGS, StartedRollout
from rollout.domain.lifecycle.state import Kind, Position, Rollout, TargetState, WriteOutcome
from rollout.engine.ports import CommandEffect, NumberOwner
from tests.support.hand import LEASE, Hand, stale
from tests.support.values import ONE, TWO, confirmed, created, plan, rollout, target, write

NOTE = JournalEntry("noted", "service", "for a test", {"of": "interest"})
BY = JournalEntry("pause", "cli:me", "a person")


def pause(found: Rollout, now: Any) -> CommandEffect:
    return Change(rollout={"phase": Phase.PAUSED}), BY, "paused by a person"


# ------------------------------------------------------------------ create and load


def test_a_rollout_comes_back_as_it_was_recorded(store: Store, hand: Hand, open_store: Callable[[], Store]) -> None:
    odd = {
        "inbound_agents": [{"agent_id": "agent_ö", "agent_version": "prod", "weight": 0.33335}],
        "outbound_agents": None,
    }
    targets = (target(baseline=odd, split=odd), confirmed(TWO, ord=1, wave=2, live=odd, live_at=store.now()))
    hand.create("r1", *targets, plan=plan((ONE, TWO), waves=[1]), seed=2**40, created_by="cli:me")
    found, now = open_store().load("r1")  # not what this store remembers of it
    expected = rollout(phase=Phase.PENDING, started_at=None, plan=plan((ONE, TWO), waves=[1]))
    assert found.targets == targets
    assert found.plan == expected.plan
    assert (found.seed, found.created_by, found.position) == (2**40, "cli:me", Position(1, 1))
    assert found.created_at <= now


def test_an_unknown_id_is_said_to_be_unknown(store: Store) -> None:
    held = Hand(store)
    for ask in (store.load, store.history, store.phase):
        with pytest.raises(UnknownRollout, match="there is no rollout nothing; `rollout list` shows them"):
            ask("nothing")
    with pytest.raises(UnknownRollout):
        store.change("nothing", pause)
    held.create()
    with pytest.raises(UnknownRollout):
        store.commit(replace(held.claim(), rollout_id="nothing"), Change(), [NOTE])


def test_summaries_are_newest_first_and_can_be_paged(store: Store, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    phases = (Phase.PROGRESSING, Phase.PROMOTED, Phase.HELD)
    for i, phase in enumerate(phases):
        hand.create(f"r{i}", target(f"+1415777000{i}"), phase=phase)
    assert [r.id for r in store.summaries()] == ["r2", "r1", "r0"]
    assert [r.id for r in store.summaries(live=True)] == ["r2", "r0"]
    assert [r.id for r in store.summaries(live=False)] == ["r1"]
    first = store.summaries(limit=2)[-1]
    assert [r.id for r in store.summaries(before=(first.created_at, first.id))] == ["r0"]
    assert [r.id for r in store.summaries(limit=None)] == ["r2", "r1", "r0"]
    for page in (1, 2, 3, 500):
        monkeypatch.setattr(repository, "PAGE", page)
        assert [r.id for r in store.every_summary()] == ["r2", "r1", "r0"]
        assert [r.id for r in store.every_summary(live=True)] == ["r2", "r0"]
        assert [r.id for r in store.every_summary(name=first.name)] == [first.id]
        for most in range(5):
            assert [r.id for r in store.every_summary(limit=most)] == ["r2", "r1", "r0"][:most]


# ------------------------------------------------------------------ one live rollout per number


def test_a_number_has_one_live_rollout(store: Store, hand: Hand) -> None:
    hand.create("r1")
    with pytest.raises(Refused, match="already driven by another live rollout"):
        hand.create("r2", target(TWO), target(ONE, ord=1))
    with pytest.raises(UnknownRollout):
        store.load("r2")
    assert store.drivers([ONE, TWO]) == {ONE: NumberOwner("r1", "frontdesk-v7", "pending")}


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STOPPED])
def test_an_ended_rollout_frees_its_number(store: Store, hand: Hand, phase: Phase) -> None:
    held = hand.begun("r1")
    store.commit(held, Change(rollout={"phase": phase}), [NOTE])
    assert store.drivers([ONE]) == {}
    hand.create("r2")
    assert store.drivers([ONE]) == {ONE: NumberOwner("r2", "frontdesk-v7-r2", "pending")}


def test_who_watches_an_ended_rollout_lets_go_when_a_later_one_takes_its_numbers(store: Store, hand: Hand) -> None:
    """What it has read is from before: recorded now, it would watch, and undo, what the later one writes."""
    ending = hand.begun("r1")
    over = {"phase": Phase.ROLLED_BACK, "watch_until": hand.later(3600)}
    written = {ONE: {"written": True, "state": TargetState.RESTORED}}
    store.commit(ending, Change(rollout=over, targets=written), [JournalEntry("restored", "service")])
    store.release(ending, Wait(store.now(), "", ""))
    watching = hand.claim("r1")
    before, _ = store.load("r1")
    hand.create("r2")
    seen = Change(targets={ONE: {"state": TargetState.FOREIGN}})
    with pytest.raises(ClaimLost):
        store.commit(watching, seen, [JournalEntry("observed", "service")])
    r, _ = store.load("r1")
    assert [t.state for t in r.targets] == [TargetState.SUPERSEDED]
    assert r.epoch == before.epoch + 1
    assert hand.claim("r1").epoch == r.epoch + 1, "and whoever comes next may look at once"


def test_rolling_back_after_the_end_needs_its_number_free(store: Store, hand: Hand) -> None:
    held = hand.begun("r1", confirmed())
    store.commit(held, Change(rollout={"phase": Phase.PROMOTED}), [NOTE])
    hand.create("r2")

    def roll_back(found: Rollout, now: Any) -> CommandEffect:
        return Change(rollout={"phase": Phase.ROLLING_BACK}), BY, "back"

    with pytest.raises(Refused, match="already driven"):
        store.change("r1", roll_back)
    assert store.phase("r1") is Phase.PROMOTED


# ------------------------------------------------------------------ the driver's record


def test_a_record_changes_tables_and_journal_together(store: Store, hand: Hand) -> None:
    held = hand.begun()
    change = Change(
        {"step": 2, "confirmed_at": store.now()},
        {ONE: {"state": TargetState.CONFIRMED, "step": 1, "written": True}},
        {},
        (write(at=store.now(), rollout_id="r1"),),
    )
    store.commit(held, change, [NOTE])
    found, _ = store.load("r1")
    assert (found.position, found.targets[0].state, found.targets[0].step) == (Position(1, 2), TargetState.CONFIRMED, 1)
    assert [w.id for w in found.writes] == ["w1"]
    last = store.history("r1")[-1]
    assert (last.kind, last.actor, last.reason, last.data["of"]) == ("noted", "service", "for a test", "interest")
    assert Change.from_json(last.data["change"]) == change


def test_without_its_epoch_a_driver_records_nothing(store: Store, hand: Hand) -> None:
    held = hand.begun()
    before = store.load("r1")[0]
    lost = stale(held)
    attempts: list[Callable[[], object]] = [
        lambda: store.commit(lost, Change(rollout={"step": 2}), [NOTE]),
        lambda: store.commit(lost, Change(new_writes=(write(at=store.now()),)), [NOTE]),
        lambda: store.add_targets(lost, [target(TWO, ord=1)], Change(), NOTE),
    ]
    for attempt in attempts:
        with pytest.raises(ClaimLost):
            attempt()
    assert store.load("r1")[0] == before
    assert len(store.history("r1")) == 1
    assert not hand.holds(lost)
    assert not store.release(lost, Wait(None, "", ""))


def test_a_command_takes_the_claim_away(store: Store, hand: Hand) -> None:
    held = hand.begun()
    assert store.change("r1", pause).phase == "paused"
    with pytest.raises(ClaimLost):
        store.commit(held, Change(rollout={"step": 2}), [NOTE])
    found, _ = store.load("r1")
    assert (found.phase, found.position, found.epoch) == (Phase.PAUSED, Position(1, 1), held.epoch + 1)
    assert found.why == "paused by a person"
    assert len(store.claim("other", LEASE)) == 1, "whoever is free drives it at once"


def test_a_record_may_lengthen_the_lease(store: Store, hand: Hand) -> None:
    held = hand.begun()
    store.commit(held, Change(), [NOTE], timedelta(hours=1))
    (row,) = hand.run("SELECT count(*) AS n FROM rollouts WHERE lease_owner = 'test'")
    assert row.n == 1
    assert store.claim("other", LEASE, only="r1") == []


@pytest.mark.parametrize("phase", [p for p in Phase if p not in (Phase.PROGRESSING, Phase.PROMOTED)])
def test_nothing_forward_is_intended_outside_of_progress(store: Store, hand: Hand, phase: Phase) -> None:
    hand.create(phase=phase, started_at=store.now())
    with pytest.raises(ClaimLost):
        store.commit(hand.claim(), Change(new_writes=(write(at=store.now()),)), [NOTE])
    back = write(step=0, kind=Kind.BASELINE, at=store.now())
    store.commit(hand.claim_again(), Change(new_writes=(back,)), [NOTE])
    assert [w.id for w in store.load("r1")[0].writes] == ["w1"]


# ------------------------------------------------------------------ open horizons


def intend(store: Store, hand: Hand, **changes: Any) -> None:
    store.commit(hand.claim_again(), Change(new_writes=(write(at=store.now(), id="w2", **changes),)), [NOTE])


@pytest.mark.parametrize(
    ("outcome", "seconds", "refused"),
    [
        (None, 60, True),  # may still land
        (None, -60, True),  # its time is over, and nobody has looked yet what it did
        (WriteOutcome.APPLIED, 60, True),
        (WriteOutcome.APPLIED, -1, False),
        (WriteOutcome.NOT_APPLIED, -1, False),
    ],
    ids=["unknown", "unknown-over", "applied-open", "applied-over", "not-applied-over"],
)
def test_nothing_forward_is_intended_over_an_open_horizon(
    store: Store, hand: Hand, outcome: WriteOutcome | None, seconds: float, refused: bool
) -> None:
    first = write(at=store.now(), outcome=outcome, horizon_until=hand.later(seconds))
    held = hand.begun("r1", target(), target(TWO, ord=1))
    store.commit(held, Change(new_writes=(first,)), [NOTE])
    if refused:
        with pytest.raises(ClaimLost, match="may still take effect"):
            intend(store, hand)
        intend(store, hand, number=TWO)
    else:
        intend(store, hand)


def test_another_rollouts_open_horizon_counts(store: Store, hand: Hand) -> None:
    first = hand.begun("r1")
    store.commit(first, Change(rollout={"phase": Phase.PROMOTED}, new_writes=(write(at=store.now()),)), [NOTE])
    second = hand.begun("r2")
    with pytest.raises(ClaimLost, match="may still take effect"):
        store.commit(second, Change(new_writes=(write(id="w2", at=store.now(), rollout_id="r2"),)), [NOTE])
    assert [w.id for w in store.load("r2")[0].foreign_open] == ["w1"]


def test_a_baseline_write_waits_for_no_horizon(store: Store, hand: Hand) -> None:
    held = hand.begun()
    store.commit(held, Change(new_writes=(write(at=store.now()),)), [NOTE])
    intend(store, hand, step=0, kind=Kind.BASELINE)
    assert [w.id for w in store.load("r1")[0].writes] == ["w1", "w2"]


def test_of_several_intents_one_open_horizon_refuses_all(store: Store, hand: Hand) -> None:
    held = hand.begun("r1", target(), target(TWO, ord=1))
    store.commit(held, Change(new_writes=(write(at=store.now()),)), [NOTE])
    both = (write(TWO, id="a", at=store.now()), write(ONE, id="b", at=store.now()))
    with pytest.raises(ClaimLost):
        store.commit(held, Change(new_writes=both), [NOTE])
    assert [w.id for w in store.load("r1")[0].writes] == ["w1"]


# ------------------------------------------------------------------ what became of a write, by its id


def test_an_outcome_is_true_whoever_holds_the_claim(store: Store, hand: Hand) -> None:
    held = hand.begun()
    store.commit(held, Change(new_writes=(write(at=store.now()),)), [NOTE])
    store.change("r1", pause)
    done = Change(writes={"w1": WriteResult(WriteOutcome.NOT_APPLIED, horizon_until=store.now())})
    store.record_outcomes("r1", done, JournalEntry("settled", "service"))
    assert store.load("r1")[0].writes == ()
    assert store.history("r1")[-1].kind == "settled"


def test_an_outcome_is_set_once_and_by_id_never_by_value(store: Store, hand: Hand) -> None:
    held = hand.begun("r1", confirmed())
    same = [write(step=0, kind=Kind.BASELINE, id=i, at=store.now()) for i in ("w1", "w2")]
    store.commit(held, Change(new_writes=tuple(same)), [NOTE])
    settled = JournalEntry("settled", "service")
    store.record_outcomes("r1", Change(writes={"w1": WriteResult(WriteOutcome.APPLIED)}), settled)
    store.record_outcomes("r1", Change(writes={"w1": WriteResult(WriteOutcome.NOT_APPLIED)}), settled)
    store.record_outcomes("r1", Change(writes={"unknown": WriteResult(WriteOutcome.APPLIED)}), settled)
    assert {w.id: w.outcome for w in store.load("r1")[0].writes} == {"w1": WriteOutcome.APPLIED, "w2": None}
    assert [e.kind for e in store.history("r1")].count("settled") == 1


# ------------------------------------------------------------------ request ids


def request(digest: str = "d1", actor: str = "cli:me") -> Request:
    return Request(actor, "q1", "pause", digest)


def remembered(store: Store, asked: Request) -> dict[str, Any] | None:
    with store.database.read() as connection:
        return first_answer(connection, asked)


@pytest.mark.parametrize("more", [{}, {"warnings": ["no calls yet"], "differences": [{"arm": "canary"}]}])
def test_an_answer_that_an_earlier_version_stored_is_given_again(
    store: Store, hand: Hand, more: dict[str, Any]
) -> None:
    hand.begun()
    start, ordered = Request("cli:me", "q0", "start", "d0"), request()
    told = {"epoch": 7, "id": "r1", "phase": "paused", "position": {"step": 2, "wave": 1}, "reason": None}
    with store.database.write() as connection:
        remember(connection, start, "r1", {**more, "id": "r1"}, store.now())
        remember(connection, ordered, "r1", told, store.now())
    expected = StartedRollout("r1", PreflightSummary.from_json(more))
    assert store.create(lambda _now: created(id="r2"), start) == store.answered(start) == expected
    assert expected.to_json() == {"id": "r1", "warnings": [], "differences": [], **more}
    assert store.change("r1", pause, ordered).to_json() == told


def test_a_repeated_request_returns_the_first_answer_and_has_no_effect(store: Store, hand: Hand) -> None:
    hand.begun()
    first = store.change("r1", pause, request())

    def resume(found: Rollout, now: Any) -> CommandEffect:
        return Change(rollout={"phase": Phase.PROGRESSING}), BY, "resumed"

    store.change("r1", resume)
    epoch = store.load("r1")[0].epoch
    assert store.change("r1", pause, request()) == first
    assert first.phase is Phase.PAUSED
    assert remembered(store, request()) == first.to_json()
    found, _ = store.load("r1")
    assert (found.phase, found.epoch) == (Phase.PROGRESSING, epoch)


def test_a_request_id_serves_one_request(store: Store, hand: Hand) -> None:
    hand.begun()
    store.change("r1", pause, request())
    with pytest.raises(Refused, match="the request id q1 was already used for a different request"):
        store.change("r1", pause, request(digest="other"))
    assert remembered(store, request(actor="cli:you")) is None, "another person's id is another id"


def test_creating_twice_with_one_request_makes_one_rollout(store: Store) -> None:
    ids = iter(["r1", "r2"])
    answers = [store.create(lambda _now: created(id=next(ids)), request()) for _ in range(2)]
    assert answers == [StartedRollout("r1", NO_FINDINGS)] * 2
    assert store.answered(request()) == answers[0]
    assert [r.id for r in store.summaries()] == ["r1"]


def test_a_refused_command_remembers_nothing(store: Store, hand: Hand) -> None:
    hand.begun()

    def refuse(found: Rollout, now: Any) -> CommandEffect:
        raise Refused("not now")

    with pytest.raises(Refused, match="not now"):
        store.change("r1", refuse, request())
    assert remembered(store, request()) is None
    assert len(store.history("r1")) == 1


def test_a_command_with_nothing_to_do_keeps_its_answer_and_the_epoch(store: Store, hand: Hand) -> None:
    held = hand.begun()
    given = store.change("r1", lambda _r, _now: None, request())
    assert given.phase is Phase.PROGRESSING
    assert hand.holds(held)
    assert remembered(store, request()) == given.to_json()


# ------------------------------------------------------------------ a scheduled start


def test_a_scheduled_rollout_gets_its_targets_when_it_begins(store: Store, hand: Hand) -> None:
    store.create(lambda _now: created(targets=()), None)
    assert store.drivers([ONE]) == {}
    held = hand.claim()
    store.add_targets(held, [target(), target(TWO, ord=1)], Change(rollout={"look_asked": False}), NOTE)
    assert [t.number for t in store.load("r1")[0].targets] == [ONE, TWO]
    assert len(store.history("r1")[-1].data["targets"]) == 2
    assert set(store.drivers([ONE, TWO])) == {ONE, TWO}
