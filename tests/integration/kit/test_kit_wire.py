"""Where the kit's requests may go: through a proxy only in a tunnel, not after a redirect, not past a wrong certificate."""

from __future__ import annotations

import contextlib
import datetime
import gc
import ipaddress
import re
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rollout.kit.program import wire
from rollout.kit.program.wire import NoAnswer, Reply, Retell, origin
from rollout.sandbox import Sandbox
from tests.integration.kit.kit_program import KEY, ONE, Kit
from tests.support.tunnel import Proxy, TlsFront, authority


class Listener:
    """Answers every connection with the same bytes, then closes or goes on for ever; keeps what it was sent."""

    def __init__(self, answer: bytes, *, drip: bytes = b"", tls: ssl.SSLContext | None = None) -> None:
        self.answer, self.drip, self.tls = answer, drip, tls
        self.seen: list[bytes] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.server.getsockname()[1]}"

    def _run(self) -> None:
        self.server.settimeout(0.05)
        while not self.over.is_set():
            try:
                connection, _ = self.server.accept()
            except TimeoutError:
                continue
            connection.settimeout(2)
            try:
                with self.tls.wrap_socket(connection, server_side=True) if self.tls else connection as peer:
                    self.seen.append(whole_request(peer))
                    peer.sendall(self.answer)
                    while self.drip and not self.over.wait(0.02):
                        peer.sendall(self.drip)
            except OSError:
                continue

    def close(self) -> None:
        self.over.set()
        self.thread.join()
        self.server.close()


def whole_request(peer: socket.socket) -> bytes:
    """One request with its body, or what came of it before the other end closed."""
    request = b""
    while data := peer.recv(65536):
        request += data
        head, ended, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if ended and len(body) >= (int(length[1]) if length else 0):
            break
    return request


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def start(answer: bytes, **how: object) -> Listener:
        made.append(Listener(answer, **how))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_no_redirect_is_followed(listen: Callable[..., Listener]) -> None:
    other = listen(b"")
    first = listen(f"HTTP/1.1 302 Found\r\nLocation: {other.url}/\r\nContent-Length: 0\r\n\r\n".encode())
    assert Retell(first.url, KEY).write(ONE, b"{}").status == 302
    assert other.seen == [] and len(first.seen) == 1


def test_what_is_sent_is_one_request_to_the_number_and_no_more(listen: Callable[..., Listener]) -> None:
    peer = listen(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    retell = Retell(peer.url + "/base/", KEY)
    assert retell.read(ONE) == retell.write(ONE, b'{"inbound_agents": []}') == Reply(200, b"{}", None)
    common = [
        f"Host: {peer.url.partition('//')[2]}",
        f"Authorization: Bearer {KEY}",
        "Accept: application/json",
        "Accept-Encoding: identity",
        "User-Agent: rollout-kit",
        "Connection: close",
    ]
    read, write = (request.decode().partition("\r\n\r\n") for request in peer.seen)
    assert read[0].split("\r\n") == ["GET /base/get-phone-number/%2B14155550100 HTTP/1.1", *common] and read[2] == ""
    first, *headers = write[0].split("\r\n")
    assert first == "PATCH /base/update-phone-number/%2B14155550100 HTTP/1.1"
    assert sorted(headers) == sorted([*common, "Content-Type: application/json", "Content-Length: 22"])
    assert write[2] == '{"inbound_agents": []}'


def test_no_connection_is_left_open(listen: Callable[..., Listener]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        for answer in (b"HTTP/1.1 204 No\r\n\r\n", b"nonsense\r\n\r\n"):
            with contextlib.suppress(NoAnswer):
                Retell(listen(answer).url, KEY).read(ONE)
        with contextlib.suppress(NoAnswer):
            Retell("http://127.0.0.1:1", KEY).read(ONE)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_this_machine_is_never_reached_through_a_proxy(
    world: Sandbox, kit: Callable[..., Kit], listen: Callable[..., Listener]
) -> None:
    proxy = listen(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    assert kit().run("--no-watch", env=dict.fromkeys(names, proxy.url)).code == 0
    assert proxy.seen == []
    assert len(world.log(method="PATCH")) == 1


def test_a_kit_goes_through_the_companys_tunnel(world: Sandbox, kit: Callable[..., Kit], tmp_path: Path) -> None:
    private = authority(tmp_path, "api.retell.test")
    retell = TlsFront(private, int(world.url.rpartition(":")[2]))
    with retell, Proxy({"api.retell.test:443": retell.port}) as proxy:
        made = kit(base_url="https://api.retell.test")
        environ = {"https_proxy": f"http://me:p%40ss@127.0.0.1:{proxy.port}", "SSL_CERT_FILE": str(private.ca)}
        ran = made.run("--no-watch", env=environ)
        assert ran.code == 0, ran
        strange = made.run("--check", "--give-up", "1", env={"HTTPS_PROXY": proxy.url})
        assert strange.code != 0 and "SSL_CERT_FILE" in strange.out
    assert len(world.log(method="PATCH")) == 1
    assert {head.split("\r\n")[0] for head in proxy.asked} == {"CONNECT api.retell.test:443 HTTP/1.1"}
    assert "Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in proxy.asked[0]
    assert KEY.encode() not in proxy.heard and ONE[1:].encode() not in proxy.heard
    assert "p%40ss" not in ran.out + ran.err + made.log.read_text()


def test_a_request_goes_through_the_tunnel(world: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = authority(tmp_path, "api.retell.test")
    with TlsFront(private, world.port) as front, Proxy({"api.retell.test:443": front.port}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(private.ca))
        assert Retell("https://api.retell.test", KEY).read(ONE).status == 422
    assert [head.split("\r\n")[0] for head in proxy.asked] == ["CONNECT api.retell.test:443 HTTP/1.1"]
    assert [entry["number"] for entry in world.log()] == [ONE]


def test_no_proxy_keeps_a_kit_away_from_the_proxy(kit: Callable[..., Kit]) -> None:
    with Proxy() as proxy:
        made = kit(base_url="https://api.retell.test")
        environ = {"HTTPS_PROXY": proxy.url, "NO_PROXY": "localhost,.retell.test"}
        ran = made.run("--check", "--give-up", "1", env=environ)
        assert ran.code != 0 and "was not found" in ran.out
        assert proxy.accepted == 0


def test_a_proxy_that_cannot_be_ends_a_kit_before_anything_is_sent(world: Sandbox, kit: Callable[..., Kit]) -> None:
    made = kit(base_url="https://api.retell.test")
    ran = made.run(env={"HTTPS_PROXY": "socks5://me:hunter2@proxy:1080"})
    assert ran.code == 2 and "HTTPS_PROXY" in ran.err and "write http://HOST:PORT" in ran.err
    assert "hunter2" not in ran.out + ran.err and world.log(method="PATCH") == []


@pytest.mark.parametrize(
    ("answer", "drip"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b""),
    ],
)
@pytest.mark.real_time
def test_every_answer_ends(
    answer: bytes, drip: bytes, listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "DEADLINE", 0.4)
    slow = listen(answer, drip=drip)
    began = time.monotonic()
    if drip:
        with pytest.raises(NoAnswer, match="no whole answer in time"):
            Retell(slow.url, KEY).read(ONE)
        assert 0.3 < time.monotonic() - began < 5
    else:
        assert Retell(slow.url, KEY).read(ONE).body == b""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"hello\r\n\r\n", "the answer ended early or was not HTTP"),
        (b"", "the connection was closed without an answer"),
        (b"HTTP/1.1 xxx OK\r\n\r\n", "the answer ended early or was not HTTP"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000, "the answer ended early or was not HTTP"),
    ],
    ids=["text", "nothing", "no status", "a long line"],
)
def test_what_is_not_a_whole_answer_is_none(answer: bytes, why: str, listen: Callable[..., Listener]) -> None:
    with pytest.raises(NoAnswer) as refused:
        Retell(listen(answer).url, KEY).read(ONE)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError("timed out"), "no whole answer in time"),
        (OSError("the proxy does not speak HTTP"), "the proxy does not speak HTTP"),
        (OSError(), "OSError"),
    ],
)
def test_why_there_was_no_connection_is_said_in_a_few_words(
    error: OSError, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fails(socket.socket):
        def connect(self, _address: object) -> None:
            raise error

    monkeypatch.setattr(socket, "socket", Fails)
    with pytest.raises(NoAnswer) as refused:
        Retell("http://127.0.0.1:1", KEY).read(ONE)
    assert str(refused.value) == why


def test_no_address_takes_more_than_its_share_and_all_of_them_no_more_than_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=1000.0)
    waits: list[float | None] = []

    class Silent(socket.socket):
        def connect(self, _address: object) -> None:
            waits.append(self.gettimeout())
            clock.now += waits[-1] or 1e9
            raise TimeoutError("timed out")

    places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{i}", 443)) for i in range(5)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
    monkeypatch.setattr(socket, "socket", Silent)
    monkeypatch.setattr(wire, "DEADLINE", 12.0)
    monkeypatch.setattr(wire, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with pytest.raises(NoAnswer, match="no whole answer in time"):
        Retell("https://retell.test", KEY).read(ONE)
    assert waits == [5.0, 5.0, 2.0]


def test_every_wait_of_a_request_ends_with_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1000.0)
    waits: list[float | None] = []

    class Slow(socket.socket):
        def takes(self, seconds: float) -> None:
            waits.append(self.gettimeout())
            clock.now += seconds

        def connect(self, _address: object) -> None:
            self.takes(4.0)

        def sendall(self, _data: object, _flags: int = 0) -> None:
            self.takes(3.0)

        def recv_into(self, buffer: Any, *_: int) -> int:
            self.takes(6.0)
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
            buffer[: len(answer)] = answer
            return len(answer)

    monkeypatch.setattr(socket, "socket", Slow)
    monkeypatch.setattr(wire, "time", SimpleNamespace(monotonic=lambda: clock.now))
    assert Retell("http://127.0.0.1:1", KEY).read(ONE).body == b"{}"
    assert waits == [5.0, 11.0, 8.0]


def test_the_next_address_serves_where_one_does_not_and_the_last_known_where_no_name_is_found(
    listen: Callable[..., Listener], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = authority(tmp_path, "api.retell.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(private.leaf)
    peer = listen(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", tls=context)
    ports = (1, int(peer.url.rpartition(":")[2]))
    found = [[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports], []]
    asked: list[tuple[object, ...]] = []

    def look_up(*name: object, **_: object) -> list[tuple[Any, ...]]:
        asked.append(name)
        if not found:
            raise socket.gaierror("no such name")
        return found.pop(0)

    monkeypatch.setenv("SSL_CERT_FILE", str(private.ca))
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    retell = Retell("https://api.retell.test", KEY)
    assert [retell.read(ONE).body for _ in range(3)] == [b"{}"] * 3
    assert asked == [("api.retell.test", 443)] * 3


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("100000", 300, 300),
        ("soon", None, None),
        ("-3", None, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 300, 300),
    ],
)
def test_retry_after(header: str, low: float | None, high: float | None, listen: Callable[..., Listener]) -> None:
    peer = listen(f"HTTP/1.1 429 Slow\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n".encode())
    got = Retell(peer.url, KEY).read(ONE).retry_after
    assert got is None if low is None or high is None else got is not None and low <= got <= high


def test_an_unknown_certificate_gets_no_request(listen: Callable[..., Listener], tmp_path: Path) -> None:
    context = self_signed(tmp_path)
    peer = listen(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", tls=context)
    with pytest.raises(NoAnswer, match="certificate could not be verified"):
        Retell(peer.url, KEY).write(ONE, b"{}")
    assert peer.seen == []


def test_a_certificate_that_is_known(
    listen: Callable[..., Listener], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    peer = listen(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", tls=context)
    assert Retell(peer.url, KEY).read(ONE).body == b"{}"
    slow = listen(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", drip=b"x", tls=context)
    monkeypatch.setattr(wire, "DEADLINE", 0.5)
    began = time.monotonic()
    with pytest.raises(NoAnswer):
        Retell(slow.url, KEY).read(ONE)
    assert time.monotonic() - began < 5


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's context with a fresh certificate for 127.0.0.1, also written to certificate.pem."""
    x509 = pytest.importorskip("cryptography.x509", reason="needs cryptography to make a certificate")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(kind, form, serialization.NoEncryption())
    (folder / "certificate.pem").write_bytes(pem)
    (folder / "both.pem").write_bytes(pem + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context


def test_a_name_that_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> list[object]:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    with pytest.raises(NoAnswer, match=r"the name retell\.invalid was not found"):
        Retell("https://retell.invalid", KEY).read(ONE)


@pytest.mark.real_time
def test_a_name_server_that_hangs_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    before = set(threading.enumerate())

    def hang(*_: object, **__: object) -> list[object]:
        over.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(wire, "CONNECT", 0.2)
    began = time.monotonic()
    with pytest.raises(NoAnswer):
        Retell("https://retell.invalid", KEY).read(ONE)
    took = time.monotonic() - began
    over.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert took < 5


def test_origin() -> None:
    assert origin("https://api.retellai.com")[:4] == (True, "api.retellai.com", 443, "")
    assert origin("http://[::1]:8090/base/")[:4] == (False, "::1", 8090, "/base")
    assert origin("http://localhost")[:4] == (False, "localhost", 80, "")
    assert origin("http://localhost:1").authority == "localhost:1"
    refused = ["http://10.0.0.1", "ftp://localhost", "https://", "https:///a", "https://a/?q", "https://a/#f", ""]
    for bad in (*refused, "https://a@b", "https://@b", "https://:p@b", "https://a:b"):
        with pytest.raises(ValueError):
            origin(bad)
