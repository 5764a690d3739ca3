"""Values that the rules and the adapter of Retell exchange: readings, orders and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Reading:
    """One phone number as Retell showed it.

    `lists` holds those of the four agent lists that were present in the answer, verbatim;
    `modified` is last_modification_timestamp in milliseconds; `others` is a digest of every other
    visible field, to tell a change of the lists from a change of, say, the nickname.
    """

    number: str
    lists: Mapping[str, list[dict[str, Any]] | None]
    modified: int
    others: str
    nickname: str | None = None
    inbound_webhook_url: str | None = None
    inbound_sms_webhook_url: str | None = None
    etag: str | None = field(default=None, compare=False)
    """The answer's ETag, where Retell sent one with this number alone; a list has none."""


class Trouble(StrEnum):
    """The kind of failure of a request, by what the caller must do."""

    CHANGED = "changed"  # 412: the number has changed since it was read, and the write was not applied
    REJECTED = "rejected"  # 400, 401, 403, 404, 422: Retell refused; a retry changes nothing
    UNREACHABLE = "unreachable"  # no byte of the request was sent, or a read got no usable answer
    UNKNOWN = "unknown"  # a write that may have happened, or may still happen


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that failed, as a value. `status` is None when there was no answer."""

    trouble: Trouble
    detail: str
    status: int | None = None
    retry_after: float | None = None  # seconds, as Retell asked

    @property
    def key_refused(self) -> bool:
        """True if Retell refuses the API key."""
        return self.status in (401, 403)

    @property
    def number_unknown(self) -> bool:
        """True if Retell does not know the number that the request was about."""
        return self.trouble is Trouble.REJECTED and self.status in (404, 422)


@dataclass(frozen=True, slots=True)
class Order:
    """One PATCH to send: the exact JSON text of its body, as recorded in the intent.

    `etag`: Retell must apply it only if the number still has this ETag (`If-Match`).
    """

    number: str
    body: str
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one Order: a 200 with what it showed, or a failure."""

    status: int | None
    shown: Reading | None = None
    failure: Failure | None = None
