"""The hours in which steps may advance: open hours, holidays, freezes. Data only; nothing here delays a rollback."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BeforeValidator, Discriminator, Field, PlainValidator, Tag, WithJsonSchema, model_validator

from rollout.domain.plan.fields import (
    Finding,
    MomentOrDay,
    OneOrMany,
    Part,
    Weight,
    complaint,
    complaints,
    shown,
    words,
)


class Day(StrEnum):
    """Days of the week; `list(Day).index` is Python's weekday()."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


def _clock_time(value: object) -> str:
    text = value if isinstance(value, str) else ""
    if text == "24:00" or re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text, re.ASCII):
        return text
    if match := re.fullmatch(r"([0-9]):([0-5][0-9])", text, re.ASCII):
        raise complaint(f"{shown(value)} has one digit of hours", f'write "0{match[0]}"')
    raise complaint(f"{shown(value)} is not a time of day", 'write hours and minutes, for example "09:00" or "17:30"')


ClockTime = Annotated[
    str,
    PlainValidator(_clock_time),
    WithJsonSchema({"type": "string", "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"}),
]


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


class Window(Part):
    """Open hours on some days, in the plan's zone. `to` before `from` runs over midnight."""

    days: tuple[Day, ...] = Field(tuple(Day), min_length=1, description="Left out: every day.")
    opens: ClockTime = Field(alias="from", description='For example "09:00".')
    closes: ClockTime = Field(alias="to", description='For example "17:00"; "24:00" is midnight at the end.')

    @property
    def opens_minute(self) -> int:
        """Minutes after midnight at which the window opens."""
        return _minutes(self.opens)

    @property
    def closes_minute(self) -> int:
        """Minutes after midnight at which it closes; at or below `opens_minute`: on the next day."""
        return _minutes(self.closes)

    @model_validator(mode="after")
    def _something_open(self) -> Self:
        if self.opens == "24:00":
            raise complaint("a window cannot open at 24:00", 'write "00:00" of the next day', ("from",))
        if self.opens == self.closes:
            raise complaint(f"the window is empty: it opens and closes at {self.opens}", "write a later time", ("to",))
        if len(set(self.days)) != len(self.days):
            raise complaint("a day is named twice", "name each day once", ("days",))
        return self


class Freeze(Part):
    """No step advances from `from` to `to`. Days are whole days in the zone, the last one included."""

    begins: MomentOrDay = Field(alias="from")
    ends: MomentOrDay = Field(alias="to")
    reason: Annotated[str, *words(1, 200)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if isinstance(self.begins, datetime) != isinstance(self.ends, datetime):
            raise complaint("one end is a day and the other a time", "write both as days or both as times", ("to",))
        backwards = (
            self.ends <= self.begins
            if isinstance(self.begins, datetime) and isinstance(self.ends, datetime)
            else self.ends < self.begins
        )
        if backwards:
            raise complaint("the freeze ends before it begins", "write an end after its beginning", ("to",))
        return self

    @property
    def by_days(self) -> bool:
        return not isinstance(self.begins, datetime)


class Closing(StrEnum):
    """The weight's way at closing time."""

    KEEP = "keep"


class Retreat(Part):
    """At closing time go down to this weight, and come back at opening."""

    retreat: Weight


def _zone(value: object) -> str:
    known = isinstance(value, str) and len(value) <= 64
    if known:
        try:
            zoneinfo.ZoneInfo(str(value))
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            known = False
    if known:
        return str(value)
    names = zoneinfo.available_timezones()
    by_city = {name.rpartition("/")[2].lower(): name for name in sorted(names)}
    city = re.sub(r"[ -]", "_", str(value)).rpartition("/")[2].lower()
    near = difflib.get_close_matches(str(value)[:64], names, 1, 0.7)
    guess = by_city.get(city) or (near[0] if near else "America/Los_Angeles")
    raise complaint(f"there is no time zone {shown(value)}", f"write an IANA time zone, for example {guess}")


def _region(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,6})?", value, re.ASCII):
        return value
    advice = f"write {value.upper()}" if isinstance(value, str) and value.islower() else "write for example US or US-CA"
    raise complaint(f"{shown(value)} is not a country or region", advice)


def _closing(value: object) -> Closing:
    if value == "keep":
        return Closing.KEEP
    raise complaint(f"{shown(value)} is not known here", "write keep, or {retreat: 0.1}")


_Keep = Annotated[Closing, BeforeValidator(_closing), WithJsonSchema({"const": "keep"})]
ClosingField = Annotated[
    Annotated[_Keep, Tag("<keep>")] | Annotated[Retreat, Tag("<retreat>")],
    Discriminator(lambda value: "<retreat>" if isinstance(value, Mapping | Retreat) else "<keep>"),
]
Zone = Annotated[str, PlainValidator(_zone), WithJsonSchema({"type": "string", "maxLength": 64})]
Region = Annotated[
    str, PlainValidator(_region), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{2}(-[A-Z0-9]{1,6})?$"})
]
Windows = Annotated[tuple[Window, ...], OneOrMany()]
Holidays = Annotated[tuple[Region, ...], OneOrMany()]
Freezes = Annotated[tuple[Freeze, ...], OneOrMany()]


def calendar_problems(
    windows: Sequence[Window], zone: str | None, holidays: Sequence[str], freezes: Sequence[Freeze]
) -> list[Finding]:
    """Complaints about an incomplete calendar: days and hours mean nothing without a zone."""
    found: list[Finding] = []
    by_days = any(freeze.by_days for freeze in freezes)
    if zone is None and (windows or holidays or by_days):
        which = "windows" if windows else "holidays" if holidays else "freezes"
        found.append(
            (
                f"{which} are given without a time zone",
                "write the time zone, too, for example zone: America/Los_Angeles",
                (which,),
            )
        )
    return found


class Calendar(Part):
    """Open hours, holidays and freezes under a name, shared by plans (`calendar: NAME`)."""

    windows: Windows = ()
    zone: Zone | None = None
    holidays: Holidays = ()
    freezes: Freezes = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if found := calendar_problems(self.windows, self.zone, self.holidays, self.freezes):
            raise complaints(found)
        return self
