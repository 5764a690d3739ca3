"""The calendars that plans share, from a TOML file (ROLLOUT_CALENDARS)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rollout.adapters.planfile.complaints import message, translate
from rollout.domain.errors import InputError
from rollout.domain.plan.calendar import Calendar
from rollout.domain.plan.fields import shown
from rollout.engine.calendars import Calendars, usable


class CalendarFile:
    """Implementation of rollout.engine.ports.SharedCalendars. Safe to share between threads.

    The file is read again when it has changed, so that an edit reaches rollouts that are under way.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int], Mapping[str, Calendar]] | None = None

    @property
    def place(self) -> str:
        """The file's path, for messages."""
        return str(self._path)

    def load(self) -> Mapping[str, Calendar]:
        """Every calendar by name; InputError if the file cannot be used, with what to write instead."""
        try:
            now = self._path.stat()
            changed = (now.st_mtime_ns, now.st_size)
            if self._read is None or self._read[0] != changed:
                self._read = (changed, read_calendars(self._path))
            return self._read[1]
        except OSError as error:
            raise InputError(
                f"ROLLOUT_CALENDARS: {self._path} cannot be read ({error.strerror}); write the path of a TOML file"
            ) from None

    def last_read(self, name: str) -> Calendar | None:
        """The calendar as it was read last, without a look at the file."""
        return self._read[1].get(name) if self._read else None


def calendars_at(path: Path | None) -> Calendars:
    """The calendars of plans, with those of this file; None: there is no file of shared ones."""
    return Calendars(CalendarFile(path) if path else None)


def read_calendars(path: Path) -> dict[str, Calendar]:
    """The calendars of a TOML file by name: one table each, with the keys of a plan's own calendar.

    InputError names the file, the calendar and the field. Raises OSError when the file cannot be read.
    """
    try:
        document = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: this is not TOML: {error}; see config/calendars.example.toml") from None
    return {name: _calendar(value, f"{path}: {name}") for name, value in document.items()}


def _calendar(value: Any, place: str) -> Calendar:
    if not isinstance(value, Mapping):
        raise InputError(f"{place}: {shown(value)} is not a calendar; write a table: [name] with windows and zone")
    try:
        calendar = Calendar.model_validate(value)
    except ValidationError as error:
        schema = Calendar.model_json_schema(by_alias=True, mode="validation")
        raise InputError(message(translate(error, None, schema), place)) from None
    try:
        return usable(calendar)[0]
    except InputError as error:
        raise InputError(f"{place}: {error.message}") from None
