"""The alert rules, the board and the document name only metrics that are exported, with labels they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from jobs.notify import Notify
from rollout.adapters.exposition.prometheus import metrics_text
from rollout.interfaces.cli import app
from tests.integration.exposition.scrape import Ticks
from tests.support.scene import ME, Scene

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "config" / "prometheus" / "alerts.yaml"
BOARD = ROOT / "config" / "grafana" / "rollout.json"
DOCUMENT = ROOT / "docs" / "metrics.md"
NAME = re.compile(r"\brollout_[a-z_]+")
LABELS = {
    "rollout",
    "id",
    "phase",
    "reason",
    "waiting_for",
    "arm",
    "state",
    "verdict",
    "kind",
    "outcome",
    "address",
    "operation",
    "method",
    "status",
    "version",
    "le",
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> dict[str, str]:
    """Every exported series name with its kind: histograms by their three, counters with their ending."""
    path = tmp_path_factory.mktemp("metrics") / "rollout.db"
    path.write_bytes(sqlite_template.read_bytes())
    with Scene(f"sqlite:///{path}") as scene:
        scene.given_at(1)
        scene.app.commands.rollback(scene.id, ME)
        scene.drive()
        Notify(scene.app).fill()
        text = metrics_text(scene.app, Ticks(last_good=scene.clock.boot())).decode()
    names: dict[str, str] = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        names |= {name + ending: kind for ending in endings}
    assert names
    return names


def rules() -> list[dict[str, Any]]:
    document = YAML(typ="safe", pure=True).load(ALERTS.read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(BOARD.read_text())["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for query in panel["targets"]:
            yield panel["title"], query["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_each_expression_uses_what_is_exported(where: str, expression: str, exported: dict[str, str]) -> None:
    used = NAME.findall(expression)
    assert used, where
    assert [name for name in used if name not in exported] == []
    for open_, close in ("()", "{}", "[]"):
        assert expression.count(open_) == expression.count(close), where
    grouped = {w.strip() for part in re.findall(r"\bby \(([^)]*)\)", expression) for w in part.split(",")}
    matched = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    assert grouped | matched <= LABELS, where
    # A counter is only ever looked at by its growth, and a gauge never so.
    for name in used:
        growth = re.search(rf"(?:rate|increase)\({name}(?:{{[^}}]*}})?\[", expression)
        counts = exported[name] == "counter"
        assert bool(growth) == counts or exported[name] == "histogram", f"{where}: {name}"


def test_every_metric_is_on_the_board_or_in_a_rule(exported: dict[str, str]) -> None:
    used = {name for _, expression in expressions() for name in NAME.findall(expression)}
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in used}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in exported} <= shown | used


def test_the_document_names_every_metric_and_no_other(exported: dict[str, str]) -> None:
    plain = {re.sub("_(bucket|sum|count)$", "", n) if exported[n] == "histogram" else n for n in exported}
    rows = set(re.findall(r"^\| `(rollout_[a-z_]+)`", DOCUMENT.read_text(), re.MULTILINE))
    assert rows == plain


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_rule_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]
    assert len(rule["annotations"]["description"]) > 30
    assert re.fullmatch("Rollout[A-Za-z]+", rule["alert"])


def test_rules_and_panels_are_each_there_once() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 10
    ids = [panel["id"] for panel in panels()]
    assert ids == list(range(1, len(ids) + 1))
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        assert panel["datasource"]["uid"] == "${datasource}"


def test_commands_in_the_rules_exist() -> None:
    known = set(get_command(app).commands)
    text = ALERTS.read_text()
    assert set(re.findall(r"`rollout ([a-z]+)", text)) <= known
