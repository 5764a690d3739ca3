"""P2 to P7 of the write protocol for one batch of numbers: connect, read, intend, send, read back, record.

This is the only place that sends a split to a phone number. rollout.domain.writes.outcomes judges
the answers; rollout.domain.decide.decide decides what to do next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from rollout.domain.errors import ClaimLost
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.entries import IntendedBatch, ObservedNumbers, SettledBatch
from rollout.domain.lifecycle.records import Claim, JournalEntry
from rollout.domain.lifecycle.state import Kind, Rollout, Target, Write
from rollout.domain.splits.baselines import exact_lists
from rollout.domain.writes.answers import Answer, Failure, Order, Reading, Trouble
from rollout.domain.writes.drift import Blocked, NumberScan, absorb, believes_equal_readings
from rollout.domain.writes.outcomes import Got, Outcomes, SentBatch, contested_text, outcomes, reading_trouble, shown
from rollout.domain.writes.protocol import Finding, body_of, shows, wanted_lists
from rollout.engine.ports import Clock, NumberSession, PhoneNumbers, Rollouts

WhenNearlyDone = Callable[[], None] | None  # see NumberSession.write in ports
SERVICE = "service"  # the actor of everything that the service does by itself
EQUAL = 3  # equal readings in a row are believed, even after a newer time stamp
EQUAL_APART = 1.0  # seconds between them, at least; R, if that is more
_AS_KNOWN = frozenset({Finding.AS_EXPECTED, Finding.OTHER_FIELDS})
_READ_BACK = frozenset({Trouble.UNKNOWN, Trouble.CHANGED})  # 412: a proxy may have sent our own write twice
_SUSPECT = frozenset(
    {Finding.DRIFT, Finding.TOUCHED, Finding.AT_BASELINE, Finding.LATE_OWN, Finding.STALE, Blocked.MISSING}
)


_CHANGED = "Retell answered 412 although the number shows the expected split: written without that condition"
_REFUSED = "Retell refuses the baseline as it was read; it is written in the same proportions with a sum of exactly 1"


@dataclass(frozen=True, slots=True)
class Timing:
    """The bounds of the protocol, in seconds. `horizon` is K + D + R + margin."""

    send_window: float = 2.0
    request_deadline: float = 15.0
    lease: float = 45.0
    horizon: float = 200.0
    staleness: float = 0.0
    poll: float = 5.0
    watch: float = 30.0


@dataclass(frozen=True, slots=True)
class BatchWrite:
    """The result of one batch: the snapshot afterwards, what was read, and what went wrong, if anything."""

    rollout: Rollout
    scan: NumberScan | None = None
    trouble: str | None = None
    retry_after: float | None = None
    unsent: int = 0
    sent: int = 0
    seconds: float = 0.0  # from the first to the last PATCH of the batch
    sent_at: float = 0.0  # when the last was answered (seconds of Clock.boot)
    rejected: bool = False
    as_read: tuple[str, ...] = ()  # Retell refuses the baseline of these as it was read
    changed: tuple[str, ...] = ()  # somebody wrote these after they were read, so Retell did not (412)
    etags: Mapping[str, str] = field(default_factory=dict)  # by number, where Retell showed one with it
    changes: tuple[Change, ...] = ()  # what was recorded, in its order
    key_refused: bool = False  # the trouble is the API key

    @property
    def is_clean(self) -> bool:
        """True if everything was written as planned, so that the next batch may follow without a decision."""
        return self.trouble is None and not (self.unsent or self.rejected or self.changed) and self.sent > 0


@dataclass(frozen=True, slots=True)
class _Batch:
    """Writes of one kind to some targets of a rollout, on connections that are open to their numbers."""

    rollout: Rollout
    claim: Claim
    session: NumberSession
    targets: Sequence[Target]
    wanted: Mapping[str, Mapping[str, Any]]  # by number: the lists that it shall show
    kind: Kind
    why: str = ""
    etags: Mapping[str, str] = field(default_factory=dict)  # by number: it must not have changed since (If-Match)

    @property
    def is_forward(self) -> bool:
        return self.kind is Kind.FORWARD


class WriteProtocol:
    """The protocol by which the driver that holds a rollout's claim reads and writes batches of its numbers."""

    def __init__(
        self,
        store: Rollouts,
        numbers: PhoneNumbers,
        clock: Clock,
        timing: Timing,
        ids: Callable[[], str],
        interrupted: Callable[[str, int], bool] = lambda _id, _epoch: False,
    ) -> None:
        self.store = store
        self.numbers = numbers
        self.clock = clock
        self.timing = timing
        self.ids = ids
        self.interrupted = interrupted

    # -------------------------------------------------------------- reading

    def read(self, rollout: Rollout, claim: Claim, numbers: Sequence[str]) -> BatchWrite:
        """Scan these numbers, and record what they show."""
        with self.numbers.session(numbers, urgent=rollout.rollback_at is not None) as session:
            return self._scan(rollout, claim, session, numbers)

    def _scan(
        self, rollout: Rollout, claim: Claim, session: NumberSession, numbers: Sequence[str], *, to_write: bool = False
    ) -> BatchWrite:
        began = self.store.now()
        got = session.read(numbers, to_write=to_write)
        scan = absorb(rollout, shown(got), began, self.store.now())
        suspects = [n for n, finding in scan.findings.items() if finding in _SUSPECT]
        if suspects:
            # One unexpected reading may be stale or broken: it counts only if a second one confirms it.
            self.clock.sleep(self.timing.staleness)
            began = self.store.now()
            again = session.read(suspects, to_write=to_write)
            scan = _updated_scan(rollout, scan, absorb(rollout, shown(again), began, self.store.now()))
            if believes_equal_readings(rollout.phase) and (older := scan.numbers(Finding.STALE)):
                agreed = self._equal_readings(session, {n: [got[n], again[n]] for n in older})
                scan = _updated_scan(rollout, scan, absorb(rollout, agreed, began, self.store.now(), agreed))
            got = {**got, **again}
        trouble, retry_after = reading_trouble(got)
        if trouble is None and (older := scan.numbers(Finding.STALE)):
            trouble = f"Retell shows an older state of {older[0]} than it showed before"
        rollout, changes = self._record_scan(rollout, claim, scan)
        refused = any(isinstance(found, Failure) and found.key_refused for found in got.values())
        etags = {n: found.etag for n, found in got.items() if isinstance(found, Reading) and found.etag is not None}
        return BatchWrite(rollout, scan, trouble, retry_after, changes=changes, key_refused=refused, etags=etags)

    def _equal_readings(self, session: NumberSession, seen: dict[str, list[Reading | Failure]]) -> dict[str, Reading]:
        """Read these numbers until there are `EQUAL` readings of each; return those whose readings were all equal."""
        while seen and len(next(iter(seen.values()))) < EQUAL:
            self.clock.sleep(max(self.timing.staleness, EQUAL_APART))
            for number, reading in session.read(list(seen)).items():
                seen[number].append(reading)
        firsts = {n: (readings[0], readings) for n, readings in seen.items()}
        return {
            n: first
            for n, (first, readings) in firsts.items()
            if isinstance(first, Reading) and all(each == first for each in readings)
        }

    def _record_scan(self, rollout: Rollout, claim: Claim, scan: NumberScan) -> tuple[Rollout, tuple[Change, ...]]:
        change = scan.change
        seen = set(scan.findings) - set(scan.numbers(Finding.STALE, Blocked.UNREACHABLE, Blocked.KEY))
        if rollout.look_asked and seen >= {t.number for t in rollout.owned_targets}:
            change = change.merged(Change(rollout={"look_asked": False}))
        if not change:
            return rollout, ()
        entries = []
        if change.targets or change.writes:
            odd = {n: str(f) for n, f in scan.findings.items() if f not in _AS_KNOWN}
            entries = [JournalEntry("observed", SERVICE, "; ".join(scan.notes), ObservedNumbers(odd).to_json())]
        # Late writes of a rollback: nothing else counts them.
        entries += _contested_entries(rollout, scan.numbers(Finding.LATE_OWN))
        now = self.store.commit(claim, change, entries)
        return change.applied_to(rollout, now), (change,)

    # -------------------------------------------------------------- writing forward

    def apply(
        self, rollout: Rollout, claim: Claim, targets: Sequence[Target], when_nearly_done: WhenNearlyDone = None
    ) -> BatchWrite:
        """Write the split that is wanted to these targets, where they still show what we know (P2)."""
        numbers = [t.number for t in targets]
        with self.numbers.session(numbers) as session:
            seen = self._scan(rollout, claim, session, numbers, to_write=True)
            assert seen.scan is not None
            odd = [n for n, f in seen.scan.findings.items() if f not in _AS_KNOWN and not isinstance(f, Blocked)]
            if odd or seen.scan.numbers(Blocked.MISSING):
                return seen  # `decide` says what follows; no step is written while a number has drifted
            rollout = seen.rollout
            ready = [rollout.by_number[n] for n in numbers if seen.scan.findings[n] in _AS_KNOWN]
            if not ready:
                return seen
            wanted = {t.number: wanted_lists(rollout, t) for t in ready}
            batch = _Batch(rollout, claim, session, ready, wanted, Kind.FORWARD, etags=seen.etags)
            done = self._write_batch(batch, when_nearly_done)
            if second := (*done.as_read, *done.changed):
                # A later wave's number, put back after an edit (`restore`), or one that was edited a moment ago: read it
                # again before the second write.
                again = self._scan(done.rollout, claim, session, second, to_write=True)
                assert again.scan is not None
                known = {n for n in second if again.scan.findings[n] in _AS_KNOWN}
                done = replace(
                    done,
                    rollout=again.rollout,
                    scan=again.scan,
                    trouble=done.trouble or again.trouble,
                    as_read=tuple(n for n in done.as_read if n in known),
                    changes=(*done.changes, *again.changes),
                )
                done = self._in_other_form(done, replace(batch, etags=again.etags))
                unchanged = {n: wanted[n] for n in done.changed if n in known}
                done = self._write_again(done, replace(batch, etags={}), unchanged, _CHANGED)
            return replace(
                done,
                changes=(*seen.changes, *done.changes),
                trouble=done.trouble or seen.trouble,
                key_refused=done.key_refused or seen.key_refused,
                retry_after=done.retry_after or seen.retry_after,
            )

    # -------------------------------------------------------------- writing back

    def restore(
        self, rollout: Rollout, claim: Claim, targets: Sequence[Target], when_nearly_done: WhenNearlyDone = None
    ) -> BatchWrite:
        """Write the baselines back unconditionally: the rollback was ordered after any edit."""
        with self.numbers.session([t.number for t in targets], urgent=True) as session:
            wanted = {t.number: dict(t.baseline) for t in targets}
            batch = _Batch(rollout, claim, session, targets, wanted, Kind.BASELINE)
            return self._in_other_form(self._write_batch(batch, when_nearly_done), batch)

    def _in_other_form(self, done: BatchWrite, batch: _Batch) -> BatchWrite:
        """Write the baselines that Retell refused as they were read in the form that adds up to exactly 1."""
        wanted = {number: exact_lists(done.rollout.by_number[number].baseline) for number in done.as_read}
        return self._write_again(done, batch, wanted, _REFUSED)

    def _write_again(
        self, done: BatchWrite, batch: _Batch, wanted: Mapping[str, Mapping[str, Any]], why: str
    ) -> BatchWrite:
        """Write these numbers of a batch that is done once more."""
        if not wanted:
            return done
        targets = [done.rollout.by_number[number] for number in wanted]
        then = self._write_batch(replace(batch, rollout=done.rollout, targets=targets, wanted=wanted, why=why))
        return replace(
            done,
            rollout=then.rollout,
            trouble=done.trouble or then.trouble,
            key_refused=done.key_refused or then.key_refused,
            retry_after=done.retry_after or then.retry_after,
            unsent=done.unsent + then.unsent,
            sent_at=then.sent_at,
            changes=(*done.changes, *then.changes),
        )

    # -------------------------------------------------------------- P3 to P7

    def _write_batch(self, batch: _Batch, when_nearly_done: WhenNearlyDone = None) -> BatchWrite:
        """Take one batch through the phases of the protocol: intend, send, read back, record."""
        # The window opens before the intents are recorded: a slow database shortens it, never a horizon.
        send_by = self.clock.boot() + self.timing.send_window
        batch, intended, intents = self._intend(batch)
        began = self.clock.boot()
        answers = self._send(batch, intents, send_by, when_nearly_done)
        ended = self.clock.boot()
        found = self._read_back(batch, intents, answers)
        rollout, settled = self._record_outcomes(batch, found)
        unsent = sum(1 for a in answers.values() if a.failure and a.failure.trouble is Trouble.UNREACHABLE)
        return BatchWrite(
            rollout,
            trouble=settled.trouble,
            retry_after=settled.retry_after,
            unsent=unsent,
            sent=len(answers) - unsent,
            seconds=ended - began,
            sent_at=ended,
            rejected=any(a.failure and a.failure.trouble is Trouble.REJECTED for a in answers.values()),
            as_read=tuple(settled.as_read),
            changed=tuple(settled.changed),
            changes=(intended, settled.change),
            key_refused=settled.key_refused,
        )

    def _intend(self, batch: _Batch) -> tuple[_Batch, Change, dict[str, Write]]:
        """P3: record each write, confirmed by the database before its first byte leaves.

        The lease is renewed to cover what follows.
        """
        rollout, now = batch.rollout, self.store.now()
        horizon = now + timedelta(seconds=self.timing.horizon)
        intents = {t.number: self._intent(batch, t, now, horizon) for t in batch.targets}
        change = Change(
            new_writes=tuple(intents.values()),
            targets={t.number: {"written": True} for t in batch.targets if not t.written},
        )
        retreated, by_hand = (rollout.retreated, rollout.hand) if batch.is_forward else (None, None)
        data = IntendedBatch(batch.kind, rollout.position, retreated, by_hand)
        entry = JournalEntry("intended", SERVICE, batch.why, data.to_json())
        now = self.store.commit(batch.claim, change, [entry], timedelta(seconds=self.timing.lease))
        return replace(batch, rollout=change.applied_to(rollout, now)), change, intents

    def _intent(self, batch: _Batch, target: Target, now: datetime, horizon: datetime) -> Write:
        rollout, lists = batch.rollout, batch.wanted[target.number]
        step, retreated = rollout.wanted(target) if batch.is_forward else (0, None)
        return Write(
            id=self.ids(),
            number=target.number,
            kind=batch.kind,
            wave=rollout.position.wave,
            step=step,
            epoch=batch.claim.epoch,
            lists=lists,
            body=body_of(lists),
            intent_at=now,
            horizon_until=horizon,
            rollout_id=rollout.id,
            retreated=retreated,
        )

    def _send(
        self, batch: _Batch, intents: Mapping[str, Write], send_by: float, when_nearly_done: WhenNearlyDone
    ) -> Mapping[str, Answer]:
        """P4: send each intent once, on a connection that is open. Forward writes end when a command takes over."""
        return batch.session.write(
            [Order(w.number, w.body, batch.etags.get(w.number)) for w in intents.values()],
            send_by=send_by,
            stop=lambda: batch.is_forward and self._is_interrupted(batch),
            when_nearly_done=when_nearly_done,
        )

    def _read_back(self, batch: _Batch, intents: Mapping[str, Write], answers: Mapping[str, Answer]) -> SentBatch:
        """P6: read every number that a byte may have reached, and the numbers that Retell seems not to know."""
        session, answered_at = batch.session, self.store.now()
        unclear = [n for n, a in answers.items() if a.failure is None or a.failure.trouble in _READ_BACK]
        backs = session.read(unclear) if unclear else {}
        doubted = {} if batch.is_forward else _doubted(batch.rollout, intents, answers, backs)
        agreed = self._equal_readings(session, doubted)
        perhaps_gone = [n for n, a in answers.items() if a.failure and a.failure.status in (404, 422)]
        gone = session.read(perhaps_gone) if perhaps_gone else {}
        return SentBatch(intents, answers, answered_at, backs, gone, frozenset(agreed))

    def _record_outcomes(self, batch: _Batch, found: SentBatch) -> tuple[Rollout, Outcomes]:
        """P7: record what the answers and the readings prove. ClaimLost when another driver took over."""
        rollout = batch.rollout
        settled = outcomes(
            rollout, found, staleness=timedelta(seconds=self.timing.staleness), told_to_stop=self._is_interrupted(batch)
        )
        change = settled.change
        entry = JournalEntry("settled", SERVICE, "", SettledBatch(batch.kind, settled.summary).to_json())
        written_over = [] if batch.is_forward else settled.written_over
        fought = _contested_entries(change.applied_to(rollout, found.answered_at), written_over)
        try:
            now = self.store.commit(batch.claim, change, [entry, *fought])
        except ClaimLost:
            # Another driver has the claim now, but Retell's answers stay true.
            self.store.record_outcomes(rollout.id, change, entry)
            raise
        return change.applied_to(rollout, now), settled

    def _is_interrupted(self, batch: _Batch) -> bool:
        return self.interrupted(batch.rollout.id, batch.claim.epoch)


def _updated_scan(rollout: Rollout, scan: NumberScan, later: NumberScan) -> NumberScan:
    """The scan with a second reading of some numbers in place of the first."""
    again = {w.id for w in rollout.writes if w.number in later.findings}
    kept = Change(
        targets={n: v for n, v in scan.change.targets.items() if n not in later.findings},
        writes={id_: v for id_, v in scan.change.writes.items() if id_ not in again},
    )
    return NumberScan(
        min(scan.began, later.began),
        {**scan.findings, **later.findings},
        kept.merged(later.change),
        (*scan.notes, *later.notes),
    )


def _doubted(
    rollout: Rollout, intents: Mapping[str, Write], answers: Mapping[str, Answer], backs: Got
) -> dict[str, list[Reading | Failure]]:
    """Numbers that Retell answered 200 for and that show our split, with a time stamp older than one seen before."""
    found: dict[str, list[Reading | Failure]] = {}
    for number, back in backs.items():
        shown_by, before = answers[number].shown, rollout.by_number[number].modified
        if shown_by is None or not isinstance(back, Reading) or back.modified >= before:
            continue
        if back.modified >= shown_by.modified and shows(back.lists, intents[number].lists):
            found[number] = [back]
    return found


def _contested_entries(rollout: Rollout, numbers: Sequence[str]) -> list[JournalEntry]:
    """The record, once, that another program or person has overwritten the baseline three times."""
    fought = rollout.contested_numbers(numbers)
    return [JournalEntry("contested", SERVICE, contested_text(fought), {"numbers": fought})] if fought else []
