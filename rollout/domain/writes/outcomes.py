"""P6 and P7: the outcomes of one batch's PATCHes, from the answers and the readings after them.

Pure: intents and answers in, changes to record out. rollout.domain.writes.protocol judges each answer; this module
turns that into the change of a write and its target, and into a sentence for people.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollout.domain.lifecycle.changes import Change, WriteResult
from rollout.domain.lifecycle.columns import TargetColumns, confirmed_at_step
from rollout.domain.lifecycle.entries import SettledWrite
from rollout.domain.lifecycle.state import Kind, Rollout, Target, TargetState, Write, WriteOutcome
from rollout.domain.phone_numbers import numbers_text
from rollout.domain.splits.baselines import exact_lists
from rollout.domain.writes.answers import Answer, Failure, Reading, Trouble
from rollout.domain.writes.drift import Blocked
from rollout.domain.writes.protocol import Settled, others_of, settle, shows

Got = Mapping[str, Reading | Failure]


@dataclass(slots=True)
class Outcomes:
    """The outcomes of one batch to be recorded, and its troubles: sentences, each with the pause Retell asked for."""

    targets: dict[str, TargetColumns] = field(default_factory=dict)
    writes: dict[str, WriteResult] = field(default_factory=dict)
    summary: dict[str, SettledWrite] = field(default_factory=dict)
    troubles: list[tuple[str, float | None]] = field(default_factory=list)
    key_refused: bool = False
    written_over: list[str] = field(default_factory=list)  # accepted by Retell, but they show something else since
    changed: list[str] = field(default_factory=list)  # not written: somebody else wrote them after they were read
    as_read: list[str] = field(default_factory=list)  # baseline refused as it was read; it has another form

    @property
    def change(self) -> Change:
        return Change(targets=self.targets, writes=self.writes)

    @property
    def trouble(self) -> str | None:
        """The troubles in a line: the first two, and how many more."""
        texts = list(dict.fromkeys(text for text, _ in self.troubles))
        more = f"; and {len(texts) - 2} more" if len(texts) > 2 else ""
        return "; ".join(texts[:2]) + more if texts else None

    @property
    def retry_after(self) -> float | None:
        """The longest pause in seconds that Retell asked for."""
        return max((wait for _, wait in self.troubles if wait), default=None)


@dataclass(frozen=True, slots=True)
class SentBatch:
    """One batch after its PATCHes, by number: intents, the answers to them, and what was read after these."""

    intents: Mapping[str, Write]
    answers: Mapping[str, Answer]
    answered_at: datetime  # after the last answer
    backs: Got = field(default_factory=dict)  # readings of what was sent
    gone: Got = field(default_factory=dict)  # readings of what Retell answered 404 or 422 to
    agreed: Container[str] = ()  # see `settle`

    @property
    def none_sent(self) -> bool:
        """True if not one byte was sent. Otherwise the unsent rest goes with the next batch, and is no trouble."""
        return all(a.failure and a.failure.trouble is Trouble.UNREACHABLE for a in self.answers.values())


def outcomes(rollout: Rollout, batch: SentBatch, *, staleness: timedelta, told_to_stop: bool) -> Outcomes:
    """The outcome of each write of a batch.

    A number whose answer is known may be read as stale for `staleness` after the last answer. A write that was not
    sent is no trouble where the sender was told to stop.
    """
    found = Outcomes()
    closed, none_sent = batch.answered_at + staleness, batch.none_sent
    for number, answer in batch.answers.items():
        write, target, failure = batch.intents[number], rollout.by_number[number], answer.failure
        back = batch.backs.get(number)
        fresh = back if isinstance(back, Reading) else None
        settled = _settled(write, target, answer, fresh, number in batch.agreed)
        status = answer.status
        found.summary[number] = SettledWrite(settled, status, None if fresh is None else fresh.modified)
        match settled:
            case Settled.APPLIED | Settled.SEEN:
                assert fresh is not None
                until = closed if settled is Settled.APPLIED else None
                found.writes[write.id] = WriteResult(WriteOutcome.APPLIED, status, until)
                found.targets[number] = _standing(rollout, write, target, fresh, batch.answered_at)
            case Settled.ANSWERED:
                found.writes[write.id] = WriteResult(horizon_until=closed)
                found.troubles.append((f"{number}: written, but not read back yet", None))
            case Settled.REJECTED:
                assert failure is not None
                found.writes[write.id] = _without_effect(batch, status)
                _refused(found, write, target, failure, is_missing(batch.gone.get(number)))
            case Settled.CHANGED:
                found.writes[write.id] = _without_effect(batch, status)
                found.changed.append(number)
            case Settled.NOT_SENT:
                found.writes[write.id] = _without_effect(batch)
                if failure is not None and none_sent and not told_to_stop:
                    found.troubles.append((f"{number}: {failure.detail}", failure.retry_after))
            case Settled.UNKNOWN:
                _unknown(found, number, answer, fresh)
                # A 200 counts as accepted only if it was read back, or if somebody was seen to overwrite it.
                if status is not None and (answer.shown is None or number in found.written_over):
                    found.writes[write.id] = WriteResult(answered=status)
    return found


def _without_effect(batch: SentBatch, status: int | None = None) -> WriteResult:
    return WriteResult(WriteOutcome.NOT_APPLIED, status, batch.answered_at)


def _refused(found: Outcomes, write: Write, target: Target, failure: Failure, missing: bool) -> None:
    """Record a definite refusal: of the key, the number, the form of its baseline, or the split."""
    if failure.key_refused:
        found.key_refused = True
        found.troubles.append((_key_trouble(failure), None))
    elif missing:
        found.targets[write.number] = {"state": TargetState.MISSING}
    elif failure.status in (400, 422) and _has_other_form(write, target):
        found.as_read.append(write.number)
    elif write.kind is Kind.FORWARD:
        found.targets[write.number] = {"state": TargetState.REJECTED}
    else:
        found.troubles.append((f"{write.number}: Retell refuses the baseline: {failure.detail}", None))


def _unknown(found: Outcomes, number: str, answer: Answer, fresh: Reading | None) -> None:
    """Record that a write may have happened, or may still happen."""
    if fresh is not None and answer.shown is not None and fresh.modified > answer.shown.modified:
        found.written_over.append(number)
    failure = answer.failure
    detail = failure.detail if failure else "Retell answered 200 but does not show the split"
    wait = failure.retry_after if failure else None
    found.troubles.append((f"{number}: outcome not known: {detail}", wait))


def _has_other_form(write: Write, target: Target) -> bool:
    """True if this wrote a baseline verbatim, and a stricter Retell may accept another form of it."""
    return write.step == 0 and write.lists == target.baseline and exact_lists(target.baseline) != target.baseline


def _settled(write: Write, target: Target, answer: Answer, fresh: Reading | None, agreed: bool) -> Settled:
    failure = answer.failure
    return settle(
        write.lists,
        target.modified,
        changes=not shows(target.split, write.lists),
        answer=answer.shown,
        trouble=None if failure is None else failure.trouble,
        back=fresh,
        agreed=agreed,
    )


def _standing(rollout: Rollout, write: Write, target: Target, fresh: Reading, at: datetime) -> TargetColumns:
    """The columns of a target whose write was read back."""
    return {
        "split": dict(write.lists),
        **confirmed_at_step(rollout, write.step, write.retreated),
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
    if failure.number_unknown:
        return Blocked.MISSING
    return Blocked.KEY if failure.key_refused else Blocked.UNREACHABLE


def is_missing(got: Reading | Failure | None) -> bool:
    """True if Retell does not know the number."""
    return isinstance(got, Failure) and got.number_unknown


def reading_trouble(got: Got) -> tuple[str | None, float | None]:
    """The reason that numbers cannot be read, in a line, and the longest pause Retell asked for; a missing number does
    not count."""
    failures: Sequence[Failure] = [f for f in got.values() if isinstance(f, Failure) and not is_missing(f)]
    if not failures:
        return None, None
    first = failures[0]
    text = _key_trouble(first) if first.key_refused else f"Retell cannot be read: {first.detail}"
    return text, max((f.retry_after for f in failures if f.retry_after), default=None)


def _key_trouble(failure: Failure) -> str:
    return f"Retell refuses the API key ({failure.status}): nothing is sent until the key works again"


def contested_text(numbers: Sequence[str]) -> str:
    """The reason once a baseline that Retell accepted has been overwritten three times."""
    return (
        f"another program or person writes {numbers_text(numbers)}: Retell accepted the baseline each time, and the "
        "number showed something else afterwards; find and stop it; until then the baseline is written again at "
        "intervals that grow to 60 s"
    )
