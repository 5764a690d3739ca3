"""Put the phone numbers of one rollout back to their baseline, without the service and its database.

Needs Python 3.8 or newer and RETELL_API_KEY in the environment; nothing else. Sends each number's baseline
until Retell has confirmed it, reads it back, and then watches for as long as a decision that the service
took before may still take effect, sending again if anything else appears. Nothing but the lists of the
rollout's channels is ever sent. What it does is also written to rollback-ID.log beside this file.

Exit codes: 0 every number is at its baseline; 1 at least one is not; 2 wrong options or no key;
4 Retell cannot be reached or refuses the key.
"""
# ruff: noqa: TID251 - a kit runs where rollout.adapters.clock is not

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable  # noqa: UP035 - Python 3.8

from rollout.kit.program.restore import CHECK, DONE, SEND, WATCH, KeyRefused, Number, Rules
from rollout.kit.program.wire import Retell, update_path

KIT: dict[str, Any] = json.loads(r"""{}""")
"""What rollout.kit.build embeds: id, head (lines for people), base_url, lease and horizon (seconds), numbers."""

THREADS = 8
POLL = 3.0  # seconds between two readings of a number, at most
READS = 20.0  # readings a second, of all numbers together
GIVE_UP, CHECK_GIVE_UP = 900.0, 20.0  # seconds that one trouble of a number may last
LONGEST = 5  # watches; how long a number may be contested
HEARTBEAT = 10.0  # seconds between two lines that say where it stands


class Journal:
    """JSON lines beside this file, and lines for people. Never raises: a full disk or a closed terminal
    must not end a rollback. The key is kept out of both, whatever a server echoes."""

    def __init__(self, path: Path, key: str) -> None:
        self._lock = threading.Lock()
        self._keys = [key, json.dumps(key)[1:-1]] if len(key) >= 8 else []
        self._file: int | None = None
        self._silent = False
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._file = os.open(str(path), flags, 0o600)
        except OSError as error:
            self.say(f"no journal: {path} cannot be written ({error.strerror}); continuing without it")

    def __call__(self, event: str, number: str | None = None, text: str | None = None, **data: Any) -> None:
        now = time.time()
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        entry = {"at": at, "event": event, **({"number": number} if number else {}), **data}
        with self._lock:
            if self._silent:
                return
            if self._file is not None:
                with contextlib.suppress(OSError):
                    os.write(self._file, (self._clean(json.dumps(entry)) + "\n").encode())
            if text is not None:
                self.say(f"{time.strftime('%H:%M:%S')} {number + '  ' if number else ''}{text}")

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(self._clean(text).encode("ascii", "backslashreplace").decode(), flush=True)

    def end(self) -> None:
        """Nothing more from threads that are still under way."""
        with self._lock:
            self._silent = True

    def _clean(self, text: str) -> str:
        for key in self._keys:
            text = text.replace(key, "***")
        return text


class Workers:
    """A few threads that take, again and again, the number that has been due longest."""

    def __init__(self, numbers: list[Number], retell: Retell) -> None:
        self.refused: str | None = None
        self._retell = retell
        self._due = [(number.due, order, number) for order, number in enumerate(numbers)]
        self._open = len(numbers)
        self._over = False
        self._news = threading.Condition()

    def run(self, heartbeat: Callable[[], None]) -> None:
        """Until every number has ended or the key was refused."""
        for _ in range(min(THREADS, self._open)):
            threading.Thread(target=self._work, daemon=True).start()
        beat = time.monotonic() + HEARTBEAT
        while True:
            with self._news:
                if not self._open or self._over:
                    return
                self._news.wait(0.2)
            if time.monotonic() >= beat:
                heartbeat()
                beat = time.monotonic() + HEARTBEAT

    def stop(self) -> None:
        """No thread begins another request."""
        with self._news:
            self._over = True
            self._news.notify_all()

    def _work(self) -> None:
        while True:
            with self._news:
                if not self._open or self._over:
                    return
                now = time.monotonic()
                if not self._due or self._due[0][0] > now:
                    self._news.wait(min(1.0, self._due[0][0] - now) if self._due else 1.0)
                    continue
                _, order, number = heapq.heappop(self._due)
            try:
                number.step(self._retell)
            except KeyRefused as error:
                self.refused = str(error)
                self.stop()
                return
            except Exception as error:  # noqa: BLE001 - no mistake of ours may leave the other numbers alone
                number.defer(_unexpected(error))
            with self._news:
                if number.ended:
                    self._open -= 1
                else:
                    heapq.heappush(self._due, (number.due, order, number))
                self._news.notify_all()


def _unexpected(error: Exception) -> str:
    """The error, and the line of this file that it came from."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return f"unexpected {type(error).__name__} in line {place.tb_lineno if place else '?'}: {error}"


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if not KIT:
        parser.error("this is the program without its numbers; create a kit with: rollout kit ID")
    unknown = [number for number in options.number if number not in KIT["numbers"]]
    if unknown:
        parser.error(f"--number {unknown[0]} is not in this kit; it has: {', '.join(KIT['numbers'])}")
    chosen = {n: kept for n, kept in KIT["numbers"].items() if not options.number or n in options.number}
    if options.dry_run:
        for number, kept in chosen.items():
            print("PATCH " + KIT["base_url"].rstrip("/") + update_path(number))
            print("  " + json.dumps(kept["baseline"]))
        return 0
    key = os.environ.get("RETELL_API_KEY", "").strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        parser.error("RETELL_API_KEY is not set, or is not a key: export the key of the numbers' workspace")
    try:
        retell = Retell(KIT["base_url"], key)
    except ValueError as error:
        parser.error(str(error))
    note = Journal(Path(__file__).resolve().parent / f"rollback-{KIT['id']}.log", key)
    for line in KIT["head"]:
        note.say(line)
    watch = 0.0 if options.no_watch else KIT["lease"] + KIT["horizon"]
    poll = max(min(POLL, (KIT["lease"] + KIT["horizon"]) / 20), len(chosen) / READS)
    give_up = options.give_up or (CHECK_GIVE_UP if options.check else GIVE_UP)
    rules = Rules(watch, poll, give_up, LONGEST * watch)
    mode = CHECK if options.check else SEND
    numbers = [Number(number, kept, rules, note, mode) for number, kept in chosen.items()]
    what = "check" if options.check else "rollback"
    zone = time.strftime("%z")
    count = f"{len(numbers)} number{'' if len(numbers) == 1 else 's'}"
    note("start", None, f"{what} of {count} begins (times are UTC{zone})", what=what, watch=watch)
    if options.no_watch:
        note.say(_given_up())
    code = _carry_out(numbers, Workers(numbers, retell), note)
    note.end()
    return code


def _carry_out(numbers: list[Number], workers: Workers, note: Journal) -> int:
    code = 1
    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that goes away must not end the watch
    try:
        workers.run(lambda: note("standing", None, _standing(numbers)))
    except KeyboardInterrupt:
        workers.stop()
        note.say("INTERRUPTED. A request in progress may still arrive; it would set the baseline.")
        note.say("Start this kit again to continue: it starts from the beginning, which is safe.")
    else:
        failed = [number for number in numbers if number.stage != DONE]
        if workers.refused:
            note.say(f"STOPPED: {workers.refused}; export RETELL_API_KEY of the numbers' workspace and start again")
            code = 4
        elif len(failed) == len(numbers) and all(number.unreachable for number in failed):
            note.say("Retell could not be reached. The numbers serve what they did before; start this kit again.")
            code = 4
        else:
            code = 0 if not failed and all(number.at_baseline for number in numbers) else 1
    for number in numbers:
        note.say(f"  {number.number}  {_outcome(number)}")
    note("end", None, _standing(numbers), exit=code, numbers={n.number: _outcome(n) for n in numbers})
    return code


def _outcome(number: Number) -> str:
    """One line on what was done and where the number stands."""
    if number.ended:
        return number.result
    if number.stage == WATCH:
        return f"restored; the watch was cut short, {number.watched_until - time.monotonic():.0f} s were left"
    if number.stage == CHECK:
        return "not read" + (f": {number.why}" if number.why else "")
    sent = "not sent yet" if not number.sent else f"sent {number.sent} times, but not read back at its baseline"
    return f"NOT restored: {sent}" + (f"; {number.why}" if number.why else "")


def _standing(numbers: list[Number]) -> str:
    stages = Counter(number.stage for number in numbers)
    left = max((n.watched_until - time.monotonic() for n in numbers if n.stage == WATCH), default=0.0)
    parts = [f"{count} {stage}" for stage, count in sorted(stages.items())]
    return f"numbers: {', '.join(parts)}" + (f"; watching for {left:.0f} s more" if left > 0 else "")


def _given_up() -> str:
    return (
        "--no-watch: ends when each number reads back at its baseline. Given up: a step that the service "
        f"decided on earlier may land within {KIT['lease'] + KIT['horizon']:g} s and stay; check with --check after that."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "") + "\n" + "\n".join(KIT.get("head", ())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--dry-run", action="store_true", help="print what would be sent, and send nothing")
    modes.add_argument("--check", action="store_true", help="only read, and say which numbers show the baseline")
    modes.add_argument("--no-watch", action="store_true", help="end once every number has been read back")
    parser.add_argument(
        "--number", action="append", default=[], metavar="+1...", help="only this number; may be repeated"
    )
    parser.add_argument(
        "--give-up",
        type=_positive,
        default=None,
        metavar="SECONDS",
        help=f"how long a number may fail before the kit gives up on it (default {GIVE_UP:g}, with --check "
        f"{CHECK_GIVE_UP:g})",
    )
    return parser


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return seconds


if __name__ == "__main__":
    exit_code = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(exit_code)  # a thread may still wait for an answer or a name; nothing it finds matters now
