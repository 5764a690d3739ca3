"""What is believed of Retell's JSON, to the last value that may be, and what is no answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.adapters.retell.wire import AnswerError, agent_version, listed_version, page, parse_json, reading
from rollout.domain.incoming.call_documents import moment
from rollout.domain.versions.agent_list import ListedVersion

ONE = "+14157774444"

TWICE = [
    b'{"a":1,"a":2}',
    b'{"a":1,"a":1}',
    b'{"a" :1,"a":2}',
    b'{"a"\n:1,"a"\t: 2}',
    b'{"b":[{"a":1,"a":2}]}',
    b'{"x":"\\u0022\\u0022","a":1,"a":2}',
    b'{"x":"\\":\\":","a":"","a":""}',
    b'{"a":1,"\\u0061":2}',
    b'[{"a":{"b":"c","b":"c"}}]',
    b'{"":0,"":1}',
]


@pytest.mark.parametrize("body", TWICE)
def test_a_key_that_comes_twice_is_refused(body: bytes) -> None:
    with pytest.raises(AnswerError, match="a key twice"):
        parse_json(body)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(['"', '":', "\\", '\\"', "\u2028"])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]))
def test_what_is_said_once_is_read_as_it_is(document: Any, ascii_only: bool, indent: int | None) -> None:
    assert parse_json(json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()) == document


@given(st.dictionaries(TEXTS, DOCUMENTS, min_size=1, max_size=3), st.booleans(), st.data())
def test_a_key_that_is_written_once_more_is_refused(
    document: dict[str, Any], ascii_only: bool, data: st.DataObject
) -> None:
    again = data.draw(st.sampled_from(sorted(document)))
    pairs = [*document.items(), (again, data.draw(DOCUMENTS))]
    body = ",".join(f"{json.dumps(k, ensure_ascii=ascii_only)}:{json.dumps(v)}" for k, v in pairs)
    with pytest.raises(AnswerError, match="a key twice"):
        parse_json(f"{{{body}}}".encode())


# ------------------------------------------------------------------ integers that no database column and no clock takes

ABSURD = [2**63, 2**63 - 1, 2**31 * 10**9, -1, -(2**63), 10**400]


def number(**changes: Any) -> bytes:
    entry = {"agent_id": "a", "agent_version": 6, "weight": 1, **changes.pop("entry", {})}
    document = {"phone_number": ONE, "last_modification_timestamp": 1_703_413_636_133, "inbound_agents": [entry]}
    return json.dumps({**document, **changes}).encode()


@pytest.mark.parametrize("absurd", ABSURD, ids=["2^63", "2^63-1", "late", "-1", "-2^63", "huge"])
@pytest.mark.parametrize(
    ("read", "made"),
    [
        (reading, lambda n: number(last_modification_timestamp=n)),
        (reading, lambda n: number(entry={"agent_version": n})),
        (lambda d: agent_version(d, "a", None), lambda n: json.dumps({"agent_id": "a", "version": n}).encode()),
    ],
    ids=["time-stamp", "version-in-a-list", "version-of-an-agent"],
)
def test_an_absurd_integer_is_an_answer_that_cannot_be_used(
    read: Callable[[Any], object], made: Callable[[int], bytes], absurd: int
) -> None:
    with pytest.raises(AnswerError, match=r"is not from 0 to|no finite"):
        read(parse_json(made(absurd)))


@pytest.mark.parametrize(
    "absurd",
    [*ABSURD, 1e300, -1e300, 253_402_300_799_999],
    ids=["2^63", "2^63-1", "late", "-1", "-2^63", "huge", "1e300", "-1e300", "9999"],
)
def test_an_absurd_time_of_a_call_is_no_time(absurd: float) -> None:
    assert moment(absurd) is None


@pytest.mark.parametrize("fine", [0, 1_000, 1_703_413_636_133, 32_503_680_000_000])
def test_a_time_stamp_that_may_be_is_read(fine: int) -> None:
    assert reading(parse_json(number(last_modification_timestamp=fine))).modified == fine


# ------------------------------------------------------------------ what is wrong with a body


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "its body is not one JSON document"),
        (b"{} {}", "its body is not one JSON document"),
        (b'{"a": "\xff"}', "its body is not one JSON document"),
        (b"[" * 100_000, "its body is not one JSON document"),
        (b"9" * 5000, "its body is not one JSON document"),
        (b'{"a": NaN}', "its JSON holds NaN"),
        (b"[-Infinity]", "its JSON holds -Infinity"),
    ],
    ids=["nothing", "two", "not UTF-8", "deep", "long", "NaN", "infinity"],
)
def test_a_body_that_cannot_be_read_is_named(body: bytes, words: str) -> None:
    with pytest.raises(AnswerError) as refused:
        parse_json(body)
    assert str(refused.value) == words


# ------------------------------------------------------------------ a number


@pytest.mark.parametrize(
    "entry",
    [
        {"agent_version": 0},
        {"agent_version": 2**31 - 1},
        {"agent_version": "prod"},
        {"agent_version": None},
        {"weight": 0},
        {"weight": -1e299},
        {"unknown": 2**80},
    ],
    ids=str,
)
def test_an_entry_is_kept_as_it_was_shown(entry: dict[str, Any]) -> None:
    kept = {"agent_id": "a", "agent_version": 6, "weight": 1, **entry}
    assert reading(parse_json(number(entry=entry))).lists == {"inbound_agents": [kept]}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"agent_version": 2**31}, "agent_version that is not from 0 to 2147483647"),
        ({"agent_version": -1}, "agent_version that is not from 0 to"),
        ({"agent_version": 1e10}, "agent_version that is not from 0 to"),
        ({"agent_version": True}, "agent_version that is neither number nor tag"),
        ({"agent_version": []}, "agent_version that is neither number nor tag"),
        ({"agent_id": ""}, "no agent_id"),
        ({"agent_id": None}, "no agent_id"),
        ({"agent_id": "a\n"}, "no agent_id"),
        ({"weight": None}, "no finite weight"),
        ({"weight": True}, "no finite weight"),
        ({"weight": "1"}, "no finite weight"),
        ({"weight": 1e300}, "no finite weight"),
        ({"weight": -1e300}, "no finite weight"),
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_meant_is_named(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(AnswerError, match=r"^an entry of its inbound_agents has ") as refused:
        reading(parse_json(number(entry=entry)))
    assert words in str(refused.value)


def test_each_list_is_as_it_was_shown_or_left_out_and_nothing_else_is_a_list() -> None:
    shown = {"inbound_agents": None, "outbound_sms_agents": [], "web_agents": [1]}
    assert reading(parse_json(number(**shown))).lists == {"inbound_agents": None, "outbound_sms_agents": []}
    with pytest.raises(AnswerError, match="its inbound_sms_agents is neither a list nor null"):
        reading(parse_json(number(inbound_sms_agents={})))
    with pytest.raises(AnswerError, match="its inbound_agents holds something that is not an object"):
        reading(parse_json(number(inbound_agents=["a"])))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (5, "its phone_number is missing or not text"),
        ({"phone_number": 5}, "its phone_number is missing or not text"),
        ({"phone_number": ONE}, "its last_modification_timestamp is missing or not an integer"),
        ({"phone_number": ONE, "last_modification_timestamp": True}, "is missing or not an integer"),
        ({"phone_number": ONE, "last_modification_timestamp": 32_503_680_000_001}, "is not from 0 to 32503680000000"),
        ({"phone_number": ONE, "last_modification_timestamp": -1}, "is not from 0 to 32503680000000"),
    ],
)
def test_an_answer_that_is_no_number_is_named(document: Any, words: str) -> None:
    with pytest.raises(AnswerError) as refused:
        reading(document)
    assert words in str(refused.value)


def test_the_digest_of_the_other_fields_is_the_same_in_every_version() -> None:
    """It is kept in the database: a number that nobody touched must not look changed after an upgrade."""

    def digest(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    plain = reading(parse_json(number(nickname="Front", area_code=415)))
    assert plain.others == digest('{"area_code":415,"nickname":"Front"}')
    assert plain.others == reading(parse_json(number(area_code=415, nickname="Front", entry={"x": 2**80}))).others
    umlaut = reading(parse_json(number(nickname="Zürich")))
    assert (umlaut.others, umlaut.nickname) == (digest('{"nickname":"Z\\u00fcrich"}'), "Zürich")
    half = reading(parse_json(number(nickname="\ud800", later=2**80)))
    assert (half.others, half.nickname) == (digest(f'{{"later":{2**80},"nickname":"\\ud800"}}'), "?")


def test_webhooks_of_a_number_are_read() -> None:
    found = reading(parse_json(number(inbound_webhook_url="https://a.example", inbound_sms_webhook_url=5)))
    assert (found.inbound_webhook_url, found.inbound_sms_webhook_url) == ("https://a.example", None)


# ------------------------------------------------------------------ agents, their versions, and pages


@pytest.mark.parametrize(
    ("shown", "is_published", "is_suspended"),
    [
        ({}, False, False),
        ({"is_published": True, "is_suspended": True}, True, True),
        ({"is_published": 1, "is_suspended": "true"}, False, False),
    ],
)
def test_a_version_is_published_or_suspended_only_where_it_says_so(
    shown: dict[str, Any], is_published: bool, is_suspended: bool
) -> None:
    document = {"agent_id": "a", "version": 2**31 - 1, "agent_name": "Front", **shown}
    found = agent_version(document, "a", "prod")
    assert (found.version, found.agent_name, found.document) == (2**31 - 1, "Front", document)
    assert (found.is_published, found.is_suspended) == (is_published, is_suspended)


@pytest.mark.parametrize(
    ("document", "version", "words"),
    [
        ({"agent_id": "b", "version": 0}, 0, "about another agent_id"),
        ({"agent_id": "a", "version": 1}, 0, "shows version 1 instead of version 0"),
        ({"agent_id": "a", "version": 2**31}, None, "its version is not from 0 to 2147483647"),
        (["a"], None, "its agent_id is missing"),
    ],
)
def test_another_version_is_not_taken_for_it(document: Any, version: int | None, words: str) -> None:
    with pytest.raises(AnswerError, match=words):
        agent_version(document, "a", version)


@pytest.mark.parametrize(
    ("version", "changed", "at"),
    [
        (0, 1, datetime(1970, 1, 1, 0, 0, 0, 1000, UTC)),
        (2**31 - 1, 32_503_679_999_000, datetime(2999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (7, 0, None),
        (7, 32_503_680_000_000, None),
        (7, "1000", None),
    ],
)
def test_a_listed_version_has_its_number_and_time(version: int, changed: object, at: datetime | None) -> None:
    item = {"version": version, "last_modification_timestamp": changed}
    assert listed_version(item) == ListedVersion(version, False, "", at)


@pytest.mark.parametrize("version", [-1, 2**31, True, "7", None])
def test_an_item_without_a_number_is_no_version(version: object) -> None:
    assert listed_version({"version": version}) is None
    assert listed_version(version) is None


@pytest.mark.parametrize(
    ("document", "items", "key"),
    [
        ([1], [1], None),
        ({"items": [1]}, [1], None),
        ({"items": [1], "has_more": False, "pagination_key": "k"}, [1], None),
        ({"items": [1], "has_more": "true", "pagination_key": "k"}, [1], None),
        ({"items": [], "has_more": True, "pagination_key": "k"}, [], "k"),
    ],
)
def test_a_page_has_its_items_and_the_key_of_the_next(document: Any, items: list[Any], key: str | None) -> None:
    assert page(document) == (items, key)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "no list named items"),
        ({"items": {}}, "no list named items"),
        ({"items": [], "has_more": True}, "has_more without a pagination_key"),
        ({"items": [], "has_more": True, "pagination_key": ""}, "has_more without a pagination_key"),
        ({"items": [], "has_more": True, "pagination_key": 7}, "has_more without a pagination_key"),
    ],
)
def test_what_is_no_page_is_named(document: Any, words: str) -> None:
    with pytest.raises(AnswerError, match=words):
        page(document)
