"""The client as a whole: what it refuses to be, and what it gives out of Retell's lists."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.adapters.retell import RetellClient
from rollout.domain.calls import CallDetails, CallRecord
from rollout.domain.errors import SettingsError
from rollout.domain.writes.answers import Failure, Reading, Trouble
from tests.integration.retell.retell_peer import KEY, shown
from tests.integration.retell.scripted_reader import Answers, ScriptedReader, failure
from tests.support.clock import START, FakeClock

Make = Callable[[dict[str, Any]], tuple[RetellClient, ScriptedReader]]
ONE, TWO, THREE = "+14157770001", "+14157770002", "+14157770003"
AGENTS = [("agent_a", 7)]
LIST, OLDER = "/v2/list-phone-numbers?limit=1000", "/list-phone-numbers"


def new(**options: Any) -> RetellClient:
    return RetellClient("https://api.retell.test", lambda: KEY, FakeClock(), **options)


@pytest.fixture
def scripted() -> Iterator[Make]:
    """Makes clients with a deadline of 5 seconds whose requests are answered by path."""
    made: list[RetellClient] = []

    def make(answers: dict[str, Any]) -> tuple[RetellClient, ScriptedReader]:
        made.append(new(deadline=5.0))
        reader = ScriptedReader(answers)
        made[-1]._reader = reader
        return made[-1], reader

    yield make
    for client in made:
        client.close()


# ------------------------------------------------------------------ what it refuses to be


@pytest.mark.parametrize(
    "options", [{"concurrency": 0}, {"deadline": 0}, {"connect_timeout": 0}, {"rate": -0.1}], ids=str
)
def test_a_limit_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="must be above 0, rate at least 0"):
        new(**options)


def test_the_least_of_each_limit_is_taken() -> None:
    new(concurrency=1, deadline=0.001, connect_timeout=0.001, rate=0).close()


@pytest.mark.parametrize(
    ("verify", "check_hostname", "is_taken"),
    [(ssl.CERT_REQUIRED, True, True), (ssl.CERT_REQUIRED, False, False), (ssl.CERT_OPTIONAL, True, False)],
)
def test_tls_must_verify_both_certificate_and_host(
    verify: ssl.VerifyMode, check_hostname: bool, is_taken: bool
) -> None:
    context = ssl.create_default_context()
    context.check_hostname = check_hostname
    context.verify_mode = verify
    if is_taken:
        new(tls=context).close()
    else:
        with pytest.raises(SettingsError, match="must verify certificates and host names"):
            new(tls=context)


# ------------------------------------------------------------------ numbers


def numbers(found: Iterator[Reading | Failure]) -> list[str | Failure]:
    return [outcome.number if isinstance(outcome, Reading) else outcome for outcome in found]


def more(*items: Any) -> dict[str, Any]:
    return {"items": list(items), "has_more": True, "pagination_key": "k/1"}


def broken(number: str) -> dict[str, Any]:
    return {k: v for k, v in shown(number).items() if k != "last_modification_timestamp"}


def test_every_number_of_every_page_is_given_out_once_and_what_cannot_be_read_last(scripted: Make) -> None:
    second = {"items": [shown(ONE), shown(THREE), shown("12"), {"phone_number": 5}, "x"]}
    client, reader = scripted({LIST: more(broken(TWO), shown(ONE)), f"{LIST}&pagination_key=k%2F1": second})
    why = f"Retell's list has {TWO}, but its last_modification_timestamp is missing or not an integer"
    assert numbers(client.all()) == [ONE, THREE, Failure(Trouble.UNREACHABLE, why, 200)]
    assert reader.within == [20.0, 20.0], "four deadlines for a page"
    assert reader.urgent == [False, False]


def test_a_failure_ends_the_numbers(scripted: Make) -> None:
    for status in (404, 500):
        client, reader = scripted({LIST: more(shown(ONE)), f"{LIST}&pagination_key=k%2F1": failure(status)})
        assert numbers(client.all()) == [ONE, failure(status)]
        assert OLDER not in reader.paths
    client, _ = scripted({LIST: failure(403), OLDER: [shown(ONE)]})
    assert numbers(client.all()) == [failure(403)]
    client, _ = scripted({LIST: {"items": [shown(ONE)]}})
    assert numbers(client.all()) == [ONE]


def test_the_older_list_serves_where_there_is_no_other(scripted: Make) -> None:
    client, reader = scripted({OLDER: [broken(TWO), shown(ONE), shown(ONE)]})
    first, last = numbers(client.all())
    assert first == ONE and isinstance(last, Failure) and TWO in last.detail
    assert reader.within == [20.0, 20.0]
    client, _ = scripted({OLDER: failure(500)})
    assert numbers(client.all()) == [failure(500)]
    client, _ = scripted({OLDER: {"items": []}})
    (found,) = client.all()
    assert isinstance(found, Failure) and "it is not a list of phone numbers" in found.detail


# ------------------------------------------------------------------ calls


def call(index: int, seconds: float) -> dict[str, Any]:
    at = int((START + timedelta(seconds=seconds)).timestamp() * 1000)
    found = {"call_id": f"call_{index}", "agent_id": "agent_a", "agent_version": 7, "direction": "inbound"}
    return {**found, "to_number": ONE, "start_timestamp": at}


def ids(found: Iterator[CallRecord | Failure]) -> list[str | Failure]:
    return [outcome.call_id if isinstance(outcome, CallRecord) else outcome for outcome in found]


def test_calls_in_order_are_given_out_page_by_page(scripted: Make) -> None:
    pages = Answers([more(call(1, 1), call(2, 2)), {"items": [call(4, 4), call(3, 3)]}])
    client, reader = scripted({"/v3/list-calls": pages})
    found = client.since(ONE, "inbound", AGENTS, START)
    assert ids(iter([next(found), next(found)])) == ["call_1", "call_2"]
    assert len(reader.asked) == 1, "the next page is not asked for before it is needed"
    assert ids(found) == ["call_4", "call_3"]
    assert reader.within == [20.0, 20.0]
    assert [(ask.method, ask.number) for ask in reader.asked] == [("POST", ONE)] * 2


def test_calls_out_of_order_are_held_back_to_the_end(scripted: Make) -> None:
    first, second = more(call(2, 2), call(1, 1)), {"items": [call(3, 3)]}
    client, _ = scripted({"/v3/list-calls": Answers([first, second])})
    assert ids(client.since(ONE, "inbound", AGENTS, START)) == ["call_1", "call_2", "call_3"]
    client, _ = scripted({"/v3/list-calls": Answers([first, failure(500)])})
    assert ids(client.since(ONE, "inbound", AGENTS, START)) == [failure(500)], "there may be gaps before them"


def test_messages_have_a_list_of_their_own(scripted: Make) -> None:
    client, reader = scripted({"/v3/list-chats": {"items": []}})
    assert list(client.since(ONE, "outbound_sms", AGENTS, START)) == []
    assert [ask.operation for ask in reader.asked] == ["list-chats"]


@pytest.mark.parametrize(
    ("number", "channel", "since"),
    [(ONE, "web", START), ("12", "inbound", START), (ONE, "inbound", datetime(2026, 11, 2))],
)
def test_calls_of_what_does_not_exist_are_a_mistake(scripted: Make, number: str, channel: str, since: datetime) -> None:
    client, reader = scripted({})
    with pytest.raises(ValueError, match=r"^since: "):
        next(client.since(number, channel, AGENTS, since))
    assert reader.asked == []


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (failure(404, Trouble.REJECTED), CallDetails()),
        (failure(422, Trouble.REJECTED), CallDetails()),
        (failure(403, Trouble.REJECTED), failure(403, Trouble.REJECTED)),
        (failure(500), failure(500)),
        ({"call_id": "a/b"}, CallDetails()),
    ],
)
def test_the_details_of_a_call(scripted: Make, answer: object, found: object) -> None:
    client, reader = scripted({"/v2/get-call/a%2Fb": answer})
    assert client.details("a/b") == found
    assert reader.within == [5.0]
