"""Retell's signature and what a call's webhook says."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.calls import LATEST_MS, CallDetails
from rollout.domain.incoming.webhooks import NEWEST_MS, OLDEST_MS, call_of, verify

NOW = 1_790_000_000_000


def header(body: bytes, key: str = "k", at: int = NOW) -> str:
    return f"v={at},d={hmac.new(key.encode(), body + str(at).encode(), hashlib.sha256).hexdigest()}"


@given(st.binary(max_size=200))
def test_any_bytes_can_be_signed(body: bytes) -> None:
    assert verify([header(body)], body, ["k"], NOW) == header(body).partition("d=")[2]
    assert verify([header(body)], body + b"x", ["k"], NOW) is None
    assert verify([header(body)], body, ["other"], NOW) is None


@pytest.mark.parametrize(
    ("age", "good"), [(0, True), (OLDEST_MS, True), (OLDEST_MS + 1, False), (-NEWEST_MS, True), (-NEWEST_MS - 1, False)]
)
def test_five_minutes_back_and_one_ahead(age: int, good: bool) -> None:
    assert (verify([header(b"x", at=NOW - age)], b"x", ["k"], NOW) is not None) is good


def test_two_keys_and_exactly_one_header() -> None:
    for key in ("old", "new"):
        assert verify([header(b"x", key)], b"x", ["old", "new"], NOW)
    assert verify([], b"x", ["k"], NOW) is None
    assert verify([header(b"x")] * 2, b"x", ["k"], NOW) is None
    assert verify([header(b"x")], b"x", [], NOW) is None


@given(st.text(max_size=100))
def test_no_header_raises(text: str) -> None:
    assert verify([text], b"x", ["k"], NOW) is None


def document(**more: Any) -> dict[str, Any]:
    call = {
        "call_id": "c",
        "call_type": "phone_call",
        "agent_id": "a",
        "agent_version": 7,
        "direction": "outbound",
        "from_number": "+14157774444",
        "to_number": "+14155550100",
        "call_status": "ended",
        **more,
    }
    return {"event": "call_ended", "call": call}


def test_a_call_without_analysis() -> None:
    found = call_of(document(start_timestamp=NOW, transcript="secret words"))
    assert found is not None and (found.number, found.channel) == ("+14157774444", "outbound")
    assert found.started_at == datetime.fromtimestamp(NOW / 1000, UTC) and found.ended_at is None
    assert found.successful is None and not found.analyzed and "secret" not in repr(found)


def test_figures_and_details_are_taken_and_no_text_that_may_name_the_caller() -> None:
    said = [{"role": "user", "content": "secret words"}, {"role": "agent", "metadata": {"backup_model_used": {}}}]
    custom = {"name": "secret", "score": 4, "booked": False}
    found = call_of(
        document(
            call_cost={"combined_cost": 12.5},
            transcript_with_tool_calls=said,
            call_analysis={"custom_analysis_data": custom},
        )
    )
    assert found is not None and "secret" not in repr(found)
    assert found.figures == {"cost": 12.5} and found.details == CallDetails(True, {})
    assert found.custom == {"score": 4.0, "booked": False}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agent_version", "7"),
        ("agent_version", True),
        ("agent_version", -1),
        ("agent_version", 2**31),
        ("agent_version", None),
        ("call_id", ""),
        ("call_id", "x" * 121),
        ("call_id", "a\nb"),
        ("agent_id", 7),
        ("direction", None),
        ("direction", []),
        ("from_number", "+1/.."),
        ("from_number", None),
        ("call_type", "web_call"),
        ("call_type", {}),
    ],
)
def test_what_cannot_be_used_is_left_out(field: str, value: Any) -> None:
    assert call_of(document(**{field: value})) is None


@pytest.mark.parametrize("event", ["chat_ended", "call_transferred", [], None])
def test_events_of_other_kinds_are_left_out(event: Any) -> None:
    assert call_of({**document(), "event": event}) is None


def test_what_is_just_within_its_bounds_is_taken() -> None:
    for version in (0, 2**31 - 1):
        found = call_of(document(agent_version=version))
        assert found is not None and found.agent_version == version
    found = call_of(
        document(
            call_id="c" * 120,
            agent_id="a" * 128,
            call_status="s" * 40,
            disconnection_reason="d" * 80,
            start_timestamp=0,
            end_timestamp=LATEST_MS,
            call_analysis={"user_sentiment": "u" * 20, "call_successful": False, "in_voicemail": True},
            latency={"e2e": {"p50": 900}},
        )
    )
    assert found is not None
    assert (found.call_id, found.agent_id) == ("c" * 120, "a" * 128)
    assert (found.status, found.disconnection_reason, found.sentiment) == ("s" * 40, "d" * 80, "u" * 20)
    assert (found.started_at, found.ended_at) == (datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC))
    assert (found.successful, found.in_voicemail, found.analyzed, found.e2e_p50_ms) == (False, True, True, 900.0)


def test_what_is_just_beyond_its_bounds_is_missing() -> None:
    found = call_of(
        document(
            call_status="s" * 41,
            disconnection_reason="d" * 81,
            start_timestamp=-1,
            end_timestamp=LATEST_MS + 1,
            call_analysis={"user_sentiment": "u" * 21, "in_voicemail": 1},
        )
    )
    assert found is not None
    assert (found.status, found.disconnection_reason, found.sentiment) == ("unknown", None, None)
    assert (found.started_at, found.ended_at, found.in_voicemail, found.analyzed) == (None, None, None, True)
    assert call_of(document(start_timestamp=True)) == call_of(document())
    assert call_of(document(agent_id="a" * 129)) is None


def test_an_inbound_call_is_of_the_number_that_was_called() -> None:
    found = call_of(document(direction="inbound", call_type="phone_call", to_number="+14157774445"))
    assert found is not None and (found.number, found.channel) == ("+14157774445", "inbound")
    untyped = document()
    del untyped["call"]["call_type"]
    assert call_of(untyped) == call_of(document())


def test_a_call_that_has_only_begun_has_no_details_yet() -> None:
    said = document(transcript_with_tool_calls=[])
    ended, begun = call_of(said), call_of({**said, "event": "call_started"})
    assert ended is not None and begun is not None
    assert (ended.details, begun.details) == (CallDetails(False, {}), None)


@pytest.mark.parametrize(
    ("field", "value", "attribute"),
    [
        ("latency", {"e2e": {"p50": float("inf")}}, "e2e_p50_ms"),
        ("latency", {"e2e": {"p50": "9"}}, "e2e_p50_ms"),
        ("latency", [], "e2e_p50_ms"),
        ("start_timestamp", 1e300, "started_at"),
        ("start_timestamp", "x", "started_at"),
        ("start_timestamp", float("nan"), "started_at"),
        ("call_analysis", {"call_successful": "yes"}, "successful"),
        ("disconnection_reason", "x\x1b", "disconnection_reason"),
        ("call_analysis", {"user_sentiment": 5}, "sentiment"),
    ],
)
def test_odd_values_are_missing_values(field: str, value: Any, attribute: str) -> None:
    found = call_of(document(**{field: value}))
    assert found is not None and getattr(found, attribute) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(
                st.sampled_from(["event", "call", "call_id", "direction", "call_analysis"]), c, max_size=3
            )
        ),
        max_leaves=8,
    )
)
def test_no_document_raises(value: Any) -> None:
    assert call_of(value) is None
