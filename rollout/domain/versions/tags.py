"""Tags in a baseline: the version that each pointed to when the baseline was read, and whether it still does.

A tag that is moved changes what the baseline's callers get, and no number shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

RESERVED = ("latest", "latest_published")
"""Words that Retell understands in a tag's place, and no tags that anybody moves."""


@dataclass(frozen=True, slots=True)
class BaselineTag:
    """A tag of an agent. `now` is the version it was moved to, None with `is_moved`: it was deleted."""

    agent_id: str
    tag: str
    version: int
    is_moved: bool = False
    now: int | None = None

    def seen_at(self, version: int | None) -> BaselineTag:
        """As it points to this version now; None: it is gone."""
        moved = version != self.version
        return replace(self, is_moved=moved, now=version if moved else None)

    @property
    def sentence(self) -> str:
        """The version that a moved tag points to now, and what follows from that."""
        name = f"the tag {self.tag} of {self.agent_id}, which the baseline names,"
        if self.now is None:
            return f"{name} was deleted (it pointed to version {self.version}): a rollback to it would be refused"
        return (
            f"{name} was moved from version {self.version} to {self.now}: the baseline's callers get that version now, "
            "and would get it after a rollback"
        )


def to_json(tags: Iterable[BaselineTag]) -> list[dict[str, Any]]:
    """For the rollout's row and its journal."""
    return [asdict(tag) for tag in tags]


def from_json(kept: Sequence[Mapping[str, Any]] | None) -> tuple[BaselineTag, ...]:
    """The inverse of to_json; none for a rollout that has none."""
    return tuple(BaselineTag(**item) for item in kept or ())


def moved(tags: Iterable[BaselineTag] | None) -> list[str]:
    """Tags of a baseline that were moved or deleted, which a rollout is held for until a person answers."""
    return [tag.tag for tag in tags or () if tag.is_moved]


def adopted(tags: Iterable[BaselineTag]) -> tuple[BaselineTag, ...]:
    """The tags, with the versions that they point to now accepted; deleted tags are no longer watched."""
    return tuple(
        BaselineTag(tag.agent_id, tag.tag, tag.version if tag.now is None else tag.now)
        for tag in tags
        if not tag.is_moved or tag.now is not None
    )
