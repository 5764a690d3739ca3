"""What people read of a verdict: rates of good calls, forecasts only while calls decide, and a report that fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from rollout.domain.gates.summary import summarise
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.interfaces.backend.local import LocalBackend
from rollout.interfaces.dashboard.rollout_page import arms as page_arms
from rollout.interfaces.views import gates, report_pages, rollout
from rollout.interfaces.views.report import Report, report
from rollout.interfaces.views.report_advice import Advice
from tests.scenarios.gates.test_gate_scenarios import GateScene, judged
from tests.support.values import said

GOES_ON = (Phase.PROGRESSING, Phase.PAUSED)


@pytest.fixture
def undecided(sqlite_url: str) -> Iterator[Rollout]:
    """A rollout after thirty equal calls: nothing is decided, and a forecast is made."""
    with GateScene(sqlite_url) as scene:
        scene.given(judged())
        scene.drive()
        scene.calls(60, share=0.1, canary_bad=0.15)
        assert "more call" in scene.rollout.verdict.outlook
        yield scene.rollout


@pytest.fixture
def passed(sqlite_url: str) -> Iterator[Rollout]:
    """A rollout whose gates have passed its first step."""
    with GateScene(sqlite_url) as scene:
        scene.given(judged(steps=[{"weight": 0.5, "hold": "9d"}, {"weight": 1.0, "hold": "1h"}]))
        scene.drive()
        scene.calls(400, share=0.5, canary_bad=0.1, look_every=20)
        assert scene.rollout.verdict.outcome == "pass"
        yield scene.rollout


def report_of(r: Rollout) -> Report:
    """The report without looks and journal."""
    return report(r, [], [], r.updated_at)


def test_a_rate_beside_success_is_that_of_good_calls(undecided: Rollout) -> None:
    found = summarise(undecided)
    assert found is not None
    row = next(m for m in found.arms[0].metrics if m.name == "success")
    bad, calls = row.baseline.bad, row.baseline.calls
    assert bad and calls and row.difference is not None and row.interval is not None
    line = next(text for text in gates.lines(found) if text.startswith("  success"))
    assert f"baseline {calls - bad} of {calls} good ({100 * (calls - bad) / calls:.1f} %)" in line
    assert f"{-100 * row.difference:+.1f} points" in line, "more good calls are a plus"
    assert f"[{-100 * row.interval[1]:+.1f} .. {-100 * row.interval[0]:+.1f}]" in line
    shown = page_arms(undecided, undecided.updated_at)[0].rows[0]
    assert shown.difference == pytest.approx(-row.difference)
    assert shown.interval[0] <= shown.difference <= shown.interval[1]
    page = report_pages.html(report_of(undecided))
    assert f"{calls - bad} of {calls}" in page.split("<table>")[1].split("</table>")[0]
    assert " bad" not in page.split("<table>")[1].split("</table>")[0]


@pytest.mark.slow
@pytest.mark.parametrize("phase", list(Phase))
def test_a_forecast_is_told_only_while_calls_decide_what_comes_next(undecided: Rollout, phase: Phase) -> None:
    held = {"reason": "drift", "why": "the live split is another one"} if phase is Phase.HELD else {}
    stands = replace(undecided, phase=phase, **held)
    told = [
        *rollout.show(stands)["gates_text"],
        rollout.show(stands)["gates"][0]["reason"],
        report_pages.text(report_of(stands)),
        report_pages.html(report_of(stands)),
        page_arms(stands, stands.updated_at)[0].forecast,
        page_arms(stands, stands.updated_at)[0].of.reason,
    ]
    forecasts = [text for text in told if "more call" in text or "no forecast" in text.lower()]
    assert bool(forecasts) is (phase in GOES_ON), forecasts
    assert "Not enough calls yet to rule out" in told[0], "the verdict itself stays"


def test_a_verdict_without_its_evidence_is_shown_as_none(undecided: Rollout) -> None:
    """Held while the baseline's own calls were being read, so before anything was judged."""
    bare = replace(undecided, phase=Phase.HELD, verdict=said("undecided", "being read"))
    assert page_arms(bare, bare.updated_at) == []
    assert rollout.show(bare)["gates"] == []
    assert report_of(bare).to_json()["arms"] == []


def test_a_held_rollout_has_no_timetable(sqlite_url: str) -> None:
    with GateScene(sqlite_url) as scene:
        scene.given(judged())
        scene.drive()
        assert LocalBackend(scene.app).show(scene.id)["timetable"]
        scene.calls(300, share=0.0, canary_bad=0.15, look_every=20)
        scene.stands("held", 1, reason="split")
        assert LocalBackend(scene.app).show(scene.id)["timetable"] is None


def test_no_forecast_after_a_pass(passed: Rollout) -> None:
    arm = page_arms(passed, passed.updated_at)[0]
    assert (arm.of.outcome, arm.forecast) == ("pass", "")


@pytest.mark.slow
@pytest.mark.parametrize("phase", list(Phase))
def test_a_report_never_advises_to_promote_what_is_over_or_held(passed: Rollout, phase: Phase) -> None:
    stands = replace(passed, phase=phase, reason="callers complain")
    over = phase.is_final or phase is Phase.ROLLING_BACK
    for found in (report_of(stands), report_of(replace(stands, verdict=None))):
        assert (found.recommendation is None) is over
        assert (found.ending is not None) is over
    advice = report_of(stands).recommendation
    assert advice is None or advice.advice is (Advice.ANSWER if phase is Phase.HELD else Advice.PROMOTE)
    whole = report_pages.text(report_of(stands))
    assert ("Promote canary" in whole) is (phase in (Phase.PENDING, *GOES_ON))
    if phase is Phase.ROLLED_BACK:
        assert (
            "What was done: Rolled back: callers complain. The calls had shown that canary is not worse than the baseline "
            "by the margins of this plan."
        ) in whole
