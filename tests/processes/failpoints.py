"""Named points of the write protocol at which a process kills or stops itself.

They wrap the product's methods from outside and exist in the test tree alone: the product has no hook.
`FAILPOINT=after_intent:3` acts at the third passing of that point, `FAILACTION` is kill (default) or stop.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

_RECORDS = (
    "intent",
    "outcome",
    "undo_intent",
    "undo_outcome",
    "observed",
    "begun",
    "confirmed",
    "advanced",
    "completed",
    "read_back",
    "restored",
)

POINTS: tuple[str, ...] = (
    "before_claim",
    "in_claim",
    "after_claim",
    "before_load",
    "after_load",
    "before_connect",
    "after_connect",
    "before_read",
    "after_read",
    *(f"{when}_{what}" for what in _RECORDS for when in ("before", "in", "after")),
    "before_write",
    "after_check",
    "half_sent",
    "after_sent",
    "after_answer",
    "after_write",
    "before_look_back",
    "after_look_back",
    "before_release",
    "in_release",
    "after_release",
)
"""`in_` is inside the transaction, before its commit; `undo_` belongs to the write of a baseline;
`after_check` is behind the last check and before the first byte; `look_back` is the read after a write."""

POINTS_OF_TESTS = ("before_tests_progressed", "after_tests_progressed")
"""Only reached by a rollout whose plan has tests: no campaign draws them."""

MARK = "failpoint reached: "


class Failpoint:
    """One point, and what to do when it has been passed `count` times."""

    def __init__(self, name: str, count: int, action: str) -> None:
        if name not in (*POINTS, *POINTS_OF_TESTS):
            raise ValueError(f"FAILPOINT: {name!r} is no point; write one of: {', '.join(POINTS)}")
        if action not in ("kill", "stop"):
            raise ValueError(f"FAILACTION: {action!r}; write kill or stop")
        self.name, self._left, self._action = name, count, action
        self._lock = threading.Lock()

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Failpoint | None:
        """The point that the environment names; None without one."""
        if not (text := environ.get("FAILPOINT")):
            return None
        name, _, count = text.partition(":")
        return cls(name, int(count or 1), environ.get("FAILACTION", "kill"))

    def due(self, name: str) -> bool:
        """Whether the process is to act at this passing."""
        if name != self.name:
            return False
        with self._lock:
            self._left -= 1
            return self._left == 0

    def act(self) -> None:
        """Kills or stops this process; after a stop the thread goes on from here."""
        os.write(2, f"{MARK}{self.name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL if self._action == "kill" else signal.SIGSTOP)
        time.sleep(60 if self._action == "kill" else 0.02)  # the signal lands while we are here

    def __call__(self, name: str) -> None:
        if self.due(name):
            self.act()


def install(point: Failpoint) -> None:
    """Wraps the methods of the store and of the session."""
    _wrap_store(point)
    _wrap_session(point)
    _wrap_connection(point)


def _around(owner: Any, name: str, before: Callable[..., None], after: Callable[..., None]) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        before(*args, **kwargs)
        result = original(*args, **kwargs)
        after(result, *args, **kwargs)
        return result

    setattr(owner, name, wrapped)


def _wrap_store(hit: Failpoint) -> None:
    from rollout.adapters.store import claims, rollouts
    from rollout.adapters.store.repository import Store

    def nothing(*_: Any, **__: Any) -> None:
        pass

    def claimed(when: str) -> Callable[..., None]:
        def after(held: Any, *_: Any, **__: Any) -> None:
            if held:
                hit(f"{when}_claim")

        return after

    _around(Store, "claim", lambda *_, **__: hit("before_claim"), claimed("after"))
    _around(claims, "claim", nothing, claimed("in"))
    _around(Store, "load", lambda *_: hit("before_load"), lambda *_: hit("after_load"))
    _around(Store, "release", lambda *_, **__: hit("before_release"), lambda *_, **__: hit("after_release"))
    _around(claims, "release", nothing, lambda *_, **__: hit("in_release"))
    _around(
        Store,
        "commit",
        lambda _s, _held, change, entries, *_: hit(f"before_{record_name(change, entries)}"),
        lambda _r, _s, _held, change, entries, *_: hit(f"after_{record_name(change, entries)}"),
    )
    _around(
        rollouts,
        "commit",
        nothing,
        lambda _r, _c, _held, ready, *_, **__: hit(f"in_{record_name(ready.change, [e.entry for e in ready.entries])}"),
    )


def record_name(change: Any, entries: Any) -> str:
    """The word for one record of a driver: what it writes, or the event of its first journal entry."""
    if change.new_writes:
        return "intent" if change.new_writes[0].kind == "forward" else "undo_intent"
    if not entries:
        return "observed"
    if entries[0].kind == "settled":
        return "outcome" if (entries[0].data or {}).get("kind") == "forward" else "undo_outcome"
    return str(entries[0].kind)


def _wrap_session(hit: Failpoint) -> None:
    from rollout.adapters.retell.number_session import RetellSession

    def reading(session: Any, when: str) -> None:
        hit(f"{when}_look_back" if vars(session).get("has_written") else f"{when}_read")

    def written(_result: Any, session: Any, *_: Any, **__: Any) -> None:
        session.has_written = True
        hit("after_write")

    _around(RetellSession, "__enter__", lambda *_: hit("before_connect"), lambda *_: hit("after_connect"))
    _around(
        RetellSession, "read", lambda s, *_, **__: reading(s, "before"), lambda _r, s, *_, **__: reading(s, "after")
    )
    _around(RetellSession, "write", lambda *_, **__: hit("before_write"), written)


class _Halving:
    """A socket that sends half of what it is given, and then acts."""

    def __init__(self, sock: Any, hit: Failpoint) -> None:
        self._sock, self._hit = sock, hit

    def send(self, data: Any) -> int:
        sent: int = self._sock.send(data[: max(1, len(data) // 2)])
        self._hit.act()
        return sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _wrap_connection(hit: Failpoint) -> None:
    from rollout.adapters.http.connection import Connection

    patching = threading.local()
    send, alive = Connection._send, Connection.alive

    def own_send(self: Any, request: bytes, deadline: float, before: Any) -> None:
        if not request.startswith(b"PATCH"):
            send(self, request, deadline, before)
            return
        patching.now = True
        if hit.due("half_sent"):
            self._sock = _Halving(self._sock, hit)
        try:
            send(self, request, deadline, before)
        finally:
            patching.now = False
        hit("after_sent")

    def own_alive(self: Any) -> bool:
        lives = alive(self)
        if getattr(patching, "now", False):
            hit("after_check")
        return lives

    def answered(_result: Any, _connection: Any, request: bytes, **_: Any) -> None:
        if request.startswith(b"PATCH"):
            hit("after_answer")

    Connection._send = own_send
    Connection.alive = own_alive
    _around(Connection, "send", lambda *_, **__: None, answered)
