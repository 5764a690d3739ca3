"""The scan for drift: which rollouts it makes due, and which it leaves in peace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from jobs.drift import Drift
from rollout.app import App
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Target, TargetState
from rollout.domain.writes.answers import Failure, Reading, Trouble
from tests.support import logs
from tests.support.hand import Hand
from tests.support.values import FIELD, ONE, TWO, confirmed, entry

EDITED = {FIELD: [entry(8)]}


@dataclass
class Numbers:
    """The list of the account."""

    listed: list[Reading | Failure] = field(default_factory=list)
    asked: int = 0

    def all(self) -> Iterator[Reading | Failure]:
        self.asked += 1
        yield from self.listed


@pytest.fixture
def numbers() -> Numbers:
    return Numbers()


@pytest.fixture
def app(make_app: Callable[..., App], numbers: Numbers) -> App:
    return make_app({"numbers": numbers})


def shown(of: Target, **changes: Any) -> Reading:
    values = {"lists": of.split, "modified": of.modified, "others": of.others, **changes}
    return Reading(of.number, **values)


def begin(hand: Hand, *targets: Target, id_: str = "r1", **changes: Any) -> None:
    hand.create(id_, *targets, due=None, **{"phase": Phase.PROGRESSING, "started_at": hand.store.now(), **changes})


def due(app: App, id_: str = "r1") -> bool:
    found = app.store.load(id_)[0]
    assert found.look_asked is (found.due_at is not None), "a suspect is read again"
    return found.due_at is not None


def scan(app: App) -> int:
    return Drift(app).tick()


KNOWN = confirmed()


@pytest.mark.parametrize(
    ("of", "reading", "phase", "suspect"),
    [
        (KNOWN, shown(KNOWN), Phase.PROGRESSING, False),
        (KNOWN, shown(KNOWN, lists=EDITED, modified=2_000), Phase.PROGRESSING, True),
        (KNOWN, shown(KNOWN, modified=2_000), Phase.PROGRESSING, True),
        (KNOWN, None, Phase.PROGRESSING, True),
        (KNOWN, shown(KNOWN, modified=500), Phase.PROGRESSING, False),
        (KNOWN, shown(KNOWN, lists=EDITED, modified=500), Phase.PROGRESSING, True),
        (KNOWN, shown(KNOWN, modified=500), Phase.HELD, True),
        (confirmed(state=TargetState.MISSING), None, Phase.HELD, False),
        (confirmed(state=TargetState.MISSING), shown(KNOWN), Phase.HELD, True),
        (
            confirmed(state=TargetState.DRIFTED, live=EDITED),
            shown(KNOWN, lists=EDITED, modified=2_000),
            Phase.HELD,
            False,
        ),
        (
            confirmed(state=TargetState.DRIFTED, live={FIELD: [entry(9)]}),
            shown(KNOWN, lists=EDITED, modified=2_000),
            Phase.HELD,
            True,
        ),
    ],
    ids=[
        *("as known", "edited", "touched", "gone", "stale", "an edit behind an old stamp", "stale and held"),
        *("still gone", "back again", "known drift", "drifted further"),
    ],
)
def test_what_differs_from_what_is_known_makes_its_rollout_due(
    app: App, hand: Hand, numbers: Numbers, of: Target, reading: Reading | None, phase: Phase, suspect: bool
) -> None:
    begin(hand, of, phase=phase)
    numbers.listed = [reading] if reading is not None else []
    with logs.captured() as logged:
        assert scan(app) == suspect
    assert due(app) is suspect
    assert [line["rollouts"] for line in logged] == ([["r1"]] if suspect else [])


def test_each_rollout_is_counted_once_and_the_others_are_left_in_peace(app: App, hand: Hand, numbers: Numbers) -> None:
    one, two = confirmed(ONE), confirmed(TWO, ord=1)
    other = confirmed("+14157770009")
    begin(hand, one, two)
    begin(hand, other, id_="r2")
    numbers.listed = [*(shown(each, lists=EDITED, modified=2_000) for each in (one, two)), shown(other)]
    assert scan(app) == 1
    assert (due(app, "r1"), due(app, "r2")) == (True, False)


def test_a_list_that_breaks_off_says_nothing_of_numbers_behind_it(app: App, hand: Hand, numbers: Numbers) -> None:
    one, two = confirmed(ONE), confirmed(TWO, ord=1)
    begin(hand, one, two)
    numbers.listed = [shown(one, lists=EDITED, modified=2_000), Failure(Trouble.UNREACHABLE, "no answer")]
    with logs.captured() as logged:
        assert scan(app) == 0
    assert [(line["event"], line["error"]) for line in logged] == [("scan not finished", "no answer")]
    assert not due(app)


def test_without_a_number_to_watch_retell_is_not_asked(app: App, numbers: Numbers) -> None:
    assert scan(app) == 0
    assert numbers.asked == 0
