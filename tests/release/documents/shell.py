"""The commands in the documents: found, taken apart, and held against the program."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from rollout.interfaces.cli import app
from tests.support.command_line import REPOSITORY

PAGES = sorted(
    [
        *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(REPOSITORY / "docs").rglob("*.md"),
    ]
)
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_ENDS = ("&", "|", "||", "&&", ";", ">", ">>", "2>&1", "<", "<<<", ")")


@dataclass(frozen=True)
class Command:
    """One call of `rollout` in a document; `whole`: with all that it needs, and not just named."""

    page: str
    words: tuple[str, ...]
    whole: bool


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of these languages, without their indentation."""
    found = []
    for indent, language, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            found.append("\n".join(line.removeprefix(indent) for line in text.splitlines()) + "\n")
    return found


def commands(page: Path) -> Iterator[Command]:
    """Every `rollout ...` in fenced shell blocks, indented blocks and inline code."""
    name = str(page.relative_to(REPOSITORY))
    text = page.read_text(encoding="utf-8")
    for block in blocks(page, "sh", "bash"):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            yield from _in_line(name, line)
    for block in blocks(page, "console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                yield from _in_line(name, line[2:])
    for line in text.splitlines():
        if line.startswith("    rollout "):
            yield from _in_line(name, line)
    for code in re.findall(r"`([^`\n]+)`", _FENCE.sub("", text)):
        if code.startswith("rollout ") and not re.search(r"[\[\]|…{]|\.\.\.", code):
            for command in _in_line(name, code):
                yield Command(command.page, command.words, whole=False)


def _in_line(page: str, line: str) -> Iterator[Command]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>()")
    lexer.whitespace_split = True
    try:
        tokens = list(lexer)
    except ValueError:  # a quote that goes on in the next line
        return
    for i, token in enumerate(tokens):
        before = tokens[i - 1] if i else ""
        starts = not before or before in _ENDS or "=" in before or before in ("until", "if", "run:", "exec", "-")
        if token == "rollout" and starts:
            words = []
            for word in tokens[i + 1 :]:
                if word in _ENDS or set(word) <= set("&|;<>()"):
                    break
                words.append(word)
            if words and words[-1] == "2":  # of 2>&1
                words.pop()
            yield Command(page, tuple(words), whole=True)


def complaint(command: Command) -> str | None:
    """What the program would say against this command's words; None when it takes them."""
    node: Any = typer.main.get_command(app)
    rest = list(command.words)
    called = ["rollout"]
    while (inner := getattr(node, "commands", None)) is not None:
        if not rest or rest[0].startswith("-"):
            return None if rest and rest[0] in _GLOBAL else f"{' '.join(called)} needs a command"
        if rest[0] not in inner:
            return f"there is no command {' '.join([*called, rest[0]])}"
        called.append(rest[0])
        node = inner[rest.pop(0)]
    if not command.whole:
        known = {name for p in node.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
        unknown = [w for w in rest if w.startswith("--") and w.partition("=")[0] not in known]
        return f"{' '.join(called)} has no {unknown[0]}" if unknown else None
    try:
        node.make_context(" ".join(called), rest)
    except Exception as error:
        return f"{' '.join([*called, *command.words])}: {getattr(error, 'message', '') or error}"
    return None


_GLOBAL = ("--help", "-h", "--install-completion", "--show-completion")
