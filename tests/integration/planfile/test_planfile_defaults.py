"""Every default that the schema shows can be written, and says the same as leaving the key out."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from rollout.adapters.planfile import load_plan, schema
from rollout.domain.errors import InputError

AGENT = {"agent_id": "agent_abc", "agent_version": 7}
PLAN = {
    "version": 1,
    "name": "shop",
    "numbers": ["+14157774444"],
    "channels": ["inbound"],
    "canary": AGENT,
    "steps": [{"weight": 0.5}, {"weight": 1.0}],
}
WITH_VARIANTS = {
    **{k: v for k, v in PLAN.items() if k != "canary"},
    "variants": {"b": AGENT},
    "steps": [{"weights": {"b": 0.5}}],
}


def metric(**more: Any) -> dict[str, Any]:
    return {**PLAN, "gates": {"metrics": [{"name": "success"}, {"name": "booked", **more}]}}


LAST = ("gates", "metrics", 1)
# Where each part of the schema may stand: whole plans, and the way to the part inside of them.
PLACES: dict[str, list[tuple[dict[str, Any], tuple[str | int, ...]]]] = {
    "": [(PLAN, ()), (WITH_VARIANTS, ()), ({**PLAN, "zone": "UTC", "windows": [{"from": "09:00", "to": "17:00"}]}, ())],
    "AlertRule": [({**PLAN, "alerts": [{"match": {"service": "shop"}}]}, ("alerts", 0))],
    "BaselineEntry": [({**PLAN, "baseline": [{"agent_id": "agent_abc"}]}, ("baseline", 0))],
    "CallLength": [(metric(duration={}), (*LAST, "duration"))],
    "Cost": [(metric(cost={}), (*LAST, "cost"))],
    "Decide": [({**WITH_VARIANTS, "decide": {"after": "14d"}}, ("decide",))],
    "EarlyHangup": [(metric(early_hangup={}), (*LAST, "early_hangup"))],
    "Latency": [(metric(latency={}), (*LAST, "latency"))],
    "Gates": [({**PLAN, "gates": {"profile": "standard"}}, ("gates",)), (metric(custom="booked"), ("gates",))],
    "Http": [
        (metric(http={"url": "https://a.example/x", "field": "n", "max": 1}), (*LAST, "http")),
        (metric(http={"url": "https://a.example/x", "field": "n", "min": 1}), (*LAST, "http")),
    ],
    "Prometheus": [
        (metric(prometheus={"url": "https://a.example", "query": "up", "max": 1}), (*LAST, "prometheus")),
        (metric(prometheus={"url": "https://a.example", "query": "up", "min": 1}), (*LAST, "prometheus")),
    ],
    "Metric": [
        (metric(custom="booked"), LAST),
        (metric(prometheus={"url": "https://a.example", "query": "up", "max": 1}), LAST),
    ],
    "NoticeRule": [({**PLAN, "notify": [{"url": "slack://a/b/c"}]}, ("notify", 0))],
    "Serving": [({**PLAN, "numbers": [{"serving": {"agent_id": "agent_abc"}}]}, ("numbers", 0, "serving"))],
    "Step": [(PLAN, ("steps", 0)), (WITH_VARIANTS, ("steps", 0))],
    "Tests": [({**PLAN, "tests": {"cases": ["case_a"]}}, ("tests",)), ({**PLAN, "tests": {"runs": 2}}, ("tests",))],
    "Window": [({**PLAN, "zone": "UTC", "windows": [{"from": "09:00", "to": "17:00"}]}, ("windows", 0))],
}


def defaults() -> Iterator[tuple[str, str, Any]]:
    document = schema()
    for part, node in {"": document, **document["$defs"]}.items():
        for key, field in node.get("properties", {}).items():
            if "default" in field:
                yield part, key, field["default"]


@pytest.mark.parametrize(("part", "key", "default"), list(defaults()), ids=lambda v: str(v)[:20])
def test_a_default_that_the_schema_shows_can_be_written(part: str, key: str, default: Any) -> None:
    refused = []
    for whole, way in PLACES[part]:
        inner: Any = (plan := copy.deepcopy(whole))
        for step in way:
            inner = inner[step]
        without = load_plan(json.dumps(plan), "p.json")
        if key in inner and inner[key] != default:
            continue  # the place is taken by what this plan needs
        inner[key] = default
        try:
            assert load_plan(json.dumps(plan), "p.json") == without
        except InputError as error:
            refused.append(error.message)
        else:
            return
    raise AssertionError(refused)
