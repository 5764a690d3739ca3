"""One open connection to Retell, and one request at a time on it.

A `Connection` is handed an open socket and has no way to open another: what it cannot do, a paused
or confused sender cannot do either. It is an httpx transport over h11, used without `httpx.Client`,
so that there are no redirects, cookies, proxies or resends to switch off, every socket operation is
ours to limit, and "was a byte sent?" has an exact answer. (Measured on loopback, two cores, server
on the other one: 4,400 requests a second; through `httpx.Client` with its own transport 1,500.)
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import h11
import httpx

from rollout.ports import Clock

_CHUNK = 65536
_MOST_HEAD = 65536


class NotSent(httpx.TransportError):
    """No byte of the request was sent; the connection is closed. Another open one may be used."""


class Refused(NotSent):
    """The sender itself decided, right before the first byte, not to send."""


class NoAnswer(httpx.TransportError):
    """At least one byte was sent, or may have been, and no whole answer came back."""


class TooLarge(NoAnswer):
    """The answer is larger than the limit; it was not read to its end."""


class Connection(httpx.BaseTransport):
    """One TCP (and TLS) connection that is already open. Not safe for two threads at once.

    `handle_request` takes these extensions of the request: `deadline` (seconds of Clock.boot; the
    answer must be complete by then, however slowly it drips), `limit` (bytes of body) and `before`
    (called right before the first byte; a text that it returns refuses the request).
    """

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        self._sock, self._clock = sock, clock
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)
        self._tls = isinstance(sock, ssl.SSLSocket)
        self.usable = True
        self.answers = 0
        self.idle_since = clock.boot()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request once and read its whole answer. Raises NotSent, Refused, NoAnswer, TooLarge.

        After any error, and after an answer with which the server closes, `usable` is false.
        """
        deadline: float = request.extensions["deadline"]
        finished = False
        try:
            self._send(request, deadline)
            response = self._receive(deadline, request.extensions["limit"])
            finished = True
        finally:
            if not finished:
                self.close()
        self.answers += 1
        self.idle_since = self._clock.boot()
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self.close()
        return response

    def alive(self) -> bool:
        """False if the server has closed, or has said something that nobody asked for.

        In both cases nothing may be sent on this connection any more. TLS may have something to
        read that is not data (session tickets); it is read, and the connection lives.
        """
        if not self.usable or self._http.trailing_data[0]:
            return False
        try:
            self._sock.settimeout(0)
            self._sock.recv(1, 0 if self._tls else socket.MSG_PEEK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        self.usable = False
        self._sock.close()

    def _send(self, request: httpx.Request, deadline: float) -> None:
        body = request.read()
        before: Callable[[], str | None] | None = request.extensions.get("before")
        try:
            head = h11.Request(
                method=request.method, target=request.url.raw_path, headers=request.headers.raw
            )
            events = [head, h11.Data(data=body), h11.EndOfMessage()] if body else [head, h11.EndOfMessage()]
            data = b"".join(self._http.send(event) or b"" for event in events)
        except h11.LocalProtocolError:
            # its text may quote a header, and a header holds the key
            raise NotSent("the request could not be put into HTTP") from None
        rest = memoryview(data)
        touched = False
        if before is not None and (refusal := before()) is not None:
            raise Refused(refusal)
        if not self.alive():
            raise NotSent("the server had closed the connection before the request")
        try:
            while rest:
                self._sock.settimeout(self._left(deadline))
                # a plain socket either takes bytes or raises; TLS may send part of a record and raise
                touched = touched or self._tls
                rest = rest[self._sock.send(rest) :]
                touched = True
        except OSError as error:
            kind = NoAnswer if touched else NotSent
            raise kind(f"sending failed: {_plain(error)}") from error

    def _receive(self, deadline: float, limit: int) -> httpx.Response:
        head: h11.Response | None = None
        body = bytearray()
        while True:
            try:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._sock.settimeout(self._left(deadline))
                    self._http.receive_data(self._sock.recv(_CHUNK))
                    continue
            except OSError as error:
                raise NoAnswer(f"no whole answer: {_plain(error)}") from error
            except h11.RemoteProtocolError as error:
                raise NoAnswer("the answer broke off or was not HTTP") from error
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > limit:
                    raise TooLarge(f"the answer is larger than {limit} bytes")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                break
            elif not isinstance(event, h11.InformationalResponse):
                raise NoAnswer("the connection was closed without an answer")
        headers = httpx.Headers(head.headers.raw_items())
        if headers.get("content-encoding", "identity") != "identity":
            raise NoAnswer("the answer is compressed, though that was not asked for")
        return httpx.Response(head.status_code, headers=headers, content=bytes(body))

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock.boot()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left


def open_connection(
    address: tuple[socket.AddressFamily, tuple[str, int]],
    clock: Clock,
    *,
    within: float,
    tls: ssl.SSLContext | None,
    host: str,
) -> Connection:
    """Connect, and shake hands if `tls` is given, within so many seconds. Raises OSError."""
    family, place = address
    ends = clock.boot() + within
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(0.001, within))
        sock.connect(place)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            sock.settimeout(max(0.001, ends - clock.boot()))  # one limit for the whole handshake
            sock = tls.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
    return Connection(sock, clock)


def _plain(error: OSError) -> str:
    """An operating system's error in words, without addresses or objects."""
    if isinstance(error, TimeoutError):
        return "the deadline has passed"
    return error.strerror or type(error).__name__
