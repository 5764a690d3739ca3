"""Public holidays by region: the days of one year, and what to write for a region that is not known."""

from __future__ import annotations

from datetime import date

import pytest

from rollout.domain.calendar.public_holidays import UnknownRegion, holidays_of, require


def test_holidays_are_those_of_one_year_with_the_days_on_which_they_are_observed() -> None:
    found = holidays_of("US", 2022)
    assert found[date(2022, 12, 25)] == "Christmas Day"
    assert found[date(2022, 12, 26)] == "Christmas Day (observed)"
    assert {day.year for day in found} == {2022}, "New Year's Day of 2022 was observed in 2021"


def test_a_part_of_a_country_has_its_own() -> None:
    chavez = date(2026, 3, 31)
    assert chavez in holidays_of("US-CA", 2026)
    assert chavez not in holidays_of("US", 2026)


@pytest.mark.parametrize(
    ("region", "advice"),
    [
        ("XX", "write an ISO 3166 code, for example US or US-CA"),
        ("XX-CA", "write an ISO 3166 code, for example US or US-CA"),
        ("US-CAL", "write US-CA, or US for the whole country"),
        ("US-99", "write US"),
    ],
)
def test_a_region_without_known_holidays_is_refused_with_what_to_write(region: str, advice: str) -> None:
    with pytest.raises(UnknownRegion) as refused:
        require(region)
    assert (refused.value.problem, refused.value.advice) == (f"no holidays are known for {region}", advice)
    assert str(refused.value) == f"no holidays are known for {region}; {advice}"


def is_refused(region: str) -> bool:
    try:
        require(region)
    except UnknownRegion:
        return True
    return False


def test_a_known_region_is_not_refused() -> None:
    assert [region for region in ("US", "US-CA", "XX", "DE-BY") if is_refused(region)] == ["XX"]
