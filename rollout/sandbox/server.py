"""The sandbox as a server: a thread with its own event loop for tests and the demo, or a blocking run.

Binds to loopback unless told otherwise; the control routes need no key, so it belongs on no open network.
"""

import asyncio
import contextlib
import random
import signal
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import FrameType, TracebackType
from typing import Self

from rollout.sandbox import example_world
from rollout.sandbox.connection import Connection
from rollout.sandbox.control import Operations
from rollout.sandbox.control_routes import Control
from rollout.sandbox.latency import latency as latency_of
from rollout.sandbox.messages import Answer, Request
from rollout.sandbox.routes import Preconditions
from rollout.sandbox.service import Service

BACKLOG = 1024


class Sandbox(Operations):
    """A Retell-compatible server. `start` returns when it listens; use as a context manager or call `stop`.

    `key`: the only accepted API key (None: any). `speed`: of its clock; 0: moved by `clock(advance=)`.
    `epoch`: where the clock starts, seconds since 1970 (None: now). `idle_timeout`: real seconds after which
    a silent connection is closed. `strict`: weights of a PATCH must add up to exactly 1.0 as doubles, from left to
    right, as the strictest Retell would have it. `latency`: real seconds that an answer about a number takes; the
    list takes longer, agents and refusals hardly any time (`rollout.sandbox.latency`). `start` raises OSError when the
    port is taken. `preconditions`: numbers are shown with an ETag, and an If-Match is `honoured` (412 when it does not
    fit) or `ignored`; None: no ETag.
    """

    def __init__(  # noqa: PLR0913 - how a stand-in behaves, each given by its name
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        key: str | None = None,
        seed: int = 1,
        speed: float = 1.0,
        idle_timeout: float = 120.0,
        *,
        epoch: float | None = None,
        strict: bool = False,
        latency: float = 0.0,
        preconditions: Preconditions | None = None,
    ) -> None:
        self._latency, self._draws = latency, random.Random(seed)
        self._service = Service(
            key=key, seed=seed, speed=speed, epoch=epoch, strict=strict, preconditions=preconditions
        )
        super().__init__(self._service)
        self._host = host
        self._port = port
        self._idle_timeout = idle_timeout
        self._control = Control(self)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._listening = threading.Event()
        self._failure: OSError | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Base URL for a client; the port is known after `start`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    def start(self) -> Self:
        """Listen, in a daemon thread."""
        if self._thread is not None:
            raise RuntimeError("The sandbox is running already: stop it first.")
        self._listening.clear()
        self._failure = None
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
        self._thread.start()
        self._listening.wait()
        if self._failure is not None:
            self._thread.join()
            self._thread = None
            raise self._failure
        return self

    def stop(self) -> None:
        """Close every connection and end the thread; writes still to be applied late are lost."""
        thread, loop, ending = self._thread, self._loop, self._ending
        if thread is None or loop is None or ending is None:
            return
        self._service.webhooks.clear()
        loop.call_soon_threadsafe(ending.set)
        thread.join(10)
        self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def add_ready_world(
        self, *, calls_per_hour: float = 120.0, duration_s: float = 90.0, analysis_delay_s: float = 20.0
    ) -> None:
        """Add the ready-made world (`rollout.sandbox.example_world`), and go back to it on reset."""

        def build() -> None:
            example_world.build(
                self, calls_per_hour=calls_per_hour, duration_s=duration_s, analysis_delay_s=analysis_delay_s
            )

        build()
        self._service.on_reset = build

    # -- inside the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
        finally:
            self._listening.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        server = await asyncio.start_server(self._accept, self._host, self._port, backlog=BACKLOG)
        self._port = server.sockets[0].getsockname()[1]
        self._listening.set()
        try:
            await self._ending.wait()
        finally:
            for _ in range(5):  # a connection that is being accepted gets as far as its task, to be closed there
                await asyncio.sleep(0)
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(
            reader, writer, self._service, self._control, self._idle_timeout, self._later, self._takes
        )
        self._keep(asyncio.get_running_loop().create_task(connection.run()))

    def _takes(self, request: Request, answer: Answer) -> float:
        return latency_of(request.path, answer.status, self._latency, self._draws.random())

    def _later(self, seconds: float, act: Callable[[], object]) -> None:
        """Run something on the loop in a while, whether or not its connection still exists."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            act()

        self._keep(asyncio.get_running_loop().create_task(wait()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def run(
    host: str, port: int, key: str | None, seed: int, speed: float, strict: bool = False, latency: float = 0.0
) -> None:
    """Serve the ready-made world until SIGTERM or SIGINT. Call it from the main thread.

    Raises OSError when the port is taken.
    """
    signals: SimpleQueue[int] = SimpleQueue()  # not an Event: a handler would wait for the lock that it interrupts

    def end(number: int, _frame: FrameType | None) -> None:
        signals.put(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with Sandbox(host, port, key, seed, speed, strict=strict, latency=latency) as sandbox:
            sandbox.add_ready_world()
            print(_welcome(sandbox, key), flush=True)
            while True:
                with contextlib.suppress(Empty):
                    signals.get(timeout=1.0)
                    break
    finally:
        for number, handler in before.items():
            with contextlib.suppress(TypeError):
                signal.signal(number, handler)


def _welcome(sandbox: Sandbox, key: str | None) -> str:
    """A welcome: all that a person needs to use it."""
    lines = [
        f"Sandbox of the Retell API on {sandbox.url} (key: {'the one given' if key else 'any'})",
        "",
        f"  agent {example_world.AGENT}: versions",
        (
            f"    {example_world.BASELINE} baseline, {example_world.GOOD} good, "
            f"{example_world.BAD} drops calls, {example_world.DRAFT} draft"
        ),
        *(f"  number {number.phone_number}  {number.state.fields['nickname']}" for number in sandbox.numbers()),
        "",
        f"  export ROLLOUT_RETELL_BASE_URL={sandbox.url} RETELL_API_KEY={key or 'any'}",
        f"  curl {sandbox.url}/sandbox      what else can be asked of it",
    ]
    return "\n".join(lines)
