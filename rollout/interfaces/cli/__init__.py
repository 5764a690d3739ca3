"""The command line: one face of the commands. `main` turns every error into a sentence and an exit code."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Annotated, NoReturn, cast

import typer
from typer.models import CommandInfo, TyperInfo

from rollout.domain.errors import InputError, RolloutError, code_of
from rollout.interfaces.cli import admin, apply, gates, init, operate, plans, serve, show_commands, tokens
from rollout.interfaces.cli.answer import CommandFailure, finish
from rollout.interfaces.cli.common import Interrupted, unexpected
from rollout.interfaces.cli.screen import echo, plain, plain_lines, write_what_can_be_written

# What a command line that cannot be read raises; typer names only this child of it.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])

app = typer.Typer(
    name="rollout",
    help="Safe, gradual rollout of voice-agent versions on Retell phone numbers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from rollout.domain.version import __version__

        echo(f"rollout {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Safe, gradual rollout of voice-agent versions on Retell phone numbers."""


for module in (plans, apply, init, operate, show_commands, gates, serve, tokens, admin):
    module.register(app)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 unexpected, 2 input, 3 refused, 4 not reachable, 5 not promoted."""
    # A command loads some 130,000 objects that stay until it ends: scanning them for garbage, while they load and once
    # more at the end, would take a third of its time.
    gc.set_threshold(200_000, 20, 50)
    atexit.register(gc.freeze)
    write_what_can_be_written()
    arguments = sys.argv[1:]
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    try:
        status, failure = _run()
        finish(failure, "--json" in options)
    except BrokenPipeError:
        # The reader of our output went away (`rollout list | head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _run() -> tuple[int, CommandFailure | None]:
    """Run the command of this process: its exit code; its failure goes to standard error."""
    try:
        with _interruptible():
            return _asked_for(sys.argv[1:])(prog_name="rollout", standalone_mode=False) or 0, None
    except _UsageError as error:
        error.message = error.message.removeprefix("Value error, ").removeprefix("Input ")  # pydantic's, not a reader's
        error.show()
        failure = CommandFailure(code_of(InputError), error.format_message(), InputError.hint, error.exit_code)
    except typer.Abort:
        failure = CommandFailure(
            "aborted", "the input ended before the last question was answered", "nothing was changed", 1
        )
        echo(f"rollout: {failure.message}", err=True)
    except RolloutError as error:
        failure = CommandFailure(code_of(type(error)), plain_lines(error.message), error.hint, error.exit_code)
        echo(f"rollout: {failure.message}", err=True)
    except (Interrupted, KeyboardInterrupt) as error:
        message = f"interrupted; {plain(str(error)) or 'what you ordered is still carried out'}"
        failure = CommandFailure("interrupted", message, "", 130)
        echo(f"\n{message}", err=True)
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("ROLLOUT_LOG_LEVEL") == "debug":
            raise
        hint = "set ROLLOUT_LOG_LEVEL=debug to see the traceback"
        failure = CommandFailure("unexpected", unexpected(error), hint, 1)
        echo(f"rollout: {failure.message}\n{failure.hint}", err=True)
    return failure.exit_code, failure


def _asked_for(words: Sequence[str]) -> typer.Typer:
    """The program with the one command that is asked for: to work out the options of all takes longer than it runs."""
    one = copy(app)
    one.registered_commands = [c for c in app.registered_commands if words and _name(c) == words[0]]
    one.registered_groups = [g for g in app.registered_groups if words and _name(g) == words[0]]
    return one if one.registered_commands or one.registered_groups else app


def _name(info: CommandInfo | TyperInfo) -> str:
    if isinstance(info.name, str):
        return info.name
    return info.callback.__name__.replace("_", "-") if info.callback is not None else ""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises Interrupted; typer answers a KeyboardInterrupt itself, with the word Aborted and exit code 1."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise Interrupted

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield  # a shell that runs us in the background has us ignore it
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
