"""The forms a report is written in; a module of its own, so that a client of a service loads nothing else."""

from __future__ import annotations

from enum import StrEnum


class ReportForm(StrEnum):
    """For programs, for a terminal, or as one self-contained page."""

    JSON = "json"
    TEXT = "text"
    HTML = "html"
