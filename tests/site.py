"""What makes a site of the documents, beside mkdocs.yml: pages from the top level, and files that pages link to.

README.md becomes the first page and CONTRIBUTING.md comes along; links are written anew, because in the repository they
start from another folder. A file outside docs/ that a page links to is copied into the site at its own path; a link to a
folder becomes plain text.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
TOP = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<to>(?![a-z]+:|#)[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
ITEM = re.compile(r"(\d+\.|[-*]) ")
IMAGE = re.compile(r'(?<=src=")docs/')
_outside: set[str] = set()


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the top level, and the files outside docs/ that pages link to."""
    for source, page in TOP.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for file in files.documentation_pages():
        for link in LINK.finditer(file.content_string):
            target = _target(file.src_uri, link["to"])
            if target is not None and target not in TOP and not target.startswith("docs/"):
                _outside.add(target)
    for target in sorted(_outside):
        if (ROOT / target).is_file():
            files.append(File.generated(config, target, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page's text with links and indentation as they are in the site."""
    markdown = "\n".join(_indented(markdown.split("\n")))
    return IMAGE.sub("", LINK.sub(lambda link: _rewritten(link, page.file.src_uri), markdown))


def _indented(lines: Iterable[str]) -> Iterator[str]:
    """What belongs to an item of a list, indented by four: on code hosts the width of `- ` or `1. ` is enough."""
    width = 0
    for line in lines:
        if line[:1].strip():
            item = ITEM.match(line)
            width = item.end() if item else 0
        yield " " * (4 - width) + line if 0 < width < 4 and line[:width].isspace() and line.strip() else line


def _rewritten(link: re.Match[str], page: str) -> str:
    target = _target(page, link["to"])
    if target is None:
        return link[0]
    if (ROOT / target).is_dir():
        return link["text"].strip("[]")
    place = TOP.get(target, target.removeprefix("docs/"))
    return f"{link['text']}({posixpath.relpath(place, posixpath.dirname(page) or '.')}{link['anchor'] or ''})"


def _target(page: str, link: str) -> str | None:
    """The path in the repository that a link of a page leads to; None: nothing is there, and the build says so."""
    source = next((s for s, p in TOP.items() if p == page), f"docs/{page}")
    path = os.path.normpath(ROOT / posixpath.dirname(source) / link)
    return Path(path).relative_to(ROOT).as_posix() if Path(path).exists() and Path(path).is_relative_to(ROOT) else None
