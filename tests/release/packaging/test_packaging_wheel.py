"""The wheel: built without a network, installed elsewhere, migrated, started, stopped."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.domain.version import __version__
from rollout.sandbox import Sandbox
from tests.support.command_line import REPOSITORY
from tests.support.plans import PLAN
from tests.support.service import service

pytest.importorskip("hatchling", reason="hatchling is a development dependency")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the archive of the sources."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (made,) = built.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of an environment that has the wheel, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "env", with_pip=False)
    programs = folder / "env" / "bin"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            programs / "python",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--disable-pip-version-check",
            wheel,
        ],
        check=True,
        timeout=120,
        cwd=folder,
    )
    # What it depends on comes from the environment of the tests: nothing is fetched.
    site = folder / "env" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


@pytest.fixture
def world(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment for the installed program, with a sandbox to talk to."""
    with Sandbox() as sandbox:
        sandbox.add_ready_world(calls_per_hour=0)
        yield {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "RETELL_API_KEY": "key",
            "COLUMNS": "100",
            "ROLLOUT_RETELL_BASE_URL": sandbox.url,
        }


def test_the_wheel_carries_the_program_the_migrations_the_page_and_the_example_plans(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    migrations = {p.name for p in (REPOSITORY / "alembic" / "versions").glob("*.py")}
    assert {f"rollout/_alembic/versions/{name}" for name in migrations} <= names
    assert {"rollout/_alembic/env.py", "rollout/interfaces/cli/__init__.py", "jobs/scheduler.py"} <= names
    faces = REPOSITORY / "rollout" / "interfaces"
    folders = [faces / "dashboard" / "static", faces / "dashboard" / "templates", faces / "views" / "templates"]
    files = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
    assert files
    assert {p.relative_to(REPOSITORY).as_posix() for p in files} <= names
    assert {f"rollout/_plans/{p.name}" for p in (REPOSITORY / "config" / "plans").iterdir()} <= names
    kits = {p.relative_to(REPOSITORY).as_posix() for p in (REPOSITORY / "rollout" / "kit" / "program").glob("*.py")}
    assert kits
    assert kits <= names


def test_the_wheel_has_the_name_to_be_published_under_and_is_typed(wheel: Path) -> None:
    assert wheel.name == f"retell_rollout-{__version__}-py3-none-any.whl"
    assert "rollout/py.typed" in zipfile.ZipFile(wheel).namelist()


def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"rollout", "jobs"}
    assert not [n for n in names if "/tests/" in n or n.endswith((".pyc", ".db")) or "__pycache__" in n]
    assert "rollout/_alembic/__init__.py" not in names


def test_the_archive_of_the_sources_carries_what_the_wheel_is_built_from(built: Path) -> None:
    (made,) = built.glob("*.tar.gz")
    with tarfile.open(made) as archive:
        tops = {name.split("/")[1] for name in archive.getnames()}
    folders = {"rollout", "jobs", "alembic", "config"}
    assert tops == folders | {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}


def test_it_runs_where_there_is_no_checkout(installed: Path, tmp_path: Path, world: dict[str, str]) -> None:
    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=world, capture_output=True, text=True, timeout=60, check=False)

    where = "import alembic, rollout, jobs; print(alembic.__file__, rollout.__file__, jobs.__file__)"
    library, ours, jobs = run(installed / "python", "-c", where).stdout.split()
    assert Path(library).is_relative_to(sysconfig.get_path("purelib")), "not a folder of ours"
    assert Path(ours).is_relative_to(installed.parent)
    assert Path(jobs).is_relative_to(installed.parent)

    assert run(installed / "rollout", "--help").stdout.startswith("Usage: rollout ")
    examples = "from rollout.adapters.planfile.examples import example_plans; print(*example_plans())"
    plans = sorted(p.stem for p in (REPOSITORY / "config" / "plans").glob("*.yaml"))
    assert run(installed / "python", "-c", examples).stdout.split() == plans
    upgraded = run(installed / "rollout", "db", "upgrade")
    assert upgraded.returncode == 0, upgraded.stderr
    assert run(installed / "rollout", "db", "check").returncode == 0

    program = (str(installed / "rollout"),)
    with service(tmp_path, world, "--no-http", program=program) as serving:
        listed = run(installed / "rollout", "list", "--json")
        assert (listed.returncode, listed.stdout) == (0, "[]\n")
        began = time.monotonic()
        assert serving.stop(15) == 0
        assert time.monotonic() - began < 15
        assert "stopped" in serving.text()


def test_its_client_drives_its_service(installed: Path, tmp_path: Path, world: dict[str, str]) -> None:
    def run(*command: str | Path, **more: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env={**world, **more}, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    plan = PLAN.replace("hold: 1h", "hold: 1s")
    (tmp_path / "plan.yaml").write_text(plan)
    program = installed / "rollout"
    run(program, "db", "upgrade")
    token = re.findall(r"rlt_[\w-]{43}", run(program, "token", "create", "--role", "operator", "--name", "ci"))[0]
    with service(tmp_path, world, "--port", "0", program=(str(program),)) as serving:
        url = re.findall(r"http://127\.0\.0\.1:\d+", serving.text())[0]
        code = "from rollout import Client; c = Client(); print(c.wait(c.start('plan.yaml'), timeout=60).phase)"
        assert run(installed / "python", "-c", code, ROLLOUT_URL=url, ROLLOUT_TOKEN=token) == "promoted\n"


def test_from_the_checkouts_root_alembic_is_still_the_library() -> None:
    code = "import alembic, alembic.config; print(alembic.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    assert not Path(done.stdout.strip()).is_relative_to(REPOSITORY / "alembic")
    assert not (REPOSITORY / "alembic" / "__init__.py").exists()
