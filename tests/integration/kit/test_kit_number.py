"""One number on its way back, request by request, with Retell's answers and the time in the test's hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from rollout.domain.splits import splits
from rollout.kit.program import restore
from rollout.kit.program.restore import (
    CHECK,
    DONE,
    FAILED,
    READ,
    SEND,
    WATCH,
    KeyRefused,
    Number,
    Rules,
    read_shown,
    same,
)
from rollout.kit.program.wire import NoAnswer, Reply

ONE, OTHER = "+14155550100", "+14155550101"
BASELINE = {"inbound_agents": [{"agent_id": "a", "agent_version": 6, "weight": 1}]}
FORWARD = {"inbound_agents": [{"agent_id": "a", "agent_version": 7, "weight": 1}]}
EDIT = {"inbound_agents": [{"agent_id": "a", "agent_version": 5, "weight": 1}]}
RULES = Rules(watch=100.0, poll=5.0, give_up=60.0, longest=200.0)


def shows(lists: dict[str, Any], modified: int = 10, number: str = ONE) -> Reply:
    body = {"phone_number": number, "last_modification_timestamp": modified, **lists}
    return Reply(200, json.dumps(body).encode(), None)


def status(code: int, retry_after: float | None = None, message: str = "") -> Reply:
    return Reply(code, json.dumps({"message": message}).encode() if message else b"", retry_after)


class Retell:
    """Answers with what the test wrote down, in this order, each after so many seconds."""

    def __init__(self, clock: SimpleNamespace) -> None:
        self.clock, self.seconds = clock, 0.0
        self.answers: list[Reply | Exception] = []
        self.asked: list[str] = []
        self.bodies: list[Any] = []

    def read(self, number: str) -> Reply:
        self.asked.append(f"GET {number}")
        return self._next()

    def write(self, number: str, body: bytes) -> Reply:
        self.asked.append(f"PATCH {number}")
        self.bodies.append(json.loads(body))
        return self._next()

    def _next(self) -> Reply:
        answer = self.answers.pop(0)
        self.clock.now += self.seconds
        if isinstance(answer, Exception):
            raise answer
        return answer


class Way:
    """A number, its Retell and its clock."""

    def __init__(self, clock: SimpleNamespace, stage: str, embedded: dict[str, Any] | None = None) -> None:
        self.clock = clock
        self.retell = Retell(clock)
        self.notes: list[tuple[str, str | None, dict[str, Any]]] = []
        kept = embedded or {"baseline": BASELINE, "confirmed": FORWARD}
        self.number = Number(ONE, kept, RULES, self._note, stage)

    def _note(self, event: str, number: str, text: str | None = None, **data: Any) -> None:
        assert number == ONE
        self.notes.append((event, text, data))

    def step(self, answer: Reply | Exception, *more: Reply, at: float | None = None) -> str:
        """The next request at this second, or when it is due, answered so; returns the stage after it."""
        self.clock.now = max(self.clock.now, self.number.due) if at is None else at
        self.retell.answers = [answer, *more]
        self.number.step(self.retell)
        assert self.retell.answers == []
        return self.number.stage

    @property
    def events(self) -> list[str]:
        return [event for event, _, _ in self.notes]

    @property
    def pause(self) -> float:
        """Seconds from now until its next request."""
        return round(self.number.due - self.clock.now, 6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    made = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(restore, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(restore, "random", SimpleNamespace(uniform=lambda _low, high: high))
    yield made


@pytest.fixture
def way(clock: SimpleNamespace) -> Way:
    return Way(clock, SEND)


# ------------------------------------------------------------------ what is believed


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not about this number"),
        (b"{}", "not about this number"),
        (shows(BASELINE, number=OTHER).body, "not about this number"),
        (json.dumps({"phone_number": ONE}).encode(), "no usable last_modification_timestamp"),
        (shows(BASELINE, modified=True).body, "no usable last_modification_timestamp"),
        (shows(BASELINE, modified=-1).body, "no usable last_modification_timestamp"),
        (shows(BASELINE, modified=32_503_680_000_001).body, "no usable last_modification_timestamp"),
        (json.dumps({"phone_number": ONE, "last_modification_timestamp": 1.5}).encode(), "no usable"),
    ],
)
def test_an_answer_that_is_not_about_this_number_is_none(body: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_shown(body, ONE, BASELINE)


def test_an_answer_is_read_for_the_lists_of_the_kit() -> None:
    for modified in (0, 32_503_680_000_000):
        found = read_shown(shows({**BASELINE, "outbound_agents": []}, modified).body, ONE, BASELINE)
        assert (found.lists, found.modified) == (BASELINE, modified)
    assert read_shown(shows({}).body, ONE, BASELINE).lists == {}


@pytest.mark.parametrize("stage", [SEND, READ])
def test_an_answer_about_another_number_proves_nothing(clock: SimpleNamespace, stage: str) -> None:
    way = Way(clock, stage)
    assert way.step(shows(BASELINE, number=OTHER)) == stage
    assert way.number.why == "Retell answered 200, but it is not about this number"
    assert way.number.restored_at is None


# ------------------------------------------------------------------ sent, read back, watched


def test_of_a_number_that_was_not_asked_for_nothing_is_claimed(clock: SimpleNamespace) -> None:
    number = Way(clock, SEND).number
    assert (number.ended, number.at_baseline, number.unreachable, number.restored_at) == (False, False, False, None)
    assert (number.sent, number.due) == (0, clock.now)


def test_sent_read_back_and_watched_to_the_end(way: Way) -> None:
    assert way.step(shows(BASELINE, 20)) == READ
    assert way.pause == 0
    assert way.step(shows(BASELINE, 20)) == WATCH
    assert (way.number.restored_at, way.number.at_baseline) == (1000.0, True)
    assert way.pause == RULES.poll
    assert way.step(shows(BASELINE, 20), at=1097.0) == WATCH
    assert way.pause == 3.0, "the last reading begins with the end of the watch"
    assert way.step(shows(BASELINE, 20)) == DONE
    assert way.number.ended
    assert way.number.result == "restored, sent once"
    assert way.retell.asked == [f"PATCH {ONE}", *[f"GET {ONE}"] * 3]
    assert way.retell.bodies == [BASELINE]
    assert way.events == ["sending", "answered", "restored", "done"]
    assert way.notes[-1][2] == {"modified": 20, "watched": 100.0}


def test_a_reading_that_began_before_the_end_of_the_watch_does_not_end_it(way: Way) -> None:
    way.step(shows(BASELINE, 20))
    way.step(shows(BASELINE, 20))
    way.retell.seconds = 2.0
    assert way.step(shows(BASELINE, 20), at=1099.999) == WATCH
    assert way.pause == 0, "the end of the watch has come meanwhile"
    assert way.step(shows(BASELINE, 20), at=1100.0) == DONE


def test_the_journal_tells_how_long_it_all_took(clock: SimpleNamespace) -> None:
    way = Way(clock, SEND)
    way.retell.seconds = 0.12345
    way.step(shows(BASELINE, 20))
    way.step(shows(BASELINE, 21))
    way.step(shows(BASELINE, 22), at=1100.12345 + 0.0004)
    assert way.notes == [
        ("sending", None, {"body": json.dumps(BASELINE), "attempt": 1}),
        ("answered", None, {"modified": 20, "ms": 123}),
        ("restored", "restored: reads back at its baseline, 0.2 s after the start", {"modified": 21, "seconds": 0.247}),
        ("done", None, {"modified": 22, "watched": 100.0}),
    ]


def test_the_journal_tells_of_trouble_what_and_when_it_goes_on(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "random", SimpleNamespace(uniform=lambda low, high: low + 0.00123 * high))
    way = Way(clock, SEND)
    way.step(status(500))
    assert way.notes[-1] == (
        "trouble",
        "Retell answered 500; trying again",
        {"why": "Retell answered 500", "stage": SEND, "pause": 0.15},
    )
    way.step(status(502))
    assert way.pause == 0.50123, "half of the pause at least, and a random part of the rest"
    assert way.notes[-1][2]["pause"] == 0.501


@pytest.mark.parametrize("refusal", [400, 404, 422])
@pytest.mark.parametrize("look", [429, 500, 503])
def test_a_refusal_beside_a_read_that_fails_is_sent_again(way: Way, refusal: int, look: int) -> None:
    way.number.exact = {"inbound_agents": [{"agent_id": "a", "agent_version": 6, "weight": 1.0}, {}]}
    assert way.step(status(refusal), status(look, 7.0)) == SEND
    assert (way.number.unreachable, way.pause) == (True, 7.0)
    assert way.step(shows(BASELINE, 20)) == READ
    assert way.retell.bodies == [BASELINE, BASELINE]


def test_every_further_send_begins_the_watch_anew(way: Way) -> None:
    way.step(shows(BASELINE, 20))
    way.step(shows(BASELINE, 20))
    assert way.step(shows(FORWARD, 30), at=1099.0) == SEND
    assert "the split that was confirmed" in (way.notes[-1][1] or "")
    assert way.step(shows(BASELINE, 40)) == READ
    assert way.step(shows(BASELINE, 40)) == WATCH
    assert way.number.watched_until == way.clock.now + RULES.watch
    assert way.number.restored_at == 1000.0, "when it was first read back"
    assert way.step(shows(BASELINE, 40), at=way.number.watched_until) == DONE
    assert way.number.result == "restored, sent 2 times"


@pytest.mark.parametrize(
    ("taken", "pause"), [(1, 5.0), (2, 5.0), (3, 5.0), (4, 8.0), (5, 16.0), (6, 32.0), (7, 60.0), (9, 60.0)]
)
def test_the_pauses_grow_while_another_hand_writes_over_it(clock: SimpleNamespace, taken: int, pause: float) -> None:
    way = Way(clock, SEND)
    way.number.rules = RULES._replace(give_up=1_000.0)
    for i in range(taken):
        assert way.step(shows(BASELINE, 20 + i)) == READ
        sent = way.clock.now
        assert way.step(shows(EDIT, 20 + i)) == SEND
    assert way.number.due == sent + pause
    assert way.number.why.startswith("it showed something else: ")
    assert ("another program or person writes this number" in (way.notes[-1][1] or "")) is (taken >= 3)


def test_somebody_who_keeps_changing_it_is_given_up_on(way: Way) -> None:
    way.step(shows(BASELINE, 20))
    way.step(shows(BASELINE, 20))
    assert way.step(shows(EDIT, 30), at=1200.0) == SEND
    assert way.step(shows(BASELINE, 40), at=1201.0) == READ
    assert way.step(shows(EDIT, 50), at=1200.001 + RULES.watch) == FAILED
    assert "keeps changing it" in way.number.result
    assert not way.number.unreachable


def test_a_number_that_never_gets_there_is_given_up_on(way: Way) -> None:
    way.step(shows(BASELINE, 20))
    assert way.step(shows(EDIT, 30)) == SEND
    began = way.clock.now
    way.step(shows(BASELINE, 40), at=began + 1)
    assert way.step(shows(EDIT, 50), at=began + RULES.give_up) == SEND
    way.step(shows(BASELINE, 60), at=began + RULES.give_up)
    assert way.step(shows(EDIT, 70), at=began + RULES.give_up + 0.001) == FAILED


# ------------------------------------------------------------------ a 200 that proves nothing


def test_a_200_that_shows_another_split_is_not_believed(way: Way) -> None:
    assert way.step(shows(FORWARD, 20)) == SEND
    assert way.number.why == "Retell answered 200 but does not show the baseline"
    assert way.pause == restore.PAUSES[0]


def test_a_200_that_leaves_the_list_out_is_decided_by_the_read_back(way: Way) -> None:
    assert way.step(shows({}, 20)) == READ
    assert way.step(shows({}, 20)) == READ
    assert way.number.why == "Retell answered 200, but it leaves out inbound_agents"
    assert way.step(shows(BASELINE, 20)) == WATCH
    assert way.number.why == ""


def test_three_readings_older_than_our_200_are_answered_by_sending_again(clock: SimpleNamespace) -> None:
    way = Way(clock, SEND)
    way.step(shows(BASELINE, 20))
    for stage in (READ, READ, SEND):
        assert way.step(shows(BASELINE, 19)) == stage
        assert way.pause == 1.0, "no growing pause: callers may be on the wrong split"
        assert way.number.why == "a reading is older than our write"
    assert way.step(shows(BASELINE, 21)) == READ
    for stage in (READ, READ, SEND):
        assert way.step(shows(BASELINE, 20)) == stage


def test_older_readings_are_counted_anew_after_a_good_one(way: Way) -> None:
    for modified, stage in ((20, READ), (19, READ), (19, READ), (20, WATCH), (19, WATCH), (19, WATCH), (19, SEND)):
        assert way.step(shows(BASELINE, modified)) == stage


def test_what_was_read_last_is_the_least_that_is_believed(way: Way) -> None:
    way.step(shows(BASELINE, 20))
    way.step(shows(BASELINE, 30))
    assert way.step(shows(FORWARD, 29)) == WATCH
    assert way.step(shows(FORWARD, 30)) == SEND


# ------------------------------------------------------------------ trouble


def test_the_pauses_after_trouble_grow_and_retry_after_is_heeded(clock: SimpleNamespace) -> None:
    way = Way(clock, SEND)
    for pause in (0.3, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0):
        assert way.step(status(503, message="down"), at=way.clock.now) == SEND
        assert way.pause == pause
        assert (way.number.why, way.number.unreachable) == ("Retell answered 503: down", True)
    way.step(status(429, retry_after=20.0), at=way.clock.now)
    assert way.pause == 20.0
    way.step(status(429, retry_after=2.0), at=way.clock.now)
    assert way.pause == 15.0
    assert [text for _, text, _ in way.notes if text] == [
        "Retell answered 503: down; trying again",
        "Retell answered 429; trying again",
    ], "said once, not each time"


@pytest.mark.parametrize(
    ("answer", "why", "unreachable"),
    [
        (NoAnswer("no answer"), "no answer", True),
        (status(500), "Retell answered 500", True),
        (status(429), "Retell answered 429", True),
        (status(418), "Retell answered 418", False),
        (status(499, message="a\nb" + "c" * 300), "Retell answered 499: ab" + "c" * 198, False),
        (Reply(200, b"", None), "Retell answered 200, but its body is not JSON", False),
    ],
    ids=["none", "500", "429", "418", "long", "empty"],
)
@pytest.mark.parametrize("stage", [SEND, READ, CHECK])
def test_trouble_is_named_and_tried_again(
    clock: SimpleNamespace, stage: str, answer: Reply | Exception, why: str, unreachable: bool
) -> None:
    way = Way(clock, stage)
    assert way.step(answer) == stage
    assert (way.number.why, way.number.unreachable) == (why, unreachable)
    assert way.events[-1] == "trouble"


def test_trouble_that_lasts_is_given_up_on(way: Way) -> None:
    way.step(status(503), at=1000.0)
    assert way.step(status(503), at=1000.0 + RULES.give_up) == SEND
    assert way.step(status(503), at=1061.0) == FAILED
    assert way.number.result == "given up after 61 s: Retell answered 503"
    assert way.number.unreachable


def test_what_goes_well_ends_the_trouble(way: Way) -> None:
    way.step(shows(BASELINE, 20))
    way.step(status(503), at=1000.0)
    way.step(shows(BASELINE, 20), at=1059.0)
    assert way.step(status(503), at=1061.0) == WATCH
    assert way.pause == restore.PAUSES[0]


def test_something_unforeseen_is_trouble_like_any_other(way: Way) -> None:
    way.number.defer("unexpected TypeError")
    assert (way.number.stage, way.number.why, way.pause) == (SEND, "unexpected TypeError", 0.3)


@pytest.mark.parametrize("code", [401, 403])
@pytest.mark.parametrize("stage", [SEND, READ, CHECK])
def test_a_refused_key_ends_it(clock: SimpleNamespace, stage: str, code: int) -> None:
    with pytest.raises(KeyRefused, match=str(code)):
        Way(clock, stage).step(status(code))
    if stage == SEND:
        with pytest.raises(KeyRefused, match=str(code)):
            Way(clock, stage).step(status(422), status(code))


# ------------------------------------------------------------------ refused, and gone

THIRDS = {"inbound_agents": [{"agent_id": "a", "agent_version": v, "weight": 0.3333} for v in (4, 5, 6)]}
EXACT = {"inbound_agents": [{**THIRDS["inbound_agents"][0], "weight": 0.3334}, *THIRDS["inbound_agents"][1:]]}


@pytest.mark.parametrize("code", [400, 404, 422])
@pytest.mark.parametrize("read", [404, 422])
def test_a_refused_write_of_a_number_that_is_unknown(way: Way, code: int, read: int) -> None:
    assert way.step(status(code), status(read)) == FAILED
    assert way.number.result == f"gone: Retell does not know this number ({read})"


@pytest.mark.parametrize("code", [400, 404, 422])
def test_a_refused_write_of_a_number_that_is_known(way: Way, code: int) -> None:
    assert way.step(status(code, message="no such agent"), shows(FORWARD)) == FAILED
    assert way.number.result == f"Retell refuses the baseline ({code}: no such agent): set its agents by hand"


@pytest.mark.parametrize(("code", "again"), [(400, True), (422, True), (404, False)])
def test_a_refused_sum_is_sent_adding_up_to_exactly_one_and_only_once(
    clock: SimpleNamespace, code: int, again: bool
) -> None:
    way = Way(clock, SEND, {"baseline": THIRDS, "confirmed": FORWARD, "exact": EXACT})
    assert way.step(status(code), shows(FORWARD)) == (SEND if again else FAILED)
    if again:
        event, text, _ = way.notes[-1]
        assert event == "refused" and text is not None
        assert text.startswith(f"Retell refuses the baseline as it was read ({code}); sending it in the same")
        assert way.pause == 0
        assert way.step(shows(EXACT, 20)) == READ
        assert way.retell.bodies == [THIRDS, EXACT]
        assert way.step(shows(EXACT, 20)) == WATCH
        assert way.step(shows(FORWARD, 30)) == SEND
        assert way.step(status(code), shows(FORWARD)) == FAILED


@pytest.mark.parametrize("code", [404, 422])
@pytest.mark.parametrize("stage", [READ, WATCH, CHECK])
def test_a_number_that_is_gone(clock: SimpleNamespace, stage: str, code: int) -> None:
    way = Way(clock, stage)
    assert way.step(status(code)) == FAILED
    assert way.number.result == f"gone: Retell does not know this number ({code})"
    assert way.notes == [("failed", f"FAILED: {way.number.result}", {"why": way.number.result})]


# ------------------------------------------------------------------ checked only


@pytest.mark.parametrize(
    ("lists", "words", "at_baseline"),
    [
        (BASELINE, "shows its baseline", True),
        (FORWARD, "shows the split that was confirmed when this kit was written", False),
        (EDIT, f"shows something else: {json.dumps(EDIT)}", False),
    ],
)
def test_a_check_reads_once_and_writes_nothing(
    clock: SimpleNamespace, lists: dict[str, Any], words: str, at_baseline: bool
) -> None:
    way = Way(clock, CHECK)
    assert way.step(shows(lists)) == DONE
    assert (way.number.result, way.number.at_baseline) == (words, at_baseline)
    assert way.retell.asked == [f"GET {ONE}"]
    assert way.events == ["checked"]


BOTH = {**BASELINE, "outbound_agents": BASELINE["inbound_agents"]}
AWAY = {**FORWARD, "outbound_agents": FORWARD["inbound_agents"]}


@pytest.mark.parametrize(
    ("inbound", "outbound", "words"),
    [
        (BOTH, BOTH, "its baseline"),
        (AWAY, AWAY, "the split that was confirmed"),
        (BOTH, AWAY, "something else: "),
        (AWAY, BOTH, "something else: "),
    ],
)
def test_a_number_is_where_all_its_lists_are(
    clock: SimpleNamespace, inbound: dict[str, Any], outbound: dict[str, Any], words: str
) -> None:
    way = Way(clock, CHECK, {"baseline": BOTH, "confirmed": AWAY})
    lists = {"inbound_agents": inbound["inbound_agents"], "outbound_agents": outbound["outbound_agents"]}
    assert way.step(shows(lists)) == DONE
    assert way.number.result.startswith(f"shows {words}")


def entries(version: Any = 6, weight: Any = 1, **more: Any) -> list[Any]:
    return [{"agent_id": "a", "agent_version": version, "weight": weight, **more}]


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        (entries("6"), entries(6), True),
        (entries(6.0), entries(6), True),
        (entries(6.5), entries(6), False),
        (entries("9" * 18), entries(int("9" * 18)), True),
        (entries("9" * 19), entries(int("9" * 19)), False),
        (entries("6a"), entries("6a"), True),
        (entries("\u0666"), entries(6), False),
        (entries(weight=1.0), entries(weight=1), True),
        (entries(weight=0.3333330), entries(weight=0.3333334), True),
        (entries(weight=0.3333330), entries(weight=0.3333336), False),
        (entries(weight=10_000.0), entries(weight=10_000), True),
        (entries(weight=10_001.0), entries(weight=10_001), False),
        (entries(weight=True), entries(weight=1), False),
        (entries(weight="1"), entries(weight=1), False),
        (entries(dynamic_variables={}), entries(), True),
        ([*entries(5), *entries(6)], [*entries(6), *entries(5)], True),
        ([*entries(), *entries()], entries(), False),
        (["a"], ["a"], True),
        (["a"], ["b"], False),
        ([{}], [None], False),
        (None, None, True),
        (None, [], False),
        (None, {}, False),
    ],
)
def test_which_lists_are_the_same_split_is_what_the_service_thinks(a: Any, b: Any, alike: bool) -> None:
    assert same(a, b) is same(b, a) is alike
    assert splits.same(a, b) is alike
