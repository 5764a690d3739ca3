"""The lists of agents and of their versions: what is believed of them, and which endpoint is asked."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.retell import RetellClient
from rollout.domain.versions.listed import ListedAgent, ListedVersion
from rollout.domain.writes.answers import Failure, Trouble
from rollout.sandbox import Sandbox
from tests.integration.retell.retell_peer import Peer, Seen, http, says

Serve = Callable[..., Peer]
Make = Callable[..., RetellClient]
ITEM = {"version": 7, "is_published": True, "version_title": "asks for the name", "last_modification_timestamp": 1000}


def test_agents_and_versions_of_the_sandbox() -> None:
    with Sandbox() as sandbox:
        sandbox.add_agent("agent_a", [3, {"version": 4, "title": "spring"}, {"version": 5, "is_published": False}])
        client = RetellClient(sandbox.url, lambda: "key_abc", SystemClock())
        try:
            agents, versions = client.agents(), client.versions("agent_a")
            unknown = client.versions("agent_none")
        finally:
            client.close()
    assert isinstance(agents, list) and "agent_a" in [agent.agent_id for agent in agents]
    assert isinstance(versions, list)
    assert [(v.version, v.is_published, v.title) for v in versions] == [
        (5, False, ""),
        (4, True, "spring"),
        (3, True, ""),
    ]
    assert isinstance(unknown, Failure) and unknown.trouble is Trouble.REJECTED


def test_what_an_item_does_not_say_is_left_empty(serve: Serve, client: Make) -> None:
    items: list[Any] = [ITEM, {"version": 8}, {"version": "9"}, {"version": True}, {"is_published": True}, None, []]
    found = client(serve(says(http({"items": items, "has_more": False})))).versions("agent_a")
    title, at = "asks for the name", datetime.fromtimestamp(1, UTC)
    assert found == [ListedVersion(8, False, "", None), ListedVersion(7, True, title, at)]


def test_an_agent_without_an_id_is_none(serve: Serve, client: Make) -> None:
    items: list[Any] = [{"agent_id": "a", "agent_name": "Desk"}, {"agent_id": "b"}, {"agent_name": "x"}, 5]
    found = client(serve(says(http({"items": items, "has_more": False})))).agents()
    assert found == [ListedAgent("a", "Desk"), ListedAgent("b", "")]


@pytest.mark.parametrize("status", [404, 405])
def test_where_there_is_no_paged_list_the_older_one_is_asked(serve: Serve, client: Make, status: int) -> None:
    def older_alone(seen: Seen, sock: socket.socket) -> None:
        known = "/get-agent-versions/" in seen.path
        sock.sendall(http([ITEM, {**ITEM, "version": 9}]) if known else http({}, status))

    found = client(serve(older_alone)).versions("agent_a")
    assert isinstance(found, list) and [version.version for version in found] == [9, 7]


@pytest.mark.parametrize("status", [401, 500])
def test_another_answer_is_a_failure(serve: Serve, client: Make, status: int) -> None:
    made = client(serve(says(http({}, status))))
    assert isinstance(made.versions("agent_a"), Failure)
    assert isinstance(made.agents(), Failure)
