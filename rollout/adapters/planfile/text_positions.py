"""Values that remember their place in a text, and the limits on such texts."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_VALUES = 30_000  # keys and values together; the largest plan has 20 000 numbers
INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)


class TextError(Exception):
    """The text is no YAML or JSON of the kind we read. Line and column count from 1."""

    def __init__(self, line: int, column: int, problem: str, advice: str) -> None:
        super().__init__(f"{line}:{column}: {problem}; {advice}")
        self.line, self.column, self.problem, self.advice = line, column, problem, advice


@dataclass(slots=True)
class Node:
    """A value at its place. For a mapping `keys` has the place of each key."""

    line: int
    column: int
    value: Any = None  # scalar, dict[str, Node] or list[Node]
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def number(text: str, line: int, column: int) -> int | float:
    """A number without surprises: no octal, no infinity, no thousands of digits."""
    if INT.fullmatch(text):
        digits = text.lstrip("+-")
        if len(digits) > 18:
            raise TextError(line, column, "the number has more than 18 digits", "put it in quotes if it is text")
        if len(digits) > 1 and digits.startswith("0"):
            raise TextError(
                line, column, f"{text} can be read in two ways", f'write {int(digits)}, or "{text}" in quotes'
            )
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise TextError(line, column, "the number is too large", "write a finite number")
    return value
