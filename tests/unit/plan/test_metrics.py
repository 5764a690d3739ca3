# ruff: noqa: E501 - the tables hold whole sentences
"""Metrics of a plan: what may be written up to its limit, and what it is told to write instead."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from rollout.adapters.planfile import build_plan, dump_plan, load_plan
from rollout.domain.gates.metrics import BUILT_IN
from rollout.domain.gates.profiles import GateConfig, from_plan
from rollout.domain.plan.plan import Plan
from tests.unit.plan.plan_documents import complaints, document


def measured(**more: Any) -> dict[str, Any]:
    """A plan whose second metric is this one."""
    return document(gates={"metrics": [{"name": "success"}, {"name": "own"} | more]})


def asked(**more: Any) -> dict[str, Any]:
    return measured(http={"url": "https://x.example/v", "field": "v", **more})


def at(url: str) -> dict[str, Any]:
    return asked(url=url, max=1)


NO_ADDRESS = "is not a web address; write for example https://metrics.example.com/value"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        *((at(url), f"http.url: {json.dumps(url)} {NO_ADDRESS}") for url in ("https://", "https://x.example:99999/", "ftp://x.example", "https://x.example/a b", "https://x.example/\x7f".replace("\x7f", "<"))),
        (at("https://x.example/" + "v" * 1983), f'http.url: "https://x.example/{"v" * 38}... {NO_ADDRESS}'),
        *((at(f"https://{who}@x.example/"), "http.url: the address carries a user name or password; write the address without them") for who in ("u", ":p")),
        (at("http://x.example/" + "v" * 200), f"http.url: the address is not encrypted; write https://x.example/{'v' * 96}"),
        (asked(max=1, min=1), "http.min: min is not below max; write a min below max"),
        (asked(max=1e16), "http.max: 1e+16 is not a limit; write a number from -1e+15 to 1e+15, for example 0.05"),
        (asked(min=-1.1e15), "http.min: -1100000000000000.0 is not a limit; write a number from -1e+15 to 1e+15, for example 0.05"),
        (asked(max=True), "http.max: true is not a limit; write a number, for example 0.05"),
        (asked(max=float("inf")), "http.max: Infinity is not a limit; write a number, for example 0.05"),
        (measured(custom="x", share=0), "share: 0 is too small; write a number above 0 and at most 1, for example 0.25"),
        (measured(custom="x", share=1.1), "share: 1.1 is not a part of 1; write a number from 0 to 1, for example 0.25"),
        (measured(custom="x", bad_values=[""]), 'bad_values[0]: "" is not a value to compare with; write 1 to 100 printable characters'),
        (measured(custom="x", bad_values=["a\u0007"]), 'bad_values[0]: "a\\u0007" is not a value to compare with; write 1 to 100 printable characters'),
        (measured(custom="x", bad_values=["a" * 101]), f'bad_values[0]: "{"a" * 56}... is not a value to compare with; write 1 to 100 printable characters'),
        (measured(custom="x", bad_values=[1e10]), "bad_values[0]: 10000000000.0 is not true, false, a number or text; write a number from -1e+09 to 1e+09, for example 1"),
        (measured(cost={"above": 1.1e9}), "cost.above: 1100000000.0 is not a limit or one of p50, p90, p95, p99; write a number from 0 to 1e+09, for example 40"),
        (measured(duration={"above": "p80"}), "duration.above: p80 is not a duration; write for example 90s, 15m, 1h30m or 3d"),
        (measured(custom="x", cost={}), "cost: custom and cost are both given; keep one of them"),
        (measured(custom="x", cost={}, http={"url": "https://x.example", "field": "v", "max": 1}), "cost: custom and cost and http are both given; keep one of them"),
        (measured(name="qqq"), f'name: there is no metric "qqq"; write one of {", ".join(BUILT_IN)}, or say where it is measured: custom, tool_failed, prometheus or http'),
        (measured(http={"url": "https://x.example", "field": "v", "max": 1}, margins=[0.1]), "margins: margins belongs to metrics of calls; leave it out and write max or min"),
        (measured(tool_failed="x", bad=True), "bad: bad belongs to custom fields; leave it out"),
        (measured(custom="x", bad=True, bad_below=0), "bad_below: bad and bad_below are both given; keep one of them"),
        (measured(custom="x", bad_values=[1], bad_below=0, bad_above=1), "bad_below: bad_values and bad_below and bad_above are both given; keep one of them"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_metric(source: dict[str, Any], sentence: str) -> None:
    (line,) = complaints(**source)
    assert line == f"gates.metrics[1].{sentence}"


def test_every_metric_of_calls_in_one_plan_and_back() -> None:
    metrics = [
        {"name": "success"},
        {"name": "hard_error"},
        {"name": "slow"},
        {"name": "negative"},
        {"name": "voicemail"},
        {"name": "early_hangup", "early_hangup": {"within": "10s"}},
        {"name": "transferred"},
        {"name": "booking", "tool_failed": "book appointment"},
        {"name": "cost", "cost": {"above": 40}},
        {"name": "duration", "duration": {"above": "10m"}},
        {"name": "latency", "latency": {"part": "llm", "quantile": "p90", "above": "p95"}},
        {"name": "backup_model"},
        {"name": "mood", "custom": "mood", "bad_values": ["angry", 1, False]},
        {"name": "score", "custom": "score", "bad_below": 3},
    ]
    made = build_plan(document(gates={"metrics": metrics}))
    assert Plan.model_validate(made.canonical()) == made
    rules = from_plan(made.canonical()["gates"]).metrics
    assert [r.name for r in rules] == [m["name"] for m in metrics]
    by_name = {r.name: r for r in rules}
    assert by_name["early_hangup"].bad_below == 10 and by_name["duration"].bad_above == 600
    assert (by_name["latency"].detail, by_name["latency"].quantile) == ("llm_p90", 0.95)
    assert by_name["mood"].bad_values == ("angry", 1.0, False) and by_name["booking"].detail == "book appointment"
    assert GateConfig.from_json(json.loads(json.dumps(asdict(from_plan(made.canonical()["gates"]))))).metrics == rules


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"gates": {"metrics": [{"name": "sucess"}]}},
            'gates.metrics[0].name: there is no metric "sucess"; write success, or say where it is measured: custom, tool_failed, prometheus or http',
        ),
        (
            {"gates": {"metrics": [{"name": "tool_failed"}]}},
            "gates.metrics[0].name: tool_failed needs the name of what it measures; write tool_failed: with a name",
        ),
        (
            {"gates": {"metrics": [{"name": "transferred", "cost": {}}]}},
            "gates.metrics[0].name: transferred is measured on calls and cannot be taken from cost; write another name, for example my_transferred",
        ),
        (
            {"gates": {"metrics": [{"name": "cost", "cost": {"above": "p80"}}]}},
            'gates.metrics[0].cost.above: "p80" is not a quantile; write a number, or one of p50, p90, p95, p99',
        ),
        (
            {"gates": {"metrics": [{"name": "cost", "cost": {"above": -1}}]}},
            "gates.metrics[0].cost.above: -1 is not a limit or one of p50, p90, p95, p99; write a number from 0 to 1e+09, for example 40",
        ),
        (
            {"gates": {"metrics": [{"name": "long", "duration": {"above": 600}}]}},
            "gates.metrics[0].duration.above: 600 has no unit; write 600s for seconds or 600m for minutes",
        ),
        (
            {"gates": {"metrics": [{"name": "cost", "bad_below": 1}]}},
            "gates.metrics[0].bad_below: bad_below belongs to custom fields; leave it out",
        ),
        (
            {"gates": {"metrics": [{"name": "mood", "custom": "mood", "bad_values": ["x"], "bad_above": 1}]}},
            "gates.metrics[0].bad_above: bad_values and bad_above are both given; keep one of them",
        ),
        (
            {"gates": {"metrics": [{"name": "cost", "bad_above": 0}]}},
            "gates.metrics[0].bad_above: bad_above belongs to custom fields; leave it out",
        ),
        (
            {"gates": {"metrics": [{"name": "mood", "custom": "mood", "bad_below": 3, "bad_above": 2}]}},
            "gates.metrics[0].bad_below: every number is bad; write a bad_below below bad_above",
        ),
        (
            {"gates": {"metrics": [{"name": "mood", "custom": "mood", "bad_values": [None]}]}},
            "gates.metrics[0].bad_values[0]: null is not true, false, a number or text; write a number, for example 1",
        ),
        (
            {"gates": {"metrics": [{"name": "success", "custom": "x"}]}},
            "gates.metrics[0].name: success is measured on calls and cannot be taken from custom; write another name, for example my_success",
        ),
        (
            {"gates": {"metrics": [{"name": "e", "http": {"url": "https://x.example/v", "field": "v"}}]}},
            "gates.metrics[0].http: there is no limit; write max or min, for example max: 0.05",
        ),
        (
            {"gates": {"metrics": [{"name": "e", "http": {"url": "http://x.example/v", "field": "v", "max": 1}}]}},
            "gates.metrics[0].http.url: the address is not encrypted; write https://x.example/v",
        ),
        (
            {"gates": {"metrics": [{"name": "e", "http": {"url": "https://u:p@x.example/", "field": "v", "max": 1}}]}},
            "gates.metrics[0].http.url: the address carries a user name or password; write the address without them",
        ),
        (
            {
                "gates": {
                    "metrics": [{"name": "e", "prometheus": {"url": "file:///etc/passwd", "query": "up", "max": 1}}]
                }
            },
            'gates.metrics[0].prometheus.url: "file:///etc/passwd" is not a web address; write for example https://metrics.example.com/value',
        ),
        (
            {
                "gates": {
                    "metrics": [
                        {"name": "e", "share": 0.5, "http": {"url": "https://x.example/v", "field": "v", "max": 1}}
                    ]
                }
            },
            "gates.metrics[0].share: share belongs to metrics of calls; leave it out and write max or min",
        ),
        *(
            (
                {"gates": {"metrics": [{"name": "success", "margins": [none]}]}},
                f"gates.metrics[0].margins[0]: {none} is not a margin; write a number above 0 and below 1, for example 0.25",
            )
            for none in (0, 1)
        ),
        (
            {"gates": {"metrics": [{"name": "success", "margins": [1.5]}]}},
            "gates.metrics[0].margins[0]: 1.5 is not a margin; write a number from 0 to 1, for example 0.25",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_and_what_to_write(changes: dict[str, Any], sentence: str) -> None:
    assert complaints(**changes) == [sentence]


@pytest.mark.parametrize(
    "source",
    [
        *(at(url) for url in ("http://localhost:9090/v", "http://127.0.0.1/v", "http://[::1]/v", "https://x.example/" + "v" * 1982)),
        *(asked(max=high) for high in (1e15, 0, -1e15)),
        asked(min=0.5, max=0.6),
        measured(custom="x", share=1.0) | {"gates": {"metrics": [{"name": "own", "custom": "x", "share": 1.0, "margins": [0.1]}]}},
        measured(custom="x", share=0.9) | {"gates": {"metrics": [{"name": "success", "share": 0.9}, {"name": "slow", "share": 0.1}]}},
        *(measured(custom="x", bad_values=[value]) for value in ("a", "a" * 100, True, 1e9, -1e9)),
        *(measured(cost={"above": above}) for above in (0, 1e9, "p50")),
        measured(custom="x", bad_below=2, bad_above=2),
        measured(custom="x", bad_below=0),
        measured(custom="x", bad=False, bad_above=3),
        document(gates={"metrics": [{"name": "cost", "cost": {}}, {"name": "success"}]}),
        document(gates={"profile": "none", "metrics": [{"name": "e", "http": {"url": "https://x.example", "field": "v", "min": 1}}]}),
    ],
)  # fmt: skip
def test_what_may_be_written_up_to_its_limit(source: dict[str, Any]) -> None:
    plan = build_plan(source)
    assert load_plan(dump_plan(plan)) == plan
