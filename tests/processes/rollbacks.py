"""A rollback ordered by the command line, as a process, in every bad moment; how long until it is read back.

Each condition is a function: it brings a new rollout into the moment, orders, and returns the rollout's id.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tests.processes.judge import patches_of
from tests.processes.stage import AGENT, CANARY, TESTER, Done, Stage

STORM = 25  # requests that are answered 429, each with Retry-After 1


def order(stage: Stage, id_: str) -> Done:
    """`rollout rollback ID` as a process; it must succeed."""
    done = stage.cli("rollback", id_, "--reason", "ordered by the test")
    if done.code != 0:
        raise AssertionError(f"rollback {id_} ended with {done.code}: {done.err}")
    return done


def lease_of_a_killed_process(stage: Stage) -> str:
    """The lease and an open intent are held by a process that was killed; no service runs."""
    id_ = stage.start(2)
    service = stage.serve("after_intent:2")
    if service.wait(20) is None or service.reached is None:
        raise AssertionError(f"never killed: {service.said()[-500:]}")
    order(stage, id_)
    return id_


def storm_of_429(stage: Stage) -> str:
    """Retell answers 429 to everything for a while."""
    id_ = stage.start(2)
    service = stage.serve()
    stage.until_confirmed(id_, 1)
    stage.sandbox.fault("status", status=429, retry_after=1, times=STORM)
    order(stage, id_)
    stage.sandbox.clear_faults()
    service.stop()
    return id_


def open_gate(stage: Stage) -> str:
    """The gate is undecided: the calls it waits for do not come."""
    steps = [{"weight": 0.1, "hold": "0s", "min_calls": 50}, {"weight": 1.0, "hold": "1s"}]
    id_ = stage.start(2, steps=steps)
    service = stage.serve()
    stage.until(lambda: "calls seen" in stage.load(id_).why)
    order(stage, id_)
    service.stop()
    return id_


def pause(stage: Stage) -> str:
    """A person has paused it."""
    id_ = stage.start(2)
    service = stage.serve()
    stage.until_confirmed(id_, 1)
    stage.app.commands.pause(id_, TESTER)
    order(stage, id_)
    service.stop()
    return id_


def freeze(stage: Stage) -> str:
    """The plan's calendar is frozen: the step's hold is over, and nothing forward comes."""
    for lead in (3.0, 10.0, 30.0):  # a busy machine may not reach the first step before the freeze begins
        begins = datetime.now(UTC) + timedelta(seconds=lead)
        frozen = {"from": begins.isoformat(), "to": (begins + timedelta(days=1)).isoformat(), "reason": "a fair"}
        id_ = stage.start(2, zone="UTC", freezes=[frozen])
        service = stage.serve()
        stage.until(lambda id_=id_: "a fair" in stage.load(id_).why, lead + 30)
        if all(t.step for t in stage.load(id_).targets):
            order(stage, id_)
            service.stop()
            return id_
        stage.app.commands.rollback(id_, TESTER)
        service.stop()
    raise AssertionError("no first step was confirmed before its freeze began")


def forward_write_in_flight(stage: Stage) -> str:
    """A forward PATCH has been received and will be applied after the baseline was written."""
    id_ = stage.start(1, hold="0.5s")
    number = stage.load(id_).targets[0].number
    stage.sandbox.fault("apply_late", method="PATCH", number=number, seconds=0.7, variant="timeout", skip=1)
    service = stage.serve()
    stage.until(lambda: len(patches_of(stage, number)) == 2)
    order(stage, id_)
    stage.until_phase(id_, "rolled_back")
    service.stop()
    return id_


CONDITIONS: dict[str, Callable[[Stage], str]] = {
    "lease held by a killed process": lease_of_a_killed_process,
    "429 storm": storm_of_429,
    "open gate": open_gate,
    "pause": pause,
    "freeze": freeze,
    "forward write in flight": forward_write_in_flight,
}


def finish(stage: Stage, id_: str) -> None:
    """Lets a service declare it."""
    if stage.phase(id_) != "rolled_back":
        service = stage.serve()
        stage.until_phase(id_, "rolled_back")
        service.stop()


def overdue(stage: Stage, count: int, asked: int = 3) -> tuple[list[str], list[float]]:
    """`count` rollouts due at once; `asked` of them are rolled back in the middle of it.

    Returns the ids of those, and the seconds from order to read-back of each.
    """
    stage.start_many(count, "60s")
    # The scan reads the whole account: as often as in earnest, not as the other bounds are scaled.
    service = stage.serve(ROLLOUT_DRIFT_SECONDS="15")
    moved: list[str] = []
    stage.until(lambda: len(_moved(stage)) >= 3 * asked, timeout=300)
    for number in _moved(stage)[-asked:]:
        moved += [id_ for id_, _ in stage.app.store.writers(number)]
    for id_ in moved:
        order(stage, id_)
    for id_ in moved:
        stage.until_phase(id_, "rolled_back", timeout=60)
    service.kill()
    return moved, [stage.read_back_seconds(i) for i in moved]


def _moved(stage: Stage) -> list[str]:
    """Numbers that serve the canary, in the order of their creation."""
    canary = {"agent_id": AGENT, "agent_version": CANARY}
    return [
        number.phone_number
        for number in stage.sandbox.numbers()
        if any(entry.items() >= canary.items() for entry in number.inbound_agents)
    ]
