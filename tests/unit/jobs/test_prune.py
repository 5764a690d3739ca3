"""What is removed in one round, how often it is tried, and what a limit means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs import prune
from jobs.prune import Prune, limits
from rollout.adapters.store.pruning import BATCH, Retention
from rollout.app import App
from rollout.domain.errors import NotReachable
from rollout.settings import Settings
from tests.support import logs

DAY = timedelta(days=1)
NONE = {"looks": 0, "observations": 0}


class Pruning:
    """What can go, round after round; `stays` cannot."""

    def __init__(self, *over: list[str], stays: str = "", counts: Iterator[dict[str, int]] | None = None) -> None:
        self.over, self.stays, self.counts = list(over), stays, counts or iter(())
        self.removed: list[tuple[str, timedelta, str | None]] = []
        self.sweeps: list[Retention] = []

    def prunable(self, keep: timedelta) -> list[str]:
        self.kept = keep
        return self.over.pop(0) if self.over else []

    def remove(self, id_: str, keep: timedelta, head: str | None) -> bool:
        if id_ == "broken":
            raise NotReachable("the database is away")
        self.removed.append((id_, keep, head))
        return id_ != self.stays

    def sweep(self, limits: Retention) -> dict[str, int]:
        self.sweeps.append(limits)
        return next(self.counts, NONE)


@pytest.fixture
def job(app: App) -> Prune:
    return Prune(app)


def run(job: Prune, pruning: Pruning) -> tuple[int, list[dict[str, Any]]]:
    job.app.store.pruning = pruning
    with logs.captured() as logged:
        return job.tick(), [dict(line) for line in logged]


def test_rounds_follow_until_nothing_is_left(job: Prune) -> None:
    pruning = Pruning(["a", "b"], ["c"])
    count, logged = run(job, pruning)
    assert count == 3
    assert [id_ for id_, *_ in pruning.removed] == ["a", "b", "c"]
    assert {keep for _, keep, _ in pruning.removed} == {pruning.kept} == {job.limits.rollouts}
    (line,) = logged
    assert (line["event"], line["rollouts"], line["ids"]) == ("pruned", 3, ["a", "b", "c"])
    assert {head for *_, head in pruning.removed} == {None}, "nothing is exported"


@pytest.mark.parametrize("stuck", ["stays", "broken"])
def test_what_cannot_go_ends_the_round_and_is_not_counted(job: Prune, stuck: str) -> None:
    pruning = Pruning([stuck, "b"], ["c"], stays="stays")
    count, logged = run(job, pruning)
    assert (count, [line["rollouts"] for line in logged if line["event"] == "pruned"]) == (1, [1])
    assert pruning.over == [["c"]], "it would be tried again and again"
    said = [(line["rollout"], line["error"]) for line in logged if line["event"] == "not pruned"]
    assert said == ([("broken", "the database is away")] if stuck == "broken" else [])


def test_nothing_to_remove_is_not_told(job: Prune) -> None:
    pruning = Pruning()
    assert run(job, pruning) == (0, [])
    assert len(pruning.sweeps) == 1


def test_other_tables_are_swept_in_batches_until_one_is_not_full(job: Prune) -> None:
    counts = iter([{"looks": 3, "observations": BATCH}, {"looks": BATCH, "observations": 0}, {**NONE, "looks": 1}])
    pruning = Pruning(counts=counts)
    _, logged = run(job, pruning)
    assert len(pruning.sweeps) == 3
    told = [{k: v for k, v in line.items() if k in NONE} for line in logged]
    assert told == [{"looks": 3, "observations": BATCH}, {"looks": BATCH}, {"looks": 1}]


def test_one_round_has_an_end(job: Prune, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "MOST_BATCHES", 3)
    pruning = Pruning(*[["a"]] * 9, counts=iter([{"looks": BATCH}] * 9))
    assert run(job, pruning)[0] == 3
    assert len(pruning.sweeps) == 3


def test_alerts_are_kept_as_long_as_one_may_fire_and_webhooks_longer_where_the_settings_say_so(
    make_app: Callable[..., App],
) -> None:
    from rollout.domain.incoming import alerts

    for days, kept in ((1, alerts.KEEP), (9_000, timedelta(days=9_000))):
        pruning = Pruning()
        run(Prune(make_app(keep_deliveries_days=days)), pruning)
        (swept,) = pruning.sweeps
        assert swept.deliveries == kept


def test_a_journal_is_exported_with_its_head_before_it_goes(make_app: Callable[..., App], tmp_path: Path) -> None:
    from tests.support.hand import Hand

    app = make_app(export_dir=tmp_path)
    Hand(app.store).create()
    pruning = Pruning(["r1"])
    run(Prune(app), pruning)
    assert pruning.removed[0][2] == app.store.history("r1")[-1].hash
    lines = (tmp_path / "r1.jsonl").read_text()
    assert f"anchor:r1:1:{pruning.removed[0][2]}" in lines


def test_each_limit_is_its_setting_and_what_can_be_rolled_back_stays() -> None:
    names = ("looks", "observations", "requests", "notices", "deliveries", "sessions")
    days = {f"keep_{name}_days": 2 + i for i, name in enumerate(names)}
    found = limits(Settings(keep_days=60, rollback_days=40, **days))
    assert [getattr(found, name) for name in names] == [(2 + i) * DAY for i in range(len(names))]
    assert (found.rollback, found.rollouts) == (40 * DAY, 60 * DAY)
    assert limits(Settings(keep_days=30, rollback_days=50)).rollouts == 50 * DAY
