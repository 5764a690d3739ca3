"""httpx's transport over connections that are already open: each request names its own, and is sent on no other.

An `httpx.Client` finds, opens and reopens connections as it likes. The write protocol must not: a connection is open
before the intent is recorded, and nothing that sends can open another one. So the client is httpx's, and the transport
under it is this one, which has no means to connect. Redirects, cookies, environment and resends are off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx

from rollout.adapters.http.connection import Connection

_SENDING = "rollout.sending"


@dataclass(frozen=True, slots=True)
class Sending:
    """The terms of sending one request. `deadline` is in seconds of Clock.boot, `limit` in bytes of the answer's body.

    `before` is called right before the first byte; a text that it returns refuses the request.
    """

    connection: Connection
    deadline: float
    limit: int
    before: Callable[[], str | None] | None = None

    @property
    def extensions(self) -> dict[str, object]:
        """The extensions of an httpx.Request that is sent this way."""
        return {_SENDING: self}


class OpenConnections(httpx.BaseTransport):
    """Transport of one request over the connection in its extensions.

    Raises NotSent, SendRefused, NoAnswer, AnswerTooLarge.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        how = request.extensions[_SENDING]
        assert isinstance(how, Sending)
        answer = how.connection.send(_on_the_wire(request), deadline=how.deadline, limit=how.limit, before=how.before)
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)


class _NoCookies(httpx.Cookies):
    """A cookie jar that stays empty. With its own, httpx converts each request for urllib: an eighth of a step's time."""

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


class _Client(httpx.Client):
    """httpx's client without a jar of cookies."""

    _none = _NoCookies()
    cookies = property(lambda self: self._none)


def make_client() -> httpx.Client:
    """A client that sends on open connections alone, knows no proxy, no redirect and no cookie."""
    timeout = httpx.Timeout(None)  # the deadline is the connection's, over the whole answer
    return _Client(transport=OpenConnections(), trust_env=False, follow_redirects=False, timeout=timeout)


def _on_the_wire(request: httpx.Request) -> bytes:
    head = b"".join(b"%s: %s\r\n" % header for header in request.headers.raw)
    line = b"%s %s HTTP/1.1\r\n" % (request.method.encode("ascii"), request.url.raw_path)
    return line + head + b"\r\n" + request.content
