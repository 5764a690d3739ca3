"""A company's network between us and what we ask: proxies and certificates of the standard variables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rollout.domain.errors import NotReachable, SettingsError
from rollout.interfaces.backend.remote import RemoteBackend
from tests.integration.api.live import Live, live
from tests.integration.api.test_api_oidc import Provider, begin, provider, settings_for
from tests.support.tunnel import Authority, Proxy, TlsFront, authority

__all__ = ["provider"]

HOST = "rollout.test"


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"), HOST)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr("rollout.interfaces.backend.remote.PAUSE", 0.0)


@pytest.fixture
def far(tmp_path: Path, private: Authority) -> Iterator[tuple[Live, Proxy]]:
    """A service by TLS at HOST, reachable through a proxy alone."""
    with live(tmp_path, ticking=False, allowed_hosts=(HOST,)) as service:
        port = urlsplit(service.server.url).port
        assert port is not None
        with TlsFront(private, port) as front, Proxy({f"{HOST}:443": front.port}) as proxy:
            yield service, proxy


def test_the_command_line_goes_through_a_proxy_by_a_private_authority(
    far: tuple[Live, Proxy], private: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, proxy = far
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://me:secret@"))
    monkeypatch.setenv("SSL_CERT_FILE", str(private.ca))
    remote = RemoteBackend(f"https://{HOST}", service.tokens["viewer"])
    assert remote.list() == [] and remote.service_is_alive()
    remote.close()
    assert len(proxy.asked) == 1 and proxy.asked[0].startswith(f"CONNECT {HOST}:443 ")
    assert "\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n" in proxy.asked[0]
    assert service.tokens["viewer"].encode() not in bytes(proxy.heard), "the token goes inside the tunnel alone"


def test_an_authority_that_nobody_named_is_not_trusted(
    far: tuple[Live, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, proxy = far
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    remote = RemoteBackend(f"https://{HOST}", service.tokens["viewer"])
    with pytest.raises(NotReachable, match=r"certificate is not trusted: .*; name your certificates in SSL_CERT_FILE"):
        remote.list()
    remote.close()


def test_a_proxy_that_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy({}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        remote = RemoteBackend(f"https://{HOST}", "rlt_x")
        with pytest.raises(NotReachable, match="the proxy refuses the connection: 403"):
            remote.list()
        remote.close()


def test_a_service_on_this_machine_is_reached_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with live(tmp_path, ticking=False) as service, Proxy({}) as proxy:
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        remote = RemoteBackend(service.server.url, service.tokens["viewer"])
        assert remote.list() == []
        remote.close()
        assert proxy.accepted == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "socks5://127.0.0.1:1"),
        ("HTTPS_PROXY", "http://"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("SSL_CERT_DIR", "/nowhere"),
    ],
)
def test_variables_that_name_nothing_are_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}: "):
        RemoteBackend(f"https://{HOST}", "rlt_x")


def test_a_redirect_of_the_service_is_not_followed(private: Authority, provider: Provider) -> None:
    provider.moved = "/healthz-elsewhere"
    remote = RemoteBackend(provider.url, "rlt_x")
    with pytest.raises(NotReachable, match="answered 302 with something that is not the service's JSON"):
        remote.list()
    remote.close()
    assert [path for path in provider.paths if "elsewhere" in path] == []


def test_the_sign_in_provider_is_asked_through_a_proxy_by_a_private_authority(
    tmp_path: Path, private: Authority, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = f"https://{HOST}"
    provider.url = issuer
    with TlsFront(private, provider.server_address[1]) as front, Proxy({f"{HOST}:443": front.port}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(private.ca))
        monkeypatch.setenv("NO_PROXY", "10.0.0.0/8")
        with live(tmp_path, ticking=False, **settings_for(provider)) as found:
            path, cookie = begin(found, provider)
            done = found.ask("GET", path, token=None, headers=cookie)
            assert done.status == 200, done.raw
        assert proxy.asked and {head.split("\r\n")[0] for head in proxy.asked} == {f"CONNECT {HOST}:443 HTTP/1.1"}


def test_the_sign_in_provider_on_this_machine_is_asked_directly(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy({}) as proxy:
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        with live(tmp_path, ticking=False, **settings_for(provider)) as found:
            assert found.ask("GET", "/auth/oidc/login", token=None).status == 303
        assert proxy.accepted == 0


def test_a_redirect_of_the_sign_in_provider_is_not_followed(tmp_path: Path, provider: Provider) -> None:
    with live(tmp_path, ticking=False, **settings_for(provider)) as found:
        provider.moved = "/elsewhere"
        answer = found.ask("GET", "/auth/oidc/login", token=None)
        assert answer.status == 503 and "HTTP 302" in answer.json["detail"]
        assert [path for path in provider.paths if "elsewhere" in path] == []


@pytest.mark.parametrize(("name", "value"), [("HTTPS_PROXY", "socks5://127.0.0.1:1"), ("SSL_CERT_FILE", "/nowhere")])
def test_a_service_whose_sign_in_has_no_way_says_so_before_it_listens(
    tmp_path: Path, provider: Provider, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    given = {**settings_for(provider), "oidc_issuer": f"https://{HOST}"}
    with pytest.raises(SettingsError, match=f"{name}: "), live(tmp_path, ticking=False, **given):
        pass
