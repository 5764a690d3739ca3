"""The command line: one face of the commands. `main` turns every error into a sentence and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer

from rollout.domain.errors import RolloutError
from rollout.interfaces.cli import admin, apply, gates, init, look, operate, plans, serve, tokens
from rollout.interfaces.cli.common import Interrupted, unexpected
from rollout.interfaces.cli.screen import echo, plain, plain_lines, write_what_can_be_written

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
        from rollout.version import __version__

        echo(f"rollout {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Safe, gradual rollout of voice-agent versions on Retell phone numbers."""


for module in (plans, apply, init, operate, look, gates, serve, tokens, admin):
    module.register(app)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 unexpected, 2 input, 3 refused, 4 not reachable, 5 not promoted."""
    write_what_can_be_written()
    try:
        with _interruptible():
            app(prog_name="rollout")
    except RolloutError as error:
        fail(error)
    except (Interrupted, KeyboardInterrupt) as error:
        print(f"\ninterrupted; {plain(str(error)) or 'what was ordered stays ordered'}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`rollout list | head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("ROLLOUT_LOG_LEVEL") == "debug":
            raise
        print(f"rollout: {unexpected(error)}", file=sys.stderr)
        print("set ROLLOUT_LOG_LEVEL=debug to see the whole way there", file=sys.stderr)
        sys.exit(1)


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


def fail(error: RolloutError) -> None:
    """Print the error in a sentence or two and exit with its code."""
    print(f"rollout: {plain_lines(error.message)}", file=sys.stderr)
    sys.exit(error.exit_code)
