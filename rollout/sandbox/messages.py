"""Messages in and out of a route: a request that was read, an answer to be sent, and Retell's errors.

Plain data; how the bytes travel is the connection's business.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote

NOT_FOUND_ASSET = "Cannot find requested asset under given api key."
"""Example text of the 422 answer in Retell's specification."""
BAD_REQUEST = "Invalid request format, please check API reference."
UNAUTHORIZED = "API key is missing or invalid."
NOT_FOUND = "The requested resource was not found."
PRECONDITION_FAILED = "The resource has changed since it was read."
RATE_LIMITED = "Account rate limited, please throttle your requests."
SERVER_ERROR = "An unexpected server error occurred."


class ApiError(Exception):
    """The request is answered with `status` and Retell's error body; nothing was applied."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class Request:
    """One HTTP request. `path` is percent-decoded (a `+` stays a `+`), header names are lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    peer: str

    @classmethod
    def parse(cls, method: str, target: str, headers: Mapping[str, str], body: bytes, peer: str) -> "Request":
        """From the request line; `/update-phone-number/+1...` and `%2B1...` mean the same number."""
        raw, _, query = target.partition("?")
        path = unquote(raw) if "%" in raw else raw
        return cls(
            method, path, dict(parse_qsl(query, keep_blank_values=True)) if query else {}, dict(headers), body, peer
        )

    @property
    def number(self) -> str | None:
        """The phone number that the path names, if it names one."""
        for head in ("/get-phone-number/", "/update-phone-number/"):
            if self.path.startswith(head):
                return self.path[len(head) :]
        return None


@dataclass(slots=True)
class Answer:
    """An HTTP answer, and what giving it has changed (for the log)."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    applied: dict[str, Any] | None = field(default=None)
    timestamp: int | None = None


def dump(value: Any) -> bytes:
    """Compact JSON; NaN and infinity cannot appear because they are refused on the way in."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def json_answer(value: Any, status: int = 200) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, dump(value))


def error_answer(status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Retell's error body: `{"status": "error", "message": ...}` (its OpenAPI document)."""
    return Answer(status, dump({"status": "error", "message": message}), headers=headers)


def _refuse_constant(name: str) -> Any:
    raise ApiError(400, f"{BAD_REQUEST} The body is not JSON: {name} is not a JSON number.")


def read_object(body: bytes, *, required: bool = False) -> dict[str, Any]:
    """The body as a JSON object, fractions as Decimal so that sums are exact; empty is `{}`.

    Raises ApiError 400 for anything else.
    """
    if not body:
        if required:
            raise ApiError(400, f"{BAD_REQUEST} The body is empty: send a JSON object.")
        return {}
    try:
        value = json.loads(body.decode(), parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"{BAD_REQUEST} The body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ApiError(400, f"{BAD_REQUEST} The body is not a JSON object.")
    return value


def plain(value: Any) -> Any:
    """The same JSON value with floats instead of Decimals, ready to be written out again."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
