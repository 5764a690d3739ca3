"""Where the client may connect to, and what it may let out: never the key, never a whole number."""

from __future__ import annotations

import base64
import logging
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.retell import RetellClient
from rollout.adapters.retell.origin import Resolver, parse_base_url
from rollout.domain.errors import SettingsError
from rollout.domain.phone_numbers import is_e164, mask
from rollout.domain.writes.answers import Answer, Failure, Order, Reading, Trouble
from tests.integration.retell.retell_peer import BODY, KEY, NUMBER, Peer, Seen, closes, drops, good, http, says
from tests.support.logs import captured
from tests.support.parts import need

Serve = Callable[..., Peer]
Make = Callable[..., RetellClient]


@pytest.mark.parametrize(
    "url, expected",
    [
        ("https://api.retellai.com", "https://api.retellai.com"),
        ("https://api.retellai.com/", "https://api.retellai.com"),
        ("https://API.retellai.com:8443/v9/", "https://api.retellai.com:8443/v9"),
        ("http://127.0.0.1:8090", "http://127.0.0.1:8090"),
        ("http://127.8.8.8", "http://127.8.8.8"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:8090", "http://[::1]:8090"),
        ("https://api.retellai.com:1", "https://api.retellai.com:1"),
        ("https://api.retellai.com:65535", "https://api.retellai.com:65535"),
    ],
)
def test_base_urls(url: str, expected: str) -> None:
    assert parse_base_url(url).url == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.retellai.com",
        "http://api.retellai.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://2130706433",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1@evil.example",
        "http://evil.example#127.0.0.1",
        "http://evil.example\\@127.0.0.1",
        "https://u:p@api.retellai.com",
        "https://api.retellai.com?x=1",
        "https://api.retellai.com#x",
        "https://",
        "https:///path",
        "https://api.retellai.com:0",
        "https://api.retellai.com:65536",
        "https://api.retellai.com:99999",
        "https://api retellai.com",
        "https://api.retellai.com\r\nHost: x",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "https://ⓡetellai.com",
    ],
)
def test_base_urls_that_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"ROLLOUT_RETELL_BASE_URL: .*; write https://HOST"):
        RetellClient(url, lambda: KEY, SystemClock())


def test_unverified_tls_is_refused() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    with pytest.raises(SettingsError, match="must verify"):
        RetellClient("https://localhost", lambda: KEY, SystemClock(), tls=context)


def test_a_lookup_that_hangs_ends_and_the_last_answer_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[object] = []

    def lookup(*_: object, **__: object) -> object:
        answers.append(1)
        if len(answers) == 1:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 443))]
        if len(answers) == 2:
            return []
        raise socket.gaierror("no")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(Resolver, "FRESH", 0.0)
    resolver = Resolver("retell.example", 443, SystemClock())
    known = [(socket.AF_INET, ("192.0.2.7", 443))]
    assert resolver.addresses(1) == known
    assert resolver.addresses(1) == known and len(answers) == 2
    assert resolver.addresses(1) == known and len(answers) == 3
    assert Resolver("192.0.2.9", 443, SystemClock()).addresses(1) == [(socket.AF_INET, ("192.0.2.9", 443))]
    assert len(answers) == 3, "an address is not looked up"
    assert Resolver("other.example", 443, SystemClock()).addresses(1) == []


def test_the_environment_has_no_say(serve: Serve, client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trap, peer = serve(good), serve(good)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "RETELL_BASE_URL"):
        monkeypatch.setenv(name, trap.url)
    with client(peer).session([NUMBER]) as session:
        assert isinstance(session.read([NUMBER])[NUMBER], Reading)
    assert trap.accepted == 0 and peer.accepted == 1


def test_a_redirect_is_not_followed(serve: Serve, client: Make) -> None:
    trap = serve(good)
    peer = serve(says(http("", 307, f"location: {trap.url}/get-phone-number/%2B14157774444")))
    with client(peer).session([NUMBER]) as session:
        found = session.read([NUMBER])[NUMBER]
    assert isinstance(found, Failure) and (found.trouble, found.status) == (Trouble.UNREACHABLE, 307)
    assert trap.accepted == 0 and len(peer.seen) == 1


def test_the_key_may_change_between_requests(serve: Serve) -> None:
    peer = serve(good)
    keys = iter(["first", "second", "third"])
    client = RetellClient(peer.url, lambda: next(keys), SystemClock(), deadline=1)
    with client.session([NUMBER]) as session:
        session.read([NUMBER])
        session.write([Order(NUMBER, BODY)], send_by=SystemClock().boot() + 30, stop=lambda: False)
    client.close()
    assert [seen.headers["authorization"] for seen in peer.seen] == ["Bearer first", "Bearer second"]


def _no_file() -> str:
    raise FileNotFoundError(2, "No such file", "/etc/key_canary")


@pytest.mark.parametrize(
    "key",
    [lambda: "", lambda: f"{KEY}\r\nX: y", lambda: f"{KEY}ß", _no_file],
    ids=["empty", "two lines", "not ASCII", "no file"],
)
def test_a_key_that_cannot_be_sent(serve: Serve, key: Callable[[], str]) -> None:
    peer = serve(good)
    client = RetellClient(peer.url, key, SystemClock(), deadline=1)
    with client.session([NUMBER]) as session:
        sent = session.write([Order(NUMBER, BODY)], send_by=SystemClock().boot() + 30, stop=lambda: False)
        found = session.read([NUMBER])[NUMBER]
    client.close()
    for failure in (found, sent[NUMBER].failure):
        assert isinstance(failure, Failure) and failure.trouble is Trouble.UNREACHABLE
        assert "API key" in failure.detail and "canary" not in failure.detail
    assert peer.seen == []


def test_nothing_lets_the_key_or_a_number_out(
    serve: Serve, client: Make, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every kind of answer, some of which say the key back, with all loggers at DEBUG."""
    caplog.set_level(logging.DEBUG)

    def echoes(seen: Seen, sock: socket.socket) -> None:
        said = seen.headers["authorization"]
        forms = [said, quote(KEY), *(base64.b64encode(text.encode()).decode() for text in (said, KEY))]
        sock.sendall(http({"status": "error", "message": "\x1b[31m" + " ".join(forms)}, 422))

    said: list[str] = []
    with captured() as lines:
        for behave in (good, echoes, drops, closes, says(http(KEY, 500)), says(http({"message": KEY}, 401))):
            made = client(serve(behave), deadline=0.3)
            with made.session([NUMBER]) as session:
                outcomes: list[object] = [session.read([NUMBER])]
                sent = session.write([Order(NUMBER, BODY)], send_by=SystemClock().boot() + 30, stop=lambda: False)
                outcomes.append(sent)
                said += [repr(outcomes), repr(made), repr(session)]
                assert isinstance(sent[NUMBER], Answer)
            said.append(repr(made.version("agent_abc", 1)))
    assert {line["number"] for line in lines} == {"+1415•••4444", None}
    assert {"operation", "method", "number", "status", "ms", "event", "log_level"} == set(lines[0])
    out, err = capfd.readouterr()
    logs = caplog.text + out + err + repr(lines)
    hidden = [KEY, base64.b64encode(KEY.encode()).decode(), "Bearer"]
    for text in (*said, logs):
        assert not [form for form in hidden if form in text]
        assert "\x1b" not in text
    assert NUMBER not in logs and "4157774444" not in logs


def test_each_request_is_counted_and_a_counter_that_fails_harms_nothing(serve: Serve) -> None:
    counted: list[tuple[str, str, int | None]] = []

    def count(operation: str, method: str, status: int | None, seconds: float) -> None:
        assert 0 <= seconds < 5
        counted.append((operation, method, status))
        raise RuntimeError("the counter is broken")

    client = RetellClient(serve(good).url, lambda: KEY, SystemClock(), deadline=1, on_request=count)
    with client.session([NUMBER]) as session:
        session.read([NUMBER])
        sent = session.write([Order(NUMBER, BODY)], send_by=SystemClock().boot() + 30, stop=lambda: False)
    client.close()
    assert sent[NUMBER].status == 200
    assert counted == [("get-phone-number", "GET", 200), ("update-phone-number", "PATCH", 200)]


# ------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody trusts, with its key, in one file."""
    need("openssl", "apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return both


def over_tls(certificate: Path) -> Callable[[socket.socket], socket.socket]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return lambda sock: context.wrap_socket(sock, server_side=True)


@pytest.mark.parametrize("behave", [good, closes])
def test_sessions_over_tls(
    serve: Serve, client: Make, certificate: Path, behave: Callable[[Seen, socket.socket], bool | None]
) -> None:
    """Session tickets arrive unasked after the handshake: a connection that has them is still open."""
    numbers = [f"+1415777{i:04}" for i in range(12)]
    peer = serve(behave, wrap=over_tls(certificate))
    trust = ssl.create_default_context(cafile=certificate)
    made = client(f"https://localhost:{peer.port}", tls=trust, deadline=3.0, connect_timeout=3.0)
    with made.session(numbers) as session:
        found = session.read(numbers)
        sent = session.write(
            [Order(number, BODY) for number in numbers], send_by=SystemClock().boot() + 30, stop=lambda: False
        )
    assert all(isinstance(outcome, Reading) for outcome in found.values())
    assert [answer.status for answer in sent.values()] == [200] * 12
    assert len(peer.methods("PATCH")) == 12


def test_a_tls_connection_that_the_server_closed_sends_nothing(serve: Serve, client: Make, certificate: Path) -> None:
    peer = serve(good, wrap=over_tls(certificate), idle_seconds=0.1)
    trust = ssl.create_default_context(cafile=certificate)
    with client(f"https://localhost:{peer.port}", tls=trust, deadline=3.0).session([NUMBER]) as session:
        assert isinstance(session.read([NUMBER])[NUMBER], Reading)
        SystemClock().sleep(0.25)
        sent = session.write([Order(NUMBER, BODY)], send_by=SystemClock().boot() + 30, stop=lambda: False)
    failure = sent[NUMBER].failure
    assert failure is not None and failure.trouble is Trouble.UNREACHABLE
    assert peer.methods("PATCH") == [] and peer.accepted == 1


def test_a_certificate_that_nobody_trusts_sees_no_request(
    serve: Serve, client: Make, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(certificate))
    peer = serve(good, wrap=over_tls(certificate))
    with client(f"https://localhost:{peer.port}", deadline=3.0).session([NUMBER]) as session:
        found = session.read([NUMBER])[NUMBER]
    assert isinstance(found, Failure) and found.trouble is Trouble.UNREACHABLE
    assert "its certificate is not trusted" in found.detail
    assert peer.seen == []


# ------------------------------------------------------------------ numbers as text


@pytest.mark.parametrize(
    "number, shown",
    [
        ("+14157774444", "+1415•••4444"),
        ("+491701234567890", "+4917•••7890"),
        ("+4312345", "+43•••45"),
        ("+43123", "+4•••"),
        ("", "•••"),
    ],
)
def test_masks(number: str, shown: str) -> None:
    assert mask(number) == shown


@pytest.mark.parametrize("text", ["+14157774444", "+12", "+123456789012345"])
def test_e164(text: str) -> None:
    assert is_e164(text)


@pytest.mark.parametrize(
    "text", ["14157774444", "+0415", "+1", "+1234567890123456", "+1415777４444", "+14157774444\n", " +12", 12025550100]
)
def test_not_e164(text: object) -> None:
    assert not is_e164(text)
