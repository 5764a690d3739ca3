"""The commands: what is recorded of each, who is told, and which rollout is meant."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.domain.errors import InputError, NotReachable, PreflightRefused, Refused, UnknownRollout
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.entries import CommandGiven, PreflightSummary
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import CommandEffect, JournalEntry, Request
from rollout.domain.lifecycle.started import NO_FINDINGS, StartedRollout
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.plan.plan import Plan
from rollout.engine.commands import Commands
from rollout.engine.ports import NumberOwner
from tests.support.clock import START
from tests.support.values import ONE, TWO, confirmed, plan, rollout, said
from tests.unit.engine.account import DOWN, Account, reading

ME = By("cli:me", "because", "request-1")
GIVEN = StartedRollout("r0", NO_FINDINGS)


class Store:
    """A store with one rollout; `asked` are the requests that came with commands."""

    def __init__(self, r: Rollout | None = None) -> None:
        self.rollout = r or rollout(targets=(confirmed(),), confirmed_at=START)
        self.asked: list[tuple[str, Request | None, bool]] = []
        self.decided: CommandEffect | None = None
        self.answers: list[StartedRollout | None] = []
        self.created: list[tuple[Rollout, JournalEntry]] = []
        self.preflight = NO_FINDINGS
        self.named: str | None = None
        self.driving: dict[str, NumberOwner] = {}
        self.wrote: list[tuple[str, Phase]] = []

    def now(self) -> datetime:
        return START

    def load(self, _id: str) -> tuple[Rollout, datetime]:
        return self.rollout, START

    def answered(self, _request: Request) -> StartedRollout | None:
        return self.answers.pop(0) if self.answers else None

    def create(
        self,
        make: Callable[[datetime], tuple[Rollout, JournalEntry]],
        request: Request | None,
        preflight: PreflightSummary = NO_FINDINGS,
    ) -> StartedRollout:
        self.created.append(make(START))
        self.asked.append(("create", request, False))
        self.preflight = preflight
        return StartedRollout(self.created[-1][0].id, preflight)

    def change(self, id_: str, decide: Any, request: Request | None = None, *, urgent: bool = False) -> CommandGiven:
        self.asked.append((id_, request, urgent))
        self.decided = decide(self.rollout, START)
        return CommandGiven.of(self.rollout)

    def live_named(self, _name: str) -> str | None:
        return self.named

    def drivers(self, _numbers: Any) -> dict[str, NumberOwner]:
        return self.driving

    def writers(self, _number: str) -> list[tuple[str, Phase]]:
        return self.wrote


class Told:
    """Who was told of what, and a calendar that cannot be used."""

    def __init__(self) -> None:
        self.changed: list[tuple[str, bool]] = []
        self.calendar: InputError | None = None

    def __call__(self, id_: str, urgent: bool) -> None:
        self.changed.append((id_, urgent))

    def of(self, _plan: Plan) -> None:
        if self.calendar is not None:
            raise self.calendar


def made(store: Store, account: Account | None = None, told: Told | None = None) -> Commands:
    told = told or Told()
    every: Any = store
    workspace = (account or Account()).workspace()
    return Commands(every, workspace, lambda: "r1", "https://retell", told, told.of, timedelta(days=9))


# ------------------------------------------------------------------ start


def test_a_start_records_what_the_numbers_serve_and_who_asked() -> None:
    store, told = Store(), Told()
    answer = made(store, told=told).start(plan(seed=7, wave_order="random"), ME)
    ((r, entry),) = store.created
    assert answer == StartedRollout("r1", store.preflight)
    assert told.changed == [("r1", False)]
    assert (r.id, r.name, r.phase, r.position) == ("r1", "frontdesk-v7", Phase.PENDING, Position(1, 1))
    assert (r.epoch, r.due_at, r.start_at, r.seed, r.base_url) == (0, START, None, 7, "https://retell")
    assert (r.created_by, r.why, r.next) == ("cli:me", "waiting for the service", "step 1.1")
    assert [t.number for t in r.targets] == [ONE]
    assert (entry.kind, entry.actor, entry.reason, entry.data) == (
        "created",
        "cli:me",
        "because",
        store.preflight.to_json(),
    )
    assert store.preflight.warnings == ()
    ((_, request, _),) = store.asked
    assert request is not None
    assert (request.actor, request.id, request.command) == ("cli:me", "request-1", "start")


@pytest.mark.parametrize(
    ("changes", "at", "start_at", "later"),
    [
        ({}, None, None, False),
        ({}, START + timedelta(hours=1), START + timedelta(hours=1), True),
        ({}, START, START, False),
        ({"start": "2026-11-03T17:00:00Z"}, None, START + timedelta(days=1), True),
        ({"start": "2026-11-03T17:00:00Z"}, START, START, False),
        ({"after": "other"}, None, None, True),
    ],
    ids=["now", "later", "at this moment", "as the plan says", "the order wins", "after another"],
)
def test_a_start_that_comes_later_reads_its_numbers_again_then(
    changes: dict[str, Any], at: datetime | None, start_at: datetime | None, later: bool
) -> None:
    store = Store()
    made(store).start(plan(**changes), ME, at=at)
    ((r, _),) = store.created
    assert (r.start_at, r.targets == ()) == (start_at, later)


def test_a_request_that_was_answered_before_is_answered_again() -> None:
    store, account = Store(), Account()
    store.answers = [GIVEN]
    assert made(store, account).start(plan(), ME) == GIVEN
    assert (store.created, account.asked) == ([], [])
    account.readings.clear()
    store.answers = [None, GIVEN]
    assert made(store, account).start(plan(), ME) == GIVEN, "the same request came twice at once"
    store.answers = [None, None]
    with pytest.raises(PreflightRefused):
        made(store, account).start(plan(), ME)
    store.answers = [GIVEN, GIVEN]
    with pytest.raises(PreflightRefused):
        made(store, account).start(plan(), By("cli:me"))


def test_a_start_is_refused_for_its_name_a_problem_or_where_asked_a_warning() -> None:
    store, account = Store(), Account(reading(inbound_webhook_url="https://a"))
    made(store, account).start(plan(), ME)
    assert len(store.preflight.warnings) == 1
    with pytest.raises(PreflightRefused, match="has an inbound webhook"):
        made(store, account).start(plan(), ME, strict=True)
    store.named = "r9"
    with pytest.raises(Refused, match="r9"):
        made(store, account).start(plan(), ME)
    assert len(store.created) == 1


def test_a_calendar_that_cannot_be_used_is_told_before_retell_is_asked() -> None:
    account, told = Account(), Told()
    told.calendar = InputError("there is no such calendar")
    with pytest.raises(InputError, match="no such calendar"):
        made(Store(), account, told).check(plan())
    assert account.asked == []


# ------------------------------------------------------------------ on the way


@pytest.mark.parametrize(
    ("command", "kind", "more"),
    [
        ("promote", "promote", {}),
        ("set_weights", "set", {"weights": {"canary": 0.2}}),
        ("pause", "pause", {}),
        ("stop", "stop", {}),
        ("rollback", "rollback", {}),
    ],
)
def test_each_command_is_recorded_with_its_request_and_told(command: str, kind: str, more: dict[str, Any]) -> None:
    store, told = Store(), Told()
    assert getattr(made(store, told=told), command)("r1", ME, **more) == CommandGiven.of(store.rollout)
    urgent = command == "rollback"
    ((id_, request, was_urgent),) = store.asked
    assert request is not None
    assert (id_, request.command, was_urgent, told.changed) == ("r1", kind, urgent, [("r1", urgent)])
    assert store.decided is not None
    entry = store.decided[1]
    assert (entry.actor, entry.reason) == ("cli:me", "because")
    others = Store()
    getattr(made(others), command)("r2", ME, **more)
    assert others.asked[0][1] != request, "another rollout is another request"


EXPECTED = Position(1, 2)


@pytest.mark.parametrize("command", ["promote", "set_weights", "ship", "pause", "resume", "stop", "adopt", "restore"])
def test_a_position_that_was_expected_is_part_of_the_command(command: str) -> None:
    asked: dict[str, dict[str, Any]] = {"set_weights": {"weights": {"canary": 0.2}}, "ship": {"variant": "canary"}}
    more = asked.get(command, {})
    phases = {"resume": Phase.PAUSED, "adopt": Phase.HELD, "restore": Phase.HELD}
    held = {"phase": phases.get(command, Phase.PROGRESSING), "resume_phase": Phase.PROGRESSING}
    store = Store(rollout(targets=(confirmed(),), confirmed_at=START, **held))
    with pytest.raises(Refused, match=r"1\.2"):
        getattr(made(store), command)("r1", ME, expect=EXPECTED, **more)
    (_, request, _) = store.asked[0]
    plain = Store(store.rollout)
    with contextlib.suppress(Refused):
        getattr(made(plain), command)("r1", ME, **more)
    assert plain.asked[0][1] != request


def test_promote_to_the_end_is_another_request() -> None:
    store = Store()
    made(store).promote("r1", ME)
    made(store).promote("r1", ME, full=True)
    assert store.asked[0][1] != store.asked[1][1]


def test_a_version_is_shipped_with_enough_evidence_or_anyway() -> None:
    store = Store(rollout(targets=(confirmed(),), confirmed_at=START, plan=plan(gates=None), verdict=said("pass")))
    with pytest.raises(Refused, match="no gate has judged canary yet"):
        made(store).ship("r1", ME, variant="canary")
    made(store).ship("r1", ME, variant="canary", anyway=True)
    assert store.decided is not None
    assert store.asked[0][1] != store.asked[1][1]


# ------------------------------------------------------------------ answers to drift


@pytest.mark.parametrize("command", ["adopt", "restore"])
def test_an_answer_to_drift_reads_every_number_first(command: str) -> None:
    account = Account(reading(ONE), reading(TWO))
    r = rollout(
        targets=(confirmed(ONE), confirmed(TWO, ord=1)),
        plan=plan([ONE, TWO]),
        phase=Phase.HELD,
        reason="drift",
        resume_phase=Phase.PROGRESSING,
    )
    store = Store(r)
    getattr(made(store, account), command)("r1", ME)
    assert store.decided is not None
    account.readings[TWO] = DOWN
    with pytest.raises(NotReachable, match=rf"\{TWO} cannot be read: no answer"):
        getattr(made(store, account), command)("r1", ME)
    with pytest.raises(Refused):
        getattr(made(Store(), account), command)("r1", ME)


# ------------------------------------------------------------------ which rollout is meant


def test_a_rollback_of_a_number_means_who_drives_it_or_wrote_it_last() -> None:
    store = Store()
    store.wrote = [("r5", Phase.ROLLED_BACK), ("r4", Phase.PROMOTED), ("r3", Phase.PROMOTED)]
    assert made(store).on_number(ONE) == "r4"
    store.driving = {ONE: NumberOwner("r6", "frontdesk", "progressing")}
    assert made(store).on_number(ONE) == "r6"
    store.driving, store.wrote = {}, [("r5", Phase.ROLLED_BACK), ("r2", Phase.ROLLED_BACK)]
    assert made(store).on_number(ONE) == "r5", "a repeated rollback changes nothing, and says so"
    store.wrote = []
    with pytest.raises(UnknownRollout) as caught:
        made(store).on_number("14157774444")
    assert caught.value.message == "no rollout has written 14157774444; write it with its plus: +14157774444"


def test_how_long_a_rollback_is_possible_is_the_servers_setting() -> None:
    for days, possible in ((8, True), (10, False)):
        ended = START - timedelta(days=days)
        store = Store(rollout(targets=(confirmed(),), phase=Phase.PROMOTED, updated_at=ended))
        if possible:
            made(store).rollback("r1", ME)
        else:
            with pytest.raises(Refused, match="more than 9 days ago"):
                made(store).rollback("r1", ME)
