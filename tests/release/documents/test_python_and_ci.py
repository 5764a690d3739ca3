"""The jobs of docs/how-to/python-and-ci.md, run against a real service: what they would run, in a shell of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from rollout.adapters.planfile import build_plan, dump_plan
from rollout.domain.version import __version__
from tests.integration.api.live import Live, live
from tests.release.documents.shell import blocks
from tests.support.command_line import REPOSITORY

PAGE = REPOSITORY / "docs" / "how-to" / "python-and-ci.md"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
INSTALL = f"pip install retell-rollout=={__version__}"


def jobs() -> dict[str, list[str]]:
    """The commands of each job, by the service that would run it."""
    github, gitlab = (YAML(typ="safe", pure=True).load(block) for block in blocks(PAGE, "yaml"))
    steps: list[dict[str, Any]] = github["jobs"]["release"]["steps"]
    return {"github": [s["run"] for s in steps if "run" in s], "gitlab": gitlab["release"]["script"]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture
def repository(service: Live, tmp_path: Path) -> tuple[Path, dict[str, str], str]:
    """A repository with a plan and release.py, the environment of its jobs, and the plan's number."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, words in {"python": "", "rollout": "-m rollout"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (programs / name).chmod(0o755)
    folder = tmp_path / "repository"
    (folder / "plans").mkdir(parents=True)
    number = service.number()
    plan = service.plan(number, name=f"by-ci-{number[-4:]}", steps=[{"weight": 0.5, "hold": "1s"}, {"weight": 1.0}])
    (folder / "plans" / "frontdesk.yaml").write_text(dump_plan(build_plan(plan)), encoding="utf-8")
    (folder / "release.py").write_text(blocks(PAGE, "python")[0], encoding="utf-8")
    environment = {
        "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
        "ROLLOUT_URL": service.server.url,
        "ROLLOUT_TOKEN": service.tokens["operator"],
        "GITHUB_SHA": COMMIT,
    }
    return folder, environment, number


def run(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("where", ["github", "gitlab"])
def test_a_job_starts_the_rollout_and_follows_it(
    where: str, service: Live, repository: tuple[Path, dict[str, str], str]
) -> None:
    folder, environment, number = repository
    install, release = jobs()[where]
    assert install == INSTALL, "the version that this repository would publish"
    environment["GITHUB_SHA"] = environment["CI_COMMIT_SHA"] = f"{where}-{COMMIT}"  # each is a release of its own
    done = run(release, folder, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": promoted at 1.2" in done.stdout.splitlines()[-1]
    assert service.served(number) == [(7, 1)]
    again = run(release, folder, environment)
    assert (again.returncode, again.stdout.splitlines()) == (0, done.stdout.splitlines()[-1:]), "nothing starts twice"


def test_the_command_line_does_the_same(service: Live, repository: tuple[Path, dict[str, str], str]) -> None:
    folder, environment, number = repository
    (command,) = [line for line in PAGE.read_text().split("`") if line.startswith("rollout start ")]
    done = run(command, folder, environment)
    assert done.returncode == 0, done.stderr
    assert service.served(number) == [(7, 1)]


def test_a_refusal_ends_the_job_with_the_exit_code_of_the_command_line(
    repository: tuple[Path, dict[str, str], str],
) -> None:
    folder, environment, _ = repository
    done = run(jobs()["github"][1], folder, {**environment, "ROLLOUT_TOKEN": "rlt_" + "a" * 43})
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1


def test_every_example_in_python_compiles() -> None:
    examples = blocks(PAGE, "python")
    assert examples
    for example in examples:
        compile(example, str(PAGE), "exec")
