"""`rollout gate evaluate`: exactly its keys, the reference values, and words for every wrong input."""

import json
from decimal import Decimal, getcontext
from pathlib import Path

import pytest

from rollout.domain.errors import InputError
from rollout.domain.gates import evidence as ev
from rollout.domain.gates.evaluate import evaluate
from tests.unit.gates.definition import ratios, split_cost, won

VECTORS = json.loads((Path(__file__).parent / "data" / "gate-vectors.json").read_text())


def test_exactly_these_keys():
    out = evaluate({"cells": [["0.1", [3, 0, 4, 23]]], "margins": ["0.25", "0.10"]})
    assert set(out) == {"harm", "safe", "ledger", "split", "interval", "prob_worse"}
    assert set(out["harm"]) == set(out["safe"]["0.25"]) == {"E", "lnE"}
    assert (set(out["safe"]), set(out["ledger"]), set(out["split"])) == ({"0.25", "0.10"}, {"E"}, {"E"})
    assert len(out["interval"]) == 2
    json.dumps(out, allow_nan=False)


@pytest.mark.parametrize("vector", VECTORS["safe"], ids=lambda v: f"{v['name']} {v['margin']}")
def test_reference_values(vector):
    out = evaluate({"cells": vector["cells"], "margins": [vector["margin"]]})
    assert out["safe"][vector["margin"]]["E"] == pytest.approx(vector["E"], rel=1e-6, abs=0)


@pytest.mark.parametrize("vector", VECTORS["split"], ids=lambda v: v["name"])
def test_reference_splits(vector):
    assert evaluate({"cells": vector["cells"]})["split"]["E"] == pytest.approx(vector["E_split"], rel=1e-6)


@pytest.mark.parametrize("vector", VECTORS["interval"], ids=lambda v: v["name"])
def test_reference_intervals(vector):
    assert evaluate({"cells": vector["cells"]})["interval"] == pytest.approx(
        [vector["lower"], vector["upper"]], abs=0.0051
    )


def test_ledger_follows_the_order_of_the_cells():
    vector = VECTORS["ledgers"][1]
    assert evaluate({"cells": vector["cells"]})["ledger"]["E"] == pytest.approx(vector["E"], rel=1e-6)
    assert evaluate({"cells": vector["cells"][::-1]})["ledger"]["E"] != pytest.approx(vector["E"], rel=1e-3)


def test_cells_at_weight_zero_and_one_are_left_out():
    plain = {"cells": [["0.1", [3, 0, 4, 23]]], "margins": ["0.25"]}
    more = {"cells": [["0", [0, 0, 9, 9]], ["0.1", [3, 0, 4, 23]], ["1", [50, 1, 0, 0]]], "margins": ["0.25"]}
    assert evaluate(more) == evaluate(plain)


def test_nothing_yet():
    nothing = {
        "harm": {"E": 1.0, "lnE": 0.0},
        "safe": {},
        "ledger": {"E": 1.0},
        "split": {"E": 1.0},
        "interval": [-1.0, 1.0],
        "prob_worse": 0.5,
    }
    assert evaluate({"cells": [], "margins": []}) == nothing
    assert evaluate({"cells": [["0.1", [0, 0, 0, 0]]]}) == nothing


def test_evidence_beyond_doubles_is_still_json():
    out = evaluate({"cells": [["0.5", [10**6, 0, 0, 10**6]], [0.01, [0, 9, 0, 10**9]]], "margins": ["-0.5", "0.9"]})
    assert out["harm"]["lnE"] > 10**5 and out["harm"]["E"] == 1.7976931348623157e308
    json.dumps(out, allow_nan=False)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "not a JSON object"),
        ({}, "cells: nothing is not a list"),
        ({"cells": [], "margin": []}, "margin: not known here"),
        ({"cells": [["0.1"]]}, r"cells\[0\]: .* is not a pair"),
        ({"cells": [["ten", [1, 2, 3, 4]]]}, r"cells\[0\]\[0\]: 'ten' is not a weight"),
        ({"cells": [["1.2", [1, 2, 3, 4]]]}, r'write "0" to "1"'),
        ({"cells": [["nan", [1, 2, 3, 4]]]}, "'nan' is not a weight"),
        ({"cells": [[True, [1, 2, 3, 4]]]}, "True is not a weight"),
        ({"cells": [["0.1", [1, 2, 3]]]}, "is not four counts"),
        ({"cells": [["0.1", [1, 2, -3, 4]]]}, r"cells\[0\]\[1\]\[2\]: -3 is not a count"),
        ({"cells": [["0.1", [1, 2.5, 3, 4]]]}, r"2.5 is not a count"),
        ({"cells": [["0.1", [True, 2, 3, 4]]]}, "True is not a count"),
        ({"cells": [["0.1", [10**10, 2, 3, 4]]]}, "is not a count"),
        ({"cells": [["0.1", [1, 2, 3, 4]]], "margins": "0.25"}, "margins: '0.25' is not a list"),
        ({"cells": [["0.1", [1, 2, 3, 4]]], "margins": ["1"]}, r"margins\[0\]: '1' is not a margin"),
        ({"cells": [[f"0.{i:04}1", [0, 0, 0, 1]] for i in range(101)]}, "different weights"),
        ({"cells": [["0.1", [0, 0, 0, 0]]] * 10_001}, "too many"),
    ],
)
def test_wrong_input_is_named(document, words):
    with pytest.raises(InputError, match=words):
        evaluate(document)


def exact(history, counts, weight, margin, side):
    """E by the definition of a history's bets in 40-digit arithmetic, with nothing shared but the grid of rates."""
    getcontext().prec = 40
    w, d, p = (Decimal(x) for x in (weight, margin, history))
    odds = {
        "0.05": "0.25",
        "0.25": "0.25",
        "0.7": "1.5",
        "1": "3",
        "1.4": "1",
        "2": "1",
        "4": "1",
        "12": "1",
        "100": "1",
    }
    if side == "harm":
        odds |= {"1.4": "0.45", "2": "0.25", "4": "0.15", "12": "0.08", "100": "0.07"}
    rates = [Decimal(repr(r)) for r in ev.HISTORY_RATES]
    density = [(100 * p * r.ln() + 100 * (1 - p) * (1 - r).ln()).exp() for r in rates]
    even = {Decimal(repr(r)) for r in ev.RATES}
    money = total = Decimal(0)
    for b, believed in zip(rates, density, strict=True):
        on_rate = Decimal("0.8") * believed / sum(density) + (Decimal("0.2") / 8 if b in even else 0)
        for o, share in odds.items():
            c = Decimal(o) * b / (1 - b + Decimal(o) * b)
            if (factors := ratios(w, d, b, c, side)) is None:
                continue
            weight_of_bet = on_rate * Decimal(share)
            money += weight_of_bet * won(counts, factors)
            total += weight_of_bet
    return float((money / total).ln() - split_cost(counts, w))


@pytest.mark.parametrize("history", ["0", "0.003", "0.15", "0.97"])
@pytest.mark.parametrize("counts", [(3, 0, 4, 23), (33, 97, 176, 994), (4, 46, 60, 440)])
def test_bets_that_know_the_history_are_those_of_the_definition(history, counts):
    out = evaluate({"cells": [["0.1", list(counts)]], "margins": ["0.25", "0.08"], "history": history})
    assert out["harm"]["lnE"] == pytest.approx(exact(history, counts, "0.1", "0", "harm"), rel=1e-8, abs=1e-8)
    for margin, value in out["safe"].items():
        assert value["lnE"] == pytest.approx(exact(history, counts, "0.1", margin, "safe"), rel=1e-8, abs=1e-8)


def test_a_history_changes_the_bets_and_nothing_else():
    cells = {"cells": [["0.1", [2, 18, 30, 150]], ["0.5", [9, 41, 8, 42]]], "margins": ["0.25"]}
    plain, knowing = evaluate(cells), evaluate({**cells, "history": "0.16"})
    assert {k for k in plain if plain[k] != knowing[k]} == {"harm", "safe", "ledger"}
    assert evaluate({**cells, "history": None}) == plain


@pytest.mark.parametrize("history", ["12 %", -0.1, 1.01, "nan", True, [0.1]])
def test_a_history_that_is_no_rate_is_refused_with_what_to_write(history):
    with pytest.raises(InputError, match=r"history: .* is not a rate; write .*0\.12"):
        evaluate({"cells": [], "history": history})


@pytest.mark.slow
@pytest.mark.parametrize(
    "document",
    [
        {"cells": [[f"0.{i:03}1", [0, 0, 0, 1]] for i in range(100)]},
        {"cells": [["0.1", [0, 0, 0, 0]]] * 10_000},
        {"cells": [["0", [0, 0, 0, 0]], ["1", [10**9, 0, 0, 0]]], "history": "1", "margins": ["-0.999", "0.999"]},
        {"cells": [], "history": 0},
    ],
)
def test_input_up_to_its_bounds_is_read(document):
    assert evaluate(document)["prob_worse"] >= 0.5


@pytest.mark.parametrize("margin", ["-1", "1", 1.0, "nan", None, [0.1]])
def test_a_margin_at_its_bound_or_of_another_kind_is_refused(margin):
    with pytest.raises(InputError, match="is not a margin; write a decimal above -1 and below 1"):
        evaluate({"cells": [], "margins": [margin]})


@pytest.mark.parametrize("value", [[0.1], ["0.1", [1, 2, 3, 4], 5], "0.1", None])
def test_a_cell_that_is_no_pair_is_refused(value):
    with pytest.raises(InputError, match=r"cells\[1\]: .* is not a pair"):
        evaluate({"cells": [["0.1", [1, 2, 3, 4]], value]})


@pytest.mark.parametrize(("length", "shown"), [(38, "'" + "x" * 38 + "'"), (39, "'" + "x" * 36 + "...")])
def test_a_wrong_value_is_repeated_up_to_forty_characters(length, shown):
    with pytest.raises(InputError) as refused:
        evaluate({"cells": "x" * length})
    assert str(refused.value).startswith(f"cells: {shown} is not a list")
