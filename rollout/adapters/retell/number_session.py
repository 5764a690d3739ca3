"""The write path (P2 to P6 of docs/reliability.md): connections first, then intents, then one PATCH each.

A session opens connections in `__enter__` and in `read`. `write` cannot open one: it uses those that are open, tries an
order on another connection only as long as no byte of it was sent, and reports an order without a connection as
certainly not sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from rollout.adapters.http.connection import Connection, NoAnswer, NotSent, SendRefused
from rollout.adapters.retell.account_list import AccountList
from rollout.adapters.retell.pool import ConnectionPool
from rollout.adapters.retell.rate_limiter import RateLimiter
from rollout.adapters.retell.reader import Reader, paused, signs
from rollout.adapters.retell.request import Reply, RequestSender, RequestSpec, no_answer, unusable
from rollout.adapters.retell.thread_pool import ThreadPool
from rollout.adapters.retell.wire import AnswerError, parse_json, reading, segment
from rollout.domain.phone_numbers import is_e164
from rollout.domain.writes.answers import Answer, Failure, Order, Reading, Trouble
from rollout.engine.ports import Clock

# A session is nearly done when so many requests are left for each connection, and one for each page of the list: as
# long as another session needs to read its numbers and to record its intents.
AHEAD = 4
MOST_OPEN = 256  # connections of one session to a server that closes after each answer

T = TypeVar("T")
Outcome = Reading | Failure


class _NearlyDone:
    """Tells once that at least `some` orders are answered and at most `few` wait; never after a failure."""

    def __init__(self, tell: Callable[[], None] | None, some: int, few: int) -> None:
        self._tell = deque([] if tell is None else [tell])  # taken by exactly one thread
        self._some, self._few = some, few

    def after(self, answer: Answer, answered: int, waiting: int) -> None:
        """An order is answered. Called from several threads."""
        if answer.failure is not None:
            self._tell.clear()
        elif self._tell and answered >= self._some and waiting <= self._few and (tell := _next(self._tell)) is not None:
            tell()


class RetellSession:
    """Open connections for one batch of numbers; see `ports.NumberSession`.

    A call takes at most: `__enter__` the connect timeout; `read` three deadlines (the list, then
    what it did not show), a connect timeout and two seconds of waiting for a walk of others; `write` what is left of
    the send window and one deadline.
    """

    def __init__(  # noqa: PLR0913 - what a session shares with its client; made in one place
        self,
        numbers: Sequence[str],
        *,
        urgent: bool,
        sender: RequestSender,
        reader: Reader,
        connections: ConnectionPool,
        limiter: RateLimiter,
        clock: Clock,
        deadline: float,
        concurrency: int,
        threads: ThreadPool,
        listing: AccountList,
        allowed: frozenset[str] | None = None,
    ) -> None:
        self._size = len(set(numbers))
        self._urgent, self._sender, self._reader = urgent, sender, reader
        self._connections, self._limiter, self._clock = connections, limiter, clock
        self._deadline, self._concurrency, self._threads = deadline, concurrency, threads
        self._listing, self._allowed = listing, allowed
        self._open: deque[Connection] = deque()
        self._trouble = Failure(Trouble.UNREACHABLE, "not sent: no connection was open")

    def __enter__(self) -> Self:
        self._prepare(self._size)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            self._connections.give_back(self._open.popleft())

    def read(self, numbers: Sequence[str], *, to_write: bool = False) -> dict[str, Outcome]:
        """Read each number, many of them by the list of the account and each other by a GET of its own;
        then open what `write` will need. Numbers not begun by the deadline fail.

        `to_write`: each with its ETag, where Retell has them. The list has none, and is then not asked.
        """
        asked = list(dict.fromkeys(numbers))
        found: dict[str, Outcome] = {}
        if to_write and self._reader.etags is None and self._listing.is_cheaper(asked):
            self._read_alone(asked[:1], found)  # says whether Retell has ETags
        if not (to_write and self._reader.etags):
            found |= self._listing.read([n for n in asked if n not in found], urgent=self._urgent)
        self._read_alone([n for n in asked if n not in found], found)
        self._prepare(sum(isinstance(outcome, Reading) for outcome in found.values()))
        return {number: found[number] for number in asked}

    def _read_alone(self, numbers: Sequence[str], found: dict[str, Outcome]) -> None:
        waiting = deque(numbers)
        latest = self._clock.boot() + self._deadline

        def work() -> None:
            connection: Connection | None = None
            while (number := _next(waiting)) is not None:
                if self._clock.boot() >= latest:
                    why = "not read: the reads before it took too long"
                    found[number] = Failure(Trouble.UNREACHABLE, why)
                    continue
                connection = connection or _next(self._open)
                found[number], connection = self._read_one(number, connection)
            if connection is not None:
                self._open.append(connection)

        self._fan_out(work, len(waiting))

    def write(
        self,
        orders: Sequence[Order],
        *,
        send_by: float,
        stop: Callable[[], bool],
        when_nearly_done: Callable[[], None] | None = None,
    ) -> dict[str, Answer]:
        """PATCH each order at most once; none after `send_by` (seconds of Clock.boot) or `stop()`.

        An order for a number that this service may not write is REJECTED here, the last place before the
        bytes. `stop` is called from several threads. Raises ValueError for a number that is there twice.
        """
        if len({order.number for order in orders}) != len(orders):
            raise ValueError("orders: a number is there twice; give one order per number")
        answers = {
            order.number: Answer(None, failure=failure)
            for order in orders
            if (failure := self._forbidden(order.number)) is not None
        }
        waiting = deque(order for order in orders if order.number not in answers)
        tell = self._nearly_done(when_nearly_done if not answers else None, len(waiting))

        def refusal() -> str | None:
            if stop():
                return "not sent: the sender was told to stop"
            return "not sent: the send window has closed" if self._clock.boot() >= send_by else None

        def work() -> None:
            connection: Connection | None = None
            # without a connection a worker takes no order: those with one serve them all
            while (connection := connection or _next(self._open)) is not None:
                if (order := _next(waiting)) is None:
                    self._open.append(connection)
                    return
                answer, connection = self._write_one(order, connection, send_by, refusal)
                if answer is None:
                    waiting.appendleft(order)
                    continue
                answers[order.number] = answer
                tell.after(answer, len(answers), len(waiting))

        self._fan_out(work, min(len(waiting), len(self._open)))
        answers |= {order.number: Answer(None, failure=self._trouble) for order in waiting}
        return {order.number: answers[order.number] for order in orders}

    def _nearly_done(self, tell: Callable[[], None] | None, orders: int) -> _NearlyDone:
        # Behind an older session it gets few threads, and is not nearly done before it has had all of them.
        some = min(self._concurrency, orders // 2)
        reads = 0 if self._urgent else self._listing.pages  # what goes back is not read before
        return _NearlyDone(tell, some, self._concurrency * (AHEAD + reads))

    def _forbidden(self, number: str) -> Failure | None:
        if not is_e164(number):
            return _no_number(number)
        if self._allowed is None or number in self._allowed:
            return None
        return Failure(Trouble.REJECTED, "not sent: the number is not in ROLLOUT_ALLOWED_NUMBERS")

    def _read_one(self, number: str, connection: Connection | None) -> tuple[Outcome, Connection | None]:
        if not is_e164(number):
            return _no_number(number), connection
        ask = RequestSpec("get-phone-number", "GET", f"/get-phone-number/{segment(number)}", number=number)
        until = self._clock.boot() + self._deadline
        return self._reader.ask_on(
            connection, ask, lambda document: reading(document, number), until=until, urgent=self._urgent
        )

    def _write_one(
        self, order: Order, connection: Connection, send_by: float, refusal: Callable[[], str | None]
    ) -> tuple[Answer | None, Connection | None]:
        """One order on one connection; no Answer if the connection turned out to be closed before
        a byte of it was sent. Hands back the connection as long as it is usable."""
        refused = self._limiter.enter(urgent=self._urgent, until=send_by)
        if refused is not None:
            return Answer(None, failure=paused(refused)), connection
        path = f"/update-phone-number/{segment(order.number)}"
        ask = RequestSpec("update-phone-number", "PATCH", path, order.body.encode(), order.number, etag=order.etag)
        reply: Reply | None = None
        try:
            if (why := refusal()) is not None:
                return Answer(None, failure=Failure(Trouble.UNREACHABLE, why)), connection
            deadline = self._clock.boot() + self._deadline
            reply = self._sender.once(connection, ask, deadline=deadline, before=refusal)
        except SendRefused as error:
            usable = connection if connection.usable else None
            return Answer(None, failure=no_answer(error, write=True)), usable
        except NotSent as error:
            self._trouble = no_answer(error, write=True)
            return None, None
        except NoAnswer as error:
            return Answer(None, failure=no_answer(error, write=True)), None
        finally:
            self._limiter.leave(*signs(reply), urgent=self._urgent)
        if reply.status == 200:  # an edge may close with what it refuses, and with nothing else
            self._connections.used(connection, write=True)
        return self._judge(ask, order.number, reply), connection if connection.usable else None

    def _judge(self, ask: RequestSpec, number: str, reply: Reply) -> Answer:
        if reply.status != 200:
            return Answer(reply.status, failure=self._sender.failure(ask, reply, write=True))
        try:
            return Answer(200, shown=reading(parse_json(reply.body), number))
        except AnswerError as error:
            return Answer(200, failure=unusable(error, write=True))

    def _prepare(self, requests: int) -> None:
        """Have a connection open for so many requests: one each if the server closes after each."""
        for connection in self._open:
            if not connection.alive():
                connection.close()
        self._open = deque(connection for connection in self._open if connection.usable)
        most = MOST_OPEN if self._connections.single_use else self._concurrency
        missing = deque(range(min(requests, most) - len(self._open)))
        until = self._clock.boot() + self._connections.connect_timeout

        def work() -> None:
            while _next(missing) is not None:
                try:
                    self._open.append(self._connections.take() or self._connections.dial(until))
                except NotSent as error:
                    self._trouble = Failure(Trouble.UNREACHABLE, f"not sent: {error}")
                    missing.clear()

        self._threads.run(work, len(missing), urgent=self._urgent, opens=True)

    def _fan_out(self, work: Callable[[], None], most: int) -> None:
        """Run `work` in as many threads as there is work for; one runs it here."""
        self._threads.run(work, most, urgent=self._urgent)


def _no_number(number: str) -> Failure:
    why = f"{number!r} is not a phone number; write a plus and 2 to 15 digits, such as +14157774444"
    return Failure(Trouble.REJECTED, why)


def _next(waiting: deque[T]) -> T | None:
    """The first that waits, taken by exactly one thread; None if none does."""
    try:
        return waiting.popleft()
    except IndexError:
        return None
