"""Code that the commands share: which backend, who asks, how values are printed."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.domain.errors import InputError, NoDatabase, RolloutError, UnknownRollout
from rollout.domain.lifecycle.machine import FINAL
from rollout.domain.one_line import in_one_line
from rollout.interfaces.cli.screen import echo, plain

if TYPE_CHECKING:
    from rollout.app import App
    from rollout.domain.lifecycle.commands import By
    from rollout.domain.lifecycle.state import Position
    from rollout.interfaces.backend.local import Backend
    from rollout.interfaces.backend.plan_text import PlanText
    from rollout.interfaces.backend.remote import RemoteBackend
    from rollout.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Stable JSON instead of text.")]
Reason = Annotated[str, typer.Option("--reason", help="The reason; it is kept in the journal.")]
RequestId = Annotated[
    str | None, typer.Option("--request-id", help="Repeating a command with the same id has no second effect.")
]
Expect = Annotated[
    str | None, typer.Option("--expect", metavar="WAVE.STEP", help="Refuse if it is no longer at this position.")
]
_ID = "The rollout's id, its first four characters or more, or its name."
RolloutId = Annotated[str, typer.Argument(metavar="ID", help=_ID)]
OptionalRolloutId = Annotated[str | None, typer.Argument(metavar="ID", help=_ID)]
PlanPath = Annotated[str, typer.Argument(metavar="PLAN", help="A plan file, YAML or JSON; - reads standard input.")]


MOST_SUGGESTED_FROM = 200  # the newest rollouts


class Interrupted(BaseException):
    """Ctrl-C was pressed: what was ordered stays ordered."""


def actor() -> str:
    """The person at this command line."""
    import getpass

    try:
        return f"cli:{in_one_line(getpass.getuser(), '?')[:100]}"  # LOGNAME and USER hold anything
    except (KeyError, OSError):
        return f"cli:{os.getuid()}"


def unexpected(error: Exception) -> str:
    """An unexpected error: what it was, and where."""
    from rollout.adapters.telemetry.logs import REDACTOR

    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f"{os.sep}rollout{os.sep}" in f.filename] or frames
    where = f" at {ours[-1].filename}:{ours[-1].lineno}" if ours else ""
    said = " ".join(REDACTOR.clean(str(error)).split())
    return plain(f"unexpected {type(error).__name__}{where}{': ' if said else ''}{said}")


def by(reason: str, request_id: str | None) -> By:
    """The person, the reason and the request id of a command."""
    from rollout.domain.lifecycle.commands import By

    return By(actor(), reason, request_id)


def position(text: str | None) -> Position | None:
    """--expect as a position."""
    from rollout.domain.lifecycle.commands import parse_position

    return None if text is None else parse_position(text)


def quiet_logs(settings: Settings) -> None:
    """Logs to standard error, and only what matters: the command's own output is its answer."""
    from rollout.adapters.telemetry import logs

    level = "warning" if settings.log_level == "info" else settings.log_level
    logs.set_up_with_first_line(level, secrets=settings.secrets)


class Needs(Enum):
    """A command's need of the database in the working folder, where none is named."""

    DATABASE = "one that is there"
    NEW = "one, made if there is none"
    NOTHING = "one only if it is there"


@contextmanager
def direct_app(needs: Needs = Needs.DATABASE) -> Iterator[App]:
    """The product on its own database; an old schema is refused, and so is a named database that does not exist."""
    from rollout.adapters.store import migrate
    from rollout.app import build
    from rollout.settings import load_settings

    settings = load_settings()
    quiet_logs(settings)
    with contextlib.ExitStack() as stack:
        none_yet = migrate.has_none_yet(settings)
        if needs is Needs.DATABASE:
            require_one(settings)
        if none_yet and needs is Needs.NOTHING:
            settings = settings.model_copy(update={"database_url": stack.enter_context(migrate.scratch())})
        app = build(settings)
        stack.callback(app.close)
        if needs is Needs.NEW:
            migrate.make_default(app.database, settings)
        migrate.require_current(app.database)
        from rollout.interfaces.backend.local import LocalBackend

        with _suggesting(LocalBackend(app)):
            yield app


@contextmanager
def _suggesting(service: Backend) -> Iterator[None]:
    """Add what may have been meant to the complaint that there is no such rollout."""
    try:
        yield
    except UnknownRollout as error:
        asked = error.details.get("id")
        near: list[str] = []
        with contextlib.suppress(RolloutError):
            near = _near(str(asked), service.list(limit=MOST_SUGGESTED_FROM)) if asked else []
        if not near:
            raise
        raise UnknownRollout(f"there is no rollout {asked}; did you mean {' or '.join(near)}?", id=asked) from None


def _near(asked: str, rollouts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names and ids that are nearly what was asked for, the nearest first."""
    known = [r[key] for r in rollouts for key in ("name", "id")]
    return [plain(text) for text in difflib.get_close_matches(asked[:100], dict.fromkeys(known), 2, 0.7)]


def require_one(settings: Settings) -> None:
    """NoDatabase when no database is named and there is none in the working folder yet.

    InputError when ROLLOUT_URL names a service instead: a file that happens to lie here is not that service's.
    """
    from rollout.adapters.store.migrate import has_none_yet

    if os.environ.get("ROLLOUT_URL") and settings.database_is_default:
        raise InputError(
            "this command reads the database, not the service at ROLLOUT_URL: set ROLLOUT_DATABASE_URL to that service's "
            "database"
        )
    if has_none_yet(settings):
        raise NoDatabase(
            f"there is no database in this folder yet ({Path.cwd()}): `rollout serve`, `rollout start` or `rollout db "
            "upgrade` creates it; or set ROLLOUT_DATABASE_URL to the one you mean"
        )


def remote() -> RemoteBackend | None:
    """The running service that ROLLOUT_URL names; None: it names none."""
    url = os.environ.get("ROLLOUT_URL")
    if not url:
        return None
    from rollout.interfaces.backend.remote import RemoteBackend

    return RemoteBackend(url, os.environ.get("ROLLOUT_TOKEN"))


def say_if_nobody_works(service: Backend, *phases: str) -> None:
    """On standard error, when no service runs that could continue rollouts in these phases."""
    if phases and set(phases) <= FINAL:
        return
    with contextlib.suppress(RolloutError):  # the command itself is done
        if not service.service_is_alive():
            echo(
                "no service is running on this database: nothing happens until you start one with `rollout serve`",
                err=True,
            )


@contextmanager
def backend(needs: Needs = Needs.DATABASE) -> Iterator[Backend]:
    """A running service when ROLLOUT_URL is set, else the database."""
    if (service := remote()) is not None:
        with contextlib.closing(service), _suggesting(service):
            yield service
        return
    from rollout.interfaces.backend.local import LocalBackend

    with direct_app(needs) as app:
        yield LocalBackend(app)


def plan_text(path: str) -> tuple[str, str]:
    """(text, name) of a plan file, or of standard input."""
    if path == "-":
        return _standard_input(), "standard input"
    file = Path(path)
    try:
        return file.read_text(encoding="utf-8"), str(file)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; write another path, or - for standard input") from None
    except IsADirectoryError:
        raise InputError(f"{path}: this is a folder; name a plan file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is not UTF-8 text; save the file as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def read_plan(path: str) -> PlanText:
    """The plan in a file, or in standard input; PlanError with every complaint."""
    from rollout.interfaces.backend.plan_text import PlanText

    return PlanText.read(*plan_text(path))


def _standard_input() -> str:
    """Standard input as UTF-8, whatever the terminal speaks: plans are."""
    if not isinstance(sys.stdin, io.TextIOWrapper):
        return str(sys.stdin.read())
    try:
        raw: bytes = sys.stdin.buffer.read()
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("standard input: this is not UTF-8 text") from None


def moment(text: str | None) -> datetime | None:
    """--at: ISO 8601; without a zone it is the reader's own."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"--at: {text} is not a time; write for example 2026-12-01T09:00:00-08:00") from None
    return (parsed if parsed.tzinfo else parsed.astimezone()).astimezone(UTC)
