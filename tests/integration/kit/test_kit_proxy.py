"""One tunnel, byte by byte: what the proxy is asked, and which of its answers open the way."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from rollout.kit.program.proxy import LARGEST_HEAD, NoTunnel, Proxy, exception_for, open_tunnel, parse_proxy

PLAIN = Proxy("proxy.corp", 3128, "")
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The client's end of a connection, and the proxy's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def asked(pair: Pair, answer: bytes, proxy: Proxy = PLAIN, host: str = "api.retell.test") -> str:
    """What a proxy that answers so is sent."""
    ours, theirs = pair
    theirs.sendall(answer)
    theirs.shutdown(socket.SHUT_WR)
    open_tunnel(ours, proxy, host, 443, lambda: 2.0)
    ours.close()
    return theirs.makefile("rb").read().decode()


@pytest.mark.parametrize(("host", "place"), [("api.retell.test", "api.retell.test:443"), ("fd00::7", "[fd00::7]:443")])
def test_a_tunnel_is_asked_for_by_host_and_port_and_nothing_else_is_said(pair: Pair, host: str, place: str) -> None:
    said = asked(pair, b"HTTP/1.1 200 OK\r\n\r\n", host=host)
    assert said == f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nUser-Agent: rollout\r\n\r\n"


def test_a_user_name_goes_with_it(pair: Pair) -> None:
    said = asked(pair, b"HTTP/1.1 200 OK\r\n\r\n", parse_proxy("http://me@proxy.corp:3128"))
    assert said.endswith("\r\nProxy-Authorization: Basic bWU6\r\n\r\n")


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200\r\n\r\n", b"HTTP/1.1 299 Fine\r\nVia: x\r\n\r\n"]
)
def test_every_good_answer_opens_the_way(pair: Pair, answer: bytes) -> None:
    assert asked(pair, answer)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 199 Odd\r\n\r\n", "refuses the connection (199)"),
        (b"HTTP/1.1 300 Choices\r\n\r\n", "refuses the connection (300)"),
        (b"HTTP/1.1 000 Zero\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/2 200 OK\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 407 No\r\n\r\n", "asks for a user name and a password (407); write http://HOST:PORT"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "more than its answer"),
        (b"HTTP/1.1 200 OK\r\n\r\n220 ready\r\n\r\n", "more than its answer"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection without an answer"),
        (b"", "closed the connection without an answer"),
        (b"x" * (LARGEST_HEAD + 1), "does not end"),
    ],
    ids=["199", "300", "000", "2", "407", "more", "more lines", "cut", "nothing", "endless"],
)
def test_every_other_answer_is_named(pair: Pair, answer: bytes, why: str) -> None:
    with pytest.raises(NoTunnel) as refused:
        asked(pair, answer)
    assert why in str(refused.value)


def test_an_answer_as_large_as_is_taken(pair: Pair) -> None:
    head, end = b"HTTP/1.1 200 OK\r\nX: ", b"\r\n\r\n"
    assert asked(pair, head + b"x" * (LARGEST_HEAD - len(head) - len(end)) + end)


def test_every_wait_has_what_is_left_of_the_time(pair: Pair) -> None:
    """A proxy that says nothing, or drips, costs no more than one deadline."""
    left = iter([1.0, 0.01])

    def remaining() -> float:
        try:
            return next(left)
        except StopIteration:
            raise TimeoutError("the deadline has passed") from None

    with pytest.raises(TimeoutError):
        open_tunnel(pair[0], PLAIN, "api.retell.test", 443, remaining)
    pair[1].sendall(b"H")
    for times in ([2.0], [2.0, 2.0]):
        left = iter(times)
        with pytest.raises(TimeoutError, match="the deadline has passed"):
            open_tunnel(pair[0], PLAIN, "api.retell.test", 443, remaining)


@pytest.mark.parametrize("port", [1, 65535])
def test_every_port_is_one(port: int) -> None:
    assert parse_proxy(f"http://proxy.corp:{port}") == Proxy("proxy.corp", port, "")


@pytest.mark.parametrize("value", ["http://proxy.corp:65536", "http://proxy.corp/a", "http://pr\tx", "HTTPS://proxy"])
def test_what_is_no_proxy_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"^HTTPS_PROXY: .*write http://HOST:PORT"):
        parse_proxy(value)


@pytest.mark.parametrize(
    ("entries", "host", "found"),
    [
        ("10.0.0.0/8,retell.test", "api.retell.test", "retell.test"),
        ("other,api.retell.test:1 .Retell.test:443", "api.retell.test", ".Retell.test:443"),
        ("retell.test", "API.retell.test.", "retell.test"),
        ("[fd00::7]", "fd00::7", "[fd00::7]"),
        ("[fd00::7]:1", "fd00::7", ""),
        ("10.0.0.1/8", "10.2.3.4", "10.0.0.1/8"),
        ("..", "api.retell.test", ""),
    ],
)
def test_which_entry_keeps_a_host_away_from_the_proxy(entries: str, host: str, found: str) -> None:
    assert exception_for(host, 443, {"NO_PROXY": entries}) == found
