"""A pool of connections to Retell: opened when needed, lent out when idle.

Only reads and sessions that are being set up come here; nothing that sends a write can.
"""

from __future__ import annotations

import contextlib
import ssl
import threading

from rollout.adapters.http.connection import Connection, NotSent
from rollout.adapters.http.network import Address, Network, open_socket
from rollout.adapters.retell.origin import Resolver
from rollout.engine.ports import Clock
from rollout.kit.program.proxy import NoTunnel

_DROPPED = 0.9  # seconds; a connect that took longer was dropped once
_GENTLE_PAUSE = 0.002
IDLE_SECONDS = 2.0  # below the idle time-outs of servers (uvicorn closes after 5 s)


class ConnectionPool:
    """The connections of one client. Safe for threads; each connection has one user at a time."""

    def __init__(
        self, network: Network, clock: Clock, *, connect_timeout: float, most_idle: int, tls: ssl.SSLContext | None
    ) -> None:
        self._network, self._clock, self.connect_timeout = network, clock, connect_timeout
        self._resolver = Resolver(*network.place, clock)
        self._secure = network.origin.scheme == "https"
        self._tls = tls if self._secure else None
        self._most_idle = most_idle
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = self._crowded = False
        self._one_by_one = threading.Lock()
        self._closed_with: dict[bool, bool] = {}  # by whether it wrote: was the last answer its connection's last

    def ready(self) -> None:
        """Load the trusted certificates, which the first connection does else. Raises SettingsError."""
        if self._secure and self._tls is None:
            with self._one_by_one:
                self._tls = self._tls or self._network.tls()

    def take(self) -> Connection | None:
        """An idle connection that the server has not closed, the last used first; None if there is none."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if self._clock.boot() - connection.idle_since <= IDLE_SECONDS and connection.alive():
                return connection
            connection.close()

    def dial(self, until: float) -> Connection:
        """A new connection, open by `until` (seconds of Clock.boot) or the connect timeout.

        Raises NotSent with the reason. Each address of the host has a share of the time.
        """
        if self._closed:
            raise NotSent("the client is closed")
        self.ready()
        until = min(until, self._clock.boot() + self.connect_timeout)
        why = "the address could not be found in time"
        addresses = self._resolver.addresses(until - self._clock.boot())
        for index, address in enumerate(addresses):
            within = (until - self._clock.boot()) / (len(addresses) - index)
            if within <= 0:
                why = "no connection in time"
                break
            try:
                return self._open(address, within)
            except ssl.SSLCertVerificationError as error:
                why = f"its certificate is not trusted ({error.verify_message}){self._advice}"
                break
            except NoTunnel as error:
                why = str(error)
                break
            except ssl.SSLError as error:
                why = f"TLS failed ({error.reason or type(error).__name__})"
            except OSError as error:
                why = "no connection in time" if isinstance(error, TimeoutError) else error.strerror or why
        proxy = self._network.proxy
        through = f" through the proxy {proxy.place}" if proxy is not None else ""
        raise NotSent(f"cannot connect to {self._network.origin.authority}{through}: {why}")

    @property
    def _advice(self) -> str:
        """Advice about a certificate that nobody known has signed."""
        if self._network.certificates:
            return ""
        return "; if your network has its own certificate authority, name its certificate in SSL_CERT_FILE"

    def _open(self, address: Address, within: float) -> Connection:
        """Open one connection; one after the other where the server cannot take many at once.

        A small server on this machine (Python's own queues five) drops what is too much, and the
        kernel tries again only after a second: once that was seen, we go gently. Never with TLS,
        where a second may just be a long way.
        """
        began = self._clock.boot()
        with self._one_by_one if self._crowded else contextlib.nullcontext():
            if self._crowded:
                self._clock.sleep(_GENTLE_PAUSE)
            sock = open_socket(address, self._network, self._clock, within=within, tls=self._tls)
        if not self._secure and self._clock.boot() - began > _DROPPED:
            self._crowded = True
        return Connection(sock, self._clock)

    def used(self, connection: Connection, *, write: bool = False) -> None:
        """Note after an answer whether the server keeps connections open."""
        self._closed_with[write] = not connection.usable

    @property
    def single_use(self) -> bool:
        """True if the server closes after a write, so that each needs a connection; before any write, after a read.

        What it does after a read says nothing of writes: an edge may close with each refusal, and keep open the rest.
        """
        return self._closed_with.get(True, self._closed_with.get(False, False))

    def give_back(self, connection: Connection) -> None:
        """Keep this connection for the next `take`, unless it cannot be used any more."""
        unwanted = [connection]
        with self._lock:
            oldest = self._clock.boot() - IDLE_SECONDS
            while self._idle and self._idle[0].idle_since < oldest:
                unwanted.append(self._idle.pop(0))
            room = len(self._idle) < self._most_idle and not self._closed
            if connection.usable and connection.answers and room:
                self._idle.append(unwanted.pop(0))
        for old in unwanted:
            old.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
