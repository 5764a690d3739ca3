"""Delivery of notices: fill the outbox from the journal and from lasting states, and send what is due.

Every replica does both. An event is put in once, because its row is unique; the replica that claims a notice sends it.
Each address has a thread of its own while it has something due, so one that hangs delays no other. No driver ever waits
for anything here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from rollout.adapters.notify import Address, Courier, Message, NotTaken, of_plan, of_settings
from rollout.adapters.store.anchors import system_head
from rollout.adapters.store.journal import RecordedEntry
from rollout.adapters.store.notice_sources import NoticeSources
from rollout.adapters.store.outbox import AddressedNotice, Outbox, OutboxItem
from rollout.adapters.telemetry.logs import REDACTOR
from rollout.app import App
from rollout.domain.errors import RolloutError
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.notices import conditions
from rollout.domain.notices.events import ENDS, TOLD_KINDS, of_entry
from rollout.domain.notices.notice import Notice, wanted
from rollout.domain.plan.notices import Severity

log = structlog.get_logger(__name__)

# Entries become visible when their transaction ends, some seconds after their own time stamp, and clocks differ: each
# search covers the last minutes again, and skips what is in the outbox already.
OVERLAP = timedelta(minutes=10)
FIRST_SEARCH = timedelta(hours=1)  # how far back the first one goes
MARK_EVERY = timedelta(minutes=1)
GIVE_UP = timedelta(days=7)
KEEP = timedelta(days=30)
TIDY_EVERY = timedelta(hours=1)
LEASE = timedelta(seconds=60)
BATCH = 4  # as many as certainly fit into a lease
MOST_PLAN_THREADS = 16  # addresses of plans served at the same time; those of the settings are never kept waiting
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=10)
FAILING_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class _Search:
    since: datetime
    entries: int  # in the journal from `since` on, when the search began
    at: float  # Clock.boot


class Notify:
    """The regular check for new notices, and their delivery."""

    def __init__(self, app: App, courier: Courier | None = None) -> None:
        self.app = app
        self.outbox = Outbox(app.database)
        self.sources = NoticeSources(app.database)
        self.courier = courier or Courier(app.settings.notify_hosts)
        urls = [url.get_secret_value() for url in app.settings.notify_urls]
        REDACTOR.know(urls)
        self.addresses = {a.digest: a for a in of_settings(urls)}
        self.trouble = ""
        self._last_search: _Search | None = None
        self._seen: dict[str, int] = {}  # how far each rollout's journal was looked through
        self._tidied: datetime | None = None
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def warm(self) -> None:
        """Get ready to send, if the settings name anybody."""
        if self.addresses:
            self.courier.warm()

    def tick(self) -> int:
        """Search for new notices, and return how many there were. Deliveries continue after it has returned."""
        if self._nothing_new():
            return 0
        added = self.fill()
        self.deliver()
        return added

    # -------------------------------------------------------------- filling

    def fill(self) -> int:
        """Put new notices into the outbox; return how many rows were new."""
        mark, now = self.sources.mark()
        since = (now - FIRST_SEARCH) if mark is None else max(min(mark, now) - OVERLAP, now - GIVE_UP)
        entries, _ = self.sources.glance(since)  # first, so that an entry that comes meanwhile is new
        added = 0
        # For the last minutes, each search reads only the sequence numbers of the newest entries again.
        heads = self.sources.heads(since)
        behind = {id_: seq for id_, head in heads.items() if head > (seq := self._seen.get(id_, 0))}
        for page in self.sources.entries(since, TOLD_KINDS, behind):
            added += self.outbox.put([each for r, e in page for each in self._of_entry(r, e)])
        self._seen = heads
        added += self.outbox.put([each for notice, r in self._lasting(now) for each in self._addressed(notice, r)])
        added += self.outbox.put(self._failing(now))
        if mark is None or now - mark > MARK_EVERY or mark > now:
            self.sources.set_mark(now)
        if self._tidied is None or now - self._tidied > TIDY_EVERY:
            self._tidied = now
            if gone := self.outbox.tidy(GIVE_UP, KEEP):
                log.warning("notices given up", count=gone)
        self._last_search = _Search(since, entries, self.app.clock.boot())
        return added

    def _nothing_new(self) -> bool:
        """True if a recent search has seen every entry, and no lasting condition needs another notice."""
        last = self._last_search
        if last is None or not 0 <= self.app.clock.boot() - last.at < MARK_EVERY.total_seconds():
            return False
        return self.sources.glance(last.since) == (last.entries, False)

    def _of_entry(self, rollout: Rollout, entry: RecordedEntry) -> list[AddressedNotice]:
        try:
            shared = system_head(self.app.database) if entry.kind in ENDS else ()
            notice = of_entry(rollout, entry, shared)
        except Exception:
            # An entry that we fail to word must not block the notices after it.
            log.exception("entry without a notice", rollout=entry.rollout_id, entry=entry.seq, kind=entry.kind)
            return []
        return [] if notice is None else self._addressed(notice, rollout)

    def _lasting(self, now: datetime) -> Iterable[tuple[Notice, Rollout | None]]:
        patience = timedelta(seconds=self.app.settings.notify_unmeasurable_seconds)
        found = self.sources.may_need_notice()
        for rollout, blind_since in found:
            for notice in conditions.of_rollout(rollout, now, blind_since, patience):
                yield notice, rollout
        refused = [r for r, _ in found if r.waiting_for is WaitingFor.KEY]
        since = self.sources.key_since(bool(refused))
        if since is not None:
            by_id = {r.id: r for r in refused}
            for notice in conditions.key_refused(refused, since):
                yield notice, by_id.get(notice.rollout_id or "")

    def _failing(self, now: datetime) -> list[AddressedNotice]:
        """Notices that tell the other addresses about one that fails; it is also shown as this process's trouble."""
        failing = self.outbox.failing()
        self.trouble = "; ".join(f"notices cannot be delivered to {f.name}: {f.trouble}" for f in failing)
        found = []
        for f in failing:
            if now - f.since >= FAILING_AFTER:
                notice = conditions.service_failing(f.name, f.channel, f.since, f.tries, f.trouble)
                found += [AddressedNotice(notice, digest) for digest in self.addresses if digest != f.channel]
        return found

    def _addressed(self, notice: Notice, rollout: Rollout | None) -> list[AddressedNotice]:
        """The notice for each address that wants it, of the settings and of the rollout's plan."""
        found = list(self.addresses.values()) if wanted(notice) else []
        reached = {address.url for address in found}
        for rule, address in of_plan(rollout.plan) if rollout is not None else ():
            if address.url not in reached and wanted(notice, rule):
                reached.add(address.url)
                found.append(address)
        return [AddressedNotice(notice, address.digest) for address in found]

    # -------------------------------------------------------------- delivering

    def deliver(self) -> int:
        """Start a thread for each address that has something due and no thread yet; return how many."""
        waiting = [c for c in self.outbox.waiting() if c in self.addresses or c.startswith("p")]
        started = 0
        with self._lock:
            self._threads = {c: t for c, t in self._threads.items() if t.is_alive()}
            of_plans = sum(1 for c in self._threads if c not in self.addresses)
            for channel in waiting:
                of_a_plan = channel not in self.addresses
                if channel in self._threads or self._stopping.is_set() or (of_a_plan and of_plans >= MOST_PLAN_THREADS):
                    continue
                of_plans += of_a_plan
                # A daemon: the end of the process does not wait for a service that hangs.
                thread = threading.Thread(
                    target=self._deliver, args=(channel,), name=f"notify-{channel[:8]}", daemon=True
                )
                self._threads[channel] = thread
                thread.start()
                started += 1
        return started

    def wait_for_deliveries(self, seconds: float = 5.0) -> None:
        """Wait until nothing is being delivered, up to this long."""
        with self._lock:
            threads = [thread for thread in self._threads.values() if thread.is_alive()]
        for thread in threads:
            thread.join(seconds / len(threads))

    def _deliver(self, channel: str) -> None:
        with structlog.contextvars.bound_contextvars(address=channel[:12]):
            try:
                while not self._stopping.is_set():
                    items = self.outbox.claim(channel, LEASE, BATCH)
                    if not items or not self._batch(items):
                        return
            except RolloutError as error:
                log.warning("notices not delivered", error=error.message)  # the lease runs out, and they are due again
            except Exception as error:
                log.exception("delivery crashed", error=type(error).__name__)

    def _batch(self, items: list[OutboxItem]) -> bool:
        """True if all of them were taken, and there may be more to send."""
        for i, item in enumerate(items):
            if self._stopping.is_set():
                self.outbox.release(items[i:])
                return False
            address = self._resolve(item)
            if address is None:
                self.outbox.give_up(item, "its address is gone from the plan")
                continue
            try:
                pause = self.courier.send(address, _message(item))
            except NotTaken as error:
                self._not_taken(item, items[i + 1 :], address, error)
                return False
            self.outbox.sent(item)
            log.info("told", rollout=item.rollout_id, notice=item.kind, title=item.title)
            self._stopping.wait(pause)
        return True

    def _not_taken(self, item: OutboxItem, rest: list[OutboxItem], address: Address, error: NotTaken) -> None:
        wait = min(FIRST_WAIT * 2 ** min(item.tries, 10), LONGEST_WAIT)
        if error.final:
            wait = LONGEST_WAIT  # only a new setting can fix it; it stays visible until it is given up
        self.outbox.failed(item, rest, wait, address.name, error.trouble)
        log.warning(
            "notice not accepted", rollout=item.rollout_id, name=address.name, error=error.trouble, tries=item.tries + 1
        )

    def _resolve(self, item: OutboxItem) -> Address | None:
        """The address of a digest, from the settings or from the plan of the rollout; nothing else knows it."""
        if item.channel in self.addresses:
            return self.addresses[item.channel]
        rollout = self.outbox.plan_of(item.rollout_id) if item.rollout_id else None
        if rollout is None:
            return None
        REDACTOR.know_of_plan(notice.url for notice in rollout.plan.notify)
        return next((a for _, a in of_plan(rollout.plan) if a.digest == item.channel), None)

    def stop(self, seconds: float = 5.0) -> None:
        """Start nothing more and wait a little for what is being sent; the rest continues elsewhere or later."""
        self._stopping.set()
        self.wait_for_deliveries(seconds)


def _message(item: OutboxItem) -> Message:
    return Message(item.event, item.rollout_id, Severity(item.severity), item.title, item.body)
