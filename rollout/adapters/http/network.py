"""The route to Retell: the proxy that it goes through, and the certificates that it trusts.

HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR are honoured, and nothing else of the environment. The key never
leaves in the clear: a proxy is asked for a tunnel and for nothing else, and this machine is reached directly.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from rollout.domain.errors import SettingsError
from rollout.kit.program.proxy import Proxy, exception_for, is_this_machine, open_tunnel, proxy_for, variable

if TYPE_CHECKING:  # the command line, which asks a service, needs none of the engine
    from rollout.engine.ports import Clock

Address = tuple[socket.AddressFamily, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of Retell, and the path before every endpoint's own (usually empty)."""

    scheme: str
    host: str
    port: int
    prefix: str = ""

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.prefix}"


@dataclass(frozen=True, slots=True)
class Network:
    """The route to one origin. `exception` is the entry of NO_PROXY that makes it direct.

    `certificates`: the variables that name trusted files or folders, with their values; empty for those of certifi.
    """

    origin: Origin
    proxy: Proxy | None = None
    exception: str = ""
    certificates: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> tuple[str, int]:
        """Host and port that sockets are opened to."""
        return self.proxy[:2] if self.proxy is not None else (self.origin.host, self.origin.port)

    @property
    def sentence(self) -> str:
        """The current route, for people: no user, no password."""
        if self.proxy is not None:
            user = " with a user name" if self.proxy.credentials else ""
            way = f"through the proxy {self.proxy.place} (HTTPS_PROXY{user})"
        elif self.exception:
            way = f"directly (NO_PROXY has {self.exception})"
        else:
            way = "directly" + (", on this machine" if is_this_machine(self.origin.host) else "")
        if self.origin.scheme != "https":
            return f"{way}, without TLS"
        trusted = " and ".join(f"{name}={value}" for name, value in self.certificates)
        return f"{way}; trusted certificates: {trusted or 'those of the certifi package'}"

    def tls(self) -> ssl.SSLContext | None:
        """TLS that verifies; None for http, which is for this machine alone. Raises SettingsError."""
        if self.origin.scheme != "https":
            return None
        if not self.certificates:
            return strict_tls()
        return _hardened(trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), self.certificates))


def literal_addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Addresses that need no lookup. `localhost` is never looked up: a hosts file may point it elsewhere."""
    if host == "localhost":
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    try:
        version = ip_address(host).version
    except ValueError:
        return []
    return [(socket.AF_INET6 if version == 6 else socket.AF_INET, host)]


def countdown(clock: Clock, ends: float) -> Callable[[], float]:
    """The seconds left until `ends` (of Clock.boot); TimeoutError when none are."""

    def left() -> float:
        seconds = ends - clock.boot()
        if seconds <= 0:
            raise TimeoutError("the deadline has passed")
        return seconds

    return left


def network_of(origin: Origin, environ: Mapping[str, str]) -> Network:
    """The route to an origin by these variables. Raises SettingsError with what to write instead."""
    if origin.scheme != "https":
        return Network(origin)
    try:
        proxy = proxy_for(origin.host, origin.port, environ)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    exception = ""
    if proxy is None and variable(environ, "HTTPS_PROXY") and not is_this_machine(origin.host):
        exception = exception_for(origin.host, origin.port, environ)
    return Network(origin, proxy, exception, named_certificates(environ))


def named_certificates(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The variables that name trusted files or folders, with their values."""
    return tuple((name, environ[name]) for name in _ADVICE if environ.get(name))


def open_socket(
    address: Address, network: Network, clock: Clock, *, within: float, tls: ssl.SSLContext | None
) -> socket.socket:
    """A socket to the origin, through the proxy and with TLS agreed, in `within` seconds at most. Raises OSError."""
    family, place = address
    left = countdown(clock, clock.boot() + within)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(left())
        sock.connect(place)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if network.proxy is not None:
            assert tls is not None  # through a proxy nothing goes in the clear
            open_tunnel(sock, network.proxy, network.origin.host, network.origin.port, left)
        if tls is not None:
            sock.settimeout(left())  # one limit for the whole handshake
            sock = tls.wrap_socket(sock, server_hostname=network.origin.host)
    except BaseException:
        sock.close()
        raise
    return sock


def strict_tls() -> ssl.SSLContext:
    """TLS that verifies, by the certificates of the certifi package; the environment has no say."""
    return _hardened(httpx.create_ssl_context(verify=True, trust_env=False))


def trust(context: ssl.SSLContext, certificates: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    """The same context, trusting the certificates in these files and folders too. Raises SettingsError."""
    for name, value in certificates:
        places = [Path(value)] if name == "SSL_CERT_FILE" else [Path(part) for part in value.split(os.pathsep)]
        for place in places:
            try:
                if name == "SSL_CERT_FILE":
                    context.load_verify_locations(cafile=place)
                else:
                    _load_all(context, place)
            except OSError as error:  # what SSLError is as well
                why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
                raise SettingsError(f"{name}: {place}: {why}; {_ADVICE[name]}") from None
    return context


def _load_all(context: ssl.SSLContext, folder: Path) -> None:
    """Every certificate in a folder, under any file name. Raises OSError."""
    loaded = False
    for file in sorted(folder.iterdir()):
        with contextlib.suppress(OSError):  # a key, a list, a file of another's: no certificate of ours
            context.load_verify_locations(cafile=file)
            loaded = True
    if not loaded:
        raise ssl.SSLError("no certificate")


def _hardened(context: ssl.SSLContext) -> ssl.SSLContext:
    context.keylog_filename = None  # type: ignore[assignment]  # the standard library took SSLKEYLOGFILE
    context.set_alpn_protocols(["http/1.1"])
    return context


_ADVICE = {
    "SSL_CERT_FILE": "name a file of certificates in PEM form",
    "SSL_CERT_DIR": "name a folder of certificates in PEM form",
}
