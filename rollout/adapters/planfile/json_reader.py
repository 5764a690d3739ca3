"""JSON -> values with their places; repeated keys, NaN, depth and huge numbers are refused."""

from __future__ import annotations

import json
import re
from bisect import bisect_right

from rollout.adapters.planfile.text_positions import MAX_DEPTH, MAX_VALUES, Node, TextError, number


class JsonParser:
    """A descent over the structure; the standard library reads the scalars."""

    _SPACE = re.compile(r"[ \t\r\n]*")
    _NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.values = 0
        self.decoder = json.JSONDecoder()

    def place(self, at: int) -> tuple[int, int]:
        line = bisect_right(self.lines, at)
        return line, at - self.lines[line - 1] + 1

    def error(self, at: int, problem: str, advice: str) -> TextError:
        return TextError(*self.place(at), problem, advice)

    def document(self) -> Node:
        start = self.skip(0)
        if start == len(self.text):
            return Node(1, 1)
        node, at = self.value(start, 0)
        if at != len(self.text):
            raise self.error(at, "broken JSON: text after the end", "write one plan per file")
        return node

    def skip(self, at: int) -> int:
        match = self._SPACE.match(self.text, at)
        return match.end() if match else at

    def value(self, at: int, depth: int) -> tuple[Node, int]:
        """The value that begins at `at`, and where the next token begins."""
        node = Node(*self.place(at))
        self.values += 1
        if self.values > MAX_VALUES:
            raise self.error(at, f"more than {MAX_VALUES} values", "write several plans")
        first = self.text[at : at + 1]
        if first in ("{", "["):
            if depth >= MAX_DEPTH:
                raise self.error(at, f"more than {MAX_DEPTH} levels deep", "nest it less")
            node.value = {} if first == "{" else []
            return node, self.members(node, at + 1, "}" if first == "{" else "]", depth + 1)
        if match := self._NUMBER.match(self.text, at):
            node.value = number(match[0], node.line, node.column)
            return node, self.skip(match.end())
        for word, meaning in (("true", True), ("false", False), ("null", None)):
            if self.text.startswith(word, at):
                node.value = meaning
                return node, self.skip(at + len(word))
        if self.text.startswith(("NaN", "Infinity", "-Infinity"), at):
            raise self.error(at, "NaN and Infinity are not JSON", "write a finite number")
        node.value, end = self.string(at, "a value")
        return node, self.skip(end)

    def string(self, at: int, what: str) -> tuple[str, int]:
        if self.text[at : at + 1] != '"':
            found = self.text[at : at + 1]
            seen = f"found {found}" if found.isprintable() and found else "the text ends" if not found else "found ?"
            raise self.error(at, f"broken JSON: {what} should begin here, {seen}", "check commas, quotes and brackets")
        try:
            value, end = self.decoder.raw_decode(self.text, at)
        except json.JSONDecodeError as error:
            raise self.error(error.pos, f"broken JSON: {error.msg}", "check quotes and escapes") from error
        return str(value), end

    def members(self, node: Node, at: int, close: str, depth: int) -> int:
        at = self.skip(at)
        if self.text.startswith(close, at):
            return self.skip(at + 1)
        while True:
            if close == "}":
                line, column = self.place(at)
                key, end = self.string(at, "a key in double quotes")
                if key in node.keys:
                    raise self.error(
                        at, f"the key {key} is given twice, first on line {node.keys[key][0]}", "keep one of them"
                    )
                node.keys[key] = (line, column)
                at = self.skip(end)
                if not self.text.startswith(":", at):
                    raise self.error(at, "broken JSON: a colon should be here", "write a colon after the key")
                node.value[key], at = self.value(self.skip(at + 1), depth)
            else:
                item, at = self.value(at, depth)
                node.value.append(item)
            if self.text.startswith(close, at):
                return self.skip(at + 1)
            if not self.text.startswith(",", at):
                raise self.error(at, f"broken JSON: a comma or {close} should be here", "check commas and brackets")
            at = self.skip(at + 1)
