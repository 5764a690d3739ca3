"""Rules between the fields of a plan: what it is told to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.plan.plan_documents import OFFICE, VARIANTS, complaints


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"canary": None}, "the plan names no version to try; write canary: {agent_id: ..., agent_version: ...}"),
        ({"variants": VARIANTS["variants"]}, "variants: canary and variants are both given; write one of them"),
        (
            {"baseline": {"agent_id": "agent_abc", "agent_version": 7}},
            "canary.agent_version: canary is already in the baseline, so there is nothing to try; write another version",
        ),
        (
            {"steps": [{"weights": {"b": 0.1}}]},
            "steps[0].weights: step 1 has weights, but the plan has one canary; write weight: 0.1",
        ),
        (
            {"steps": [{"weight": 0.1, "hold": {"open": "8h"}}]},
            "steps[0].hold: open hours are counted, but the plan has no windows; write hold: 8h, or give windows and zone",
        ),
        (
            VARIANTS | {"steps": [{"weight": 0.1}]},
            "steps[0].weight: step 1 has weight, but the plan has variants; write weights: {b: 0.1, c: 0.1}",
        ),
        (
            VARIANTS | {"steps": [{"weights": {"d": 0.1}}]},
            'steps[0].weights.d: there is no variant "d"; write one of: b, c',
        ),
        (
            VARIANTS | OFFICE | {"closing": {"retreat": 0.1}},
            "closing: retreat names one weight, but the plan has variants; write closing: keep",
        ),
        ({"seed": 3}, "seed: a seed is given, but nothing is drawn; write wave_order: random, or leave seed out"),
        ({"after": "frontdesk-v7"}, "after: the plan waits for itself; write another plan's name"),
        (
            OFFICE | {"calendar": "office"},
            "calendar: calendar and windows are both given; leave one out; windows can stand in the calendar",
        ),
        (
            {"closing": {"retreat": 0.1}},
            "closing: the plan never closes, because it has no windows; leave closing out, or give windows and zone",
        ),
        (
            VARIANTS | {"baseline": {"agent_id": "agent_abc", "agent_version": 9}},
            "variants.c.agent_version: c is already in the baseline, so there is nothing to try; write another version",
        ),
        (
            {"calendar": "office", "zone": "UTC"},
            "calendar: calendar and zone are both given; leave one out; zone can stand in the calendar",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_and_what_to_write(changes: dict[str, Any], sentence: str) -> None:
    assert complaints(**changes) == [sentence]
