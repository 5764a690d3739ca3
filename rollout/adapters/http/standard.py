"""httpx's own transports, going the way that the environment names: for whatever is neither Retell nor a plan's address.

HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR mean what they mean towards Retell (`network`): a proxy is asked
for a tunnel alone, and this machine is reached directly. Where no certificates are named, those of this system are
trusted beside certifi's.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from rollout.adapters.http.network import Origin, network_of, strict_tls

_PORTS = {"http": 80, "https": 443}


def transport_options(url: httpx.URL, environ: Mapping[str, str]) -> dict[str, Any]:
    """`proxy` and `verify` of httpx's transports for this address. Raises SettingsError with what to write."""
    network = network_of(Origin(url.scheme, url.host, url.port or _PORTS[url.scheme]), environ)
    proxy = None
    if network.proxy is not None:
        headers = {"Proxy-Authorization": network.proxy.credentials} if network.proxy.credentials else {}
        proxy = httpx.Proxy(f"http://{network.proxy.place}", headers=headers)
    if url.scheme != "https":
        return {"proxy": proxy, "verify": False}  # nothing to verify, and no certificates to load
    return {"proxy": proxy, "verify": network.tls() if network.certificates else system_tls()}


def system_tls() -> ssl.SSLContext:
    """TLS that verifies, by the certificates of certifi and of this system; the environment has no say."""
    context, usual = strict_tls(), ssl.get_default_verify_paths()
    file, folder = Path(usual.openssl_cafile), Path(usual.openssl_capath)
    if file.is_file():
        context.load_verify_locations(cafile=file)
    if folder.is_dir():
        context.load_verify_locations(capath=folder)
    return context


class ByHost(httpx.AsyncBaseTransport):
    """One transport for each host that is asked, each going its own way; the host of `first` is made ready at once.

    Raises SettingsError where the environment names no way.
    """

    def __init__(self, first: str, environ: Mapping[str, str], limits: httpx.Limits) -> None:
        self._environ, self._limits = environ, limits
        self._made: dict[tuple[str, str, int | None], httpx.AsyncHTTPTransport] = {}
        self._of(httpx.URL(first))

    def _of(self, url: httpx.URL) -> httpx.AsyncHTTPTransport:
        key = (url.scheme, url.host, url.port)
        if key not in self._made:
            options = transport_options(url, self._environ)
            self._made[key] = httpx.AsyncHTTPTransport(limits=self._limits, trust_env=False, **options)
        return self._made[key]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send by the transport of the request's host."""
        return await self._of(request.url).handle_async_request(request)

    async def aclose(self) -> None:
        """Closes them all."""
        for transport in self._made.values():
            await transport.aclose()
