"""From the journal to real services on loopback: once, in the end always, and beside a driver that never waits."""

from __future__ import annotations

import json
import logging
import socket
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from sqlalchemy import event

from jobs import notify
from jobs.notify import Notify
from rollout.adapters.store.gate_records import StoredGateRecords
from rollout.adapters.store.outbox import Outbox
from rollout.adapters.telemetry.logs import REDACTOR
from rollout.domain.errors import PreflightRefused
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.records import JournalEntry
from rollout.engine.gate_check import GateCheck
from tests.integration.notify.conftest import Replicas
from tests.integration.notify.receiver import Receiver
from tests.support import logs
from tests.support.scene import ME, Scene
from tests.support.service import wait_until
from tests.support.values import ONE, target

SECRET = "hunter2hunter2"


def tell(job: Notify, seconds: float = 10) -> int:
    """One look, and all that follows from it."""
    found = job.tick()
    job.wait_for_deliveries(seconds)
    return found


def titles(receiver: Receiver) -> list[str]:
    return [body["title"].partition("): ")[2] for body in receiver.taken]


@pytest.fixture
def told(sqlite_url: str, receiver: Receiver) -> Scene:
    return Scene(sqlite_url, notify_urls=[receiver.url()])


def started(replicas: Replicas, *ids: str) -> None:
    """Rollouts whose start is in the journal, beside every driver."""
    for number, id_ in enumerate(ids):
        held = replicas.hand.begun(id_, target(f"+1415777{number:04}"))
        replicas.store.commit(held, Change(), [JournalEntry("begun", "service", "pre-flight passed")])


# ------------------------------------------------------------------ a rollout's life


def test_a_good_rollout_is_told_twice(told: Scene, receiver: Receiver) -> None:
    with told as scene:
        job = Notify(scene.app)
        scene.given(steps=[{"weight": 0.1, "hold": "30m"}, {"weight": 1.0, "hold": "1h"}])
        for _ in range(40):
            scene.after(300)
            tell(job)
        scene.stands("promoted")
        assert titles(receiver) == ["started", "promoted"]
        assert all(n == 1 for n in receiver.counts().values())


def test_a_rollback_is_told_when_ordered_and_when_read_back(told: Scene, receiver: Receiver) -> None:
    with told as scene:
        job = Notify(scene.app)
        scene.given_at(1)
        tell(job)
        scene.app.commands.rollback(scene.id, ME)
        tell(job)
        scene.drive()
        tell(job)
        assert titles(receiver) == ["started", "rolling back", "rolled back: the baseline serves the callers again"]
        assert "read back at the baseline" in receiver.taken[-1]["message"]


def test_drift_asks_for_a_person(told: Scene, receiver: Receiver) -> None:
    with told as scene:
        job = Notify(scene.app)
        scene.given_at(1)
        scene.sandbox.edit(ONE, inbound_agents=[{"agent_id": "agent_x", "agent_version": 1, "weight": 1}])
        scene.scan()
        scene.stands("held", reason="drift")
        tell(job)
        assert titles(receiver)[-1] == "held (drift): it needs your decision"
        assert "adopt" in receiver.taken[-1]["message"]
        assert receiver.taken[-1]["type"] == "warning"


def test_an_approval_is_asked_for_when_all_else_is_green(told: Scene, receiver: Receiver) -> None:
    with told as scene:
        job = Notify(scene.app)
        scene.given(steps=[{"weight": 0.1, "hold": "30m", "approve": True}, {"weight": 1.0, "hold": "1h"}])
        scene.after(1000)
        tell(job)
        assert titles(receiver) == ["started"]
        scene.after(2000)
        tell(job)
        tell(job)
        assert titles(receiver)[1:] == ["step 1.1 waits for your approval"]
        assert f"rollout promote {scene.id} --expect 1.1" in receiver.taken[-1]["message"]
        scene.app.commands.promote(scene.id, ME)
        scene.after(10)
        tell(job)
        assert len(receiver.taken) == 2


def test_a_rollback_that_fails_and_a_refused_key_are_told(told: Scene, receiver: Receiver) -> None:
    with told as scene:
        job = Notify(scene.app)
        scene.given_at(1)
        scene.sandbox.fault("status", status=401, times=None)
        scene.app.commands.rollback(scene.id, ME)
        scene.after(40)
        tell(job)
        assert "Retell refuses the API key" in receiver.taken[-1]["title"]
        scene.after(40)
        tell(job)
        tell(job)
        assert [t for t in titles(receiver) if "is not complete after" in t] == [
            "the rollback is not complete after 1m20s"
        ]
        assert sum("refuses the API key" in b["title"] for b in receiver.taken) == 1
        scene.sandbox.clear_faults()
        scene.after(60)
        tell(job)
        assert titles(receiver)[-1].startswith("rolled back")
        assert job.sources.key_since(False) is None


def test_gates_that_cannot_see_the_calls_are_told_once(told: Scene, receiver: Receiver) -> None:
    with told as scene:
        job, app = Notify(scene.app), scene.app
        app.driver.facts.gates = GateCheck(StoredGateRecords(app.database))
        scene.given_at(1, gates={"profile": "standard"})
        for _ in range(6):
            app.store.calls.mark_trouble(ONE, "inbound", scene.clock.now(), "down")
            scene.clock.to(scene.clock.now() + timedelta(minutes=5))
            app.store.wake([scene.id], read_numbers=False)
            scene.drive()
            tell(job)
        assert scene.rollout.verdict is not None and scene.rollout.verdict.outcome == "unmeasurable"
        assert titles(receiver) == ["started", "its gates cannot be measured"]


def test_a_look_that_finds_nothing_new_is_one_statement(told: Scene, receiver: Receiver) -> None:
    with told as scene:
        job, said = Notify(scene.app), list[str]()
        scene.given_at(1)
        tell(job)
        event.listen(scene.app.database.engine, "before_cursor_execute", lambda *a: said.append(a[2]))
        assert tell(job) == 0
        assert len(said) == 1
        scene.app.commands.rollback(scene.id, ME)
        tell(job)
        assert titles(receiver) == ["started", "rolling back"], "what is new ends the quiet"
        scene.drive()
        tell(job)
        scene.clock.to(scene.clock.now() + 2 * notify.MARK_EVERY)
        said.clear()
        tell(job)
        assert len(said) > 1, "and so does time, for entries that became visible late"


def test_the_mark_is_moved_once_a_minute(told: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with told as scene:
        job, moved = Notify(scene.app), list[object]()
        monkeypatch.setattr(job.sources, "set_mark", moved.append)
        monkeypatch.setattr(job.sources, "mark", lambda: (moved[-1] if moved else None, scene.app.store.now()))
        for seconds, times in ((0, 1), (30, 1), (31, 2)):
            scene.clock.advance(seconds)
            job.fill()
            assert len(moved) == times


def test_a_plan_tells_its_own_people(sqlite_url: str, receiver: Receiver, second: Receiver) -> None:
    own = {"url": second.url(), "events": ["step", "rolled_back"], "min_severity": "info"}
    with Scene(sqlite_url, notify_urls=[receiver.url()], notify_hosts=["127.0.0.1"]) as scene:
        job = Notify(scene.app)
        scene.given_at(1, notify=[own, {"url": receiver.url(), "min_severity": "critical"}])
        scene.app.commands.rollback(scene.id, ME)
        scene.drive()
        tell(job)
        assert titles(second)[0] == "step 1.1 is live"
        assert [t.split(":")[0] for t in titles(second)[1:]] == ["rolling back", "rolled back"]
        assert len(titles(receiver)) == 3  # an address that both name is told once
        assert all(n == 1 for n in receiver.counts().values())


def test_a_plan_cannot_make_the_service_talk_to_its_neighbours(
    sqlite_url: str, receiver: Receiver, second: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = f"jsons://hooks.example.com:{second.port}/"  # what it means is seen by whoever connects
    real = socket.getaddrinfo
    named = {"hooks.example.com": "127.0.0.1"}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: real(named.get(host, host), *a, **k))
    with Scene(sqlite_url, notify_urls=[receiver.url()]) as scene:
        job = Notify(scene.app)
        for plain in (second.url(), f"jsons://127.0.0.1:{second.port}/", "jsons://localhost/"):
            with pytest.raises(PreflightRefused, match=r"notify\[0\]\.url: .*ROLLOUT_NOTIFY_HOSTS"):
                scene.given_at(1, notify=[{"url": plain}])
        scene.given_at(1, notify=[{"url": inside}])
        tell(job)
        assert second.asked == 0
        assert titles(receiver) == ["started"]
        (failing,) = job.outbox.failing()
        assert failing.trouble.startswith("refused: it leads to 127.0.0.1")


# ------------------------------------------------------------------ services that fail


@pytest.mark.usefixtures("impatient")
def test_a_service_that_fails_gets_everything_when_it_works_again(replicas: Replicas, receiver: Receiver) -> None:
    job = replicas.another(receiver.url())
    started(replicas, "r1", "r2", "r3")
    receiver.status = 503
    tell(job)
    assert receiver.taken == []
    (failing,) = job.outbox.failing()
    assert failing.trouble == "it answered 503"
    assert failing.name == "address 1 of the settings (json)"
    job.fill()
    assert job.trouble == "notices cannot be delivered to address 1 of the settings (json): it answered 503"
    receiver.status = 200

    def again() -> bool:
        tell(job)
        return len(receiver.taken) == 3

    wait_until(again, 10)
    assert all(n == 1 for n in receiver.counts().values())
    assert job.outbox.failing() == []
    job.fill()
    assert job.trouble == ""


@pytest.mark.usefixtures("impatient")
def test_a_failing_service_is_told_to_the_others(
    replicas: Replicas, receiver: Receiver, second: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "FAILING_AFTER", timedelta(0))
    job = replicas.another(receiver.url(), second.url())
    started(replicas, "r1")
    receiver.status = 500
    tell(job)
    tell(job)
    tell(job)
    assert [b["title"] for b in second.taken][1:] == ["notices cannot be delivered to address 1 of the settings (json)"]
    assert "it answered 500" in second.taken[-1]["message"]
    assert SECRET not in json.dumps(second.taken)
    assert str(receiver.port) not in second.taken[-1]["message"]


def test_pauses_between_tries_grow(replicas: Replicas, receiver: Receiver) -> None:
    job = replicas.another(receiver.url())
    started(replicas, "r1")
    receiver.status = 500
    waits = []
    for _ in range(4):
        tell(job)
        ((due, tries),) = replicas.hand.run("SELECT due_at, tries FROM outbox")
        waits.append((due, tries))
        replicas.hand.run("UPDATE outbox SET due_at = created_at")
    assert [tries for _, tries in waits] == [1, 2, 3, 4]
    assert receiver.asked == 4
    tell(job)
    before = receiver.asked
    tell(job)
    assert receiver.asked == before  # not due: it is left in peace


@pytest.mark.usefixtures("impatient")
def test_one_notice_that_is_refused_does_not_keep_the_others(
    replicas: Replicas, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replicas.another(receiver.url())
    started(replicas, "r1", "r2", "r3")
    send = job.courier.send

    def picky(address: notify.Address, message: notify.Message) -> float:
        if message.rollout_id == "r1":
            raise notify.NotTaken("it answered 400")
        return send(address, message)

    monkeypatch.setattr(job.courier, "send", picky)

    def others() -> bool:
        tell(job)
        return len(receiver.taken) == 2

    wait_until(others, 10)
    assert {b["rollout"] for b in receiver.taken} == {"r2", "r3"}


def test_a_service_that_hangs_keeps_nobody_waiting(replicas: Replicas, receiver: Receiver, second: Receiver) -> None:
    job = replicas.another(receiver.url(), second.url())
    job.warm()
    started(replicas, "r1")
    receiver.hang.clear()
    job.tick()
    wait_until(lambda: len(second.taken) == 1, 5)
    job.tick()  # returns although the first one hangs
    assert receiver.taken == []
    receiver.hang.set()
    job.wait_for_deliveries(10)
    assert len(receiver.taken) == 1


def test_a_notice_that_cannot_be_delivered_is_given_up_after_a_week(replicas: Replicas, receiver: Receiver) -> None:
    job = replicas.another(receiver.url())
    started(replicas, "r1")
    receiver.status = 500
    tell(job)
    assert job.outbox.tidy(timedelta(days=7), timedelta(days=30)) == 0
    assert job.outbox.tidy(timedelta(0), timedelta(days=30)) == 1
    ((due, trouble),) = replicas.hand.run("SELECT due_at, trouble FROM outbox")
    assert due is None
    assert trouble == "given up: it answered 500"
    assert job.outbox.failing() == []
    assert job.outbox.tidy(timedelta(0), timedelta(0)) == 0
    assert replicas.hand.run("SELECT id FROM outbox") == []


# ------------------------------------------------------------------ once, and never lost


def test_restarts_tell_nothing_twice(replicas: Replicas, receiver: Receiver) -> None:
    first = replicas.another(receiver.url())
    started(replicas, "r1", "r2")
    assert tell(first) == 2
    second = replicas.another(receiver.url())
    assert tell(second) == 0
    assert tell(first) == 0
    assert sorted(receiver.counts().values()) == [1, 1]


def test_what_happened_while_no_service_ran_is_told_later(replicas: Replicas, receiver: Receiver) -> None:
    first = replicas.another(receiver.url())
    first.fill()
    first.stop()
    started(replicas, "r1")
    moved = (replicas.store.now() - timedelta(days=3)).isoformat()
    replicas.hand.run("UPDATE meta SET value = :v WHERE key = 'notices:mark'", v=moved)
    assert tell(replicas.another(receiver.url())) == 1
    assert len(receiver.taken) == 1


def test_a_notice_whose_sender_died_is_sent_by_another(replicas: Replicas, receiver: Receiver) -> None:
    first, second = replicas.another(receiver.url()), replicas.another(receiver.url())
    started(replicas, "r1")
    first.fill()
    (channel,) = first.addresses
    assert len(first.outbox.claim(channel, timedelta(seconds=0), 5)) == 1  # it dies here
    assert first.outbox.claim(channel, timedelta(seconds=60), 5)  # the lease had run out
    assert second.outbox.claim(channel, timedelta(seconds=60), 5) == []  # and now it has not
    assert second.outbox.waiting() == []
    assert receiver.taken == []


def test_entries_are_read_by_pages(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    from rollout.adapters.store import notice_sources

    monkeypatch.setattr(notice_sources, "ROLLOUTS_READ", 3)
    job = replicas.another("json://127.0.0.1:9/")
    started(replicas, *[f"r{i}" for i in range(8)])
    assert job.fill() == 8
    assert job.fill() == 0


def test_an_entry_that_cannot_be_put_into_words_keeps_no_other(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replicas.another("json://127.0.0.1:9/")
    started(replicas, "r1", "r2")
    real = notify.of_entry

    def broken(r: object, e: object, *more: object) -> object:
        if getattr(r, "id", "") == "r1":
            raise ValueError("odd")
        return real(r, e, *more)

    monkeypatch.setattr(notify, "of_entry", broken)
    assert job.fill() == 1


# ------------------------------------------------------------------ secrets


def test_the_address_is_nowhere_but_in_the_settings(
    sqlite_url: str, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    lines: list[str] = []
    with logs.kept(), Scene(sqlite_url, notify_urls=[receiver.url()]) as scene:
        structlog.configure(
            processors=[lambda _l, _m, event: (lines.append(str(event)), event)[1], structlog.dev.ConsoleRenderer()]
        )
        job = Notify(scene.app)
        scene.given_at(1)
        receiver.status = 500
        tell(job)
        receiver.status = 200
        tell(job)
    folder = Path(sqlite_url.removeprefix("sqlite:///")).parent
    files = [p for p in folder.iterdir() if p.is_file()]
    assert files
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in "".join(lines) + caplog.text
    assert "/hook" not in "".join(lines) + caplog.text  # a path may be a token
    assert any("notice not accepted" in line for line in lines)
    assert REDACTOR.clean(f"x {receiver.url()} y") == "x *** y"


def test_threads_end_with_the_job(replicas: Replicas, receiver: Receiver) -> None:
    job = replicas.another(receiver.url())
    started(replicas, "r1")
    tell(job)
    job.stop()
    assert not [t for t in threading.enumerate() if t.name.startswith("notify-")]
    assert job.deliver() == 0
    assert isinstance(job.outbox, Outbox)


@pytest.mark.parametrize("told_to", ["json://127.0.0.1:9/", ""], ids=["somebody", "nobody"])
def test_what_was_looked_through_is_not_read_again(
    replicas: Replicas, told_to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each new entry is read once, however many there were in the last ten minutes, and whoever is to be told."""
    from rollout.adapters.store import notice_sources

    job = replicas.another(*[told_to] * bool(told_to))
    started(replicas, *[f"r{i}" for i in range(30)])
    job.fill()
    read: list[str] = []
    recorded, to_rollout = notice_sources.recorded, notice_sources.to_rollout
    monkeypatch.setattr(notice_sources, "recorded", lambda row: (read.append(row.rollout_id), recorded(row))[1])
    monkeypatch.setattr(notice_sources, "to_rollout", lambda row: (read.append(row.id), to_rollout(row))[1])
    job.fill()
    assert read == []
    held = replicas.hand.begun("new", target("+14157779999"))
    replicas.store.commit(held, Change(), [JournalEntry("begun", "service", "pre-flight passed")])
    job.fill()
    assert read and set(read) == {"new"}
