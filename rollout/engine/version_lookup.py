"""Agent versions: the lookup that remembers good answers for a while, and whether a rollout's versions still exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.domain.lifecycle.state import Rollout, Target
from rollout.domain.splits import splits
from rollout.domain.versions.tags import RESERVED, BaselineTag
from rollout.domain.writes.answers import Failure, Trouble
from rollout.engine.failures import unreachable
from rollout.engine.ports import AgentRoots, Agents, AgentVersion, Clock, ResponseEngines

Pair = tuple[str, int | str | None]


@dataclass(frozen=True, slots=True)
class VersionCheck:
    """The existence of every version that a rollout needs; `trouble`: why that is not known."""

    trouble: str | None = None
    key_refused: bool = False
    canary_gone: str | None = None
    baseline_gone: str | None = None


class VersionLookup:
    """A lookup of agent versions that remembers a good answer for a while (P1 allows 60 s)."""

    def __init__(
        self,
        agents: Agents,
        clock: Clock,
        ttl: float = 60.0,
        engines: ResponseEngines | None = None,
        roots: AgentRoots | None = None,
    ) -> None:
        self._agents = agents
        self._clock = clock
        self._ttl = ttl
        self.engines = engines
        self.roots = roots
        self._known: dict[Pair, tuple[float, AgentVersion]] = {}

    def forget(self) -> None:
        self._known.clear()

    def look_up(self, agent_id: str, version: int | str | None) -> AgentVersion | Failure:
        key = (agent_id, version)
        kept = self._known.get(key)
        if kept is not None and self._clock.boot() - kept[0] < self._ttl:
            return kept[1]
        found = self._agents.version(agent_id, version)
        if isinstance(found, AgentVersion):
            now = self._clock.boot()
            fresh = {k: kept for k, kept in self._known.items() if now - kept[0] < self._ttl}
            self._known = {**fresh, key: (now, found)}
        return found

    def check(self, rollout: Rollout) -> VersionCheck:
        """The plan's versions, and those the baselines need to be restored."""
        canary_gone = baseline_gone = None
        for name, ref in rollout.plan.arms.items():
            found = self.look_up(ref.agent_id, ref.agent_version)
            if isinstance(found, Failure):
                if not is_gone(found):
                    return VersionCheck(unreachable(found), found.key_refused)
                canary_gone = f"{name} {ref.agent_id} version {ref.agent_version} is gone: {found.detail}"
            elif found.is_suspended:
                canary_gone = f"{name} {ref.agent_id} is suspended"
        for agent_id, version in sorted(_baseline_pairs(rollout.targets), key=repr):
            found = self.look_up(agent_id, version)
            if isinstance(found, Failure):
                if not is_gone(found):
                    return VersionCheck(unreachable(found), found.key_refused)
                baseline_gone = f"the baseline's {agent_id} version {version} is gone, so a rollback would be refused"
        return VersionCheck(None, False, canary_gone, baseline_gone)

    def tags(self, rollout: Rollout) -> tuple[BaselineTag, ...]:
        """The tags of its baseline with the versions they point to now; one that Retell does not show stays as it was."""
        return tuple(self._tag(tag) for tag in rollout.tags or ())

    def _tag(self, tag: BaselineTag) -> BaselineTag:
        found = self.look_up(tag.agent_id, tag.tag)
        if isinstance(found, AgentVersion):
            return tag.seen_at(found.version)
        return tag.seen_at(None) if is_gone(found) else tag


def baseline_tags(
    versions: VersionLookup, baselines: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
) -> tuple[BaselineTag, ...]:
    """The tags that baselines, by number, name, with the version to which each points; those that can be looked up."""
    entries = (entry for lists in baselines.values() for found in lists.values() for entry in found)
    named = {(entry["agent_id"], splits.normal_version(entry.get("agent_version"))): None for entry in entries}
    return tuple(
        BaselineTag(agent_id, tag, found.version)
        for agent_id, tag in named
        if isinstance(tag, str) and tag not in RESERVED
        if isinstance(found := versions.look_up(agent_id, tag), AgentVersion)
    )


def _baseline_pairs(targets: Sequence[Target]) -> set[Pair]:
    return {
        (entry["agent_id"], entry.get("agent_version"))
        for target in targets
        for entries in target.baseline.values()
        for entry in entries or ()
    }


def is_gone(failure: Failure) -> bool:
    """True if Retell says that there is no such thing."""
    return failure.trouble is Trouble.REJECTED and failure.status in (404, 422, 400)
