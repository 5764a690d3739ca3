"""What may have to be told is found among very many waiting rollouts without reading them."""

from __future__ import annotations

from datetime import timedelta
from importlib import util

from sqlalchemy import insert, text

from rollout.adapters.store.notice_sources import NoticeSources
from rollout.adapters.store.repository import Store
from rollout.adapters.store.tables import MAY_NEED_NOTICE, rollouts
from rollout.domain.lifecycle.machine import FINAL
from rollout.domain.lifecycle.waiting import WaitingFor
from tests.support.command_line import REPOSITORY
from tests.support.hand import Hand
from tests.support.values import said

MANY = 3000


def crowd(store: Store) -> None:
    """Very many rollouts like the one that is there."""
    Hand(store).create("r1")
    with store.database.write() as connection:
        row = dict(connection.execute(rollouts.select()).mappings().one())
        connection.execute(insert(rollouts), [{**row, "id": f"w{i}", "name": f"w{i}"} for i in range(MANY)])
    if not store.database.is_sqlite:
        with store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE rollouts"))


def test_the_look_takes_its_index(store: Store) -> None:
    crowd(store)
    explain = "EXPLAIN QUERY PLAN" if store.database.is_sqlite else "EXPLAIN"
    for query in (
        f"SELECT * FROM rollouts WHERE {MAY_NEED_NOTICE} ORDER BY id",
        f"SELECT EXISTS (SELECT * FROM rollouts WHERE {MAY_NEED_NOTICE})",
    ):
        with store.database.read() as connection:
            plan = " ".join(str(row) for row in connection.execute(text(f"{explain} {query}")))
        assert "ix_rollouts_telling" in plan, plan


def test_each_state_that_lasts_is_found(store: Store) -> None:
    crowd(store)
    sources = NoticeSources(store.database)
    since = store.now() - timedelta(hours=1)
    entries, waits = sources.glance(since)
    assert (entries > 0, waits, sources.may_need_notice()) == (True, False, [])
    changes = {
        "w1": {"waiting_for": WaitingFor.APPROVAL},
        "w2": {"waiting_for": WaitingFor.KEY},
        "w3": {"phase": "rolling_back"},
        "w4": {"verdict": said("unmeasurable")},
        "w5": {"verdict": said("pass")},
        "w6": {"waiting_for": WaitingFor.KEY, "phase": "rolled_back"},
        "w8": {"waiting_for": WaitingFor.HOLD, "why": "all is green; a person must promote it: the API key"},
        "w7": {"phase": "rolling_back", "restored_at": store.now()},
    }
    with store.database.write() as connection:
        for id_, values in changes.items():
            connection.execute(rollouts.update().where(rollouts.c.id == id_).values(values))
    assert [r.id for r, _ in sources.may_need_notice()] == ["w1", "w2", "w3", "w4"]
    assert sources.glance(since) == (entries, True)


def test_the_condition_is_the_migrations_word_for_word() -> None:
    path = REPOSITORY / "alembic" / "versions" / "0009_waiting.py"
    spec = util.spec_from_file_location("telling", path)
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TELLING == MAY_NEED_NOTICE
    assert all(f"'{word}'" in MAY_NEED_NOTICE for word in (WaitingFor.APPROVAL, WaitingFor.KEY))
    assert all(f"'{phase}'" in MAY_NEED_NOTICE for phase in FINAL)
