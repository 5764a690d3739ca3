"""A plan's text with some keys changed, and everything else as its author wrote it: comments, order, spelling."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollout.adapters.planfile.text_positions import Node, TextError
from rollout.adapters.planfile.yaml_reader import read_yaml

# words, durations, days and times: text without quotes wherever it stands
_PLAIN = re.compile(
    r"[A-Za-z_][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*|(?:[0-9]+[dhms])+|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:+.-]+Z?)?",
    re.ASCII,
)
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_WIDTH = 101  # with the end of the line


@dataclass(slots=True)
class _Block:
    """One top-level key with its lines; `after` are the blank lines and comments before the next key."""

    key: str
    lines: list[str]
    after: list[str] = field(default_factory=list)


def written(key: str, value: Any, indent: str = "") -> list[str]:
    """The lines of one key as people write plans: short values and the entries of lists on one line each."""
    name = f"{indent}{on_one_line(key)}:"
    is_list = isinstance(value, list)
    line = f"{name} {on_one_line(value)}\n"
    if len(line) <= _WIDTH and not (is_list and any(isinstance(entry, Mapping) for entry in value)):
        return [line]
    if is_list and value:
        return [f"{name}\n", *(f"{indent}  - {on_one_line(entry)}\n" for entry in value)]
    if isinstance(value, Mapping) and value:
        return [f"{name}\n", *(line for k, v in value.items() for line in written(k, v, indent + "  "))]
    return [line]


def on_one_line(value: Any) -> str:
    """A value as YAML on a single line; what could be read as anything but text is quoted."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{on_one_line(key)}: {on_one_line(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(on_one_line, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def from_one_line(text: str) -> Any:
    """The value that `on_one_line` wrote; the text itself where it is no YAML."""
    try:
        return read_yaml(text).plain()
    except TextError:
        return text


def edited(text: str, root: Node, changes: Mapping[str, Any], order: Sequence[str]) -> str:
    """The text with these top-level keys changed, None for those to leave out. `root` is what it was read as.

    A new key goes behind those that come before it in `order`. Only blocks of YAML can be changed in place; any
    other text is rewritten as a whole, JSON as JSON.
    """
    before = root.plain()
    merged = {**before, **changes}
    ranks = {key: rank for rank, key in enumerate(order)}
    wanted = {key: value for key, value in merged.items() if value is not None or key not in changes}
    if wanted == before:
        return text
    if text.lstrip().startswith("{"):
        return json.dumps(wanted, indent=2, ensure_ascii=False) + "\n"
    made = _in_place(text, root, changes, ranks)
    try:
        if read_yaml(made).plain() == wanted:
            return made
    except TextError:
        pass  # a spelling that cannot be cut at its keys
    in_order = sorted(wanted.items(), key=lambda item: ranks.get(item[0], len(ranks)))
    return "".join(line for key, value in in_order for line in written(key, value))


def _in_place(text: str, root: Node, changes: Mapping[str, Any], ranks: Mapping[str, int]) -> str:
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    starts = [(line - 1, key) for key, (line, _) in root.keys.items()]
    head = lines[: starts[0][0]] if starts else lines
    ends = [*(start for start, _ in starts[1:]), len(lines)]
    blocks = [_block(key, lines[start:end]) for (start, key), end in zip(starts, ends, strict=True)]
    for key, value in changes.items():
        at = next((i for i, block in enumerate(blocks) if block.key == key), None)
        if at is not None and value is None:
            removed = blocks.pop(at)
            kept = [line for line in removed.after if line.strip()]
            (blocks[at - 1].after if at else head).extend(kept)
        elif at is not None and blocks[at].key in root.keys and root.value[key].plain() != value:
            blocks[at].lines = written(key, value)
        elif at is None and value is not None:
            rank = ranks.get(key, len(ranks))
            earlier = [i for i, block in enumerate(blocks) if ranks.get(block.key, len(ranks)) < rank]
            place = earlier[-1] + 1 if earlier else 0
            blocks.insert(place, _Block(key, written(key, value)))
    return "".join([*head, *(line for block in blocks for line in (*block.lines, *block.after))])


def _block(key: str, lines: list[str]) -> _Block:
    end = len(lines)
    while end > 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return _Block(key, lines[:end], lines[end:])
