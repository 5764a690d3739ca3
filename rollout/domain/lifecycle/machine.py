"""The phases of a rollout and the literal table of transitions between them.

Only the transitions in this table exist; anything else is refused and changes nothing. Nothing here depends on the
caller or the time. docs/state-machine.md is generated from it.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from rollout.domain.errors import IllegalTransition


class Phase(StrEnum):
    """A phase of a rollout; the names are part of the contract."""

    PENDING = "pending"
    PROGRESSING = "progressing"
    PAUSED = "paused"
    HELD = "held"
    PROMOTED = "promoted"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    STOPPED = "stopped"

    @property
    def is_final(self) -> bool:
        return self in FINAL

    @property
    def is_live(self) -> bool:
        return self not in FINAL


WATCH_AFTER_END = timedelta(days=7)  # numbers, and after a promotion the calls, too
KEEP_BASELINE = timedelta(days=30)  # at least: so long after another end a rollout can be rolled back
FINAL = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STOPPED})


class HeldReason(StrEnum):
    """A reason that the service holds and needs a person."""

    DRIFT = "drift"  # the live split is not the one last confirmed
    TOUCHED = "touched"  # the time stamp moved and nothing visible changed
    MISSING = "missing"  # a number is gone
    IDENTITY = "identity"  # a number was deleted and made again
    REJECTED = "rejected"  # Retell refuses what we send, and asking again changes nothing
    ROLLBACK_IMPOSSIBLE = "rollback-impossible"  # the baseline's version is gone
    POISON = "poison"  # working on this rollout has crashed five times in a row
    DEADLINE = "deadline"  # the plan's deadline passed
    SPLIT = "split"  # the calls do not follow the weights
    LABELS = "labels"  # the results of one version go missing


class PausedBy(StrEnum):
    """The cause of a pause."""

    PERSON = "person"
    ALERT = "alert"  # a monitoring tool's, by the plan's `alerts`
    FAILURE = "failure"  # the canary failed, and the plan has `on_failure: pause`
    DECISION = "decision"  # the plan decided to ship nothing, and leaves the rest to a person


class Event(StrEnum):
    """Facts are past participles; what people ask for ends in _asked."""

    TESTS_PROGRESSED = "tests_progressed"  # the tests of the agent began, or some of their batches did or ended
    TESTS_PASSED = "tests_passed"
    BEGUN = "begun"
    REFUSED = "refused"
    ADVANCED = "advanced"
    CONFIRMED = "confirmed"
    RETREATED = "retreated"  # closing time: the retreat weight is wanted
    RETURNED = "returned"  # opening time: the position's weights are wanted again
    REACHED = "reached"  # what closing or opening time wanted was read back
    SHIPPED = "shipped"  # by the plan: every call is wanted for one version
    DECISION_KEPT = "decision_kept"  # by the plan: nothing is shipped, and the test continues
    DECISION_PAUSED = "decision_paused"  # by the plan: nothing is shipped, and a person decides
    COMPLETED = "completed"
    FAILED = "failed"
    FAILURE_PAUSED = "failure_paused"
    HELD = "held"
    READ_BACK = "read_back"
    RESTORED = "restored"
    RESTORED_OUTSIDE = "restored_outside"
    REOPENED = "reopened"
    ENDED = "ended"
    PROMOTE_ASKED = "promote_asked"
    SET_ASKED = "set_asked"
    SHIP_ASKED = "ship_asked"
    PAUSE_ASKED = "pause_asked"
    RESUME_ASKED = "resume_asked"
    RESUME_PENDING_ASKED = "resume_pending_asked"
    ADOPT_ASKED = "adopt_asked"
    ADOPT_PAUSED_ASKED = "adopt_paused_asked"
    RESTORE_ASKED = "restore_asked"
    RESTORE_PAUSED_ASKED = "restore_paused_asked"
    STOP_ASKED = "stop_asked"
    ROLLBACK_ASKED = "rollback_asked"


class CommandKind(StrEnum):
    """The journal's kinds of the commands that people give."""

    PROMOTE = "promote"
    SET = "set"
    SHIP = "shipped"  # like the event by which the plan ships
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    ADOPT = "adopt"
    RESTORE = "restore"
    ROLLBACK = "rollback"


_P, _E = Phase, Event

TRANSITIONS: dict[tuple[Phase, Event], Phase] = {
    # waiting for its start
    (_P.PENDING, _E.TESTS_PROGRESSED): _P.PENDING,
    (_P.PENDING, _E.TESTS_PASSED): _P.PENDING,
    (_P.PENDING, _E.BEGUN): _P.PROGRESSING,
    (_P.PENDING, _E.REFUSED): _P.STOPPED,
    (_P.PENDING, _E.PAUSE_ASKED): _P.PAUSED,
    (_P.PENDING, _E.STOP_ASKED): _P.STOPPED,
    (_P.PENDING, _E.ROLLBACK_ASKED): _P.ROLLING_BACK,
    (_P.PENDING, _E.HELD): _P.HELD,
    # going through its steps
    (_P.PROGRESSING, _E.ADVANCED): _P.PROGRESSING,
    (_P.PROGRESSING, _E.CONFIRMED): _P.PROGRESSING,
    (_P.PROGRESSING, _E.RETREATED): _P.PROGRESSING,
    (_P.PROGRESSING, _E.RETURNED): _P.PROGRESSING,
    (_P.PROGRESSING, _E.REACHED): _P.PROGRESSING,
    (_P.PROGRESSING, _E.PROMOTE_ASKED): _P.PROGRESSING,
    (_P.PROGRESSING, _E.SET_ASKED): _P.PROGRESSING,
    (_P.PROGRESSING, _E.SHIP_ASKED): _P.PROGRESSING,
    (_P.PROGRESSING, _E.SHIPPED): _P.PROGRESSING,
    (_P.PROGRESSING, _E.DECISION_KEPT): _P.PROGRESSING,
    (_P.PROGRESSING, _E.DECISION_PAUSED): _P.PAUSED,
    (_P.PROGRESSING, _E.COMPLETED): _P.PROMOTED,
    (_P.PROGRESSING, _E.FAILED): _P.ROLLING_BACK,
    (_P.PROGRESSING, _E.FAILURE_PAUSED): _P.PAUSED,
    (_P.PROGRESSING, _E.HELD): _P.HELD,
    (_P.PROGRESSING, _E.PAUSE_ASKED): _P.PAUSED,
    (_P.PROGRESSING, _E.STOP_ASKED): _P.PAUSED,  # paused while a write is in flight, then ended
    (_P.PROGRESSING, _E.ROLLBACK_ASKED): _P.ROLLING_BACK,
    (_P.PROGRESSING, _E.RESTORED_OUTSIDE): _P.ROLLED_BACK,
    # a person paused it; gates keep watching
    (_P.PAUSED, _E.CONFIRMED): _P.PAUSED,
    (_P.PAUSED, _E.REACHED): _P.PAUSED,
    (_P.PAUSED, _E.RESUME_ASKED): _P.PROGRESSING,
    (_P.PAUSED, _E.SHIP_ASKED): _P.PROGRESSING,
    (_P.PAUSED, _E.RESUME_PENDING_ASKED): _P.PENDING,
    (_P.PAUSED, _E.FAILED): _P.ROLLING_BACK,
    (_P.PAUSED, _E.HELD): _P.HELD,
    (_P.PAUSED, _E.STOP_ASKED): _P.PAUSED,
    (_P.PAUSED, _E.ENDED): _P.STOPPED,
    (_P.PAUSED, _E.ROLLBACK_ASKED): _P.ROLLING_BACK,
    (_P.PAUSED, _E.RESTORED_OUTSIDE): _P.ROLLED_BACK,
    # the service holds until a person answers
    (_P.HELD, _E.HELD): _P.HELD,
    (_P.HELD, _E.ADOPT_ASKED): _P.PROGRESSING,
    (_P.HELD, _E.ADOPT_PAUSED_ASKED): _P.PAUSED,
    (_P.HELD, _E.RESTORE_ASKED): _P.PROGRESSING,
    (_P.HELD, _E.RESTORE_PAUSED_ASKED): _P.PAUSED,
    (_P.HELD, _E.FAILED): _P.ROLLING_BACK,
    (_P.HELD, _E.STOP_ASKED): _P.HELD,
    (_P.HELD, _E.ENDED): _P.STOPPED,
    (_P.HELD, _E.ROLLBACK_ASKED): _P.ROLLING_BACK,
    (_P.HELD, _E.RESTORED_OUTSIDE): _P.ROLLED_BACK,
    # writing the baselines back until that succeeds
    (_P.ROLLING_BACK, _E.ROLLBACK_ASKED): _P.ROLLING_BACK,
    (_P.ROLLING_BACK, _E.READ_BACK): _P.ROLLING_BACK,
    (_P.ROLLING_BACK, _E.RESTORED): _P.ROLLED_BACK,
    # final, and still watched
    (_P.PROMOTED, _E.ROLLBACK_ASKED): _P.ROLLING_BACK,
    (_P.PROMOTED, _E.FAILED): _P.ROLLING_BACK,
    (_P.ROLLED_BACK, _E.REOPENED): _P.ROLLING_BACK,
    (_P.STOPPED, _E.ROLLBACK_ASKED): _P.ROLLING_BACK,
}

_WORDS: dict[Event, str] = {
    _E.PROMOTE_ASKED: "promoted",
    _E.SET_ASKED: "set to other weights",
    _E.SHIP_ASKED: "shipped",
    _E.PAUSE_ASKED: "paused",
    _E.RESUME_ASKED: "resumed",
    _E.ADOPT_ASKED: "adopted",
    _E.RESTORE_ASKED: "restored",
    _E.STOP_ASKED: "stopped",
    _E.ROLLBACK_ASKED: "rolled back",
}

_ADVICE: dict[tuple[Phase, Event], str] = {
    (_P.PAUSED, _E.PROMOTE_ASKED): "resume it first",
    (_P.PAUSED, _E.SET_ASKED): "resume it first",
    (_P.PAUSED, _E.PAUSE_ASKED): "it is already paused",
    (_P.PROGRESSING, _E.RESUME_ASKED): "it is already running",
}
_ADVICE_IN: dict[Phase, str] = {
    _P.PENDING: "it has not started yet",
    _P.PROGRESSING: "there is no drift to resolve",
    _P.PAUSED: "there is no drift to resolve",
    _P.HELD: "answer it first: adopt, restore, rollback or stop",
    _P.ROLLING_BACK: "wait until its rollback has ended",
}


def allows(phase: Phase, event: Event) -> bool:
    """True if the table has a cell for this event in this phase."""
    return (phase, event) in TRANSITIONS


def after(phase: Phase, event: Event) -> Phase:
    """The phase that follows; IllegalTransition when the table has no such cell."""
    if not allows(phase, event):
        raise refusal(phase, event)
    return TRANSITIONS[phase, event]


def refusal(phase: Phase, event: Event) -> IllegalTransition:
    """The refusal where the table has no such cell: why not, and what to do instead."""
    advice = _ADVICE.get((phase, event)) or _ADVICE_IN.get(phase, f"it has ended as {phase}; start a new rollout")
    return IllegalTransition(
        f"a rollout that is {phase} cannot be {_WORDS.get(event, event)}: {advice}", phase=str(phase), event=str(event)
    )
