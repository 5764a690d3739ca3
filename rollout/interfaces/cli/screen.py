"""Text for people: tables, times in the reader's zone, and no control characters."""

from __future__ import annotations

import codecs
import io
import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rollout.domain.one_line import in_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions
    from rich.text import Text

PHASES = {
    "pending": "dim",
    "progressing": "cyan",
    "paused": "yellow",
    "held": "bold red",
    "promoted": "green",
    "rolling_back": "bold magenta",
    "rolled_back": "magenta",
    "stopped": "dim",
}


def plain(text: object) -> str:
    """Text as one line, without control and direction characters: names come from plans, and from Retell."""
    return in_one_line(str(text), "?")


def plain_lines(text: object) -> str:
    """As `plain`, and our own line ends stay."""
    return "\n".join(plain(line) for line in str(text).split("\n"))


# What our own text is made of beyond ASCII, for a terminal that cannot show it; the bars grow darker.
_INSTEAD = {
    "…": "...",
    "\N{EN DASH}": "-",
    "—": "-",
    "→": "->",
    "─": "-",
    "•": "*",
    "±": "+-",
    **dict(zip("▁▂▃▄▅▆▇█", "_.-=+*%#", strict=True)),
}


def _instead(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_INSTEAD.get(character, "?") for character in text), error.end


def write_what_can_be_written() -> None:
    """Make both outputs replace what their encoding has no character for, instead of failing."""
    codecs.register_error("rollout-instead", _instead)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="rollout-instead")


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print as it is, on standard output or standard error."""
    print(text, end="\n" if nl else "", file=sys.stderr if err else sys.stdout, flush=True)


def json_text(value: Any, indent: int | None = 2) -> str:
    """The stable machine form: UTF-8, and escaped where standard output is anything else or could not hold it."""
    from rollout.adapters.telemetry.logs import is_utf8

    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(value, indent=indent)
    return text if is_utf8(sys.stdout) else json.dumps(value, indent=indent)


@lru_cache(maxsize=2)
def console(stderr: bool = False) -> Console:
    """rich on this terminal; plain text when it is none, or NO_COLOR is set, and then nothing is wrapped."""
    from rich.console import Console

    seen = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=not seen)


def local(text: str | None) -> str:
    """A UTC time of the JSON form, in the reader's zone."""
    if not text:
        return "-"
    moment = datetime.fromisoformat(text).astimezone()
    today = datetime.fromtimestamp(_now().timestamp(), moment.tzinfo).date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%a %d %b %H:%M")


def span(text: str | None) -> str:
    """The distance of a time from now: `in 4 min`, `2 h ago`."""
    if not text:
        return "-"
    seconds = (datetime.fromisoformat(text) - _now()).total_seconds()
    size = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if size >= length:
            return f"in {size / length:.0f} {unit}" if seconds > 0 else f"{size / length:.0f} {unit} ago"
    return "now"


def _now() -> datetime:
    from rollout.adapters.clock import SystemClock

    return SystemClock().now().astimezone(UTC)


@dataclass
class Table:
    """Rows for people to read. Nothing is ever cut.

    Not on a terminal: one row is one line. On a terminal that is too narrow for that, the columns of `keys`, and
    as many others as fit, stay on a row's first line; the rest follows below it with its names, by words.
    """

    columns: tuple[str, ...]
    keys: frozenset[str]
    rows: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def add_row(self, *cells: str, style: str | None = None) -> None:
        """One cell for each column. A line's end in a cell becomes a space."""
        self.rows.append((tuple(" ".join(cell.split()) for cell in cells), style or ""))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Called by rich."""
        from rich.text import Text

        width = options.max_width if not console.soft_wrap else sys.maxsize
        widths, first = self._first_line(width)
        yield Text(_line([self.columns[i] for i in first], [widths[i] for i in first]), "bold")
        for cells, style in self.rows:
            yield Text(_line([cells[i] for i in first], [widths[i] for i in first]), style)
            rest = [
                f"{self.columns[i]}: {cells[i]}"
                for i in range(len(cells))
                if i not in first and cells[i] not in ("", "-")
            ]
            for line in _folded(rest, width - 2):
                yield Text(f"  {line}", style)

    def _first_line(self, width: int) -> tuple[list[int], list[int]]:
        """The width of every column, and the columns of the first line: the keys, and others in order that fit."""
        from rich.cells import cell_len

        widths = [
            max(cell_len(text) for text in (name, *(cells[i] for cells, _ in self.rows)))
            for i, name in enumerate(self.columns)
        ]
        keys = {i for i, name in enumerate(self.columns) if name in self.keys}
        left = width - sum(widths[i] + len(GAP) for i in keys) + len(GAP)
        first = set(keys)
        for i in range(len(self.columns)):
            if i in keys:
                continue
            left -= widths[i] + len(GAP)
            if left < 0:
                break
            first.add(i)
        return widths, sorted(first)


GAP = "  "


def table(*columns: str, keys: tuple[str, ...]) -> Table:
    """An empty table; the columns of `keys` are what one copies and compares."""
    return Table(columns, frozenset(keys))


def _line(cells: list[str], widths: list[int]) -> str:
    from rich.cells import cell_len

    padded = (c + " " * (w - cell_len(c)) for c, w in zip(cells, widths, strict=True))
    return GAP.join(padded).rstrip()


def _folded(parts: list[str], width: int) -> Iterator[str]:
    """The parts one after the other, on lines of this width; broken between words, and never inside of one."""
    from rich.cells import cell_len

    line = ""
    for part in parts:
        for i, word in enumerate(part.split(" ")):
            gap = "" if not line else " " if i else GAP
            if line and cell_len(line) + len(gap) + cell_len(word) > width:
                yield line
                line, gap = "", ""
            line += gap + word
    if line:
        yield line


def staircase(document: dict[str, Any], width: int = 3) -> str:
    """The plan's steps as bars, the position in brackets: `▁ [▄] █`."""
    bars = "▁▂▃▄▅▆▇█"
    steps = document.get("plan", {}).get("steps", [])
    current = document["position"]["step"]
    parts = []
    for i, step in enumerate(steps, 1):
        share = step.get("weight") or sum((step.get("weights") or {}).values())
        bar = bars[min(7, max(0, round(share * 8) - 1))] * width
        parts.append(f"[{bar}]" if i == current else f" {bar} ")
    return "".join(parts)


def percent(weight: float | None) -> str:
    """`12.5 %` of 0.125."""
    return "-" if weight is None else f"{weight * 100:g} %"


def split_text(lists: dict[str, Any] | None) -> str:
    """A number's lists in words."""
    from rollout.domain.splits.splits import describe

    if not lists:
        return "-"
    if len(lists) == 1:
        return plain(describe(next(iter(lists.values()))))
    return plain("; ".join(f"{field.removesuffix('_agents')}: {describe(v)}" for field, v in lists.items()))
