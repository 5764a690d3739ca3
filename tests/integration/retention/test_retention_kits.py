"""Kits do not outlive what they are for: they go when nobody can need them, and no earlier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from jobs.kits import Kits
from jobs.prune import Prune
from jobs.scheduler import Scheduler
from rollout.adapters.store import pruning
from rollout.adapters.store.repository import Store
from rollout.app import App, build
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import TargetState
from rollout.settings import Settings
from tests.support.clock import FakeClock
from tests.support.hand import Hand
from tests.support.values import confirmed, target

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def kits(tmp_path: Path) -> Path:
    """The folder."""
    folder = tmp_path / "kits"
    folder.mkdir()
    return folder


@pytest.fixture
def app(sqlite_url: str, clock: FakeClock, kits: Path) -> Iterator[App]:
    made = build(
        Settings(database_url=sqlite_url, retell_api_key=SecretStr("key_of_a_test"), kit_dir=kits), clock=clock
    )
    yield made
    made.close()


@pytest.fixture
def put(hand: Hand, kits: Path) -> Callable[..., None]:
    """Puts a rollout with its kit there, live or at its end."""
    count = iter(range(1000, 2000))

    def put(id_: str, phase: Phase | None = None, state: TargetState = TargetState.CONFIRMED) -> None:
        number = f"+1415777{next(count)}"
        held = hand.begun(id_, confirmed(number, state=state))
        if phase is not None:
            hand.store.commit(held, Change(rollout={"phase": phase}), [JournalEntry("ended", "service")])
        (kits / f"rollback-{id_}.py").write_text("#!/usr/bin/env python3\n")

    return put


def left(kits: Path) -> set[str]:
    return {path.name for path in kits.iterdir()}


def test_a_kit_stays_for_as_long_as_it_can_roll_back(
    app: App, kits: Path, clock: FakeClock, put: Callable[..., None]
) -> None:
    job = Kits(app)
    put("live")
    put("promoted", Phase.PROMOTED)
    put("stopped", Phase.STOPPED)
    put("back", Phase.ROLLED_BACK)
    assert job.tick() == 0, "a late write may still land"
    clock.advance(2 * HOUR)
    assert job.tick() == 1
    assert left(kits) == {"rollback-live.py", "rollback-promoted.py", "rollback-stopped.py"}
    clock.advance(29 * DAY)
    assert job.tick() == 0
    clock.advance(DAY)
    assert job.tick() == 2
    assert left(kits) == {"rollback-live.py"}
    clock.advance(400 * DAY)
    assert job.tick() == 0


def test_a_kit_goes_when_others_have_taken_every_number(app: App, kits: Path, put: Callable[..., None]) -> None:
    """It would write over what they wrote."""
    put("earlier", Phase.PROMOTED, TargetState.SUPERSEDED)
    assert Kits(app).tick() == 1
    assert left(kits) == set()


def test_a_kit_of_a_rollout_that_wrote_nothing_goes(app: App, kits: Path, hand: Hand, put: Callable[..., None]) -> None:
    held = hand.begun("idle", target("+14157770001"))
    hand.store.commit(held, Change(rollout={"phase": Phase.STOPPED}), [JournalEntry("ended", "service")])
    (kits / "rollback-idle.py").write_text("")
    assert Kits(app).tick() == 1


def test_what_is_no_kit_of_ours_is_left_alone(app: App, kits: Path, clock: FakeClock, put: Callable[..., None]) -> None:
    others = {"rollback-of-another-database.py", "rollback-back.log", "notes.txt", "rollback-.py"}
    for name in others:
        (kits / name).write_text("")
    put("back", Phase.ROLLED_BACK)
    clock.advance(500 * DAY)
    assert Kits(app).tick() == 1
    assert left(kits) == others


def test_no_folder_is_no_trouble(app: App, kits: Path) -> None:
    kits.rmdir()
    assert Kits(app).tick() == 0


def test_the_service_looks_through_its_kits(app: App) -> None:
    scheduler = Scheduler(app)
    scheduler.start()
    try:
        assert scheduler._scheduler.get_job("kits") is not None
    finally:
        scheduler.stop()


def test_pruning_goes_on_until_nothing_past_its_time_is_left(
    app: App, store: Store, clock: FakeClock, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five hundred a day were removed, and a busy service ends more than that."""
    for i in range(7):
        put(f"old{i}", Phase.ROLLED_BACK)
    clock.advance(500 * DAY)
    monkeypatch.setattr(pruning, "MOST_PRUNED", 2)
    assert len(store.pruning.prunable(timedelta(days=400))) == 2
    assert Prune(app).tick() == 7
