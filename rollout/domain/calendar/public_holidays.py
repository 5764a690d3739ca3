"""Public holidays by country and region, from the `holidays` package; the only importer of it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import date
from functools import lru_cache

_ANY_YEAR = 2026


class UnknownRegion(Exception):
    """No holidays are known for a region; `advice` says what to write instead."""

    def __init__(self, region: str, advice: str) -> None:
        super().__init__(f"no holidays are known for {region}; {advice}")
        self.problem = f"no holidays are known for {region}"
        self.advice = advice


def require(region: str) -> None:
    """UnknownRegion unless holidays are known for it."""
    holidays_of(region, _ANY_YEAR)


@lru_cache(maxsize=1024)
def holidays_of(region: str, year: int) -> Mapping[date, str]:
    """Public holidays of `US` or `US-CA` in one year, observed days included; UnknownRegion if none are known."""
    import holidays  # half a second to import, and most plans have none

    country, _, part = region.partition("-")
    try:
        found = holidays.country_holidays(country, subdiv=part or None, years=year, language="en_US")
    except NotImplementedError:
        known = holidays.list_supported_countries(include_aliases=False)
        near = difflib.get_close_matches(part, known[country], 1, 0.3) if country in known else []
        if country in known:
            advice = f"write {country}-{near[0]}, or {country} for the whole country" if near else f"write {country}"
        else:
            advice = "write an ISO 3166 code, for example US or US-CA"
        raise UnknownRegion(region, advice) from None
    return {day: name for day, name in found.items() if day.year == year}
