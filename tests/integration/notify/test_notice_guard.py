"""What the address of a plan may reach: tried with real connections, to a listener that counts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.egress_guard import Inside, complaint, guarded, inside
from rollout.adapters.notify import Address, Courier, Message, NotTaken, objection
from rollout.domain.plan.notices import Severity
from tests.integration.api.live import live
from tests.integration.notify.receiver import Receiver

MESSAGE = Message("r1:7", "r1", Severity.INFO, "a title", "a body")


def of_a_plan(url: str) -> Address:
    return Address(url, "p" + "0" * 63, "address 1 of plan x (json)", trusted=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fec0::1",
        "fe80::1%eth0",
        "fd00::8",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "not an address",
        "",
    ],
)
def test_addresses_inside_the_network(address: str) -> None:
    assert inside(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_addresses_outside(address: str) -> None:
    assert not inside(address)


SPELLINGS = ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "0.0.0.0", "LOCALHOST"]


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_this_machine_is_connected_to(host: str, receiver: Receiver) -> None:
    with guarded(()) as guard, pytest.raises(Inside):
        socket.create_connection((host, receiver.port), timeout=2).close()
    assert guard.refused is not None
    assert receiver.asked == 0


def test_a_name_that_resolves_to_the_inside_is_caught_at_the_connection(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: real("127.0.0.1", *a, **k))
    with guarded(("other.example",)), pytest.raises(Inside):
        socket.create_connection(("hooks.example.com", receiver.port), timeout=2)


def test_a_host_of_the_settings_is_connected_to(receiver: Receiver) -> None:
    with guarded(("LocalHost.",)) as guard:
        socket.create_connection(("localhost", receiver.port), timeout=2).close()
    assert guard.refused is None


@pytest.mark.parametrize(
    "act",
    [
        lambda port: socket.socket(socket.AF_UNIX).connect("/nowhere"),
        lambda port: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)),
        lambda port: socket.socket().bind(("127.0.0.1", 0)),
        lambda port: subprocess.run([sys.executable, "-c", ""], check=False),
    ],
    ids=["unix", "datagram", "listen", "process"],
)
def test_nothing_else_of_this_machine_is_used(act: Callable[[int], Any], receiver: Receiver) -> None:
    with guarded(()), pytest.raises(Inside):
        act(receiver.port)


def test_outside_of_its_block_the_guard_is_idle(receiver: Receiver) -> None:
    with guarded(()) as guard:
        pass
    socket.create_connection(("127.0.0.1", receiver.port), timeout=2).close()
    assert guard.refused is None


# ------------------------------------------------------------------ by the address itself


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("json://example.com/hook", "write jsons://"),
        ("gotify://example.com/token", "write gotifys://"),
        ("syslog://", "a plan may not use syslog://"),
        ("dbus://", "ROLLOUT_NOTIFY_URLS"),
        ("file:///etc/passwd", "a plan may not use file://"),
        ("gopher://127.0.0.1", "gopher"),
        ("mqtt://10.0.0.1/topic", "mqtt"),
        ("jsons://example.com/?verify=no", "verify="),
        ("jsons://example.com/?redirect=yes", "redirect="),
        ("workflows://h/w/s?template=/etc/passwd", "template="),
        ("jsons://example.com/?RTO=100000", "rto="),
        ("jsons://[::1", "not a valid address"),
    ],
)
def test_addresses_that_a_plan_may_not_use(url: str, words: str) -> None:
    found = complaint(url, ())
    assert found is not None
    assert words in found


@pytest.mark.parametrize(
    "url",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "jsons://example.com/hook?+X-Team=a",
        "mailto://a:b@example.com",
        "https://hooks.slack.com/services/a/b/c",
        "tgram://123:abc/456",
        "ntfys://example.com/topic",
    ],
)
def test_addresses_that_a_plan_may_use(url: str) -> None:
    assert complaint(url, ()) is None


def test_a_host_of_the_settings_may_be_plain() -> None:
    assert complaint("json://Hooks.Internal/x", ("hooks.internal",)) is None


# ------------------------------------------------------------------ by what apprise builds of it

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
OTHERWISE = [  # texts that apprise reads otherwise than a parser of addresses does, and what they would do
    ("workflows://example.com/workflow/signature/?a=1;template=FILE", "template="),
    ("workflows://example.com/workflow/signature/?:a=1;template=FILE", "template="),
    ("workflows://example.com/workflow/signature/?%74emplate=FILE", "template="),
    (SLACK + "/?:a=b;template=FILE", "template="),
    ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?+a=1;template=FILE", "template="),
    ("tgram://123456789:abcdefg_hijklmnop/12315544/?:a=1;TEMPLATE=FILE", "template="),
    ("ntfys://example.com/topic?attach=FILE", "attach="),
    ("ntfys://example.com/topic?:a=1;attach=file://FILE", "attach="),
    ("ntfys://example.com/topic?delay=3d", "delay="),
    ("mailtos://u:p@example.com?pgp=yes", "pgp="),
    ("mailtos://u:p@example.com?:a=1;pgppub=FILE", "pgppub="),
    ("mailtos://u:p@example.com?mode=insecure", "mode=insecure"),
    ("jsons://example.com/?:a=1;retry=5", "retry="),
    ("jsons://example.com/? retry=5", "retry="),
    ("jsons://example.com/?:a=1;wait=60", "wait="),
    ("jsons://example.com/?:a=1;optional=yes", "optional="),
    ("jsons://example.com/?:a=1;verify=no", "verify="),
    ("jsons://example.com/?:a=1;redirect=yes", "redirect="),
    ("jsons://example.com/?:a=1;rto=100000", "rto="),
    ("jsons://example.com/?:a=1;cto=100000", "cto="),
    ("jsons://example.com/?:a=1;store=no", "store="),
    ("jsons://example.com/?something_new=1", "something_new="),
    (SLACK + "".join(f"/%23c{i}" for i in range(30)), "30 receivers"),
    ("json://example.com/", "write jsons://"),
    ("nonsense://example.com/", "may not use nonsense://"),
    ("slack://", "apprise does not know"),
]
TAKEN = [
    SLACK,
    f"{SLACK}/%23general?image=no&footer=no",
    "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?thread=12",
    "https://discord.com/api/webhooks/0000000000/" + "A" * 60,
    "tgram://123456789:abcdefg_hijklmnop/12315544/?topic=3",
    "workflows://example.com/workflow1a/signature123/",
    "https://prod-no.logic.azure.com:443/workflows/643e69f83c8944/triggers/manual/paths/invoke?api-version=1&sp=%2F&sv=1&sig=a",
    "gchat://workspace/key/token",
    "https://chat.googleapis.com/v1/spaces/SPACE/messages?key=KEY&token=TOKEN",
    "wxteams://" + "a" * 80,
    "zulip://bot@org/" + "a" * 32 + "/channel",
    "pagerduty://" + "A" * 32 + "@" + "B" * 32,
    "opsgenie://" + "a" * 36,
    "pover://" + "u" * 30 + "@" + "a" * 30,
    "squadcast://" + "a" * 40,
    "spike://" + "a" * 32,
    "incidentio://01H2X3Y4Z5/" + "a" * 40,
    "sendgrid://abcd:user@example.com/to@example.com",
    "ntfys://example.com/topic?priority=high&tags=a",
    "gotifys://example.com/" + "a" * 16,
    "mmosts://example.com/" + "a" * 24,
    "rockets://user:pass@example.com/%23channel",
    "matrixs://user:pass@example.com/%23room",
    "forms://example.com",
    "mailto://user:pass@example.com?to=ops@example.com&name=rollout&smtp=smtp.example.com",
    "xmls://example.com",
    "jsons://example.com/hook?+X-Team=a&:x=y&-q=z&method=POST",
]


@pytest.mark.parametrize(("url", "words"), OTHERWISE)
def test_a_plan_s_address_is_judged_by_what_apprise_builds(url: str, words: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2hunter2")
    url = url.replace("FILE", str(secret))
    found = objection(url, ())
    assert found is not None and words in found and "hunter2" not in found
    with pytest.raises(NotTaken, match=r"refused: |apprise does not know") as refused:
        Courier().send(of_a_plan(url), MESSAGE)
    assert refused.value.final


@pytest.mark.parametrize("url", TAKEN)
def test_what_apprise_builds_of_usual_addresses_is_taken(url: str) -> None:
    assert objection(url, ()) is None


def test_no_file_of_this_machine_is_read_for_a_plan(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    with guarded(()):
        for read in (secret.read_text, lambda: os.open(secret, os.O_RDONLY), lambda: Path("/etc/passwd").read_bytes()):
            with pytest.raises(Inside, match="local file"):
                read()
        import wave  # a module that nobody has imported: programs may load what they are made of

        assert wave.__name__ == "wave"
    assert secret.read_text() == "hunter2"


def test_check_and_start_refuse_such_an_address_before_anything_is_written(tmp_path: Path) -> None:
    plan = {"notify": [{"url": "jsons://example.com/a"}, {"url": "jsons://example.com/?:a=1;retry=5"}]}
    with live(tmp_path, ticking=False) as service:
        found = service.ask("POST", "/api/v1/plans/check", {"plan": service.plan(**plan)}).json
        assert not found["ok"] and [p for p in found["problems"] if "notify[1].url: a plan may not give retry=" in p]
        started = service.ask("POST", "/api/v1/rollouts", {"plan": service.plan(**plan)})
        assert started.status == 422 and "notify[1].url" in started.raw.decode()
        assert service.ask("GET", "/api/v1/rollouts").json["items"] == []


# ------------------------------------------------------------------ through apprise


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433"])
def test_a_plan_does_not_reach_this_machine(host: str, receiver: Receiver) -> None:
    with pytest.raises(NotTaken) as refused:
        Courier().send(of_a_plan(f"jsons://u:hunter2hunter2@{host}:{receiver.port}/"), MESSAGE)
    assert receiver.asked == 0
    assert "hunter2" not in refused.value.trouble


def test_a_plan_reaches_what_the_settings_allow(receiver: Receiver) -> None:
    Courier(["127.0.0.1"]).send(of_a_plan(receiver.url()), MESSAGE)
    assert [b["message"] for b in receiver.taken] == ["a body"]


def test_a_redirect_is_not_followed(receiver: Receiver, second: Receiver) -> None:
    receiver.status = 307
    receiver.headers = {"Location": f"http://127.0.0.1:{second.port}/"}
    trusted = Address(receiver.url(), "0" * 64, "address 1", trusted=True)
    for address, courier in ((of_a_plan(receiver.url()), Courier(["127.0.0.1"])), (trusted, Courier())):
        with pytest.raises(NotTaken, match="it answered 307"):
            courier.send(address, MESSAGE)
    assert receiver.asked == 2
    assert second.asked == 0


def test_the_settings_are_trusted(receiver: Receiver) -> None:
    Courier().send(Address(receiver.url(), "0" * 64, "address 1", trusted=True), MESSAGE)
    assert receiver.counts() == {"r1:7": 1}
    assert receiver.taken[0]["rollout"] == "r1"


def test_an_unknown_address_is_final() -> None:
    with pytest.raises(NotTaken, match="apprise does not know") as refused:
        Courier().send(Address("nonsense://hunter2hunter2", "0" * 64, "address 1", trusted=True), MESSAGE)
    assert refused.value.final
    assert "hunter2" not in str(refused.value)
