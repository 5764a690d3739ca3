"""The client against the sandbox: two readings of Retell's API by different hands, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.retell import RetellClient
from rollout.domain.calls import CallRecord
from rollout.domain.writes.answers import Answer, Failure, Order, Reading, Trouble
from rollout.sandbox import Sandbox

AGENT = "agent_frontdesk"
NUMBER = "+14157774444"
SPLIT = [{"agent_id": AGENT, "agent_version": 6, "weight": 0.9}, {"agent_id": AGENT, "agent_version": 7, "weight": 0.1}]
BODY = json.dumps({"inbound_agents": SPLIT})
clock = SystemClock()


@pytest.fixture
def retell(sandbox: Sandbox) -> Iterator[RetellClient]:
    client = RetellClient(sandbox.url, lambda: "key_abc", clock, deadline=0.6)
    yield client
    client.close()


def patch(retell: RetellClient, number: str = NUMBER, body: str = BODY) -> tuple[Answer, Reading | Failure]:
    """Read, write, read back, as the driver does."""
    with retell.session([number]) as session:
        session.read([number])
        sent = session.write([Order(number, body)], send_by=clock.boot() + 30, stop=lambda: False)
        return sent[number], session.read([number])[number]


def test_a_step_and_its_read_back(sandbox: Sandbox, retell: RetellClient) -> None:
    answer, back = patch(retell)
    assert answer.shown is not None and isinstance(back, Reading)
    assert answer.shown == back and back.lists["inbound_agents"] == SPLIT
    assert sandbox.number(NUMBER).inbound_agents == SPLIT
    assert [(entry["method"], entry["body"]) for entry in sandbox.log(number=NUMBER)] == [
        ("GET", ""),
        ("PATCH", BODY),
        ("GET", ""),
    ]


# fault -> what the PATCH must be taken for, and whether it was applied
FAULTS: dict[str, tuple[dict[str, object], Trouble | None, bool]] = {
    "drop_before": ({"kind": "drop_before"}, Trouble.UNKNOWN, False),
    "reset": ({"kind": "drop_before", "variant": "reset"}, Trouble.UNKNOWN, False),
    "drop_after": ({"kind": "drop_after"}, Trouble.UNKNOWN, True),
    "drip": ({"kind": "drip", "seconds": 30}, Trouble.UNKNOWN, True),
    "late": ({"kind": "apply_late", "seconds": 30}, Trouble.UNKNOWN, False),
    "latency": ({"kind": "latency", "variant": "after", "seconds": 0.9}, Trouble.UNKNOWN, True),
    "429": ({"kind": "status", "status": 429, "retry_after": 0}, Trouble.UNKNOWN, False),
    "500": ({"kind": "status", "status": 500, "apply": True}, Trouble.UNKNOWN, True),
    "401": ({"kind": "status", "status": 401}, Trouble.REJECTED, False),
    "422": ({"kind": "status", "status": 422}, Trouble.REJECTED, False),
    "truncate": ({"kind": "truncate"}, Trouble.UNKNOWN, True),
    "html": ({"kind": "html"}, Trouble.UNKNOWN, False),
    "omit": ({"kind": "omit"}, None, True),
    "lie": ({"kind": "lie"}, None, False),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_taken_for_what_it_is(sandbox: Sandbox, retell: RetellClient, name: str) -> None:
    fault, trouble, applied = FAULTS[name]
    sandbox.fault(**fault, method="PATCH")
    answer, back = patch(retell)
    assert (answer.failure and answer.failure.trouble) == trouble
    assert isinstance(back, Reading)
    assert (back.lists["inbound_agents"] == SPLIT) is applied
    assert len(sandbox.log(method="PATCH")) == 1


def test_a_half_closed_connection_is_not_written_to(sandbox: Sandbox, retell: RetellClient) -> None:
    """The server would read on and apply: what it has closed on its side is closed for us."""
    sandbox.fault("half_close", method="GET")
    with retell.session([NUMBER]) as session:
        assert isinstance(session.read([NUMBER])[NUMBER], Reading)
        clock.sleep(0.05)
        answer = session.write([Order(NUMBER, BODY)], send_by=clock.boot() + 30, stop=lambda: False)[NUMBER]
    assert (answer.failure is None) == (len(sandbox.log(method="PATCH")) == 1)
    if answer.failure is not None:
        assert answer.failure.trouble is Trouble.UNREACHABLE


@pytest.mark.parametrize(
    "body, words",
    [
        ({"inbound_agents": [SPLIT[0]]}, "weight"),
        ({"inbound_agents": [SPLIT[0] | {"weight": 0}, SPLIT[1] | {"weight": 1}]}, "weight"),
        ({"inbound_agents": [SPLIT[0] | {"agent_id": "agent_gone", "weight": 1}]}, ""),
    ],
)
def test_refusals_say_why(sandbox: Sandbox, retell: RetellClient, body: object, words: str) -> None:
    answer, back = patch(retell, body=json.dumps(body))
    assert answer.failure is not None and answer.failure.trouble is Trouble.REJECTED
    assert words in answer.failure.detail.lower()
    assert isinstance(back, Reading) and back.lists["inbound_agents"] != SPLIT


def test_an_unknown_number(retell: RetellClient) -> None:
    answer, back = patch(retell, "+14150000000")
    for failure in (answer.failure, back):
        assert isinstance(failure, Failure) and failure.trouble in (Trouble.REJECTED, Trouble.UNREACHABLE)
    assert isinstance(back, Failure) and back.status in (404, 422)


def test_a_wrong_key() -> None:
    with Sandbox(key="right") as sandbox:
        sandbox.add_ready_world()
        keys = ["wrong"]
        client = RetellClient(sandbox.url, lambda: keys[0], clock, deadline=1)
        [refused] = list(client.all())
        keys[0] = "right"
        found = list(client.all())
        client.close()
    assert isinstance(refused, Failure) and (refused.trouble, refused.status) == (Trouble.REJECTED, 401)
    assert "ROLLOUT_RETELL_API_KEY" in refused.detail
    assert len(found) == 3 and all(isinstance(reading, Reading) for reading in found)


def test_all_numbers_in_pages(sandbox: Sandbox, retell: RetellClient) -> None:
    for index in range(1200):
        sandbox.add_number(f"+1415888{index:04}", inbound_agents=SPLIT)
    found = [reading.number for reading in retell.all() if isinstance(reading, Reading)]
    assert sorted(found) == sorted(number.phone_number for number in sandbox.numbers())
    assert len(sandbox.log(method="GET")) == 2


def test_versions(sandbox: Sandbox, retell: RetellClient) -> None:
    found = [retell.version(AGENT, version) for version in (7, 9, "prod", None, 77)]
    shown = [(v.version, v.is_published, v.is_suspended) if not isinstance(v, Failure) else v.trouble for v in found]
    assert shown == [(7, True, False), (9, False, False), (6, True, False), (9, False, False), Trouble.REJECTED]
    gone = retell.version("agent_gone", 1)
    assert isinstance(gone, Failure) and gone.trouble is Trouble.REJECTED
    sandbox.add_agent("agent_paused", [1], is_suspended=True)
    other = RetellClient(sandbox.url, lambda: "key_abc", clock, deadline=1)
    suspended = other.version("agent_paused", 1)
    other.close()
    assert not isinstance(suspended, Failure) and suspended.is_suspended


@pytest.mark.parametrize("channel", ["inbound", "inbound_sms"])
def test_calls_and_chats(channel: str) -> None:
    """Four hours of callers on two numbers: exactly those of this number, these versions, this time."""
    with Sandbox(speed=0, epoch=1_800_000_000.0) as sandbox:
        sandbox.add_ready_world()
        split = [{"agent_id": AGENT, "agent_version": version, "weight": 0.25} for version in (6, 7, 8, 9)]
        for number in (NUMBER, "+14157774445"):
            sandbox.edit(number, inbound_agents=split, inbound_sms_agents=split)
            sandbox.edit(number, calls_per_hour={channel: 400})
        sandbox.clock(advance=4 * 3600)
        sms = channel == "inbound_sms"
        made = sandbox.calls(NUMBER, chats=sms)
        client = RetellClient(sandbox.url, lambda: "key_abc", clock, deadline=5)
        start = clock.now().fromtimestamp(1_800_000_000, clock.now().tzinfo) + timedelta(hours=1)
        found = list(client.since(NUMBER, channel, [(AGENT, 6), (AGENT, 8)], start))
        client.close()
    version, call_id = ("version", "chat_id") if sms else ("agent_version", "call_id")
    wanted = [
        call[call_id]
        for call in sorted(made, key=lambda call: call["start_timestamp"])
        if call[version] in (6, 8) and call["start_timestamp"] >= start.timestamp() * 1000
    ]
    assert len(wanted) > 400
    records = [record for record in found if isinstance(record, CallRecord)]
    assert len(records) == len(found)
    assert sorted(record.call_id for record in records) == sorted(wanted)
    starts = [record.started_at for record in records if record.started_at is not None]
    assert starts == sorted(starts)
    assert {record.agent_version for record in records} == {6, 8}
    assert any(record.analyzed and record.successful for record in records)


def test_a_fleet(sandbox: Sandbox, retell: RetellClient, make_fleet: Callable[[int], list[str]]) -> None:
    numbers = make_fleet(150)
    with retell.session(numbers) as session:
        before = session.read(numbers)
        answers = session.write([Order(n, BODY) for n in numbers], send_by=clock.boot() + 30, stop=lambda: False)
    assert all(isinstance(outcome, Reading) for outcome in before.values())
    assert all(answer.shown is not None for answer in answers.values())
    assert all(sandbox.number(number).inbound_agents == SPLIT for number in numbers)
    assert sorted(entry["number"] for entry in sandbox.log(method="PATCH")) == numbers


@pytest.fixture
def make_fleet(sandbox: Sandbox) -> Callable[[int], list[str]]:
    def make(count: int) -> list[str]:
        numbers = [f"+1415888{index:04}" for index in range(count)]
        for number in numbers:
            sandbox.add_number(number, inbound_agents=[SPLIT[0] | {"weight": 1}])
        return numbers

    return make


@pytest.mark.parametrize("preconditions", ["honoured", None])
def test_a_fleet_is_read_with_its_etags_before_a_step_where_retell_has_them(preconditions: str | None) -> None:
    with Sandbox(preconditions=preconditions) as sandbox:
        sandbox.add_ready_world()
        numbers = [f"+1415777{i:04}" for i in range(8000, 8012)]
        for number in numbers:
            sandbox.add_number(number, inbound_agents=SPLIT)
        client = RetellClient(sandbox.url, lambda: "key_abc", clock, deadline=5)
        try:
            with client.session(numbers) as session:
                found = session.read(numbers, to_write=True)
                orders = [Order(n, BODY, r.etag) for n, r in found.items() if isinstance(r, Reading)]
                assert {order.etag is not None for order in orders} == {preconditions is not None}
                answers = session.write(orders, send_by=clock.boot() + 30, stop=lambda: False)
                assert {answer.status for answer in answers.values()} == {200}
                sandbox.clear_log()
                assert len(session.read(numbers)) == 12
                assert [urlsplit(entry["path"]).path for entry in sandbox.log()] == ["/v2/list-phone-numbers"]
        finally:
            client.close()
