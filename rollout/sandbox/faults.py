"""Faults on demand: what may go wrong between a client and Retell, for which requests, how often.

Only the description and the choice; the connection carries a fault out on the socket. Seconds are real ones.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rollout.sandbox.messages import Request

KINDS: dict[str, tuple[str, ...]] = {
    "latency": ("before", "after"),
    "drip": (),
    "drop_before": ("close", "reset"),
    "drop_after": ("close", "reset"),
    "apply_late": ("timeout", "close", "ok"),
    "status": (),
    "lie": ("requested", "old"),
    "stale": (),
    "truncate": (),
    "html": (),
    "omit": (),
    "half_close": ("after", "before"),
}
"""Kind -> its variants, the default first.

latency     waits `seconds` before or after applying, then answers.
drip        answers byte by byte, the whole within `seconds`.
drop_before closes the connection without applying; drop_after applies first.
apply_late  applies `seconds` later: `timeout` never answers, `close` closes at once, `ok` says 200 at once.
status      answers `status` with Retell's error body; nothing is applied unless `apply`.
lie         answers 200 and applies nothing: shows the state that was `requested`, or the `old` one.
stale       reads show the state of `seconds` ago, or without seconds the one before the last change.
truncate    applies, and closes in the middle of the answer's body.
html        answers with an HTML page and `status` (default 200), as a proxy would; applies only if `apply`.
omit        applies, and answers without the four lists.
half_close  `after`: answers, closes its sending side and never answers again on this connection, though it
            reads on and applies what comes; `before`: the same without the first answer, nothing applied.
"""

_PATCH_ONLY = ("apply_late", "lie")
_READ_BY_POST = ("/v3/list-calls", "/v3/list-chats", "/v2/list-agents")


@dataclass(slots=True)
class Fault:
    """One fault and the requests that meet it. `hits` counts those that did."""

    kind: str
    variant: str = ""
    method: str | None = None
    path: str | None = None
    """A pattern against the decoded path: `*` is any characters or none, `?` exactly one, the rest itself."""
    number: str | None = None
    contains: str | None = None
    """Text that the request body must contain."""
    times: int | None = 1
    """How often; null means until it is removed."""
    skip: int = 0
    """Matching requests to let pass first."""
    seconds: float | None = None
    status: int = 0
    message: str | None = None
    retry_after: str | float | None = None
    """Value of a Retry-After header, for kind status."""
    apply: bool = False
    id: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is unknown: write one of {', '.join(KINDS)}")
        variants = KINDS[self.kind]
        self.variant = self.variant or (variants[0] if variants else "")
        if self.variant and self.variant not in variants:
            legal = ", ".join(variants) or "none"
            raise ValueError(f"variant {self.variant!r} does not exist for {self.kind}: write one of {legal}")
        if self.kind in _PATCH_ONLY and self.method not in (None, "PATCH"):
            raise ValueError(f"method {self.method!r} is wrong: {self.kind} is for PATCH only, leave it out")
        if self.kind == "status" and not 400 <= self.status <= 599:
            raise ValueError(f"status {self.status} is no error: write a number from 400 to 599")
        if self.kind in ("latency", "drip", "apply_late") and self.seconds is None:
            raise ValueError(f"seconds is missing: {self.kind} needs a number of real seconds")
        if self.seconds is not None and (not isinstance(self.seconds, int | float) or self.seconds < 0):
            raise ValueError(f"seconds {self.seconds!r} is wrong: write a number of 0 or more")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times {self.times} is less than 1: write how often, or null for always")

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> "Fault":
        """From the control route. Raises ValueError naming the field."""
        legal = [item.name for item in fields(cls) if item.name not in ("id", "hits")]
        for name in data:
            if name not in legal:
                raise ValueError(f"{name!r} is not a field of a fault: write one of {', '.join(legal)}")
        if "kind" not in data:
            raise ValueError(f"kind is missing: write one of {', '.join(KINDS)}")
        return cls(**data)

    def matches(self, request: Request) -> bool:
        """True if this request is meant. Stale is for reads only, lying and late effects for a PATCH only."""
        if self.kind == "stale" and request.method != "GET" and request.path not in _READ_BY_POST:
            return False
        if self.kind in _PATCH_ONLY and request.method != "PATCH":
            return False
        return (
            self.method in (None, request.method)
            and self.number in (None, request.number)
            and (self.path is None or _fits(request.path, self.path))
            and (self.contains is None or self.contains in request.body.decode(errors="replace"))
        )

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


def _fits(path: str, pattern: str) -> bool:
    expression = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    return re.fullmatch(expression, path, re.DOTALL) is not None


class FaultList:
    """Active faults, oldest first; a request meets at most one."""

    def __init__(self) -> None:
        self.active: list[Fault] = []
        self._id = 0

    def add(self, fault: Fault) -> Fault:
        """Add a fault and give it an id."""
        self._id += 1
        fault.id = self._id
        self.active.append(fault)
        return fault

    def remove(self, fault_id: int | None = None) -> None:
        """Take back one fault, or all."""
        self.active = [fault for fault in self.active if fault_id not in (None, fault.id)]

    def meet(self, request: Request) -> Fault | None:
        """The fault of this request, counted; None for a request that is served properly."""
        for fault in self.active:
            if not fault.matches(request):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.hits += 1
            if fault.times is not None and fault.hits >= fault.times:
                self.active = [other for other in self.active if other is not fault]
            return fault
        return None
