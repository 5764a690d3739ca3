"""What one batch's answers amount to: each kind of answer, what is recorded of it, and what people are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rollout.domain.lifecycle.changes import WriteResult
from rollout.domain.lifecycle.entries import SettledWrite
from rollout.domain.lifecycle.state import TargetState, WriteOutcome
from rollout.domain.splits.baselines import exact_lists
from rollout.domain.writes.answers import Answer, Failure, Reading, Trouble
from rollout.domain.writes.drift import Blocked
from rollout.domain.writes.outcomes import (
    Outcomes,
    SentBatch,
    contested_text,
    is_missing,
    outcomes,
    reading_trouble,
    shown,
)
from rollout.domain.writes.protocol import Settled, lists_at
from tests.support.clock import START
from tests.support.values import FIELD, ONE, THREE, TWO, entry, only, plan, rollout, target, write

AT = START + timedelta(seconds=3)
STALE = timedelta(seconds=2)
SPLIT = lists_at(plan(), only(6), 1)
UNREACHABLE = Failure(Trouble.UNREACHABLE, "not sent: the send window has closed", retry_after=4.0)


def reading(number: str = ONE, modified: int = 2_000, lists: Any = SPLIT) -> Reading:
    return Reading(number, lists, modified, "digest")


def refused(status: int, detail: str = "no such agent") -> Answer:
    return Answer(status, failure=Failure(Trouble.REJECTED, detail, status))


def judged(answer: Answer, back: Any = None, *, step: int = 1, gone: Any = None, stop: bool = False) -> Outcomes:
    """Of one number."""
    made = write(ONE, step)
    standing = target(ONE, split=SPLIT, step=1, written=True) if step == 0 else target(ONE, written=True)
    return outcomes(
        rollout(targets=(standing,)),
        SentBatch(
            {ONE: made},
            {ONE: answer},
            AT,
            backs={} if back is None else {ONE: back},
            gone={} if gone is None else {ONE: gone},
        ),
        staleness=STALE,
        told_to_stop=stop,
    )


def test_a_write_that_was_read_back_is_confirmed_and_no_reading_before_it_counts() -> None:
    found = judged(Answer(200, reading()), reading())
    assert found.writes == {"w1": WriteResult(WriteOutcome.APPLIED, answered=200, horizon_until=AT + STALE)}
    of = found.targets[ONE]
    assert (of["state"], of["split"], of["live"], of["live_at"]) == (TargetState.CONFIRMED, SPLIT, SPLIT, AT)
    assert (of["step"], of["modified"]) == (1, 2_000)
    assert found.summary[ONE] == SettledWrite(Settled.APPLIED, 200, 2_000)
    assert (found.trouble, found.retry_after) == (None, None)
    assert found.change.writes == found.writes
    assert found.change.targets == found.targets


def test_a_baseline_that_was_read_back_is_restored() -> None:
    back = reading(lists=only(6), modified=3_000)
    found = judged(Answer(200, back), back, step=0)
    assert (found.targets[ONE]["state"], found.targets[ONE]["step"]) == (TargetState.RESTORED, 0)


def test_a_write_without_an_answer_that_is_seen_keeps_its_horizon() -> None:
    found = judged(Answer(None, failure=Failure(Trouble.UNKNOWN, "no answer in time")), reading())
    assert found.writes == {"w1": WriteResult(WriteOutcome.APPLIED, answered=None)}
    assert found.targets[ONE]["state"] is TargetState.CONFIRMED


def test_an_answer_that_could_not_be_read_back_is_a_trouble() -> None:
    found = judged(Answer(200, reading()), Failure(Trouble.UNREACHABLE, "no answer in time"))
    assert found.writes == {"w1": WriteResult(horizon_until=AT + STALE)}, "not answered as taken: nobody saw it"
    assert found.targets == {}
    assert found.trouble == f"{ONE}: written, but not read back yet"


def test_an_answer_that_shows_something_else_is_not_known() -> None:
    found = judged(Answer(200, reading(lists=only(6))), reading(lists=only(6)))
    assert found.writes == {}, "not answered as taken: nobody saw it written over"
    assert found.trouble == f"{ONE}: outcome not known: Retell answered 200 but does not show the split"


def test_an_answer_that_was_written_over_counts_as_taken() -> None:
    found = judged(Answer(200, reading()), reading(lists=only(8), modified=2_001))
    assert found.writes == {"w1": WriteResult(answered=200)}
    assert found.written_over == [ONE]


CHANGED = Answer(412, failure=Failure(Trouble.CHANGED, "Retell answered 412", 412))


def test_a_number_that_had_changed_was_not_written() -> None:
    found = judged(CHANGED, reading(lists=only(8)))
    assert found.writes == {"w1": WriteResult(WriteOutcome.NOT_APPLIED, answered=412, horizon_until=AT)}
    assert (found.changed, found.targets, found.trouble) == ([ONE], {}, None)


def test_a_number_that_had_changed_to_what_was_sent_was_written() -> None:
    """An edge may send a request twice, and the second time the number has changed: by the first one."""
    found = judged(CHANGED, reading())
    assert found.writes == {"w1": WriteResult(WriteOutcome.APPLIED, answered=412)}, "its horizon stays open"
    assert (found.changed, found.targets[ONE]["state"]) == ([], TargetState.CONFIRMED)


def test_an_answer_that_cannot_be_read_counts_as_taken() -> None:
    found = judged(Answer(200, failure=Failure(Trouble.UNKNOWN, "Retell answered 200, but it is not JSON", 200)))
    assert found.writes == {"w1": WriteResult(answered=200)}
    assert found.written_over == []


def test_no_answer_is_not_known_and_its_pause_is_kept() -> None:
    found = judged(Answer(503, failure=Failure(Trouble.UNKNOWN, "Retell answered 503", 503, 7.5)))
    assert found.writes == {"w1": WriteResult(answered=503)}
    assert (found.trouble, found.retry_after) == (f"{ONE}: outcome not known: Retell answered 503", 7.5)


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refused_split_is_recorded_with_its_number(status: int) -> None:
    found = judged(refused(status), gone=reading(lists=only(6)))
    assert found.writes == {"w1": WriteResult(WriteOutcome.NOT_APPLIED, answered=status, horizon_until=AT)}, (
        "it can have no effect any more"
    )
    assert found.targets == {ONE: {"state": TargetState.REJECTED}}
    assert found.trouble is None, "decide says what follows"


def test_a_refusal_of_a_number_that_is_gone_says_so() -> None:
    found = judged(refused(404), gone=Failure(Trouble.REJECTED, "not found", 404))
    assert found.targets == {ONE: {"state": TargetState.MISSING}}


def test_a_refused_baseline_leaves_the_target_to_be_restored() -> None:
    found = judged(refused(422), step=0, gone=reading())
    assert found.targets == {}
    assert found.trouble == f"{ONE}: Retell refuses the baseline: no such agent"


ROUNDED = {FIELD: [entry(5, 0.33), entry(6, 0.66)]}


@pytest.mark.parametrize(
    ("baseline", "lists", "status", "as_read"),
    [
        (ROUNDED, ROUNDED, 400, [ONE]),
        (ROUNDED, ROUNDED, 422, [ONE]),
        (ROUNDED, ROUNDED, 404, []),  # of the agent, whatever the form
        (ROUNDED, exact_lists(ROUNDED), 422, []),  # it has that form already
        (only(6), only(6), 422, []),  # there is no other one
    ],
)
def test_a_baseline_that_is_refused_as_it_was_read_is_noted_for_its_other_form(
    baseline: Any, lists: Any, status: int, as_read: list[str]
) -> None:
    r = rollout(targets=(target(ONE, baseline=baseline, split=SPLIT, step=1, written=True),))
    batch = SentBatch({ONE: write(ONE, 0, lists=lists)}, {ONE: refused(status)}, AT)
    found = outcomes(r, batch, staleness=STALE, told_to_stop=False)
    assert found.as_read == as_read
    assert (found.trouble is None) is bool(as_read)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_no_fault_of_the_split(status: int) -> None:
    found = judged(refused(status))
    assert found.key_refused
    assert found.targets == {}
    assert found.trouble == f"Retell refuses the API key ({status}): nothing is sent until the key works again"


def test_what_was_not_sent_can_have_no_effect() -> None:
    found = judged(Answer(None, failure=UNREACHABLE))
    assert found.writes == {"w1": WriteResult(WriteOutcome.NOT_APPLIED, horizon_until=AT)}
    assert (found.trouble, found.retry_after) == (f"{ONE}: {UNREACHABLE.detail}", 4.0)
    assert judged(Answer(None, failure=UNREACHABLE), stop=True).trouble is None, "it was told to stop"


def several(*answers: Answer) -> Outcomes:
    numbers = (ONE, TWO, THREE)[: len(answers)]
    of = rollout(targets=tuple(target(n, ord=i) for i, n in enumerate(numbers)))
    intents = {n: write(n, id=f"w{n}") for n in numbers}
    given = dict(zip(numbers, answers, strict=True))
    return outcomes(of, SentBatch(intents, given, AT), staleness=STALE, told_to_stop=False)


def test_the_rest_of_a_batch_that_was_too_large_for_its_window_is_no_trouble() -> None:
    unsent = Answer(None, failure=UNREACHABLE)
    assert several(unsent, unsent).trouble is not None
    found = several(refused(422), unsent, unsent)
    assert found.trouble is None
    assert [found.writes[f"w{n}"].outcome for n in (TWO, THREE)] == [WriteOutcome.NOT_APPLIED] * 2


def test_many_troubles_are_told_in_a_line() -> None:
    found = several(*(Answer(503, failure=Failure(Trouble.UNKNOWN, f"answer {i}", 503, i)) for i in range(3)))
    assert found.trouble == (f"{ONE}: outcome not known: answer 0; {TWO}: outcome not known: answer 1; and 1 more")
    assert found.retry_after == 2


def test_what_a_reading_that_failed_means_for_its_number() -> None:
    failures = [
        (Trouble.REJECTED, 404, Blocked.MISSING),
        (Trouble.REJECTED, 422, Blocked.MISSING),
        (Trouble.REJECTED, 401, Blocked.KEY),
        (Trouble.REJECTED, 403, Blocked.KEY),
        (Trouble.REJECTED, 400, Blocked.UNREACHABLE),
        (Trouble.UNREACHABLE, 404, Blocked.UNREACHABLE),
        (Trouble.UNREACHABLE, None, Blocked.UNREACHABLE),
    ]
    got: dict[str, Reading | Failure] = {str(i): Failure(t, "why", s) for i, (t, s, _) in enumerate(failures)}
    assert list(shown(got).values()) == [blocked for *_, blocked in failures]
    assert shown({ONE: reading()}) == {ONE: reading()}


def test_readings_that_failed_say_what_is_in_the_way() -> None:
    missing = Failure(Trouble.REJECTED, "not found", 404)
    assert is_missing(missing)
    assert not is_missing(reading())
    assert not is_missing(None)
    assert reading_trouble({ONE: reading(), TWO: missing}) == (None, None), "a number that is gone is a finding"
    slow = Failure(Trouble.UNREACHABLE, "429", 429, 3.0)
    assert reading_trouble({ONE: slow, TWO: Failure(Trouble.UNREACHABLE, "429", 429, 5.0)}) == (
        "Retell cannot be read: 429",
        5.0,
    )
    key = Failure(Trouble.REJECTED, "no", 401)
    assert (
        reading_trouble({ONE: key})[0] == "Retell refuses the API key (401): nothing is sent until the key works again"
    )


def test_a_contested_number_is_named_and_who_must_act() -> None:
    why = contested_text([ONE, TWO])
    assert why.startswith(f"another program or person writes {ONE}, {TWO}: ")
    assert "find and stop it" in why
