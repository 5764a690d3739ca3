"""One request, and a read that is tried again: what leaves on which connection, how often, and what becomes of it."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from rollout.adapters.http.connection import Answered, AnswerTooLarge, NoAnswer, NotSent, SendRefused
from rollout.adapters.retell.origin import parse_base_url
from rollout.adapters.retell.rate_limiter import RateLimiter
from rollout.adapters.retell.reader import Final, Oversized, Reader
from rollout.adapters.retell.request import LARGE, SMALL, Reply, RequestSender, RequestSpec
from rollout.adapters.retell.wire import AnswerError, reading
from rollout.domain.errors import SettingsError
from rollout.domain.writes.answers import Failure, Reading, Trouble
from tests.integration.retell.retell_peer import KEY, NUMBER, shown
from tests.support.clock import FakeClock
from tests.support.logs import captured

ORIGIN = parse_base_url("https://api.retell.test/base")
GET = RequestSpec("get-it", "GET", "/it/a%2Fb", number=NUMBER)
BEGIN = RequestSpec("begin-it", "POST", "/begin-it", b"{}", once=True)


def answered(body: object = None, status: int = 200, **headers: str) -> Answered:
    return Answered(status, json.dumps(body).encode(), {k.replace("_", "-"): v for k, v in headers.items()})


class Line:
    """A connection that ends each request as the test wrote down, after so many seconds."""

    def __init__(self, clock: FakeClock, *ends: Answered | Exception, seconds: float = 0.0, answers: int = 0) -> None:
        self.clock, self.ends, self.seconds, self.answers = clock, list(ends), seconds, answers
        self.usable = True
        self.sent: list[str] = []
        self.limits: list[tuple[float, int]] = []

    def send(self, request: bytes, *, deadline: float, limit: int, before: object = None) -> Answered:
        self.sent.append(request.decode())
        self.limits.append((deadline, limit))
        self.clock.advance(self.seconds)
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            self.usable = False
            raise end
        self.answers += 1
        return end


class Pool:
    """Idle connections and new ones, in this order; a failure among the new ones is one to connect."""

    def __init__(self, idle: list[Line], new: list[Line | Exception]) -> None:
        self.idle, self.new = idle, new
        self.dialled: list[float] = []
        self.noted: list[Line] = []
        self.given_back: list[Line] = []

    def take(self) -> Line | None:
        return self.idle.pop(0) if self.idle else None

    def dial(self, until: float) -> Line:
        self.dialled.append(until)
        found = self.new.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def used(self, connection: Line) -> None:
        self.noted.append(connection)

    def give_back(self, connection: Line) -> None:
        self.given_back.append(connection)


class World:
    """A reader with its clock, pool and limiter; `jitter` is the part of each pause that is waited."""

    def __init__(self, clock: FakeClock, *new: Line | Exception, idle: tuple[Line, ...] = (), jitter: float = 1.0):
        self.clock, self.pool = clock, Pool(list(idle), list(new))
        self.limiter = RateLimiter(clock, concurrency=1)
        sender = RequestSender(ORIGIN, lambda: KEY, clock)
        self.reader = Reader(sender, self.pool, self.limiter, clock, jitter=lambda: jitter)

    def ask(self, ask: RequestSpec = GET, *, within: float = 10.0, parse: Any = lambda document: document) -> Any:
        return self.reader.ask(ask, parse, within=within)


# ------------------------------------------------------------------ how often, and when


def test_an_answer_is_parsed_and_its_connection_is_kept() -> None:
    clock = FakeClock()
    line = Line(clock, answered({"a": 1}))
    world = World(clock, line)
    assert world.ask(within=7.0) == {"a": 1}
    assert line.limits == [(clock.boot() + 7, SMALL)]
    assert world.pool.dialled == [clock.boot() + 7]
    assert world.pool.noted == world.pool.given_back == [line]
    assert "Content-Type" not in line.sent[0] and "If-Match" not in line.sent[0]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again_after_growing_pauses(status: int) -> None:
    clock = FakeClock()
    line = Line(clock, *[answered(status=status, retry_after="0")] * 2, answered(1))
    assert World(clock, line).ask() == 1
    line = Line(clock, *[answered(status=500)] * 4)
    began = clock.boot()
    found = World(clock, line).ask()
    assert found == Failure(Trouble.UNREACHABLE, "Retell answered 500 to get-it", 500)
    assert len(line.sent) == 4
    assert clock.boot() - began == 0.25 + 0.5 + 1.0


@pytest.mark.parametrize("status", [302, 409, 418, 501, 505])
def test_any_other_answer_is_final(status: int) -> None:
    clock = FakeClock()
    line = Line(clock, answered(status=status), answered(1))
    found = World(clock, line).ask()
    assert isinstance(found, Failure) and (found.trouble, found.status) == (Trouble.UNREACHABLE, status)
    assert len(line.sent) == 1


def test_the_pause_is_what_retell_asks_for() -> None:
    clock = FakeClock()
    line = Line(clock, answered(status=503, retry_after="2.5"), answered(1))
    began = clock.boot()
    assert World(clock, line).ask() == 1
    assert clock.boot() - began == 2.5


@pytest.mark.parametrize(("within", "times"), [(0.25, 1), (0.2501, 2)])
def test_nothing_is_asked_again_at_the_deadline(within: float, times: int) -> None:
    clock = FakeClock()
    line = Line(clock, answered(status=500), answered(1))
    began = clock.boot()
    World(clock, line).ask(within=within)
    assert len(line.sent) == times
    assert clock.boot() - began == (0.25 if times == 2 else 0)


def test_a_connection_that_cannot_be_opened_is_tried_again() -> None:
    clock = FakeClock()
    world = World(clock, NotSent("cannot connect"), Line(clock, answered(1)))
    assert world.ask() == 1
    world = World(clock, *[NotSent("cannot connect")] * 4)
    assert world.ask() == Failure(Trouble.UNREACHABLE, "cannot connect")
    assert world.pool.given_back == []


def test_a_new_connection_that_breaks_costs_a_try() -> None:
    clock = FakeClock()
    world = World(clock, *[Line(clock, NoAnswer("broken")) for _ in range(4)], Line(clock, answered(1)))
    assert world.ask() == Failure(Trouble.UNREACHABLE, "broken")


def test_a_connection_that_had_answered_before_and_breaks_costs_none() -> None:
    clock = FakeClock()
    old = [Line(clock, error, answers=1) for error in (NoAnswer("broken"), NotSent("closed"))]
    world = World(clock, Line(clock, answered(1)), idle=(*old,))
    began = clock.boot()
    assert world.ask() == 1
    assert clock.boot() == began


@pytest.mark.parametrize(("seconds", "times"), [(9.999, 1), (10.0, 0)])
def test_nothing_is_sent_on_another_connection_at_the_deadline(seconds: float, times: int) -> None:
    clock = FakeClock()
    old = Line(clock, NoAnswer("the deadline has passed"), seconds=seconds, answers=1)
    world = World(clock, Line(clock, answered(1)), idle=(old,))
    found = world.ask(within=10.0)
    assert len(world.pool.dialled) == times
    assert (found == 1) is (times == 1)


def test_an_answer_with_which_the_server_closes_leaves_no_connection() -> None:
    clock = FakeClock()
    line = Line(clock, answered(1))
    line.usable = False
    world = World(clock, Line(clock, answered(2)))
    found, connection = world.reader.ask_on(line, GET, int, until=clock.boot() + 1, urgent=False)
    assert (found, line.sent) == (2, []), "it is not used"
    assert connection is not None


@pytest.mark.parametrize("retry_after", [None, "30"])
def test_a_429_holds_back_what_follows_and_no_rollback(retry_after: str | None) -> None:
    clock = FakeClock()
    headers = {} if retry_after is None else {"retry_after": retry_after}
    line = Line(clock, answered(status=429, **headers), answered(1))
    world = World(clock, line, jitter=0.0)
    assert isinstance(world.ask(within=0.2), Failure)
    held = world.ask(within=0.2)
    assert isinstance(held, Failure) and held.retry_after == (0.5 if retry_after is None else 30.0)
    assert held.detail == "not sent: too many requests are in progress, or Retell asked for a pause"
    found, _ = world.reader.ask_on(line, GET, int, until=clock.boot() + 0.2, urgent=True)
    assert found == 1


def test_a_request_that_fails_gives_its_turn_back() -> None:
    clock = FakeClock()
    errors = [NotSent("a"), NoAnswer("b"), AnswerTooLarge("c"), SendRefused("d")]
    world = World(clock, *[Line(clock, error) for error in errors], Line(clock, answered(1)))
    for _ in errors:
        found, _connection = world.reader.ask_on(None, GET, int, until=clock.boot() + 0.1, urgent=False)
        assert isinstance(found, Failure)
    assert world.ask() == 1


# ------------------------------------------------------------------ what it means


def test_an_answer_that_is_too_large_is_final_and_told_apart() -> None:
    clock = FakeClock()
    found = World(clock, Line(clock, AnswerTooLarge("it is larger"), answered(1))).ask()
    assert found == Oversized(Trouble.UNREACHABLE, "it is larger")


def test_a_request_that_is_refused_here_is_final_and_its_connection_is_kept() -> None:
    clock = FakeClock()
    line = Line(clock, SendRefused("no key"))
    world = World(clock, line, Line(clock, answered(1)))
    assert world.ask() == Final(Trouble.UNREACHABLE, "no key")
    assert (world.pool.given_back, len(world.pool.dialled)) == ([line], 1)


def fails(_document: object) -> Any:
    raise AnswerError("it is odd")


@pytest.mark.parametrize(
    ("end", "parse", "trouble"),
    [
        (answered(status=500), int, Trouble.UNKNOWN),
        (answered(status=429), int, Trouble.UNKNOWN),
        (answered(status=422), int, Trouble.REJECTED),
        (answered({}), fails, Trouble.UNKNOWN),
        (NoAnswer("broken"), int, Trouble.UNKNOWN),
        (AnswerTooLarge("it is larger"), int, Trouble.UNKNOWN),
        (NotSent("closed"), int, Trouble.UNREACHABLE),
        (SendRefused("no key"), int, Trouble.UNREACHABLE),
    ],
    ids=["500", "429", "422", "odd", "broken", "large", "closed", "no key"],
)
def test_what_must_be_sent_once_is_sent_once_and_may_have_arrived(
    end: Answered | Exception, parse: Callable[[Any], Any], trouble: Trouble
) -> None:
    clock = FakeClock()
    line, idle = Line(clock, end, answered(1)), Line(clock, answered(1), answers=1)
    world = World(clock, line, Line(clock, answered(1)), idle=(idle,))
    found = world.ask(BEGIN, parse=parse)
    assert isinstance(found, Failure) and found.trouble is trouble
    assert (len(line.sent), len(world.pool.dialled), idle.sent) == (1, 1, [])


@pytest.mark.parametrize("status", [200, 201])
def test_what_was_sent_once_is_answered_with_200_or_201(status: int) -> None:
    clock = FakeClock()
    assert World(clock, Line(clock, answered(5, status))).ask(BEGIN) == 5


def test_an_answer_that_does_not_show_what_was_asked_for_is_not_asked_for_again() -> None:
    clock = FakeClock()
    line = Line(clock, answered({}), answered({}))
    assert World(clock, line).ask(parse=fails) == Failure(
        Trouble.UNREACHABLE, "Retell answered 200, but it is odd", 200
    )
    assert len(line.sent) == 1


def test_whether_retell_has_etags_is_known_by_the_last_number_that_was_read_alone() -> None:
    clock = FakeClock()
    line = Line(clock, answered({}), answered(shown(), etag='"1"'), answered({}), answered(shown()))
    world = World(clock, line)
    seen = []
    for parse in (dict, reading, dict, reading):
        world.pool.idle = [line] if line.answers else []
        found = world.ask(parse=parse)
        seen.append((world.reader.etags, found.etag if isinstance(found, Reading) else None))
    assert seen == [(None, None), (True, '"1"'), (True, None), (False, None)]


# ------------------------------------------------------------------ one request


def test_a_request_has_its_key_and_no_more_than_it_needs() -> None:
    clock = FakeClock()
    line = Line(clock, answered({}))
    sender = RequestSender(ORIGIN, lambda: KEY, clock)
    ask = RequestSpec("update", "PATCH", "/it/a%2Fb", b'{"a": 1}', limit=LARGE, etag='"7"')
    sender.once(line, ask, deadline=1005.0)
    head, _, body = line.sent[0].partition("\r\n\r\n")
    first, *headers = head.split("\r\n")
    assert (first, body) == ("PATCH /base/it/a%2Fb HTTP/1.1", '{"a": 1}')
    assert sorted(headers) == [
        "Accept-Encoding: identity",
        "Accept: application/json",
        f"Authorization: Bearer {KEY}",
        "Content-Length: 8",
        "Content-Type: application/json",
        "Host: api.retell.test",
        'If-Match: "7"',
        "User-Agent: rollout",
    ]
    assert line.limits == [(1005.0, LARGE)]


def test_each_request_is_counted_with_its_time_and_its_status_if_it_has_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    clock, counted = FakeClock(), list[object]()
    sender = RequestSender(ORIGIN, lambda: KEY, clock, lambda *what: counted.append(what))
    line = Line(clock, answered({}, 404), NoAnswer("broken"), seconds=0.25006)
    with captured() as lines:
        sender.once(line, GET, deadline=2000)
        with pytest.raises(NoAnswer):
            sender.once(line, GET, deadline=2000)
    assert [(said["operation"], said["status"], said["ms"]) for said in lines] == [
        ("get-it", 404, 250.1),
        ("get-it", None, 250.1),
    ]
    assert counted == [("get-it", "GET", 404, pytest.approx(0.25006)), ("get-it", "GET", None, pytest.approx(0.25006))]


def refuses(error: Exception) -> Callable[[], str]:
    def key() -> str:
        raise error

    return key


@pytest.mark.parametrize(
    ("key", "path", "kind", "words"),
    [
        (lambda: KEY, "/a b", NotSent, "the request cannot be written as HTTP"),
        (lambda: KEY, "/a\r\nX: y", NotSent, "the request cannot be written as HTTP"),
        (lambda: KEY, "a", NotSent, "the request cannot be written as HTTP"),
        (lambda: "", "/a", SendRefused, "set ROLLOUT_RETELL_API_KEY"),
        (lambda: "a b", "/a", SendRefused, "set ROLLOUT_RETELL_API_KEY"),
        (refuses(SettingsError("name a file that is there")), "/a", SendRefused, "name a file that is there"),
        (refuses(PermissionError("x")), "/a", SendRefused, "the API key could not be read (PermissionError)"),
    ],
    ids=["space", "line", "no slash", "no key", "two words", "our error", "no file"],
)
def test_what_cannot_be_written_is_not_sent(
    key: Callable[[], str], path: str, kind: type[Exception], words: str
) -> None:
    clock = FakeClock()
    line = Line(clock, answered({}))
    with pytest.raises(NotSent) as refused:
        RequestSender(ORIGIN, key, clock).once(line, RequestSpec("x", "GET", path), deadline=2000)
    assert type(refused.value) is kind and words in str(refused.value)
    assert line.sent == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({}, None),
        ({"retry_after": " 7 "}, 7.0),
        ({"retry_after": "300.5"}, 300.0),
        ({"retry_after": "now"}, None),
        ({"retry_after": format_datetime(FakeClock().now() + timedelta(seconds=40), usegmt=True)}, 40.0),
        ({"retry_after": format_datetime(FakeClock().now().replace(tzinfo=None) + timedelta(seconds=40))}, 40.0),
        ({"retry_after": format_datetime(FakeClock().now() - timedelta(seconds=40))}, 0.0),
    ],
    ids=["none", "seconds", "long", "word", "date", "date without a zone", "past"],
)
def test_how_long_retell_asks_to_wait(header: dict[str, str], seconds: float | None) -> None:
    clock = FakeClock()
    sender = RequestSender(ORIGIN, lambda: KEY, clock)
    assert sender.once(Line(clock, answered({}, **header)), GET, deadline=2000).retry_after == seconds


UPDATE = RequestSpec("update", "PATCH", "/x", b"{}", etag='"7"')


@pytest.mark.parametrize(
    ("ask", "status", "write", "trouble"),
    [
        *((UPDATE, status, True, Trouble.REJECTED) for status in (400, 401, 403, 404, 422)),
        *((GET, status, False, Trouble.REJECTED) for status in (400, 401, 403, 404, 422)),
        *((UPDATE, status, True, Trouble.UNKNOWN) for status in (402, 405, 409, 423, 429, 500, 503)),
        *((GET, status, False, Trouble.UNREACHABLE) for status in (402, 405, 409, 423, 429, 500, 503)),
        (UPDATE, 412, True, Trouble.CHANGED),
        (BEGIN, 412, True, Trouble.UNKNOWN),
    ],
)
def test_what_an_answer_means(ask: RequestSpec, status: int, write: bool, trouble: Trouble) -> None:
    sender = RequestSender(ORIGIN, lambda: KEY, FakeClock())
    found = sender.failure(ask, Reply(status, b'{"message": "why"}', 3.0), write=write)
    assert (found.trouble, found.status, found.retry_after) == (trouble, status, 3.0)
    told = trouble is Trouble.REJECTED and status not in (401, 403)
    assert (f"Retell answered {status} to {ask.operation}: why" == found.detail) is told
    assert ("ROLLOUT_RETELL_API_KEY" in found.detail) is (status in (401, 403))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "a\nb\x1b[31m" + "c" * 300}, ": ab[31m" + "c" * 194),
        ({"error_message": " older "}, ": older"),
        ({"message": "", "error_message": "older"}, ": older"),
        ({"message": None}, ""),
        ({}, ""),
        (["message"], ""),
        ({"message": f"Bearer {KEY}, {KEY}"}, ": ***, ***"),
        ({"message": base64.b64encode(KEY.encode()).decode()}, ": ***"),
    ],
)
def test_what_retell_says_is_one_line_without_our_key(body: object, said: str) -> None:
    sender = RequestSender(ORIGIN, lambda: KEY, FakeClock())
    found = sender.failure(GET, Reply(404, json.dumps(body).encode(), None), write=False)
    assert found.detail == f"Retell answered 404 to get-it{said}"


def test_what_is_no_json_says_nothing() -> None:
    found = RequestSender(ORIGIN, lambda: KEY, FakeClock()).failure(GET, Reply(404, b"<html>", None), write=False)
    assert found.detail == "Retell answered 404 to get-it"
