"""A rollout, read again and again until it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rollout.domain.errors import NotReachable
from rollout.domain.lifecycle.machine import FINAL

if TYPE_CHECKING:
    from rollout.interfaces.backend.local import Backend

FAILED_READS = 20  # in a row, a second apart: longer than a service takes to be replaced


def documents(service: Backend, id_: str, pause: float = 0.3) -> Iterator[dict[str, Any]]:
    """The rollout's JSON every `pause` seconds; the last one is final.

    NotReachable when the service or its database stays away for 20 reads, a second apart.
    """
    failed = 0
    while True:
        try:
            document = service.show(id_)
        except NotReachable:
            failed += 1
            if failed > FAILED_READS:
                raise
            time.sleep(1)
            continue
        failed = 0
        yield document
        if document["phase"] in FINAL:
            return
        time.sleep(pause)
