"""What the pages ask of both databases: ended rollouts by their end, the journals together, the state of the service."""

from __future__ import annotations

from datetime import timedelta

from rollout.adapters.store.interface_queries import EndedSearch, InterfaceQueries
from rollout.adapters.store.journal_search import JournalSearch, search_journal
from rollout.adapters.store.outbox import AddressedNotice, Outbox
from rollout.adapters.store.repository import Store
from rollout.adapters.store.system_state import system_state
from rollout.adapters.store.tokens import AccessStore
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.notices.notice import Notice
from rollout.domain.plan.notices import NoticeEvent, Severity
from tests.support.hand import Hand
from tests.support.values import plan, target

NUMBERS = [f"+1415776{i:04d}" for i in range(8)]


def test_ended_rollouts_come_by_their_end_page_by_page(store: Store, hand: Hand) -> None:
    phases = (Phase.STOPPED, Phase.PROMOTED, Phase.ROLLED_BACK, Phase.HELD, Phase.STOPPED)
    for i, phase in enumerate(phases):
        agent = {"agent_id": f"agent_{'xy'[i % 2]}", "agent_version": 7}
        of = plan([NUMBERS[i]], canary=agent)
        hand.create(f"r{i}", target(NUMBERS[i]), plan=of, name=f"shop-{i}", phase=phase)
    hand.run("UPDATE rollouts SET updated_at = :at WHERE id = 'r0'", at=store.now())
    queries = InterfaceQueries(store.database)
    assert {r.id for r in queries.ended(EndedSearch())} == {"r0", "r1", "r2", "r4"}
    whole = [r.id for r in queries.ended(EndedSearch())]
    assert whole[0] == "r0", "it changed last"
    parts, before = list[str](), None
    while found := queries.ended(EndedSearch(), before, 1):
        parts.append(found[0].id)
        before = (found[0].updated_at, found[0].id)
    assert parts == whole
    assert {r.id for r in queries.ended(EndedSearch(phase="stopped"))} == {"r0", "r4"}
    assert {r.id for r in queries.ended(EndedSearch(agent_id="agent_y"))} == {"r1"}
    assert queries.ended(EndedSearch(agent_id="agent_")) == []
    assert [r.id for r in queries.ended(EndedSearch(NUMBERS[1]))] == ["r1"]
    assert queries.sizes(["r0", "r3", "nothing"]) == {"r0": 1, "r3": 1}


def test_the_journals_are_searched_together(store: Store, hand: Hand) -> None:
    for i in range(3):
        hand.create(f"r{i}", target(NUMBERS[i]), name=f"shop-{i}")
    access = AccessStore(store.database)
    for name in ("Ann", "Bob"):
        access.record(JournalEntry("signed_in", f"token:ab:{name}", "", {"long": "x" * 5_000}))
    everything, end = search_journal(store.database, JournalSearch(system=True))
    assert end is None and sorted(e.kind for e in everything) == ["created"] * 3 + ["signed_in"] * 2
    assert {e.name for e in everything} == {"shop-0", "shop-1", "shop-2", ""}
    parts, before = [], None
    while True:
        found, before = search_journal(store.database, JournalSearch(system=True), before, 2)
        parts += found
        if before is None:
            break
    assert parts == everything

    def kinds(**search: object) -> list[str]:
        return [e.kind for e in search_journal(store.database, JournalSearch(**search))[0]]

    assert kinds() == ["created"] * 3
    assert kinds(actor="ann", system=True) == ["signed_in"]
    assert kinds(rollout="SHOP-1") == kinds(rollout="r1") == ["created"]
    assert kinds(within=frozenset({NUMBERS[0]})) == ["created"]
    assert kinds(since=store.now() + timedelta(days=1)) == kinds(until=store.now() - timedelta(days=1)) == []


def test_the_state_of_the_service_is_read_at_once(store: Store, hand: Hand) -> None:
    hand.create("r1", target(NUMBERS[0]), due=timedelta(minutes=-5))
    hand.create("r2", target(NUMBERS[1]), name="later", due=timedelta(hours=1))
    store.heartbeats.beat("one", started=True)
    outbox = Outbox(store.database)
    for event in ("a", "b"):
        notice = Notice(event, None, NoticeEvent.TROUBLE, Severity.WARNING, "t", "b")
        outbox.put([AddressedNotice(notice, "c" * 64)])
    outbox.sent(outbox.claim("c" * 64, timedelta(minutes=1), 1)[0])
    found = system_state(store.database)
    assert found.late == 1 and found.late_since is not None
    assert found.now - found.late_since > timedelta(minutes=4)
    assert [r.owner for r in found.replicas] == ["one"]
    assert (found.notices.sent, found.notices.waiting, found.notices.given_up) == (1, 1, 0)
    assert found.notices.oldest is not None
    assert found.database.size > 0 and found.database.revision == found.database.wanted
    assert found.database.product.split()[0] in ("SQLite", "PostgreSQL")
