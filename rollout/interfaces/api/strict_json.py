"""JSON from strangers: no repeated keys, no NaN or infinity, no lone surrogates, no NUL, bounded depth."""

from __future__ import annotations

import json
import math
from typing import Any

from rollout.domain.errors import InputError

MAX_DEPTH = 32
MAX_DIGITS = 30


def read_json(raw: bytes) -> Any:
    """The document in a body; InputError says what is wrong with it."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"the body is not UTF-8 text at byte {error.start}") from None
    try:
        document = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_number
        )
    except RecursionError:
        raise InputError(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise InputError(f"the body is not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    _walk(document)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise InputError(f"{twice[:60]!r} is written twice in one object; write it once")
    return found


def _constant(name: str) -> Any:
    raise InputError(f"{name} is no JSON number")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise InputError(f"a number with more than {MAX_DIGITS} digits is too large")
    return int(text)


def _number(text: str) -> float:
    value = float(text) if len(text) <= 400 else math.inf
    if not math.isfinite(value):
        raise InputError("a number is too large or has too many digits")
    return value


def _walk(document: Any) -> None:
    """Without recursion: depth, and text that the database cannot hold."""
    left: list[tuple[Any, int]] = [(document, 1)]
    while left:
        value, depth = left.pop()
        if isinstance(value, str):
            if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
                raise InputError("a text has a NUL or half a surrogate pair in it; take it out")
            continue
        if not isinstance(value, dict | list):
            continue
        if depth > MAX_DEPTH:
            raise InputError(f"the body is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            left += [(k, depth) for k in value]
            left += [(v, depth + 1) for v in value.values()]
        else:
            left += [(v, depth + 1) for v in value]
