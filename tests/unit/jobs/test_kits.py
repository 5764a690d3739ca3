"""The folder of kits: which files are ours, for how long, and one that cannot be removed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.kits import AFTER_ROLLBACK, Kits
from rollout.app import App
from tests.support import logs

NAMES = ("rollback-a.py", "rollback-b-2_C.py", f"rollback-{'x' * 64}.py")
OTHERS = ("rollback-.py", "rollback--a.py", f"rollback-{'x' * 65}.py", "rollback-é.py", "rollback-a.pyc", "a.py")


def test_the_kits_that_nobody_needs_are_removed_and_no_other_file(
    make_app: Callable[..., App], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*NAMES, *OTHERS):
        (tmp_path / name).write_text("")
    app = make_app(kit_dir=tmp_path, rollback_days=50)
    asked: list[tuple[set[str], timedelta, timedelta]] = []

    def beyond(ids: list[str], keep: timedelta, soon: timedelta) -> list[str]:
        asked.append((set(ids), keep, soon))
        return ["a", "b-2_C"]

    monkeypatch.setattr(app.store.pruning, "beyond_kits", beyond)
    with logs.captured() as logged:
        assert Kits(app).tick() == 2
    assert asked == [({"a", "b-2_C", "x" * 64}, timedelta(days=50), AFTER_ROLLBACK)]
    assert {path.name for path in tmp_path.iterdir()} == {NAMES[2], *OTHERS}
    assert [(e["event"], e["count"], e["left"]) for e in logged] == [("kits removed", 2, 1)]
    monkeypatch.setattr(app.store.pruning, "beyond_kits", lambda *_asked: [])
    with logs.captured() as logged:
        assert Kits(app).tick() == 0
    assert logged == []


def test_a_kit_that_cannot_be_removed_is_said_and_the_others_go(
    make_app: Callable[..., App], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rollback-a.py").mkdir()
    (tmp_path / "rollback-b.py").write_text("")
    app = make_app(kit_dir=tmp_path)
    monkeypatch.setattr(app.store.pruning, "beyond_kits", lambda ids, *_asked: ids)
    with logs.captured() as logged:
        assert Kits(app).tick() == 1
    assert [e["file"] for e in logged if e["event"] == "a kit was not removed"] == ["rollback-a.py"]


@pytest.mark.parametrize("settings", [{}, {"kit_dir": "gone"}])
def test_without_a_folder_nothing_is_looked_for(
    make_app: Callable[..., App], tmp_path: Path, settings: dict[str, Any]
) -> None:
    settings = {name: tmp_path / value for name, value in settings.items()}
    assert Kits(make_app(**settings)).tick() == 0


@pytest.mark.parametrize("idle", [120, 4_000])
def test_a_kit_stays_until_no_late_write_can_land_any_more(make_app: Callable[..., App], idle: float) -> None:
    app = make_app(provider_idle=idle)
    twice = timedelta(seconds=2 * app.settings.horizon)
    assert Kits(app).soon == (twice if idle == 4_000 else timedelta(hours=1))
    assert (twice > timedelta(hours=2)) is (idle == 4_000)
