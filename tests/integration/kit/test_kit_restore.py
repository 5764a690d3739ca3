"""The kit against a sandbox over real sockets: what it sends, how often, and when it says that it is done."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from rollout.sandbox import Sandbox
from tests.integration.kit.kit_program import AGENT, BASELINE, FORWARD, KEY, ONE, OUTBOUND, Kit

Make = Callable[..., Kit]


def writes(world: Sandbox, number: str = ONE) -> list[dict[str, Any]]:
    return world.log(number=number, method="PATCH")


def serves_baseline(world: Sandbox, number: str = ONE) -> bool:
    return world.number(number).to_json()["inbound_agents"] == BASELINE


def until(true: Callable[[], bool]) -> None:
    """Wait for the other process, at most ten seconds."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def quick(made: Kit) -> Kit:
    """The same program with shorter pauses between tries."""
    made.change("PAUSES = (0.3, 1.0, 2.0,", "PAUSES = (0.1, 0.2, 0.3,")
    return made


def test_one_number_goes_back_verbatim(world: Sandbox, kit: Make) -> None:
    ran = kit().run()
    assert ran.code == 0, ran
    (write,) = writes(world)
    assert json.loads(write["body"]) == {"inbound_agents": BASELINE}
    assert "%2B" not in write["path"]  # the log shows the decoded path: the plus arrived as a plus
    shown = world.number(ONE).to_json()
    assert (shown["inbound_agents"], shown["outbound_agents"]) == (BASELINE, FORWARD)
    assert shown["nickname"] == "Front"
    assert "restored, sent once" in ran.out
    assert ran.err == ""


def test_25_numbers_with_two_channels(world: Sandbox, kit: Make) -> None:
    numbers = [f"+141555502{n:02}" for n in range(25)]
    ran = kit(numbers, ("inbound", "outbound")).run(flags="-I -S")
    assert ran.code == 0, ran
    for number in numbers:
        (write,) = writes(world, number)
        assert json.loads(write["body"]) == {"inbound_agents": BASELINE, "outbound_agents": OUTBOUND}
        shown = world.number(number).to_json()
        assert (shown["inbound_agents"], shown["outbound_agents"]) == (BASELINE, OUTBOUND)
    assert ran.out.count("restored, sent once") == 25


@pytest.mark.real_time
def test_at_most_eight_requests_at_a_time(world: Sandbox, kit: Make) -> None:
    numbers = [f"+141555502{n:02}" for n in range(9)]
    world.fault("latency", method="PATCH", seconds=0.8, times=None)
    assert kit(numbers).run("--no-watch").code == 0
    began = sorted(entry["wall"] for entry in world.log(method="PATCH"))
    assert began[7] - began[0] < 0.75 < began[8] - began[0]


FAULTS: dict[str, dict[str, Any]] = {
    "dropped": {"kind": "drop_before"},
    "dropped three times": {"kind": "drop_before", "times": 3},
    "reset": {"kind": "drop_before", "variant": "reset"},
    "answer lost": {"kind": "drop_after"},
    "500": {"kind": "status", "status": 500, "times": 2},
    "500 but applied": {"kind": "status", "status": 500, "apply": True},
    "502 page": {"kind": "html", "status": 502},
    "200 page": {"kind": "html"},
    "200 that shows the old split": {"kind": "lie", "variant": "old"},
    "200 that applied nothing": {"kind": "lie"},
    "truncated": {"kind": "truncate"},
}


@pytest.mark.parametrize("name", FAULTS)
def test_sends_until_it_has_a_200_of_its_own(name: str, world: Sandbox, kit: Make) -> None:
    fault = FAULTS[name]
    world.fault(**{"method": "PATCH", **fault})
    ran = quick(kit()).run()
    assert ran.code == 0, ran
    assert serves_baseline(world)
    met = fault.get("times", 1)
    statuses = [entry["fault"] for entry in writes(world)]
    assert len(statuses) == met + 1 and None not in statuses[:met] and statuses[met] is None
    assert "trying again" in ran.out or "sending the baseline again" in ran.out


def test_a_lost_write_on_a_number_at_its_baseline_is_sent_again(world: Sandbox, kit: Make) -> None:
    made = kit()
    world.edit(ONE, inbound_agents=BASELINE)
    world.fault("drop_before", method="PATCH", times=2)
    assert quick(made).run().code == 0
    assert [entry["status"] for entry in writes(world)] == [None, None, 200]


def test_an_answer_without_lists_is_decided_by_the_read_back(world: Sandbox, kit: Make) -> None:
    world.fault("omit", method="PATCH")
    assert kit().run().code == 0
    assert len(writes(world)) == 1
    assert serves_baseline(world)


def test_waits_as_long_as_retry_after_says(world: Sandbox, kit: Make) -> None:
    world.fault("status", method="PATCH", status=429, retry_after=1)
    assert kit().run().code == 0
    first, second = writes(world)
    assert second["wall"] - first["wall"] >= 1.0


@pytest.mark.real_time
def test_a_dripped_answer_ends_and_the_others_do_not_wait(world: Sandbox, kit: Make) -> None:
    others = [f"+1415555030{n}" for n in range(4)]
    made = kit([ONE, *others])
    made.change("DEADLINE = 15.0", "DEADLINE = 0.5")
    world.fault("drip", method="PATCH", number=ONE, seconds=20)
    began = time.monotonic()
    assert made.run().code == 0
    assert time.monotonic() - began < 10
    first, second = writes(world)
    assert 0.5 <= second["wall"] - first["wall"] < 5
    others_at = [writes(world, number)[0]["wall"] for number in others]
    assert max(others_at) < second["wall"]


def test_stale_reads_are_no_proof(world: Sandbox, kit: Make) -> None:
    world.fault("stale", method="GET", times=2)
    ran = kit().run("--no-watch")
    assert ran.code == 0, ran
    assert [entry["method"] for entry in world.log(number=ONE)] == ["PATCH", "GET", "GET", "GET"]
    assert "older than our write" in ran.out


def test_a_late_step_of_the_service_is_overwritten_and_watched_anew(world: Sandbox, kit: Make) -> None:
    made = kit(lease=0.5, horizon=1.0)
    process = made.start()
    until(lambda: len(world.log(number=ONE, method="GET")) >= 3)
    assert serves_baseline(world)
    world.edit(ONE, inbound_agents=FORWARD)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0, out
    assert serves_baseline(world)
    first, second = writes(world)
    assert first["body"] == second["body"]
    assert "shows the split that was confirmed when this kit was written" in out
    last_read = world.log(number=ONE, method="GET")[-1]
    assert last_read["wall"] - second["wall"] >= 1.5


def test_a_write_that_lands_late_by_itself(world: Sandbox, kit: Make) -> None:
    made = kit(lease=0.5, horizon=1.5)
    world.fault("apply_late", variant="close", method="PATCH", contains='"agent_version": 7', seconds=1.0)
    body = json.dumps({"inbound_agents": FORWARD})
    with socket.create_connection(("127.0.0.1", world.port), timeout=5) as service:
        head = f"PATCH /update-phone-number/%2B{ONE[1:]} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        service.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        service.recv(1)
    ran = made.run()
    assert ran.code == 0, ran
    assert serves_baseline(world)
    history = [state["inbound_agents"] for state in world.history(ONE)]
    assert history == [FORWARD, BASELINE, FORWARD, BASELINE]


@pytest.mark.real_time
def test_the_watch_ends_on_a_read_at_its_end(world: Sandbox, kit: Make) -> None:
    assert kit(lease=0.3, horizon=0.6).run().code == 0
    (write,) = writes(world)
    reads = world.log(number=ONE, method="GET")
    assert reads[0]["seq"] > write["seq"]
    assert 0.9 <= reads[-1]["wall"] - write["wall"] < 3
    assert len(reads) >= 4


def test_a_last_read_that_fails_is_made_again(world: Sandbox, kit: Make) -> None:
    made = quick(kit(lease=0.2, horizon=0.4))
    process = made.start()
    until(lambda: len(world.log(number=ONE, method="GET")) >= 2)
    world.fault("status", method="GET", status=503, times=3)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0, out
    assert world.log(number=ONE, method="GET")[-1]["status"] == 200


@pytest.mark.real_time
def test_somebody_who_keeps_changing_the_number(world: Sandbox, kit: Make) -> None:
    made = kit()
    over = threading.Event()

    def fight() -> None:
        while not over.wait(0.02):
            if serves_baseline(world) and len(world.log(number=ONE, method="GET")) > 1:
                world.edit(ONE, inbound_agents=FORWARD)

    other = threading.Thread(target=fight)
    other.start()
    try:
        ran = made.run("--give-up", "1")
    finally:
        over.set()
        other.join()
    assert ran.code == 1
    assert "keeps changing it" in ran.out


def test_no_watch_says_what_is_given_up(world: Sandbox, kit: Make) -> None:
    ran = kit(lease=45, horizon=200).run("--no-watch")
    assert ran.code == 0, ran
    assert "Given up: a step that the service decided on earlier may land within 245 s" in ran.out
    assert [entry["method"] for entry in world.log(number=ONE)] == ["PATCH", "GET"]
    assert serves_baseline(world)


def test_a_number_that_is_gone_does_not_stop_the_others(world: Sandbox, kit: Make) -> None:
    made = kit(["+14155550111", ONE, "+14155550112"])
    world.delete_number(ONE)
    ran = made.run()
    assert ran.code == 1
    assert f"{ONE}  gone: Retell does not know this number (422)" in ran.out
    assert serves_baseline(world, "+14155550111")
    assert serves_baseline(world, "+14155550112")
    assert len(writes(world)) == 1


def test_a_number_that_is_gone_during_the_watch_is_not_restored(world: Sandbox, kit: Make) -> None:
    process = kit([ONE, "+14155550112"], lease=1.0, horizon=2.0).start()
    until(lambda: len(world.log(number=ONE, method="GET")) >= 2)
    world.delete_number(ONE)
    out, _ = process.communicate(timeout=20)
    assert f"{ONE}  restored: " in out and f"{ONE}  gone: Retell does not know this number" in out
    assert process.returncode == 1, out


def test_a_baseline_that_retell_refuses(world: Sandbox, kit: Make) -> None:
    made = kit([ONE, "+14155550112"], ("outbound",))
    world.delete_version(AGENT, 5)
    ran = made.run()
    assert ran.code == 1
    assert f"{ONE}  Retell refuses the baseline (422: " in ran.out
    assert len(writes(world)) == 1


def test_a_program_that_writes_back_at_once_is_met_at_growing_pauses_and_named(world: Sandbox, kit: Make) -> None:
    made = kit(lease=2.0, horizon=3.0)
    process = made.start()
    for taken in range(1, 5):
        until(lambda taken=taken: len([w for w in writes(world) if w["status"] == 200]) >= taken)
        world.edit(ONE, inbound_agents=FORWARD)
    process.terminate()
    out, _ = process.communicate(timeout=20)
    at = [w["wall"] for w in writes(world)]
    gaps = [b - a for a, b in pairwise(at)]
    assert gaps[0] >= 0.9 and gaps[1] >= 1.9 and gaps[2] >= 3.9, gaps
    assert "another program or person writes this number: Retell took the baseline 3 times" in out


@pytest.mark.parametrize("status", [400, 422])
def test_a_baseline_that_retell_refuses_as_it_was_read_is_sent_adding_up_to_exactly_one(
    world: Sandbox, kit: Make, status: int
) -> None:
    thirds = [{"agent_id": AGENT, "agent_version": v, "weight": 0.3333} for v in (5, 6, 7)]
    exact = [{**thirds[0], "weight": 0.3334}, *thirds[1:]]
    if status == 422:
        world.fault("status", method="PATCH", status=422, contains="0.3333")
    ran = kit(baseline=thirds).run()
    assert ran.code == 0, ran
    assert world.number(ONE).to_json()["inbound_agents"] == exact
    assert [json.loads(w["body"])["inbound_agents"] for w in writes(world)] == [thirds, exact]
    assert f"Retell refuses the baseline as it was read ({status}" in ran.out


def test_a_refused_key_ends_it_at_once(world: Sandbox, kit: Make) -> None:
    made = kit([f"+141555502{n:02}" for n in range(25)])
    ran = made.run(key="key_of_another_workspace")
    assert ran.code == 4
    assert "STOPPED: Retell refuses the API key (401)" in ran.out
    assert ran.out.count("NOT restored") == 25
    assert 1 <= len(world.log()) <= 8


def test_retell_cannot_be_reached(kit: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    ran = kit(base_url=url).run("--give-up", "0.5")
    assert ran.code == 4
    assert "Retell could not be reached" in ran.out
    assert "Connection refused" in ran.out


def test_retell_that_comes_back_is_used(world: Sandbox, kit: Make) -> None:
    made = kit()
    world.fault("drop_before", times=None)
    process = made.start("--no-watch")
    until(lambda: len(writes(world)) >= 2)
    world.clear_faults()
    assert process.wait(20) == 0
    assert serves_baseline(world)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_says_where_it_stands(name: str, world: Sandbox, kit: Make) -> None:
    made = kit([ONE, "+14155550112"], lease=45, horizon=200)
    process = made.start()
    until(lambda: made.log.is_file() and made.log.read_text().count('"restored"') == 2)  # the kit has read the answers
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=10)
    assert process.returncode == 1, err
    assert "INTERRUPTED" in out
    assert len(re.findall(r"  restored; the watch was cut short, 2\d\d s were left", out)) == 2
    assert err == ""


def test_a_terminal_that_goes_away_does_not_end_the_watch(world: Sandbox, kit: Make) -> None:
    process = kit(lease=0.4, horizon=0.8).start()
    until(lambda: len(world.log(method="GET")) >= 1)
    process.send_signal(signal.SIGHUP)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert process.wait(20) == 0
    (write,) = writes(world)
    assert world.log(method="GET")[-1]["wall"] - write["wall"] >= 1.2
