"""Log lines of tests: to the run's own standard error, and a test that sets logging up leaves nothing behind."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import structlog.testing
import structlog.typing

from rollout.adapters.telemetry import logs as lines


def begin() -> None:
    """The set-up of a whole run; unconfigured, structlog prints where a command of a test prints its answer.

    The lines go to the stream that the process began with: whatever runs beside a test in its process (the
    scheduler of a server that several tests share) must not write into what that test reads of its command. No logger
    keeps the set-up of its first line: a command that some test runs in this process sets a level of its own.
    """
    configure = structlog.configure
    structlog.configure = lambda **settings: configure(**{**settings, "cache_logger_on_first_use": False})
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.__stderr__))


@contextmanager
def kept() -> Iterator[None]:
    """Whatever is set up inside, the set-up from before is there again afterwards."""
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        structlog.configure(**before)
        root.handlers[:], root.level = handlers, level


@contextmanager
def captured() -> Iterator[list[structlog.typing.EventDict]]:
    """The lines logged inside, of every level, whatever set-up an earlier command of this process has left."""
    lines._FIRST_LINE.set_up()
    with kept():
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))
        with structlog.testing.capture_logs() as logged:
            yield logged
