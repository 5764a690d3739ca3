"""The operations of the command line on a running service, over its HTTP API.

The standard variables for proxies and certificates hold; a service on this machine is reached directly. Errors come
back as the same exceptions that the database would raise, so that exit codes are the same.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import re
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx

from rollout.adapters.http.standard import transport_options
from rollout.domain import errors, strict_json
from rollout.domain.errors import InputError, NotReachable, RolloutError, SettingsError
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.entries import CommandGiven
from rollout.domain.lifecycle.started import StartedRollout
from rollout.domain.lifecycle.state import Position
from rollout.domain.phone_numbers import is_e164, plus_advice
from rollout.interfaces.backend.plan_text import PlanText
from rollout.interfaces.views.report_form import ReportForm
from rollout.settings import LOOPBACK

TRIES = 3
PAUSE = 0.3
MOST_BYTES = 64 * 1024 * 1024
PAGE = 200  # rollouts of one answer; the service gives no more


class RemoteBackend:
    """Implementation of rollout.interfaces.backend.local.Backend on a service at `url` with a token.

    Every change carries a request id, so asking again after a lost answer has no second effect. Plain http
    is only for loopback: the token would be readable on the way.
    """

    def __init__(self, url: str, token: str | None, timeout: float = 30.0) -> None:
        parts = urlsplit(url.strip())
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.username:
            raise SettingsError("ROLLOUT_URL: write an address, for example https://rollout.example.com")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise SettingsError("ROLLOUT_URL: write https, or http on 127.0.0.1: other http would expose the token")
        if token is not None and re.fullmatch(r"[!-~]+", token.strip()) is None:
            raise SettingsError("ROLLOUT_TOKEN: this is not a token; write the one that `rollout token create` gave")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        try:
            address = httpx.URL(self.url)
        except httpx.InvalidURL:
            raise SettingsError("ROLLOUT_URL: write an address, for example https://rollout.example.com") from None
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "rollout"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token.strip()}"
        transport = httpx.HTTPTransport(trust_env=False, **transport_options(address, os.environ))
        self._client = httpx.Client(transport=transport, headers=headers, timeout=timeout, trust_env=False)

    # -------------------------------------------------------------- the operations

    def check(
        self, written: PlanText, *, strict: bool = False, tests: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        body = {"plan": written.text, "name": written.name[:200], "strict": strict}
        if tests is not None:
            return self._run_tests(body, tests)
        return self._ask("POST", "/api/v1/plans/check", body, timeout=120)

    def start(self, written: PlanText, by: By, *, at: datetime | None = None, strict: bool = False) -> StartedRollout:
        body: dict[str, Any] = {"plan": written.text, "name": written.name[:200], "strict": strict, **_who(by)}
        if at is not None:
            body["start_at"] = at.isoformat()
        return StartedRollout.from_json(self._ask("POST", "/api/v1/rollouts", body, timeout=120))

    def command(self, command: str, id_: str, by: By, *, expect: Position | None = None, **asked: Any) -> CommandGiven:
        body = {**asked, **_who(by)}
        if expect is not None:
            body["expect"] = {"wave": expect.wave, "step": expect.step}
        if not re.fullmatch("[a-z]+", command):
            raise InputError(f"there is no command {command!r}; write for example pause")
        return CommandGiven.from_json(self._ask("POST", f"{_at(id_)}/{command}", body, timeout=120))

    def rollback(self, id_: str, by: By) -> dict[str, Any]:
        return self._ask("POST", f"{_at(id_)}/rollback?wait=0", _who(by))

    def follow_rollback(self, id_: str, timeout: float) -> dict[str, Any]:
        """Ask until every number is read back at its baseline; NotReachable after `timeout` seconds."""
        give_up = _now() + timeout
        while True:
            shown = self.show(id_)
            if shown["phase"] == "rolled_back" or (shown["phase"] == "rolling_back" and shown["restored_at"]):
                return {**shown, "seconds": _seconds(shown)}
            if shown["phase"] != "rolling_back":
                return shown
            if _now() >= give_up:
                raise NotReachable(
                    f"the rollback of {id_} is ordered and not read back after {timeout:g} s ({shown['why']}); the "
                    "service keeps trying; if it is down, use the kit",
                    id=id_,
                )
            time.sleep(0.2)

    def list(
        self, live: bool | None = None, *, limit: int | None = None, name: str | None = None
    ) -> builtins.list[dict[str, Any]]:
        query: dict[str, str] = {}
        if live is not None:
            query["live"] = "true" if live else "false"
        if name is not None:
            query["name"] = name
        found: builtins.list[dict[str, Any]] = []
        while limit is None or len(found) < limit:
            query["limit"] = str(PAGE if limit is None else min(PAGE, limit - len(found)))
            page = self._ask("GET", f"/api/v1/rollouts?{urlencode(query)}")
            found += page["items"]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        return found

    def show(self, id_: str) -> dict[str, Any]:
        return self._ask("GET", _at(id_))

    def history(self, id_: str, after: int = 0) -> builtins.list[dict[str, Any]]:
        found: builtins.list[dict[str, Any]] = []
        while True:
            page = self._ask("GET", f"{_at(id_)}/history?limit=200&after={after}")
            found += page["items"]
            if page["next"] is None:
                return found
            after = int(page["next"])

    def report(self, id_: str, form: ReportForm) -> str:
        status, text = self._answered("GET", f"{_at(id_)}/report?format={form}")
        if status != 200:
            _read(status, text, self.url)
        return text.decode()

    def on_number(self, number: str) -> str:
        if not is_e164(number):  # the service takes no other; its complaint would be about its own route
            raise errors.UnknownRollout(f"no rollout has written {number}{plus_advice(number)}", number=number)
        with contextlib.suppress(errors.UnknownRollout):
            found = self._ask("GET", f"/api/v1/numbers/{quote(number, safe='')}")
            if found["rollback"] is not None:
                return str(found["rollback"])
            for each in found["rollouts"]:
                if each["written"]:
                    return str(each["id"])
        raise errors.UnknownRollout(f"no rollout has written {number}", number=number)

    def address(self) -> str:
        return self.url

    def service_is_alive(self) -> bool:
        return self._ask("GET", "/healthz").get("status") == "alive"

    def readiness(self) -> dict[str, str]:
        """The state of the service's own parts, `ok` or what is wrong; nothing without a token that may read."""
        try:
            found = self._ask("GET", "/readyz")
        except NotReachable as error:
            if "checks" not in error.details:
                raise
            found = error.details
        return {str(name): str(value) for name, value in (found.get("checks") or {}).items()}

    def close(self) -> None:
        self._client.close()

    def _run_tests(self, body: Mapping[str, Any], told: Callable[[str], None]) -> dict[str, Any]:
        """Run the tests by one request, never sent again: that would run them twice. A line comes at least every 15 s."""
        stream = self._client.stream("POST", f"{self.url}/api/v1/plans/tests", json=body, timeout=120)
        try:
            with stream as answer:
                if answer.status_code != 200:
                    return _read(answer.status_code, answer.read()[:MOST_BYTES], self.url)
                for line in filter(None, answer.iter_lines()):
                    found = strict_json.parse(line)
                    if "told" in found:
                        told(str(found["told"]))
                    elif "problem" in found:
                        return _read(int(found["problem"]["status"]), json.dumps(found["problem"]).encode(), self.url)
                    else:
                        return dict(found["report"])
        except (httpx.TransportError, ValueError, TypeError, KeyError) as error:
            trouble = _words(error) if isinstance(error, httpx.TransportError) else "it is not the service's JSON"
            raise NotReachable(f"the answer of {self.url} broke off ({trouble}); the tests may still run") from None
        raise NotReachable(f"the answer of {self.url} broke off; the tests may still run")

    # -------------------------------------------------------------- over the wire

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        return _read(*self._answered(method, path, body, timeout), self.url)

    def _answered(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> tuple[int, bytes]:
        """Status and body, asked again where no answer came."""
        trouble = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE * attempt)
            try:
                return self._once(method, path, body, timeout)
            except httpx.TransportError as error:
                trouble = _words(error)
                # reading twice is harmless, and every change carries its request id
        raise NotReachable(
            f"the service at {self.url} cannot be reached ({trouble}); unset ROLLOUT_URL to work on the database"
        )

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float | None) -> tuple[int, bytes]:
        """Status and body, which is cut off where it is larger than any answer of the service."""
        limit = httpx.USE_CLIENT_DEFAULT if timeout is None else timeout
        raw = None if body is None else json.dumps(body).encode()
        headers = None if body is None else {"Content-Type": "application/json"}
        text = bytearray()
        with self._client.stream(method, self.url + path, content=raw, headers=headers, timeout=limit) as answer:
            for part in answer.iter_raw():
                text += part
                if len(text) > MOST_BYTES:
                    break
        return answer.status_code, bytes(text[:MOST_BYTES])


def _at(id_: str) -> str:
    if "/" in id_ or id_ in (".", ".."):
        raise InputError(
            f"{id_}: a name with a slash cannot be sent to a service; write the rollout's id, which `rollout list` shows"
        )
    return f"/api/v1/rollouts/{quote(id_, safe='')}"


def _who(by: By) -> dict[str, Any]:
    """Reason and request id; who asks is what the token says."""
    return {"reason": by.reason, "request_id": by.request_id or f"request-{secrets.token_hex(12)}"}


def _read(status: int, text: bytes, url: str) -> dict[str, Any]:
    try:
        document = strict_json.parse(text)
    except ValueError:
        document = None
    succeeded = 200 <= status < 300
    if not isinstance(document, dict) or (not succeeded and "code" not in document):
        raise NotReachable(f"{url} answered {status} with something that is not the service's JSON")
    if succeeded:
        return document
    known = {errors.code_of(kind): kind for kind in _kinds(RolloutError)}
    kind = known.get(str(document["code"])) or _by_status(status)
    details = {k: v for k, v in document.items() if k not in ("type", "title", "status", "detail", "instance", "code")}
    raise kind(str(document.get("detail") or f"the service answered {status}"), **details)


def _kinds(kind: type[RolloutError]) -> builtins.list[type[RolloutError]]:
    """The errors of the core; those that only a service has come back by their status."""
    return [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, kind)]


def _by_status(status: int) -> type[RolloutError]:
    if status == 401:
        return errors.Unauthenticated
    if status == 403:
        return errors.Forbidden
    if status == 404:
        return errors.UnknownRollout
    if status == 409:
        return errors.Refused
    if status in (400, 405, 413, 415, 421, 422):
        return InputError
    return NotReachable if status in (408, 429, 501, 502, 503, 504) else RolloutError


def _words(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy refuses the connection: {error}"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}; name your certificates in SSL_CERT_FILE"
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {cause.reason or 'failed'}"
    return (cause and cause.strerror) or type(error).__name__


def _seconds(shown: Mapping[str, Any]) -> float | None:
    if not shown.get("rollback_at") or not shown.get("restored_at"):
        return None
    begin, end = (datetime.fromisoformat(str(shown[k])) for k in ("rollback_at", "restored_at"))
    return round((end - begin).total_seconds(), 3)


def _now() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
