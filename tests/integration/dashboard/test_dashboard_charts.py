"""The charts as numbers and as text: no browser is needed to know what they show."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from rollout.domain.gates.summary import ArmCalls, Meter, MetricSummary
from rollout.interfaces.dashboard import charts, evidence_charts
from rollout.interfaces.dashboard.assets import Assets
from rollout.interfaces.dashboard.charts import Moment, Observed
from rollout.interfaces.dashboard.page_state import HistoryLine
from rollout.interfaces.dashboard.render import environment
from rollout.interfaces.dashboard.weight_history import WeightPeriod, weight_history
from tests.support import retreating
from tests.support.clock import START

ENVIRONMENT = environment(Assets())


def draw(macro: str, *values: Any) -> ET.Element:
    """A macro's output as an XML tree: what is not well formed cannot be shown."""
    source = "{% import 'draw.html' as draw with context %}{{ draw." + macro + "(*values) }}"
    text = ENVIRONMENT.from_string(source).render(values=values)
    return ET.fromstring(f"<root>{text}</root>")


def after(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def line(asked: list[Moment], read: list[Moment], end: datetime, **more: Any) -> charts.Timeline:
    values: dict[str, Any] = {"observed": [], "ahead": [], "width": 760, **more}
    made = charts.timeline(asked, read, values.pop("observed"), values.pop("ahead"), end, **values)
    assert made is not None
    return made


# ------------------------------------------------------------------ the small staircase


@pytest.mark.parametrize(
    ("step", "confirmed", "ended", "states"),
    [
        (1, True, "", ["current", "ahead", "ahead"]),
        (2, False, "", ["done", "moving", "ahead"]),
        (3, True, "promoted", ["done", "done", "done"]),
        (2, True, "rolled_back", ["ahead", "ahead", "ahead"]),
    ],
)
def test_stairs_show_where_a_rollout_stands(step: int, confirmed: bool, ended: str, states: list[str]) -> None:
    made = charts.stairs([0.1, 0.5, 1.0], step, confirmed, ended)
    assert [bar.state for bar in made.bars] == states
    assert [bar.height for bar in made.bars] == sorted(bar.height for bar in made.bars)
    assert made.label.startswith(f"step {step} of 3, weight")


def test_stairs_of_many_steps_stay_inside() -> None:
    made = charts.stairs([i / 100 for i in range(1, 101)], 50, True)
    last = made.bars[-1]
    assert last.x + last.width <= made.width + 0.01
    assert all(bar.width > 0 for bar in made.bars)


def test_stairs_as_svg_say_the_same_in_words() -> None:
    svg = draw("stairs", charts.stairs([0.1, 1.0], 1, True)).find("svg")
    assert svg is not None
    assert svg.get("aria-label") == "step 1 of 2, weight 10 %"
    assert [rect.get("class") for rect in svg.findall("rect")] == ["current", "ahead"]


# ------------------------------------------------------------------ the staircase over time


def test_nothing_asked_is_no_chart() -> None:
    assert charts.timeline([], [], [], [], START, width=760) is None


def test_the_read_back_goes_up_where_it_was_read_and_not_where_it_was_asked() -> None:
    asked = [Moment(START, 0.1), Moment(after(30), 0.5)]
    read = [Moment(START, 0.0), Moment(after(1), 0.1), Moment(after(32), 0.5)]
    made = line(asked, read, after(60))
    assert made.asked.count("V") == 1
    assert made.read.count("V") == 2
    full = made.frame.bottom - made.frame.top
    assert f"V{made.frame.bottom - 0.5 * full:.1f}" in made.read
    assert made.now == made.frame.right
    assert "10 %; 50 %" in made.label


def test_minutes_stay_visible_beside_days() -> None:
    read = [Moment(START, 0.1), Moment(after(10), 0.5), Moment(after(10 + 3 * 1440), 1.0)]
    made = line(read, read, after(10 + 3 * 1440 + 60))
    first = next(t for t in made.x_ticks if t.at == START)
    second = float(made.read.split("H")[1].split()[0])
    assert second - first.place > 25


def test_what_lies_ahead_takes_two_fifths_at_most() -> None:
    read = [Moment(START, 0.1)]
    made = line(read, read, after(1), ahead=[Moment(after(60), 0.5), Moment(after(10_000), 0.5)])
    assert made.now is not None
    assert (made.frame.right - made.now) / (made.frame.right - made.frame.left) == pytest.approx(
        charts.AHEAD_MOST, abs=0.01
    )
    assert made.ahead


def extent(tick: charts.Tick) -> tuple[float, float]:
    """From where to where the text goes, at 7 units a character."""
    size = 7 * len(tick.text)
    begin = tick.place - {"start": 0, "middle": size / 2, "end": size}[tick.anchor]
    return begin, begin + size


def test_ticks_do_not_touch_and_name_what_is_needed() -> None:
    moments = [Moment(after(i), 0.01 * i) for i in range(50)]
    made = line(moments, moments, after(50), width=350)
    assert len(made.x_ticks) >= 3
    ends = [extent(t) for t in made.x_ticks]
    assert all(b[0] > a[1] for a, b in pairwise(ends)), ends
    assert ends[0][0] >= made.frame.left
    assert ends[-1][1] <= made.frame.right
    assert {t.style for t in made.x_ticks} == {"minutes"}
    assert {t.style for t in line(moments[:3], moments[:3], after(3)).x_ticks} == {"seconds"}
    far = [Moment(START, 0.1), Moment(after(3000), 1.0)]
    assert {t.style for t in line(far, far, after(3001)).x_ticks} == {"days"}


def test_observed_shares_carry_their_range_by_chance() -> None:
    read = [Moment(START, 0.1)]
    seen = [Observed(START, after(30), 0.2, 50), Observed(after(30), after(60), 0.1, 0)]
    made = line(read, read, after(60), observed=seen)
    assert len(made.observed) == 1, "no calls, nothing observed"
    mark = made.observed[0]
    assert mark.high < mark.y < mark.low, "y grows downwards"
    assert "20.0 % of 50 calls" in mark.text
    svg = draw("timeline", made, "wide").find("svg")
    assert svg is not None
    title = svg.find("g/title")
    assert title is not None
    assert title.text == "observed 20.0 % of 50 calls"
    assert svg.get("aria-label") == made.label


# ------------------------------------------------------------------ meters


def test_a_whisker_is_cut_at_the_ends_of_its_axis() -> None:
    made = evidence_charts.whisker([-0.9, 0.05], 0.0, 0.1, 0.2, width=100)
    assert (made.low, made.zero, made.point) == (0.0, 50.0, 50.0)
    assert made.high == pytest.approx(62.5)
    assert made.margin == pytest.approx(75)


def test_one_axis_fits_every_margin() -> None:
    calls, none, meter = ArmCalls(1, 10), ArmCalls(0, 0), Meter(1.0, 10.0)
    proven = MetricSummary("success", "success", calls, calls, (-0.02, 0.03), meter, meter, 0.15)
    alone = MetricSummary("slow", "slow:p50", calls, none, (-1, 1), meter, None, None)
    assert evidence_charts.reach_of([proven, alone]) == pytest.approx(0.2)


def test_a_bar_says_what_it_measures() -> None:
    svg = draw("bar", 0.256, "alarm", "evidence of harm").find("svg")
    assert svg is not None
    assert svg.get("aria-label") == "evidence of harm"
    assert [rect.get("width") for rect in svg.findall("rect")] == ["100", "25.6"]


def test_a_retreat_is_drawn_with_what_was_asked_and_what_was_read_back() -> None:
    def entry(kind: str, hours: int, retreated: int | None = None) -> HistoryLine:
        return HistoryLine(
            hours, START + hours * retreating.HOUR, "service", kind, "", "1.2", False, retreated=retreated
        )

    lines = [
        entry("intended", 0),
        entry("confirmed", 1),
        entry("retreated", 2, 2000),
        entry("intended", 3, 2000),
        entry("reached", 4, 2000),
        entry("returned", 5),
        entry("intended", 6),
        entry("reached", 7),
    ]
    found = weight_history(retreating.LOW, lines, START + 8 * retreating.HOUR)
    assert [m.weight for m in found.asked] == [0.5, 0.2, 0.5]
    assert [m.weight for m in found.read_back] == [0, 0.5, 0.2, 0.5]
    assert found.periods == [
        WeightPeriod("1.2", None, START + retreating.HOUR, START + 2 * retreating.HOUR),
        WeightPeriod("1.2", 2000, START + 4 * retreating.HOUR, START + 5 * retreating.HOUR),
        WeightPeriod("1.2", None, START + 7 * retreating.HOUR, START + 8 * retreating.HOUR),
    ]
