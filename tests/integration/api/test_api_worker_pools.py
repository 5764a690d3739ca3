"""The threads behind the API: what ends sooner than expected holds up nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

from rollout.app import App
from rollout.interfaces.api.worker_pools import Followers


class AtOnce:
    """An executor whose work has ended when `submit` returns, as a thread of a quick rollback may have."""

    def submit(self, work: Callable[..., Any], *given: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work(*given))
        return future


def test_a_rollback_that_ends_before_it_is_followed_stops_nobody() -> None:
    """It was followed on the event loop, under a lock that its end takes as well: the whole API stood still."""
    followers = Followers(cast(App, SimpleNamespace()))
    followers._backend = cast(Any, SimpleNamespace(follow_rollback=lambda id_, seconds: {"id": id_}))
    followers._pool = cast(Any, AtOnce())
    found: list[dict[str, object]] = []
    asking = threading.Thread(
        target=lambda: found.extend(followers.follow("r1").result() for _ in range(2)), daemon=True
    )
    asking.start()
    asking.join(10)
    assert found == [{"id": "r1"}, {"id": "r1"}]
    assert followers._running == {}
