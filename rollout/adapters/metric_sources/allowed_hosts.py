"""The hosts that plans may read metrics from: the server's settings decide, whatever a plan says.

An entry of ROLLOUT_METRIC_HOSTS is a host or a host with its port. A host alone may be asked by https where it
leads to public addresses. A host with its port may also lead to private ones, and on loopback be asked by http.
Link-local, multicast and unspecified addresses and IPv4 ones dressed as IPv6 are refused in any case.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from rollout.adapters.egress_guard import inside
from rollout.adapters.http.network import literal_addresses
from rollout.domain.errors import SettingsError
from rollout.domain.plan.metrics import Http, Prometheus
from rollout.domain.plan.plan import Plan
from rollout.kit.program.proxy import is_this_machine

Address = tuple[socket.AddressFamily, str]
Lookup = Callable[..., list[Any]]

_PLAIN = re.compile(r"[!-\[\]-~]{1,2000}")  # printable ASCII without space and backslash
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_PORTS = {"http": 80, "https": 443}


class ValueUnreadable(Exception):
    """The reason that a value could not be read; the text is for people and names no address's secrets."""


class Late(ValueUnreadable):
    """There was no whole answer in time; an answer may come another time."""


@dataclass(frozen=True, slots=True)
class AllowedAddress:
    """An allowed address of a plan, taken apart. `inside`: it may lead into the network; `target`: path and query."""

    scheme: str
    host: str
    port: int
    target: str
    inside: bool

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        return _shown(self.host, None if self.port == _PORTS[self.scheme] else self.port)


class MetricHosts:
    """The hosts of ROLLOUT_METRIC_HOSTS. Raises SettingsError for an entry that is none."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._allowed = {_entry(text) for text in entries}

    def place(self, url: str) -> AllowedAddress:
        """The address taken apart; Unreadable says why it may not be asked and what to write instead.

        Whatever two readers of an address could take for two hosts is refused: user names, fragments,
        backslashes, control characters, a trailing dot, and numbers that are no IP address as it is written.
        """
        if not _PLAIN.fullmatch(url) or "#" in url:
            raise ValueUnreadable("it holds a space, a backslash, a fragment or a control character; leave that out")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueUnreadable("it is not a web address; write https://HOST/PATH") from None
        if "@" in parts.netloc:
            raise ValueUnreadable("it carries a user name; write the address without it")
        if parts.scheme not in _PORTS or not parts.hostname or port == 0:
            raise ValueUnreadable("it is not a web address; write https://HOST/PATH")
        host = canonical(parts.hostname)
        if host is None:
            raise ValueUnreadable(
                f"{parts.hostname[:80]} is neither a host name nor an IP address in its usual form; write the host "
                "as it is in ROLLOUT_METRIC_HOSTS"
            )
        port = port or _PORTS[parts.scheme]
        exact = (host, port) in self._allowed
        if not exact and (host, None) not in self._allowed:
            raise ValueUnreadable(
                f"the host {_shown(host, parts.port)} is not in ROLLOUT_METRIC_HOSTS; have it added to the "
                "service's settings, or write an address whose host is listed"
            )
        if parts.scheme == "http" and not (exact and is_this_machine(host)):
            raise ValueUnreadable(
                "http works only for this machine, and only if ROLLOUT_METRIC_HOSTS has the host and port; write https"
            )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        place = AllowedAddress(parts.scheme, host, port, path, exact)
        for address in literal_addresses(host):
            _check(place, address[1])
        return place

    def problems(self, plan: Plan) -> list[str]:
        """Objections to the addresses of a plan's metrics, each naming its field; asks no name server."""
        found = []
        for i, metric in enumerate(plan.gates.metrics or ()):
            source = metric.external
            if source is None:
                continue
            kind = "prometheus" if isinstance(source, Prometheus) else "http"
            try:
                self.place(asked(source))
            except ValueUnreadable as error:
                found.append(f"gates.metrics[{i}].{kind}.url: {error}")
        return found


def asked(source: Prometheus | Http) -> str:
    """The address that is asked for a metric, without the Prometheus query. ValueUnreadable when there can be none."""
    if isinstance(source, Http):
        return source.url
    if "?" in source.url:
        raise ValueUnreadable("it has a query of its own; write only the server's address")
    return f"{source.url.rstrip('/')}/api/v1/query"


def addresses(place: AllowedAddress, lookup: Lookup | None = None) -> list[Address]:
    """The addresses to connect to: every one behind the host, looked up once. ValueUnreadable when one is not allowed.

    `localhost` and IP addresses are not looked up. One bad address refuses all: which of them is taken would be
    a matter of chance.
    """
    found = literal_addresses(place.host)
    if not found:
        try:
            answers = (lookup or socket.getaddrinfo)(place.host, place.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise ValueUnreadable(f"the name {place.host} cannot be looked up") from None
        found = list(dict.fromkeys((family, str(at[0])) for family, _, _, _, at in answers))
    for _, address in found:
        _check(place, address)
    if not found:
        raise ValueUnreadable(f"the name {place.host} has no address")
    return found


def canonical(host: str) -> str | None:
    """A host in the one spelling that is compared; None for what could be read in two ways."""
    host = host.lower()
    if ":" not in host:
        if not _NAME.fullmatch(host):
            return None
        if not _NUMERIC.fullmatch(host.rpartition(".")[2]):
            return host
    try:
        return None if "%" in host else str(ip_address(host))
    except ValueError:
        return None


def _entry(text: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//[{text}]" if text.count(":") > 1 and "[" not in text else f"//{text}")
        host, port = canonical(parts.hostname or ""), parts.port
    except ValueError:
        host, port = None, None
    bare = _PLAIN.fullmatch(text) and not set(text) & set("/?#@")
    if host is None or not bare or port == 0:
        raise SettingsError(
            f"ROLLOUT_METRIC_HOSTS: {text[:100]!r} is not a host; write for example metrics.example.com, or "
            "10.0.0.7:9090 for one inside the network"
        )
    return host, port


def _check(place: AllowedAddress, text: str) -> None:
    """ValueUnreadable when this address may not be connected to."""
    where = place.host if place.host == text else f"{place.host} leads to {text}, which"
    address = ip_address(text.partition("%")[0])
    if address.is_loopback and is_this_machine(place.host) and place.inside:
        return
    if _never(address):
        raise ValueUnreadable(f"{where} is an address that metrics may not be read from; write another one")
    if inside(text) and (not place.inside or address.is_loopback):
        raise ValueUnreadable(
            f"{where} is inside the network; only an entry with its port, such as "
            f"{_shown(place.host, place.port)}, in ROLLOUT_METRIC_HOSTS allows that, and on loopback only by "
            "localhost or its address"
        )


def _never(address: IPv4Address | IPv6Address) -> bool:
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return True
    if isinstance(address, IPv4Address):
        return address.is_reserved
    dressed = address.ipv4_mapped or address.sixtofour or address.teredo
    reserved = address.is_reserved and not address.is_loopback
    return dressed is not None or any(address in net for net in _NAT64) or reserved


def _shown(host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"
