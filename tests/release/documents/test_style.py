"""What people read keeps to docs/style.md: documents outside of code and quotations, messages, the page, and what
the code says of itself in docstrings and comments."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.documents.shell import PAGES
from tests.support.command_line import REPOSITORY

STYLE = REPOSITORY / "docs" / "style.md"
# The changelog and the decisions speak of their day; docs/style.md names the words.
WRITTEN = [p for p in (*PAGES, REPOSITORY / "SECURITY.md") if p.name not in ("CHANGELOG.md", "style.md")]
WRITTEN = [p for p in WRITTEN if p.parent.name != "adr"]
NOT_OURS = {
    "he, his, him": r"\b(he|his|him)\b",
    "another hand": r"\b(another|foreign|other) hands?\b",
    "whoever": r"\b(whoever|whosoever)\b",
    "for ever": r"\bfor ever\b|\bwithout end\b",
    "stood its bake": r"\bstood its\b",
    "looked at again": r"\blooked at again\b",
    "mend": r"\bmend(s|ed|ing)?\b",
    "anew": r"\banew\b",
    "goes on": r"\b(go|goes|went|going) on(?! to\b)\b(?!-)",
    "in force": r"\bin force\b",
    "for want of": r"\bfor want of\b",
    "should it": r"[,(] ?should (it|its|the|retell)\b",
}


def prose(text: str) -> str:
    """A page without its code, which quotes the program, and without what is in italics, which quotes anybody."""
    without_blocks = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`|(?<!\*)\*[^*\n]+\*(?!\*)", "", without_blocks)


def ruled_out(text: str) -> list[str]:
    """The words of `text` that docs/style.md rules out, with what stands around them."""
    return [
        text[max(0, found.start() - 30) : found.end() + 20].replace("\n", " ")
        for pattern in NOT_OURS.values()
        for found in re.finditer(pattern, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_documents_do_without_the_words_that_are_ruled_out(page: Path) -> None:
    assert ruled_out(prose(page.read_text(encoding="utf-8"))) == []


def messages(source: str) -> Iterator[str]:
    """The strings of a module, parts of f-strings too; without docstrings."""
    tree = ast.parse(source)
    said_to_nobody = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said_to_nobody:
            yield node.value


def explanations(source: str) -> Iterator[str]:
    """The docstrings and comments of a module; comments on lines that follow each other are one text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield prose(node.value.value)
    block, last = "", 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1:
                yield prose(block)
                block = ""
            block, last = f"{block} {token.string.lstrip('# ')}", token.start[0]
    yield prose(block)


def modules() -> Iterator[Path]:
    for folder in ("rollout", "jobs"):
        yield from (REPOSITORY / folder).rglob("*.py")


def test_messages_and_the_page_do_without_them_too() -> None:
    found = []
    for module in modules():
        found += [(module.name, said) for text in messages(module.read_text("utf-8")) for said in ruled_out(text)]
    for template in (REPOSITORY / "rollout").rglob("*.html"):
        found += [(template.name, said) for said in ruled_out(template.read_text("utf-8"))]
    assert found == []


def test_a_message_with_such_a_word_would_be_seen() -> None:
    source = '"""Another hand."""\nraise ValueError(f"{name} is tried for ever")\n'
    assert [said for text in messages(source) for said in ruled_out(text)] == [" is tried for ever"]


def test_docstrings_and_comments_do_without_them_too() -> None:
    found = []
    for module in modules():
        texts = explanations(module.read_text("utf-8"))
        found += [(str(module.relative_to(REPOSITORY)), said) for text in texts for said in ruled_out(text)]
    assert found == []


def test_a_comment_or_docstring_with_such_a_word_would_be_seen() -> None:
    source = (
        '''"""Read `anew`."""\nX = 1  # tried for\n# ever\n\nY = 2  # whoever\n\n\ndef f():\n    """It goes on."""\n'''
    )
    assert sorted(said.strip() for text in explanations(source) for said in ruled_out(text)) == [
        "It goes on.",
        "tried for ever",
        "whoever",
    ]


@pytest.mark.parametrize("word", NOT_OURS)
def test_each_word_is_named_with_what_to_write_instead(word: str) -> None:
    table = STYLE.read_text(encoding="utf-8").partition("## Words we do not use")[2]
    assert word.partition(",")[0] in table


@pytest.mark.parametrize(
    "said",
    ["Another hand wrote it.", "Whoever is on call", "It stood its bake.", "(should Retell refuse it)", "mended"],
)
def test_a_word_that_is_ruled_out_would_be_seen(said: str) -> None:
    assert len(ruled_out(prose(said))) == 1


def test_code_and_quotations_are_left_alone() -> None:
    assert ruled_out(prose("`looked at again` and *whoever*\n```\nanother hand\n```\n")) == []
