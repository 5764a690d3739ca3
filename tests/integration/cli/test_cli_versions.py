"""check prints what changes between the versions, and start tells it too."""

from __future__ import annotations

from rollout.sandbox import Sandbox
from tests.support.command_line import CommandLine


def test_check_and_start_print_what_changes(rollout: CommandLine, retell: Sandbox) -> None:
    tool = {"name": "book", "url": "https://x.example", "headers": {"X-Key": "hunter2"}}
    retell.add_agent(
        "agent_frontdesk",
        [{"version": 7, "settings": {"voice_id": "11labs-Kate"}, "engine": {"general_tools": [tool]}}],
    )
    checked = rollout("check", "plan.yaml")
    assert checked.code == 0
    assert "from agent_frontdesk version 6 to agent_frontdesk version 7:" in checked.out
    assert 'voice_id: "11labs-Adrian" -> "11labs-Kate"' in checked.out
    assert rollout("check", "plan.yaml", "--json").json["differences"][0]["fields"]
    started = rollout("start", "plan.yaml")
    assert started.code == 0
    assert 'voice_id: "11labs-Adrian" -> "11labs-Kate"' in started.err
    assert "hunter2" not in checked.out + checked.err + started.out + started.err
