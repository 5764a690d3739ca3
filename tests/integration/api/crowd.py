"""Many clients of one HTTP server in one event loop: paced, over connections that stay open, every answer counted.

A request's latency counts from the moment it was meant to be sent, so that a server that stands still cannot
hide behind clients that wait for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

ANSWER_SECONDS = 20.0


@dataclass
class Seen:
    """What came of the requests of one kind."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)

    def at(self, share: float) -> float:
        """The latency that this share of the answers did not pass, in seconds."""
        found = sorted(self.seconds)
        return found[min(len(found) - 1, int(share * len(found)))] if found else 0.0


class Line:
    """One connection, opened again only after the server said that it closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body; OSError or IncompleteReadError when the answer is cut off."""
        async with asyncio.timeout(ANSWER_SECONDS):
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            headers = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
            body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
            if headers.get(b"connection") == b"close":
                self.close()
            return int(head[9:12]), body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass(frozen=True)
class Group:
    """Requests of some kinds in turn, `rate` a second over `width` connections; `make` writes the n-th one."""

    rate: float
    width: int
    makers: Sequence[tuple[str, Callable[[int], bytes]]]


class Crowd:
    """Groups of clients on one port; what they saw, by kind."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.seen: dict[str, Seen] = {}

    async def run(self, groups: Sequence[Group], seconds: float) -> float:
        """Sends until so many seconds have passed; returns how long it took until all was answered."""
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            for group in groups:
                for i in range(group.width):
                    tasks.create_task(self._client(group, i, began, seconds))
        return asyncio.get_running_loop().time() - began

    async def ask(self, line: Line, kind: str, made: bytes, due: float) -> None:
        """One request, which was meant to be sent at `due` of the loop's clock."""
        seen = self.seen.setdefault(kind, Seen())
        try:
            status, _ = await line.ask(made)
        except (OSError, EOFError, TimeoutError) as error:
            seen.broken[type(error).__name__] += 1
            line.close()
        else:
            seen.statuses[status] += 1
            seen.seconds.append(asyncio.get_running_loop().time() - due)

    async def _client(self, group: Group, index: int, began: float, seconds: float) -> None:
        loop, line, n = asyncio.get_running_loop(), Line(self._port), index
        try:
            while (due := began + n / group.rate) < began + seconds:
                if (early := due - loop.time()) > 0:
                    await asyncio.sleep(early)
                kind, make = group.makers[n % len(group.makers)]
                await self.ask(line, kind, make(n), due)
                n += group.width
        finally:
            line.close()


class OpenPage:
    """A page in a browser: a rollout's with its event stream, or (id empty) the overview, which only reloads.

    As the templates say it (hx-trigger): a rollout's page reloads 150 ms after the last event of a burst and every
    5 s, one reload at a time; the overview every 3 s.
    """

    QUIET, ROLLOUT_SECONDS, OVERVIEW_SECONDS = 0.15, 5.0, 3.0

    def __init__(self, port: int, crowd: Crowd, cookie: str, id_: str) -> None:
        self._port, self._crowd, self._id = port, crowd, id_
        self._headers = {"Cookie": cookie}
        self._told = asyncio.Event()
        self.events = 0

    async def stay(self, seconds: float) -> None:
        """Opens the page and stays on it for so long."""
        end = asyncio.get_running_loop().time() + seconds
        path = f"/rollouts/{self._id}" if self._id else "/"
        kind = "reload, rollout" if self._id else "reload, overview"
        line = Line(self._port)
        following = asyncio.create_task(self._follow()) if self._id else None
        try:
            await self._crowd.ask(line, "page opened", request("GET", path, self._headers), self._now())
            fragment = request("GET", path, {**self._headers, "HX-Request": "true"})
            while await self._wait(end):
                await self._crowd.ask(line, kind, fragment, self._now())
        finally:
            line.close()
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _wait(self, end: float) -> bool:
        """Until the next reload is due; False: the time is over."""
        every = self.ROLLOUT_SECONDS if self._id else self.OVERVIEW_SECONDS
        due = self._now() + every
        while (left := min(due, end) - self._now()) > 0:
            try:
                await asyncio.wait_for(self._told.wait(), left)
            except TimeoutError:
                break
            self._told.clear()
            due = min(due, self._now() + self.QUIET)
        return self._now() < end

    async def _follow(self) -> None:
        """Reads the event stream; what ends it before its time is counted as broken."""
        seen = self._crowd.seen.setdefault("event stream", Seen())
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(request("GET", f"/rollouts/{self._id}/events", self._headers))
            head = await reader.readuntil(b"\r\n\r\n")
            seen.statuses[int(head[9:12])] += 1
            while text := await reader.readline():
                if text.startswith((b"event: entry", b"event: state")):
                    self.events += 1
                    self._told.set()
            seen.broken["ended"] += 1
        finally:
            writer.close()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """One HTTP/1.1 request as it goes over the wire."""
    sent = {"Host": "127.0.0.1", **headers}
    if method == "POST":
        sent |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def processor_seconds(pid: int) -> float:
    """What a process has used so far, user and system, in seconds (Linux)."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - no file of ours
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
