"""Each kind of fault, seen from a raw socket: what the client reads, and what was applied."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rollout.sandbox import Sandbox

NUMBER = "+14157774444"
LISTS = ("inbound_agents", "outbound_agents", "inbound_sms_agents", "outbound_sms_agents")


class Wire:
    """One raw connection that says exactly what came back."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)

    def send(self, method: str, path: str, body: str = "") -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall((head + body).encode())

    def patch(self, nickname: str) -> None:
        self.send("PATCH", f"/update-phone-number/{NUMBER}", json.dumps({"nickname": nickname}))

    def get(self) -> None:
        self.send("GET", f"/get-phone-number/{NUMBER}")

    def answer(self) -> tuple[int, bytes]:
        """One whole answer: status and body."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
        while len(body) < length:
            body += self._more()
        return int(lines[0].split()[1]), body

    def _more(self) -> bytes:
        piece = self.socket.recv(65536)
        if not piece:
            raise EOFError
        return piece

    def rest(self) -> bytes:
        """Everything until the server ends the stream."""
        data = b""
        while piece := self.socket.recv(65536):
            data += piece
        return data

    def silent(self, seconds: float) -> bool:
        """Whether nothing, not even an end, comes within the time."""
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(1)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(5)
        return False


@pytest.fixture
def wire(sandbox: Sandbox) -> Iterator[Wire]:
    made = Wire(sandbox.port)
    yield made
    made.socket.close()


def nickname(sandbox: Sandbox) -> Any:
    return sandbox.number(NUMBER).state.fields["nickname"]


def until(check: Callable[[], bool]) -> None:
    """Wait for something that is about to happen on the server's side."""
    end = time.monotonic() + 5
    while not check():
        assert time.monotonic() < end, "it did not happen within 5 s"
        time.sleep(0.005)


@pytest.mark.parametrize("variant", ["before", "after"])
def test_latency(sandbox: Sandbox, wire: Wire, variant: str) -> None:
    sandbox.fault("latency", variant=variant, seconds=0.2)
    start = time.monotonic()
    wire.patch("late")
    until(lambda: bool(sandbox.log()))
    assert (nickname(sandbox) == "late") == (variant == "after")
    assert wire.answer()[0] == 200
    assert time.monotonic() - start >= 0.2
    assert nickname(sandbox) == "late"


def test_drip(sandbox: Sandbox, wire: Wire) -> None:
    sandbox.fault("drip", seconds=0.3)
    start = time.monotonic()
    wire.patch("drop by drop")
    first = wire.socket.recv(65536)
    assert 0 < len(first) < 40
    assert nickname(sandbox) == "drop by drop"
    data = first
    while not data.endswith(b"}"):
        data += wire.socket.recv(65536)
    assert time.monotonic() - start >= 0.25
    assert json.loads(data.partition(b"\r\n\r\n")[2])["nickname"] == "drop by drop"


@pytest.mark.parametrize("variant", ["close", "reset"])
@pytest.mark.parametrize(("kind", "applied"), [("drop_before", False), ("drop_after", True)])
def test_drop(sandbox: Sandbox, wire: Wire, kind: str, applied: bool, variant: str) -> None:
    sandbox.fault(kind, variant=variant, method="PATCH")
    wire.patch("dropped")
    if variant == "reset":
        with pytest.raises(ConnectionResetError):
            wire.rest()
    else:
        assert wire.rest() == b""
    assert (nickname(sandbox) == "dropped") is applied
    (entry,) = sandbox.log()
    assert entry["status"] is None
    assert entry["applied"] == ({"nickname": "dropped"} if applied else None)
    assert entry["fault"] == f"{kind} {variant}"


def test_apply_late_without_an_answer(sandbox: Sandbox, wire: Wire) -> None:
    sandbox.fault("apply_late", seconds=0.15)
    wire.patch("ghost")
    assert wire.silent(0.05)
    assert nickname(sandbox) == "Frontdesk Main"
    wire.socket.close()
    until(lambda: nickname(sandbox) == "ghost")
    (entry,) = sandbox.log()
    assert entry["status"] is None
    assert entry["applied_at"] - entry["at"] >= 150


def test_apply_late_with_the_connection_closed(sandbox: Sandbox, wire: Wire) -> None:
    sandbox.fault("apply_late", variant="close", seconds=0.15)
    wire.patch("ghost")
    assert wire.rest() == b""
    assert nickname(sandbox) == "Frontdesk Main"
    until(lambda: nickname(sandbox) == "ghost")


def test_apply_late_behind_a_200(sandbox: Sandbox, wire: Wire) -> None:
    sandbox.fault("apply_late", variant="ok", seconds=0.15)
    wire.patch("soon")
    status, body = wire.answer()
    assert (status, json.loads(body)["nickname"]) == (200, "soon")
    wire.get()
    assert json.loads(wire.answer()[1])["nickname"] == "Frontdesk Main"
    until(lambda: nickname(sandbox) == "soon")


def test_a_late_write_overtakes_a_newer_one(sandbox: Sandbox, wire: Wire) -> None:
    sandbox.fault("apply_late", variant="close", seconds=0.1)
    wire.patch("old write")
    wire.rest()
    other = Wire(sandbox.port)
    other.patch("new write")
    assert other.answer()[0] == 200
    other.socket.close()
    until(lambda: nickname(sandbox) == "old write")
    old, new = sandbox.log()
    assert old["last_modification_timestamp"] > new["last_modification_timestamp"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 502, 503])
def test_status(sandbox: Sandbox, wire: Wire, status: int) -> None:
    sandbox.fault("status", status=status)
    wire.patch("refused")
    got, body = wire.answer()
    assert got == status
    assert json.loads(body)["status"] == "error"
    assert nickname(sandbox) == "Frontdesk Main"


def test_429_with_retry_after_and_a_message(sandbox: Sandbox, client: Any) -> None:
    sandbox.fault("status", status=429, retry_after=7, times=2)
    for _ in range(2):
        answer = client("GET", f"/get-phone-number/{NUMBER}")
        assert (answer.status, answer.headers["retry-after"]) == (429, "7")
        assert answer.body["message"] == "Account rate limited, please throttle your requests."
    assert client("GET", f"/get-phone-number/{NUMBER}").status == 200


def test_an_error_after_the_write_was_applied(sandbox: Sandbox, wire: Wire) -> None:
    sandbox.fault("status", status=500, apply=True)
    wire.patch("applied")
    assert wire.answer()[0] == 500
    assert nickname(sandbox) == "applied"
    (entry,) = sandbox.log()
    assert (entry["status"], entry["applied"]) == (500, {"nickname": "applied"})


@pytest.mark.parametrize(("variant", "shown"), [("requested", "told"), ("old", "Frontdesk Main")])
def test_lie(sandbox: Sandbox, wire: Wire, variant: str, shown: str) -> None:
    before = sandbox.number(NUMBER).timestamp
    sandbox.fault("lie", variant=variant, method="PATCH")
    wire.patch("told")
    status, body = wire.answer()
    assert (status, json.loads(body)["nickname"]) == (200, shown)
    assert (json.loads(body)["last_modification_timestamp"] > before) == (variant == "requested")
    assert (nickname(sandbox), sandbox.number(NUMBER).timestamp) == ("Frontdesk Main", before)
    assert sandbox.log()[0]["applied"] is None


def test_stale_reads_show_the_state_before_the_last_change(sandbox: Sandbox, client: Any) -> None:
    sandbox.edit(NUMBER, nickname="new")
    sandbox.fault("stale", times=2)
    assert client("GET", f"/get-phone-number/{NUMBER}").body["nickname"] == "Frontdesk Main"
    listed = client("GET", "/v2/list-phone-numbers").body["items"]
    assert {item["phone_number"]: item["nickname"] for item in listed}[NUMBER] == "Frontdesk Main"
    assert client("GET", f"/get-phone-number/{NUMBER}").body["nickname"] == "new"


def test_stale_reads_of_some_seconds_ago(stopped: Sandbox, still: Any) -> None:
    stopped.clock(advance=100)
    stopped.edit(NUMBER, nickname="new")
    stopped.edit(NUMBER, calls_per_hour=3600)
    stopped.clock(advance=100)
    newest = stopped.calls()[-1]["start_timestamp"]
    stopped.fault("stale", seconds=50, times=None)
    assert still("GET", f"/get-phone-number/{NUMBER}").body["nickname"] == "new"
    lagging = still("POST", "/v3/list-calls", {"limit": 1}).body["items"][0]["start_timestamp"]
    assert newest - lagging > 40_000
    stopped.clear_faults()
    stopped.fault("stale", seconds=150)
    assert still("GET", f"/get-phone-number/{NUMBER}").body["nickname"] == "Frontdesk Main"


def test_truncate(sandbox: Sandbox, wire: Wire) -> None:
    sandbox.fault("truncate", method="PATCH")
    wire.patch("half")
    with pytest.raises(EOFError):
        wire.answer()
    assert nickname(sandbox) == "half"


@pytest.mark.parametrize(("status", "apply"), [(0, False), (503, True)])
def test_html(sandbox: Sandbox, client: Any, status: int, apply: bool) -> None:
    sandbox.fault("html", status=status, apply=apply)
    answer = client("PATCH", f"/update-phone-number/{NUMBER}", {"nickname": "page"})
    assert answer.status == (status or 200)
    assert answer.headers["content-type"].startswith("text/html")
    assert b"<html>" in answer.body
    assert (nickname(sandbox) == "page") is apply


def test_omit(sandbox: Sandbox, client: Any, fits: Callable[..., None]) -> None:
    sandbox.fault("omit", method="PATCH")
    answer = client("PATCH", f"/update-phone-number/{NUMBER}", {"nickname": "short"})
    assert answer.status == 200
    assert answer.body["nickname"] == "short"
    assert not set(LISTS) & set(answer.body)
    fits("/update-phone-number/{phone_number}", "patch", 200, answer.body)
    assert nickname(sandbox) == "short"


def test_half_close_after_an_answer_reads_and_applies_but_never_answers(sandbox: Sandbox, wire: Wire) -> None:
    sandbox.fault("half_close")
    wire.get()
    assert wire.answer()[0] == 200
    assert wire.socket.recv(1) == b""
    wire.patch("unanswered")
    until(lambda: nickname(sandbox) == "unanswered")
    assert wire.rest() == b""
    assert [entry["status"] for entry in sandbox.log()] == [200, None]


def test_half_close_instead_of_an_answer(sandbox: Sandbox, wire: Wire) -> None:
    sandbox.fault("half_close", variant="before")
    wire.patch("nothing")
    assert wire.rest() == b""
    assert nickname(sandbox) == "Frontdesk Main"


def test_faults_choose_their_requests(sandbox: Sandbox, client: Any) -> None:
    sandbox.fault("status", status=500, method="PATCH", number="+14157774445", contains="x", skip=1, times=2)
    sandbox.fault("status", status=503, path="/v2/list-*", times=None)
    for number, text, statuses in (
        (NUMBER, "x", [200, 200]),
        ("+14157774445", "y", [200, 200]),
        ("+14157774445", "x", [200, 500, 500, 200]),
    ):
        path = f"/update-phone-number/{number}"
        assert [client("PATCH", path, {"nickname": text}).status for _ in statuses] == statuses
    assert [client("POST", "/v2/list-agents").status for _ in range(3)] == [503] * 3
    assert [fault.kind for fault in sandbox.faults()] == ["status"]
    assert sandbox.faults()[0].hits == 3
    sandbox.clear_faults()
    assert client("POST", "/v2/list-agents").status == 200


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "melt"}, "kind 'melt' is unknown: write one of latency"),
        ({"kind": "lie", "variant": "white"}, "variant 'white' does not exist for lie: write one of requested, old"),
        ({"kind": "status"}, "status 0 is no error"),
        ({"kind": "drip"}, "seconds is missing"),
        ({"kind": "latency", "seconds": -1}, "seconds -1 is wrong"),
        ({"kind": "lie", "method": "GET"}, "method 'GET' is wrong: lie is for PATCH only"),
        ({"kind": "omit", "times": 0}, "times 0 is less than 1"),
        ({"kind": "omit", "often": 3}, "'often' is not a field of a fault"),
    ],
)
def test_wrong_faults_are_explained(sandbox: Sandbox, client: Any, fields: dict[str, Any], complaint: str) -> None:
    answer = client("POST", "/sandbox/faults", fields)
    assert answer.status == 400
    assert complaint in answer.body["message"]
    assert sandbox.faults() == []


def test_lies_and_late_effects_leave_other_requests_alone(sandbox: Sandbox, client: Any) -> None:
    sandbox.fault("apply_late", seconds=0.0)
    sandbox.fault("lie")
    sandbox.fault("stale")
    made = client("POST", "/create-agent-version/agent_frontdesk", {"base_version": 6})
    assert (made.status, made.body["version"]) == (201, 10)
    assert [fault.hits for fault in sandbox.faults()] == [0, 0, 0]
