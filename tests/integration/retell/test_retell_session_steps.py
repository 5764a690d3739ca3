"""A session step by step: which numbers are read how, which connections are opened, what becomes of each order."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from rollout.adapters.http.connection import NoAnswer, NotSent, SendRefused
from rollout.adapters.retell.number_session import MOST_OPEN, RetellSession
from rollout.adapters.retell.origin import parse_base_url
from rollout.adapters.retell.rate_limiter import RateLimiter
from rollout.adapters.retell.request import Reply, RequestSender, RequestSpec
from rollout.adapters.retell.wire import reading
from rollout.domain.writes.answers import Answer, Failure, Order, Reading, Trouble
from tests.integration.retell.retell_peer import BODY, KEY, shown
from tests.support.clock import FakeClock

NUMBERS = [f"+1415777{i:04}" for i in range(40)]
ORDERS = [Order(number, BODY) for number in NUMBERS]


class Line:
    """A connection; `is_alive` is what the server did to it."""

    def __init__(self, name: int) -> None:
        self.name, self.usable, self.is_alive = name, True, True

    def alive(self) -> bool:
        return self.is_alive

    def close(self) -> None:
        self.usable = False


class World:
    """A session whose surroundings do what the test says and note what they are asked. Its threads are this one."""

    connect_timeout = 2.0

    def __init__(self, numbers: Sequence[str] = (), *, urgent: bool = False, **how: Any) -> None:
        self.clock = FakeClock()
        self.limiter = RateLimiter(self.clock, concurrency=4)
        # the pool
        self.single_use, self.idle, self.refuses = False, list[Line](), list[NotSent]()
        self.dialled: list[float] = []
        self.given_back: list[Line] = []
        self.noted: list[bool] = []
        # the list of the account
        self.listed: list[str] = []
        self.cheaper_from = 10
        self.pages = 1
        self.list_asked: list[list[str]] = []
        # reads, writes and threads
        self.etags: bool | None = None
        self.shows_etags = False
        self.seconds = 0.0
        self.read: list[tuple[str, int | None]] = []
        self.untils: list[float] = []
        self.ends: list[Reply | Exception] = []
        self.sent: list[tuple[RequestSpec, int]] = []
        self.threads: list[tuple[int, bool, bool]] = []
        self.real = RequestSender(parse_base_url("https://api.retell.test"), lambda: KEY, self.clock)
        me: Any = self
        options: dict[str, Any] = {"deadline": 5.0, "concurrency": 4, **how}
        self.session = RetellSession(
            numbers,
            urgent=urgent,
            sender=me,
            reader=me,
            connections=me,
            limiter=self.limiter,
            clock=self.clock,
            threads=me,
            listing=Listing(self),
            **options,
        )

    # the pool
    def take(self) -> Line | None:
        return self.idle.pop() if self.idle else None

    def dial(self, until: float) -> Line:
        self.dialled.append(until)
        if self.refuses:
            raise self.refuses.pop(0)
        return Line(len(self.dialled))

    def give_back(self, connection: Line) -> None:
        self.given_back.append(connection)

    def used(self, connection: Line, *, write: bool = False) -> None:
        self.noted.append(write)

    # the reader
    def ask_on(
        self, connection: Line | None, ask: RequestSpec, parse: Any, *, until: float, urgent: bool
    ) -> tuple[Any, Line | None]:
        number = ask.number or ""
        assert (ask.operation, ask.path) == ("get-phone-number", f"/get-phone-number/%2B{number[1:]}")
        self.read.append((number, connection.name if connection else None))
        self.untils.append(until)
        self.clock.advance(self.seconds)
        self.etags = self.shows_etags
        return parse(shown(number)), connection or Line(-1)

    # the sender
    def once(self, connection: Line, ask: RequestSpec, *, deadline: float, before: Callable[[], str | None]) -> Reply:
        self.sent.append((ask, connection.name))
        self.untils.append(deadline)
        self.clock.advance(self.seconds)
        end = self.ends.pop(0) if self.ends else ok(ask.number or "")
        if isinstance(end, Exception):
            connection.usable = isinstance(end, SendRefused)
            raise end
        return end

    def failure(self, ask: RequestSpec, reply: Reply, *, write: bool) -> Failure:
        return self.real.failure(ask, reply, write=write)

    # the threads
    def run(self, work: Callable[[], None], most: int, *, urgent: bool = False, opens: bool = False) -> None:
        self.threads.append((most, urgent, opens))
        work()


class Listing:
    """The list of the account."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def pages(self) -> int:
        return self.world.pages

    def is_cheaper(self, numbers: Sequence[str]) -> bool:
        return len(numbers) >= self.world.cheaper_from

    def read(self, numbers: Sequence[str], *, urgent: bool) -> dict[str, Reading]:
        self.world.list_asked.append(list(numbers))
        return {number: reading(shown(number)) for number in numbers if number in self.world.listed}


def ok(number: str) -> Reply:
    return Reply(200, json.dumps(shown(number)).encode(), None)


def written(world: World, orders: Sequence[Order], within: float = 9.0, **how: Any) -> list[Answer]:
    how = {"stop": lambda: False, **how}
    answers = world.session.write(orders, send_by=world.clock.boot() + within, **how)
    assert list(answers) == [order.number for order in orders]
    return list(answers.values())


# ------------------------------------------------------------------ connections


@pytest.mark.parametrize(
    ("count", "single_use", "opened"), [(0, False, 0), (3, False, 3), (4, False, 4), (40, False, 4), (40, True, 40)]
)
def test_a_session_opens_as_many_connections_as_its_numbers_need(count: int, single_use: bool, opened: int) -> None:
    world = World([*NUMBERS[:count], *NUMBERS[:count]], urgent=True)
    world.single_use = single_use
    with world.session:
        assert world.dialled == [world.clock.boot() + 2.0] * opened
        assert world.threads == [(opened, True, True)]
    assert len(world.given_back) == opened


def test_a_server_that_closes_after_each_answer_gets_no_more_than_so_many_connections() -> None:
    world = World([f"+1415778{i:04}" for i in range(MOST_OPEN + 1)])
    world.single_use = True
    with world.session:
        assert len(world.dialled) == MOST_OPEN


def test_idle_connections_serve_before_new_ones() -> None:
    world = World(NUMBERS[:3])
    world.idle = [Line(100), Line(101)]
    with world.session:
        assert len(world.dialled) == 1


def test_connections_that_have_died_are_opened_anew_before_the_write() -> None:
    world = World(NUMBERS[:3])
    world.listed, world.cheaper_from = NUMBERS, 1
    with world.session:
        dead: Any = world.session._open[1]
        dead.is_alive = False
        world.session.read(NUMBERS[:3])
        assert (dead.usable, len(world.dialled)) == (False, 4)
        assert [line.name for line in world.session._open] == [1, 3, 4]


def test_a_server_that_takes_no_connection_is_asked_for_one_and_not_for_all() -> None:
    world = World(NUMBERS[:3])
    world.refuses = [NotSent("cannot connect to x"), NotSent("never said")]
    with world.session:
        answers = written(world, ORDERS[:3])
    assert len(world.dialled) == 1
    assert answers == [Answer(None, failure=Failure(Trouble.UNREACHABLE, "not sent: cannot connect to x"))] * 3


def test_a_session_that_was_not_entered_sends_nothing() -> None:
    (answer,) = written(World(), ORDERS[:1])
    assert answer.failure == Failure(Trouble.UNREACHABLE, "not sent: no connection was open")


# ------------------------------------------------------------------ reading


def test_each_number_is_read_once_and_given_back_in_the_order_asked_for() -> None:
    world = World(urgent=True)
    asked = [NUMBERS[2], NUMBERS[0], NUMBERS[2], "12", NUMBERS[1]]
    found = world.session.read(asked)
    assert list(found) == [NUMBERS[2], NUMBERS[0], "12", NUMBERS[1]]
    assert [number for number, _ in world.read] == [NUMBERS[2], NUMBERS[0], NUMBERS[1]]
    odd = found["12"]
    assert isinstance(odd, Failure) and odd.trouble is Trouble.REJECTED and "'12' is not a phone number" in odd.detail
    assert world.untils == [world.clock.boot() + 5.0] * 3
    assert world.threads == [(4, True, False), (2, True, True)], "a connection for each number that was read"


def test_what_the_list_shows_is_not_read_alone() -> None:
    world = World()
    world.listed = NUMBERS[1:]
    found = world.session.read(NUMBERS[:12])
    assert (world.list_asked, [number for number, _ in world.read]) == ([NUMBERS[:12]], NUMBERS[:1])
    assert all(isinstance(outcome, Reading) for outcome in found.values())


@pytest.mark.parametrize(
    ("etags", "shows", "count", "listed", "alone"),
    [
        (None, True, 12, [], 12),
        (None, False, 12, [NUMBERS[1:12]], 1),
        (True, True, 12, [], 12),
        (False, False, 12, [NUMBERS[:12]], 0),
        (None, True, 3, [NUMBERS[:3]], 0),
    ],
    ids=["has them", "has none", "known to have them", "known to have none", "few"],
)
def test_what_is_read_to_be_written_is_read_with_its_etag_where_retell_has_them(
    etags: bool | None, shows: bool, count: int, listed: list[list[str]], alone: int
) -> None:
    world = World()
    world.listed, world.etags, world.shows_etags = NUMBERS, etags, shows
    assert len(world.session.read(NUMBERS[:count], to_write=True)) == count
    assert (world.list_asked, len(world.read)) == (listed, alone)


def test_the_list_is_good_enough_for_who_writes_nothing() -> None:
    world = World()
    world.listed, world.etags = NUMBERS, True
    world.session.read(NUMBERS[:12])
    assert (world.list_asked, world.read) == ([NUMBERS[:12]], [])


def test_numbers_that_are_not_begun_by_the_deadline_are_not_read() -> None:
    world = World()
    world.seconds = 2.5
    found = list(world.session.read(NUMBERS[:4]).values())
    why = Failure(Trouble.UNREACHABLE, "not read: the reads before it took too long")
    assert [isinstance(outcome, Reading) for outcome in found] == [True, True, False, False]
    assert found[2:] == [why, why]


def test_one_connection_serves_one_read_after_the_other_and_then_the_write() -> None:
    world = World(NUMBERS[:1])
    with world.session:
        world.session.read(NUMBERS[:1] * 2)
        world.session.read(NUMBERS[1:3])
        assert [name for _, name in world.read] == [1, 1, 1]
        written(world, ORDERS[:2])
    assert [name for _, name in world.sent] == [1, 1]
    assert [line.name for line in world.given_back][-1] in (1, 2)


# ------------------------------------------------------------------ writing


def test_each_order_is_one_patch_with_its_body_and_etag() -> None:
    world = World(NUMBERS[:2])
    with world.session:
        answers = written(world, [Order(NUMBERS[0], BODY, '"7"'), ORDERS[1]])
    assert [answer.status for answer in answers] == [200, 200]
    assert [answer.shown and answer.shown.number for answer in answers] == NUMBERS[:2]
    path = "/update-phone-number/%2B"
    assert [ask for ask, _ in world.sent] == [
        RequestSpec("update-phone-number", "PATCH", path + NUMBERS[0][1:], BODY.encode(), NUMBERS[0], etag='"7"'),
        RequestSpec("update-phone-number", "PATCH", path + NUMBERS[1][1:], BODY.encode(), NUMBERS[1]),
    ]
    assert world.untils == [world.clock.boot() + 5.0] * 2
    assert world.noted == [True, True]
    assert world.threads[-1] == (2, False, False)


def test_there_are_no_more_threads_than_connections_or_orders() -> None:
    world = World(NUMBERS[:3])
    with world.session:
        written(world, ORDERS[:2])
        written(world, ORDERS)
    assert [most for most, _, opens in world.threads if not opens] == [2, 3]


@pytest.mark.parametrize(("within", "sent"), [(1.0, 1), (1.001, 2)])
def test_nothing_leaves_when_the_send_window_closes(within: float, sent: int) -> None:
    world = World(NUMBERS[:1])
    world.seconds = 1.0
    with world.session:
        answers = written(world, ORDERS[:2], within)
    assert [answer.status for answer in answers] == [200, 200][:sent] + [None] * (2 - sent)
    if sent == 1:
        assert answers[1].failure == Failure(Trouble.UNREACHABLE, "not sent: the send window has closed")


def test_who_is_told_to_stop_says_so_and_keeps_the_connection() -> None:
    world = World(NUMBERS[:1])
    with world.session:
        answers = written(world, ORDERS[:2], stop=lambda: True)
    assert answers == [Answer(None, failure=Failure(Trouble.UNREACHABLE, "not sent: the sender was told to stop"))] * 2
    assert (world.sent, len(world.given_back)) == ([], 1)


def test_an_order_goes_to_the_next_connection_where_no_byte_of_it_was_sent() -> None:
    world = World(NUMBERS[:3])
    world.ends = [NotSent("closed")]
    with world.session:
        answers = written(world, ORDERS[:3])
    assert [answer.status for answer in answers] == [200] * 3
    assert [(ask.number, name) for ask, name in world.sent] == [
        (NUMBERS[0], 1),
        (NUMBERS[0], 2),
        (NUMBERS[1], 2),
        (NUMBERS[2], 2),
    ]


def test_an_order_that_no_connection_took_says_what_the_last_one_said() -> None:
    world = World(NUMBERS[:2])
    world.ends = [NotSent("closed"), NotSent("closed too")]
    with world.session:
        answers = written(world, ORDERS[:3])
    assert answers == [Answer(None, failure=Failure(Trouble.UNREACHABLE, "closed too"))] * 3
    assert world.given_back == []


@pytest.mark.parametrize(
    ("end", "answer", "kept", "noted"),
    [
        (NoAnswer("broken"), Answer(None, failure=Failure(Trouble.UNKNOWN, "broken")), 0, []),
        (SendRefused("no key"), Answer(None, failure=Failure(Trouble.UNREACHABLE, "no key")), 1, []),
        (
            Reply(500, b"", None),
            Answer(500, failure=Failure(Trouble.UNKNOWN, "Retell answered 500 to update-phone-number", 500)),
            1,
            [],
        ),
        (
            Reply(200, b"{}", None),
            Answer(
                200,
                failure=Failure(
                    Trouble.UNKNOWN, "Retell answered 200, but its phone_number is missing or not text", 200
                ),
            ),
            1,
            [True],
        ),
    ],
    ids=["broken", "no key", "500", "odd"],
)
def test_what_becomes_of_an_order(end: Reply | Exception, answer: Answer, kept: int, noted: list[bool]) -> None:
    world = World(NUMBERS[:1])
    world.ends = [end]
    with world.session:
        assert written(world, ORDERS[:1]) == [answer]
    assert (len(world.given_back), world.noted) == (kept, noted)


def test_an_order_that_waits_for_its_turn_in_vain_is_not_sent() -> None:
    world = World(NUMBERS[:2])
    world.ends = [Reply(429, b"", 30.0)]
    with world.session:
        first, second = written(world, ORDERS[:2])
    assert first.failure is not None and (first.failure.trouble, first.failure.retry_after) == (Trouble.UNKNOWN, 30.0)
    assert second.failure is not None and (second.failure.trouble, second.failure.retry_after) == (
        Trouble.UNREACHABLE,
        30.0,
    )
    assert len(world.sent) == 1


def test_every_order_gives_its_turn_back() -> None:
    world = World(NUMBERS[:1])
    world.limiter = RateLimiter(world.clock, concurrency=1)
    world.session._limiter = world.limiter
    for end in (ok(NUMBERS[0]), NoAnswer("a"), NotSent("b"), SendRefused("c"), Reply(422, b"", None)):
        world.ends = [end]
        with world.session:
            written(world, ORDERS[:1])
    with world.session:
        written(world, ORDERS[:1], stop=lambda: True)
        assert written(world, ORDERS[:1])[0].status == 200


def test_a_number_that_is_not_allowed_or_none_is_rejected_and_the_others_are_written() -> None:
    world = World(NUMBERS[:2], allowed=frozenset({NUMBERS[0], "12"}))
    with world.session:
        answers = written(world, [ORDERS[1], Order("12", BODY), ORDERS[0]])
    assert [answer.failure and answer.failure.trouble for answer in answers] == [Trouble.REJECTED] * 2 + [None]
    assert answers[0].failure == Failure(Trouble.REJECTED, "not sent: the number is not in ROLLOUT_ALLOWED_NUMBERS")
    assert [ask.number for ask, _ in world.sent] == [NUMBERS[0]]


# ------------------------------------------------------------------ nearly done


def told(world: World, orders: Sequence[Order]) -> list[int]:
    """How many orders had been sent when the session said that it is nearly done."""
    said: list[int] = []
    with world.session:
        written(world, orders, when_nearly_done=lambda: said.append(len(world.sent)))
    return said


@pytest.mark.parametrize(
    ("concurrency", "pages", "urgent", "count", "at"),
    [
        (1, 1, False, 40, [35]),
        (1, 6, False, 40, [30]),
        (1, 50, False, 40, [1]),
        (1, 50, True, 40, [36]),
        (4, 50, False, 40, [4]),
        (4, 50, False, 6, [3]),
        (4, 1, False, 1, [1]),
    ],
)
def test_it_says_once_that_no_more_is_left_than_the_next_session_needs_to_begin(
    concurrency: int, pages: int, urgent: bool, count: int, at: list[int]
) -> None:
    world = World(NUMBERS[:1], urgent=urgent, concurrency=concurrency)
    world.pages = pages
    assert told(world, ORDERS[:count]) == at


def test_it_does_not_say_so_after_a_failure_or_beside_a_number_that_may_not_be_written() -> None:
    world = World(NUMBERS[:1])
    world.ends = [Reply(422, b"", None)]
    assert told(world, ORDERS) == []
    assert told(World(NUMBERS[:1]), [*ORDERS, Order("12", BODY)]) == []
