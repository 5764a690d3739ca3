"""uvicorn's HTTP protocol with two limits it lacks: time for a request's head, and a number of connections.

When there are too many, the ones that are not in the middle of a request go first, oldest first: a crowd of
silent sockets never keeps somebody with a request out.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 5.0
MOST_WASTE = 4 * 1024 * 1024


class Patience:
    """What the connections of one server share."""

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


class PatientProtocol(H11Protocol):
    """One connection."""

    patience: Patience

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._head_timer: asyncio.TimerHandle | None = None
        self._wasted = 0

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered on it."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.patience.open[self] = None
        self.patience.make_room()
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.SEND_BODY and not self.is_busy:
            # Answered already, and still sending: read a little, so that the answer is not lost in a reset.
            self._wasted += len(data)
            if self._wasted > MOST_WASTE:
                self.transport.abort()
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            # part of a head, or nothing after an answer: either way a whole head is due
            trailing = bool(self.conn.trailing_data[0])
            if trailing:
                self._start_timer()
        else:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.patience.open.pop(self, None)
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.patience.head_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self.is_busy:
            self.transport.abort()
