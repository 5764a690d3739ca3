"""The middleware that every request passes first: the Host header, an id, limits on its body; and what every answer carries.

Plain ASGI, so that it costs little and so that nothing (the page, errors, streams) is outside.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
from collections.abc import Iterable

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rollout.adapters.store.tokens import AccessStore
from rollout.domain.errors import SettingsError
from rollout.interfaces.api.problems import BodyTooLarge, LeftEarly, TooSlow, problem
from rollout.interfaces.auth.roles import HasDatabase
from rollout.settings import LOOPBACK, Settings

MAX_BODY = 1024 * 1024
BODY_SECONDS = 10.0
ROOT = "rollout.root"  # in the scope, which no client writes
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class Middleware:
    """The outermost layer of the service."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], secure: bool = False, root: str = "") -> None:
        self.app = app
        self.root = root
        self.hosts = frozenset(h.strip("[]").lower() for h in hosts) | LOOPBACK
        self.headers = dict(HEADERS)
        if secure:
            self.headers[b"strict-transport-security"] = b"max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        scope = self._under_root(scope)
        scope["rollout.request_id"] = id_ = secrets.token_hex(8)
        static = scope["path"].startswith("/static/")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message["headers"] = list(message.get("headers", []))
                names = {name.lower() for name, _ in given}
                given += [
                    (name, value)
                    for name, value in self.headers.items()
                    if name not in names and not (static and name == b"cache-control")
                ]
                given.append((b"x-request-id", id_.encode()))
            await send(message)

        sending: Send = with_headers
        request = Request(scope)
        if not self._host_is_known(request):
            refused = problem(
                request,
                421,
                "unknown_host",
                "this service does not answer to this host name; ROLLOUT_ALLOWED_HOSTS lists the names that it answers to",
            )
            await refused(scope, receive, sending)
            return
        if scope["method"] == "HEAD":  # answered like GET, wherever that is, and without the body
            scope, sending = {**scope, "method": "GET"}, _head_of(sending)
        await self.app(scope, self._limited(receive, request), sending)

    def _under_root(self, scope: Scope) -> Scope:
        """With the path below ours, whether the proxy took its part away or not; `root_of` finds what is before it."""
        root = str(scope.get("root_path") or self.root).rstrip("/")
        path = scope["path"]
        if root and (path == root or path.startswith(f"{root}/")):
            path = path[len(root) :] or "/"
        return {**scope, "path": path, "root_path": "", ROOT: root}

    def _host_is_known(self, request: Request) -> bool:
        """True if Host is one of our names: a web page can make a browser ask 127.0.0.1 under its own."""
        given = request.headers.getlist("host")
        if len(given) != 1:
            return False
        host = given[0].strip().lower()
        if host.startswith("["):
            name, bracket, port = host[1:].partition("]")
            port = port.removeprefix(":") if bracket else "x"
        else:
            name, _, port = host.partition(":")
        return name in self.hosts and (not port or (port.isascii() and port.isdigit()))

    @staticmethod
    def _limited(receive: Receive, request: Request) -> Receive:
        """The body in pieces, no longer than allowed and no slower."""
        loop = asyncio.get_running_loop()
        length = request.headers.get("content-length", "0")
        announced = int(length) if length.isascii() and length.isdigit() else 0
        began = loop.time()
        size, complete = 0, False

        async def limited() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()  # only a disconnect can follow, and it may take its time
            if announced > MAX_BODY:
                raise BodyTooLarge(f"the body is larger than {MAX_BODY // 1024} KiB")
            try:
                async with asyncio.timeout_at(began + BODY_SECONDS):
                    message = await receive()
            except TimeoutError:
                raise TooSlow(f"the body did not arrive within {BODY_SECONDS:g} s") from None
            if message["type"] == "http.disconnect":
                raise LeftEarly  # the client has gone: refused like other requests, and not logged
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                raise BodyTooLarge(f"the body is larger than {MAX_BODY // 1024} KiB")
            complete = not message.get("more_body", False)
            return message

        return limited


def _head_of(send: Send) -> Send:
    """End an answer after its head, also one that would never end."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return sending


def root_of(request: Request) -> str:
    """The prefix of every path of ours in the reader's browser: empty, or for example /rollout."""
    return str(request.scope.get(ROOT, ""))


def is_own_address(host: str) -> bool:
    """True if this address is this machine's own; names and wildcards are resolved, doubt means no."""
    if not host:
        return False
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        pass
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(a.partition("%")[0]).is_loopback for a in found)


def refuse_unsafe_bind(settings: Settings, store: HasDatabase, host: str | None = None) -> None:
    """SettingsError when the service would listen beyond this machine without asking for tokens.

    Call it before anything listens. `host` is the one of the command line, else the setting's.
    """
    host = settings.host if host is None else host
    if is_own_address(host) or AccessStore(store.database).usable_token():
        return
    raise SettingsError(
        f"ROLLOUT_HOST: {host or 'every address'} can be reached from other machines, and there is no token yet; "
        "create one first (rollout token create --role admin --name NAME), or listen on 127.0.0.1"
    )
