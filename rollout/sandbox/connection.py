"""One client connection: bytes in, requests out, answers back, and every fault on the socket.

h11 reads and writes HTTP/1.1; this module decides when bytes go out and when the connection ends.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

import h11

from rollout.sandbox.control_routes import Control
from rollout.sandbox.faults import Fault
from rollout.sandbox.messages import RATE_LIMITED, SERVER_ERROR, UNAUTHORIZED, Answer, Request, dump, error_answer
from rollout.sandbox.numbers import LISTS
from rollout.sandbox.request_log import Entry
from rollout.sandbox.service import Service

BODY_LIMIT = 1 << 20
DRIP_PIECES = 100
_MESSAGES = {401: UNAUTHORIZED, 429: RATE_LIMITED}
_PROPER_ANSWERS = frozenset({"latency", "status", "lie", "stale", "html", "omit"})  # the connection stays as it is
_HTML = b"<!doctype html><html><head><title>Gateway</title></head><body><h1>It works</h1></body></html>"

Later = Callable[[float, Callable[[], object]], None]


class ClosedError(Exception):
    """The connection is over; nothing more is read or written."""


class Connection:
    """The server of one socket until it is closed, idle for too long, or a fault ends it.

    `later(seconds, act)` runs something on the loop even when the connection is gone; `latency` says how many seconds
    an answer takes that no fault is about.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        service: Service,
        control: Control,
        idle_timeout: float,
        later: Later,
        latency: Callable[[Request, Answer], float],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._service = service
        self._control = control
        self._idle = idle_timeout
        self._later = later
        self._latency = latency
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
        self._mute = False
        peer = writer.get_extra_info("peername")
        self._peer = f"{peer[0]}:{peer[1]}" if peer else ""

    async def run(self) -> None:
        """Read and answer until the end; never raises for what a client does."""
        try:
            while True:
                request = await self._read()
                if request.path == "/sandbox" or request.path.startswith("/sandbox/"):
                    await self._send(self._control.handle(request))
                else:
                    await self._serve(request)
                if self._http.our_state is h11.MUST_CLOSE:
                    break
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            with contextlib.suppress(OSError, h11.LocalProtocolError):
                await self._send(error_answer(error.error_status_hint, str(error)))
        except (ClosedError, OSError, TimeoutError, h11.LocalProtocolError):
            pass
        finally:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    # -- reading and writing

    async def _event(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
                async with asyncio.timeout(self._idle):
                    self._http.receive_data(await self._reader.read(65536))
                continue
            if isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                raise ClosedError
            assert isinstance(event, h11.Event)
            return event

    async def _read(self) -> Request:
        """The next request with its whole body."""
        head = await self._event()
        assert isinstance(head, h11.Request)
        pieces: list[bytes] = []
        size = 0
        while isinstance(event := await self._event(), h11.Data):
            pieces.append(bytes(event.data))
            size += len(event.data)
            if size > BODY_LIMIT:
                raise h11.RemoteProtocolError("The body is longer than 1 MiB.", error_status_hint=413)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        return Request.parse(
            head.method.decode("ascii"), head.target.decode("latin-1"), headers, b"".join(pieces), self._peer
        )

    async def _write(self, data: bytes | None) -> None:
        if data and not self._mute:
            self._writer.write(data)
            await self._writer.drain()

    def _bytes(self, answer: Answer) -> tuple[bytes, bytes]:
        """Head and body of an answer, as h11 writes them."""
        headers = [("content-length", str(len(answer.body))), *answer.headers]
        if answer.body:
            headers.append(("content-type", answer.content_type))
        if answer.status == 204:
            headers = headers[1:]
        send = self._http.send
        head = send(h11.Response(status_code=answer.status, headers=headers)) or b""
        body = (send(h11.Data(data=answer.body)) or b"") if answer.body else b""
        return head, body + (send(h11.EndOfMessage()) or b"")

    async def _send(self, answer: Answer) -> None:
        head, body = self._bytes(answer)
        await self._write(head + body)

    async def _answer(self, entry: Entry, answer: Answer) -> None:
        """Send and note the status, unless this connection has fallen silent."""
        if not self._mute:
            entry.status = answer.status
        await self._send(answer)

    # -- serving and faults

    async def _serve(self, request: Request) -> None:
        service = self._service
        with service.lock:
            entry = service.log.receive(request, service.clock.now())
            fault = service.faults.meet(request)
        if fault is None:
            answer = service.handle(request, entry)
            if (seconds := self._latency(request, answer)) > 0:
                await asyncio.sleep(seconds)
            await self._answer(entry, answer)
            return
        entry.fault = f"{fault.kind} {fault.variant}".strip()
        if fault.kind in _PROPER_ANSWERS:
            await self._answer(entry, await self._wrong(fault, request, entry))
        else:
            await self._break_off(fault, request, entry)

    async def _wrong(self, fault: Fault, request: Request, entry: Entry) -> Answer:
        """The whole answer of a fault that leaves the connection alone: late, untrue, or of another kind."""
        service = self._service
        match fault.kind:
            case "latency":
                if fault.variant == "before":
                    await asyncio.sleep(fault.seconds or 0.0)
                answer = service.handle(request, entry)
                if fault.variant == "after":
                    await asyncio.sleep(fault.seconds or 0.0)
                return answer
            case "status":
                return self._error(fault, request, entry)
            case "lie":
                return service.pretend(request, fault.variant)
            case "stale":
                return service.look_back(request, fault.seconds)
            case "html":
                if fault.apply:
                    service.handle(request, entry)
                return Answer(fault.status or 200, _HTML, "text/html; charset=utf-8")
            case _:
                return _without_lists(service, request, entry)

    async def _break_off(self, fault: Fault, request: Request, entry: Entry) -> None:
        """A fault of the connection: dropped, slow, cut short or half closed."""
        service = self._service
        match fault.kind:
            case "drop_before" | "drop_after":
                if fault.kind == "drop_after":
                    service.handle(request, entry)
                self._drop(reset=fault.variant == "reset")
            case "apply_late":
                await self._apply_late(fault, request, entry)
            case "drip":
                await self._drip(fault.seconds or 0.0, service.handle(request, entry), entry)
            case "truncate":
                head, body = self._bytes(service.handle(request, entry))
                await self._write(head + body[: len(body) // 2])
                self._drop()
            case "half_close":
                if fault.variant == "after":
                    await self._answer(entry, service.handle(request, entry))
                else:
                    self._bytes(error_answer(500, SERVER_ERROR))  # for h11 the cycle is over; nothing is sent
                self._writer.write_eof()
                self._mute = True

    def _drop(self, *, reset: bool = False) -> None:
        """End the connection now; a reset makes the client see an error instead of an end of stream."""
        if reset:
            sock: socket.socket = self._writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        raise ClosedError

    async def _apply_late(self, fault: Fault, request: Request, entry: Entry) -> None:
        """The write lands `seconds` later, whatever the client thinks by then."""
        service = self._service
        self._later(fault.seconds or 0.0, lambda: service.handle(request, entry))
        if fault.variant == "ok":
            await self._answer(entry, service.pretend(request, "requested"))
            return
        if fault.variant == "timeout":
            async with asyncio.timeout(self._idle):
                while await self._reader.read(65536):
                    pass
        raise ClosedError

    def _error(self, fault: Fault, request: Request, entry: Entry) -> Answer:
        if fault.apply:
            self._service.handle(request, entry)
        headers = () if fault.retry_after is None else (("retry-after", str(fault.retry_after)),)
        return error_answer(fault.status, fault.message or _MESSAGES.get(fault.status, SERVER_ERROR), headers)

    async def _drip(self, seconds: float, answer: Answer, entry: Entry) -> None:
        """The whole answer, in up to a hundred pieces spread over the time."""
        head, body = self._bytes(answer)
        data = head + body
        step = max(1, len(data) // DRIP_PIECES)
        pieces = [data[start : start + step] for start in range(0, len(data), step)]
        for piece in pieces:
            await self._write(piece)
            await asyncio.sleep(seconds / len(pieces))
        entry.status = None if self._mute else answer.status


def _without_lists(service: Service, request: Request, entry: Entry) -> Answer:
    """The proper answer, less the four lists; only three fields of a number are required in an answer."""
    answer = service.handle(request, entry)
    if answer.status == 200 and request.number is not None:
        with service.lock:
            shown = service.world.number(request.number).to_json()
        answer.body = dump({name: value for name, value in shown.items() if name not in LISTS})
    return answer
