"""Agents and their versions: one version as pre-flight needs it, and the lists to choose from."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import Any

from rollout.adapters.retell.paging import walk
from rollout.adapters.retell.reader import Reader
from rollout.adapters.retell.request import LARGE, RequestSpec
from rollout.adapters.retell.wire import agent_version, listed_agent, listed_version, segment
from rollout.domain.versions.agent_list import ListedAgent, ListedVersion
from rollout.domain.writes.answers import Failure, Trouble
from rollout.engine.ports import AgentVersion, Clock

SUSPENDED_FRESH = 60.0  # seconds
# what a server says that does not know /v2/list-agents; 200 stands for an answer of another kind
_ABSENT = frozenset({200, 400, 403, 404, 405, 422, 501})


class AgentReader:
    """get-agent, and for what it does not tell (`is_suspended`) the list of agents."""

    def __init__(self, reader: Reader, clock: Clock, *, within: float) -> None:
        self._reader, self._clock, self._within = reader, clock, within
        self._suspended: frozenset[str] = frozenset()
        self._known_at: float | None = None
        self._lock = Lock()

    def version(self, agent_id: str, version: int | str | None) -> AgentVersion | Failure:
        """One version; REJECTED if Retell does not know it.

        An SMS channel is served by chat agents, which have an endpoint of their own: it is asked
        when the first one does not know the agent.
        """
        if not agent_id or agent_id in (".", "..") or not agent_id.isprintable() or len(agent_id) > 200:
            return Failure(Trouble.REJECTED, f"{agent_id!r} is not an agent_id; copy it from Retell's dashboard")
        found = self._get("get-agent", agent_id, version)
        if isinstance(found, Failure) and found.status in (404, 422):
            other = self._get("get-chat-agent", agent_id, version)
            found = found if isinstance(other, Failure) and other.trouble is Trouble.REJECTED else other
        if isinstance(found, Failure) or found.is_suspended:
            return found
        suspended = self._suspended_agents()
        if isinstance(suspended, Failure):
            return suspended
        return replace(found, is_suspended=agent_id in suspended)

    def agents(self) -> list[ListedAgent] | Failure:
        """Every agent by the paged list."""
        found: list[ListedAgent] = []
        for items in walk(self._reader, _list_agents, within=self._within):
            if isinstance(items, Failure):
                return items
            found += [agent for item in items if (agent := listed_agent(item)) is not None]
        return found

    def versions(self, agent_id: str) -> list[ListedVersion] | Failure:
        """The versions of one agent, newest first; by the older bare list where there is no paged one."""
        found = self._listed_versions("list-agent-versions", agent_id)
        if isinstance(found, Failure) and found.status in (404, 405, 422):
            older = self._listed_versions("get-agent-versions", agent_id)
            found = found if isinstance(older, Failure) else older
        return found if isinstance(found, Failure) else sorted(found, key=lambda item: -item.version)

    def _listed_versions(self, operation: str, agent_id: str) -> list[ListedVersion] | Failure:
        def ask(size: int, key: str | None) -> RequestSpec:
            path = f"/{operation}/{segment(agent_id)}"
            if operation == "list-agent-versions":
                path += f"?limit={size}" + ("" if key is None else f"&pagination_key={segment(key)}")
            return RequestSpec(operation, "GET", path)

        found: dict[int, ListedVersion] = {}
        for items in walk(self._reader, ask, within=self._within):
            if isinstance(items, Failure):
                return items
            found |= {shown.version: shown for item in items if (shown := listed_version(item)) is not None}
        return list(found.values())

    def _get(self, operation: str, agent_id: str, version: int | str | None) -> AgentVersion | Failure:
        path = f"/{operation}/{segment(agent_id)}"
        if version is not None:
            path += f"?version={segment(str(version))}"

        def parse(document: Any) -> AgentVersion:
            return agent_version(document, agent_id, version)

        return self._reader.ask(RequestSpec(operation, "GET", path), parse, within=self._within)

    def _suspended_agents(self) -> frozenset[str] | Failure:
        """Ids of the suspended agents, at most a minute old; none where there is no such list."""
        with self._lock:
            if self._known_at is not None and self._clock.boot() - self._known_at < SUSPENDED_FRESH:
                return self._suspended
            suspended: set[str] = set()
            for items in walk(self._reader, _list_agents, within=self._within):
                if isinstance(items, Failure):
                    if items.status not in _ABSENT:
                        return self._suspended if self._known_at is not None else items
                    suspended.clear()
                    break
                suspended |= {
                    item["agent_id"]
                    for item in items
                    if isinstance(item, dict)
                    and item.get("is_suspended") is True
                    and isinstance(item.get("agent_id"), str)
                }
            self._suspended, self._known_at = frozenset(suspended), self._clock.boot()
            return self._suspended


def _list_agents(size: int, key: str | None) -> RequestSpec:
    path = f"/v2/list-agents?limit={size}" + ("" if key is None else f"&pagination_key={segment(key)}")
    return RequestSpec("list-agents", "POST", path, b"{}", limit=LARGE)
