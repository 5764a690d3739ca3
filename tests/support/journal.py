"""What tests ask of a journal."""

from __future__ import annotations

from rollout.adapters.store.repository import Store
from rollout.engine.write_protocol import SERVICE


def given_by_people(store: Store, id_: str) -> list[int]:
    """The entries that the service did not write by itself: its own claims and looks go on beside a test."""
    return [entry.seq for entry in store.history(id_) if entry.actor != SERVICE]
