"""The shell blocks of the how-to guides that set up more than `rollout` knows, each guide in one shell.

test_how_to.py runs the commands of the others.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from rollout.sandbox import Sandbox
from tests.release.documents.running import free_port, run
from tests.release.documents.shell import blocks
from tests.support.command_line import QUICK, REPOSITORY
from tests.support.parts import need
from tests.support.plans import PLAN
from tests.support.postgres import Server

FOLDER = REPOSITORY / "docs" / "how-to"
WAIT = "curl -sf --retry 60 --retry-connrefused --retry-delay 1 -o health.json"


@pytest.fixture
def reader(environment: dict[str, str], sandbox: Sandbox) -> dict[str, str]:
    """A reader's shell, beside a sandbox."""
    need("curl", "apt-get install curl")
    return {**environment, **QUICK, "RETELL_API_KEY": "key", "ROLLOUT_RETELL_BASE_URL": sandbox.url}


def script(guide: str, instead: dict[str, str], port: int) -> str:
    """The shell blocks of a guide: its service on this port of this machine, and values of the test in it."""
    text = "".join(blocks(FOLDER / f"{guide}.md", "sh"))
    for words, value in instead.items():
        assert words in text, f"{guide} does not say {words} any more"
        text = text.replace(words, value)
    text = text.replace(" --host 0.0.0.0", "")
    began = f"--port {port} > serve.log 2>&1 &\n{WAIT} http://127.0.0.1:{port}/healthz"
    return re.sub(r"^(rollout serve.*)$", rf"\1 {began}", text, flags=re.MULTILINE)


def said(text: str, folder: Path, reader: dict[str, str]) -> str:
    folder = folder / "reader"
    folder.mkdir()
    (folder / "plan.yaml").write_text(PLAN + blocks(FOLDER / "alert-hooks.md", "yaml")[0])
    code, output = run(text, folder, reader)
    assert code == 0, output
    return output


@pytest.mark.slow
def test_an_alert_by_curl_does_what_the_guide_says(tmp_path: Path, reader: dict[str, str]) -> None:
    port = free_port()
    token = "rollout token create --role trigger --name alertmanager"
    instead = {
        token: f"rollout serve --migrate\nrollout start plan.yaml\nT=$({token})",
        "https://rollout.example.com": f"http://127.0.0.1:{port}",
        "rlt_...": "$T",
        "NAME": "frontdesk-v7",
    }
    text = script("alert-hooks", instead, port)
    assert "alert Trial (generic): a trial" in said(text, tmp_path, reader)


@pytest.mark.slow
def test_a_test_case_by_curl_is_taken_as_the_guide_says(
    tmp_path: Path, reader: dict[str, str], sandbox: Sandbox
) -> None:
    text = script("agent-tests", {"http://127.0.0.1:8090": sandbox.url}, 0)
    assert "case_booking" in said(text, tmp_path, reader)


@pytest.mark.slow
def test_a_corporate_network_is_set_up_as_the_guide_says(tmp_path: Path, reader: dict[str, str]) -> None:
    text = "rollout db upgrade\n" + script("corporate-network", {}, free_port())
    output = said(f"{text}\nrollout doctor\nrollout check plan.yaml", tmp_path, reader)
    assert output.count("everything works") == 2
    assert "1 running" in output


@pytest.fixture
def database(postgres_server: Server) -> Iterator[str]:
    """The address of what the guide's statements make, under a name that nobody else uses."""
    name = f"guide_{secrets.token_hex(4)}"
    plain = make_url(postgres_server.url).set(drivername="postgresql")
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as connection:
        (sql,) = blocks(FOLDER / "postgresql.md", "sql")
        for statement in sql.replace("rollout", name).split(";")[:-1]:
            connection.execute(statement.encode())
        yield plain.set(username=name, password=None, database=name).render_as_string()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute(f"DROP ROLE {name}".encode())


@pytest.mark.slow
def test_postgresql_is_set_up_as_the_guide_says(tmp_path: Path, reader: dict[str, str], database: str) -> None:
    text = script("postgresql", {"postgresql://rollout@db.internal/rollout": f"'{database}'"}, free_port())
    output = said(text, tmp_path, {**reader, "PGPASSWORD": "..."})
    assert "everything works" in output
    assert "1 running" in output
