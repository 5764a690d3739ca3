"""Server-sent events of a rollout's journal: one poller per process, however many are looking.

Event ids are the journal's sequence numbers, so a browser that reconnects (Last-Event-ID) misses nothing.
Events: `entry` (id = seq; a journal entry) and `state` (no id; the rollout's summary when it changed).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import structlog
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from rollout.adapters.store.interface_queries import InterfaceQueries
from rollout.adapters.store.repository import Store
from rollout.adapters.store.tokens import AccessStore
from rollout.domain.backoff import Backoff
from rollout.domain.errors import RolloutError
from rollout.domain.lifecycle.state import Rollout
from rollout.interfaces.api.problems import TooMany
from rollout.interfaces.api.worker_pools import WorkerPools
from rollout.interfaces.auth.roles import Caller
from rollout.interfaces.views import rollout as views

log = structlog.get_logger(__name__)
POLL_SECONDS = 0.3
LONGEST_PAUSE = 5.0
HEARTBEAT_SECONDS = 15.0
SEND_SECONDS = 10.0
PAGE = 200
MOST_WAITING = 2000
APART_SECONDS = 0.05  # between two subscribers: a page reloads when it is told, which takes the service up to 30 ms
SPREAD_SECONDS = 1.0  # from the first to the last of them, at most
SHARE = 4  # one caller may hold a quarter of all streams


@dataclass(eq=False)
class Subscriber:
    """One open stream; `seq` is the newest entry it was given."""

    rollout_id: str
    caller: Caller
    seq: int
    shown: dict[str, Any] | None = None
    waiting: asyncio.Queue[str | None] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))

    def put(self, text: str) -> bool:
        """Queue an event; False when the client is too slow to be served (it reconnects and catches up)."""
        try:
            self.waiting.put_nowait(text)
        except asyncio.QueueFull:
            return False
        return True

    def end(self) -> None:
        """End the stream. A full queue is dropped: a client that reconnects continues after the last entry sent."""
        if self.waiting.full():
            while not self.waiting.empty():
                self.waiting.get_nowait()
        self.waiting.put_nowait(None)


class Hub:
    """The hub that feeds the subscribers of one process; everything but `stop` runs on the event loop."""

    def __init__(
        self, store: Store, queries: InterfaceQueries, access: AccessStore, pools: WorkerPools, most: int
    ) -> None:
        """`most`: streams that may be open at a time."""
        self._store, self._queries, self._access, self._pools, self._most = (store, queries, access, pools, most)
        self._subscribers: set[Subscriber] = set()
        self._callers: Counter[str] = Counter()
        self._poller: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.stopping = False

    def __len__(self) -> int:
        return len(self._subscribers)

    def subscribe(self, rollout_id: str, caller: Caller, after: int) -> Subscriber:
        """Open a stream behind entry `after`; TooMany when there are too many."""
        most = self._most
        if len(self._subscribers) >= most or self._callers[caller.actor] >= max(4, most // SHARE):
            raise TooMany("too many event streams are open; close some, or try again later", retry_after=5)
        subscriber = Subscriber(rollout_id, caller, after)
        self._subscribers.add(subscriber)
        self._callers[caller.actor] += 1
        self._loop = asyncio.get_running_loop()
        if self._poller is None or self._poller.done():
            self._poller = self._loop.create_task(self._poll())
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        if subscriber in self._subscribers:
            self._subscribers.discard(subscriber)
            self._callers[subscriber.caller.actor] -= 1
            if not self._callers[subscriber.caller.actor]:
                del self._callers[subscriber.caller.actor]

    def stop(self) -> None:
        """End every stream; from any thread."""
        self.stopping = True
        if self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # the loop was closed in between: nothing is open
                self._loop.call_soon_threadsafe(self._end_all)

    def _end_all(self) -> None:
        for subscriber in list(self._subscribers):
            subscriber.end()

    async def _poll(self) -> None:
        backoff = Backoff(POLL_SECONDS, LONGEST_PAUSE)
        while self._subscribers and not self.stopping:
            groups: dict[str, list[Subscriber]] = {}
            for subscriber in self._subscribers:
                groups.setdefault(subscriber.rollout_id, []).append(subscriber)
            pause = POLL_SECONDS
            try:
                await self._look(groups)
                backoff.succeeded()
            except RolloutError as error:
                pause = backoff.failed(0.0)
                log.warning("event streams could not look", error=error.message)
            except Exception as error:
                # What cannot be shown of one rollout must not end every stream for good.
                pause = backoff.failed(0.0)
                log.exception("event streams crashed", error=type(error).__name__)
            await asyncio.sleep(pause)

    async def _look(self, groups: dict[str, list[Subscriber]]) -> None:
        tokens = {s.caller.id for group in groups.values() for s in group if s.caller.id is not None}

        def ask() -> tuple[dict[str, Any], set[str], dict[tuple[str, int], list[tuple[int, str]]]]:
            states = self._queries.states(groups)
            behind = {(id_, s.seq) for id_, (head, _) in states.items() for s in groups[id_] if s.seq < head}
            entries = {
                (id_, seq): [
                    (e.seq, _event("entry", views.entry(e), e.seq)) for e in self._store.history(id_, seq, PAGE)
                ]
                for id_, seq in behind  # each from its own place: one that catches up holds up nobody
            }
            return states, self._access.usable(tokens), entries

        states, usable, entries = await self._pools.run("read", ask)
        apart = pause_between(len(self._subscribers))
        for id_, group in groups.items():
            for subscriber in group:
                if id_ not in states or (subscriber.caller.id is not None and subscriber.caller.id not in usable):
                    self._cut(subscriber)  # pruned, or the token was revoked
                elif self._tell(subscriber, states[id_], entries.get((id_, subscriber.seq), [])):
                    await asyncio.sleep(apart)  # spread the messages, because an open page reloads at each

    def _tell(self, subscriber: Subscriber, state: tuple[int, Rollout], events: list[tuple[int, str]]) -> bool:
        """Give a subscriber what is new to it; return True if anything was."""
        head, rollout = state
        subscriber.seq = min(subscriber.seq, head)  # an id from the future: begin at the end
        texts = [text for _, text in events]
        subscriber.seq = max([subscriber.seq, *(seq for seq, _ in events)])
        shown = views.summary(rollout)
        if subscriber.shown != shown and subscriber.seq >= head:
            subscriber.shown = shown
            texts.append(_event("state", shown))
        if not all(subscriber.put(text) for text in texts):
            self._cut(subscriber)
        return bool(texts)

    def _cut(self, subscriber: Subscriber) -> None:
        subscriber.end()
        self.leave(subscriber)


class EventStream(Response):
    """An answer that lasts until the client leaves, is too slow, or the service stops."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, subscriber: Subscriber) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no", "Connection": "close"})
        del self.headers["content-length"]
        self._hub = hub
        self._subscriber = subscriber

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send(send, "retry: 1000\n\n")
            while not gone.done() and not self._hub.stopping:
                text = await self._next(gone)
                if text is None:
                    break
                await self._send(send, text)
            if not gone.done():
                await send({"type": "http.response.body", "body": b": end\n\n", "more_body": False})
        except (TimeoutError, OSError):
            pass  # the client does not read: free its place for another one
        finally:
            gone.cancel()
            self._hub.leave(self._subscriber)

    async def _next(self, gone: asyncio.Future[None]) -> str | None:
        """The next event, or a sign of life when none comes for a while; None at the end."""
        getting = asyncio.ensure_future(self._subscriber.waiting.get())
        both: set[asyncio.Future[Any]] = {getting, gone}
        try:
            await asyncio.wait(both, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():  # asked after the wait: an event that came with its end is not lost
                return getting.result()
            return None if gone.done() else ": still here\n\n"
        finally:
            getting.cancel()

    @staticmethod
    async def _send(send: Send, text: str) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def pause_between(subscribers: int) -> float:
    """Seconds between telling one and telling the next of so many, so that their pages do not reload all at once."""
    return min(APART_SECONDS, SPREAD_SECONDS / max(1, subscribers))


async def _disconnected(receive: Receive) -> None:
    with contextlib.suppress(RolloutError):  # it left before its request was complete
        while (await receive())["type"] != "http.disconnect":
            pass


def _event(name: str, data: dict[str, Any], seq: int | None = None) -> str:
    head = "" if seq is None else f"id: {seq}\n"
    return f"{head}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
