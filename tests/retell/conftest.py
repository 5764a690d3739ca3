"""Servers and clients for the tests, and the check of every request against Retell's document."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import retell_specification as specification
from retell_peer import Behaviour, Peer

from rollout.clock import SystemClock
from rollout.retell import RetellClient

KEY = "key_canary_5f3a91"


@pytest.fixture
def serve() -> Iterator[Callable[..., Peer]]:
    """Starts peers; at the end every request they saw is held against Retell's document, if it is there."""
    peers: list[Peer] = []

    def start(behave: Behaviour, **options: object) -> Peer:
        peer = Peer(behave, **options)  # type: ignore[arg-type]
        peers.append(peer.__enter__())
        return peer

    yield start
    for peer in peers:
        peer.__exit__()
    if specification.FILE.exists():
        document = specification.document()
        for seen in (seen for peer in peers for seen in peer.seen):
            assert specification.complaints(seen.method, seen.path, seen.body, document) == []


@pytest.fixture
def client(serve: Callable[..., Peer]) -> Iterator[Callable[..., RetellClient]]:
    """Makes clients with short limits; closes them at the end."""
    clients: list[RetellClient] = []

    def make(peer: Peer | str, **options: object) -> RetellClient:
        url = peer if isinstance(peer, str) else peer.url
        settings = {"deadline": 0.6, "connect_timeout": 0.5} | options
        clients.append(RetellClient(url, lambda: KEY, SystemClock(), **settings))  # type: ignore[arg-type]
        return clients[-1]

    yield make
    for made in clients:
        made.close()


@pytest.fixture
def soon() -> Callable[[float], float]:
    """Seconds from now on the clock that counts suspended time."""
    return lambda seconds: SystemClock().boot() + seconds
