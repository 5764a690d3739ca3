"""Every file, folder and module that a document names is there. The changelog speaks of the past, and is left out."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests import documents
from tests.release.documents.shell import PAGES
from tests.support.command_line import REPOSITORY

OURS = ("rollout", "jobs", "tests", "benchmarks", "docs", "config", "deploy", "alembic", "requirements")
NAMED = [p for p in (*PAGES, REPOSITORY / "SECURITY.md") if p.name != "CHANGELOG.md"]
FILE = re.compile(r"(?<![\w/.*<{-])((?:[\w.-]+/)*[\w-]+\.py)\b")  # a path, or the end of one, with its suffix
FOLDER = re.compile(r"`((?:[\w.-]+/)*[\w-]+/)`")
PLACE = re.compile(rf"(?<![\w/.$~-])((?:{'|'.join(OURS)})/[\w./-]*\w)")
MODULE = re.compile(r"(?<![\w-])((?:rollout|jobs|tests|benchmarks)(?:\.[A-Za-z_]\w*)+)")
# What begins like a module and is none: files a person has, and names of spans.
NO_MODULE = re.compile(
    r"rollout\.(db|toml|service|yaml|json|dump|md|pass|example\.com)\b|rollout\.db\.\w+|rollout\.toml\.\w+"
)
# The kit and the script that a person made; what stands in a folder on somebody's server.
THEIRS = re.compile(r"rollback-|^release\.py$|^rollout/(rollout\.db|retell-api-key|deploy/)")


@cache
def _ours() -> tuple[str, ...]:
    """Every file and folder of the product by its path, with a slash in front."""
    roots = [REPOSITORY / name for name in OURS]
    found = [path for root in roots for path in (root, *root.rglob("*")) if "__pycache__" not in path.parts]
    return tuple(f"/{path.relative_to(REPOSITORY)}" for path in found)


def is_there(path: str) -> bool:
    """Whether a path, or one that ends like it, is in the repository."""
    return any(ours.endswith(f"/{path.rstrip('/')}") for ours in _ours())


def is_module(name: str) -> bool:
    """Whether a dotted name is a module, or something that a module has."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        place = REPOSITORY.joinpath(*parts[:length])
        if place.is_dir() or place.with_suffix(".py").is_file():
            rest = parts[length:]
            source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            return not rest or re.search(rf"\b{re.escape(rest[0])}\b", source.read_text(encoding="utf-8")) is not None
    return False


def lost(text: str) -> list[str]:
    """The paths and modules in a text that do not exist."""
    paths = {path.rstrip("/") for kind in (FILE, FOLDER, PLACE) for path in kind.findall(text)}
    modules = {name for name in MODULE.findall(text) if not NO_MODULE.match(name) and f"{name}/" not in text}
    return sorted(
        [path for path in paths if not THEIRS.search(path) and not is_there(path)]
        + [name for name in modules if not name.endswith((".py", ".md")) and not is_module(name)]
    )


@pytest.mark.parametrize("page", NAMED, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_paths_and_modules_in_the_documents_exist(page: Path) -> None:
    assert lost(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "said",
    [
        "see `rollout/domain/deciding/`",
        "`rollout/domain/decide.py`",
        "`gatekeeper.py`",
        "in `tests/store` and",
        "`python -m tests.api.flood`",
        "`rollout.domain.commanding`",
        "`rollout.domain.errors.NoSuchError`",
    ],
)
def test_a_name_that_does_not_exist_would_be_seen(said: str) -> None:
    assert len(lost(said)) == 1


def test_names_that_exist_are_found() -> None:
    said = "`rollout/domain/errors.py`, `gate_check.py`, `tests/unit/`, `rollout.domain.errors.InputError`, rollout.db"
    assert lost(said) == []


def test_the_picture_of_the_layers_is_made_from_the_import_contract() -> None:
    assert documents.ARCHITECTURE.read_text(encoding="utf-8") == documents.architecture(), "stale: run `make docs`"


def test_the_table_of_metrics_is_made_from_the_code() -> None:
    assert documents.GATES.read_text(encoding="utf-8") == documents.gates(), "stale: run `make docs`"


def test_another_contract_makes_another_picture() -> None:
    layers = {"type": "layers", "containers": ["rollout"], "layers": ["__main__", "faces", "left | right"]}
    inner = {"type": "layers", "containers": ["rollout.faces"], "layers": ["page", "api | auth"]}
    users = ["rollout.left", "rollout.faces.api", "rollout.faces.page.forms", "ticks.clock"]
    protected = {"type": "protected", "protected_modules": ["sql"], "allowed_importers": users}
    drawn = documents.layers_picture([layers, inner, protected])
    assert [line.strip() for line in drawn.splitlines()[2:-1]] == [
        "subgraph faces",
        'faces_page["page"] ~~~ faces_api & faces_auth',
        'faces_api["api"] & faces_auth["auth"]',
        "end",
        'main["__main__"] ~~~ faces',
        "faces ~~~ left & right",
        'left["left"] & right["right"]',
        "left & faces_api -.-> sql((sql))",
        'faces_page -. "forms" .-> sql((sql))',
        'ticks -. "clock" .-> sql((sql))',
    ]
    assert "-->" not in drawn, "which layer imports which other one is not in the contract"


def test_every_import_contract_of_layers_leaves_no_module_out() -> None:
    layers = [c for c in documents.contracts() if c["type"] == "layers"]
    assert {c["containers"][0] for c in layers if c["exhaustive"]} == {
        "rollout",
        "rollout.interfaces",
        "rollout.adapters",
    }
    assert len(layers) == 3
