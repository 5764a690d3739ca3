"""Answers of the last second, sent again while nothing at all was committed to the database.

The database says whether anybody, of whatever process, has committed since it was last asked (store.versions), so a
token that was revoked is refused at the next request here, too. Used by one thread at a time: the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

from rollout.adapters.store.versions import Versions
from rollout.engine.ports import Clock
from rollout.interfaces.api.paper import Kept
from rollout.interfaces.auth.roles import Caller

GOOD_FOR = timedelta(seconds=1)  # what an answer says of the time that has passed is no older than this


class Answer(NamedTuple):
    """What was sent, to whom, at which version of the database and when (seconds of Clock.boot)."""

    version: Hashable
    at: float
    caller: Caller
    body: bytes


class Still:
    """One per process."""

    def __init__(self, versions: Versions, clock: Clock) -> None:
        self._versions, self._clock = versions, clock
        self._kept: Kept[Answer] = Kept()
        self._coming: dict[Hashable, tuple[Hashable, asyncio.Future[Answer | None]]] = {}

    async def version(self) -> Hashable | None:
        """Changes with every commit; None: not known."""
        return await self._versions.now()

    def get(self, key: Hashable, version: Hashable | None) -> Answer | None:
        """The answer to the same question of the same caller, if it is still what would be said."""
        kept = self._kept.get(key)
        if kept is None or version is None or kept.version != version:
            return None
        return kept if 0 <= self._clock.boot() - kept.at < GOOD_FOR.total_seconds() else None

    async def coming(self, key: Hashable, version: Hashable | None) -> Answer | None:
        """As `get`, and where that answer is being made since this very version, it is waited for."""
        found = self.get(key, version)
        if found is None and key in self._coming and self._coming[key][0] == version:
            found = await asyncio.shield(self._coming[key][1])
        return found

    @contextmanager
    def making(self, key: Hashable, version: Hashable | None) -> Iterator[Callable[[Caller, bytes], None]]:
        """While an answer is made that was asked for at `version`: the caller of what it gives keeps it."""
        future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        if version is not None:
            self._coming[key] = version, future
        try:
            yield lambda caller, body: future.set_result(self._put(key, version, caller, body))
        finally:
            if not future.done():
                future.set_result(None)  # whoever waits finds out for himself
            if self._coming.get(key, (0, None))[1] is future:
                del self._coming[key]

    def _put(self, key: Hashable, version: Hashable | None, caller: Caller, body: bytes) -> Answer | None:
        ends = caller.until
        if version is None or (ends is not None and ends <= self._clock.now() + GOOD_FOR):
            return None
        answer = Answer(version, self._clock.boot(), caller, body)
        self._kept.put(key, answer, len(body))
        return answer

    def close(self) -> None:
        self._versions.close()
