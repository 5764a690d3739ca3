"""`rollout gate evaluate`: exactly its keys, the reference values, and words for every wrong input."""

import json
from pathlib import Path

import pytest

from rollout.domain.errors import InputError
from rollout.domain.evaluate import evaluate

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
    nothing = {"harm": {"E": 1.0, "lnE": 0.0}, "safe": {}, "ledger": {"E": 1.0}, "split": {"E": 1.0},
               "interval": [-1.0, 1.0], "prob_worse": 0.5}  # fmt: skip
    assert evaluate({"cells": [], "margins": []}) == nothing
    assert evaluate({"cells": [["0.1", [0, 0, 0, 0]]]}) == nothing


def test_evidence_beyond_doubles_is_still_json():
    out = evaluate(
        {"cells": [["0.5", [10**6, 0, 0, 10**6]], [0.01, [0, 9, 0, 10**9]]], "margins": ["-0.5", "0.9"]}
    )
    assert out["harm"]["lnE"] > 10**5 and out["harm"]["E"] == 1.7976931348623157e308
    json.dumps(out, allow_nan=False)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "not a JSON object"),
        ({}, "cells: nothing is not a list"),
        ({"cells": [], "margin": []}, "margin: not known here"),
        ({"cells": [["0.1"]]}, r"cells\[0\]: .* is not a pair"),
        ({"cells": [["ten", [1, 2, 3, 4]]]}, r"cells\[0\]\[0\]: the weight 'ten'"),
        ({"cells": [["1.2", [1, 2, 3, 4]]]}, r'write "0" to "1"'),
        ({"cells": [["nan", [1, 2, 3, 4]]]}, "the weight 'nan'"),
        ({"cells": [[True, [1, 2, 3, 4]]]}, "the weight True"),
        ({"cells": [["0.1", [1, 2, 3]]]}, "is not four counts"),
        ({"cells": [["0.1", [1, 2, -3, 4]]]}, r"cells\[0\]\[1\]\[2\]: -3 is not a count"),
        ({"cells": [["0.1", [1, 2.5, 3, 4]]]}, r"2.5 is not a count"),
        ({"cells": [["0.1", [True, 2, 3, 4]]]}, "True is not a count"),
        ({"cells": [["0.1", [10**10, 2, 3, 4]]]}, "is not a count"),
        ({"cells": [["0.1", [1, 2, 3, 4]]], "margins": "0.25"}, "margins: '0.25' is not a list"),
        ({"cells": [["0.1", [1, 2, 3, 4]]], "margins": ["1"]}, r"margins\[0\]: '1' will not do"),
        ({"cells": [[f"0.{i:04}1", [0, 0, 0, 1]] for i in range(101)]}, "different weights"),
        ({"cells": [["0.1", [0, 0, 0, 0]]] * 10_001}, "too many"),
    ],
)
def test_wrong_input_is_named(document, words):
    with pytest.raises(InputError, match=words):
        evaluate(document)
