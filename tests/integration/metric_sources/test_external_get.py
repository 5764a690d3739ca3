"""One number from elsewhere: what is sent, what is taken for a number, and what a bad server cannot do."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.metric_sources.allowed_hosts import Late, MetricHosts, ValueUnreadable
from rollout.adapters.metric_sources.fetch import field_value, prometheus_value, read_value, strict_tls
from rollout.domain.plan.metrics import Http, Prometheus
from tests.integration.metric_sources.conftest import http, prometheus
from tests.integration.metric_sources.provider import Provider, drips, sample, says


@pytest.fixture
def fresh_tls() -> Iterator[None]:
    """The variables of the environment are read anew in this test, and forgotten behind it."""
    strict_tls.cache_clear()
    yield
    strict_tls.cache_clear()


def read(provider: Provider, source: Prometheus | Http, **options: Any) -> float:
    return read_value(source, MetricHosts([provider.host]), SystemClock(), **{"within": 2.0} | options)


def test_what_prometheus_is_asked(provider: Provider) -> None:
    provider.behaviour = says(sample("0.25"))
    query = 'sum(rate(calls{agent="a&b#c",x=~".+"}[5m])) / 100 % + 1 ü'
    assert read(provider, prometheus(f"{provider.url}/prom/", query)) == 0.25
    (path,) = provider.seen
    parts = urlsplit(path)
    assert parts.path == "/prom/api/v1/query"
    assert parse_qs(parts.query) == {"query": [query]}, "one parameter, whatever is in it"
    (headers,) = provider.headers
    assert headers["host"] == provider.host
    assert set(headers) == {"host", "accept", "accept-encoding", "user-agent", "connection"}, "no credentials"


def test_a_field_of_a_document(provider: Provider) -> None:
    provider.behaviour = says({"data": {"rate": 0.5}})
    assert read(provider, http(f"{provider.url}/x?since=5m", "data.rate")) == 0.5
    assert provider.seen == ["/x?since=5m"]


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("1e-3", 0.001), ("-2.5", -2.5), ("+1.", 1.0), (".5", 0.5)])
@pytest.mark.parametrize("kind", ["vector", "scalar"])
def test_numbers_of_prometheus(kind: str, text: str, value: float) -> None:
    assert prometheus_value(json.dumps(sample(text, kind)).encode()) == value


@pytest.mark.parametrize("text", ["NaN", "+Inf", "-Inf", "Infinity", "", " 1", "1_0", "1e999", "0x1", "١", "1;2"])
@pytest.mark.parametrize("kind", ["vector", "scalar"])
def test_no_numbers_of_prometheus(kind: str, text: str) -> None:
    with pytest.raises(ValueUnreadable):
        prometheus_value(json.dumps(sample(text, kind)).encode())


ONE = {"metric": {}, "value": [1, "1"]}


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        1,
        None,
        {"status": "error", "error": "x"},
        {"status": "success"},
        {"status": "success", "data": []},
        {"status": "success", "data": {"resultType": "vector", "result": []}},
        {"status": "success", "data": {"resultType": "vector", "result": [ONE, ONE]}},
        {"status": "success", "data": {"resultType": "vector", "result": [1]}},
        {"status": "success", "data": {"resultType": "vector", "result": [{"value": [1, 0.5]}]}},
        {"status": "success", "data": {"resultType": "vector", "result": [{"histogram": [1, {}]}]}},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"values": [[1, "1"]]}]}},
        {"status": "success", "data": {"resultType": "string", "result": [1, "1"]}},
        {"status": "success", "data": {"resultType": "scalar", "result": [1]}},
        {"status": "error", "data": {"resultType": "scalar", "result": [1, "1"]}},
    ],
)
def test_answers_of_prometheus_without_exactly_one_number(document: object) -> None:
    with pytest.raises(ValueUnreadable):
        prometheus_value(json.dumps(document).encode())


def test_how_many_samples_is_said() -> None:
    document = {"status": "success", "data": {"resultType": "vector", "result": [ONE, ONE, ONE]}}
    with pytest.raises(ValueUnreadable, match="the query gave 3 samples; write one that gives exactly one"):
        prometheus_value(json.dumps(document).encode())


@pytest.mark.parametrize(
    "body",
    [
        b'{"value": true}',
        b'{"value": "1"}',
        b'{"value": null}',
        b'{"value": [1]}',
        b'{"value": {}}',
        b"{}",
        b"1",
        b'{"value": NaN}',
        b'{"value": Infinity}',
        b'{"value": 1e999}',
        b'{"value": 1' + b"0" * 400 + b"}",
        b'{"value": 1, "value": 2}',
        b'{"value": 1',
        b"",
        b"\xff",
        b'{"value":' + b"[" * 100_000,
        b'{"value": 1} 2',
        b'{"value": 1' + b"0" * 5000 + b"}",
    ],
)
def test_documents_without_a_number(body: bytes) -> None:
    with pytest.raises(ValueUnreadable):
        field_value(body, "value")


def test_a_dot_goes_into_objects_only() -> None:
    assert field_value(b'{"a": {"b": {"c": -3}}}', "a.b.c") == -3.0
    for body in (b'{"a": [1]}', b'{"a.0": 1}', b'{"a": 1}'):
        with pytest.raises(ValueUnreadable, match=r"no field a\.0"):
            field_value(body, "a.0")


def test_a_redirect_is_not_followed(provider: Provider) -> None:
    trap = Provider()
    provider.behaviour = says("", 302, location=f"{trap.url}/x")
    with pytest.raises(ValueUnreadable, match="status 302; redirects are not followed"):
        read(provider, http(provider.url))
    trap.stop()
    assert (len(provider.seen), trap.seen) == (1, [])


@pytest.mark.parametrize(
    ("body", "status", "headers", "why"),
    [
        ({"value": 1}, 500, {}, "status 500"),
        (b"", 204, {}, "status 204"),
        ({"value": 1}, 200, {"content_encoding": "gzip"}, "compressed"),
        ({"value": 1}, 200, {"content_length": "5000"}, "ended early"),
        ({"value": 1}, 200, {"transfer_encoding": "chunked"}, "ended early"),
        (b'{"value": 1, "x": "' + b"x" * (1 << 20) + b'"}', 200, {}, "larger than"),
    ],
)
def test_answers_that_are_not_taken(provider: Provider, body: Any, status: int, headers: Any, why: str) -> None:
    provider.behaviour = says(body, status, **headers)
    with pytest.raises(ValueUnreadable, match=why):
        read(provider, http(provider.url))


def test_what_is_no_http_is_not_taken(provider: Provider) -> None:
    provider.behaviour = lambda request: request.wfile.write(b"SSH-2.0-x\r\n" * 10) and None
    with pytest.raises(ValueUnreadable, match="not HTTP"):
        read(provider, http(provider.url))


def test_the_whole_answer_has_one_deadline(provider: Provider) -> None:
    provider.behaviour = drips
    clock = SystemClock()
    begun = clock.boot()
    with pytest.raises(Late):
        read(provider, http(provider.url), within=0.4)
    assert 0.35 < clock.boot() - begun < 1.5


def test_nobody_listens(provider: Provider) -> None:
    provider.stop()
    with pytest.raises(ValueUnreadable, match="cannot be reached"):
        read(provider, http(provider.url))


def test_proxies_of_the_environment_have_no_say(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = Provider()
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, trap.url)
    assert read(provider, http(provider.url)) == 0.01
    trap.stop()
    assert trap.seen == []


def test_the_checked_address_is_the_one_connected_to(provider: Provider) -> None:
    """A name that leads outside first and to this machine later is asked for once, and goes where it was checked."""
    asked: list[str] = []

    def lookup(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        at = "192.0.2.1" if len(asked) > 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (at, port))]

    name = f"metrics.example.com:{provider.port}"
    with pytest.raises(ValueUnreadable, match="on loopback only by localhost"):
        read_value(http(f"https://{name}/"), MetricHosts([name]), SystemClock(), within=1, lookup=lookup)
    assert (asked, provider.seen) == (["metrics.example.com"], [])


def test_tls_is_verified_against_the_host(secure: Provider, certificate: Path) -> None:
    hosts = MetricHosts([f"localhost:{secure.port}", secure.host])
    trust = ssl.create_default_context(cafile=certificate)
    by_name, by_address = http(f"https://localhost:{secure.port}/"), http(f"https://{secure.host}/")
    assert read_value(by_name, hosts, SystemClock(), within=2, tls=trust) == 0.01
    assert secure.headers[0]["host"] == f"localhost:{secure.port}"
    with pytest.raises(ValueUnreadable, match="certificate is refused"):
        read_value(by_address, hosts, SystemClock(), within=2, tls=trust)
    with pytest.raises(ValueUnreadable, match="certificate is refused"):
        read_value(by_name, hosts, SystemClock(), within=2)
    assert len(secure.seen) == 1


def test_certificates_of_the_environment_are_trusted_as_well(
    secure: Provider, certificate: Path, monkeypatch: pytest.MonkeyPatch, fresh_tls: None
) -> None:
    source, hosts = http(f"https://localhost:{secure.port}/"), MetricHosts([f"localhost:{secure.port}"])
    known = len(strict_tls().get_ca_certs())
    strict_tls.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert read_value(source, hosts, SystemClock(), within=2) == 0.01
    assert len(strict_tls().get_ca_certs()) >= known, "what was trusted before still is"


def test_variables_of_other_programs_have_no_say(
    secure: Provider, certificate: Path, monkeypatch: pytest.MonkeyPatch, fresh_tls: None
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(certificate))
    source = http(f"https://localhost:{secure.port}/")
    with pytest.raises(ValueUnreadable, match="certificate is refused"):
        read_value(source, MetricHosts([f"localhost:{secure.port}"]), SystemClock(), within=2)
    assert secure.seen == []


def test_certificates_that_cannot_be_read_are_said(
    secure: Provider, monkeypatch: pytest.MonkeyPatch, fresh_tls: None
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    source = http(f"https://localhost:{secure.port}/")
    with pytest.raises(ValueUnreadable, match=r"SSL_CERT_FILE: /nowhere/ca\.pem"):
        read_value(source, MetricHosts([f"localhost:{secure.port}"]), SystemClock(), within=2)
    assert secure.seen == []
