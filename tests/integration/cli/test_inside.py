"""The tests' own tool: what else runs in a test's process is not taken for a command's answer."""

from __future__ import annotations

import threading

import structlog

from tests.support.inside import Inside


def test_lines_logged_beside_a_command_are_not_in_its_answer(inside: Inside) -> None:
    log, stop = structlog.get_logger(), threading.Event()

    def talk() -> None:
        while not stop.wait(0.001):
            log.info("drove", epoch=393)

    beside = threading.Thread(target=talk, daemon=True)
    beside.start()
    try:
        before = structlog.get_config()
        done = inside("list", "--json")
        assert done.code == 0, done.err
        assert done.json == []
        assert "drove" not in done.out + done.err
        assert structlog.get_config() == before
    finally:
        stop.set()
        beside.join()
