"""Request bodies, beyond strict JSON: bounded depth and numbers, no lone surrogates, no NUL."""

from __future__ import annotations

import math
from typing import Any

from rollout.domain.errors import InputError
from rollout.domain.strict_json import Fault, JsonFault, parse

MAX_DEPTH = 32
MAX_DIGITS = 30
_LARGEST = 10**MAX_DIGITS
_TOO_DEEP = f"the body is nested deeper than {MAX_DEPTH} levels; nest it less"
_TOO_LONG = f"a number with more than {MAX_DIGITS} digits is too large; write a smaller one"


def read_json(raw: bytes) -> Any:
    """The JSON document in a body; InputError for anything else."""
    try:
        document = parse(raw)
    except JsonFault as error:
        raise InputError(_words(error)) from None
    except ValueError:
        raise InputError(_TOO_LONG) from None
    _walk(document)
    return document


def _words(error: JsonFault) -> str:
    return {
        Fault.ENCODING: f"the body is not UTF-8 text {error.what}; send UTF-8",
        Fault.SYNTAX: f"the body is not JSON {error.what}; check commas, quotes and brackets",
        Fault.DEPTH: _TOO_DEEP,
        Fault.TWICE: f"{error.what[:60]!r} is written twice in one object; write it once",
        Fault.CONSTANT: f"{error.what} is not a JSON number; write a finite one",
    }[error.fault]


def _walk(document: Any) -> None:
    """Without recursion: depth, and texts and numbers that the database cannot hold."""
    left: list[tuple[Any, int]] = [(document, 1)]
    while left:
        value, depth = left.pop()
        if isinstance(value, str):
            if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
                raise InputError("a text has a NUL or half a surrogate pair in it; take it out")
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError("a number is too large; write a smaller one")
        if isinstance(value, int) and abs(value) >= _LARGEST:
            raise InputError(_TOO_LONG)
        if not isinstance(value, dict | list):
            continue
        if depth > MAX_DEPTH:
            raise InputError(_TOO_DEEP)
        if isinstance(value, dict):
            left += [(k, depth) for k in value]
            left += [(v, depth + 1) for v in value.values()]
        else:
            left += [(v, depth + 1) for v in value]
