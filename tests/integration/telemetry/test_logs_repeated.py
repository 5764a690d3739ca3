"""A log line that repeats is counted, and written once a minute."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from rollout.adapters.telemetry import logs
from tests.support import logs as set_ups


class Lines:
    """What is logged, and the time in the test's hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stream = io.StringIO()
        self.handler = logs.Counting(self.stream, lambda: self.now)
        root = logging.getLogger()
        self.handler.setFormatter(root.handlers[0].formatter)
        root.handlers[:] = [self.handler]

    def read(self) -> list[tuple[str, int]]:
        """(event, how often it was repeated before), of every line written."""
        found = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [(line["event"], line.get("repeated", 0)) for line in found]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with set_ups.kept():
        logs.set_up("info")
        yield Lines()


def test_a_line_that_repeats_is_written_once_a_minute_with_its_count(lines: Lines) -> None:
    log = structlog.get_logger("jobs.test")
    for tenth in range(1300):  # 130 seconds
        lines.now = tenth / 10
        log.warning("tick failed", error="connection refused", tries=tenth)
    assert lines.read() == [("tick failed", 0), ("tick failed", 599), ("tick failed", 600)]


def test_lines_that_differ_are_all_written(lines: Lines) -> None:
    log = structlog.get_logger("jobs.test")
    for rollout in ("a", "b"):
        log.warning("could not continue", rollout=rollout)
        log.error("could not continue", rollout=rollout)
    assert lines.read() == [("could not continue", 0)] * 4


def test_what_is_told_of_every_pass_is_written_each_time(lines: Lines) -> None:
    log = structlog.get_logger("jobs.test")
    for _ in range(3):
        log.info("drove", phase="progressing")
    assert lines.read() == [("drove", 0)] * 3


def test_the_count_is_told_when_the_trouble_is_over(lines: Lines) -> None:
    log = structlog.get_logger("jobs.test")
    for _ in range(683):
        log.warning("tick failed", error="away")
    lines.now = 61
    log.info("drove", phase="progressing")
    lines.now = 200
    log.warning("tick failed", error="away")
    assert lines.read() == [("tick failed", 0), ("tick failed", 682), ("drove", 0), ("tick failed", 0)]


def test_the_end_of_the_process_loses_no_count(lines: Lines) -> None:
    log = structlog.get_logger("jobs.test")
    for _ in range(5):
        log.warning("tick failed", error="away")
    lines.handler.close()
    assert lines.read() == [("tick failed", 0), ("tick failed", 4)]


def test_lines_of_the_libraries_are_counted_too(lines: Lines) -> None:
    for _ in range(50):
        logging.getLogger("uvicorn.error").warning("something is odd")
    lines.now = 61
    logging.getLogger("uvicorn.error").info("bye")
    assert [times for _, times in lines.read()] == [0, 49, 0]


def test_a_traceback_that_repeats_is_counted(lines: Lines) -> None:
    log = structlog.get_logger("jobs.test")
    for _ in range(50):
        try:
            raise ValueError("always the same")
        except ValueError:
            log.exception("crashed")
    assert lines.read() == [("crashed", 0)]


def test_memory_is_bounded_however_many_lines_there_are(lines: Lines) -> None:
    log = structlog.get_logger("jobs.test")
    for number in range(3000):
        log.warning("could not continue", rollout=f"r{number}")
    assert len(lines.read()) == 3000
    assert len(lines.handler._known) <= logs._MOST_KNOWN + 1
