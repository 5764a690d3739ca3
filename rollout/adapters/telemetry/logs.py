"""structlog set-up: one JSON line per record for ours, uvicorn's and APScheduler's, secrets removed.

structlog is loaded by the first line that is logged, or by `set_up`: it takes longer to load than a short command
takes to run, and most commands log nothing.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import logging
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from threading import Lock
from typing import Any, TextIO
from urllib.parse import quote

from rollout.adapters.clock import SystemClock

_PATTERNS = re.compile(r"(?i)(bearer\s+)[A-Za-z0-9._~+/=-]{8,}|\bkey_[0-9a-f]{16,}\b|\brlt_[A-Za-z0-9_-]{16,}\b")
_REAL = SystemClock()
REPEATS_SECONDS = 60.0
_MOST_KNOWN = 1000  # different lines of which repetitions are counted
_MOST_OF_PLANS = 500  # addresses of plans that no line may show
_QUIET = ("httpx", "httpcore", "alembic", "uvicorn.access")


class Redactor:
    """Removes known secrets (plain, base64, URL-encoded) and whatever looks like one from every record.

    Safe for threads. The secrets of the settings stay known, those of plans until `_MOST_OF_PLANS` are newer.
    """

    def __init__(self) -> None:
        self._own: tuple[str, ...] = ()
        self._of_plans: tuple[str, ...] = ()
        self._forms: tuple[str, ...] = ()  # replaced as a whole, never changed: other threads iterate over it
        self._lock = Lock()

    def know(self, secrets: Iterable[str]) -> None:
        """Remove these from now on."""
        with self._lock:
            self._own = tuple(dict.fromkeys((*self._own, *secrets)))
            self._set_forms()

    def know_of_plan(self, secrets: Iterable[str]) -> None:
        """Remove these as well, as long as they are among the newest of all plans."""
        with self._lock:
            new = dict.fromkeys(secrets)
            before, self._of_plans = self._of_plans, (*(s for s in self._of_plans if s not in new), *new)
            self._of_plans = self._of_plans[-_MOST_OF_PLANS:]
            if set(before) != set(self._of_plans):
                self._set_forms()

    def _set_forms(self) -> None:
        forms = {
            form
            for secret in (*self._own, *self._of_plans)
            if len(secret) >= 6
            for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode())
        }
        # The longest first: a secret that holds another one leaves nothing of itself.
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def clean(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, "***")
        return _PATTERNS.sub(lambda m: (m.group(1) or "") + "***", text)

    def __call__(self, _logger: Any, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in record.items():
            if isinstance(value, str):
                record[name] = self.clean(value)
            elif isinstance(value, (list, tuple, dict)):
                record[name] = self.clean(str(value))
        return record


REDACTOR = Redactor()


@dataclass
class _RepeatedLine:
    """A line that was written at `since`; `record` is its newest repetition, of `times` that were not written."""

    since: float
    record: logging.LogRecord
    times: int = 0


class Counting(logging.StreamHandler[TextIO]):
    """Writes a warning or an error once a minute; repetitions are counted, and logged as `repeated`.

    Two lines are the same when they differ in nothing but their time and their numbers. A trouble that lasts gives
    one line a minute, however often it is met; lines below a warning are written as they come.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = _REAL.boot) -> None:
        super().__init__(stream)
        self._clock = clock
        self._known: OrderedDict[object, _RepeatedLine] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it if it repeats; write the count once a minute."""
        now = self._clock()
        for counted in self._counted(now):
            super().emit(counted)
        if record.levelno >= logging.WARNING:
            key = _same(record)
            known = self._known.get(key)
            if known is not None:
                known.times += 1
                known.record = record
                return
            self._known[key] = _RepeatedLine(now, record)
        super().emit(record)

    def close(self) -> None:
        """Write the counts of repeated records that are not written yet."""
        with self.lock or contextlib.nullcontext():
            for known in self._known.values():
                if known.times and not self.stream.closed:
                    super().emit(_repeated(known))
            self._known.clear()
        super().close()

    def _counted(self, now: float) -> Iterator[logging.LogRecord]:
        while self._known:
            key, known = next(iter(self._known.items()))
            if now - known.since < REPEATS_SECONDS and len(self._known) <= _MOST_KNOWN:
                return
            del self._known[key]
            if known.times:
                yield _repeated(known)
                self._known[key] = _RepeatedLine(now, known.record)  # while it lasts, one line a minute


def _same(record: logging.LogRecord) -> object:
    message: Any = record.msg  # structlog hands its event over as a dictionary
    if not isinstance(message, dict):
        return record.name, record.levelno, record.getMessage()
    told = sorted(
        (name, str(value))
        for name, value in message.items()
        if name != "timestamp" and not isinstance(value, int | float)
    )
    return record.name, record.levelno, tuple(told)


def _repeated(known: _RepeatedLine) -> logging.LogRecord:
    record = copy(known.record)
    message: Any = record.msg
    if isinstance(message, dict):
        record.msg = {**message, "repeated": known.times}
    else:
        record.repeated = known.times
    return record


def is_utf8(stream: Any) -> bool:
    """True if what is written to this stream becomes UTF-8; also of one that does not say."""
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name == "utf-8"


class Logger:
    """A structlog logger that loads structlog with its first line. Has the methods of structlog's own."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def _log(self) -> Any:
        _FIRST_LINE.set_up()
        import structlog

        return structlog.get_logger(self._name)

    def debug(self, event: str, **values: Any) -> None:
        self._log.debug(event, **values)

    def info(self, event: str, **values: Any) -> None:
        self._log.info(event, **values)

    def warning(self, event: str, **values: Any) -> None:
        self._log.warning(event, **values)

    def exception(self, event: str, **values: Any) -> None:
        """A line with the traceback of the error at hand."""
        self._log.exception(event, **values)


class _FirstLine(logging.Handler):
    """Stands for the whole set-up until something is logged, by us or by a library."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: Callable[[], None] | None = None

    def set_up(self) -> None:
        """Configure logging, which was put off until the first line."""
        pending, self.pending = self.pending, None
        if pending is not None:
            pending()

    def emit(self, record: logging.LogRecord) -> None:
        """Configure, and hand the record to the handler that stands here from now on."""
        self.set_up()
        logging.getLogger().handle(record)


_FIRST_LINE = _FirstLine()


def set_up_with_first_line(level: str, *, secrets: Iterable[str] = ()) -> None:
    """As `set_up`, for people to read; structlog is loaded when there is something to say."""
    REDACTOR.know(secrets)
    _FIRST_LINE.pending = partial(set_up, level, json_lines=False)
    _levels(level, _FIRST_LINE)


def set_up(level: str = "info", *, json_lines: bool = True, secrets: Iterable[str] = ()) -> None:
    """Configure structlog and the standard library's logging; call once per process."""
    import structlog

    _FIRST_LINE.pending = None
    REDACTOR.know(secrets)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        REDACTOR,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        # Filtered by level before anything is formatted: a request's debug line costs nothing when it is off.
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=not is_utf8(sys.stderr))
        if json_lines
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = Counting(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=shared
        )
    )
    _levels(level, handler)


def _levels(level: str, handler: logging.Handler) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Its warnings of skipped ticks are counted by the scheduler, and shown in the metrics.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    for name in _QUIET:
        # Their debug lines carry whole requests, the key included.
        logging.getLogger(name).setLevel(logging.WARNING)
