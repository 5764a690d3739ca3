"""PgBouncer before a PostgreSQL server of the tests, in session mode, with its defaults for what clients may ask."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.support.parts import missing, need

POOL = 50  # connections to the server; the tests' server takes 60


@contextmanager
def bouncer(server_url: str, pool_mode: str = "session", *more: str) -> Iterator[int]:
    """The port of a PgBouncer before the server of this address; every database of the server is behind it.

    `more` are further lines of its settings.
    """
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    program = found or need("pgbouncer", "apt-get install pgbouncer")
    user = None
    if os.getuid() == 0:  # it refuses to run as root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            missing("we are root, and there is no user postgres to run PgBouncer as")
    url = make_url(server_url)
    place = url.query.get("host") or url.host
    port = _free_port()
    folder = Path(tempfile.mkdtemp(prefix="rollout-bouncer-"))
    settings = folder / "pgbouncer.ini"
    server = f"host={place} user={url.username}" + (f" port={url.port}" if url.port else "")
    settings.write_text(
        f"[databases]\n* = {server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\ndefault_pool_size = {POOL}\n"
        f"max_client_conn = 400\nlogfile = {folder}/log\n" + "".join(f"{line}\n" for line in more)
    )
    if user is not None:
        for path in (folder, settings):
            shutil.chown(path, user)
    process = subprocess.Popen(
        [program, settings], user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _when_ready(port, process, folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def through(url: str, port: int) -> str:
    """The address of a database as it is reached through the bouncer on this port."""
    return make_url(url).set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _when_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 2).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                said = log.read_text()[-500:] if log.exists() else ""
                raise RuntimeError(f"PgBouncer did not start: {said}") from None
            time.sleep(0.02)
        else:
            return
