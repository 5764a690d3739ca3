"""Agents, their versions and the lists of both: what is believed of them, and which endpoint is asked."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.retell import RetellClient
from rollout.adapters.retell.agents import AgentReader
from rollout.domain.versions.agent_list import ListedAgent, ListedVersion
from rollout.domain.writes.answers import Failure, Trouble
from rollout.engine.ports import AgentVersion
from rollout.sandbox import Sandbox
from tests.integration.retell.retell_peer import Peer, Seen, http, says
from tests.integration.retell.scripted_reader import Answers, ScriptedReader, failure
from tests.support.clock import FakeClock

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


# ------------------------------------------------------------------ one version, and whether its agent is suspended

VERSION = {"agent_id": "a", "version": 7, "is_published": True}
GET, CHAT, LIST = "/get-agent/a?version=7", "/get-chat-agent/a?version=7", "/v2/list-agents?limit=1000"
SUSPENDED = {"items": [{"agent_id": "a", "is_suspended": True}]}


def of(answers: dict[str, Any]) -> tuple[AgentReader, ScriptedReader, FakeClock]:
    reader, clock = ScriptedReader(answers), FakeClock()
    return AgentReader(reader, clock, within=3.0), reader, clock


def test_a_version_that_shows_its_agent_suspended_needs_no_list() -> None:
    agents, reader, _ = of({GET: {**VERSION, "is_suspended": True}})
    found = agents.version("a", 7)
    assert isinstance(found, AgentVersion) and found.is_suspended
    assert (reader.paths, reader.within) == ([GET], [3.0])


@pytest.mark.parametrize(
    ("items", "is_suspended"),
    [
        ([{"agent_id": "a", "is_suspended": True}], True),
        ([{"agent_id": "b", "is_suspended": True}], False),
        ([{"agent_id": "a", "is_suspended": "true"}], False),
        ([{"agent_id": "a"}, None, "a", {"is_suspended": True}, {"agent_id": 5, "is_suspended": True}], False),
    ],
)
def test_an_agent_is_suspended_where_the_list_says_so(items: list[Any], is_suspended: bool) -> None:
    agents, _, _ = of({GET: VERSION, LIST: {"items": items}})
    found = agents.version("a", 7)
    assert isinstance(found, AgentVersion) and found.is_suspended is is_suspended


def test_the_list_of_agents_is_read_to_its_end() -> None:
    first = {"items": [{"agent_id": "b", "is_suspended": True}], "has_more": True, "pagination_key": "k/1"}
    agents, reader, _ = of({GET: VERSION, LIST: first, f"{LIST}&pagination_key=k%2F1": SUSPENDED})
    found = agents.version("a", 7)
    assert isinstance(found, AgentVersion) and found.is_suspended
    lists = reader.asked[1:]
    assert [(ask.method, ask.body, ask.operation) for ask in lists] == [("POST", b"{}", "list-agents")] * 2


def test_who_is_suspended_is_known_for_a_minute() -> None:
    nobody: dict[str, Any] = {"items": []}
    agents, reader, clock = of({GET: VERSION, LIST: Answers([nobody, SUSPENDED])})
    for passes, asked, is_suspended in ((0, 1, False), (59.999, 1, False), (0.001, 2, True)):
        clock.advance(passes)
        found = agents.version("a", 7)
        assert isinstance(found, AgentVersion) and found.is_suspended is is_suspended
        assert reader.paths.count(LIST) == asked


def test_a_list_that_cannot_be_read_is_a_failure_until_it_was_read_once() -> None:
    agents, reader, clock = of({GET: VERSION, LIST: Answers([failure(500), SUSPENDED, failure(500)])})
    assert agents.version("a", 7) == failure(500)
    for _ in range(2):
        found = agents.version("a", 7)
        assert isinstance(found, AgentVersion) and found.is_suspended
        clock.advance(60)
    assert reader.paths.count(LIST) == 3


def test_where_the_list_breaks_off_as_unknown_nobody_is_suspended() -> None:
    agents, _, _ = of({GET: VERSION, LIST: {**SUSPENDED, "has_more": True, "pagination_key": "k"}})
    found = agents.version("a", 7)
    assert isinstance(found, AgentVersion) and not found.is_suspended


@pytest.mark.parametrize(
    ("first", "chat", "found"),
    [
        (failure(404), failure(500), failure(500)),
        (failure(422), failure(None), failure(None)),
        (failure(404), failure(404, Trouble.REJECTED), failure(404)),
        (failure(401, Trouble.REJECTED), VERSION, failure(401, Trouble.REJECTED)),
        (failure(500), VERSION, failure(500)),
    ],
)
def test_an_unknown_agent_is_looked_for_among_the_chat_agents(first: Failure, chat: object, found: Failure) -> None:
    agents, reader, _ = of({GET: first, CHAT: chat})
    assert agents.version("a", 7) == found
    assert (CHAT in reader.paths) is (first.status in (404, 422))


def test_the_longest_id_is_asked_for() -> None:
    agents, reader, _ = of({})
    assert isinstance(agents.version("x" * 200, None), Failure)
    assert reader.paths == [f"/get-agent/{'x' * 200}", f"/get-chat-agent/{'x' * 200}"]


# ------------------------------------------------------------------ lists

VERSIONS, OLDER = "/list-agent-versions/a%2Fb?limit=1000", "/get-agent-versions/a%2Fb"


def test_every_agent_of_every_page_is_listed() -> None:
    first = {"items": [{"agent_id": "a"}], "has_more": True, "pagination_key": "k 1"}
    agents, reader, _ = of({LIST: first, f"{LIST}&pagination_key=k%201": {"items": [{"agent_id": "b"}]}})
    assert agents.agents() == [ListedAgent("a", ""), ListedAgent("b", "")]
    assert reader.within == [3.0, 3.0]
    agents, _, _ = of({LIST: first, f"{LIST}&pagination_key=k%201": failure(500)})
    assert agents.agents() == failure(500)


def test_every_version_of_every_page_is_listed_once() -> None:
    first = {"items": [{"version": 1}, {"version": 3}], "has_more": True, "pagination_key": "k 1"}
    second = {"items": [{"version": 3, "version_title": "again"}, {"version": 2}]}
    agents, _, _ = of({VERSIONS: first, f"{VERSIONS}&pagination_key=k%201": second})
    found = agents.versions("a/b")
    assert isinstance(found, list)
    assert [(shown.version, shown.title) for shown in found] == [(3, "again"), (2, ""), (1, "")]


@pytest.mark.parametrize("status", [404, 405, 422])
def test_what_neither_list_of_versions_knows_is_told_by_the_newer(status: int) -> None:
    agents, reader, _ = of({VERSIONS: failure(status), OLDER: failure(500)})
    assert agents.versions("a/b") == failure(status)
    assert reader.paths == [VERSIONS, OLDER]


@pytest.mark.parametrize("status", [400, 401, 403, 500, None])
def test_the_older_list_of_versions_is_asked_only_where_there_is_no_newer(status: int | None) -> None:
    agents, reader, _ = of({VERSIONS: failure(status), OLDER: [{"version": 1}]})
    assert agents.versions("a/b") == failure(status)
    assert reader.paths == [VERSIONS]
