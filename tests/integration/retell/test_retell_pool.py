"""The pool: which idle connection is lent out, how long a new one may take, and whose address is tried when."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from rollout.adapters.http.connection import Connection, NotSent
from rollout.adapters.http.network import Network, Origin
from rollout.adapters.retell import pool as module
from rollout.adapters.retell.origin import Resolver
from rollout.adapters.retell.pool import ConnectionPool
from rollout.kit.program.proxy import NoTunnel, Proxy
from tests.support.clock import FakeClock

HERE = Network(Origin("http", "localhost", 8090))  # two addresses, neither of which is looked up
FAR = Network(Origin("https", "192.0.2.1", 443))


class Idle:
    """A connection as the pool sees it."""

    def __init__(self, clock: FakeClock, answers: int = 1) -> None:
        self.usable, self.is_alive, self.answers, self.idle_since = True, True, answers, clock.boot()

    def alive(self) -> bool:
        return self.is_alive

    def close(self) -> None:
        self.usable = False


def of(clock: FakeClock, network: Network = HERE, *, most_idle: int = 2, **how: Any) -> ConnectionPool:
    how = {"connect_timeout": 6.0, "tls": SimpleNamespace(), **how}
    return ConnectionPool(network, clock, most_idle=most_idle, **how)


def kept(pool: ConnectionPool, clock: FakeClock, count: int) -> list[Any]:
    made: list[Any] = [Idle(clock) for _ in range(count)]
    for connection in made:
        pool.give_back(connection)
    return made


# ------------------------------------------------------------------ idle connections


def test_the_last_used_is_lent_out_first_and_each_to_one_alone() -> None:
    clock = FakeClock()
    pool = of(clock)
    first, second = kept(pool, clock, 2)
    assert [pool.take(), pool.take(), pool.take()] == [second, first, None]


def test_no_more_are_kept_than_may_be_and_the_others_are_closed() -> None:
    clock = FakeClock()
    pool = of(clock, most_idle=2)
    assert [connection.usable for connection in kept(pool, clock, 3)] == [True, True, False]


@pytest.mark.parametrize("what", [{"usable": False}, {"answers": 0}], ids=str)
def test_one_that_cannot_be_used_or_never_answered_is_not_kept(what: dict[str, Any]) -> None:
    clock = FakeClock()
    pool = of(clock)
    odd: Any = Idle(clock)
    odd.__dict__.update(what)
    pool.give_back(odd)
    assert not odd.usable and pool.take() is None


def test_one_that_the_server_has_closed_makes_room_for_the_next() -> None:
    clock = FakeClock()
    pool = of(clock)
    first, second = kept(pool, clock, 2)
    second.is_alive = False
    assert pool.take() is first
    assert not second.usable


def test_one_is_kept_for_two_seconds() -> None:
    clock = FakeClock()
    pool = of(clock)
    (connection,) = kept(pool, clock, 1)
    clock.advance(2.0)
    assert pool.take() is connection
    pool.give_back(connection)
    clock.advance(0.001)
    assert pool.take() is None
    assert not connection.usable


def test_those_that_are_too_old_make_room_and_are_closed() -> None:
    clock = FakeClock()
    pool = of(clock, most_idle=2)
    old = kept(pool, clock, 1)
    clock.advance(1.0)
    young = kept(pool, clock, 1)
    clock.advance(1.001)
    new = kept(pool, clock, 1)
    assert [connection.usable for connection in (*old, *young, *new)] == [False, True, True]
    assert [pool.take(), pool.take()] == [*new, *young]


def test_a_closed_pool_keeps_none_and_opens_none() -> None:
    clock = FakeClock()
    pool = of(clock)
    before = kept(pool, clock, 2)
    pool.close()
    assert [connection.usable for connection in (*before, *kept(pool, clock, 1))] == [False] * 3
    with pytest.raises(NotSent, match="the client is closed"):
        pool.dial(clock.boot() + 1)


@pytest.mark.parametrize(
    ("used", "single_use"),
    [
        ([], False),
        ([("read", True)], False),
        ([("read", False)], True),
        ([("read", False), ("write", True)], False),
        ([("write", False), ("read", True)], True),
        ([("write", False), ("write", True)], False),
    ],
)
def test_what_the_server_does_after_a_write_says_more_than_what_it_does_after_a_read(
    used: list[tuple[str, bool]], single_use: bool
) -> None:
    pool = of(FakeClock())
    for kind, usable in used:
        connection: Any = SimpleNamespace(usable=usable)
        if kind == "write":
            pool.used(connection, write=True)
        else:
            pool.used(connection)
    assert pool.single_use is single_use


# ------------------------------------------------------------------ new connections

Open = Callable[..., list[tuple[Any, float]]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Each try to open a socket takes so many seconds and ends so; gives back the tries, address and time limit."""

    def script(clock: FakeClock, *ends: tuple[float, BaseException | None]) -> list[tuple[Any, float]]:
        left, tries = list(ends), list[tuple[Any, float]]()

        def open_socket(address: Any, network: Network, _clock: FakeClock, *, within: float, tls: Any) -> Any:
            tries.append((address, round(within, 6)))
            assert (tls is None) is (network.origin.scheme == "http")
            seconds, error = left.pop(0)
            clock.advance(seconds)
            if error is not None:
                raise error
            return socket.socket()

        monkeypatch.setattr(module, "open_socket", open_socket)
        return tries

    return script


V4, V6 = (socket.AF_INET, ("127.0.0.1", 8090)), (socket.AF_INET6, ("::1", 8090))


@pytest.mark.parametrize(
    ("until", "took", "limits"), [(10.0, 1.0, [3.0, 5.0]), (4.0, 2.0, [2.0, 2.0]), (2.0, 0.5, [1.0, 1.5])]
)
def test_each_address_has_its_share_of_the_time(opened: Open, until: float, took: float, limits: list[float]) -> None:
    clock = FakeClock()
    tries = opened(clock, (took, TimeoutError()), (0.0, None))
    pool = of(clock)
    pool.dial(clock.boot() + until).close()
    assert tries == [(V4, limits[0]), (V6, limits[1])]


def test_no_address_is_tried_after_the_time(opened: Open) -> None:
    clock = FakeClock()
    tries = opened(clock, (1.0, OSError(111, "Connection refused")))
    with pytest.raises(NotSent) as refused:
        of(clock).dial(clock.boot() + 1)
    assert str(refused.value) == "cannot connect to localhost:8090: no connection in time"
    assert len(tries) == 1


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


def broken(reason: str | None) -> ssl.SSLError:
    error = ssl.SSLError(1, "x")
    error.reason = reason
    return error


ADVICE = "; if your network has its own certificate authority, name its certificate in SSL_CERT_FILE"


@pytest.mark.parametrize(
    ("error", "why", "tries"),
    [
        (OSError(111, "Connection refused"), "Connection refused", 2),
        (OSError("odd"), "the address could not be found in time", 2),
        (TimeoutError(), "no connection in time", 2),
        (broken("WRONG_VERSION_NUMBER"), "TLS failed (WRONG_VERSION_NUMBER)", 2),
        (broken(None), "TLS failed (SSLError)", 2),
        (NoTunnel("the proxy refuses the connection (403)"), "the proxy refuses the connection (403)", 1),
        (untrusted(), "its certificate is not trusted (self-signed certificate)" + ADVICE, 1),
    ],
    ids=["refused", "wordless", "late", "tls", "tls unnamed", "proxy", "certificate"],
)
def test_why_there_is_no_connection_is_said(opened: Open, error: OSError, why: str, tries: int) -> None:
    clock = FakeClock()
    tried = opened(clock, (0.0, error), (0.0, error))
    with pytest.raises(NotSent) as refused:
        of(clock).dial(clock.boot() + 5)
    assert str(refused.value) == f"cannot connect to localhost:8090: {why}"
    assert len(tried) == tries


def test_the_proxy_is_named_and_named_certificates_need_no_advice(opened: Open) -> None:
    clock = FakeClock()
    opened(clock, (0.0, untrusted()))
    network = Network(FAR.origin, Proxy("127.0.0.9", 3128, ""), certificates=(("SSL_CERT_FILE", "x"),))
    with pytest.raises(NotSent) as refused:
        of(clock, network).dial(clock.boot() + 5)
    why = "cannot connect to 192.0.2.1 through the proxy 127.0.0.9:3128: its certificate is not trusted"
    assert str(refused.value) == f"{why} (self-signed certificate)"


def test_a_small_server_that_drops_connections_gets_them_one_by_one(opened: Open) -> None:
    clock = FakeClock()
    opened(clock, (0.9, None), (0.0, None), (0.91, None), (0.0, None))
    pool, pauses = of(clock), []
    for _ in range(4):
        before = clock.boot()
        pool.dial(clock.boot() + 5).close()
        pauses.append(round(clock.boot() - before, 6))
    assert pauses == [0.9, 0.0, 0.91, 0.002], "a short pause before each, once one was dropped"


@pytest.mark.parametrize("is_small", [False, True])
def test_connections_are_opened_side_by_side_but_to_a_small_server(
    monkeypatch: pytest.MonkeyPatch, is_small: bool
) -> None:
    clock, lock = FakeClock(), threading.Lock()
    met = threading.Barrier(2)
    inside, most = 0, []

    def open_socket(*_: object, **__: object) -> socket.socket:
        nonlocal inside
        with lock:
            inside += 1
            most.append(inside)
        if not is_small:
            met.wait(10)
        with lock:
            inside -= 1
        return socket.socket()

    pool = of(clock)
    if is_small:
        monkeypatch.setattr(module, "open_socket", lambda *_, **__: clock.advance(1.0) or socket.socket())
        pool.dial(clock.boot() + 5).close()
    monkeypatch.setattr(module, "open_socket", open_socket)
    threads = [threading.Thread(target=lambda: pool.dial(clock.boot() + 5).close()) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(most) == ([1, 1] if is_small else [1, 2])


def test_a_long_way_by_tls_is_no_small_server(opened: Open) -> None:
    clock = FakeClock()
    opened(clock, (1.0, None), (0.0, None))
    pool = of(clock, FAR)
    pool.dial(clock.boot() + 5).close()
    before = clock.boot()
    pool.dial(clock.boot() + 5).close()
    assert clock.boot() == before


def test_certificates_are_loaded_once_and_only_for_tls(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Network] = []

    def tls(network: Network) -> ssl.SSLContext:
        loaded.append(network)
        return ssl.create_default_context()

    monkeypatch.setattr(Network, "tls", tls)
    for network, own, times in ((FAR, None, 1), (FAR, ssl.create_default_context(), 0), (HERE, None, 0)):
        loaded.clear()
        pool = of(FakeClock(), network, tls=own)
        pool.ready()
        pool.ready()
        assert loaded == [network] * times
    clock = FakeClock()
    opened(clock, (0.0, None))
    of(clock, FAR, tls=None).dial(clock.boot() + 5).close()
    assert loaded == [FAR], "a connection needs them"


def test_a_connection_that_was_opened_is_a_connection(opened: Open) -> None:
    clock = FakeClock()
    opened(clock, (0.0, None))
    connection = of(clock).dial(clock.boot() + 5)
    assert isinstance(connection, Connection) and connection.usable
    connection.close()


# ------------------------------------------------------------------ addresses

ADDRESS = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 443))


def test_an_address_serves_for_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = FakeClock(), list[tuple[object, ...]]()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *name, **_: asked.append(name) or [ADDRESS])
    resolver = Resolver("retell.example", 443, clock)
    for passes, times in ((0.0, 1), (29.999, 1), (0.001, 2)):
        clock.advance(passes)
        assert resolver.addresses(5) == [(socket.AF_INET, ("192.0.2.7", 443))]
        assert asked == [("retell.example", 443)] * times


def test_a_lookup_that_hangs_is_not_begun_again_and_nobody_waits_for_it_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over, asked = threading.Event(), list[object]()

    def hang(*name: object, **_: object) -> list[Any]:
        asked.append(name)
        assert over.wait(10)
        return [ADDRESS]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    resolver = Resolver("retell.example", 443, FakeClock())
    assert [resolver.addresses(0), resolver.addresses(-1)] == [[], []]
    over.set()
    assert resolver.addresses(10) == [(socket.AF_INET, ("192.0.2.7", 443))]
    assert len(asked) == 1
