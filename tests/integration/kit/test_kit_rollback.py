"""The kit's command from its options to its exit code, with Retell's answers in the test's hand."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.kit.program import rollback
from rollout.kit.program.restore import CHECK, READ, SEND, WATCH, Number, Rules
from rollout.kit.program.rollback import Journal, Workers, main
from rollout.kit.program.wire import NoAnswer, Reply

ONE, TWO = "+14155550100", "+14155550101"
KEY = "key_canary_91b7c2f0"
BASELINE = {"inbound_agents": [{"agent_id": "a", "agent_version": 6, "weight": 1}]}
FORWARD = {"inbound_agents": [{"agent_id": "a", "agent_version": 7, "weight": 1}]}


def status(code: int) -> Reply:
    return Reply(code, b"", None)


class Retell:
    """Two numbers that serve FORWARD. `writes` and `reads` replace the answers of a number."""

    def __init__(self) -> None:
        self.serves = dict.fromkeys((ONE, TWO), FORWARD)
        self.writes: dict[str, Reply | Exception] = {}
        self.reads: dict[str, Reply | Exception] = {}
        self.asked: list[tuple[str, str]] = []

    def __call__(self, base_url: str, key: str) -> Retell:
        assert (base_url, key) == ("https://api.retell.test/v/", KEY)
        return self

    def read(self, number: str) -> Reply:
        return self._answer("GET", number, self.reads)

    def write(self, number: str, body: bytes) -> Reply:
        if number not in self.writes:
            self.serves[number] = json.loads(body)
        return self._answer("PATCH", number, self.writes)

    def _answer(self, method: str, number: str, instead: dict[str, Reply | Exception]) -> Reply:
        self.asked.append((method, number))
        found = instead.get(number)
        if isinstance(found, Exception):
            raise found
        shown = {"phone_number": number, "last_modification_timestamp": 10, **self.serves[number]}
        return found or Reply(200, json.dumps(shown).encode(), None)


@pytest.fixture
def retell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Retell]:
    """A kit with two numbers and its key, in a folder of its own, whose pauses are short."""
    kept = {"baseline": BASELINE, "confirmed": FORWARD}
    kit = {"id": "k7m2", "head": ["rollout k7m2", "Made today"], "base_url": "https://api.retell.test/v/"}
    monkeypatch.setattr(rollback, "KIT", {**kit, "lease": 0.02, "horizon": 0.04, "numbers": {ONE: kept, TWO: kept}})
    monkeypatch.setattr(rollback, "READS", 1000.0)
    monkeypatch.setattr(rollback, "__file__", str(tmp_path / "rollback-k7m2.py"))
    monkeypatch.setattr("rollout.kit.program.restore.PAUSES", (0.01,))
    monkeypatch.setenv("RETELL_API_KEY", f" {KEY}\n")
    monkeypatch.setattr(rollback, "Retell", made := Retell())
    # A thread that dies leaves its number open without end: the test is to fail then, and not to wait.
    monkeypatch.setattr(threading, "excepthook", lambda _: os.kill(os.getpid(), signal.SIGINT))
    names = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP")]
    before = [signal.getsignal(name) for name in names]
    yield made
    for name, handler in zip(names, before, strict=True):
        signal.signal(name, handler)


def events(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "rollback-k7m2.log").read_text().splitlines()]


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What people see, each line without its time."""
    return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in capsys.readouterr().out.splitlines()]


# ------------------------------------------------------------------ how it ends


def test_numbers_that_all_go_back_end_it_with_0(
    retell: Retell, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([]) == 0
    lines = said(capsys)
    zone = time.strftime("%z")
    assert lines[:3] == ["rollout k7m2", "Made today", f"rollback of 2 numbers begins (times are UTC{zone})"]
    assert lines[-3:] == [f"  {ONE}  restored, sent once", f"  {TWO}  restored, sent once", "numbers: 2 done"]
    first, *_, last = events(tmp_path)
    assert (first["event"], first["what"], first["watch"]) == ("start", "rollback", 0.06)
    assert (last["event"], last["exit"]) == ("end", 0)
    assert last["numbers"] == dict.fromkeys((ONE, TWO), "restored, sent once")
    assert "standing" not in [event["event"] for event in events(tmp_path)], "it took less than ten seconds"
    assert retell.serves == dict.fromkeys((ONE, TWO), BASELINE)
    assert "number" not in first and {ONE, TWO} <= {event.get("number") for event in events(tmp_path)}


def test_one_number_that_does_not_go_back_ends_it_with_1(retell: Retell, capsys: pytest.CaptureFixture[str]) -> None:
    retell.writes[TWO] = retell.reads[TWO] = status(422)
    assert main([]) == 1
    gone = "gone: Retell does not know this number (422)"
    assert said(capsys)[-3:] == [f"  {ONE}  restored, sent once", f"  {TWO}  {gone}", "numbers: 1 done, 1 failed"]


def test_retell_that_answers_nobody_ends_it_with_4_and_that_answers_one_with_1(
    retell: Retell, capsys: pytest.CaptureFixture[str]
) -> None:
    retell.writes = {ONE: NoAnswer("no route"), TWO: NoAnswer("no route")}
    assert main(["--give-up", "0.05"]) == 4
    assert "Retell could not be reached. The numbers serve what they did before; start this kit again." in said(capsys)
    del retell.writes[ONE]
    assert main(["--give-up", "0.05"]) == 1
    assert not [line for line in said(capsys) if line.startswith("Retell could not be reached")]
    retell.writes = {ONE: NoAnswer("no route"), TWO: status(418)}
    assert main(["--give-up", "0.05"]) == 1, "one of them was answered"


def test_a_refused_key_ends_it_with_4_before_all_numbers_were_asked_for(
    retell: Retell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollback, "THREADS", 1)
    retell.writes = {ONE: status(401), TWO: status(401)}
    assert main([]) == 4
    lines = said(capsys)
    advice = "export RETELL_API_KEY of the numbers' workspace and start again"
    assert f"STOPPED: Retell refuses the API key (401); {advice}" in lines
    assert lines[-3:-1] == [
        f"  {ONE}  NOT restored: sent 1 times, but not read back at its baseline",
        f"  {TWO}  NOT restored: not sent yet",
    ]
    assert retell.asked == [("PATCH", ONE)]


def test_a_check_only_reads_and_ends_with_0_where_every_number_is_at_its_baseline(
    retell: Retell, capsys: pytest.CaptureFixture[str]
) -> None:
    retell.serves[ONE] = BASELINE
    assert main(["--check"]) == 1
    assert f"check of 2 numbers begins (times are UTC{time.strftime('%z')})" in said(capsys)
    assert main(["--check", "--number", ONE]) == 0
    lines = said(capsys)
    assert f"check of 1 number begins (times are UTC{time.strftime('%z')})" in lines
    assert f"  {ONE}  shows its baseline" in lines
    retell.serves[TWO] = BASELINE
    assert main(["--check"]) == 0
    assert {method for method, _ in retell.asked} == {"GET"}


def test_only_the_numbers_asked_for_are_written(retell: Retell) -> None:
    assert main(["--number", TWO, "--no-watch"]) == 0
    assert retell.asked == [("PATCH", TWO), ("GET", TWO)]


def test_a_dry_run_needs_no_key_and_asks_nothing(
    retell: Retell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RETELL_API_KEY")
    assert main(["--dry-run", "--number", TWO]) == 0
    url = "https://api.retell.test/v/update-phone-number/%2B14155550101"
    assert capsys.readouterr().out.splitlines() == [f"PATCH {url}", f"  {json.dumps(BASELINE)}"]
    assert retell.asked == []


def test_without_a_watch_it_says_what_is_given_up(retell: Retell, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-watch"]) == 0
    text = "--no-watch: ends when each number reads back at its baseline. Given up: a step that the service decided on "
    assert f"{text}earlier may land within 0.06 s and stay; check with --check after that." in said(capsys)
    assert main([]) == 0
    assert not [line for line in said(capsys) if "Given up" in line]


# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("options", "key", "words"),
    [
        (["--number", ONE, "--number", "+19"], KEY, f"--number +19 is not in this kit; it has: {ONE}, {TWO}"),
        ([], "", "RETELL_API_KEY is not set"),
        ([], "two words", "RETELL_API_KEY is not set, or is not a key"),
        ([], "kéy", "RETELL_API_KEY is not set, or is not a key"),
        ([], "key\x1b", "RETELL_API_KEY is not set, or is not a key"),
        (["--give-up", "0"], KEY, "0 is not a number of seconds above 0"),
        (["--give-up", "1000001"], KEY, "1000001 is not a number of seconds above 0"),
        (["--give-up", "nan"], KEY, "nan is not a number of seconds above 0"),
        (["--give-up", "soon"], KEY, "invalid _positive value"),
        (["--che"], KEY, "unrecognized arguments: --che"),
        (["--check", "--dry-run"], KEY, "not allowed with"),
    ],
)
def test_wrong_usage_ends_it_with_2(
    retell: Retell,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    key: str,
    words: str,
) -> None:
    monkeypatch.setenv("RETELL_API_KEY", key)
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert (ended.value.code, words in capsys.readouterr().err) == (2, True)
    assert retell.asked == []


def test_a_program_without_numbers_and_a_base_url_that_cannot_be_end_it_with_2(
    retell: Retell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(base_url: str, _key: str) -> None:
        raise ValueError(f"base URL {base_url!r}: write https://HOST")

    for name, value, words in (
        ("Retell", refuses, "write https://HOST"),
        ("KIT", {}, "create a kit with: rollout kit"),
    ):
        monkeypatch.setattr(rollback, name, value)
        with pytest.raises(SystemExit) as ended:
            main([])
        assert (ended.value.code, words in capsys.readouterr().err) == (2, True)


def test_its_help_says_for_whom_it_is(retell: Retell, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert "without the service and its database.\n\nNeeds Python 3.8" in out, "its lines are kept as they are"
    assert "rollout k7m2\nMade today" in out


@pytest.mark.parametrize(
    ("options", "changes", "rules"),
    [
        ([], {}, Rules(245.0, 3.0, 900.0, 1225.0)),
        (["--check"], {}, Rules(245.0, 3.0, 20.0, 1225.0)),
        (["--no-watch"], {}, Rules(0.0, 3.0, 900.0, 0.0)),
        (["--give-up", "1000000"], {}, Rules(245.0, 3.0, 1e6, 1225.0)),
        (["--check", "--give-up", "7"], {}, Rules(245.0, 3.0, 7.0, 1225.0)),
        ([], {"lease": 10.0, "horizon": 20.0}, Rules(30.0, 1.5, 900.0, 150.0)),
        ([], {"READS": 0.25}, Rules(245.0, 8.0, 900.0, 1225.0)),
        (["--number", ONE], {"READS": 0.25}, Rules(245.0, 4.0, 900.0, 1225.0)),
    ],
    ids=str,
)
def test_how_long_it_watches_and_how_often_it_reads(
    retell: Retell, monkeypatch: pytest.MonkeyPatch, options: list[str], changes: dict[str, float], rules: Rules
) -> None:
    """Twenty readings a watch, at most three seconds apart; fewer where many numbers share what Retell takes."""
    seen: list[Rules] = []

    def carry_out(numbers: list[Number], _workers: Workers, _note: Journal) -> int:
        seen.extend(number.rules for number in numbers)
        return 7

    monkeypatch.setattr(rollback, "KIT", {**rollback.KIT, "lease": 45.0, "horizon": 200.0, **changes})
    if "READS" in changes:
        monkeypatch.setattr(rollback, "READS", changes["READS"])
    monkeypatch.setattr(rollback, "_carry_out", carry_out)
    assert main(options) == 7
    assert set(seen) == {rules}


# ------------------------------------------------------------------ cut short


def made(stage: str, **changes: Any) -> Number:
    rules = Rules(245.0, 3.0, 900.0, 1225.0)
    number = Number(ONE, {"baseline": BASELINE, "confirmed": FORWARD}, rules, lambda *_, **__: None, stage)
    for name, value in changes.items():
        setattr(number, name, value)
    return number


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (made(SEND), "NOT restored: not sent yet"),
        (made(SEND, sent=2, why="no route"), "NOT restored: sent 2 times, but not read back at its baseline; no route"),
        (made(READ, sent=1), "NOT restored: sent 1 times, but not read back at its baseline"),
        (made(CHECK), "not read"),
        (made(CHECK, why="no route"), "not read: no route"),
    ],
)
def test_an_interrupt_says_where_each_number_stands(
    retell: Retell, capsys: pytest.CaptureFixture[str], tmp_path: Path, number: Number, outcome: str
) -> None:
    class Interrupted(Workers):
        def run(self, heartbeat: Any) -> None:
            heartbeat()
            raise KeyboardInterrupt

    workers = Interrupted([number], retell)
    journal = Journal(tmp_path / "rollback-k7m2.log", KEY)
    assert rollback._carry_out([number], workers, journal) == 1
    assert said(capsys) == [
        f"numbers: 1 {number.stage}",
        "INTERRUPTED. A request in progress may still arrive; it would set the baseline.",
        "Start this kit again to continue: it starts from the beginning, which is safe.",
        f"  {ONE}  {outcome}",
        f"numbers: 1 {number.stage}",
    ]
    last = events(tmp_path)[-1]
    assert (last["exit"], last["numbers"]) == (1, {ONE: outcome})
    assert workers._over


def test_an_interrupt_says_how_much_of_the_watch_was_left(
    retell: Retell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollback, "KIT", {**rollback.KIT, "lease": 1e5, "horizon": 1e5})
    monkeypatch.setattr(rollback, "POLL", 1000.0)
    ended = threading.Event()
    other = threading.Thread(target=interrupt_when_both_are_watched, args=(retell, ended))
    other.start()
    assert main([]) == 1
    ended.set()
    other.join(10)
    lines = said(capsys)
    left = r"(199\d{3}|200000) s"
    for line, number in zip(lines[-3:], (ONE, TWO), strict=False):
        assert re.fullmatch(rf"  \{number}  restored; the watch was cut short, {left} were left", line)
    assert re.fullmatch(r"numbers: 2 watch; watching for (199\d{3}|200000) s more", lines[-1])


def interrupt_when_both_are_watched(retell: Retell, ended: threading.Event) -> None:
    while not ended.wait(0.01):
        if [method for method, _ in retell.asked].count("GET") == 2:
            ended.wait(0.1)  # both have their answers by then
            os.kill(os.getpid(), signal.SIGTERM)
            return


def test_a_terminal_that_goes_away_is_no_interrupt(retell: Retell) -> None:
    assert main([]) == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    for name in (signal.SIGTERM, signal.SIGINT):
        assert signal.getsignal(name) is signal.default_int_handler


# ------------------------------------------------------------------ threads


def test_a_mistake_of_our_own_is_trouble_of_one_number_alone(
    retell: Retell, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    retell.writes[ONE] = ZeroDivisionError("a bug")
    assert main(["--give-up", "0.05"]) == 1
    why = [event["why"] for event in events(tmp_path) if event["event"] == "trouble"]
    assert all(re.fullmatch(r"unexpected ZeroDivisionError in line \d+: a bug", text) for text in why) and why
    line = Retell._answer.__code__.co_firstlineno + 4
    assert f"in line {line}: " in why[0], "where it was raised"
    assert f"  {TWO}  restored, sent once" in said(capsys)


def test_where_it_stands_is_said_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback, "HEARTBEAT", 0.0)
    beats = []

    class UntilTwo(Number):
        def step(self, _retell: Any) -> None:
            self.due = time.monotonic() + 0.01
            if len(beats) >= 2:
                self.stage = "done"

    kept, rules = {"baseline": BASELINE, "confirmed": FORWARD}, Rules(1.0, 1.0, 1.0, 1.0)
    workers = Workers([UntilTwo(ONE, kept, rules, lambda *_, **__: None, SEND)], None)
    workers.run(lambda: beats.append(1))
    assert len(beats) >= 2


@pytest.mark.parametrize(("count", "threads"), [(1, 1), (8, 8), (9, 8)])
def test_no_more_than_eight_numbers_are_asked_for_at_a_time(count: int, threads: int) -> None:
    met, over = threading.Barrier(threads + 1), threading.Event()
    inside = []

    class Slow(Number):
        def step(self, _retell: Any) -> None:
            inside.append(self.number)
            if not over.is_set():
                met.wait(10)
                assert over.wait(10)
            self.stage = "done"

    rules = Rules(1.0, 1.0, 1.0, 1.0)
    kept = {"baseline": BASELINE, "confirmed": FORWARD}
    numbers: list[Number] = [Slow(str(i), kept, rules, lambda *_, **__: None, SEND) for i in range(count)]
    workers = Workers(numbers, None)
    running = threading.Thread(target=workers.run, args=(lambda: None,))
    running.start()
    met.wait(10)
    assert len(inside) == threads
    over.set()
    running.join(10)
    assert sorted(inside) == [number.number for number in numbers]
    assert not running.is_alive()


def test_the_number_that_has_been_due_longest_comes_first() -> None:
    came = []
    pauses = {"0": 0.06, "1": 0.02, "2": 0.04, "3": 0.08}

    class Twice(Number):
        def step(self, _retell: Any) -> None:
            if self.number in came:
                self.stage = "done"
            came.append(self.number)
            self.due = began + pauses[self.number]

    kept = {"baseline": BASELINE, "confirmed": FORWARD}
    rules = Rules(1.0, 1.0, 1.0, 1.0)
    numbers: list[Number] = [Twice(number, kept, rules, lambda *_, **__: None, SEND) for number in pauses]
    workers = Workers(numbers, None)
    began = time.monotonic()
    workers._work()
    assert came == ["0", "1", "2", "3", "1", "2", "0", "3"]


# ------------------------------------------------------------------ the journal


def test_a_line_of_the_journal_has_its_time_in_utc(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollback.time, "time", lambda: 1_795_165_200.0625)
    note = Journal(path := tmp_path / "j.log", KEY)
    note("event", ONE, "text", ms=5)
    note("event", None, None)
    note("last", None, "all")
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"at": "2026-11-20T09:00:00.062Z", "event": "event", "number": ONE, "ms": 5},
        {"at": "2026-11-20T09:00:00.062Z", "event": "event"},
        {"at": "2026-11-20T09:00:00.062Z", "event": "last"},
    ]
    assert said(capsys) == [f"{ONE}  text", "all"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(("key", "is_hidden"), [("k234567", False), ("k2345678", True), ('k"234\\5678', True)])
def test_a_key_that_is_one_is_in_no_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, is_hidden: bool
) -> None:
    note = Journal(path := tmp_path / "j.log", key)
    note("event", None, f"text {key}", why=f"why {key}")
    assert (json.loads(path.read_text())["why"] == "why ***") is is_hidden
    assert (said(capsys) == ["text ***"]) is is_hidden


def test_a_journal_is_continued_and_never_ends_a_rollback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j.log"
    for event in ("first", "second"):
        Journal(path, KEY)(event)
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["first", "second"]
    (target := tmp_path / "elsewhere").write_text("")
    (link := tmp_path / "link.log").symlink_to(target)
    for place, why in ((tmp_path, "Is a directory"), (link, "Too many levels of symbolic links")):
        note = Journal(place, KEY)
        assert said(capsys) == [f"no journal: {place} cannot be written ({why}); continuing without it"]
        note("event", None, "gr\u00fc\u00dfe")
        assert said(capsys) == ["gr\\xfc\\xdfe"]
    assert target.read_text() == ""
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    note("event", None, "text")


def test_each_line_is_seen_at_once_where_it_goes_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(seen))
    note = Journal(tmp_path / "j.log", KEY)
    note.say("text")
    assert seen.getvalue() == b"text\n"


def test_after_its_end_nothing_more_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note = Journal(path := tmp_path / "j.log", KEY)
    note.end()
    note("event", None, "text")
    assert (path.read_text(), said(capsys)) == ("", [])


def test_the_standing_counts_stages_and_names_the_longest_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback.time, "monotonic", lambda: 1000.0)
    watched = [made(WATCH, _answered_at=at) for at in (800.0, 790.0)]
    assert rollback._standing([*watched, made(SEND)]) == "numbers: 1 send, 2 watch; watching for 45 s more"
    assert rollback._standing([made(WATCH, _answered_at=755.0)]) == "numbers: 1 watch"
    assert rollback._standing([made(SEND)]) == "numbers: 1 send"
