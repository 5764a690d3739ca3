"""The repository's own rules: the size of modules, locked requirements, no address of a package registry."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.support.command_line import REPOSITORY

LONGEST = 300
LONG = {
    "rollout/app.py": "the composition root: one line for each thing that is joined",
    "rollout/settings.py": "every setting, one line each",
    "rollout/domain/gates/evidence.py": "every formula of the evidence beside its source",
    "rollout/domain/gates/metrics.py": "one table of all metrics of calls",
    "rollout/domain/lifecycle/state.py": "one rollout as a value, with all that is derived from it",
    "rollout/domain/rehearsal/simulation.py": "one model of callers, played on arrays",
    "rollout/engine/ports.py": "every port of the engine, with what it promises",
    "rollout/engine/write_protocol.py": "the protocol's phases are read together",
    "rollout/adapters/store/tables.py": "every table, one line for each column",
    "rollout/interfaces/api/answers.py": "every answer of the API, field by field, as its description shows it",
    "rollout/interfaces/backend/remote.py": "every command as one request",
    "rollout/kit/program/restore.py": "the life of one number in the kit, which is read at three in the morning",
}
"""Longer modules of the product, each with its reason."""
HOSTS = [
    f"{name}.{end}"
    for name, end in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("anaconda", "org"),
        ("yarnpkg", "com"),
        ("jsdelivr", "net"),
        ("unpkg", "com"),
    )
]


def tracked() -> list[Path]:
    """Files that git knows, or would take."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in done.stdout.split("\0") if name and (path := REPOSITORY / name).is_file()]


def test_long_modules_have_their_reason() -> None:
    modules = [p for folder in ("rollout", "jobs", "alembic") for p in (REPOSITORY / folder).rglob("*.py")]
    lengths = {p.relative_to(REPOSITORY).as_posix(): len(p.read_text().splitlines()) for p in modules}
    unexplained = {name: n for name, n in lengths.items() if n > LONGEST and name not in LONG}
    assert unexplained == {}, "split these modules, or give their reason here"
    assert [name for name in LONG if lengths.get(name, 0) <= LONGEST] == [], "these need no reason any more"


def test_the_package_shows_its_storeys_and_nothing_else() -> None:
    names = {p.name for p in (REPOSITORY / "rollout").iterdir() if p.name != "__pycache__"}
    storeys = {"app.py", "settings.py", "domain", "engine", "adapters", "interfaces", "kit", "sandbox"}
    assert names == storeys | {"__init__.py", "__main__.py", "py.typed"}


def test_a_class_name_is_used_once() -> None:
    """The sandbox and the kit, which share no code with the rest, aside."""
    apart = (REPOSITORY / "rollout" / "sandbox", REPOSITORY / "rollout" / "kit")
    modules = [p for folder in ("rollout", "jobs") for p in (REPOSITORY / folder).rglob("*.py")]
    names = Counter(
        node.name
        for path in modules
        if not any(path.is_relative_to(folder) for folder in apart)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert len(names) > 300
    assert [name for name, times in names.items() if times > 1] == []


# What tests/unit holds, and what it mirrors; a test of rollout/<name>.py stands beside those of the domain.
MIRRORS = {"engine": "rollout/engine", "jobs": "jobs", "views": "rollout/interfaces/views", "": "rollout/domain"}


def mirrored(test: Path) -> list[Path]:
    """The modules that a test module may be named after."""
    inside = test.relative_to(REPOSITORY / "tests" / "unit")
    folder = inside.parts[0] if inside.parts[0] in MIRRORS else ""
    module = inside.relative_to(folder).with_name(inside.name.removeprefix("test_"))
    roots = [MIRRORS[folder], *([] if folder else ["rollout"])]
    return [REPOSITORY / root / module for root in roots]


def test_every_unit_test_stands_where_its_module_does() -> None:
    tests = sorted((REPOSITORY / "tests" / "unit").rglob("test_*.py"))
    assert len(tests) > 100
    assert [t.relative_to(REPOSITORY).as_posix() for t in tests if not any(m.is_file() for m in mirrored(t))] == []


def holds_values_only(module: Path) -> bool:
    """True if it defines no function: such values have nothing to test by themselves."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return not any(isinstance(node, functions) for node in ast.walk(ast.parse(module.read_text())))


def test_every_module_of_the_domain_has_its_test() -> None:
    domain = REPOSITORY / "rollout" / "domain"
    modules = {p.relative_to(domain): holds_values_only(p) for p in domain.rglob("*.py") if p.stem != "__init__"}
    assert sum(modules.values()) < 10, "values alone are few"
    tests = {name: REPOSITORY / "tests" / "unit" / name.with_name(f"test_{name.name}") for name in modules}
    assert [str(name) for name, values in modules.items() if not values and not tests[name].is_file()] == []


@pytest.mark.parametrize("name", ["main", "dev", "build", "docs"])
def test_requirements_are_locked_by_hash_and_name_no_address(name: str) -> None:
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links|-f)\b", text, re.MULTILINE)
    packages = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert packages
    for package in packages:
        head = package.splitlines()[0]
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^\s;]+( ; .+)? \\$", head), head
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), head


def test_no_file_names_the_host_of_a_package_registry() -> None:
    found = []
    for path in tracked():
        text = path.read_bytes().lower()
        found += [f"{path.relative_to(REPOSITORY)}: {host}" for host in HOSTS if host.encode() in text]
    assert found == []


def test_no_lock_file_with_addresses_is_kept() -> None:
    names = {path.name for path in tracked()}
    assert names.isdisjoint({"uv.lock", "pylock.toml", "poetry.lock", "Pipfile.lock"})
