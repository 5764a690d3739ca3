"""What the documents say can be done: generated pages are fresh, links lead somewhere, commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rollout.adapters.planfile import load_plan
from rollout.settings import OTHER_NAMES, Settings
from tests import reference
from tests.release.documents.shell import PAGES, Command, blocks, commands, complaint
from tests.support.command_line import REPOSITORY

NAMES = [str(p.relative_to(REPOSITORY)) for p in PAGES]
COMMANDS = [command for page in PAGES for command in commands(page)]
YAML_BLOCKS = [(name, block) for page, name in zip(PAGES, NAMES, strict=True) for block in blocks(page, "yaml")]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("name", reference.pages())
def test_the_reference_is_what_the_code_says(name: str) -> None:
    page = reference.FOLDER / name
    assert page.read_text(encoding="utf-8") == reference.pages()[name](), "stale: run make docs"


def test_every_kind_of_entry_is_described() -> None:
    assert reference.recorded_kinds() - reference.KINDS.keys() == set()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """What a heading is called in links, as Markdown viewers make it."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_commands_were_found() -> None:
    assert len(COMMANDS) > 60
    assert {c.words[0] for c in COMMANDS if c.words} >= {"check", "start", "rollback", "apply", "init", "db", "kit"}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_in_the_documents_is_one(page: Path) -> None:
    assert [said for command in commands(page) if (said := complaint(command)) is not None] == []


@pytest.mark.parametrize(
    "words", ["rolback NAME", "rollback --nubmer +1", "start", "promote NAME --expect", "db", "verify --fil x"]
)
def test_a_command_that_does_not_exist_would_be_seen(words: str) -> None:
    assert complaint(Command("here", tuple(words.split()), whole=True)) is not None


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_settings_in_the_documents_exist(page: Path) -> None:
    known = {f"ROLLOUT_{name.upper()}" for name in Settings.model_fields} | OTHER_NAMES
    named = set(re.findall(r"\bROLLOUT_[A-Z][A-Z0-9_]*[A-Z0-9]\b", page.read_text(encoding="utf-8")))
    assert {n for n in named if not n.startswith("ROLLOUT_TEST_")} - known == set()


@pytest.mark.parametrize(("name", "block"), YAML_BLOCKS)
def test_yaml_in_the_documents_can_be_read_and_plans_are_valid(name: str, block: str) -> None:
    document = YAML(typ="safe", pure=True).load(block)
    assert isinstance(document, dict | list), document
    if isinstance(document, dict) and {"version", "numbers", "steps"} <= document.keys():
        assert load_plan(block, name).name == document["name"]


def test_the_plan_of_the_readme_is_valid() -> None:
    (text,) = re.findall(r"<<'YAML'\n(.*?)^YAML$", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert load_plan(text).name == "frontdesk-v7"


def test_every_page_can_be_found_from_the_readme() -> None:
    seen: set[Path] = set()
    left = [REPOSITORY / "README.md"]
    while left:
        page = left.pop()
        if page in seen or not page.is_file() or page.suffix != ".md":
            continue
        seen.add(page)
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", link):
                left.append((page.parent / link.partition("#")[0]).resolve())
    lost = {str(p.relative_to(REPOSITORY)) for p in (REPOSITORY / "docs").rglob("*.md")} - {
        str(p.relative_to(REPOSITORY)) for p in seen
    }
    assert {p for p in lost if not p.startswith("docs/adr/")} == set()


def test_every_page_is_in_the_menu_of_the_site() -> None:
    listed = set(
        re.findall(r"^ +- .*: (\S+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    )
    pages = {p.relative_to(REPOSITORY / "docs").as_posix() for p in (REPOSITORY / "docs").rglob("*.md")}
    decisions = {p for p in pages if p.startswith("adr/0")}  # adr/README.md lists them
    assert listed == (pages - decisions) | {"index.md", "CONTRIBUTING.md"}, "write it under nav: in mkdocs.yml"


def harmless_rollbacks() -> list[float]:
    """Per cent of rollouts that docs/gates.md measured as rolled back though the canary was no worse."""
    text = (REPOSITORY / "docs" / "gates.md").read_text(encoding="utf-8")
    table = re.search(r"^\| harmless canary, rolled back \|.*?\n\n", text, re.MULTILINE | re.DOTALL)
    assert table is not None
    rows = [*re.findall(r"^\| equal\b.*", text, re.MULTILINE), *table[0].strip().splitlines()[2:]]
    cells = [[cell.strip() for cell in row.strip("|\n").split("|")] for row in rows]
    # Two columns beside the name are "before" and "now"; else ours comes first.
    ours = [row[2] if len(row) == 3 else row[1] for row in cells]
    return [float(found[1]) for cell in ours if (found := re.match(r"([\d.]+) %", cell))]


@pytest.mark.parametrize("name", ["README.md", "docs/why.md", "docs/how-to/gates.md"])
def test_the_rate_of_wrong_rollbacks_is_the_measured_one(name: str) -> None:
    rates = harmless_rollbacks()
    assert len(rates) > 10
    said = re.search(r"\b1 to (\d+)(?: %| of 100)", (REPOSITORY / name).read_text(encoding="utf-8"))
    assert said is not None
    assert int(said[1]) - 1 < max(rates) < int(said[1]) + 0.5, "what is said is the worst that was measured, rounded"
