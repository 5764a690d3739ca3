"""The request of a route, and how it reads a body, a number and a page's place from it."""

from dataclasses import dataclass
from typing import Any

from rollout.sandbox.messages import BAD_REQUEST, Answer, ApiError, Request, dump, read_object

BEFORE_LAST = float("-inf")
"""As a time to look back to: each number as it was before its last change."""


@dataclass(slots=True)
class RouteRequest:
    """The request that a route answers."""

    request: Request
    now: float
    """Seconds of the sandbox's clock."""
    argument: str = ""
    """The last part of the path, for routes that take one."""
    seq: int | None = None
    as_of: float | None = None
    """Stale read: show the state of this time, or `BEFORE_LAST`."""
    pretend: bool = False
    """Lying write: answer as if it had been applied, and apply nothing."""


def whole(text: str | None) -> int | None:
    """A number of at most nine digits; None for anything else."""
    return int(text) if text is not None and len(text) < 10 and text.isascii() and text.isdigit() else None


def json_body(request: Request) -> dict[str, Any]:
    """The body, which must be declared as JSON: a server that skips other types would apply nothing."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.body and kind != "application/json":
        raise ApiError(400, f"{BAD_REQUEST} Send Content-Type: application/json.")
    return read_object(request.body, required=request.method == "PATCH")


def paged(request: Request, items: list[tuple[int, dict[str, Any]]]) -> Answer:
    """One page of items with a rising order number, by limit, sort_order and pagination_key of the query."""
    limit = whole(request.query.get("limit", "50"))
    if limit is None or not 1 <= limit <= 1000:
        raise ApiError(400, f"{BAD_REQUEST} limit must be an integer from 1 to 1000.")
    order = request.query.get("sort_order", "descending")
    if order not in ("ascending", "descending"):
        raise ApiError(400, f"{BAD_REQUEST} sort_order must be ascending or descending.")
    descending = order == "descending"
    rest = sorted(items, key=lambda item: item[0], reverse=descending)
    if "pagination_key" in request.query:
        key = whole(request.query["pagination_key"])
        if key is None:
            raise ApiError(400, f"{BAD_REQUEST} pagination_key is not one that was given out.")
        rest = [item for item in rest if (item[0] < key if descending else item[0] > key)]
    answer: dict[str, Any] = {"items": [shown for _, shown in rest[:limit]], "has_more": len(rest) > limit}
    if len(rest) > limit:
        answer["pagination_key"] = str(rest[limit - 1][0])
    return Answer(200, dump(answer))
