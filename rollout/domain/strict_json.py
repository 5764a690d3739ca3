"""JSON from others, read strictly: one document in UTF-8, each key once in its object, no NaN and no infinity.

Callers word their own errors: `JsonFault.fault` tells them what was wrong.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """The fault of a text that is refused."""

    ENCODING = "encoding"  # not UTF-8
    SYNTAX = "syntax"
    DEPTH = "depth"
    TWICE = "twice"  # a key comes twice in one object
    CONSTANT = "constant"  # NaN, Infinity


class JsonFault(ValueError):
    """A text that is not taken. `what`: the key, the constant, or what is wrong, and where (from 1; bytes from 0)."""

    def __init__(self, fault: Fault, what: str = "") -> None:
        super().__init__(f"{fault}: {what}")
        self.fault, self.what = fault, what


def parse(raw: bytes | str) -> Any:
    """The document. Raises JsonFault, and ValueError for an integer of thousands of digits."""
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8")
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise JsonFault(Fault.ENCODING, f"at byte {error.start}") from None
    except RecursionError:
        raise JsonFault(Fault.DEPTH) from None
    except json.JSONDecodeError as error:
        raise JsonFault(Fault.SYNTAX, f"at line {error.lineno}, column {error.colno}: {error.msg}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonFault(Fault.TWICE, key)
            seen.add(key)
    return found


def _constant(name: str) -> Any:
    raise JsonFault(Fault.CONSTANT, name)
