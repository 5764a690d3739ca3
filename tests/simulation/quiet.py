"""Logging off: a history's own log says what happened, and formatting lines for nobody is slow."""

from __future__ import annotations

import logging

import structlog


def quiet() -> None:
    """Drops every log line below critical, without formatting it."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )
