"""The server itself: connections, limits, start and stop, the command's blocking run."""

import itertools
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rollout.sandbox import Sandbox

ROOT = Path(__file__).parents[3]
NUMBER = "+14157774444"
HEAD = f"GET /get-phone-number/{NUMBER} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"


def talk(port: int, *pieces: bytes) -> bytes:
    """Send pieces one after the other and read until the server ends the stream."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as wire:
        for piece in pieces:
            wire.sendall(piece)
            time.sleep(0.002)
        data = b""
        while piece := wire.recv(65536):
            data += piece
        return data


def test_a_connection_is_kept_for_many_requests(client: Any, sandbox: Sandbox) -> None:
    for _ in range(20):
        assert client("GET", f"/get-phone-number/{NUMBER}").status == 200
    assert len({entry["peer"] for entry in sandbox.log()}) == 1


def test_requests_may_be_pipelined_and_closed_by_the_client(sandbox: Sandbox) -> None:
    data = talk(sandbox.port, f"{HEAD}\r\n{HEAD}Connection: close\r\n\r\n".encode())
    assert data.count(b"HTTP/1.1 200") == 2


def test_a_body_may_come_in_chunks_and_in_pieces(sandbox: Sandbox) -> None:
    head = f"PATCH /update-phone-number/{NUMBER} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
    head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    body = b'{"nickname":"in chunks"}'
    pieces = [head[:30].encode(), head[30:].encode()]
    pieces += [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:5], body[5:])]
    assert talk(sandbox.port, *pieces, b"0\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert sandbox.number(NUMBER).state.fields["nickname"] == "in chunks"


def test_a_client_that_waits_for_100_gets_it(sandbox: Sandbox) -> None:
    head = (
        f"PATCH /update-phone-number/{NUMBER} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nConnection: close\r\n"
    )
    head += "Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5) as wire:
        wire.sendall(head.encode())
        assert wire.recv(100).startswith(b"HTTP/1.1 100")
        wire.sendall(b"{}")
        assert wire.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000, b"431"),
        (b"PATCH / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n" + b"a" * 1_048_577, b"413"),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_ends(sandbox: Sandbox, sent: bytes, status: bytes) -> None:
    assert talk(sandbox.port, sent).split()[1] == status


@pytest.mark.real_time
def test_an_idle_connection_is_closed() -> None:
    with Sandbox(idle_timeout=0.1) as quick:
        quick.add_ready_world()
        start = time.monotonic()
        assert talk(quick.port) == b""
        assert 0.09 < time.monotonic() - start < 2
        assert talk(quick.port, f"{HEAD}\r\n".encode()).startswith(b"HTTP/1.1 200")


def test_stop_ends_every_connection_and_frees_the_port() -> None:
    others = set(threading.enumerate())  # sandboxes that other tests of this process keep
    first = Sandbox().start()
    wire = socket.create_connection(("127.0.0.1", first.port), timeout=5)
    with pytest.raises(RuntimeError, match="running already"):
        first.start()
    first.stop()
    first.stop()
    assert wire.recv(1) == b""
    wire.close()
    with Sandbox(port=first.port) as second:
        assert second.url == first.url
    left = set(threading.enumerate()) - others
    assert not [thread for thread in left if thread.name.startswith("sandbox")]


def test_a_taken_port_is_an_error() -> None:
    with Sandbox() as first, pytest.raises(OSError, match="address already in use"):
        Sandbox(port=first.port).start()


def test_python_methods_and_requests_may_come_at_the_same_time(sandbox: Sandbox, client: Any) -> None:
    def edit() -> None:
        for index in range(200):
            sandbox.edit(NUMBER, nickname=f"e{index}")

    threads = [threading.Thread(target=edit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for index in range(200):
        assert client("PATCH", f"/update-phone-number/{NUMBER}", {"nickname": f"p{index}"}).status == 200
    for thread in threads:
        thread.join()
    stamps = [entry["last_modification_timestamp"] for entry in sandbox.history(NUMBER)]
    assert len(stamps) == 601
    assert all(earlier < later for earlier, later in itertools.pairwise(stamps))


def test_importing_the_package_loads_no_server() -> None:
    code = (
        "import rollout.sandbox, sys; print([m for m in ('asyncio', 'h11', 'fastapi', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_sandbox_needs_nothing_else_of_the_product() -> None:
    code = (
        "from rollout.sandbox import Sandbox; import sys; "
        "print([m for m in sys.modules if m.startswith('rollout.') and not m.startswith('rollout.sandbox')], "
        "[m for m in ('fastapi', 'pydantic', 'httpx', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (
        done.stdout.strip() == "['rollout.domain', 'rollout.domain.version'] []"
    )  # of the package itself, which comes before its parts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_serves_until_it_is_told_to_end(number: int) -> None:
    code = "from rollout.sandbox import run; run('127.0.0.1', 0, None, 1, 1.0)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        port = int(first.split("http://127.0.0.1:")[1].split()[0])
        assert talk(port, f"{HEAD}Connection: close\r\n\r\n".encode()).startswith(b"HTTP/1.1 200")
        process.send_signal(number)
        assert process.wait(5) == 0
        told = process.stdout.read()
    assert all(
        word in told
        for word in ("agent_frontdesk", NUMBER, "ROLLOUT_RETELL_BASE_URL", " RETELL_API_KEY=any", "8 drops calls")
    )


def test_it_answers_a_thousand_requests_quickly(sandbox: Sandbox, client: Any) -> None:
    start = time.process_time()
    for _ in range(500):
        client("GET", f"/get-phone-number/{NUMBER}")
        client("PATCH", f"/update-phone-number/{NUMBER}", {"nickname": "x"})
    assert time.process_time() - start < 5  # client included; the server alone needs about 0.2 s
    assert len(sandbox.log()) == 1000
