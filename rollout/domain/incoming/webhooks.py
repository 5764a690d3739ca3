"""Retell's call webhooks: the check of the signature, and the call in the body. Pure; time is an argument.

Header `x-retell-signature: v=<unix ms>,d=<64 lower-case hex>`, d = HMAC-SHA256(key, raw body + the digits of
v): retell-sdk 6.2.13, `lib/webhook_auth.py`. Body `{"event", "call"}`: docs.retellai.com, webhook overview.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

from rollout.domain.calls import CallRecord
from rollout.domain.incoming import call_documents
from rollout.domain.phone_numbers import is_e164

_HEADER = re.compile(r"v=([0-9]{1,15}),d=([0-9a-f]{64})", re.ASCII)
OLDEST_MS = 5 * 60 * 1000  # Retell's own helper takes five minutes either way; the future needs less
NEWEST_MS = 60 * 1000
EVENTS = ("call_started", "call_ended", "call_analyzed")


def verify(headers: Sequence[str], body: bytes, keys: Sequence[str], now_ms: int) -> str | None:
    """The signature's digest if one of the keys made it over exactly these bytes and it is young enough.

    `headers` are all values of the signature header: anything but exactly one is refused. None: refused,
    for whatever reason; which key fitted is told to nobody.
    """
    if len(headers) != 1:
        return None
    match = _HEADER.fullmatch(headers[0])
    if match is None:
        return None
    at, given = int(match[1]), match[2].encode()
    if not now_ms - OLDEST_MS <= at <= now_ms + NEWEST_MS:
        return None
    good = False
    for key in keys:
        made = hmac.new(key.encode(), body + match[1].encode(), hashlib.sha256).hexdigest().encode()
        # every key is tried, so that time does not tell which one fits
        good = hmac.compare_digest(made, given) or good
    return match[2] if good else None


def call_of(document: object) -> CallRecord | None:
    """The phone call in one webhook body; None for any other event and for what cannot be used."""
    if not isinstance(document, Mapping) or document.get("event") not in EVENTS:
        return None
    call = document.get("call")
    if not isinstance(call, Mapping) or call.get("call_type", "phone_call") != "phone_call":
        return None
    direction = call.get("direction")
    number = call.get({"inbound": "to_number", "outbound": "from_number"}.get(str(direction), ""))
    call_id, agent_id, version = (
        _text(call.get("call_id"), 120),
        _text(call.get("agent_id"), 128),
        call.get("agent_version"),
    )
    if not is_e164(number) or call_id is None or agent_id is None:
        return None
    if type(version) is not int or not 0 <= version < 2**31:
        return None
    analysis = call.get("call_analysis")
    analysis = analysis if isinstance(analysis, Mapping) else {}
    return CallRecord(
        call_id=call_id,
        agent_id=agent_id,
        agent_version=version,
        number=str(number),
        channel=str(direction),
        started_at=call_documents.moment(call.get("start_timestamp")),
        ended_at=call_documents.moment(call.get("end_timestamp")),
        status=_text(call.get("call_status"), 40) or "unknown",
        disconnection_reason=_text(call.get("disconnection_reason"), 80),
        e2e_p50_ms=call_documents.figure(call, "latency", "e2e", "p50"),
        successful=call_documents.boolean(analysis.get("call_successful")),
        sentiment=_text(analysis.get("user_sentiment"), 20),
        in_voicemail=call_documents.boolean(analysis.get("in_voicemail")),
        # Text may name the caller: it is kept by the fetch alone, which knows the fields that plans name.
        custom={k: v for k, v in call_documents.custom(analysis).items() if not isinstance(v, str)},
        analyzed=bool(analysis),
        figures=call_documents.figures(call),
        details=call_documents.details(call) if document["event"] != "call_started" else None,
    )


def _text(value: object, most: int) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= most and value.isprintable() else None
