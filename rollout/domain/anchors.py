"""Anchors: heads of chains that were kept elsewhere, and what they prove about the history now.

A chain that verifies may still have been cut at its end, or rewritten from its beginning. Its head, kept where people
who could do that have no access, shows it. An anchor is one word, so that you can find it in a file, a log, a mail or
an export: `anchor:CHAIN:SEQUENCE:HASH`. The chain is a rollout's id, `system`, or `token.ID`: a token counts as a
chain of one entry, and of two once it is revoked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_WORD = re.compile(r"anchor:([A-Za-z0-9_.-]{1,60}):(\d{1,15}):([0-9a-f]{64})(?![0-9a-f])")
TOKEN = "token."  # noqa: S105 - the name of a chain
USABLE, REVOKED = 1, 2


@dataclass(frozen=True, slots=True)
class Anchor:
    """The head of one chain at some moment."""

    chain: str
    seq: int
    hash: str

    def __str__(self) -> str:
        return f"anchor:{self.chain}:{self.seq}:{self.hash}"


def find(text: str) -> list[Anchor]:
    """The anchors in a text of any kind, each once, in its order."""
    return list(dict.fromkeys(Anchor(chain, int(seq), hash_) for chain, seq, hash_ in _WORD.findall(text)))


def broken(anchor: Anchor, kept: str | None, pruned: bool) -> str | None:
    """The fault in a journal that this anchor proves, or None; `kept`: the current hash of the entry that it names."""
    if kept == anchor.hash or (kept is None and pruned):
        return None
    where = f"{anchor.chain} entry {anchor.seq}"
    if kept is None:
        return f"{where}: it is in the anchor but not in the journal: the entry, or its whole chain, was removed"
    return f"{where}: it is not the one in the anchor: the history was rewritten"


def broken_token(anchor: Anchor, now: Anchor | None) -> str | None:
    """The fault in a token that this anchor proves, or None; `now`: the token in the table, None if it is missing."""
    name = anchor.chain.removeprefix(TOKEN)
    if now is None:
        return f"token {name}: it is in the anchor but not in the table"
    if now.hash != anchor.hash:
        return f"token {name}: was changed in the table since the anchor was made"
    if now.seq < anchor.seq:
        return f"token {name}: it was revoked when the anchor was made and no longer is"
    return None


def ends_before(anchors: Iterable[Anchor], hashes: Mapping[tuple[str, int], str], chains: set[str]) -> list[str]:
    """Anchors of these chains whose entries are not among the hashes, one sentence each."""
    found = (broken(a, hashes.get((a.chain, a.seq)), pruned=False) for a in anchors if a.chain in chains)
    return [fault for fault in found if fault is not None]
