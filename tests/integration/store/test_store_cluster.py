"""Which cluster the database lives in, whether it may lose commits, and what follows when it is another one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import text, update
from sqlalchemy.engine import make_url

from jobs.scheduler import Scheduler
from rollout.adapters.clock import SystemClock
from rollout.adapters.store import failover
from rollout.adapters.store.cluster import ClusterName, advice
from rollout.adapters.store.engine import Database
from rollout.adapters.store.heartbeats import Heartbeats
from rollout.adapters.store.tables import meta
from rollout.domain.errors import NotReachable
from tests.support.scene import Scene


@pytest.mark.parametrize(
    ("commit", "names", "standbys", "words"),
    [
        ("on", "", [], ""),
        ("remote_apply", "", [], ""),
        ("off", "", [], "set synchronous_commit = on"),
        ("local", "one", ["sync"], "set synchronous_commit = on"),
        ("on", "", ["async"], "name one in synchronous_standby_names"),
        ("on", "one", ["async", "async"], "name one in synchronous_standby_names"),
        ("on", "one", ["async", "sync"], ""),
        ("on", "ANY 1 (one, two)", ["quorum", "quorum"], ""),
        ("on", "", [None], "name one in synchronous_standby_names"),
        ("on", "one", [None], ""),  # a role that may not see the state: the name is all there is to go by
    ],
)
def test_what_is_advised(commit: str, names: str, standbys: Sequence[str | None], words: str) -> None:
    said = advice(commit, names, standbys)
    assert words in said
    assert bool(said) == bool(words)


@pytest.mark.postgres
def test_an_ordinary_role_may_ask(postgres_url: str) -> None:
    """Neither a superuser nor a member of a monitoring role."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE plain LOGIN")
        connection.execute("ALTER ROLE plain SET synchronous_commit = off")
    try:
        url = make_url(postgres_url).set(username="plain").render_as_string(hide_password=False)
        database = Database(url, SystemClock())
        with database.read() as connection:
            system, timeline = ClusterName()(connection).split(":")
        assert int(system) > 0
        assert timeline == "00000001"
        assert "synchronous_commit is off" in Heartbeats(database).durability()
        database.close()
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("DROP ROLE plain")


@pytest.mark.postgres
def test_a_server_that_refuses_is_not_asked_again(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.adapters.store.cluster._IDENTITY", text("SELECT no_such_function()"))
    database = Database(postgres_url, SystemClock())
    beats = Heartbeats(database)
    beats.beat("a", started=True)
    assert beats.lineage() == (1, False)
    assert beats._cluster._refused
    database.close()


@pytest.mark.postgres
def test_a_process_that_starts_in_another_cluster_opens_the_horizons_once(postgres_url: str) -> None:
    with Scene(postgres_url) as scene:
        scene.given_at(1)
        scene.app.store.heartbeats.beat("earlier", started=True)
        with scene.app.database.write() as connection:
            assert failover.known(connection)
            connection.execute(update(meta).where(meta.c.key == "cluster").values(value="7:00000001"))
        assert scene.app.store.heartbeats.lineage()[1]
        scheduler = Scheduler(scene.app)
        for _ in range(2):
            scheduler._look_back()
            scene.app.store.heartbeats.beat("me", started=True)
        assert scene.journal({"rearmed"}) == ["rearmed"]
        assert not scene.app.store.heartbeats.lineage()[1]
        scheduler.advance.stop()


@pytest.mark.postgres
@pytest.mark.parametrize("times", [1, 2])
def test_a_session_that_is_ended_while_it_starts_is_made_good_once(postgres_url: str, times: int) -> None:
    """As the server does to one that stood still inside a transaction: a suspended machine, a stopped process."""
    with Scene(postgres_url) as scene:
        scheduler, store, asked = Scheduler(scene.app), scene.app.store, []

        def lineage() -> tuple[int, bool]:
            asked.append(None)
            if len(asked) <= times:
                with store.database.read() as connection:
                    connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
            return Heartbeats.lineage(store.heartbeats)

        store.heartbeats.lineage = lineage
        if times == 1:
            scheduler.start()
            assert [s.owner for s in store.heartbeats.services()] == [scene.app.owner]
        else:
            with pytest.raises(NotReachable, match="terminating connection"):
                scheduler.start()
        assert len(asked) >= 2
        scheduler.stop()


def test_sqlite_has_no_cluster(scene: Scene) -> None:
    scene.app.store.heartbeats.beat("me", started=True)
    assert scene.app.store.heartbeats.lineage() == (1, False)
    assert scene.app.store.heartbeats.durability() == ""
    assert scene.app.store.heartbeats.rearm(timedelta(seconds=1)) == []
