"""Connections of the API: bounds on heads and on bodies nobody reads, pipelining, upgrades, trailers."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rollout.interfaces.api.http_protocol import MOST_HEAD, MOST_WASTE
from tests.integration.api.live import Live
from tests.support.logs import captured

ALIVE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Wire:
    """One connection, and what came on it that was not looked at yet."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held = b""
        self.send = sock.sendall

    def answer(self) -> bytes:
        """The next answer, which has a Content-Length."""
        while b"\r\n\r\n" not in self._held:
            self._more()
        head, _, _ = self._held.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        assert length is not None
        size = len(head) + 4 + int(length[1])
        while len(self._held) < size:
            self._more()
        found, self._held = self._held[:size], self._held[size:]
        return found

    def _more(self) -> None:
        part = self._sock.recv(65536)
        assert part, self._held
        self._held += part

    def rest(self) -> bytes:
        """All that comes until the service closes; TimeoutError when it does not."""
        found = self._held
        with contextlib.suppress(ConnectionResetError):
            while part := self._sock.recv(65536):
                found += part
        return found


@contextmanager
def connection(service: Live) -> Iterator[Wire]:
    # Between the head's time (5 s) and that of an idle connection (15 s): which of them ended it shows.
    with socket.create_connection(("127.0.0.1", service.server.port), timeout=10) as sock:
        yield Wire(sock)


def test_requests_in_one_piece_are_answered_in_their_order(service: Live) -> None:
    with connection(service) as wire:
        wire.send(ALIVE + ALIVE.replace(b"/healthz", b"/none") + ALIVE)
        assert [wire.answer()[9:12] for _ in range(3)] == [b"200", b"404", b"200"]


@pytest.mark.parametrize("size", [MOST_HEAD + 1, 200_000])
def test_a_long_head_is_refused_in_one_piece(service: Live, size: int) -> None:
    many = b"".join(b"X-%d: %s\r\n" % (i, b"a" * 1000) for i in range(size // 1000 + 1))
    with connection(service) as wire:
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n")
        assert wire.rest().startswith(b"HTTP/1.1 400")


def test_a_long_head_is_refused_in_many_pieces_before_it_ends(service: Live) -> None:
    with connection(service) as wire:
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        time.sleep(0.1)  # so that it is a piece of its own
        for _ in range(MOST_HEAD // 1000 + 1):
            wire.send(b"a" * 1000)
        assert wire.rest().startswith(b"HTTP/1.1 400"), "without it, the timer ends the connection in silence"


def test_a_large_body_before_the_next_head_is_not_taken_for_it(service: Live) -> None:
    token = service.tokens["operator"].encode()
    body = b'{"plan": "' + b"x" * (MOST_HEAD + 1000) + b'"}'
    post = b"POST /api/v1/plans/check HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token
    post += b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with connection(service) as wire:
        wire.send(post + ALIVE[:20])
        assert wire.answer().startswith(b"HTTP/1.1 422")
        wire.send(ALIVE[20:])
        assert wire.answer().startswith(b"HTTP/1.1 200")


def test_a_request_to_speak_something_else_is_answered_and_the_connection_ends(service: Live) -> None:
    """llhttp reads nothing behind such a request: the next one would wait for ever."""
    with connection(service) as wire:
        wire.send(ALIVE[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n")
        got = wire.rest()
    assert got.startswith(b"HTTP/1.1 200") and b"connection: close" in got.lower()


def test_a_trailer_is_no_header(service: Live) -> None:
    """Else a proxy that takes headers out of requests could be passed by."""
    token = service.tokens["viewer"].encode()
    with connection(service) as wire:
        wire.send(
            b"POST /api/v1/plans/check HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/json\r\n\r\n2\r\n{}\r\n0\r\nAuthorization: Bearer " + token + b"\r\n\r\n"
        )
        assert wire.answer().startswith(b"HTTP/1.1 401")
        wire.send(ALIVE)
        assert wire.answer().startswith(b"HTTP/1.1 200")


def test_empty_lines_keep_no_connection_open(service: Live) -> None:
    with connection(service) as wire:
        wire.send(ALIVE)
        assert wire.answer().startswith(b"HTTP/1.1 200")
        wire.send(b"\r\n")
        assert wire.rest() == b""  # after five seconds


def test_a_body_after_its_answer_is_read_for_a_while_and_not_for_ever(service: Live) -> None:
    head = b"POST /api/v1/plans/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    with connection(service) as wire:  # it comes soon: the connection serves the next request
        wire.send(head % 1000)
        assert wire.answer().startswith(b"HTTP/1.1 401")
        wire.send(b"x" * 1000 + ALIVE)
        assert wire.answer().startswith(b"HTTP/1.1 200")
    with connection(service) as wire:  # it does not come
        wire.send(head % 1000)
        assert wire.answer().startswith(b"HTTP/1.1 401")
        assert wire.rest() == b""
    with connection(service) as wire:  # it does not end
        wire.send(head % (8 * MOST_WASTE))
        assert wire.answer().startswith(b"HTTP/1.1 401")
        with pytest.raises(OSError):
            for _ in range(8):
                wire.send(b"x" * MOST_WASTE)


def test_a_client_that_leaves_within_its_body_fills_no_log(
    service: Live, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """On every route that takes a body; and what is no HTTP at all."""
    with captured() as lines:
        for route in service.server.api.routes:
            for method in route.methods & {"POST", "DELETE"}:
                path = route.path.replace("{source}", "generic").replace("{id}", "nothing")
                role = "trigger" if path.startswith("/hooks/alerts") else "admin"
                with connection(service) as wire:
                    wire.send(
                        b"%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
                        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
                        % (method.encode(), path.encode(), service.tokens[role].encode())
                    )
        with connection(service) as wire:
            wire.send(b"GET /api/v1/rollouts/x/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        with connection(service) as wire:
            wire.send(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
            assert b" 400 " in wire.rest()
        with connection(service) as wire:
            wire.send(ALIVE)
            assert b" 200 " in wire.answer()
        time.sleep(0.3)
    assert [line for line in lines if line["log_level"] in ("warning", "error", "critical")] == []
    told = caplog.text + "".join(capfd.readouterr())
    assert "Traceback" not in told and "Invalid HTTP" not in told
