"""Servers and clients for the tests, and the check of every request against Retell's document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.retell import RetellClient
from tests.integration.retell import retell_specification as specification
from tests.integration.retell.foreign_retell import ForeignCase
from tests.integration.retell.retell_peer import KEY, Behaviour, Peer


@pytest.fixture
def serve() -> Iterator[Callable[..., Peer]]:
    """Starts peers; at the end every request they saw is held against Retell's document, if it is there."""
    peers: list[Peer] = []

    def start(behave: Behaviour, **options: object) -> Peer:
        peer = Peer(behave, **options)
        peers.append(peer.__enter__())
        return peer

    yield start
    for peer in peers:
        peer.__exit__()
    if specification.FILE.exists():
        document = specification.document()
        # a batch of numbers sends one body to many paths: each kind of request is looked at once
        kinds = {
            (seen.method, re.sub(r"%2B\d+", "%2B12025550100", seen.path), seen.body)
            for peer in peers
            for seen in peer.seen
        }
        for method, path, body in kinds:
            assert specification.complaints(method, path, body, document) == []


@pytest.fixture
def client(serve: Callable[..., Peer]) -> Iterator[Callable[..., RetellClient]]:
    """Makes clients with short limits; closes them at the end."""
    clients: list[RetellClient] = []

    def make(peer: Peer | str, **options: object) -> RetellClient:
        url = peer if isinstance(peer, str) else peer.url
        settings = {"deadline": 0.6, "connect_timeout": 0.5} | options
        clients.append(RetellClient(url, lambda: KEY, SystemClock(), **settings))
        return clients[-1]

    yield make
    for made in clients:
        made.close()


@pytest.fixture
def soon() -> Callable[[float], float]:
    """Seconds from now on the clock that counts suspended time."""
    return lambda seconds: SystemClock().boot() + seconds


@pytest.fixture
def case(sqlite_url: str, serve: Callable[..., Peer]) -> Iterator[ForeignCase]:
    """The product beside a server of other hands."""
    made = ForeignCase(sqlite_url, serve)
    yield made
    made.app.close()
