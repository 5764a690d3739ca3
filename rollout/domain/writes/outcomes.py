"""P6 and P7: what the answers to one batch's PATCHes, and the readings after them, amount to.

Pure: intents and answers in, what is to be recorded out. What one answer means is judged in
rollout.domain.writes.protocol; here it becomes the change of a write and of its target, and a sentence for people.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.state import Kind, Rollout, Target, TargetState, Write, WriteOutcome
from rollout.domain.splits.baselines import exactly
from rollout.domain.writes.answers import Answer, Failure, Reading, Trouble
from rollout.domain.writes.drift import Blocked
from rollout.domain.writes.protocol import Settled, answers_with, others_of, settle, shows

Got = Mapping[str, Reading | Failure]


@dataclass(slots=True)
class Outcomes:
    """What is to be recorded of one batch, and what went wrong: sentences, each with the pause Retell asked for."""

    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: dict[str, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    troubles: list[tuple[str, float | None]] = field(default_factory=list)
    key_refused: bool = False
    written_over: list[str] = field(default_factory=list)  # taken by Retell, and they show something else since
    as_read: list[str] = field(default_factory=list)  # their baseline is refused as it was read: it has another form

    @property
    def change(self) -> Change:
        return Change(targets=self.targets, writes=self.writes)

    @property
    def trouble(self) -> str | None:
        """What went wrong, in a line: the first two, and how many more."""
        texts = list(dict.fromkeys(text for text, _ in self.troubles))
        more = f"; and {len(texts) - 2} more" if len(texts) > 2 else ""
        return "; ".join(texts[:2]) + more if texts else None

    @property
    def retry_after(self) -> float | None:
        """The longest pause in seconds that Retell asked for."""
        return max((wait for _, wait in self.troubles if wait), default=None)


def outcomes(
    rollout: Rollout,
    intents: Mapping[str, Write],
    answers: Mapping[str, Answer],
    backs: Got,
    gone: Got,
    answered_at: datetime,
    *,
    staleness: timedelta,
    told_to_stop: bool,
    agreed: Container[str] = (),
) -> Outcomes:
    """By number: `backs` are readings of what was sent, `gone` of what Retell answered 404 or 422 to.

    `answered_at` is the moment after the last answer; an answer that is known may be read as stale for `staleness`
    from then on. What was not sent is no trouble where the sender was told to stop. `agreed`: see `settle`.
    """
    found = Outcomes()
    closed = answered_at + staleness
    # The rest of a batch that was too large for its send window goes with the next one: no trouble.
    none_sent = all(a.failure and a.failure.trouble is Trouble.UNREACHABLE for a in answers.values())
    for number, answer in answers.items():
        write, target, failure = intents[number], rollout.by_number[number], answer.failure
        back = backs.get(number)
        fresh = back if isinstance(back, Reading) else None
        settled = _settled(write, target, answer, fresh, number in agreed)
        status = answer.status if failure is None else failure.status
        found.summary[number] = {"outcome": str(settled), "status": status}
        if fresh is not None:
            found.summary[number]["modified"] = fresh.modified
        match settled:
            case Settled.APPLIED | Settled.SEEN:
                assert fresh is not None
                found.writes[write.id] = {"outcome": WriteOutcome.APPLIED, "answered": status}
                if settled is Settled.APPLIED:
                    found.writes[write.id]["horizon_until"] = closed
                found.targets[number] = _standing(rollout, write, target, fresh, answered_at)
            case Settled.ANSWERED:
                found.writes[write.id] = {"answered": status, "horizon_until": closed}
                found.troubles.append((f"{number}: written, and not read back yet", None))
            case Settled.REJECTED:
                assert failure is not None
                found.writes[write.id] = {
                    "outcome": WriteOutcome.NOT_APPLIED,
                    "answered": status,
                    "horizon_until": answered_at,
                }
                if failure.key_refused:
                    found.key_refused = True
                    found.troubles.append((_key_trouble(failure), None))
                elif is_missing(gone.get(number)):
                    found.targets[number] = {"state": TargetState.MISSING}
                elif failure.status in (400, 422) and _has_other_form(write, target):
                    found.as_read.append(number)
                elif write.kind is Kind.FORWARD:
                    found.targets[number] = {"state": TargetState.REJECTED}
                else:
                    found.troubles.append((f"{number}: Retell refuses the baseline: {failure.detail}", None))
            case Settled.NOT_SENT:
                found.writes[write.id] = {"outcome": WriteOutcome.NOT_APPLIED, "horizon_until": answered_at}
                if failure is not None and none_sent and not told_to_stop:
                    found.troubles.append((f"{number}: {failure.detail}", failure.retry_after))
            case Settled.UNKNOWN:
                found.writes[write.id] = {"answered": status}
                if fresh is not None and answer.shown is not None and fresh.modified > answer.shown.modified:
                    found.written_over.append(number)
                detail = failure.detail if failure else "Retell answered 200 and does not show the split"
                wait = failure.retry_after if failure else None
                found.troubles.append((f"{number}: outcome not known: {detail}", wait))
    return found


def _has_other_form(write: Write, target: Target) -> bool:
    """Whether this wrote a baseline verbatim, and there is a form of it that a stricter Retell may take."""
    return write.step == 0 and write.lists == target.baseline and exactly(target.baseline) != target.baseline


def _settled(write: Write, target: Target, answer: Answer, fresh: Reading | None, agreed: bool) -> Settled:
    failure = answer.failure
    changes = not shows(target.split, write.lists)
    found = settle(
        write.lists,
        target.modified,
        changes=changes,
        answer=answer.shown,
        refused=failure is not None and failure.trouble is Trouble.REJECTED,
        sent=failure is None or failure.trouble is not Trouble.UNREACHABLE,
        back=fresh,
        agreed=agreed,
    )
    if found is Settled.ANSWERED:
        assert answer.shown is not None
        assert answers_with(write.lists, target.modified, answer.shown, changes=changes)
    return found


def _standing(rollout: Rollout, write: Write, target: Target, fresh: Reading, at: datetime) -> dict[str, Any]:
    """The target once its write was read back."""
    return {
        "split": dict(write.lists),
        **rollout.standing(write.step, write.retreated),
        "modified": fresh.modified,
        "others": others_of(fresh, target.baseline),
        "live": dict(write.lists),
        "live_at": at,
        "state": TargetState.CONFIRMED if write.kind is Kind.FORWARD else TargetState.RESTORED,
    }


# ------------------------------------------------------------------ readings that failed


def shown(got: Got) -> dict[str, Reading | Blocked]:
    """Readings, and for each that failed what it means for the number."""
    return {n: _blocked(r) if isinstance(r, Failure) else r for n, r in got.items()}


def _blocked(failure: Failure) -> Blocked:
    if failure.trouble is Trouble.REJECTED and failure.status in (404, 422):
        return Blocked.MISSING
    return Blocked.KEY if failure.key_refused else Blocked.UNREACHABLE


def is_missing(got: Reading | Failure | None) -> bool:
    """Whether Retell does not know the number."""
    return isinstance(got, Failure) and _blocked(got) is Blocked.MISSING


def reading_trouble(got: Got) -> tuple[str | None, float | None]:
    """What keeps numbers from being read, in a line, and the longest pause Retell asked for; a missing number does
    not count."""
    failures: Sequence[Failure] = [f for f in got.values() if isinstance(f, Failure) and not is_missing(f)]
    if not failures:
        return None, None
    first = failures[0]
    text = _key_trouble(first) if first.key_refused else f"Retell cannot be read: {first.detail}"
    return text, max((f.retry_after for f in failures if f.retry_after), default=None)


def _key_trouble(failure: Failure) -> str:
    return f"Retell refuses the API key ({failure.status}): nothing is sent until it is right again"
