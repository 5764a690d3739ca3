"""A lean server that speaks as much of Retell's API as the benchmarks need, so that clients are the limit.

`rollout sandbox` checks, models callers and logs everything, at 0.4 ms of processor time for each request: on two
cores it would be the slowest part of what is measured. This one takes about a tenth of that and knows no faults.
Endpoints differ as the sandbox's do: a number takes LATENCY seconds, its list more, agents and refusals hardly any.
Run by benchmarks.speed in a process of its own: python -m benchmarks.retell_server NUMBERS LATENCY
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import Any
from urllib.parse import parse_qs, unquote

import httptools
import orjson

from rollout.sandbox.latency import latency

PAGE = 1000
# The loop's timers count in whole milliseconds and end late, by half of one in the mean (measured: 50.45 ms for 50).
LATE = 0.00045


class World:
    """The numbers, and what was asked."""

    def __init__(self, count: int) -> None:
        self.numbers: dict[str, dict[str, Any]] = {}
        for i in range(count):
            number = f"+1415{7_000_000 + i}"
            self.numbers[number] = {
                "phone_number": number,
                "phone_number_type": "retell-twilio",
                "phone_number_pretty": number,
                "nickname": None,
                "inbound_agents": [{"agent_id": "agent_a", "agent_version": 6, "weight": 1}],
                "outbound_agents": None,
                "last_modification_timestamp": 1_800_000_000_000,
            }
        self.order = list(self.numbers)
        self.log: list[tuple[float, str, str, bytes]] = []
        self.draws = random.Random(1)

    def status(self, url: str) -> int:
        """The status that `answer` will give; it changes nothing."""
        path = url.partition("?")[0]
        known = not path.startswith(("/update-phone-number/", "/get-phone-number/"))
        return 200 if known or unquote(path.split("/", 2)[2]) in self.numbers else 422

    def answer(self, method: str, url: str, body: bytes) -> tuple[int, Any]:
        path, _, query = url.partition("?")
        if method == "PATCH" and path.startswith("/update-phone-number/"):
            shown = self.numbers.get(unquote(path[21:]))
            if shown is None:
                return 422, {"status": "error", "message": "Cannot find requested asset under given api key."}
            shown.update(orjson.loads(body))
            shown["last_modification_timestamp"] += 1
            return 200, shown
        if method == "GET" and path.startswith("/get-phone-number/"):
            shown = self.numbers.get(unquote(path[18:]))
            return (200, shown) if shown else (422, {"status": "error", "message": "unknown number"})
        if path == "/v2/list-phone-numbers":
            asked = parse_qs(query)
            begin, size = int(asked.get("pagination_key", ["0"])[0]), int(asked.get("limit", ["50"])[0])
            items = [self.numbers[n] for n in self.order[begin : begin + size]]
            more = begin + size < len(self.order)
            return 200, {"items": items, "has_more": more, "pagination_key": str(begin + size) if more else None}
        if path.startswith("/get-agent/"):
            version = int(parse_qs(query).get("version", ["6"])[0])
            return 200, {"agent_id": unquote(path[11:]), "version": version, "is_published": True}
        if path == "/v2/list-agents":
            return 200, {
                "items": [{"agent_id": "agent_a", "channel": "voice", "is_suspended": False}],
                "has_more": False,
            }
        if path == "/sandbox/log":
            if method == "DELETE":
                self.log.clear()
                return 200, {}
            keys = ("wall", "method", "path", "body")
            return 200, {"entries": [dict(zip(keys, (w, m, p, b.decode()), strict=True)) for w, m, p, b in self.log]}
        return 200, {"items": [], "has_more": False}  # calls and chats: there are none


class Connection(asyncio.Protocol):
    """One client; answers in the order of its requests."""

    def __init__(self, world: World, number_seconds: float) -> None:
        self.world, self.number_seconds = world, number_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.body = "", b""

    def data_received(self, data: bytes) -> None:
        self.received = time.monotonic()
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url, self.body = url.decode(), b""

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        method = self.parser.get_method().decode()
        if not self.url.startswith("/sandbox"):
            self.world.log.append((time.time(), method, self.url, self.body))
        if self.number_seconds and not self.url.startswith("/sandbox"):
            loop = asyncio.get_running_loop()
            status, draw = self.world.status(self.url), self.world.draws.random()
            seconds = latency(self.url.partition("?")[0], status, self.number_seconds, draw)
            left = max(0.0, self.received + seconds - LATE - time.monotonic())
            loop.call_later(left, self.reply, method, self.url, self.body)
        else:
            self.reply(method, self.url, self.body)

    def reply(self, method: str, url: str, body: bytes) -> None:
        status, document = self.world.answer(method, url, body)
        text = orjson.dumps(document)
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        self.transport.write(head.encode() + text)


async def serve(count: int, number_seconds: float) -> None:
    """Prints its address and serves until it is killed."""
    world = World(count)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(world, number_seconds), "127.0.0.1", 0, backlog=512
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
