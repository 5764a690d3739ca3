"""Writes the documents that are drawn from the code: `python -m tests.documents`. A test fails when one is stale."""

from __future__ import annotations

from pathlib import Path

from rollout.domain.lifecycle.machine import FINAL, TRANSITIONS, Event, HeldReason, Phase

PAGE = Path(__file__).parents[1] / "docs" / "state-machine.md"

_PHASES = {
    Phase.PENDING: "waits for its start",
    Phase.PROGRESSING: "goes through its steps",
    Phase.PAUSED: "a person holds; gates go on watching",
    Phase.HELD: "the service holds, with a reason, until a person answers",
    Phase.PROMOTED: "the last step stood its bake; still watched, and can still be rolled back",
    Phase.ROLLING_BACK: "the baselines are being written back, without end, until they are read back and stable",
    Phase.ROLLED_BACK: "every number shows its baseline; still watched",
    Phase.STOPPED: "ended by a person, or refused before its start; the split stays as it is",
}
_REASONS = {
    HeldReason.DRIFT: "the live split is not the one last confirmed",
    HeldReason.TOUCHED: "somebody wrote the number, and nothing visible changed",
    HeldReason.MISSING: "a number is gone",
    HeldReason.IDENTITY: "a number was deleted and made again",
    HeldReason.REJECTED: "Retell refuses what is sent, and asking again changes nothing",
    HeldReason.ROLLBACK_IMPOSSIBLE: "a version of the baseline is gone, so a rollback would be refused",
    HeldReason.POISON: "working on it has crashed five times in a row",
    HeldReason.DEADLINE: "the plan's deadline passed",
    HeldReason.SPLIT: "the calls do not follow the weights",
    HeldReason.LABELS: "results of one version go missing; adopt to go on without them",
}


def state_machine() -> str:
    """docs/state-machine.md as it should be."""
    parts = [
        "# The state machine",
        (
            "Drawn from the table in `rollout/domain/lifecycle/machine.py` by `make docs`. "
            "Nothing changes a phase but this table."
        ),
        "```mermaid\n" + "\n".join(_diagram()) + "\n```",
        "## Phases",
        "\n".join(["| phase | meaning |", "| --- | --- |", *(f"| `{p}` | {_PHASES[p]} |" for p in Phase)]),
        "## Why the service holds",
        "\n".join(["| reason | meaning |", "| --- | --- |", *(f"| `{r}` | {_REASONS[r]} |" for r in HeldReason)]),
        "## Transitions",
        "Facts are past participles; what a person asks for ends in `_asked`. A dash is refused, and changes nothing.",
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


if __name__ == "__main__":
    PAGE.write_text(state_machine(), encoding="utf-8")
