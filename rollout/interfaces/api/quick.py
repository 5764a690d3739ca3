"""The short way of what comes most often: answered at the doors, without a walk through the framework.

`@quick(read)` says how a plain read is answered: who asks, and the answer, in one visit to the database. `read`
gets the request and returns the work, or None for whatever is not plain (odd parameters, mistakes): that goes
the long way, which also words the complaints. `@posted(post)` is the same for what comes with a JSON body,
`@direct` for an endpoint that needs nothing but the request. Rights, limits and tokens are checked by the same
code on every way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import parse_qsl

from fastapi import Request

from rollout.interfaces.api.service import ApiService
from rollout.interfaces.auth.roles import Caller

Work = Callable[[ApiService, Caller], bytes]
Read = Callable[[Request], Work | None]
Post = Callable[[Request, object], Work | None]
E = TypeVar("E", bound=Callable[..., object])

_ID = re.compile(r"[^\x00-\x1f\x7f]{1,80}")
_NUMBER = re.compile(r"[0-9]{1,10}")
_FLAGS = {"true": True, "false": False}


def quick(read: Read, media_type: str = "application/json") -> Callable[[E], E]:
    """Marks an endpoint with its short way."""

    def mark(endpoint: E) -> E:
        endpoint.way = "quick"  # type: ignore[attr-defined]
        endpoint.quick = (read, media_type)  # type: ignore[attr-defined]
        return endpoint

    return mark


def direct(endpoint: E) -> E:
    """Marks an endpoint that takes only the request and is public or signed: it is called as it is."""
    endpoint.way = "direct"  # type: ignore[attr-defined]
    return endpoint


def posted(post: Post) -> Callable[[E], E]:
    """Marks an endpoint that takes a JSON object with its short way: `post` gets the request and the document."""

    def mark(endpoint: E) -> E:
        endpoint.way = "posted"  # type: ignore[attr-defined]
        endpoint.posted = post  # type: ignore[attr-defined]
        return endpoint

    return mark


def id_of(request: Request) -> str | None:
    """The rollout's id or name in the path; None when it is none."""
    found = str(request.path_params["id"])
    return found if _ID.fullmatch(found) else None


def plain(
    request: Request, numbers: Mapping[str, tuple[int, int]], flags: tuple[str, ...] = ()
) -> dict[str, int] | None:
    """The query's whole numbers within their bounds and its true or false; None when anything else is there."""
    query = request.scope["query_string"]
    if not query:
        return {}
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    found: dict[str, int] = {}
    for name, value in pairs:
        if name in found:
            return None
        if name in flags and value in _FLAGS:
            found[name] = _FLAGS[value]
        elif name in numbers and _NUMBER.fullmatch(value):
            low, high = numbers[name]
            if not low <= int(value) <= high:
                return None
            found[name] = int(value)
        else:
            return None
    return found
