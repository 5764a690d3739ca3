"""One open connection to Retell, and one request at a time on it.

A `Connection` is handed an open socket (by `network`) and has no way to open another: what it cannot do, a paused
or confused sender cannot do either. Requests come from `httpx.Client` by way of `transport`; answers are parsed by
httptools (llhttp, the parser of Node.js). Every socket operation is ours to limit, and "was a byte sent?" has an
exact answer. Why, and what it costs: docs/adr/0006-own-connections.md.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import httptools
import httpx

from rollout.engine.ports import Clock

_READ_SIZE = 65536
_MOST_HEAD = 65536
HEADERS_KEPT = ("retry-after", "etag")


class NotSent(httpx.TransportError):
    """No byte of the request was sent; the connection is closed. Another open one may be used."""


class SendRefused(NotSent):
    """The sender itself decided, right before the first byte, not to send."""


class NoAnswer(httpx.TransportError):
    """At least one byte was sent, or may have been, and no whole answer came back."""


class AnswerTooLarge(NoAnswer):
    """The answer is larger than the limit; it was not read to its end."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer. `headers` are those that matter here (HEADERS_KEPT): a cookie has no way in."""

    status: int
    body: bytes
    headers: dict[str, str]


class Connection:
    """One TCP (and TLS) connection that is already open. Not safe for two threads at once."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        # We wait ourselves: a socket with a time limit of its own costs twice the system calls, and at each of
        # them a thread may have to wait for the interpreter.
        sock.settimeout(0)
        self._sock, self._clock = sock, clock
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)
        self.usable = True
        self.answers = 0
        self.idle_since = clock.boot()

    def send(
        self, request: bytes, *, deadline: float, limit: int, before: Callable[[], str | None] | None = None
    ) -> Answered:
        """Send the request once and read its whole answer. Raises NotSent, SendRefused, NoAnswer, AnswerTooLarge.

        `deadline` (seconds of Clock.boot): the answer must be complete by then, however slowly it drips.
        `limit`: bytes of body. `before` is called right before the first byte; a text that it returns refuses
        the request. After any error, and after an answer with which the server closes, `usable` is false.
        """
        finished = False
        answer = _Answer(limit)
        try:
            self._send(request, deadline, before)
            self._receive(answer, deadline)
            finished = True
        finally:
            answer.end()
            if not finished:
                self.close()
        self.answers += 1
        self.idle_since = self._clock.boot()
        if not answer.keeps_open:
            self.close()
        kept = {name: answer.headers[name.encode()] for name in HEADERS_KEPT if name.encode() in answer.headers}
        return Answered(answer.status, bytes(answer.body), kept)

    def alive(self) -> bool:
        """False if the server has closed the connection, or has sent something without being asked.

        In both cases nothing may be sent on this connection any more. TLS may have something to
        read that is not data (session tickets); it is read, and the connection lives.
        """
        if not self.usable:
            return False
        if self._tls is None:
            return not self._readable.poll(0)
        if not self._tls.pending() and not self._readable.poll(0):
            return True
        try:
            self._tls.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        self.usable = False
        self._sock.close()

    def _send(self, request: bytes, deadline: float, before: Callable[[], str | None] | None) -> None:
        rest = memoryview(request)
        touched = False
        if before is not None and (refusal := before()) is not None:
            raise SendRefused(refusal)
        if not self.alive():
            raise NotSent("the server had closed the connection before the request")
        try:
            while rest:
                self._left(deadline)
                # a plain socket either takes bytes or raises; TLS may send part of a record and raise
                touched = touched or self._tls is not None
                try:
                    rest = rest[self._sock.send(rest) :]
                    touched = True
                except (BlockingIOError, ssl.SSLWantWriteError):
                    self._wait(self._writable, deadline)
                except ssl.SSLWantReadError:
                    self._wait(self._readable, deadline)
        except OSError as error:
            kind = NoAnswer if touched else NotSent
            raise kind(f"sending failed: {_plain(error)}") from error

    def _receive(self, answer: _Answer, deadline: float) -> None:
        while not answer.whole:
            try:
                if self._tls is None or not self._tls.pending():
                    self._wait(self._readable, deadline)
                data = self._sock.recv(_READ_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue  # TLS had something to say that is not data
            except OSError as error:
                raise NoAnswer(f"no whole answer: {_plain(error)}") from error
            answer.take(data)

    def _wait(self, what: select.poll, deadline: float) -> None:
        if not what.poll(math.ceil(1000 * self._left(deadline))):
            raise TimeoutError("the deadline has passed")

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock.boot()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left


class _Answer:
    """One answer as it comes in; httptools calls the methods that begin with on_."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parser = httptools.HttpResponseParser(self)
        self._head = 0  # bytes before the end of the headers
        self._begun = self._headed = self.whole = False
        self._more = False  # something came behind the whole answer
        self.status = 0
        self.headers: dict[bytes, str] = {}
        self.body = bytearray()
        self.keeps_open = False

    def take(self, data: bytes) -> None:
        """Take the next bytes; none: the server has closed. Raises NoAnswer, AnswerTooLarge."""
        if not data:
            self._closed()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise NoAnswer("the answer speaks another protocol") from error
        except httptools.HttpParserError as error:
            if len(self.body) > self._limit:
                raise AnswerTooLarge(f"the answer is larger than {self._limit} bytes") from error
            raise NoAnswer("the answer ended early or was not HTTP") from error
        if not self._headed:
            self._head += len(data)
            if self._head > _MOST_HEAD:
                raise NoAnswer("the answer's headers do not end")
        if self.whole:
            if self.headers.get(b"content-encoding", "identity") != "identity":
                raise NoAnswer("the answer is compressed, although the request did not allow it")
            self.keeps_open = self.keeps_open and not self._more

    def end(self) -> None:
        """Break the reference cycle with the parser: a thousand of them would make the garbage collector pause us."""
        del self._parser

    def _closed(self) -> None:
        """An answer without a length ends when the server closes; every other one has broken off."""
        if not self._begun:
            raise NoAnswer("the connection was closed without an answer")
        if not self._headed or b"content-length" in self.headers or b"transfer-encoding" in self.headers:
            raise NoAnswer("the answer ended early or was not HTTP")
        self.whole = True

    def on_message_begin(self) -> None:
        self._begun = True
        self._more = self.whole

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.whole:
            self.headers[name.lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        if not self.whole:
            self.status = self._parser.get_status_code()
            self.keeps_open = self._parser.should_keep_alive()
            self._headed = True

    def on_body(self, data: bytes) -> None:
        if not self.whole:
            self.body += data
            if len(self.body) > self._limit:
                raise ValueError("too large")  # httptools wraps it; `take` says what it means

    def on_message_complete(self) -> None:
        if self.whole:
            return
        if 100 <= self.status < 200:  # the real answer is still to come
            self._headed = False
            self.headers = {}
            return
        self.whole = True


def _plain(error: OSError) -> str:
    """An operating system's error in words, without addresses or objects."""
    if isinstance(error, TimeoutError):
        return "the deadline has passed"
    return error.strerror or type(error).__name__
