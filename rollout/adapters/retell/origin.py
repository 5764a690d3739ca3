"""Retell's origin: the base URL, checked, and the addresses behind its host, found within a deadline."""

from __future__ import annotations

import re
import socket
import threading

import httpx

from rollout.adapters.http.network import Address, Origin, literal_addresses
from rollout.domain.errors import SettingsError
from rollout.engine.ports import Clock
from rollout.kit.program.proxy import is_this_machine

_PLAIN = re.compile(r"[!-\[\]-~]+")  # printable ASCII without the backslash
_HOST = re.compile(r"[A-Za-z0-9._:-]+")


def parse_base_url(text: str) -> Origin:
    """The origin named by ROLLOUT_RETELL_BASE_URL; https, or http on loopback.

    Raises SettingsError with what to write instead. Everything that two URL parsers could read
    in two ways (user names, fragments, backslashes, control characters) is refused.
    """

    def wrong(why: str) -> SettingsError:
        return SettingsError(
            f"ROLLOUT_RETELL_BASE_URL: {why}; write https://HOST, for example https://api.retellai.com, "
            "or http://127.0.0.1:PORT for a server on this machine"
        )

    if not _PLAIN.fullmatch(text):
        raise wrong("it is empty or holds a space, a backslash or a control character")
    if "@" in text or "#" in text or "?" in text:
        raise wrong("it must not have a user name, a query or a fragment")
    try:
        url = httpx.URL(text)
        port = url.port
    except (httpx.InvalidURL, ValueError) as error:
        raise wrong("it is not a URL") from error
    host = url.raw_host.decode("ascii").lower().strip("[]")
    if url.scheme not in ("https", "http") or not _HOST.fullmatch(host):
        raise wrong("it must be a URL with https and a host")
    if port is not None and not 0 < port < 65536:
        raise wrong("its port is not from 1 to 65535")
    if url.scheme == "http" and not is_this_machine(host):
        raise wrong("http would send the API key in the clear")
    return Origin(url.scheme, host, port or (443 if url.scheme == "https" else 80), url.path.rstrip("/"))


class Resolver:
    """Addresses of one host. `getaddrinfo` knows no time limit, so it runs in a thread of its own.

    An answer serves for `FRESH` seconds. When a lookup fails or is late, the last good answer
    serves again: a rollback must not wait for a name server, and TLS still proves who answers.
    """

    FRESH = 30.0

    def __init__(self, host: str, port: int, clock: Clock) -> None:
        self._host, self._port, self._clock = host, port, clock
        self._known: list[Address] = [(family, (address, port)) for family, address in literal_addresses(host)]
        self._fixed = bool(self._known)
        self._looked_up_at = -self.FRESH
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def addresses(self, within: float) -> list[Address]:
        """The addresses in the order to try; empty if none became known within so many seconds."""
        if self._fixed:
            return self._known
        with self._lock:
            if self._known and self._clock.boot() - self._looked_up_at < self.FRESH:
                return self._known
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look_up, name="retell-lookup", daemon=True)
                self._thread.start()
            thread = self._thread
        thread.join(within)
        return self._known

    def _look_up(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        known: list[Address] = [(family, (str(at[0]), int(at[1]))) for family, _, _, _, at in found]
        if known:
            self._known, self._looked_up_at = known, self._clock.boot()
