"""A sender that was stopped in the middle of its work wakes up: its writes must go nowhere.

Real processes and a real SIGSTOP. The server closes silent connections, as every HTTP front end
does; only the number of seconds differs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.retell.retell_peer import Peer, good, until

Serve = Callable[..., Peer]
Start = Callable[..., subprocess.Popen[str]]
ROOT = Path(__file__).parents[3]
COUNT = 6  # numbers, and connections

SENDER = """
import sys
from rollout.adapters.clock import SystemClock
from rollout.engine.ports import Order, Reading
from rollout.adapters.retell import RetellClient
from rollout.adapters.http.connection import Connection

url, mode, count = sys.argv[1:]
clock = SystemClock()
client = RetellClient(url, lambda: "key_abc", clock, deadline=2.0)
numbers = [f"+1415777{i:04}" for i in range(int(count))]

def pause():
    print("ready", flush=True)
    sys.stdin.readline()

def looks_then_pauses(connection, look=Connection.alive):
    alive = look(connection)
    pause()
    return alive

with client.session(numbers) as session:
    assert all(isinstance(reading, Reading) for reading in session.read(numbers).values())
    send_by = clock.boot() + (0.2 if mode == "after the send window" else 60)
    if mode == "between the last look and the first byte":
        Connection.alive = looks_then_pauses
    else:
        pause()
    answers = session.write([Order(n, '{"inbound_agents":null}') for n in numbers], send_by=send_by, stop=lambda: False)
    Connection.alive = lambda connection: False
print(sorted({answer.failure.trouble if answer.failure else answer.status for answer in answers.values()}))
"""


@pytest.fixture
def sender() -> Iterator[Start]:
    """Starts senders, waits until they are ready; ends them after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(url: str, mode: str, count: int = COUNT) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SENDER, url, mode, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "ready\n":
            assert line, "the sender ended before it was ready"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wake(process: subprocess.Popen[str]) -> str:
    """Let a stopped sender finish; what it said last."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=20)
    return out.splitlines()[-1]


def test_after_the_server_closed_nothing_is_sent(serve: Serve, sender: Start) -> None:
    peer = serve(good, idle_seconds=0.3)
    process = sender(peer.url, "before the write")
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.6)
    assert wake(process) == "[<Trouble.UNREACHABLE: 'unreachable'>]"
    assert peer.methods("PATCH") == [] and peer.accepted == COUNT


def test_even_between_the_last_look_and_the_first_byte(serve: Serve, sender: Start) -> None:
    """Nobody can look later than that: the bytes leave, reach a closed connection and are unknown to us."""
    peer = serve(good, idle_seconds=0.3)
    process = sender(peer.url, "between the last look and the first byte", 1)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.6)
    assert wake(process) == "[<Trouble.UNKNOWN: 'unknown'>]"
    assert peer.methods("PATCH") == [] and peer.accepted == 1


def test_after_the_send_window_nothing_leaves_on_open_connections(serve: Serve, sender: Start) -> None:
    peer = serve(good)
    process = sender(peer.url, "after the send window")
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    assert wake(process) == "[<Trouble.UNREACHABLE: 'unreachable'>]"
    assert peer.methods("PATCH") == [] and peer.accepted == COUNT


def test_a_sender_that_is_woken_in_time_still_sends(serve: Serve, sender: Start) -> None:
    """The proof that the two tests above see writes when there are any."""
    peer = serve(good)
    process = sender(peer.url, "before the write")
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    assert wake(process) == "[200]"
    until(lambda: len(peer.methods("PATCH")) == COUNT)
