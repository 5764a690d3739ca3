"""Everything the routes need, in one value per process, and the operations that several routes share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from fastapi import Request

from rollout.adapters.store.interface_queries import InterfaceQueries
from rollout.adapters.store.tokens import AccessStore
from rollout.app import App
from rollout.domain.calls import CallRecord
from rollout.domain.errors import Forbidden, Refused, Unauthenticated
from rollout.domain.lifecycle.commands import By, state_of
from rollout.domain.lifecycle.entries import CommandGiven
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.phone_numbers import listed
from rollout.domain.plan.plan import Plan
from rollout.interfaces.api.limits import Attempts, Buckets, Throttle
from rollout.interfaces.api.problems import ErrorPage
from rollout.interfaces.api.stream import Hub
from rollout.interfaces.api.webhook_intake import WebhookIntake
from rollout.interfaces.api.worker_pools import Followers, WorkerPools
from rollout.interfaces.auth import roles
from rollout.interfaces.auth.roles import NOBODY, Caller
from rollout.interfaces.backend.local import LocalBackend
from rollout.interfaces.views import rollout as views

log = structlog.get_logger(__name__)
TOUCH_SECONDS = 60.0


class SchedulerState(Protocol):
    """The ticks as readiness sees them; `last_good` by the boot clock."""

    @property
    def last_good(self) -> float | None: ...


@dataclass
class ApiService:
    """One process of the service, as its HTTP side sees it."""

    app: App
    scheduler: SchedulerState | None = None
    observe: Callable[[Sequence[CallRecord]], None] | None = None
    metrics: Callable[[], bytes] | None = None
    rehearse: Callable[[Plan], dict[str, Any]] | None = None
    stopping: bool = False
    error_page: ErrorPage | None = None  # set by the web page
    pools: WorkerPools = field(init=False)

    def __post_init__(self) -> None:
        clock, settings = self.app.clock, self.app.settings
        self.pools = WorkerPools()
        self.backend = LocalBackend(self.app)
        self.access = AccessStore(self.app.database)
        self.queries = InterfaceQueries(self.app.database)
        self.followers = Followers(self.app)
        self.hub = Hub(self.app.store, self.queries, self.access, self.pools, settings.event_clients)
        self.intake = WebhookIntake(settings, clock, self.queries, self.access, self.observe)
        self.reads = Buckets(clock, settings.read_rate)
        self.changes = Buckets(clock, settings.change_rate)
        self.attempts = Attempts(clock)
        self._touched = Throttle(clock, TOUCH_SECONDS)
        self._noted = Throttle(clock, TOUCH_SECONDS)
        self._tokens_exist = False

    # -------------------------------------------------------------- who asks

    def tokens_exist(self) -> bool:
        """True if a token was ever made; once true it stays true, for tokens are never deleted."""
        if not self._tokens_exist:
            self._tokens_exist = self.access.any_token()
        return self._tokens_exist

    def caller(self, authorization: list[str], on_loopback: bool) -> Caller:
        """The caller by the values of the Authorization header; Unauthenticated."""
        if not authorization:
            # Behind a proxy everybody comes from loopback.
            if on_loopback and not self.app.settings.behind_tls_proxy and not self.tokens_exist():
                return NOBODY
            raise Unauthenticated(roles.NO_TOKEN)
        scheme, _, token = authorization[0].partition(" ")
        if len(authorization) != 1 or scheme.lower() != "bearer":
            raise Unauthenticated(roles.NO_TOKEN)
        found = roles.check_token(self.access, token.strip().encode("utf-8", "replace"))
        if found.id is not None and self._touched(found.id):
            id_ = found.id
            self.pools.later(lambda: self.access.touch(id_))
        return found

    def note(self, kind: str, actor: str, reason: str, key: str, data: dict[str, Any]) -> None:
        """Record a refusal in the system's journal: per key once a minute, with how many there were."""
        times = self._noted(f"{kind}|{key}")
        if times:
            entry = JournalEntry(kind, actor, reason, {**data, "times": times})
            self.pools.later(lambda: self.access.record(entry))

    # -------------------------------------------------------------- what they may see

    def numbers_of(self, rollout: Rollout) -> list[str]:
        """The numbers of a rollout; of one that has not begun, those its plan lists, or none if it selects."""
        if rollout.targets:
            return [t.number for t in rollout.targets]
        return listed(rollout.plan.numbers)

    def find(self, caller: Caller, text: str) -> Rollout:
        """The rollout that this id or name means to this caller; UnknownRollout also when it is not theirs to see."""
        store = self.app.store
        return store.load(store.resolve(text, caller.numbers))[0]

    def live(self, caller: Caller) -> list[Rollout]:
        """Every unfinished rollout (without targets) that is this caller's business, newest first."""
        return self.visible(caller, list(self.app.store.every_summary(live=True)))

    def visible(self, caller: Caller, found: list[Rollout]) -> list[Rollout]:
        """Those of these rollouts (without targets) that are this caller's business."""
        if caller.numbers is None:
            return found
        numbers = self.queries.numbers([r.id for r in found])
        return [r for r in found if caller.covers(numbers.get(r.id) or listed(r.plan.numbers))]

    def business_of(self, caller: Caller, ids: Collection[str]) -> set[str]:
        """Those of these ids whose rollouts are this caller's business."""
        found = [rollout for _, rollout in self.queries.states(ids).values()]
        return {r.id for r in self.visible(caller, found)}

    def allow_plan(self, caller: Caller, plan: Plan) -> None:
        """Forbidden when a plan names or selects numbers that the caller's token does not have."""
        if caller.numbers is None or caller.covers(listed(plan.numbers)):
            return
        raise Forbidden(
            "plan.numbers: this token is limited to some numbers, and the plan has others or selects them; list only "
            "numbers of the token"
        )

    # -------------------------------------------------------------- commands

    def command(self, caller: Caller, name: str, text: str, by: By, **more: Any) -> CommandGiven:
        """A command on one rollout; a refusal says where the rollout stands."""
        id_ = self.app.store.resolve(text, caller.numbers)
        try:
            if name == "rollback":
                return self.app.commands.rollback(id_, by)
            return self.backend.command(name, id_, by, **more)
        except Refused as error:
            self.note("command_refused", by.actor, error.message, f"{by.actor}|{id_}|{name}", {"rollout": id_})
            if "position" not in error.details:
                error.details |= state_of(self.app.store.load(id_)[0])
            raise

    def shown(self, id_: str) -> dict[str, Any]:
        return views.show(self.app.store.load(id_)[0])

    # -------------------------------------------------------------- end

    def stop(self) -> None:
        """Event streams end, nothing new is taken from webhooks, threads end with what they do."""
        self.stopping = True
        self.hub.stop()
        self.intake.stop()
        self.pools.stop()
        self.followers.stop()


def service_of(request: Request) -> ApiService:
    """The service behind a request."""
    service: ApiService = request.app.state.service
    return service
