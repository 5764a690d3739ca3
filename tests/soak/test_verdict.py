"""What a soak's verdict makes of figures that level off, and of figures that grow."""

from __future__ import annotations

import pytest

from tests.soak.verdict import Findings, Sample, judge

MINUTES = 20
WARM = 300.0


def findings(grows: float = 0.0, costs_more: float = 0.0, comes_later: float = 0.0) -> Findings:
    """Twenty minutes, a sample every ten seconds, two rollouts a second; growth by the minute."""
    samples, processor = [], 0.0
    for i in range(MINUTES * 6 + 1):
        at = i * 10.0
        processor += 20 * (0.150 + costs_more * at / 60)
        samples.append(Sample(at, 150 + min(at, WARM) / 10 + grows * at / 60, processor, i * 20))
    lateness = [(float(at), 0.05 + (at % 10 == 0) * 0.4 + comes_later * at / 60) for at in range(MINUTES * 60)]
    return Findings(samples, lateness, {("overview page", 200): 1000, ("start", 201): 2400})


def bad(found: Findings) -> list[str]:
    return [line.name for line in judge(found, WARM) if not line.good]


def test_what_levels_off_after_the_first_minutes_is_good() -> None:
    assert bad(findings()) == []


@pytest.mark.parametrize(
    ("growth", "name"),
    [
        ({"grows": 4.0}, "memory levels off"),
        ({"costs_more": 0.010}, "processor levels off"),
        ({"comes_later": 0.1}, "lateness levels off"),
    ],
    ids=["memory", "processor", "lateness"],
)
def test_what_grows_by_the_minute_is_bad(growth: dict[str, float], name: str) -> None:
    assert bad(findings(**growth)) == [name]


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (("metrics", 500), ["no 5xx"]),
        (("number page", 500), ["no 5xx", "pages open"]),
        (("rollout page", 404), ["pages open"]),
    ],
)
def test_an_answer_that_should_not_be_is_bad(answer: tuple[str, int], names: list[str]) -> None:
    found = findings()
    found.answers[answer] = 1
    assert bad(found) == names


@pytest.mark.parametrize(
    ("answers", "names"),
    [
        ({201: 2280, 409: 120}, []),
        ({201: 2280, 409: 121}, ["starts are taken"]),
        ({409: 2400}, ["starts are taken"]),
        ({}, ["starts are taken"]),
    ],
    ids=["just enough", "one too few", "none taken", "none asked for"],
)
def test_a_soak_that_started_little_says_nothing(answers: dict[int, int], names: list[str]) -> None:
    found = findings()
    del found.answers["start", 201]
    found.answers |= {("start", status): n for status, n in answers.items()}
    assert bad(found) == names


def test_what_failed_is_said() -> None:
    found = findings()
    found.failed.append("start: ConnectionResetError()")
    assert bad(found) == ["nothing else failed"]


def test_a_run_without_figures_is_no_good_one() -> None:
    assert bad(Findings()) == [
        "memory levels off",
        "processor levels off",
        "lateness levels off",
        "starts are taken",
        "pages open",
    ]
