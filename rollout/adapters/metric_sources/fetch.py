"""One number read from elsewhere: one GET over a connection to a checked address, and the number in its answer.

An httpx client sends it over that connection and no other: no redirects, proxies, cookies or credentials; 5 s for
everything, 1 MiB at most. The answer's shape is that of
Prometheus' instant query (prometheus.io/docs/prometheus/latest/querying/api) or any JSON object.
"""

from __future__ import annotations

import math
import os
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import quote

import httpx

from rollout.adapters.http.connection import Connection
from rollout.adapters.http.network import countdown, named_certificates, trust
from rollout.adapters.http.standard import system_tls
from rollout.adapters.http.transport import Sending, make_client
from rollout.adapters.metric_sources.allowed_hosts import (
    AllowedAddress,
    Late,
    Lookup,
    MetricHosts,
    ValueUnreadable,
    addresses,
    asked,
)
from rollout.domain import strict_json
from rollout.domain.errors import SettingsError
from rollout.domain.plan.metrics import Http, Prometheus
from rollout.engine.ports import Clock

SECONDS = 5.0
LIMIT = 1 << 20  # bytes of body
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "rollout", "Connection": "close"}
_CLIENT = make_client()
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)


def read_value(
    source: Prometheus | Http,
    hosts: MetricHosts,
    clock: Clock,
    *,
    within: float = SECONDS,
    tls: ssl.SSLContext | None = None,
    lookup: Lookup | None = None,
) -> float:
    """The finite number that a metric's source shows now. Raises ValueUnreadable, or Late after `within` seconds.

    Only the lookup of a name may take longer, because the system's resolver knows no limit.
    """
    ends = clock.boot() + within
    place = hosts.place(asked(source))
    if isinstance(source, Http):
        return field_value(get(place, clock, ends, tls, lookup), source.field)
    query = quote(source.query, safe="")  # one value of one parameter, whatever is in it
    place = replace(place, target=f"{place.target}?query={query}")
    return prometheus_value(get(place, clock, ends, tls, lookup))


def get(
    place: AllowedAddress, clock: Clock, ends: float, tls: ssl.SSLContext | None = None, lookup: Lookup | None = None
) -> bytes:
    """The body of a 200 that is complete by `ends` (seconds of Clock.boot). Raises ValueUnreadable, Late."""
    left = countdown(clock, ends)
    try:
        sock = _connect(place, addresses(place, lookup), left)
        try:
            if place.scheme == "https":
                sock.settimeout(left())  # one limit for the whole handshake
                sock = (tls or strict_tls()).wrap_socket(sock, server_hostname=place.host)
            return _ask(place, Sending(Connection(sock, clock), ends, LIMIT))
        finally:
            sock.close()
    except TimeoutError:
        raise _late() from None
    except SettingsError as error:
        raise ValueUnreadable(error.message) from None
    except ssl.SSLCertVerificationError as error:
        raise ValueUnreadable(f"its certificate is refused: {error.verify_message}") from None
    except OSError as error:
        raise ValueUnreadable(f"it cannot be reached: {error.strerror or type(error).__name__}") from None


@cache
def strict_tls() -> ssl.SSLContext:
    """TLS that verifies, by the certificates of certifi, of this system and of the environment's variables.

    The operator sets these variables. They add to what is trusted and replace nothing, because a plan may name any
    host. Raises SettingsError.
    """
    return trust(system_tls(), named_certificates(os.environ))


def prometheus_value(body: bytes) -> float:
    """The one number of an instant query: a scalar, or a vector of exactly one sample. Raises ValueUnreadable."""
    document = _document(body)
    data = document.get("data")
    if document.get("status") != "success" or not isinstance(data, dict):
        raise ValueUnreadable("its answer is not one of a successful Prometheus query")
    kind, result = data.get("resultType"), data.get("result")
    if kind == "vector" and isinstance(result, list):
        if len(result) != 1:
            many = "no sample" if not result else f"{len(result)} samples"
            raise ValueUnreadable(f"the query gave {many}; write one that gives exactly one, for example by sum(...)")
        result = result[0].get("value") if isinstance(result[0], dict) else None
    elif kind != "scalar":
        raise ValueUnreadable("the query gave neither a vector nor a scalar; write one that gives one number now")
    text = result[1] if isinstance(result, list) and len(result) == 2 else None
    if not isinstance(text, str):
        raise ValueUnreadable("its answer has no sample in Prometheus's format")
    if not _NUMBER.fullmatch(text):
        raise ValueUnreadable("the query gave NaN, infinity or no number")
    return _finite(float(text))


def field_value(body: bytes, field: str) -> float:
    """The number under a key of a JSON object; dots in `field` go into nested objects. Raises ValueUnreadable."""
    value: Any = _document(body)
    for key in field.split("."):
        if not isinstance(value, dict) or key not in value:
            raise ValueUnreadable(f"its answer has no field {field}")
        value = value[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueUnreadable(f"the field {field} of its answer is not a number")
    return _finite(value)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = strict_json.parse(body)
    except ValueError:
        raise ValueUnreadable("its answer is not one JSON document") from None
    if not isinstance(document, dict):
        raise ValueUnreadable("its answer is not a JSON object")
    return document


def _finite(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueUnreadable("its answer has NaN, infinity or a number that is too large")
    return number


def _connect(
    place: AllowedAddress, found: list[tuple[socket.AddressFamily, str]], left: Callable[[], float]
) -> socket.socket:
    """A connection to the first address that takes one; each has its part of the time."""
    trouble: OSError = TimeoutError()
    for i, (family, address) in enumerate(found):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(left() / (len(found) - i))
            sock.connect((address, place.port))
        except OSError as error:
            sock.close()
            trouble = error
        else:
            return sock
    raise trouble


def _ask(place: AllowedAddress, how: Sending) -> bytes:
    """The body of a whole 200 on a connection that is open. Raises ValueUnreadable, Late."""
    request = httpx.Request(
        "GET",
        httpx.URL(scheme=place.scheme, host=place.host, port=place.port, raw_path=place.target.encode("ascii")),
        headers={"Host": place.authority, **_HEADERS},
        extensions=how.extensions,
    )
    try:
        answer = _CLIENT.send(request, auth=None)
    except httpx.TransportError as error:
        if isinstance(error.__cause__, TimeoutError):
            raise _late() from None
        raise ValueUnreadable(str(error)) from None
    if answer.status_code != 200:
        more = "; redirects are not followed" if answer.is_redirect else ""
        raise ValueUnreadable(f"it answered with status {answer.status_code}{more}")
    return answer.content


def _late() -> Late:
    return Late("there was no whole answer in time")
