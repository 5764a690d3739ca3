"""YAML 1.2 -> values with their places. Built from the parser's events, not by its constructors: nothing
is instantiated, and depth, aliases, tags and repeated keys are refused as they are met."""

from __future__ import annotations

import re

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from rollout.adapters.planfile.text_positions import FLOAT, INT, MAX_DEPTH, MAX_VALUES, Node, TextError, number

_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def read_yaml(text: str) -> Node:
    """The tree of a YAML text; TextError for what cannot be read."""
    try:
        return _build(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = " ".join(str(error.problem or error.context).split())
        advice = "check indentation, quotes and brackets here and on the line above"
        if "\\t" in problem or "\t" in problem:
            advice = "indent with spaces, not with tabs"
        raise TextError(line, column, f"broken YAML: {problem}", advice) from error
    except YAMLError as error:  # characters that YAML forbids; the reader knows no line
        position = getattr(error, "position", 0) or 0
        before = text[:position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise TextError(
            line, column, "a character that YAML does not allow", "remove it, or escape it in double quotes"
        ) from error


def _build(text: str) -> Node:
    tree = _Tree()
    documents = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise TextError(line, column, "a second YAML document begins", "write one plan per file")
            if event.version or event.tags:
                raise TextError(line, column, "a % directive is given", "leave it out; plans are YAML 1.2")
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            tree.leave()
        elif isinstance(event, NodeEvent):
            _refuse_tricks(event, line, column)
            tree.add(event, line, column)
    return tree.root or Node(1, 1)


class _Tree:
    """A document as it is read: the mappings and lists that are open, innermost last."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Node] = []
        self._keys: list[str | None] = []  # for each open mapping the key that waits for its value
        self._count = 0

    def leave(self) -> None:
        """Close the innermost mapping or list."""
        self._open.pop()
        self._keys.pop()

    def add(self, event: NodeEvent, line: int, column: int) -> None:
        """Add a key, or a value in its place. TextError for a document that is too long or too deep."""
        self._count += 1
        if self._count > MAX_VALUES:
            raise TextError(line, column, f"more than {MAX_VALUES} keys and values", "write several plans")
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.value, dict) and self._keys[-1] is None:
            self._keys[-1] = _key(event, parent, line, column)
            return
        if parent is not None and isinstance(event, ScalarEvent) and not event.style and not event.value:
            # Nothing stands there: it gets its key's place.
            line, column = parent.keys.get(str(self._keys[-1]), (line, column))
        node = _node(event, line, column)
        self._put(parent, node)
        if isinstance(node.value, dict | list):
            self._open.append(node)
            self._keys.append(None)
            if len(self._open) > MAX_DEPTH:
                raise TextError(line, column, f"more than {MAX_DEPTH} levels deep", "nest it less")

    def _put(self, parent: Node | None, node: Node) -> None:
        if parent is None:
            self.root = node
        elif isinstance(parent.value, dict):
            parent.value[str(self._keys[-1])] = node
            self._keys[-1] = None
        else:
            parent.value.append(node)


def _refuse_tricks(event: NodeEvent, line: int, column: int) -> None:
    if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
        sign = "*" if isinstance(event, AliasEvent) else "&"
        raise TextError(line, column, f"an anchor or alias ({sign}{str(event.anchor)[:40]})", "write the value out")
    tag = getattr(event, "tag", None)
    if tag is not None:
        raise TextError(line, column, f"a tag ({str(tag)[:40]})", "leave it out; write the plain value")


def _key(event: Event, parent: Node, line: int, column: int) -> str:
    if not isinstance(event, ScalarEvent):
        raise TextError(line, column, "a key that is a list or a mapping", "write text as the key")
    key = str(event.value)
    if not event.style:
        if key == "<<":
            raise TextError(line, column, "a merge key (<<)", "write the keys out")
        if key in _WORDS or INT.fullmatch(key) or FLOAT.fullmatch(key):
            raise TextError(line, column, f"the key {key or 'null'} is not text", f'put it in quotes: "{key}"')
    if key in parent.keys:
        first = parent.keys[key][0]
        raise TextError(line, column, f"the key {key} is given twice, first on line {first}", "keep one of them")
    parent.keys[key] = (line, column)
    return key


def _node(event: Event, line: int, column: int) -> Node:
    if isinstance(event, MappingStartEvent):
        return Node(line, column, {})
    if isinstance(event, SequenceStartEvent):
        return Node(line, column, [])
    assert isinstance(event, ScalarEvent)
    text = str(event.value)
    if event.style:
        return Node(line, column, text)
    if text in _WORDS:
        return Node(line, column, _WORDS[text])
    if _NO_NUMBER.fullmatch(text):
        raise TextError(line, column, f"{text} is not a finite number", "write a finite number")
    if INT.fullmatch(text) or FLOAT.fullmatch(text):
        return Node(line, column, number(text, line, column))
    return Node(line, column, text)
