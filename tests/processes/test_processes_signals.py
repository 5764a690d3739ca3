"""Signals that ask for an end: each ends the process, whatever it does at that moment."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.processes.nursery import ROOT
from tests.processes.stage import Stage

# Before each line of threading.py that the main thread executes, SIGTERM arrives: whatever locks it holds there.
SIGNAL_AT_EVERY_LINE = """
import signal, sys, threading
from rollout.interfaces.cli import main

def trace(frame, event, _):
    if frame.f_code.co_filename == threading.__file__ and callable(signal.getsignal(signal.SIGTERM)):
        signal.raise_signal(signal.SIGTERM)
    return trace

sys.settrace(trace)
main()
"""


@pytest.mark.parametrize("command", [["serve", "--no-http"], ["sandbox", "--port", "0"]], ids=["serve", "sandbox"])
def test_a_signal_at_any_moment_ends_the_process(sqlite_stage: Stage, command: list[str]) -> None:
    """A handler that takes a lock waits for ever when it interrupts whoever holds it."""
    args = [sys.executable, "-c", SIGNAL_AT_EVERY_LINE, *command]
    environ = {**sqlite_stage.environ(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(args, env=environ, cwd=sqlite_stage.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert '"stopped"' in done.stderr or "Sandbox of the Retell API" in done.stdout


def test_sigterm_to_a_stopped_service_ends_it_when_it_goes_on(sqlite_stage: Stage) -> None:
    """The system may hand that signal to any thread; the one that waits must notice."""
    service = sqlite_stage.serve()
    service.until_said('"serving"')
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT):
        service.send(number)
    assert service.wait(15) == 0, service.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_signal_that_asks_for_an_end_ends_a_service_with_0_and_its_last_word(
    sqlite_stage: Stage, number: signal.Signals
) -> None:
    service = sqlite_stage.serve()
    service.until_said('"serving"')
    service.send(number)
    assert service.wait(15) == 0, service.said()
    assert '"stopped"' in service.said()
