"""One request on one open connection, and what its outcome means for a read and for a write.

The only place where the key is put into a request, where a request is logged (number masked, no
header, no body) and counted. Only this module decides what an answer means (P5 of docs/reliability.md).
"""

from __future__ import annotations

import base64
import contextlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import httpx

from rollout.adapters.http.connection import Connection, NotSent, SendRefused
from rollout.adapters.http.network import Origin
from rollout.adapters.http.transport import Sending, make_client
from rollout.adapters.retell.wire import AnswerError, parse_json
from rollout.adapters.telemetry.logs import Logger
from rollout.domain.errors import RolloutError
from rollout.domain.phone_numbers import mask
from rollout.domain.request_budget import LONGEST_PAUSE
from rollout.domain.writes.answers import Failure, Trouble
from rollout.engine.ports import Clock

SMALL = 1 << 20  # bytes of one answer
LARGE = 16 << 20  # bytes of one page of a list
REFUSALS = frozenset({400, 401, 403, 404, 422})  # asking again changes nothing

OnRequest = Callable[[str, str, int | None, float], None]

_LOGGER = "rollout.adapters.retell"
_log = Logger(_LOGGER)
_KEY = re.compile(r"[!-~]+")
_TARGET = re.compile(r"/[!-~]*")
_HEADERS = (("Accept", "application/json"), ("Accept-Encoding", "identity"), ("User-Agent", "rollout"))
_ETAG = re.compile(r'"[!#-~]{1,200}"')  # strong ones alone: If-Match never matches a weak one
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """One request. `path` begins with a slash and is percent-encoded; `number` is for the log alone.

    `once`: it must not be sent twice, although it is no write to a number. `etag` goes with it as `If-Match`.
    """

    operation: str
    method: str
    path: str
    body: bytes | None = None
    number: str | None = None
    limit: int = SMALL
    once: bool = False
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `retry_after` is in seconds, at most 300; `etag` as it was sent, None without a usable one."""

    status: int
    body: bytes
    retry_after: float | None
    etag: str | None = None


class RequestSender:
    """A sender of requests. `key` is asked at each request, so a new key needs no restart."""

    def __init__(
        self, origin: Origin, key: Callable[[], str], clock: Clock, on_request: OnRequest | None = None
    ) -> None:
        self._key, self._clock = key, clock
        self._url = origin.url
        self._on_request = on_request
        self._client = make_client()

    def once(
        self,
        connection: Connection,
        ask: RequestSpec,
        *,
        deadline: float,
        before: Callable[[], str | None] | None = None,
    ) -> Reply:
        """Send once and wait for the whole answer until `deadline` (seconds of Clock.boot).

        Raises NotSent, SendRefused, NoAnswer, AnswerTooLarge of `connection`; never sends twice.
        """
        request = self._request(ask, Sending(connection, deadline, ask.limit, before))
        began = self._clock.boot()
        status: int | None = None
        try:
            answer = self._client.send(request, auth=None)
            status = answer.status_code
        finally:
            self._record(ask, status, self._clock.boot() - began)
        etag = answer.headers.get("etag", "")
        return Reply(
            status,
            answer.content,
            self._retry_after(answer.headers.get("retry-after")),
            etag if _ETAG.fullmatch(etag) else None,
        )

    def failure(self, ask: RequestSpec, reply: Reply, *, write: bool) -> Failure:
        """The failure that an answer other than a usable 200 means.

        A 429 to a write is unknown: Retell does not document it there, so only a read can tell.
        """
        if reply.status in REFUSALS:
            return Failure(Trouble.REJECTED, self._said(ask, reply), reply.status, reply.retry_after)
        trouble = Trouble.UNKNOWN if write else Trouble.UNREACHABLE
        if reply.status == 412 and ask.etag is not None:
            trouble = Trouble.CHANGED
        detail = f"Retell answered {reply.status} to {ask.operation}"
        return Failure(trouble, detail, reply.status, reply.retry_after)

    def _request(self, ask: RequestSpec, how: Sending) -> httpx.Request:
        """The request with its key. Raises Refused or NotSent."""
        try:
            key = self._key()
        except RolloutError as error:
            raise SendRefused(error.message) from error  # our own sentence, which says what to set
        except (OSError, ValueError) as error:
            raise SendRefused(f"the API key could not be read ({type(error).__name__})") from error
        if not _KEY.fullmatch(key):
            raise SendRefused(
                "the API key is empty or holds a character that cannot be sent; set ROLLOUT_RETELL_API_KEY"
            )
        if not _TARGET.fullmatch(ask.path):  # no space and no line end: nothing can be slipped in
            raise NotSent("the request cannot be written as HTTP")
        headers = [("Authorization", f"Bearer {key}"), *_HEADERS]
        if ask.body is not None:
            headers.append(("Content-Type", "application/json"))
        if ask.etag is not None:
            headers.append(("If-Match", ask.etag))
        return httpx.Request(
            ask.method, self._url + ask.path, headers=headers, content=ask.body, extensions=how.extensions
        )

    def _record(self, ask: RequestSpec, status: int | None, seconds: float) -> None:
        # a counter or a log that fails must not turn an answered write into an unknown one
        if logging.getLogger(_LOGGER).isEnabledFor(logging.DEBUG):  # to ask costs less than to be turned away
            with contextlib.suppress(Exception):
                number = None if ask.number is None else mask(ask.number)
                _log.debug(
                    "retell request",
                    operation=ask.operation,
                    method=ask.method,
                    number=number,
                    status=status,
                    ms=round(seconds * 1000, 1),
                )
        if self._on_request is not None:
            with contextlib.suppress(Exception):
                self._on_request(ask.operation, ask.method, status, seconds)

    def _retry_after(self, text: str | None) -> float | None:
        """Retry-After as seconds or as an HTTP date; None if there is none or it cannot be read."""
        if text is None:
            return None
        if _SECONDS.fullmatch(text.strip()):
            seconds = float(text)
        else:
            try:
                at = parsedate_to_datetime(text)
            except (ValueError, TypeError, IndexError):
                return None
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
            seconds = (at - self._clock.now()).total_seconds()
        return min(max(seconds, 0.0), LONGEST_PAUSE)

    def _said(self, ask: RequestSpec, reply: Reply) -> str:
        """Retell's own message, cut to a line of printable text, without our key if it is echoed."""
        if reply.status in (401, 403):
            return (
                f"Retell refused the API key ({reply.status}); set ROLLOUT_RETELL_API_KEY to a key of "
                "the workspace that owns the numbers"
            )
        message = ""
        with contextlib.suppress(AnswerError):
            document = parse_json(reply.body)
            if isinstance(document, dict):
                message = str(document.get("message") or document.get("error_message") or "")
        with contextlib.suppress(Exception):
            key = self._key()
            encoded = (f"Bearer {key}", key)
            for form in (*encoded, quote(key, safe=""), *(_base64(text) for text in encoded)):
                message = message.replace(form, "***")
        message = "".join(c for c in message if c.isprintable())[:200].strip()
        return f"Retell answered {reply.status} to {ask.operation}" + (f": {message}" if message else "")


def no_answer(error: httpx.TransportError, *, write: bool) -> Failure:
    """The failure of a request that had no answer: exactly NotSent is `surely not sent`."""
    unknown = write and not isinstance(error, NotSent)
    return Failure(Trouble.UNKNOWN if unknown else Trouble.UNREACHABLE, str(error))


def unusable(error: AnswerError, *, write: bool) -> Failure:
    """A 200 whose body does not show what was asked for."""
    trouble = Trouble.UNKNOWN if write else Trouble.UNREACHABLE
    return Failure(trouble, f"Retell answered 200, but {error}", 200)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
