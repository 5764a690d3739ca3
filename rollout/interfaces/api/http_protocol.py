"""uvicorn's HTTP protocol over llhttp, with what it lacks: bounds on a request's head, and a number of connections.

When there are too many, the ones that are not in the middle of a request go first, oldest first: a crowd of
silent sockets never keeps somebody with a request out.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 5.0
MOST_HEAD = 32 * 1024
MOST_WASTE = 4 * 1024 * 1024
TOO_LONG = f"The head of the request is longer than {MOST_HEAD // 1024} KiB."


class Patience:
    """The limits that the connections of one server share."""

    def __init__(self, most: int = 700, head_seconds: float = HEAD_SECONDS) -> None:
        self.most = most
        self.head_seconds = head_seconds
        self.open: OrderedDict[PatientProtocol, None] = OrderedDict()

    def protocol(self) -> type[PatientProtocol]:
        """The protocol class for uvicorn's `http` option."""
        return type("Protocol", (PatientProtocol,), {"patience": self})

    def make_room(self) -> None:
        while len(self.open) > self.most:
            idle = next((p for p in self.open if not p.is_busy), None)
            victim = idle if idle is not None else next(iter(self.open))
            self.open.pop(victim)
            victim.transport.abort()


class PatientProtocol(HttpToolsProtocol):
    """One connection."""

    patience: Patience

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._timer: asyncio.TimerHandle | None = None
        self._begun = self._in_head = self._in_message = False
        self._waiting = self._wasted = 0  # bytes of a head that is not complete, of a body that nobody reads

    @property
    def is_busy(self) -> bool:
        """True if a request is being answered on it."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self.patience.open[self] = None
        self.patience.make_room()
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return  # refused already
        self._begun = False
        super().data_received(data)
        if self._in_head and not self._begun:
            # llhttp tells of a header when it is complete, and would keep any amount.
            self._waiting += len(data)
            if self._waiting > MOST_HEAD:
                self.send_400_response(TOO_LONG)
        elif not self._in_message and not self.is_busy:
            self._start_timer()  # empty lines, or the end of a body that nobody reads: a whole head is due

    # what llhttp finds

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun = self._in_head = self._in_message = True
        self._waiting = self._wasted = 0
        self._start_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer is no header: code that checked the head (in a proxy, in this service) has not seen it.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MOST_HEAD:
            raise ValueError(TOO_LONG)  # answered with 400: uvicorn asks for no other way
        super().on_headers_complete()

    def _unsupported_upgrade_warning(self) -> None:
        # llhttp reads nothing after a request to speak something else: the answer must end the connection.
        self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            # Answered already, and still sending: read a little, so that the answer is not lost in a reset.
            self._wasted += len(body)
            if self._wasted > MOST_WASTE:
                self.transport.abort()
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_message = False
        self._stop_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_message:
            self._start_timer()  # for the rest of the body

    # one timer: for a head, or for what comes after an answer

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.patience.open.pop(self, None)
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.patience.head_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.is_busy:
            self._start_timer()  # it pipelines: its turn comes after this answer
        else:
            self.transport.abort()
