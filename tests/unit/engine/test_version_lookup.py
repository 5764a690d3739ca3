"""The lookup of agent versions: what it remembers, and for how long."""

from __future__ import annotations

from rollout.domain.writes.answers import Failure
from rollout.engine.ports import AgentVersion
from rollout.engine.version_lookup import VersionLookup
from tests.support.clock import FakeClock


class Counted:
    """Implements rollout.engine.ports.Agents; counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def version(self, agent_id: str, version: int | str | None) -> AgentVersion | Failure:
        self.asked += 1
        return AgentVersion(agent_id, 1, is_published=True)


def test_a_good_answer_serves_for_a_while_and_is_then_dropped() -> None:
    clock, agents = FakeClock(), Counted()
    lookup = VersionLookup(agents, clock)
    for _ in range(2):
        lookup.look_up("agent_a", 1)
    assert agents.asked == 1
    for i in range(100):
        clock.advance(61)
        lookup.look_up(f"agent_{i}", 1)
    assert len(lookup._known) == 1
