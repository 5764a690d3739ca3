"""Mutants of one module: places in its text where one small change makes a different program."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
}
_CALLS = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: bytes `start` to `end` of `file` replaced by `text`.

    `line` counts from 1; `statement` is the first line of the statement that the change is in.
    """

    file: str
    line: int
    statement: int
    start: int
    end: int
    before: str
    text: str
    kind: str

    def __str__(self) -> str:
        before, after = (" ".join(text.split())[:80] for text in (self.before, self.text))
        return f"{self.file}:{self.line} {self.kind}: {before} -> {after}"

    def apply(self, source: bytes) -> bytes:
        """The module's text with this change."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def compiles(self, source: bytes) -> bool:
        """Whether the module is still Python; one that is not would be killed by any test."""
        try:
            compile(self.apply(source), self.file, "exec", dont_inherit=True)
        except SyntaxError:
            return False
        return True


def mutants_of(file: str, source: bytes) -> list[Mutant]:
    """Every mutant of a module, in the order of its text."""
    tree = ast.parse(source)
    text, idle, statements = _Text(source), _idle(tree), _statements(tree)
    found = [
        Mutant(file, node.lineno, statements[id(node)], start, end, source[start:end].decode(), new, kind)
        for node in ast.walk(tree)
        if isinstance(node, ast.expr | ast.stmt) and id(node) not in idle
        for start, end, new, kind in _changes(node, text)
    ]
    return sorted(found, key=lambda m: (m.start, m.end, m.text))


class _Text:
    """A module's bytes, found by what the parser says of their lines and columns."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._starts = [0]
        for row in source.split(b"\n"):
            self._starts.append(self._starts[-1] + len(row) + 1)

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """The first byte of a node and the one behind its last."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def __getitem__(self, span: slice) -> str:
        return self._source[span].decode()

    def between(self, left: ast.expr, right: ast.expr, word: str) -> tuple[int, int] | None:
        """The span of an operator between its operands; None where a comment makes it hard to find."""
        (_, start), (end, _) = self.span(left), self.span(right)
        gap = self[start:end]
        if gap.translate(_BLANKS).split() != word.split():
            return None
        first, last = word.split()[0], word.split()[-1]
        return (
            start + len(gap[: gap.index(first)].encode()),
            start + len(gap[: gap.rindex(last) + len(last)].encode()),
        )


_BLANKS = str.maketrans("()\n", "   ")


def _changes(node: ast.expr | ast.stmt, text: _Text) -> Iterator[tuple[int, int, str, str]]:
    if isinstance(node, ast.Compare):
        for operator, (left, right) in zip(node.ops, pairwise([node.left, *node.comparators]), strict=True):
            word, other = _COMPARISONS[type(operator)]
            yield from _swapped(text, left, right, word, other, "comparison")
    elif isinstance(node, ast.BoolOp):
        word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in pairwise(node.values):
            yield from _swapped(text, left, right, word, other, "and/or")
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and not _is_text(node):
        word, other = _ARITHMETIC[type(node.op)]
        yield from _swapped(text, node.left, node.right, word, other, "arithmetic")
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
        word, other = _ARITHMETIC[type(node.op)]
        yield from _swapped(text, node.target, node.value, f"{word}=", f"{other}=", "arithmetic")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        start, _ = text.span(node)
        yield start, start + len("not"), "", "not"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        yield (*text.span(node.func), _CALLS[node.func.id], "call")
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield (*text.span(node), str(not node.value), "constant")
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield (*text.span(node), str(node.value + 1), "constant")
    elif isinstance(node, ast.IfExp | ast.If | ast.While):
        yield from _instead(text, node.test, "True or", "condition")
        yield from _instead(text, node.test, "False and", "condition")
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield from _instead(text, node.value, "None and", "return")
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield from _instead(text, node, "None and", "statement")


def _instead(text: _Text, node: ast.expr | ast.Expr, word: str, kind: str) -> Iterator[tuple[int, int, str, str]]:
    """Puts a constant in place of an expression that is never evaluated then, but still names its variables."""
    start, end = text.span(node)
    yield start, end, f"{word} ({text[start:end]})", kind


def _swapped(
    text: _Text, left: ast.expr, right: ast.expr, word: str, other: str, kind: str
) -> Iterator[tuple[int, int, str, str]]:
    if (span := text.between(left, right, word)) is not None:
        yield (*span, other, kind)


def _statements(tree: ast.AST) -> dict[int, int]:
    """The first line of the statement that each node is in."""
    found: dict[int, int] = {}

    def visit(node: ast.AST, line: int) -> None:
        line = node.lineno if isinstance(node, ast.stmt) else line
        found[id(node)] = line
        for child in ast.iter_child_nodes(node):
            visit(child, line)

    visit(tree, 1)
    return found


def _idle(tree: ast.AST) -> set[int]:
    """The nodes that do nothing when the program runs, or only tell the type checker what it cannot see."""
    roots: list[ast.AST | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)]
            roots += [node.returns, *(arg.annotation for arg in arguments)]
        elif isinstance(node, ast.AnnAssign):
            roots.append(node.annotation)
        elif isinstance(node, ast.Assert) or _is_for_types(node):
            roots.append(node)
    return {id(node) for root in roots if root is not None for node in ast.walk(root)}


def _is_for_types(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "TypeVar"


def _is_text(node: ast.BinOp) -> bool:
    """Whether it joins text or lists, where another operator is an error at once."""
    return any(
        isinstance(side, ast.JoinedStr | ast.List | ast.Tuple)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
