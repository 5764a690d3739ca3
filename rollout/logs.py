"""structlog set-up: one JSON line per record for ours, uvicorn's and APScheduler's, secrets removed."""

from __future__ import annotations

import base64
import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import quote

import structlog

_PATTERNS = re.compile(
    r"(?i)(bearer\s+)[A-Za-z0-9._~+/=-]{8,}|\bkey_[0-9a-f]{16,}\b|\brlt_[A-Za-z0-9_-]{16,}\b"
)
_QUIET = ("httpx", "httpcore", "alembic", "uvicorn.access")


class Redactor:
    """Removes known secrets (plain, base64, URL-encoded) and whatever looks like one from every record."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def know(self, secrets: Iterable[str]) -> None:
        for secret in secrets:
            if len(secret) >= 6:
                self._secrets |= {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}

    def clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _PATTERNS.sub(lambda m: (m.group(1) or "") + "***", text)

    def __call__(
        self, _logger: Any, _method: str, record: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        for name, value in record.items():
            if isinstance(value, str):
                record[name] = self.clean(value)
            elif isinstance(value, (list, tuple, dict)):
                record[name] = self.clean(str(value))
        return record


REDACTOR = Redactor()


def set_up(level: str = "info", *, json_lines: bool = True, secrets: Iterable[str] = ()) -> None:
    """Configures structlog and the standard library's logging; call once per process."""
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
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json_lines
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Its warnings of skipped ticks are counted by the scheduler, and shown in the metrics.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    for name in _QUIET:
        # Their debug lines carry whole requests, the key included.
        logging.getLogger(name).setLevel(logging.WARNING)
