"""A plugin of pytest that shows mutants to the collected tests, each in a fork of the process that collected them."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.operators import Mutant
from tests.mutation.reached import name_of
from tests.mutation.swap import swap

MEMORY = 6 << 30  # bytes of address space: a mutant that fills the memory is killed by this
SHOWN = 120  # seconds of tests after which a mutant has survived
HANGS = 120  # seconds after which a single test hangs


class Outcome(IntEnum):
    """What became of a mutant: the exit status of the process that played it."""

    SURVIVED = 0
    KILLED = 1
    NOT_PLAYED = 2


class Player:
    """Plays mutants instead of running the tests; `outcomes` counts what became of them."""

    def __init__(self, drawn: Sequence[tuple[Mutant, Sequence[str]]], jobs: int, until: float) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self._drawn, self._jobs, self._until = drawn, jobs, until
        self._running: dict[int, tuple[Mutant, str]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Forks once for each mutant, `jobs` of them at a time."""
        items = defaultdict(list)
        for item in session.items:
            items[name_of(item.nodeid)].append(item)
        for mutant, tests in self._drawn:
            if time.monotonic() > self._until:
                break
            if len(self._running) == self._jobs:
                self._end_of_one()
            folder = tempfile.mkdtemp(prefix="rollout-mutant-")
            if not (pid := os.fork()):
                _play(mutant, [item for name in tests for item in items[name]], folder)
            self._running[pid] = mutant, folder
        while self._running:
            self._end_of_one()
        return True

    def _end_of_one(self) -> None:
        pid, status = os.wait()
        mutant, folder = self._running.pop(pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # what its tests have started
        shutil.rmtree(folder, ignore_errors=True)
        code = os.waitstatus_to_exitcode(status)
        outcome = Outcome.KILLED if code < 0 else Outcome(code)  # below 0: ended by the alarm, or crashed
        self.outcomes[outcome] += 1
        if outcome is not Outcome.KILLED:
            print(f"{outcome.name.lower().replace('_', ' ')}: {mutant}", flush=True)
        if self.outcomes.total() % 20 == 0:
            print(f"... {self.outcomes[Outcome.KILLED]} of {self.outcomes.total()} killed", flush=True)


def _play(mutant: Mutant, items: list[pytest.Item], folder: str) -> None:
    os.setpgid(0, 0)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with (Path(folder) / "output").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    outcome = Outcome.NOT_PLAYED
    try:
        swap(mutant)
        outcome = Outcome.KILLED
        outcome = _shown_to(items)
    finally:
        os._exit(outcome)


def _shown_to(items: list[pytest.Item]) -> Outcome:
    begun = time.monotonic()
    for item, following in zip(items, [*items[1:], None], strict=True):
        signal.alarm(HANGS)
        if any(report.failed for report in runtestprotocol(item, log=False, nextitem=following)):
            return Outcome.KILLED
        if time.monotonic() - begun > SHOWN:
            break
    return Outcome.SURVIVED
