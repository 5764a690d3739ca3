"""A zone, its times, and a Tuesday morning in it."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

LA = "America/Los_Angeles"


def la(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(LA)).astimezone(UTC)


TUESDAY = la("2026-06-02 07:00")
