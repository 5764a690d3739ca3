"""The data of journal entries that the product reads again: one value for each kind, its parser beside its renderer.

Every parser also takes what earlier versions recorded. The data of other kinds (tokens, sign-ins, refusals, pruning)
is only shown, and stays a mapping of plain values. The same data holds what the tables are rebuilt from, as `change`,
`rollout` and `targets`; rollout.domain.lifecycle.changes reads that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.machine import CommandKind, Event, Phase
from rollout.domain.lifecycle.state import Kind, Position, Rollout
from rollout.domain.writes.protocol import Settled

_PREFLIGHT = frozenset({"created", "baselines"})
_COMMANDS = frozenset(str(kind) for kind in CommandKind if kind is not CommandKind.PROMOTE)
_EVENTS = frozenset(map(str, Event))


@dataclass(frozen=True, slots=True)
class IntendedBatch:
    """Writes that are about to be sent.

    retreated: the retreat weight in basis points, if that is written. by_hand: the person's split, if that is written.
    writes: how many; None if the data was read without the change of the tables.
    """

    kind: Kind
    position: Position
    retreated: int | None = None
    by_hand: HandSplit | None = None
    writes: int | None = None

    def to_json(self) -> dict[str, Any]:
        said = {"kind": str(self.kind), "position": str(self.position), "retreated": self.retreated}
        return _without_none({**said, "by_hand": _hand_json(self.by_hand)})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> IntendedBatch:
        writes = data.get("change", {}).get("new_writes")
        count = None if writes is None else len(writes)
        return cls(Kind(data["kind"]), _position(data["position"]), data.get("retreated"), _hand(data), count)


@dataclass(frozen=True, slots=True)
class SettledWrite:
    """The outcome of one write. status: Retell's HTTP status; modified: the time stamp read back, ms since 1970."""

    outcome: Settled
    status: int | None = None
    modified: int | None = None

    def to_json(self) -> dict[str, Any]:
        modified = {} if self.modified is None else {"modified": self.modified}
        return {"outcome": str(self.outcome), "status": self.status, **modified}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SettledWrite:
        return cls(Settled(data["outcome"]), data.get("status"), data.get("modified"))


@dataclass(frozen=True, slots=True)
class SettledBatch:
    """The outcomes of the writes of one batch, by number."""

    kind: Kind
    outcomes: Mapping[str, SettledWrite]

    def to_json(self) -> dict[str, Any]:
        return {"kind": str(self.kind), "outcomes": {n: o.to_json() for n, o in self.outcomes.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SettledBatch:
        return cls(Kind(data["kind"]), {n: SettledWrite.from_json(o) for n, o in data["outcomes"].items()})


@dataclass(frozen=True, slots=True)
class ObservedNumbers:
    """Readings that were not as expected, by number: a Finding, or why it could not be read (Blocked)."""

    findings: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {"findings": dict(self.findings)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ObservedNumbers:
        return cls(data.get("findings") or {})


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """Something that the service did by itself.

    position: None if it concerns the whole rollout. reason: why it is held. retreated: the retreat weight in basis
    points that is wanted or was read back. verdict: the gates' verdict, if that was the cause. by_hand: the person's
    split that was read back, or the one that the plan ships.
    """

    position: Position | None
    reason: str | None = None
    retreated: int | None = None
    verdict: GateVerdict | None = None
    by_hand: HandSplit | None = None

    def to_json(self) -> dict[str, Any]:
        verdict = None if self.verdict is None else self.verdict.to_json()
        position = None if self.position is None else str(self.position)
        said = {"position": position, "reason": self.reason, "retreated": self.retreated, "verdict": verdict}
        return _without_none({**said, "by_hand": _hand_json(self.by_hand)})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ServiceEvent:
        position = _position(data["position"]) if "position" in data else None
        verdict = GateVerdict.from_json(data["verdict"]) if "verdict" in data else None
        return cls(position, data.get("reason"), data.get("retreated"), verdict, _hand(data))


@dataclass(frozen=True, slots=True)
class CommandGiven:
    """The position of a rollout when a command was given, or after it.

    alert: the name of the alert that gave it, if one did. by_hand: the split that `set` or `ship` asked for. missing: the
    evidence that what is shipped lacked.
    """

    id: str
    phase: Phase
    reason: str | None
    position: Position
    epoch: int
    alert: str | None = None
    by_hand: HandSplit | None = None
    missing: str | None = None

    @classmethod
    def of(
        cls, r: Rollout, alert: str | None = None, by_hand: HandSplit | None = None, missing: str | None = None
    ) -> CommandGiven:
        """The position of this rollout."""
        return cls(r.id, r.phase, r.reason, r.position, r.epoch, alert, by_hand, missing)

    def to_json(self) -> dict[str, Any]:
        position = {"wave": self.position.wave, "step": self.position.step}
        said = {"id": self.id, "phase": str(self.phase), "reason": self.reason, "position": position}
        return {
            **said,
            "epoch": self.epoch,
            **_without_none({"alert": self.alert, "by_hand": _hand_json(self.by_hand), "missing": self.missing}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CommandGiven:
        stood = data["id"], Phase(data["phase"]), data.get("reason"), _position(data["position"]), data["epoch"]
        return cls(*stood, data.get("alert"), _hand(data), data.get("missing"))


@dataclass(frozen=True, slots=True)
class PromoteGiven:
    """From which position to which a person promoted; full: to the last one."""

    since: Position
    to: Position
    full: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"from": str(self.since), "to": str(self.to), "full": self.full}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PromoteGiven:
        return cls(_position(data["from"]), _position(data["to"]), data.get("full", False))


@dataclass(frozen=True, slots=True)
class PreflightSummary:
    """The findings of pre-flight: warnings, and what differs between the versions, as JSON."""

    warnings: tuple[str, ...] = ()
    differences: tuple[Mapping[str, Any], ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {"warnings": list(self.warnings), "differences": list(self.differences)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PreflightSummary:
        return cls(tuple(data.get("warnings", ())), tuple(data.get("differences", ())))


EntryData = (
    IntendedBatch
    | SettledBatch
    | ObservedNumbers
    | ServiceEvent
    | CommandGiven
    | PromoteGiven
    | PreflightSummary
    | None
)


def parse(kind: str, data: Mapping[str, Any]) -> EntryData:
    """The data of an entry of this kind; None for one that is only shown, or that an earlier version left empty."""
    match kind:
        case "intended":
            return IntendedBatch.from_json(data)
        case "settled":
            return SettledBatch.from_json(data)
        case "observed":
            return ObservedNumbers.from_json(data)
        case "promote" if "to" in data:
            return PromoteGiven.from_json(data)
    if kind in _PREFLIGHT:
        return PreflightSummary.from_json(data)
    if kind in _COMMANDS and "phase" in data:
        return CommandGiven.from_json(data)
    return ServiceEvent.from_json(data) if kind in _EVENTS else None


def _hand(data: Mapping[str, Any]) -> HandSplit | None:
    return HandSplit.from_json(data["by_hand"]) if data.get("by_hand") is not None else None


def _hand_json(split: HandSplit | None) -> dict[str, Any] | None:
    return None if split is None else split.to_json()


def _without_none(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None}


def _position(written: str | Mapping[str, int]) -> Position:
    """WAVE.STEP, or an object with both."""
    if isinstance(written, str):
        wave, _, step = written.partition(".")
        return Position(int(wave), int(step))
    return Position(written["wave"], written["step"])
