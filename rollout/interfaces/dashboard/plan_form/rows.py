"""The rows of the form: versions that are tried, and steps; what its buttons do to them, and the staircase."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Row = dict[str, str]
_ROW = re.compile(r"(arm|step)\.([0-9]{1,3})\.([a-z_]+(?:\.[0-9]{1,2})?)")
MOST_ROWS = {"arm": 10, "step": 100}
_NAMES = "abcdefghijk"

# name -> (words, weight in percent, hold, least calls; step by step)
LADDERS: Mapping[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {
    "standard": ("Standard: 10, 50, 100 %", (("10", "30m", "50"), ("50", "2h", ""), ("100", "1d", ""))),
    "careful": (
        "Careful: 5, 20, 50, 100 %",
        (("5", "4h", "50"), ("20", "12h", ""), ("50", "1d", ""), ("100", "2d", "")),
    ),
    "low-traffic": ("Low traffic: 30, 60, 100 %", (("30", "2d", "20"), ("60", "3d", "60"), ("100", "2d", ""))),
}


def rows_of(inputs: Mapping[str, str], kind: str) -> list[Row]:
    """The rows of one kind, `arm` or `step`, in order."""
    found: dict[int, Row] = {}
    for name, value in inputs.items():
        if (part := _ROW.fullmatch(name)) and part[1] == kind:
            found.setdefault(int(part[2]), {})[part[3]] = value
    return [found[index] for index in sorted(found)][: MOST_ROWS[kind]]


def with_rows(inputs: Mapping[str, str], kind: str, rows: Sequence[Row]) -> dict[str, str]:
    """The inputs with these rows instead of theirs."""
    others = {name: value for name, value in inputs.items() if not name.startswith(f"{kind}.")}
    return others | {f"{kind}.{i}.{name}": value for i, row in enumerate(rows) for name, value in row.items()}


def act(inputs: Mapping[str, str], button: str) -> dict[str, str]:
    """The inputs after a button: `step.add`, `step.remove.2`, `arm.add`, `arm.remove.1`, `ladder.careful`."""
    what, _, rest = button.partition(".")
    arms, steps = rows_of(inputs, "arm"), rows_of(inputs, "step")
    action, _, index = rest.partition(".")
    at = int(index) if index.isascii() and index.isdigit() else -1
    if what == "ladder" and rest in LADDERS:
        return with_rows(inputs, "step", [_rung(rung, max(1, len(arms))) for rung in LADDERS[rest][1]])
    if what == "step" and action == "add":
        steps.append(dict(steps[-1]) if steps else {"weight.0": "10"})
    elif what == "step" and action == "remove" and at in range(len(steps)):
        del steps[at]
    elif what == "arm" and action == "add" and len(arms) < MOST_ROWS["arm"]:
        arms.append({"name": "", "agent": arms[-1].get("agent", "") if arms else "", "version": ""})
        arms = [{**arm, "name": arm.get("name") or _NAMES[i + 1]} for i, arm in enumerate(arms)]
    elif what == "arm" and action == "remove" and at in range(len(arms)):
        del arms[at]
        steps = [_without_arm(step, at) for step in steps]
        if len(arms) == 1:
            arms[0]["name"] = ""
    return with_rows(with_rows(inputs, "arm", arms), "step", steps)


def _rung(rung: tuple[str, str, str], arms: int) -> Row:
    weight, hold, calls = rung
    each = f"{round(float(weight) / arms, 2):g}"
    return {**{f"weight.{arm}": each for arm in range(arms)}, "hold": hold, "min_calls": calls}


def _without_arm(step: Row, at: int) -> Row:
    weights = [step[name] for name in sorted(step) if name.startswith("weight.")]
    del weights[at : at + 1]
    others = {name: value for name, value in step.items() if not name.startswith("weight.")}
    return {**{f"weight.{i}": weight for i, weight in enumerate(weights)}, **others}


# ------------------------------------------------------------------ the staircase


@dataclass(frozen=True, slots=True)
class Stair:
    """One step of the drawing, in units of its viewBox."""

    x: float
    y: float
    width: float
    height: float
    weight: str
    hold: str


def ladder(inputs: Mapping[str, str], width: float = 340, height: float = 96) -> list[Stair]:
    """The steps as bars as high as their weights; a weight that is no number is drawn as none."""
    steps = rows_of(inputs, "step")
    each = width / max(1, len(steps))
    found = []
    for i, step in enumerate(steps):
        total = min(100.0, sum(_number(value) for name, value in step.items() if name.startswith("weight.")))
        tall = round(max(1.0, total / 100 * height), 1)
        texts = each > 34  # else they would lie over each other
        hold = step.get("hold", "")
        found.append(
            Stair(
                round(i * each, 1),
                round(height - tall, 1),
                round(each - min(2.0, each / 4), 1),
                tall,
                f"{total:g} %" if texts else "",
                hold if texts and len(hold) * 7 < each else "",
            )
        )
    return found


def _number(text: str) -> float:
    try:
        found = float(text.removesuffix("%"))
    except ValueError:
        return 0.0
    return found if 0 <= found <= 100 else 0.0
