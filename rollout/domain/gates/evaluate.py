"""A verdict by hand: counts in, every figure of the gate out (`rollout gate evaluate`).

Input: {"cells": [["0.1", [fc, sc, fb, sb]], ...], "margins": ["0.25"]}, cells in order of opening, counts as
(canary bad, canary fine, baseline bad, baseline fine). Cells at weight 0 or 1 compare nothing and are left
out. "history": "0.12" is the baseline's bad rate before the rollout; harm, safe and ledger then bet around it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rollout.domain.errors import InputError
from rollout.domain.gates import evidence as ev

_MOST_CALLS = 10**9
_MOST_CELLS = 10_000
_MOST_WEIGHTS = 100


def evaluate(document: object) -> dict[str, Any]:
    """The gate's figures for the counts of a document, with exactly the keys harm, safe, ledger, split,
    interval and prob_worse. E-values beyond the largest double are shown as that double; lnE stays exact.

    Raises InputError naming the field and what to write instead.
    """
    cells, margins, history = _read(document)

    weights, ledgers = ev.pool(cells)
    whole = ledgers[0] if len(ledgers) else ledgers.reshape(0, 4)
    canary, baseline = whole[:, 0] + whole[:, 1], whole[:, 2] + whole[:, 3]
    pooled = [int(n) for n in whole.sum(axis=0)]

    def value(ln: float) -> dict[str, float]:
        return {"E": ev.LARGEST if ln > math.log(ev.LARGEST) else math.exp(ln), "lnE": ln}

    low, high = ev.interval(whole, weights)
    return {
        "harm": value(float(ev.log_e(whole, weights, history=history))),
        "safe": {name: value(float(ev.log_e(whole, weights, d, "safe", history))) for name, d in margins.items()},
        "ledger": {"E": float(ev.ledger_e(ledgers, weights, history))},
        "split": {"E": float(ev.split_e(canary, baseline, weights))},
        "interval": [low, high],
        "prob_worse": ev.prob_worse(pooled),
    }


_KEYS = ("cells", "margins", "history")


def _read(document: object) -> tuple[list[tuple[float, tuple[int, ...]]], dict[str, float], float | None]:
    example = '{"cells": [["0.1", [2, 0, 2, 16]]], "margins": ["0.25"]}'
    if not isinstance(document, Mapping):
        raise InputError(f"The input is not a JSON object; write for example {example}.")
    if unknown := sorted(str(k) for k in document if k not in _KEYS):
        raise InputError(f"{unknown[0]}: not known here; write cells, margins and history, for example {example}.")
    cells, margins = document.get("cells"), document.get("margins", [])
    if not isinstance(cells, list):
        raise InputError(f"cells: {_what(cells)} is not a list; write for example {example}.")
    if len(cells) > _MOST_CELLS:
        raise InputError(f"cells: {len(cells):,} are too many; write at most {_MOST_CELLS:,}.")
    if not isinstance(margins, list):
        raise InputError(f'margins: {_what(margins)} is not a list; write for example ["0.25"].')
    read = [_cell(i, cell) for i, cell in enumerate(cells)]
    if len({weight for weight, _ in read}) > _MOST_WEIGHTS:
        raise InputError(f"cells: more than {_MOST_WEIGHTS} different weights; write fewer.")
    return read, dict(_margin(i, m) for i, m in enumerate(margins)), _history(document)


def _history(document: Mapping[str, Any]) -> float | None:
    value = document.get("history")
    if value is None:
        return None
    rate = _decimal(value)
    if rate is None or not 0 <= rate <= 1:
        raise InputError(
            f"history: {_what(value)} is not a rate; write the baseline's bad rate from before, such as "
            '"0.12", or leave it out.'
        )
    return rate


def _cell(index: int, cell: object) -> tuple[float, tuple[int, ...]]:
    where = f"cells[{index}]"
    if not isinstance(cell, list) or len(cell) != 2:
        raise InputError(f'{where}: {_what(cell)} is not a pair; write ["0.1", [2, 0, 2, 16]].')
    weight = _decimal(cell[0])
    if weight is None or not 0 <= weight <= 1:
        raise InputError(f'{where}[0]: {_what(cell[0])} is not a weight; write "0" to "1", such as "0.1".')
    counts = cell[1]
    if not isinstance(counts, list) or len(counts) != 4:
        raise InputError(
            f"{where}[1]: {_what(counts)} is not four counts; write "
            "[canary bad, canary fine, baseline bad, baseline fine], such as [2, 0, 2, 16]."
        )
    for i, n in enumerate(counts):
        if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= _MOST_CALLS:
            raise InputError(
                f"{where}[1][{i}]: {_what(n)} is not a count; write a whole number from 0 to {_MOST_CALLS:,}."
            )
    return weight, tuple(counts)


def _margin(index: int, margin: object) -> tuple[str, float]:
    value = _decimal(margin)
    if value is None or not -1 < value < 1:
        raise InputError(
            f'margins[{index}]: {_what(margin)} is not a margin; write a decimal above -1 and below 1, such as "0.25".'
        )
    return str(margin), value


def _decimal(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _what(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
