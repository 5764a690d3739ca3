"""The sentence of a timetable, and how times, hours and weights are said."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rollout.domain.calendar.timetable import Happens, TimetableRow, timetable
from rollout.domain.calendar.wording import hours_text, moment_text, sentence, weight_text
from rollout.domain.lifecycle.state import Position
from rollout.domain.plan.calendar import Calendar
from tests.support import retreating
from tests.support.values import plan
from tests.unit.calendar.los_angeles import LA, TUESDAY, la


def row(text: str | None, happens: Happens, points: int, position: tuple[int, int] = (1, 1)) -> TimetableRow:
    return TimetableRow(
        None if text is None else la(f"2026-06-{text}"), LA, happens, Position(*position), {"canary": points}
    )


@pytest.mark.parametrize(
    ("nights", "said"),
    [
        ([("02 17:00", "retreat"), ("03 09:00", "return")], "5 % from Tue 17:00 to Wed 09:00"),
        ([("02 17:00", "retreat"), ("03 09:00", "return")] * 2, "5 % from Tue 17:00 to Wed 09:00 and once more"),
        ([("02 17:00", "retreat"), ("03 09:00", "return")] * 3, "5 % from Tue 17:00 to Wed 09:00 and 2 times more"),
        ([("02 17:00", "retreat")], "5 % from Tue 17:00 on"),
        ([("03 09:00", "return")], "again 10 % Wed 09:00"),
        ([(None, "return")], "again 10 % not within two years"),
        (
            [("02 09:00", "return"), ("02 17:00", "retreat"), ("03 09:00", "return")],
            "again 10 % Tue 09:00, 5 % from Tue 17:00 to Wed 09:00",
        ),
    ],
)
def test_nights_are_said_together(nights: list[tuple[str | None, str]], said: str) -> None:
    between = [row(at, Happens(what), 500 if what == "retreat" else 1000) for at, what in nights]
    assert sentence(between, TUESDAY) == f"{said} ({LA})"
    rows = [
        row("02 07:00", Happens.STEP, 1000),
        *between,
        row("04 09:00", Happens.STEP, 5000, (1, 2)),
        row("04 09:00", Happens.PROMOTED, 5000, (1, 2)),
    ]
    assert sentence(rows, TUESDAY) == (
        f"10 % Tue 07:00, {said}, 50 % Thu 09:00 at the earliest, then promoted Thu 09:00 ({LA})"
    )
    again = [*rows[:1], *rows[-2:-1], *between]
    assert sentence(again, TUESDAY) == f"10 % Tue 07:00, 50 % Thu 09:00 at the earliest, then {said} ({LA})"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        ("2026-06-02 09:00", "Tue 09:00"),
        ("2026-06-08 09:00", "Mon 09:00"),
        ("2026-06-09 09:00", "Tue 9 Jun 09:00"),  # a week on, the day's name alone would mean today
        ("2026-06-01 09:00", "Mon 1 Jun 09:00"),
        ("2026-06-01 23:59", "Mon 1 Jun 23:59"),
        ("2026-06-08 23:59:30", "Mon 23:59:30"),
        ("2026-06-02 09:00:00.5", "Tue 09:00:00"),
        ("2027-01-04 09:00:05", "Mon 4 Jan 2027 09:00:05"),
    ],
)
def test_a_time_is_as_short_as_it_is_clear(at: str, text: str) -> None:
    assert moment_text(la(at), LA, TUESDAY) == text


def test_an_hour_that_comes_twice_is_told_apart() -> None:
    first = la("2026-11-01 01:30")
    texts = [moment_text(first + timedelta(hours=n), LA, first) for n in range(3)]
    assert texts == ["Sun 01:30 PDT", "Sun 01:30 PST", "Sun 02:30"]


def test_hours_in_words() -> None:
    def of(*windows: dict[str, Any], zone: str | None = LA) -> str:
        return hours_text(Calendar.model_validate({"zone": zone, "windows": windows}))

    nine_to_five = {"from": "09:00", "to": "17:00"}
    assert of({"days": ["fri", "mon", "tue", "wed", "thu"], **nine_to_five}) == f"Mon-Fri 09:00-17:00 {LA}"
    assert of({"days": ["mon", "tue", "thu", "sat", "sun"], **nine_to_five}, {"from": "22:00", "to": "24:00"}) == (
        f"Mon-Tue+Thu+Sat-Sun 09:00-17:00, daily 22:00-24:00 {LA}"
    )
    assert of() == f"always {LA}"
    assert of(zone=None) == "always"


def test_weights_in_words() -> None:
    assert weight_text({"canary": 1250}) == "12.5 %"
    assert weight_text({"b": 2000, "c": 500}) == "20 % b + 5 % c"


def test_the_sentence_tells_nights_once() -> None:
    p = plan(
        closing={"retreat": 0.05},
        **retreating.HOURS,
        steps=[{"weight": 0.05, "hold": "1h"}, {"weight": 0.5, "hold": "1h"}, {"weight": 1.0, "hold": "1d"}],
    )
    assert sentence(timetable(p, retreating.OFFICE, (), retreating.TUESDAY), retreating.TUESDAY) == (
        "5 % Tue 10:00, 50 % Tue 11:00 at the earliest, then 100 % Tue 12:00, "
        "5 % from Tue 17:00 to Wed 09:00 and 2 times more, promoted Fri 12:00 (UTC)"
    )
