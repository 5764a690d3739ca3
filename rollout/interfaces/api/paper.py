"""The answers that are asked for most, as bytes that are made once and kept while they are true.

Every answer begins with a look at the rollout's row (rollout.adapters.store.reading), so what is kept is sent only
while nothing was recorded since; what the scheduler moves in between is put in fresh.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any, Generic, TypeVar

from rollout.adapters.store.reading import Reading
from rollout.adapters.store.repository import Store
from rollout.domain.lifecycle.state import Rollout
from rollout.interfaces.views import rollout

# The members of `views.show`, in its order, that the scheduler moves without recording anything.
_MOVING = ("due_at", "next", "why", "epoch")
MOST_BYTES = 8 * 1024 * 1024
V = TypeVar("V")


class Kept(Generic[V]):
    """Values by key, the last used ones, up to so many bytes in all."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> V | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: V, size: int) -> None:
        with self._lock:
            self._size += size - self._kept.pop(key, (value, 0))[1]
            self._kept[key] = (value, size)
            while self._size > self._most and len(self._kept) > 1:
                self._size -= self._kept.popitem(last=False)[1][1]


class Paper:
    """One per process; safe to use from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shown: Kept[tuple[Any, list[bytes]]] = Kept()
        self._entries: Kept[bytes] = Kept()
        self._pages: Kept[tuple[Any, bytes]] = Kept()

    def shown(self, reading: Reading, timetable: str | None, unreadable: dict[str, Any] | None) -> bytes:
        """`views.show` of a rollout, its timetable, and since when its calls cannot be read."""
        r = reading.rollout
        known = self._shown.get(r.id)
        if known is None or known[0] != reading.mark:
            parts = _parts(rollout.show(r))
            known = (reading.mark, parts)
            self._shown.put(r.id, known, sum(map(len, parts)))
        *parts, last = known[1]
        moving = (rollout.when(r.due_at), r.next, r.why, r.epoch)
        begin = b"".join(part + dumps(value) for part, value in zip(parts, moving, strict=True))
        return (
            begin + last[:-1] + b',"timetable":' + dumps(timetable) + b',"calls_unreadable":' + dumps(unreadable) + b"}"
        )

    def listed(self, found: Sequence[Rollout], following: str | None) -> bytes:
        """A page of `views.summary`."""
        return dumps({"items": [rollout.summary(r) for r in found], "next": following})

    def history(self, reading: Reading, after: int, limit: int) -> bytes:
        """A page of the journal behind `after`: `views.entry` of each."""
        id_, head = reading.rollout.id, reading.mark[1:3]
        key = (id_, after, limit)
        known = self._pages.get(key)
        if known is None or known[0] != head:
            known = (head, self._history(id_, after, limit))
            self._pages.put(key, known, len(known[1]))
        return known[1]

    def _history(self, id_: str, after: int, limit: int) -> bytes:
        index = self._store.index(id_, after, limit + 1)
        items: dict[int, bytes] = {}
        missing = []
        for seq, hash_ in index[:limit]:
            found = self._entries.get((id_, seq, hash_))
            if found is None:
                missing.append(seq)
            else:
                items[seq] = found
        if missing:
            for entry in self._store.history(id_, missing[0] - 1, missing[-1] - missing[0] + 1):
                items[entry.seq] = text = dumps(rollout.entry(entry))
                self._entries.put((id_, entry.seq, entry.hash), text, len(text))
        following = index[limit - 1][0] if len(index) > limit else None
        inside = b",".join(items[seq] for seq in sorted(items))
        return b'{"items":[' + inside + b'],"next":' + dumps(following) + b"}"


def dumps(value: Any) -> bytes:
    """Compact JSON, as every answer of the API is written."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def _parts(document: dict[str, Any]) -> list[bytes]:
    """The object as JSON, cut where the values of _MOVING stand, in the order of the document."""
    parts, text = [], "{"
    for i, (name, value) in enumerate(document.items()):
        text += ("," if i else "") + json.dumps(name) + ":"
        if name in _MOVING:
            parts.append(text.encode())
            text = ""
        else:
            text += dumps(value).decode()
    return [*parts, (text + "}").encode()]
