"""Rolling back: what is written, what is waited for, and when it has ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rollout.domain.decide.actions import Read, Restore
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts
from rollout.domain.lifecycle.machine import Event
from rollout.domain.lifecycle.state import Kind, TargetState, Write, WriteOutcome
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.writes.drift import Blocked
from rollout.domain.writes.protocol import Finding
from tests.support.clock import START
from tests.support.values import ONE, TWO, applied, confirmed, target, write
from tests.unit.decide.situations import POLL, SECOND, SEEN, back, record_of, restored, scan, wait_of

UNSETTLED = write(step=0, kind=Kind.BASELINE, id="b1")


SETTLED_LATER = applied(UNSETTLED, START + timedelta(seconds=20))


def test_a_rollback_waits_for_no_horizon_before_its_first_write() -> None:
    assert isinstance(decide(back(writes=(write(step=2),)), Facts(), START), Restore)


def taken(times: int, number: str = ONE, last: datetime = START) -> tuple[Write, ...]:
    """So many writes of the baseline that Retell took by a definite 200, the last of them now."""
    return tuple(
        write(
            number,
            0,
            id=f"t{number}{i}",
            kind=Kind.BASELINE,
            at=last - i * SECOND,
            answered=200,
            outcome=WriteOutcome.APPLIED,
            horizon_until=last,
        )
        for i in reversed(range(times))
    )


@pytest.mark.parametrize(("times", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (50, 60)])
def test_the_pauses_grow_while_another_hand_writes_over_the_baseline(times: int, seconds: int) -> None:
    r = back(rollback_at=START - timedelta(hours=1), writes=taken(times))
    wait = wait_of(decide(r, Facts(trouble="outcome not known"), START))
    assert wait.until == START + timedelta(seconds=seconds)
    assert (f"another program or person writes {ONE}" in wait.why) is (times >= 3)
    assert isinstance(decide(r, Facts(), START + timedelta(seconds=seconds)), Restore)


@pytest.mark.parametrize("times", [2, 3, 4])
def test_a_number_is_told_as_fought_over_once_at_the_third_time(times: int) -> None:
    r = back(rollback_at=START - timedelta(hours=1), writes=taken(times))
    assert r.contested_numbers([ONE, TWO]) == [ONE] * (times == 3)


def test_a_number_that_is_fought_over_holds_up_no_other() -> None:
    r = back(targets=(confirmed(), confirmed(TWO, ord=1)), writes=taken(5))
    action = decide(replace(r, rollback_at=START - timedelta(hours=1)), Facts(), START + SECOND)
    assert isinstance(action, Restore)
    assert [t.number for t in action.targets] == [TWO]


def test_trouble_is_waited_out_unless_retell_took_every_baseline() -> None:
    refused = write(TWO, 0, id="b2", kind=Kind.BASELINE, answered=422, outcome=WriteOutcome.NOT_APPLIED)
    numbers = (confirmed(), confirmed(TWO, ord=1))
    away = Facts(trouble="503")
    r = back(targets=numbers, writes=(*taken(1), refused), rollback_at=START - SECOND, tries=2)
    assert wait_of(decide(r, away, START)).until == START + 4 * POLL
    both = replace(r, writes=(*taken(1), *taken(1, TWO)))
    assert wait_of(decide(both, away, START)).until == START + SECOND
    untried = replace(r, writes=taken(1))
    assert wait_of(decide(untried, away, START)).until == START + 4 * POLL


def test_what_was_taken_before_this_rollback_was_ordered_does_not_count() -> None:
    earlier = taken(5, last=START - SECOND)
    assert isinstance(decide(back(writes=earlier), Facts(), START), Restore)


def test_numbers_that_were_never_tried_go_before_one_that_retell_refused() -> None:
    numbers = [f"+1415777{i:04d}" for i in range(40)]
    refused = write(numbers[0], 0, at=START - POLL, answered=422, outcome=WriteOutcome.NOT_APPLIED, horizon_until=START)
    r = back(
        rollback_at=START - timedelta(minutes=1),
        targets=tuple(confirmed(n, ord=i) for i, n in enumerate(numbers)),
        writes=(refused,),
    )
    action = decide(r, Facts(), START)
    assert isinstance(action, Restore)
    assert [t.number for t in action.targets] == [*numbers[1:], numbers[0]]


def test_a_rollback_covers_what_was_ever_written_and_nothing_else() -> None:
    written = target(written=True)  # its write's outcome is not known
    action = decide(back(targets=(written, target(TWO, ord=1))), Facts(), START)
    assert isinstance(action, Restore)
    assert action.targets == (written,)


def test_a_rollback_writes_a_number_again_a_poll_later_at_the_earliest() -> None:
    r = back(writes=(UNSETTLED,))
    assert wait_of(decide(r, Facts(), START + SECOND)).until == START + POLL
    assert isinstance(decide(r, Facts(), START + POLL), Restore)
    later = write(TWO, 0, kind=Kind.BASELINE, id="b2", at=START + SECOND)
    two = back(targets=(confirmed(), confirmed(TWO, ord=1)), writes=(UNSETTLED, later))
    waits = wait_of(decide(two, Facts(), START + 2 * SECOND))
    assert (waits.until, waits.why) == (START + POLL, "2 numbers not at the baseline yet"), "it is back for the first"
    assert waits.waiting_for is WaitingFor.RETELL


@pytest.mark.parametrize(("tries", "pause"), [(0, 5), (1, 10), (2, 20), (3, 30), (40, 30)])
def test_a_rollback_is_retried_without_end_with_growing_pauses(tries: int, pause: int) -> None:
    action = wait_of(decide(back(tries=tries), Facts(trouble="Retell is down"), START))
    assert (action.until, action.why) == (START + timedelta(seconds=pause), "Retell is down")


def test_a_rollback_waits_no_longer_than_its_longest_pause_whatever_retell_asks() -> None:
    action = wait_of(decide(back(), Facts(trouble="429", retry_after=3_600), START))
    assert action.until == START + timedelta(seconds=30)


def test_the_read_back_is_recorded_with_the_time_it_took() -> None:
    action = record_of(decide(back(targets=(restored(),)), Facts(), START + 2 * SECOND))
    assert action.event is Event.READ_BACK
    assert action.values == {"restored_at": START + 2 * SECOND}
    assert "2.000 s after the order" in action.why


def test_rolled_back_is_said_only_from_a_look_begun_after_every_horizon() -> None:
    r = back(targets=(restored(),), restored_at=START, writes=(SETTLED_LATER,))
    over = SETTLED_LATER.horizon_until
    assert isinstance(decide(r, Facts(), START), Read)
    early = scan(Finding.AS_EXPECTED, began=over - SECOND)
    assert wait_of(decide(r, Facts(scan=early), over - SECOND)).next == "rolled_back"
    assert isinstance(decide(r, Facts(scan=early), over), Read), "a look from before counts for nothing"
    late = scan(Finding.AS_EXPECTED, began=over)
    assert record_of(decide(r, Facts(scan=late), over)).event is Event.RESTORED


def test_another_rollouts_open_write_keeps_rolled_back_from_being_said() -> None:
    r = back(targets=(restored(),), restored_at=START, foreign_open=(write(rollout_id="other"),))
    action = decide(r, Facts(scan=scan(Finding.AS_EXPECTED)), START + SECOND)
    assert wait_of(action).next == "rolled_back"


@pytest.mark.parametrize("blocked", [Blocked.UNREACHABLE, Blocked.KEY, Finding.STALE])
def test_rolled_back_is_not_said_blindly(blocked: Finding | Blocked) -> None:
    r = back(targets=(restored(),), restored_at=START)
    action = wait_of(decide(r, Facts(scan=scan(blocked), trouble="no answer"), START))
    assert f"{ONE} cannot be read" in action.why


def test_rolled_back_tells_what_was_left_alone_and_what_is_gone() -> None:
    r = back(
        targets=(restored(state=TargetState.FOREIGN), restored(TWO, ord=1, state=TargetState.MISSING)),
        restored_at=START,
    )
    why = record_of(decide(r, Facts(scan=scan(Finding.DRIFT, Blocked.MISSING)), START)).why
    assert why == (
        f"every number shows its baseline; changed by somebody since, and left as they are: {ONE}; gone: {TWO}"
    )
    plain = back(targets=(restored(), target(TWO, ord=1)), restored_at=START)
    assert record_of(decide(plain, SEEN, START)).why == "every number shows its baseline"
    nothing = back(targets=(target(),), restored_at=START)
    assert record_of(decide(nothing, SEEN, START)).why == "nothing had been written"


def test_a_rollback_of_nothing_is_over_at_once() -> None:
    r = back(targets=(target(),))
    assert record_of(decide(r, Facts(), START)).event is Event.READ_BACK
