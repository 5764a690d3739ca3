"""Requests that change nothing at Retell: tried again within a deadline, on any connection.

A write never passes through here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from rollout.adapters.http.connection import AnswerTooLarge, Connection, NoAnswer, NotSent, SendRefused
from rollout.adapters.retell.pool import ConnectionPool
from rollout.adapters.retell.rate_limiter import RateLimiter
from rollout.adapters.retell.request import Reply, RequestSender, RequestSpec, no_answer, unusable
from rollout.adapters.retell.wire import AnswerError, parse_json
from rollout.domain.writes.answers import Failure, Reading, Trouble
from rollout.engine.ports import Clock

TRIES = 4
_PASSING = frozenset({408, 429, 500, 502, 503, 504})  # may be better the next time
_FIRST_WAIT = 0.25  # seconds; doubles, and a random part of it is waited

T = TypeVar("T")


class Final(Failure):
    """A failure that the next try would only repeat."""


class Oversized(Final):
    """The answer is larger than the limit: a smaller page may fit."""


class Reader:
    """A reader that asks, waits and asks again: the value asked for, or the failure."""

    def __init__(
        self,
        sender: RequestSender,
        connections: ConnectionPool,
        limiter: RateLimiter,
        clock: Clock,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._sender, self._connections, self._limiter = sender, connections, limiter
        self._clock, self._jitter = clock, jitter
        self.etags: bool | None = None  # whether Retell shows a number that is read alone with an ETag; None: not known

    def ask(
        self, ask: RequestSpec, parse: Callable[[object], T], *, within: float, urgent: bool = False
    ) -> T | Failure:
        """One answer within a number of seconds, on an idle connection or a new one."""
        until = self._clock.boot() + within
        answer, connection = self.ask_on(None, ask, parse, until=until, urgent=urgent)
        if connection is not None:
            self._connections.give_back(connection)
        return answer

    def ask_on(
        self,
        connection: Connection | None,
        ask: RequestSpec,
        parse: Callable[[object], T],
        *,
        until: float,
        urgent: bool,
    ) -> tuple[T | Failure, Connection | None]:
        """As `ask`, on this connection as long as it lives; hands back the one that is usable now.

        A request that is sent `once` is UNKNOWN where it may have arrived without a usable answer.
        """
        for attempt in range(TRIES):
            result, connection = self._once(connection, ask, until, urgent)
            if isinstance(result, Reply):
                if result.status in (200, 201):
                    found = _parsed(result, parse, ask.once)
                    if isinstance(found, Reading):
                        self.etags = found.etag is not None
                    return found, connection
                failure = self._sender.failure(ask, result, write=ask.once)
                if result.status not in _PASSING or ask.once:
                    break
            else:
                failure = result
                if isinstance(failure, Final) or ask.once:
                    break
            wait = failure.retry_after
            if wait is None:
                wait = self._jitter() * _FIRST_WAIT * 2**attempt
            if attempt == TRIES - 1 or self._clock.boot() + wait >= until:
                break
            self._clock.sleep(wait)
        return failure, connection

    def _once(
        self, connection: Connection | None, ask: RequestSpec, until: float, urgent: bool
    ) -> tuple[Reply | Failure, Connection | None]:
        refused = self._limiter.enter(urgent=urgent, until=until)
        if refused is not None:
            return paused(refused), connection
        reply: Reply | None = None
        try:
            connection, reply = self._exchange_on(connection, ask, until)
        except AnswerTooLarge as error:
            return Oversized(no_answer(error, write=ask.once).trouble, str(error)), None
        except SendRefused as error:
            return Final(Trouble.UNREACHABLE, str(error)), None
        except (NotSent, NoAnswer) as error:
            return no_answer(error, write=ask.once), None
        finally:
            self._limiter.leave(*signs(reply), urgent=urgent)
        self._connections.used(connection)
        return reply, connection if connection.usable else None

    def _exchange_on(self, connection: Connection | None, ask: RequestSpec, until: float) -> tuple[Connection, Reply]:
        """On this connection, else an idle one, else a new one; the new one's error is the answer."""
        while True:
            if connection is None or not connection.usable:
                idle = None if ask.once else self._connections.take()  # an idle one may be closed under the request
                connection = idle or self._connections.dial(until)
            seasoned = connection.answers > 0
            try:
                return connection, self._sender.once(connection, ask, deadline=until)
            except SendRefused:
                self._connections.give_back(connection)
                raise
            except AnswerTooLarge:
                raise
            except (NotSent, NoAnswer):
                # the server may close an idle connection at any time: that is no sign of trouble
                if not seasoned or ask.once or self._clock.boot() >= until:
                    raise


def paused(seconds: float) -> Failure:
    """The limiter gave no turn in time."""
    why = "not sent: too many requests are in progress, or Retell asked for a pause"
    return Failure(Trouble.UNREACHABLE, why, None, seconds)


def signs(reply: Reply | None) -> tuple[int | None, float | None]:
    """The signs that the limiter takes from the end of a request."""
    return (None, None) if reply is None else (reply.status, reply.retry_after)


def _parsed(reply: Reply, parse: Callable[[object], T], once: bool) -> T | Failure:
    try:
        found = parse(parse_json(reply.body))
    except AnswerError as error:
        return unusable(error, write=once)
    if isinstance(found, Reading) and reply.etag is not None:
        return replace(found, etag=reply.etag)
    return found
