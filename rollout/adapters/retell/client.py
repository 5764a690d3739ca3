"""The client of Retell's API: the adapter behind the ports PhoneNumbers, Agents and Calls."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rollout.adapters.http.network import network_of
from rollout.adapters.retell import calls
from rollout.adapters.retell.account_list import AccountList
from rollout.adapters.retell.agents import AgentReader
from rollout.adapters.retell.batch_tests import BatchTestClient
from rollout.adapters.retell.engines import EngineReader
from rollout.adapters.retell.number_session import RetellSession
from rollout.adapters.retell.origin import parse_base_url
from rollout.adapters.retell.paging import Page, walk
from rollout.adapters.retell.pool import ConnectionPool
from rollout.adapters.retell.rate_limiter import RateLimiter
from rollout.adapters.retell.reader import Reader
from rollout.adapters.retell.request import LARGE, OnRequest, RequestSender, RequestSpec
from rollout.adapters.retell.thread_pool import ThreadPool
from rollout.adapters.retell.wire import AnswerError, reading, segment
from rollout.domain.calls import CallDetails, CallRecord
from rollout.domain.errors import SettingsError
from rollout.domain.phone_numbers import is_e164
from rollout.domain.versions.agent_list import ListedAgent, ListedVersion
from rollout.domain.versions.documents import ResponseEngine
from rollout.domain.writes.answers import Failure, Reading, Trouble
from rollout.engine.ports import AccountLimits, AgentVersion, BudgetState, Clock

_CHANNELS = frozenset({"inbound", "outbound", "inbound_sms", "outbound_sms"})
_LIST_DEADLINES = 4  # Retell's own SDK gives its call list five times the time of other requests


class RetellClient:
    """Everything we ask of one Retell workspace. Safe for threads.

    `key` is called for each request, so that a rotated key needs no restart. `deadline` is the
    longest a request on a number may take, in seconds, whatever the server does; a page of a list
    may take four times as long. `concurrency` bounds the requests under way and the connections;
    `rate` is requests per second, 0 for no limit; with `limits` the rate and `account_concurrency` are those of
    all processes together. `tls` may bring other trusted certificates, never
    less checking. `on_request(operation, method, status, seconds)` is called after each request.
    `allowed` are the only numbers that are ever written; None: all. `environ` has the variables of `network`;
    the process's own are its caller's to hand in.
    Raises SettingsError for a base URL that is neither https nor on this machine.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of the client, given by its name
        self,
        base_url: str,
        key: Callable[[], str],
        clock: Clock,
        *,
        deadline: float = 15.0,
        concurrency: int = 32,
        rate: float = 0.0,
        account_concurrency: int | None = None,
        limits: AccountLimits | None = None,
        connect_timeout: float = 5.0,
        tls: ssl.SSLContext | None = None,
        on_request: OnRequest | None = None,
        allowed: frozenset[str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        if tls is not None and not (tls.verify_mode is ssl.CERT_REQUIRED and tls.check_hostname):
            raise SettingsError("tls: the context must verify certificates and host names")
        if concurrency < 1 or deadline <= 0 or connect_timeout <= 0 or rate < 0:
            raise SettingsError("deadline, concurrency and connect_timeout must be above 0, rate at least 0")
        origin = parse_base_url(base_url)
        self._clock, self._deadline, self._concurrency = clock, deadline, concurrency
        self._allowed = allowed
        self._limiter = RateLimiter(
            clock, concurrency=concurrency, rate=rate, account=account_concurrency, limits=limits
        )
        self._connections = ConnectionPool(
            network_of(origin, environ or {}),
            clock,
            connect_timeout=connect_timeout,
            most_idle=2 * concurrency,
            tls=tls,
        )
        self._threads = ThreadPool(concurrency)
        self._sender = RequestSender(origin, key, clock, on_request)
        self._reader = Reader(self._sender, self._connections, self._limiter, clock)
        self._listing = AccountList(lambda urgent, start: self._walk_numbers(deadline, urgent=urgent, start=start))
        self.batch_tests = BatchTestClient(self._reader, within=deadline)
        self._engines = EngineReader(self._reader, within=deadline)
        self._agents = AgentReader(self._reader, clock, within=deadline)

    def ready(self) -> None:
        """Load the trusted certificates before they are needed. Raises SettingsError for those that cannot be."""
        self._connections.ready()

    def close(self) -> None:
        """Close the idle connections; sessions that are open keep theirs until they are left."""
        self._connections.close()
        self._threads.close()

    def adjust(self, state: BudgetState) -> None:
        """Apply the current limits of the account; see `ports.AccountLimits`."""
        self._limiter.adjust(state)

    def session(self, numbers: Sequence[str], *, urgent: bool = False) -> RetellSession:
        """See `ports.PhoneNumbers.session`. Connections are opened when the session is entered."""
        return RetellSession(
            numbers,
            urgent=urgent,
            sender=self._sender,
            reader=self._reader,
            connections=self._connections,
            limiter=self._limiter,
            clock=self._clock,
            deadline=self._deadline,
            concurrency=self._concurrency,
            threads=self._threads,
            listing=self._listing,
            allowed=self._allowed,
        )

    def all(self) -> Iterator[Reading | Failure]:
        """Every number of the workspace, each once; a Failure ends the iteration.

        A number that is not E.164 can be in no plan and is passed over. One that cannot be read
        gives its Failure at the end, after all the others.
        """
        seen: set[str] = set()
        unreadable: Failure | None = None
        pages = self._walk_numbers(self._deadline * _LIST_DEADLINES, urgent=False, start=None)
        for index, items in enumerate(pages):
            if isinstance(items, Failure):
                if index == 0 and items.status == 404:
                    yield from self._all_by_the_older_list()
                else:
                    yield items
                return
            for outcome in _readings(items, seen):
                if isinstance(outcome, Failure):
                    unreadable = outcome
                else:
                    yield outcome
        if unreadable is not None:
            yield unreadable

    def version(self, agent_id: str, version: int | str | None) -> AgentVersion | Failure:
        """See `ports.Agents.version`; `is_suspended` comes from the list of agents, a minute old at most."""
        return self._agents.version(agent_id, version)

    def agents(self) -> list[ListedAgent] | Failure:
        """Every agent of the workspace."""
        return self._agents.agents()

    def versions(self, agent_id: str) -> list[ListedVersion] | Failure:
        """The versions of one agent, newest first; REJECTED if Retell does not know it."""
        return self._agents.versions(agent_id)

    def engine(self, engine: ResponseEngine) -> Mapping[str, Any] | Failure:
        """See `ports.ResponseEngines.engine`."""
        return self._engines.engine(engine)

    def tags(self, agent_id: str) -> Mapping[str, Any] | Failure | None:
        """The tags of an agent by name, each with what Retell shows of it; None: Retell does not show tags (404, 405)."""
        return self._engines.tags(agent_id)

    def since(
        self, number: str, channel: str, agents: Sequence[tuple[str, int]], since: datetime
    ) -> Iterator[CallRecord | Failure]:
        """See `ports.Calls.since`. Raises ValueError for a channel that does not exist."""
        if channel not in _CHANNELS or not is_e164(number) or since.tzinfo is None:
            raise ValueError("since: channel, number or time zone is not one that Retell knows")
        if not agents:
            return
        operation = "list-chats" if calls.is_sms(channel) else "list-calls"

        def ask(size: int, key: str | None) -> RequestSpec:
            body = json.dumps(calls.query(number, channel, agents, since, size, key)).encode()
            return RequestSpec(operation, "POST", f"/v3/{operation}", body, number, LARGE)

        kept: list[CallRecord] = []
        holding_back = False
        pages = walk(self._reader, ask, within=self._deadline * _LIST_DEADLINES)
        for index, items in enumerate(pages):
            if isinstance(items, Failure):
                yield items  # what was held back is not given out: it may have gaps before it
                return
            found = [calls.record(item, number, channel, agents, since) for item in items]
            records = [record for record in found if record is not None]
            # a server that ignores the order is walked to its end first: the caller keeps a high-water mark
            holding_back = holding_back or (index == 0 and not _ascending(records))
            if holding_back:
                kept += records
            else:
                yield from records
        yield from sorted(kept, key=_start)

    def details(self, call_id: str) -> CallDetails | Failure:
        """See `ports.Calls.details`."""
        ask = RequestSpec("get-call", "GET", f"/v2/get-call/{segment(call_id)}", limit=LARGE)
        found = self._reader.ask(ask, lambda document: calls.details(document, call_id), within=self._deadline)
        return CallDetails() if isinstance(found, Failure) and found.status in (404, 422) else found

    def _walk_numbers(self, within: float, *, urgent: bool, start: str | None) -> Iterator[Page | Failure]:
        def ask(size: int, key: str | None) -> RequestSpec:
            path = f"/v2/list-phone-numbers?limit={size}"
            path += "" if key is None else f"&pagination_key={segment(key)}"
            return RequestSpec("list-phone-numbers", "GET", path, limit=LARGE)

        return walk(self._reader, ask, within=within, urgent=urgent, start=start)

    def _all_by_the_older_list(self) -> Iterator[Reading | Failure]:
        ask = RequestSpec("list-phone-numbers", "GET", "/list-phone-numbers", limit=LARGE)
        items = self._reader.ask(ask, _bare_list, within=self._deadline * _LIST_DEADLINES)
        if isinstance(items, Failure):
            yield items
        else:
            yield from sorted(_readings(items, set()), key=lambda outcome: isinstance(outcome, Failure))


def _readings(items: list[Any], seen: set[str]) -> Iterator[Reading | Failure]:
    """The numbers on one page that were not seen before."""
    for item in items:
        number = item.get("phone_number") if isinstance(item, dict) else None
        if not isinstance(number, str) or not is_e164(number) or number in seen:
            continue
        seen.add(number)
        try:
            yield reading(item)
        except AnswerError as error:
            yield Failure(Trouble.UNREACHABLE, f"Retell's list has {number}, but {error}", 200)


def _bare_list(document: Any) -> list[Any]:
    if not isinstance(document, list):
        raise AnswerError("it is not a list of phone numbers")
    return document


def _start(record: CallRecord) -> datetime:
    assert record.started_at is not None  # calls.record leaves out what never started
    return record.started_at


def _ascending(records: list[CallRecord]) -> bool:
    starts = [_start(record) for record in records]
    return starts == sorted(starts)
