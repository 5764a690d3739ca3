"""The way out of a company's network: which proxy, a tunnel through it, whose certificates, and what people are told."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.http.network import network_of
from rollout.adapters.retell import RetellClient
from rollout.adapters.retell.origin import parse_base_url
from rollout.domain.errors import SettingsError
from rollout.domain.writes.answers import Failure, Order, Reading, Trouble
from tests.integration.retell.retell_peer import BODY, KEY, NUMBER, Peer, closes, good
from tests.support.tunnel import Authority, Proxy, authority

HOST = "api.retell.test"
ORIGIN = parse_base_url(f"https://{HOST}")
NUMBERS = [f"+1415777{i:04}" for i in range(60)]
ORDERS = [Order(number, BODY) for number in NUMBERS]
Network = Callable[..., tuple[Peer, Proxy, RetellClient]]


def boot() -> float:
    return SystemClock().boot()


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"), HOST)


@pytest.fixture
def company(serve: Callable[..., Peer], private: Authority) -> Iterator[Network]:
    """A Retell by TLS with a private authority's certificate, reachable through a proxy alone."""
    with ExitStack() as stack:

        def make(
            behave: object = good,
            *,
            user: str = "",
            environ: dict[str, str] | None = None,
            connect_timeout: float = 1.0,
            **how: object,
        ) -> tuple[Peer, Proxy, RetellClient]:
            peer = serve(behave, wrap=private.wrap)
            proxy = stack.enter_context(Proxy({f"{HOST}:443": peer.port}, **how))
            given = {"HTTPS_PROXY": f"http://{user}127.0.0.1:{proxy.port}", "SSL_CERT_FILE": str(private.ca)}
            client = RetellClient(
                f"https://{HOST}",
                lambda: KEY,
                SystemClock(),
                deadline=3 * connect_timeout,
                connect_timeout=connect_timeout,
                environ=given if environ is None else given | environ,
            )
            stack.callback(client.close)
            return peer, proxy, client

        yield make


# ------------------------------------------------------------------ through the proxy


@pytest.mark.parametrize("behave", [good, closes], ids=["kept open", "one answer each"])
def test_everything_goes_through_tunnels_and_the_key_never_in_clear(company: Network, behave: object) -> None:
    peer, proxy, client = company(behave, connect_timeout=15.0)  # sixty handshakes, on a machine with other work
    with client.session(NUMBERS) as session:
        found = session.read(NUMBERS)
        asked = len(proxy.asked)
        answers = session.write(ORDERS, send_by=boot() + 15, stop=lambda: False)
        assert len(proxy.asked) == asked, "no write opens a tunnel"
        again = session.read(NUMBERS)
    assert all(isinstance(outcome, Reading) for outcome in (*found.values(), *again.values()))
    assert {answer.status for answer in answers.values()} == {200}
    assert sorted(seen.number for seen in peer.methods("PATCH")) == NUMBERS
    assert {head.split("\r\n")[0] for head in proxy.asked} == {f"CONNECT {HOST}:443 HTTP/1.1"}
    heard = bytes(proxy.heard)
    for secret in (KEY, base64.b64encode(KEY.encode()).decode(), "Authorization: Bearer", NUMBERS[0][1:]):
        assert secret.encode() not in heard


def test_what_the_proxy_cuts_off_is_not_opened_again(company: Network) -> None:
    """A tunnel that ended between intent and write: the write is surely not sent, on no connection."""
    peer, proxy, client = company()
    with client.session(NUMBERS[:3]) as session:
        session.read(NUMBERS[:3])
        asked = len(proxy.asked)
        proxy.drop_all()
        time.sleep(0.1)
        answers = session.write(ORDERS[:3], send_by=boot() + 30, stop=lambda: False)
    assert {a.failure.trouble for a in answers.values() if a.failure} == {Trouble.UNREACHABLE}
    assert peer.methods("PATCH") == [] and len(proxy.asked) == asked


def test_user_and_password_go_to_the_proxy_alone(company: Network) -> None:
    peer, proxy, client = company(user="some%40one:p%3Ass@")
    with client.session([NUMBER]) as session:
        assert isinstance(session.read([NUMBER])[NUMBER], Reading)
    wanted = base64.b64encode(b"some@one:p:ss").decode()
    assert f"\r\nProxy-Authorization: Basic {wanted}\r\n" in proxy.asked[0]
    assert "proxy-authorization" not in peer.seen[0].headers


def says_nothing(sock: socket.socket) -> None:
    sock.recv(1)


def drips(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"H")
        time.sleep(0.05)


@pytest.mark.parametrize(
    "how, why",
    [
        ({"answer": b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"}, "asks for a user name and a password"),
        ({"answer": b"HTTP/1.1 403 Forbidden\r\n\r\n"}, "refuses the connection (403)"),
        ({"answer": b"HTTP/1.0 502 Bad\r\n\r\n"}, "refuses the connection (502)"),
        ({"answer": b"SSH-2.0-x\r\n\r\n"}, "does not speak HTTP"),
        ({"answer": b"HTTP/1.1 200 OK\r\n\r\nhello"}, "more than its answer"),
        ({"answer": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000}, "does not end"),
        ({"acts": lambda sock: None}, "closed the connection without an answer"),
        ({"acts": says_nothing}, "no connection in time"),
        ({"acts": drips}, "no connection in time"),
        ({"places": {}}, "refuses the connection (403)"),
    ],
)
@pytest.mark.real_time
def test_a_proxy_that_does_not_open_the_way_is_named_in_time(
    company: Network, how: dict[str, object], why: str
) -> None:
    began = boot()
    places = how.pop("places", None) if "places" in how else None
    peer, proxy, client = company(**how)
    if places is not None:
        proxy.places = places
    with client.session([NUMBER]) as session:
        answer = session.write([Order(NUMBER, BODY)], send_by=boot() + 30, stop=lambda: False)[NUMBER]
    assert boot() - began < 6
    assert answer.failure is not None and answer.failure.trouble is Trouble.UNREACHABLE
    assert why in answer.failure.detail and f"the proxy 127.0.0.1:{proxy.port}" in answer.failure.detail
    assert peer.seen == [] and KEY.encode() not in bytes(proxy.heard)


def test_a_refused_password_appears_nowhere(company: Network) -> None:
    _, _, client = company(user="me:hunter2@", answer=b"HTTP/1.1 407 No\r\n\r\n")
    with client.session([NUMBER]) as session:
        found = session.read([NUMBER])[NUMBER]
    assert isinstance(found, Failure) and "rejects the user name or the password" in found.detail
    assert "hunter2" not in found.detail and "me:" not in found.detail


def test_a_proxy_that_reads_along_is_not_trusted(company: Network, private: Authority) -> None:
    """What speaks TLS inside the tunnel must be Retell, by the certificates that are trusted; else nothing is sent."""
    peer, _, client = company(environ={"SSL_CERT_FILE": ""})
    with client.session([NUMBER]) as session:
        found = session.read([NUMBER])[NUMBER]
    assert isinstance(found, Failure) and "its certificate is not trusted" in found.detail
    assert "SSL_CERT_FILE" in found.detail and peer.seen == []


def test_this_machine_is_never_reached_through_a_proxy(serve: Callable[..., Peer]) -> None:
    peer = serve(good)
    with Proxy() as proxy:
        for host in ("127.0.0.1", "localhost"):
            environ = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"), proxy.url)
            client = RetellClient(f"http://{host}:{peer.port}", lambda: KEY, SystemClock(), deadline=3, environ=environ)
            with client.session([NUMBER]) as session:
                assert isinstance(session.read([NUMBER])[NUMBER], Reading)
            client.close()
        assert proxy.accepted == 0
    for url in ("https://127.0.0.1", "https://localhost:8443", "https://[::1]"):
        network = network_of(parse_base_url(url), {"HTTPS_PROXY": "http://proxy:3128"})
        assert network.proxy is None


# ------------------------------------------------------------------ which proxy


@pytest.mark.parametrize(
    "environ, place",
    [
        ({"HTTPS_PROXY": "http://proxy.corp:3128"}, ("proxy.corp", 3128)),
        ({"https_proxy": "http://small:1", "HTTPS_PROXY": "http://large:2"}, ("small", 1)),
        ({"https_proxy": "", "HTTPS_PROXY": "http://large:2/"}, ("large", 2)),
        ({"HTTPS_PROXY": "proxy.corp:3128"}, ("proxy.corp", 3128)),
        ({"HTTPS_PROXY": "me:secret@proxy.corp:3128"}, ("proxy.corp", 3128)),
        ({"HTTPS_PROXY": "HTTP://[fd00::1]:3128"}, ("fd00::1", 3128)),
        ({"HTTPS_PROXY": "http://proxy.corp"}, ("proxy.corp", 80)),
        ({"HTTPS_PROXY": " "}, (HOST, 443)),
        ({"HTTP_PROXY": "http://proxy:1", "ALL_PROXY": "socks5://proxy:2"}, (HOST, 443)),
        ({}, (HOST, 443)),
    ],
)
def test_which_proxy(environ: dict[str, str], place: tuple[str, int]) -> None:
    assert network_of(ORIGIN, environ).place == place


@pytest.mark.parametrize(
    "value",
    [
        "https://proxy:3128",
        "socks5://proxy:1080",
        "http://",
        "http://:3128",
        "http://proxy:99999",
        "http://proxy:0",
        "http://proxy:x",
        "http://proxy:3128/path",
        "http://proxy:3128?x=1",
        "http://proxy#x",
        "http://u:hunter2/x@proxy:1",
        "http://u:hunter2#@proxy:1",
        "http://pro xy:1",
        "http://proxy:1\r\nX: y",
        "http://prоxy:1",
        "http://[fd00::1:3128",
    ],
)
def test_a_proxy_that_cannot_be_is_refused_with_what_to_write(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^HTTPS_PROXY: .*; write http://HOST:PORT") as refused:
        network_of(ORIGIN, {"HTTPS_PROXY": value})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "entries, host, direct",
    [
        ("*", HOST, True),
        (HOST, HOST, True),
        ("API.RETELL.TEST", HOST, True),
        ("retell.test", HOST, True),
        (".retell.test", HOST, True),
        ("*.retell.test", HOST, True),
        ("retell.test.", HOST, True),
        ("etell.test", HOST, False),
        ("test", HOST, True),
        ("retell.test:443", HOST, True),
        ("retell.test:8443", HOST, False),
        ("other, retell.test", HOST, True),
        ("other retell.test", HOST, True),
        ("other,,", HOST, False),
        ("", HOST, False),
        (".", HOST, False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", HOST, False),
        ("10.1.2.3", "10.1.2.3", True),
        ("1.2.3", "10.1.2.3", False),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("10.1.2.3:1", "10.1.2.3", False),
        ("fd00::/8", "[fd00::7]", True),
        ("[fd00::7]:443", "[fd00::7]", True),
        ("fd00::8", "[fd00::7]", False),
        ("999.1.2.3/8,[", HOST, False),
    ],
)
def test_no_proxy(entries: str, host: str, direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        network = network_of(parse_base_url(f"https://{host}"), {"HTTPS_PROXY": "http://proxy:1", name: entries})
        assert (network.proxy is None) is direct


# ------------------------------------------------------------------ whose certificates


def test_a_folder_of_certificates_is_taken_whatever_its_files_are_called(
    company: Network, private: Authority, tmp_path: Path
) -> None:
    (tmp_path / "company.crt").write_bytes(private.ca.read_bytes())
    (tmp_path / "README").write_text("the authority of our network")
    peer, _, client = company(environ={"SSL_CERT_FILE": "", "SSL_CERT_DIR": str(tmp_path)})
    with client.session([NUMBER]) as session:
        assert isinstance(session.read([NUMBER])[NUMBER], Reading)
    assert len(peer.seen) == 1


@pytest.mark.parametrize(
    "name, place, why",
    [
        ("SSL_CERT_FILE", "none.pem", "No such file"),
        ("SSL_CERT_FILE", "empty.pem", "no certificate"),
        ("SSL_CERT_FILE", "text.pem", "no certificate"),
        ("SSL_CERT_FILE", ".", ""),
        ("SSL_CERT_DIR", "none", "No such file"),
        ("SSL_CERT_DIR", ".", "no certificate"),
        ("SSL_CERT_DIR", "text.pem", "Not a directory"),
    ],
)
def test_certificates_that_are_not_there_are_refused_by_name(name: str, place: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "text.pem").write_text("not a certificate")
    path = tmp_path / place
    client = RetellClient(f"https://{HOST}", lambda: KEY, SystemClock(), environ={name: str(path)})
    with closing(client), pytest.raises(SettingsError, match=f"^{name}: {path}: .*{why}.*; name a f"):
        client.ready()


# ------------------------------------------------------------------ what people are told


@pytest.mark.parametrize(
    "url, environ, said",
    [
        (f"https://{HOST}", {}, "directly; trusted certificates: those of the certifi package"),
        (
            f"https://{HOST}",
            {"HTTPS_PROXY": "http://me:hunter2@proxy:3128", "SSL_CERT_FILE": "/etc/corp.pem"},
            "through the proxy proxy:3128 (HTTPS_PROXY with a user name); trusted certificates: SSL_CERT_FILE=/etc/corp.pem",
        ),
        (
            f"https://{HOST}",
            {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "a,.retell.test", "SSL_CERT_DIR": "/certs"},
            "directly (NO_PROXY has .retell.test); trusted certificates: SSL_CERT_DIR=/certs",
        ),
        ("http://127.0.0.1:8090", {"HTTPS_PROXY": "http://proxy:1"}, "directly, on this machine, without TLS"),
    ],
)
def test_what_is_in_force_is_said_without_a_password(url: str, environ: dict[str, str], said: str) -> None:
    assert network_of(parse_base_url(url), environ).sentence == said
