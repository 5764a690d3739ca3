"""Names of rollouts in words: the refusals that are about them."""

from __future__ import annotations

from collections.abc import Sequence


def name_taken(name: str, id_: str) -> str:
    """The refusal to start a rollout under a name that a live one has."""
    return (
        f"name: {name} is already the name of a live rollout ({id_}): give this plan another name, or wait until that "
        "rollout ends, stop it or roll it back"
    )


def begins_several(start: str, ids: Sequence[str]) -> str:
    """The refusal of a beginning that several ids have."""
    return f"{start} is the beginning of {len(ids)} ids: write more of the one you mean, {' or '.join(ids[:5])}"


def ambiguous(name: str, ids: Sequence[str]) -> str:
    """The refusal of a name that several live rollouts have."""
    return f"{len(ids)} live rollouts are named {name}: write the id of the one you mean, {' or '.join(ids)}"
