"""A Retell workspace in memory, as pre-flight and the driver's checks see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rollout.domain.plan.plan import Plan
from rollout.domain.writes.answers import Failure, Reading, Trouble
from rollout.engine.ports import AgentVersion
from rollout.engine.preflight import Preflight, Workspace, preflight
from rollout.engine.version_lookup import Pair, VersionLookup
from tests.support.clock import FakeClock
from tests.support.values import AGENT, FIELD, ONE, entry

GONE = Failure(Trouble.REJECTED, "not found", 404)
DOWN = Failure(Trouble.UNREACHABLE, "no answer", retry_after=7.0)
NO_KEY = Failure(Trouble.REJECTED, "unauthorized", 401)


def reading(number: str = ONE, *entries: Mapping[str, Any], **changes: Any) -> Reading:
    """A number that serves these entries to its callers; version 6 without any."""
    lists = {FIELD: [dict(e) for e in entries] or [entry(6)], **changes.pop("lists", {})}
    return Reading(number, lists, changes.pop("modified", 1_000), "digest", **changes)


def version(number: int, agent: str = AGENT, **changes: Any) -> AgentVersion:
    """A published version whose agent's response engine is kept by Retell."""
    engine = {"type": "retell-llm", "llm_id": f"llm_{agent}", "version": number}
    document = changes.pop("document", {"agent_id": agent, "version": number, "response_engine": engine})
    return AgentVersion(agent, number, **{"is_published": True, **changes}, document=document)


class Account:
    """Implements rollout.engine.ports.PhoneNumbers and Agents. `asked` are the versions that were looked up."""

    def __init__(self, *readings: Reading) -> None:
        self.readings: dict[str, Reading | Failure] = {r.number: r for r in readings or [reading()]}
        self.listed: list[Reading | Failure] | None = None
        self.versions: dict[Pair, AgentVersion | Failure] = {(AGENT, v): version(v) for v in (5, 6, 7)}
        self.versions[AGENT, None] = version(7)
        self.asked: list[Pair] = []
        self.sessions: list[list[str]] = []
        self.clock = FakeClock()

    def session(self, numbers: Sequence[str], *, urgent: bool = False) -> Account:
        self.sessions.append(list(numbers))
        return self

    def __enter__(self) -> Account:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, numbers: Sequence[str], *, to_write: bool = False) -> dict[str, Reading | Failure]:
        return {number: self.readings.get(number, GONE) for number in numbers}

    def all(self) -> Iterator[Reading | Failure]:
        yield from self.readings.values() if self.listed is None else self.listed

    def version(self, agent_id: str, number: int | str | None) -> AgentVersion | Failure:
        self.asked.append((agent_id, number))
        return self.versions.get((agent_id, number), GONE)

    def lookup(self, **parts: Any) -> VersionLookup:
        return VersionLookup(self, self.clock, **parts)

    def workspace(self, **changes: Any) -> Workspace:
        every: Any = self
        return Workspace(every, **{"versions": self.lookup(), **changes})

    def preflight(self, plan: Plan, *, seed: int = 0, name_taken_by: str | None = None, **changes: Any) -> Preflight:
        return preflight(plan, self.workspace(**changes), seed=seed, name_taken_by=name_taken_by)
