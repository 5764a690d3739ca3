"""Writes the documents that are drawn from the code: `python -m tests.documents`. A test fails when one is stale."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path
from typing import Any

from rollout.domain.gates.metrics import KINDS
from rollout.domain.lifecycle.machine import FINAL, TRANSITIONS, Event, HeldReason, Phase

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "state-machine.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
GATES = ROOT / "docs" / "gates.md"
_METRICS_BEGIN, _METRICS_END = "<!-- metrics: made by python -m tests.documents -->\n", "<!-- end of metrics -->\n"
_BEGIN, _END = "<!-- layers: made by python -m tests.documents -->\n", "<!-- end of layers -->\n"

_PHASES = {
    Phase.PENDING: "waits for its start",
    Phase.PROGRESSING: "takes its steps",
    Phase.PAUSED: "a person paused it, or the plan leaves the end of its A/B test to one; gates keep watching",
    Phase.HELD: "the service holds it, with a reason, until a person answers",
    Phase.PROMOTED: "the last step finished its bake; still watched, and can still be rolled back",
    Phase.ROLLING_BACK: "the baselines are being written back until they are read back and stable",
    Phase.ROLLED_BACK: "every number shows its baseline; still watched",
    Phase.STOPPED: "ended by a person, or refused before its start; the split stays as it is",
}
_REASONS = {
    HeldReason.DRIFT: "the live split is not the one last confirmed, or a tag that the baseline names was moved or deleted",
    HeldReason.TOUCHED: "somebody wrote the number, and nothing visible changed",
    HeldReason.MISSING: "a number is gone",
    HeldReason.IDENTITY: "a number was deleted and created again",
    HeldReason.REJECTED: "Retell refuses what is sent, and trying again does not help",
    HeldReason.ROLLBACK_IMPOSSIBLE: "a version of the baseline is gone, so a rollback would be refused",
    HeldReason.POISON: "the service crashed on it five times in a row",
    HeldReason.DEADLINE: "the plan's deadline passed",
    HeldReason.SPLIT: "the calls do not follow the weights",
    HeldReason.LABELS: "more results of one version are missing; adopt to continue without them",
}


def state_machine() -> str:
    """docs/state-machine.md as it should be."""
    parts = [
        "# The state machine",
        (
            "Drawn from the table in `rollout/domain/lifecycle/machine.py` by `make docs`. "
            "Only this table changes a phase."
        ),
        "```mermaid\n" + "\n".join(_diagram()) + "\n```",
        "## Phases",
        "\n".join(["| phase | meaning |", "| --- | --- |", *(f"| `{p}` | {_PHASES[p]} |" for p in Phase)]),
        "## Why the service holds",
        "\n".join(["| reason | meaning |", "| --- | --- |", *(f"| `{r}` | {_REASONS[r]} |" for r in HeldReason)]),
        "## Transitions",
        "Facts are past participles; what a person asks for ends in `_asked`. A dash means refused: nothing changes.",
        "\n".join(_matrix()),
    ]
    return "\n\n".join(parts) + "\n"


def _diagram() -> list[str]:
    lines = ["stateDiagram-v2", "    [*] --> pending"]
    arrows: dict[tuple[Phase, Phase], list[Event]] = {}
    for (phase, event), to in TRANSITIONS.items():
        if phase is not to:  # events that stay in a phase are in the matrix below
            arrows.setdefault((phase, to), []).append(event)
    lines += [f"    {a} --> {b}: {', '.join(events)}" for (a, b), events in arrows.items()]
    return lines + [f"    {phase} --> [*]" for phase in Phase if phase in FINAL]


def _matrix() -> list[str]:
    head = f"| event | {' | '.join(Phase)} |"
    rows = [
        f"| `{event}` | " + " | ".join(TRANSITIONS.get((phase, event), "-") for phase in Phase) + " |"
        for event in Event
    ]
    return [head, "| --- |" + " --- |" * len(Phase), *rows]


def architecture() -> str:
    """docs/architecture.md with the picture that the import contract makes."""
    before, _, rest = ARCHITECTURE.read_text(encoding="utf-8").partition(_BEGIN)
    return before + _BEGIN + layers_picture(contracts()) + _END + rest.partition(_END)[2]


def contracts() -> list[dict[str, Any]]:
    """The import contracts of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return found


def layers_picture(contracts: list[dict[str, Any]]) -> str:
    """The layers, top to bottom, each in the box of its package, and what one place alone may use.

    Layers have no arrows between them: the contract says what a layer may not import, and not what it does import.
    """
    layers = [(c["containers"][0], _rows(c)) for c in contracts if c["type"] == "layers"]
    boxes = {package: rows for package, rows in layers if any(package in row for _, above in layers for row in above)}
    ((_, outer),) = ((package, rows) for package, rows in layers if package not in boxes)
    lines = ["```mermaid", "flowchart TD"]
    for package, rows in boxes.items():
        lines += [f"    subgraph {_node(package)}", *(f"    {line}" for line in _stack(rows)), "    end"]
    lines += _stack(outer, boxes)
    known = [name for _, rows in layers for row in rows for name in row]
    for contract in contracts:
        if contract["type"] == "protected":
            lines += _users(contract, known)
    return "\n".join([*lines, "```"]) + "\n"


def _rows(contract: dict[str, Any]) -> list[list[str]]:
    """The modules of each layer, by their full names."""
    (package,) = contract["containers"]
    return [[f"{package}.{name.strip()}" for name in layer.split("|")] for layer in contract["layers"]]


def _stack(rows: list[list[str]], drawn: Collection[str] = ()) -> list[str]:
    """Lines that put each layer below the one before; `drawn` are boxes already."""

    def boxes(row: list[str]) -> str:
        return " & ".join(
            _node(name) if name in drawn else f'{_node(name)}["{name.rpartition(".")[2]}"]' for name in row
        )

    below = [f"    {boxes(above)} ~~~ {' & '.join(map(_node, row))}" for above, row in pairwise(rows)]
    return [*below, f"    {boxes(rows[-1])}"]


def _users(contract: dict[str, Any], known: list[str]) -> list[str]:
    """A dotted arrow from everything that may import what is protected; it says so when only a part may."""
    library = f"{_node(contract['protected_modules'][0])}(({' and '.join(contract['protected_modules'])}))"
    whole = [name for name in contract["allowed_importers"] if name in known]
    lines = [f"    {' & '.join(map(_node, whole))} -.-> {library}"] if whole else []
    for user in contract["allowed_importers"]:
        if user not in known:
            place = max(
                (name for name in known if user.startswith(f"{name}.")), key=len, default=user.partition(".")[0]
            )
            lines.append(f'    {_node(place)} -. "{user.removeprefix(f"{place}.")}" .-> {library}')
    return lines


def _node(name: str) -> str:
    return name.removeprefix("rollout.").replace(".", "_").strip("_")


def gates() -> str:
    """docs/gates.md with the table of the metrics of calls."""
    before, _, rest = GATES.read_text(encoding="utf-8").partition(_METRICS_BEGIN)
    return before + _METRICS_BEGIN + metrics_table() + _METRICS_END + rest.partition(_METRICS_END)[2]


def metrics_table() -> str:
    """The rows of rollout/domain/gates/metrics.py; in front how a plan writes them."""
    written = {"custom": "any name with `custom: FIELD`", "tool_failed": "any name with `tool_failed: TOOL`"}
    rows = [f"| {written.get(name, f'`{name}`')} | {row.meaning} | {row.known} |" for name, row in KINDS.items()]
    outside = "the value is beyond `max` or `min` on `for` looks in a row"
    rows.append(f"| any name with `prometheus:` or `http:` | {outside} | at the look |")
    return "\n".join(["| name | bad when | known |", "| --- | --- | --- |", *rows]) + "\n"


if __name__ == "__main__":
    GATES.write_text(gates(), encoding="utf-8")
    ARCHITECTURE.write_text(architecture(), encoding="utf-8")
    PAGE.write_text(state_machine(), encoding="utf-8")
