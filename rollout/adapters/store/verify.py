"""`rollout verify`: the journal's chains, and the tables held against what the journal says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rollout.adapters.store.audit import audit
from rollout.adapters.store.repository import Store
from rollout.domain.anchors import Anchor


def verify_all(
    store: Store,
    only: str | None = None,
    anchors: Sequence[Anchor] = (),
    say: Callable[[str], None] = lambda _words: None,
) -> tuple[list[str], int]:
    """(what is wrong, one sentence each; how many entries were checked)."""
    return audit(store.database, only, anchors, say)
