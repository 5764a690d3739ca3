"""The attack list, as far as it concerns the API: none succeeds, none is a server error."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api.live import Live, live


def send(service: Live, data: bytes, wait: float = 5) -> bytes:
    """Raw bytes on a socket; all that comes back until it is closed or silent."""
    with socket.create_connection(("127.0.0.1", service.server.port), timeout=wait) as sock:
        sock.sendall(data)
        found = b""
        try:
            while part := sock.recv(65536):
                found += part
                if b"\r\n\r\n" in found and b"HTTP/1.1 4" in found:
                    sock.settimeout(0.3)
        except TimeoutError:
            pass
        return found


# ------------------------------------------------------------------ hosts, methods, paths


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "evil.example:8080",
        "",
        "[::1].evil.example",
        "0.0.0.0",
        "127.0.0.1:80:80",
        "LOCALHOST.",
        "2130706433",
    ],
)
def test_other_hosts_get_nothing(service: Live, host: str) -> None:
    for path in ("/", "/healthz", "/api/v1/rollouts", "/metrics", "/api/v1/openapi.json", "/hooks/retell"):
        answer = service.ask("GET", path, headers={"Host": host})
        assert answer.status in (400, 421) and b"rollouts" not in answer.raw


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:1", "[::1]", "[::1]:9"])
def test_our_own_names_work(service: Live, host: str) -> None:
    assert service.ask("GET", "/healthz", headers={"Host": host}).status == 200


def test_a_configured_name_works(tmp_path: Path) -> None:
    with live(tmp_path, ticking=False, allowed_hosts=("rollout.example.com",)) as found:
        assert found.ask("GET", "/healthz", headers={"Host": "rollout.example.com"}).status == 200
        assert found.ask("GET", "/healthz", headers={"Host": "x.rollout.example.com"}).status == 421


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/rollouts/{id}/promote/",
        "//api/v1/rollouts/{id}/promote",
        "/api/v1//rollouts/{id}/promote",
        "/API/V1/rollouts/{id}/promote",
        "/api/v1/rollouts/{id}%2Fpromote",
        "/api/v1/rollouts/x/../{id}/promote",
        "/api/v1/rollouts/{id}/Promote",
        "/api/v1/rollouts/{id};/promote",
        "/static/../api/v1/rollouts/{id}/promote",
        "/healthz/../api/v1/rollouts/{id}/promote",
        "/api/v1/rollouts/{id}/promote%00",
    ],
)
def test_paths_written_differently_promote_nothing(service: Live, path: str) -> None:
    id_ = ready(service)
    for headers in ({}, {"X-HTTP-Method-Override": "POST"}, {"X-Original-URL": f"/api/v1/rollouts/{id_}/promote"}):
        for method in ("GET", "POST", "PUT", "HEAD"):
            answer = service.ask(method, path.format(id=id_), token="viewer", headers=headers)
            assert answer.status in (400, 403, 404, 405), (method, path)
    assert service.show(id_)["position"] == {"wave": 1, "step": 1}


_ready: dict[int, str] = {}


def ready(service: Live) -> str:
    """One confirmed rollout for all the attacks on this service."""
    if service.server.port not in _ready:
        _ready[service.server.port] = service.start(name="under-attack")
    return _ready[service.server.port]


def state(service: Live) -> str:
    """A digest of everything that a change would change."""
    path = service.app.settings.database_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as database:
        tables = {
            t: database.execute(f"SELECT * FROM {t} ORDER BY 1, 2").fetchall()
            for t in ("rollouts", "targets", "writes", "requests", "journal")
        }
    tables["journal"] = [row for row in tables["journal"] if row[0] != "system"]
    return hashlib.sha256(repr(tables).encode()).hexdigest()


def test_reading_changes_nothing(service: Live) -> None:
    id_ = ready(service)
    before = state(service)
    document = service.ask("GET", "/api/v1/openapi.json").json
    for path, operations in document["paths"].items():
        if "get" in operations and not path.endswith("/events"):
            real = path.replace("{id}", id_).replace("{number}", "+14157774444")
            for tail in ("", "?promote=1", "?_method=POST"):
                service.ask("GET", real + tail, token="operator")
                service.ask("HEAD", real + tail, token="operator")
    assert state(service) == before


# ------------------------------------------------------------------ bodies


DEEP = b"[" * 100_000 + b"]" * 100_000
ODD_BODIES = {
    "not json": b"{",
    "empty object twice": b"{}{}",
    "duplicate": b'{"reason": "a", "reason": "b"}',
    "nan": b'{"reason": NaN}',
    "infinity": b'{"x": 1e999}',
    "huge number": b'{"x": ' + b"9" * 10_000 + b"}",
    "deep": DEEP[:60_000],
    "deep objects": b'{"a":' * 9000 + b"1" + b"}" * 9000,
    "nul": b'{"reason": "a\\u0000b"}',
    "half a surrogate": b'{"reason": "\\ud800"}',
    "not utf-8": b'{"reason": "\xff"}',
    "list": b"[]",
    "text": b'"x"',
    "number": b"1",
    "utf-16": '{"reason": "x"}'.encode("utf-16"),
    "bom": b"\xef\xbb\xbf{}",
    "state": b'{"phase": "promoted"}',
    "epoch": b'{"epoch": 99}',
    "actor": b'{"actor": "admin"}',
    "role": b'{"role": "admin"}',
    "hash": b'{"hash": "0"}',
    "created": b'{"created_at": "2020-01-01T00:00:00Z"}',
    "id": b'{"id": "another"}',
    "expect text": b'{"expect": "one"}',
    "expect part": b'{"expect": {"wave": 1}}',
    "expect float": b'{"expect": {"wave": 1, "step": 1.5}}',
    "expect big": b'{"expect": {"wave": 1, "step": 99999999999}}',
    "expect bool": b'{"expect": {"wave": true, "step": true}}',
    "full text": b'{"full": "yes"}',
    "reason of two lines": b'{"reason": "a\\nb"}',
    "reason with escape": b'{"reason": "a\\u001b[1Ab"}',
    "reason turned": b'{"reason": "a\\u202eb"}',
    "long reason": b'{"reason": "' + b"x" * 1001 + b'"}',
    "long id": b'{"request_id": "' + b"x" * 121 + b'"}',
    "id with control": b'{"request_id": "a\\u001b[0m"}',
    "empty id": b'{"request_id": ""}',
}


@pytest.mark.parametrize("name", ODD_BODIES)
def test_odd_bodies_are_refused_and_change_nothing(service: Live, name: str) -> None:
    id_ = ready(service)
    before = state(service)
    began = time.monotonic()
    answer = service.ask("POST", f"/api/v1/rollouts/{id_}/promote", raw=ODD_BODIES[name], token="operator")
    assert answer.status == 422 and answer.json["detail"], answer.raw
    assert time.monotonic() - began < 5
    assert state(service) == before


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/xml", "text/json"],
)
def test_bodies_of_another_kind_are_415(service: Live, kind: str) -> None:
    id_ = ready(service)
    headers = {"Content-Type": kind}
    assert service.ask("POST", f"/api/v1/rollouts/{id_}/promote", raw=b"{}", headers=headers).status == 415


def test_large_bodies_are_413_before_they_are_read(service: Live) -> None:
    id_ = ready(service)
    token = service.tokens["operator"]
    for path, size in (
        (f"/api/v1/rollouts/{id_}/promote", 70_000),
        ("/api/v1/rollouts", 400_000),
        ("/api/v1/plans/check", 2**30),
    ):
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        head += "Content-Type: application/json\r\n"
        for coding in (f"Content-Length: {size}\r\n\r\n".encode(), b"Transfer-Encoding: chunked\r\n\r\n"):
            body = b"x" * 500_000
            if coding.startswith(b"T"):
                body = b"".join(b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000) for _ in range(10))
            got = send(service, head.encode() + coding + body[: min(len(body), size)])
            assert got.startswith(b"HTTP/1.1 413"), got[:100]
    # a stranger's body is not read at all
    got = send(service, b"POST /api/v1/rollouts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 401")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [" + ",".join([f"*{chr(97 + i)}"] * 9) + "]\n" for i in range(9)
)
YAMLS = {
    "object": "!!python/object/apply:os.system ['touch /tmp/owned']",
    "bomb": BOMB,
    "merge": "<<: {a: 1}\nversion: 1",
    "duplicate": "version: 1\nversion: 1",
    "deep": "[" * 50_000,
    "tag": "version: !!int '1'",
    "date": "version: 2020-01-01",
    "inf": "version: .inf",
    "list": "- 1",
    "empty": "",
    "control": 'version: 1\nname: "\\x1b[2J"',
    "template": "name: '{{7*7}}'",
    "nan": "version: .nan",
    "octal": "version: 01",
    "sexagesimal": "version: 1:1",
    "anchor": "version: &x 1\nname: *x",
}


@pytest.mark.parametrize("name", YAMLS)
def test_yaml_tricks_are_422_at_once(service: Live, name: str) -> None:
    began = time.monotonic()
    for path in ("/api/v1/plans/check", "/api/v1/rollouts"):
        answer = service.ask("POST", path, {"plan": YAMLS[name]})
        assert answer.status == 422 and answer.json["code"] in ("plan_error", "input_error"), answer.raw
    assert time.monotonic() - began < 10  # a bomb would take for ever; this machine may be busy


PAYLOADS = [
    "' OR '1'='1",
    "1; DROP TABLE rollouts--",
    '") UNION SELECT hash FROM tokens--',
    "%27%20OR%201=1",
    "{{7*7}}",
    "${7*7}",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "x\r\nSet-Cookie: a=b",
    "%0d%0aSet-Cookie:%20a=b",
    "\x1b]52;c;YQ==\x07",
    "=cmd|' /C calc'!A0",
    "file:///etc/passwd",
    "http://127.0.0.1:1/",
    "A" * 5000,
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_injections_find_nothing(service: Live, payload: str) -> None:
    from urllib.parse import quote

    ready(service)
    before = state(service)
    for path in (
        f"/api/v1/rollouts/{quote(payload, safe='')}",
        f"/api/v1/rollouts/{quote(payload, safe='')}/history",
        f"/api/v1/rollouts?cursor={quote(payload)}",
        f"/api/v1/rollouts?live={quote(payload)}&limit={quote(payload)}",
        f"/api/v1/numbers/{quote(payload, safe='')}",
        f"/api/v1/rollouts?sort={quote(payload)}",
    ):
        answer = service.ask("GET", path)
        assert answer.status in (200, 404, 422), (path, answer.status)
        assert "a=b" not in answer.headers.get("set-cookie", "") and answer.headers["content-type"] in (
            "application/json",
            "application/problem+json",
        )
        assert b"sqlite" not in answer.raw.lower() and b"Traceback" not in answer.raw
    for path in (f"/api/v1/tokens/{quote(payload, safe='')}",):
        assert service.ask("DELETE", path).status in (404, 422)
    assert state(service) == before


def test_texts_of_strangers_come_back_as_data(service: Live) -> None:
    reason = "<script>alert(1)</script> X: y [31m {{7*7}} '\"--"
    id_ = service.start(name="<img src=x onerror=alert(1)>", confirmed=False)
    service.ask("POST", f"/api/v1/rollouts/{id_}/pause", {"reason": reason})
    answer = service.ask("GET", f"/api/v1/rollouts/{id_}/history")
    assert (
        answer.headers["content-type"] == "application/json" and answer.headers["x-content-type-options"] == "nosniff"
    )
    assert [e["reason"] for e in answer.json["items"] if e["kind"] == "pause"] == [reason]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service without a scheduler: what its sandbox is asked, a request of the test has caused."""
    with live(tmp_path_factory.mktemp("quiet"), ticking=False) as found:
        yield found


@pytest.mark.parametrize(
    "number", ["+1/../delete-agent/x", "+1%2e%2e", "+1?x=1", "+1#x", "+1\r\nX: y", "+١٢٣", "+0123", "4157774444"]
)
def test_numbers_that_are_paths_reach_nobody(quiet: Live, number: str) -> None:
    before = len(quiet.sandbox.log())
    for body in (quiet.plan(number), quiet.plan("+14157774444", number)):
        answer = quiet.ask("POST", "/api/v1/plans/check", {"plan": body})
        assert answer.status == 422
    assert len(quiet.sandbox.log()) == before


# ------------------------------------------------------------------ secrets


def test_answers_hold_no_secrets(service: Live) -> None:
    id_ = ready(service)
    secrets = ["key_of_the_tests", *service.tokens.values()]
    document = service.ask("GET", "/api/v1/openapi.json")
    texts = [document.raw]
    for path, operations in document.json["paths"].items():
        if path.endswith("/events"):
            continue
        real = path.replace("{id}", id_).replace("{number}", "+14157774444").replace("{source}", "generic")
        for method in operations:
            if method == "delete" or real.endswith("/tokens"):
                continue
            for token in ("viewer", None, "rlt_" + "y" * 43):
                texts.append(service.ask(method.upper(), real, {} if method == "post" else None, token=token).raw)
    service.server.service.attempts.forget()
    assert not [s for s in secrets for text in texts if s.encode() in text]


def test_an_error_nobody_foresaw_says_only_its_id(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_args: Any) -> None:
        key = "key_of_the_tests"
        raise ZeroDivisionError(f"the key is {key}")

    monkeypatch.setattr(service.server.service, "find", breaks)
    answer = service.ask("GET", "/api/v1/rollouts/x")
    assert answer.status == 500 and answer.json["code"] == "unexpected"
    assert (
        b"key" not in answer.raw
        and b"Zero" not in answer.raw
        and answer.headers["x-request-id"] in answer.json["detail"]
    )


# ------------------------------------------------------------------ the wire, and crowds


def test_requests_that_could_be_read_two_ways_are_refused(service: Live) -> None:
    token = service.tokens["operator"].encode()
    auth = b"Host: localhost\r\nAuthorization: Bearer " + token + b"\r\n"
    inner = b"GET /api/v1/tokens HTTP/1.1\r\n" + auth + b"\r\n"
    both = (
        b"POST /api/v1/plans/check HTTP/1.1\r\n"
        + auth
        + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + inner
    )
    assert send(service, both).count(b"HTTP/1.1 200") == 0
    for head in (
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\n\r\n",
    ):
        got = send(service, head)
        assert b" 200 " not in got.partition(b"\r\n")[0], (head[:60], got[:80])


@pytest.mark.real_time
def test_slow_heads_are_cut_off_and_a_crowd_of_them_keeps_nobody_out(tmp_path: Path) -> None:
    with live(tmp_path) as found:
        id_ = found.start(name="crowd")
        crowd = []
        try:
            for _ in range(300):
                sock = socket.create_connection(("127.0.0.1", found.server.port), timeout=10)
                sock.sendall(b"POST /api/v1/rollouts HTTP/1.1\r\nHost: local")
                crowd.append(sock)
            began = time.monotonic()
            assert found.ask("POST", f"/api/v1/rollouts/{id_}/rollback").status == 200
            assert time.monotonic() - began < 4
            assert crowd[0].recv(10) == b""  # cut off after five seconds
        finally:
            for sock in crowd:
                sock.close()


def test_a_slow_body_is_408(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rollout.interfaces.api import middleware

    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.4)
    with live(tmp_path, ticking=False) as found:
        token = found.tokens["operator"]
        head = f"POST /api/v1/plans/check HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        head += "Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        assert send(found, head.encode()).startswith(b"HTTP/1.1 408")


def test_reads_have_a_limit_and_rollback_has_none(tmp_path: Path) -> None:
    with live(tmp_path, read_rate=5.0, change_rate=1.0) as found:
        id_ = found.start(name="limits", confirmed=False)
        answers = [found.ask("GET", f"/api/v1/rollouts/{id_}", token="responder") for _ in range(40)]
        assert answers[0].status == 200 and {a.status for a in answers} == {200, 429}
        limited = next(a for a in answers if a.status == 429)
        assert int(limited.headers["retry-after"]) >= 1 and limited.json["code"] == "too_many"
        assert found.ask("GET", f"/api/v1/rollouts/{id_}", token="viewer").status == 200
        assert {
            found.ask("POST", f"/api/v1/rollouts/{id_}/rollback?wait=0", token="responder").status for _ in range(60)
        } <= {200, 202}


@pytest.mark.real_time
def test_a_flood_of_readers_and_guessers_does_not_hold_up_a_rollback(tmp_path: Path) -> None:
    with live(tmp_path) as found:
        numbers = [found.number() for _ in range(5)]
        ids = [found.start(n, name=f"flood-{i}") for i, n in enumerate(numbers)]
        stop = threading.Event()

        def flood(token: str) -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    found.ask("GET", "/api/v1/rollouts?limit=200", token=token)

        threads = [threading.Thread(target=flood, args=(t,)) for t in ["viewer"] * 6 + ["rlt_" + "z" * 43] * 4]
        for thread in threads:
            thread.start()
        try:
            time.sleep(0.5)
            took = []
            for id_ in ids:
                began = time.monotonic()
                answer = found.ask("POST", f"/api/v1/rollouts/{id_}/rollback", token="responder")
                took.append(time.monotonic() - began)
                assert answer.status == 200 and answer.json["read_back"]
            assert sorted(took)[len(took) // 2] < 5, took
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert all(found.served(n) == [(6, 1)] for n in numbers)


def test_a_good_token_is_never_locked_out(service: Live) -> None:
    attempts = service.server.service.attempts
    for _ in range(1000):
        attempts.count("127.0.0.1")
    assert service.ask("GET", "/api/v1/rollouts", token="rlt_" + "x" * 43).status == 429
    assert service.ask("GET", "/api/v1/rollouts", token="viewer").status == 200
    attempts.forget()


def test_a_failing_journal_of_the_system_blocks_no_rollback(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    from rollout.domain.errors import NotReachable

    def fails(*_args: Any) -> None:
        raise NotReachable("the disk is full")

    monkeypatch.setattr(service.server.service.access, "record", fails)
    monkeypatch.setattr(service.server.service.access, "touch", fails)
    id_ = service.start(name="audit", confirmed=True)
    _, token = service.token("responder")
    assert service.ask("POST", f"/api/v1/rollouts/{id_}/rollback", token=token).status == 200
    assert json.loads(service.ask("GET", f"/api/v1/rollouts/{id_}").raw)["phase"] in ("rolling_back", "rolled_back")
