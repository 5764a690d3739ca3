"""Counts as values and as JSON: what is compared, what is summed, and what earlier versions kept."""

import json
import math

from rollout.domain.gates.tally import Cell, Tally, strata_of, totals

SERIES = {"success": (1, 9, 10, 80), "slow:p50": (2, 8, 20, 70)}
ONE = Cell(
    0.1, 1, "2026-03-02", (10, 90), (9, 80), SERIES, {"success": (0, 1)}, {"a": {"": (10, 90), "success": (9, 80)}}, 2
)
HALF = Cell(0.5, 1.001, "2026-03-03", (3, 4), (3, 4), {"success": (1, 2, 3, 1), "slow:p50": (0, 3, 0, 4)})
ENDS = [Cell(w, 0, "2026-03-01", (n, m), (n, m), {}, strata={"a": {"": (n, m)}}) for w, n, m in ((0, 0, 7), (1, 5, 0))]
WHOLE = Tally(
    (ENDS[0], ONE, HALF, ENDS[1]),
    1.001,
    1,
    0.5,
    "Retell is down",
    {"rate": 0.5, "gone": None},
    3,
    42.5,
    2,
    True,
    True,
    (("a", ((0.1, 10, 90), (0.5, 3, 4))), ("b", ())),
)


def test_counts_come_back_as_they_were():
    assert Tally.from_json(json.loads(json.dumps(WHOLE.to_json(), allow_nan=False))) == WHOLE


def test_a_value_that_is_no_number_is_kept_as_none():
    found = Tally((), 1, 1, 0.1, external={"a": math.nan, "b": math.inf, "c": -1.5, "d": None}).to_json()
    assert found["external"] == {"a": None, "b": None, "c": -1.5, "d": None}


def test_cells_of_an_earlier_version_have_no_strata_nothing_lost_and_are_of_the_first_wave():
    kept = ONE.to_json()
    for later in ("lost", "strata", "wave"):
        del kept[later]
    found = Cell.from_json(kept)
    assert (found.lost, found.strata, found.wave) == ({}, {}, 1)
    old = WHOLE.to_json()
    del old["strata"]
    assert Tally.from_json(old).strata == ()


def test_cells_at_weight_0_and_1_are_counted_but_compare_nothing():
    assert WHOLE.compared == (ONE, HALF)
    assert WHOLE.calls == 7 + 100 + 7 + 5
    assert totals(WHOLE.compared, "success") == (2, 11, 13, 81)
    assert totals([], "success") == (0, 0, 0, 0)


def test_without_strata_everything_else_stays():
    bare = WHOLE.without_strata()
    assert [c.strata for c in bare.cells] == [{}] * 4
    assert [c.counts for c in bare.cells] == [c.counts for c in WHOLE.cells]
    assert (bare.strata, bare.calls_per_day) == (WHOLE.strata, 42.5)


def test_strata_are_summed_by_weight_as_far_as_calls_are_compared():
    more = Cell(0.1, 2, "2026-03-03", (5, 6), (5, 6), {}, strata={"a": {"": (4, 1)}, "new": {"": (1, 5)}})
    assert strata_of([*ENDS, ONE, HALF, more], ["b", "a"]) == (
        ("b", ()),
        ("a", ((0.1, 14, 91),)),
        ("new", ((0.1, 1, 5),)),
    )
    again = Cell(0.5, 3, "2026-03-04", (2, 3), (2, 3), {}, strata={"a": {"": (2, 3)}})
    assert strata_of([ONE, again, again], ["a"]) == (("a", ((0.1, 10, 90), (0.5, 4, 6))),)
