"""One phone number on its way back: send the baseline until Retell has confirmed it, read it back, watch it.

Sending and reading once is not enough. A write without an answer leaves no trace on a number that happens to show
its baseline, and a write that the service decided on earlier may still land after ours. So a number is done only
after a 200 of our own and a read that begins lease + horizon later; every further send starts that time again.
"""
# ruff: noqa: TID251 - a kit runs where rollout.adapters.clock is not

from __future__ import annotations

import json
import random
import time
from decimal import Decimal
from typing import Any, Callable, NamedTuple  # noqa: UP035 - Python 3.8

from rollout.kit.program.wire import NoAnswer, Reply, Retell

CHECK, SEND, READ, WATCH, DONE, FAILED = "check", "send", "read back", "watch", "done", "failed"
PAUSES = (0.3, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds between tries; a random part of each is waited
LATEST = 32_503_680_000_000  # milliseconds, the year 3000: a time stamp beyond is none
MOST_STALE = 3  # readings older than our 200, before the baseline is sent again: the 200 may have been false
CONTESTED = 3  # times that Retell accepts a baseline and somebody overwrites it before the kit says so

Note = Callable[..., None]
"""note(event, number, text=None, **data) adds to the journal, and prints the text if there is one."""


class KeyRefused(Exception):
    """Retell does not accept the key: no further request can succeed."""


class Rules(NamedTuple):
    """Seconds. `longest` limits how long a number is contested, `give_up` how long one trouble lasts."""

    watch: float
    poll: float
    give_up: float
    longest: float


class Shown(NamedTuple):
    """One number as Retell shows it."""

    lists: dict[str, Any]
    modified: int


def read_shown(body: bytes, number: str, channels: Any) -> Shown:
    """The lists of these channels and the time stamp (ms) of an answer. Raises ValueError."""
    try:
        document = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise ValueError("its body is not JSON") from None
    if not isinstance(document, dict) or document.get("phone_number") != number:
        raise ValueError("it is not about this number")
    modified = document.get("last_modification_timestamp")
    if not isinstance(modified, int) or isinstance(modified, bool) or not 0 <= modified <= LATEST:
        raise ValueError("it has no usable last_modification_timestamp")
    return Shown({name: document[name] for name in channels if name in document}, modified)


def same(a: Any, b: Any) -> bool:
    """True if two lists of agents mean the same split; order, extra fields and number formats do not matter."""
    return bool(_facts(a) == _facts(b))


def _facts(entries: Any) -> Any:
    if not isinstance(entries, list):
        return entries
    return sorted(repr(_fact(entry)) for entry in entries)


def _fact(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return ("?", entry)
    version: Any = entry.get("agent_version")
    weight: Any = entry.get("weight")
    digits = isinstance(version, str) and version.isascii() and version.isdigit() and len(version) <= 18
    if digits or (isinstance(version, float) and version.is_integer()):
        version = int(version)
    if isinstance(weight, (int, float)) and not isinstance(weight, bool) and abs(weight) <= 10_000:
        weight = round(Decimal(repr(weight)) * 1_000_000)
    else:
        weight = ("?", weight)
    return (entry.get("agent_id"), version, weight)


class Number:
    """One phone number. `stage` says how far it is, `why` what prevents more, `due` when to continue.

    `step` makes the next request and notes what came of it; it is to be called until `ended`.
    """

    def __init__(self, number: str, embedded: dict[str, Any], rules: Rules, note: Note, stage: str) -> None:
        self.number, self.rules, self.stage = number, rules, stage
        self.baseline: dict[str, Any] = embedded["baseline"]
        self.confirmed: dict[str, Any] = embedded["confirmed"]
        # The same proportions, adding up to exactly 1; where there is no such list, nothing is tried after a refusal.
        self.exact: dict[str, Any] = embedded.get("exact", self.baseline)
        self._wanted = self.baseline  # what is sent: the baseline as it was read, until Retell refuses that
        self.why, self.result = "", ""
        self.at_baseline = False  # as last read
        self.unreachable = False  # the last trouble was that Retell did not answer, or answered 5xx or 429
        self.due = self.began = time.monotonic()
        self.sent = 0
        self.restored_at: float | None = None  # when it was first read back at its baseline
        self._note = note
        self._newest = 0  # time stamp of our own last 200, or of a later reading
        self._sent_at = self._answered_at = 0.0
        self._trouble_since: float | None = None
        self._tries = self._stale = self._taken = 0  # _taken: definite 200s, ours and about the baseline

    @property
    def ended(self) -> bool:
        return self.stage in (DONE, FAILED)

    @property
    def watched_until(self) -> float:
        """The moment (time.monotonic) from which a read at the baseline ends the watch."""
        return self._answered_at + self.rules.watch

    def step(self, retell: Retell) -> None:
        """Make the next request and act on its answer. Raises KeyRefused, and nothing else."""
        began = time.monotonic()
        try:
            if self.stage == SEND:
                self._send(retell)
            else:
                self._read(retell, began)
        except NoAnswer as error:
            self._trouble(str(error), unreachable=True)
        except ValueError as error:
            self._trouble(f"Retell answered 200, but {error}")

    def shows(self, shown: Shown) -> str:
        """A reading in words; "its baseline" if it shows that."""
        for form in (self.baseline, self.exact):
            if all(same(shown.lists[name], entries) for name, entries in form.items()):
                return "its baseline"
        if all(same(shown.lists[name], entries) for name, entries in self.confirmed.items()):
            return "the split that was confirmed when this kit was written"
        return "something else: " + json.dumps(shown.lists)

    # ---------------------------------------------------------------- sending

    def _send(self, retell: Retell) -> None:
        self.sent += 1
        self._sent_at = time.monotonic()
        body = json.dumps(self._wanted)
        self._note("sending", self.number, body=body, attempt=self.sent)
        reply = retell.write(self.number, body.encode())
        _check_key(reply)
        if reply.status in (400, 404, 422):
            self._refused(retell, reply)
            return
        if reply.status != 200:
            self._answered_badly(reply)
            return
        shown = read_shown(reply.body, self.number, self.baseline)
        # A list that the answer leaves out is decided by the read-back.
        if any(not same(entries, self._wanted[name]) for name, entries in shown.lists.items()):
            self._trouble("Retell answered 200 but does not show the baseline")
            return
        self.due = self._answered_at = time.monotonic()
        self._newest, self._stale, self.stage = shown.modified, 0, READ
        self._taken += 1
        milliseconds = round(1000 * (self._answered_at - self._sent_at))
        self._note("answered", self.number, modified=shown.modified, ms=milliseconds)

    def _refused(self, retell: Retell, reply: Reply) -> None:
        """Handle a definite refusal. Retell says 422 for an unknown number and for an unknown agent: a read tells which."""
        look = retell.read(self.number)
        _check_key(look)
        if look.status in (404, 422):
            self._fail(f"gone: Retell does not know this number ({look.status})")
        elif look.status != 200:
            self._answered_badly(look)
        elif reply.status != 404 and self._wanted is self.baseline and self.exact != self.baseline:
            self._wanted = self.exact
            self._note(
                "refused",
                self.number,
                f"Retell refuses the baseline as it was read ({reply.status}{_said(reply)}); "
                "sending it in the same proportions with a sum of exactly 1",
            )
        else:
            self._fail(f"Retell refuses the baseline ({reply.status}{_said(reply)}): set its agents by hand")

    # ---------------------------------------------------------------- reading

    def _read(self, retell: Retell, began: float) -> None:
        reply = retell.read(self.number)
        _check_key(reply)
        if reply.status in (404, 422):
            self._fail(f"gone: Retell does not know this number ({reply.status})")
            return
        if reply.status != 200:
            self._answered_badly(reply)
            return
        shown = read_shown(reply.body, self.number, self.baseline)
        if shown.modified < self._newest:
            self._stale += 1
            if self._stale >= MOST_STALE:
                self.stage = SEND
            # No growing pause: callers may be on the wrong split, and the next reading is likely a good one.
            self._trouble("a reading is older than our write", steady=min(1.0, self.rules.poll))
            return
        left_out = [name for name in self.baseline if name not in shown.lists]
        if left_out:
            raise ValueError("it leaves out " + ", ".join(left_out))
        what = self.shows(shown)
        self.at_baseline = what == "its baseline"
        if self.stage == CHECK:
            self.stage = DONE
            self.result = "shows " + what
            self._note("checked", self.number, f"shows {what}", lists=shown.lists)
        elif self.at_baseline:
            self._stands(shown, began)
        else:
            self._moved(shown, what)

    def _stands(self, shown: Shown, began: float) -> None:
        now = time.monotonic()
        self._trouble_since, self._tries, self._stale, self.why = None, 0, 0, ""
        self._newest = shown.modified
        if self.stage == READ:
            self.stage = WATCH
            if self.restored_at is None:
                self.restored_at = now
            after = now - self.began
            text = f"restored: reads back at its baseline, {after:.1f} s after the start"
            self._note("restored", self.number, text, modified=shown.modified, seconds=round(after, 3))
        if began >= self.watched_until:
            self.stage = DONE
            times = "once" if self.sent == 1 else f"{self.sent} times"
            self.result = f"restored, sent {times}"
            self._note("done", self.number, modified=shown.modified, watched=round(began - self._answered_at, 3))
        else:
            self.due = min(now + self.rules.poll, max(now, self.watched_until))

    def _moved(self, shown: Shown, what: str) -> None:
        """Send the baseline again to a number that shows something else.

        At the earliest one poll after the last send, and after growing pauses (1, 2, 4 ... 60 s) where Retell took it
        and another program or person wrote over it.
        """
        now = time.monotonic()
        self.stage = SEND
        text = f"shows {what}; sending the baseline again"
        if self._taken >= CONTESTED:
            others = f"another program or person writes this number: Retell took the baseline {self._taken} times"
            text = f"{others}, and it {text}"
        self._note("moved", self.number, text, lists=shown.lists)
        contested = self.restored_at is not None and now > self.restored_at + self.rules.longest
        since = self._trouble_since = now if self._trouble_since is None else self._trouble_since
        if contested or now - since > self.rules.give_up:
            self._fail("somebody or something keeps changing it; stop them, then start this kit again")
            return
        self.why = "it showed " + what
        grown = min(60.0, 2.0 ** min(self._taken - 1, 6))
        self.due = max(now, self._sent_at + max(self.rules.poll, grown))

    # ---------------------------------------------------------------- trouble

    def defer(self, why: str) -> None:
        """Handle any other failure: try again later."""
        self._trouble(why)

    def _answered_badly(self, reply: Reply) -> None:
        passing = reply.status == 429 or reply.status >= 500
        self._trouble(f"Retell answered {reply.status}{_said(reply)}", passing, reply.retry_after)

    def _trouble(
        self, why: str, unreachable: bool = False, pause: float | None = None, steady: float | None = None
    ) -> None:
        """Record a trouble; try again `pause` seconds later or more, or `steady` seconds later exactly."""
        now = time.monotonic()
        since = self._trouble_since = now if self._trouble_since is None else self._trouble_since
        grown = PAUSES[min(self._tries, len(PAUSES) - 1)] * random.uniform(0.5, 1.0)
        self.due = now + (max(grown, pause or 0.0) if steady is None else steady)
        self._tries += 1
        news, self.why, self.unreachable = why != self.why, why, unreachable
        text = f"{why}; trying again" if news else None
        self._note("trouble", self.number, text, why=why, stage=self.stage, pause=round(self.due - now, 3))
        if now - since > self.rules.give_up:
            self._fail(f"given up after {now - since:.0f} s: {why}", unreachable)

    def _fail(self, why: str, unreachable: bool = False) -> None:
        self.stage, self.result, self.unreachable = FAILED, why, unreachable
        self._note("failed", self.number, f"FAILED: {why}", why=why)


def _check_key(reply: Reply) -> None:
    if reply.status in (401, 403):
        raise KeyRefused(f"Retell refuses the API key ({reply.status})")


def _said(reply: Reply) -> str:
    """Retell's own message, cut to a line of printable text."""
    try:
        message = str(json.loads(reply.body.decode())["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return ": " + "".join(c for c in message if c.isprintable())[:200]
