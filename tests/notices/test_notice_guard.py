"""What the address of a plan may reach: tried with real connections, to a listener that counts them."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from rollout.domain.plan_notices import Severity
from rollout.notify import Address, Courier, Message, NotTaken
from rollout.notify_guard import Inside, complaint, guarded, inside
from tests.notices.receiver import Receiver

MESSAGE = Message("r1:7", "r1", Severity.INFO, "a title", "a body")


def of_a_plan(url: str) -> Address:
    return Address(url, "p" + "0" * 63, "address 1 of plan x (json)", trusted=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.0.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
        "fd00::8", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::",
        "not an address", "",
    ],
)  # fmt: skip
def test_addresses_inside_the_network(address: str) -> None:
    assert inside(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_addresses_outside(address: str) -> None:
    assert not inside(address)


SPELLINGS = [
    "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "0.0.0.0", "LOCALHOST",
]  # fmt: skip


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
    with guarded(()):
        pass
    socket.create_connection(("127.0.0.1", receiver.port), timeout=2).close()


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
        ("jsons://[::1", "cannot be read"),
    ],
)
def test_addresses_that_a_plan_may_not_use(url: str, words: str) -> None:
    found = complaint(url, ())
    assert found is not None
    assert words in found


@pytest.mark.parametrize(
    "url",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "jsons://example.com/hook?+X-Team=a", "mailto://a:b@example.com",
        "https://hooks.slack.com/services/a/b/c", "tgram://123:abc/456", "ntfys://example.com/topic",
    ],
)  # fmt: skip
def test_addresses_that_a_plan_may_use(url: str) -> None:
    assert complaint(url, ()) is None


def test_a_host_of_the_settings_may_be_plain() -> None:
    assert complaint("json://Hooks.Internal/x", ("hooks.internal",)) is None


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
