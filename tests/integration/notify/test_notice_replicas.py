"""Three replicas, 200 events, three services of which two fail at times: each gets each event exactly once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle

import pytest

from jobs.notify import Notify
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.records import JournalEntry
from tests.integration.notify.conftest import Replicas
from tests.integration.notify.receiver import Receiver
from tests.support.service import wait_until
from tests.support.values import target

ROLLOUTS = 40
ENTRIES = (
    JournalEntry("begun", "service", "pre-flight passed"),
    JournalEntry("held", "service", "shows a split that is not ours", {"reason": "drift", "position": "1.1"}),
    JournalEntry("failed", "service", "the canary is worse"),
    JournalEntry("read_back", "service", "1 number read back at the baseline"),
    JournalEntry("completed", "service", "the bake is over"),
)
EVENTS = ROLLOUTS * len(ENTRIES)


@pytest.fixture
def services() -> Iterator[list[Receiver]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Receiver()) for _ in range(3)]


class Ticking(threading.Thread):
    """A replica that looks for what is to be told, over and over."""

    def __init__(self, job: Notify) -> None:
        super().__init__(daemon=True)
        self.job = job
        self.ended = threading.Event()
        self.errors: list[BaseException] = []

    def run(self) -> None:
        while not self.ended.wait(0.02):
            try:
                self.job.tick()
            except Exception as error:
                self.errors.append(error)

    def end(self) -> None:
        self.ended.set()
        self.join(10)


def tell(replicas: Replicas, first: int, last: int) -> None:
    """What drivers would have recorded: five entries of each of these rollouts."""
    for i in range(first, last):
        held = replicas.hand.begun(f"r{i}", target(f"+1415777{i:04}"))
        for entry in ENTRIES:
            replicas.store.commit(held, Change(), [entry])


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_each_event_arrives_once_at_each_service(replicas: Replicas, services: list[Receiver]) -> None:
    good, *failing = services
    urls = [service.url() for service in services]
    ticking = [Ticking(replicas.another(*urls)) for _ in range(3)]
    for each in ticking:
        each.job.warm()
        each.start()
    moods = cycle([(500, 200), (200, 429), (503, 503), (200, 200), (404, 500)])
    for part in range(8):
        for service, status in zip(failing, next(moods), strict=True):
            service.status = status
        tell(replicas, part * ROLLOUTS // 8, (part + 1) * ROLLOUTS // 8)
        if part == 4:
            ticking[2].end()  # one replica goes away without a word, and another takes its place
            ticking.append(Ticking(replicas.another(*urls)))
            ticking[-1].start()
    # The good one has them all while the others are still down.
    for service in failing:
        service.status = 500
    wait_until(lambda: len(good.taken) == EVENTS, 60)
    assert all(len(service.taken) < EVENTS for service in failing)
    for service in failing:
        service.status = 200
    wait_until(lambda: all(len(service.taken) >= EVENTS for service in services), 60)
    for each in ticking:
        each.end()
        each.job.wait_for_deliveries(5)
    for service in services:
        counts = service.counts()
        assert len(counts) == EVENTS
        assert set(counts.values()) == {1}
        assert service is good or service.asked > EVENTS  # it was tried while it failed
    assert [each.errors for each in ticking] == [[]] * len(ticking)
    rows = replicas.hand.run("SELECT count(*), count(sent_at) FROM outbox")
    assert [tuple(row) for row in rows] == [(3 * EVENTS, 3 * EVENTS)]
