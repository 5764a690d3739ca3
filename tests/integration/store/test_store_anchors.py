"""Anchors: what a whole chain cannot show about itself, and triggers and tokens that were changed by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from jobs.anchors import Anchors
from rollout.adapters.store import journal as journals
from rollout.adapters.store.anchors import all_anchors, system_head
from rollout.adapters.store.audit import audit
from rollout.adapters.store.repository import Store
from rollout.adapters.store.tokens import SYSTEM, head_of_system
from rollout.domain.anchors import Anchor, find
from rollout.domain.notices.events import ENDS, of_entry
from rollout.interfaces.auth.roles import create_token, revoke_token
from tests.support.hand import Hand
from tests.support.logs import captured
from tests.support.scene import ME, Scene

ONE = "+14157774444"


@pytest.fixture
def seen(address: str) -> Scene:
    """A rollout at its first step, and two tokens."""
    with Scene(address) as scene:
        scene.given_at(1)
        for name in ("first", "second"):
            create_token(scene.app.store, "viewer", name, None, None, "cli:test")
        yield scene


def by_hand(scene: Scene, *statements: str) -> None:
    """Changes that the database is kept from by its triggers, which stand again afterwards."""
    sqlite = scene.app.database.is_sqlite
    with scene.app.database.write() as connection:
        made = []
        if sqlite:
            made = list(connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")))
            for row in made:
                connection.execute(text(f"DROP TRIGGER {row.name}"))
        else:
            connection.execute(text("ALTER TABLE journal DISABLE TRIGGER ALL"))
        for statement in statements:
            connection.execute(text(statement.format(id=scene.id)))
        for row in made:
            connection.exec_driver_sql(row.sql)
        if not sqlite:
            connection.execute(text("ALTER TABLE journal ENABLE TRIGGER ALL"))


def faults(scene: Scene, anchors: list[Anchor] | None = None) -> list[str]:
    return audit(scene.app.database, anchors=anchors or [])[0]


def rollout_removed(scene: Scene) -> None:
    tables = ("journal", "writes", "targets", "looks")
    by_hand(
        scene,
        *(f"DELETE FROM {t} WHERE rollout_id = '{{id}}'" for t in tables),
        "DELETE FROM rollouts WHERE id = '{id}'",
    )


def everything_removed(scene: Scene) -> None:
    rollout_removed(scene)
    by_hand(scene, "DELETE FROM journal", "DELETE FROM tokens", "DELETE FROM meta WHERE key = 'system_head'")


def system_cut(scene: Scene) -> None:
    """The newest entry and its token are gone, and the head says so."""
    with scene.app.database.read() as connection:
        seq, _ = head_of_system(connection)
        kept = list(journals.read(connection, SYSTEM))[-2]
    by_hand(
        scene,
        f"DELETE FROM journal WHERE rollout_id = 'system' AND seq = {seq}",
        "DELETE FROM tokens WHERE name = 'second'",
        f"UPDATE meta SET value = '{kept.seq}:{kept.hash}' WHERE key = 'system_head'",
    )


def system_removed(scene: Scene) -> None:
    by_hand(
        scene,
        "DELETE FROM journal WHERE rollout_id = 'system'",
        "DELETE FROM meta WHERE key = 'system_head'",
        "DELETE FROM tokens",
    )


def written_anew(scene: Scene) -> None:
    """The whole chain of the rollout, with another reason in its first entry and every hash made again."""
    with scene.app.database.read() as connection:
        entries = list(journals.read(connection, scene.id))
    last, lines = journals.GENESIS, []
    for e in entries:
        reason = "another" if e.seq == 1 else e.reason
        value = journals.chain(last, e.rollout_id, e.seq, e.to_json()["at"], e.actor, e.kind, reason, e.text)
        lines.append(
            f"UPDATE journal SET reason = '{reason}', prev_hash = '{last}', hash = '{value}' "
            f"WHERE rollout_id = '{{id}}' AND seq = {e.seq}".replace(":", "\\:")
        )
        last = value
    by_hand(scene, *lines, f"UPDATE rollouts SET journal_hash = '{last}' WHERE id = '{{id}}'")


HIDDEN = [rollout_removed, everything_removed, system_cut, system_removed, written_anew]


@pytest.mark.parametrize("change", HIDDEN)
def test_an_anchor_shows_what_whole_chains_hide(seen: Scene, change: Callable[[Scene], None]) -> None:
    kept = all_anchors(seen.app.database)
    assert {a.chain for a in kept} >= {SYSTEM, seen.id} and len(kept) == 4
    assert faults(seen, kept) == []
    change(seen)
    assert faults(seen) == [], "the chains are whole"
    found = faults(seen, kept)
    assert found and all("anchor" in fault for fault in found)


def test_what_goes_on_after_an_anchor_is_no_alteration(seen: Scene) -> None:
    kept = all_anchors(seen.app.database)
    revoke_token(seen.app.store, kept[-1].chain.removeprefix("token."), "cli:test")
    create_token(seen.app.store, "admin", "third", None, [ONE], "cli:test")
    seen.app.commands.rollback(seen.id, ME)
    seen.drive()
    assert faults(seen, kept) == []
    later = all_anchors(seen.app.database)
    assert faults(seen, later) == []


def test_a_pruned_rollout_is_no_alteration(seen: Scene) -> None:
    kept = all_anchors(seen.app.database)
    seen.app.commands.rollback(seen.id, ME)
    seen.after(3600 * 24 * 8)
    seen.stands("rolled_back")
    with seen.app.database.write() as connection:
        connection.execute(text("UPDATE rollouts SET watch_until = NULL, updated_at = '2020-01-01 00:00:00+00:00'"))
    assert seen.app.store.pruning.remove(seen.id, timedelta(days=30))
    assert faults(seen, kept) == []


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "UPDATE tokens SET role = 'admin' WHERE name = 'first'",
            "role is admin in the table and viewer by the journal",
        ),
        ("UPDATE tokens SET numbers = '[\"+14157774444\"]'", "numbers is ['+14157774444'] in the table and None"),
        ("UPDATE tokens SET expires_at = '2099-01-01 00:00:00+00:00'", "by the journal"),
        ("DELETE FROM tokens WHERE name = 'first'", "is in the journal but not in the table"),
        ("UPDATE tokens SET id = 'x' WHERE name = 'first'", "token x: is in the table but not in the journal"),
        ("UPDATE tokens SET revoked_at = created_at", "whether it is revoked differs"),
    ],
)
def test_a_token_changed_in_the_table_is_found_without_an_anchor(seen: Scene, statement: str, words: str) -> None:
    """A viewer raised to admin in the table went unseen."""
    with seen.app.database.write() as connection:
        connection.exec_driver_sql(statement)
    assert any(words in fault for fault in faults(seen))


def test_a_token_whose_secret_was_exchanged_is_found_by_an_anchor(seen: Scene) -> None:
    kept = all_anchors(seen.app.database)
    with seen.app.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE tokens SET hash = '{'0' * 64}' WHERE name = 'first'")
    assert any("was changed in the table since the anchor" in fault for fault in faults(seen, kept))


@pytest.mark.parametrize("how", ["dropped", "switched off", "emptied"])
def test_a_missing_trigger_is_an_error(store: Store, hand: Hand, how: str) -> None:
    assert audit(store.database)[0] == []
    if store.database.is_sqlite:
        name, event = "journal_no_delete", "DELETE"
        hand.run(f"DROP TRIGGER {name}")
        if how == "emptied":
            hand.run(f"CREATE TRIGGER {name} BEFORE {event} ON journal BEGIN SELECT 1; END")
    else:
        name = "journal_append_only"
        hand.run(
            {
                "dropped": f"DROP TRIGGER {name} ON journal",
                "switched off": "ALTER TABLE journal DISABLE TRIGGER ALL",
                "emptied": f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RETURN NEW; END $$",
            }[how]
        )
    (fault,) = audit(store.database)[0]
    if not store.database.is_sqlite:
        hand.run("DROP TABLE tokens CASCADE")  # so that no later test is lent this database
    assert f"the trigger {name} is missing or disabled" in fault


def test_a_chain_without_its_rollout_is_named(seen: Scene) -> None:
    by_hand(
        seen,
        "DELETE FROM writes WHERE rollout_id = '{id}'",
        "DELETE FROM targets WHERE rollout_id = '{id}'",
        "DELETE FROM rollouts WHERE id = '{id}'",
    )
    assert faults(seen) == [f"{seen.id}: it is in the journal but not in the table of rollouts"]


def test_a_long_check_says_how_far_it_is(seen: Scene) -> None:
    said: list[str] = []
    _, counted = audit(seen.app.database, say=said.append)
    assert said == [f"checking the journal: {counted - 2} of {counted} entries"]


def test_anchors_are_found_in_any_text() -> None:
    one, two = Anchor("k3x9abcdef", 12, "a" * 64), Anchor("token.ab12", 2, "0" * 64)
    text_ = f'{{"event":"anchors","heads":"{one} {two}"}}\nKeep: {one} anchor:short:1:abc anchor:x:1:{"f" * 65}'
    assert find(text_) == [one, two]


def test_the_service_logs_all_heads_and_then_those_that_moved(seen: Scene) -> None:
    note = Anchors(seen.app)
    with captured() as logged:
        assert note.tick() == 4
        assert note.tick() == 0
        seen.app.commands.pause(seen.id, ME)
        assert note.tick() == 1
    assert faults(seen, find(str(logged))) == []
    assert [a.chain for a in find(logged[-1]["heads"])] == [seen.id]


def test_the_notice_of_an_end_carries_anchors(seen: Scene) -> None:
    seen.app.commands.rollback(seen.id, ME)
    seen.drive()
    told = [
        of_entry(seen.rollout, e, system_head(seen.app.database))
        for e in seen.app.store.history(seen.id)
        if e.kind in ENDS
    ]
    assert [t.kind for t in told if t] == ["rolled_back"]
    found = find(told[0].body if told[0] else "")
    assert [a.chain for a in found] == [seen.id, SYSTEM]
    assert faults(seen, found) == []
