"""Alerts of other tools in one form, and which plans they concern."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.alerts import FIRING, OTHER, RESOLVED, SOURCES, Alert, clean, reaction, read
from rollout.domain.errors import InputError
from rollout.domain.plan_notices import Alert as Rule
from rollout.domain.plan_notices import Reaction


def rule(action: str = "rollback", **match: str) -> Rule:
    return Rule.model_validate({"match": match, "action": action})


def alert(numbers: tuple[str, ...] = (), **labels: str) -> Alert:
    return Alert("generic", "k", FIRING, labels, "", numbers)


def test_all_labels_of_a_rule_must_fit() -> None:
    rules = (rule(team="a", severity="page"),)
    assert reaction(rules, [], alert(team="a", severity="page", more="x")) is Reaction.ROLLBACK
    assert reaction(rules, [], alert(team="a")) is None
    assert reaction(rules, [], alert(team="b", severity="page")) is None
    assert reaction((), [], alert(team="a")) is None


def test_a_rollback_wins_over_a_pause() -> None:
    rules = (rule("pause", team="a"), rule("rollback", team="a", severity="page"))
    assert reaction(rules, [], alert(team="a")) is Reaction.PAUSE
    assert reaction(rules, [], alert(team="a", severity="page")) is Reaction.ROLLBACK


def test_numbers_narrow_and_may_be_matched() -> None:
    one, two = "+14157774444", "+14157774445"
    assert reaction((rule(team="a"),), [one], alert((two,), team="a")) is None
    assert reaction((rule(team="a"),), [one], alert((two, one), team="a")) is Reaction.ROLLBACK
    assert reaction((rule(number=one),), [one], alert((one,))) is Reaction.ROLLBACK
    assert reaction((rule(number=two),), [one], alert((one,))) is None


@pytest.mark.parametrize(("event", "status"), [
    ("incident.triggered", FIRING), ("incident.reopened", FIRING), ("incident.resolved", RESOLVED),
    ("incident.acknowledged", OTHER), ("incident.annotated", OTHER),
])  # fmt: skip
def test_pagerduty(event: str, status: str) -> None:
    data = {"id": "P1", "title": "t", "service": {"id": "S", "summary": "voice"}, "priority": None}
    found = read("pagerduty", {"event": {"event_type": event, "occurred_at": "2026", "data": data}})[0]
    assert found.status == status and found.labels["service"] == "voice" and found.labels["service_id"] == "S"


@pytest.mark.parametrize(("transition", "kind", "status"), [
    ("Triggered", "error", FIRING), ("Re-Triggered", "error", FIRING), ("Recovered", "success", RESOLVED),
    ("No Data", "error", OTHER), ("Warn", "warning", OTHER), ("", "error", FIRING), ("", "success", RESOLVED),
    ("", "info", OTHER), ("Something New", "error", OTHER),
])  # fmt: skip
def test_datadog(transition: str, kind: str, status: str) -> None:
    body = {
        "alert_id": 7,
        "alert_type": kind,
        "tags": ["team:a", "plain"],
        **({"transition": transition} if transition else {}),
    }
    found = read("datadog", body)[0]
    assert found.status == status and found.labels["team"] == "a" and found.labels["alert_id"] == "7"


def test_an_outbreak_keeps_its_key_and_a_new_one_gets_another() -> None:
    def key(started: str, status: str = "firing") -> str:
        one = {"status": status, "labels": {"a": "b"}, "startsAt": started}
        return read("alertmanager", {"alerts": [one]})[0].key

    assert key("2026-01-01") == key("2026-01-01", "resolved") != key("2026-01-02")
    first, second = (
        {"alert_id": "7", "transition": t, "date": d} for t, d in (("Triggered", "1"), ("Renotify", "2"))
    )
    assert read("datadog", first)[0].key == read("datadog", second)[0].key
    plain = {"labels": {"a": "b"}}
    keys = {read("generic", {**plain, "status": s})[0].key for s in ("firing", "resolved")}
    assert len(keys) == 1


def test_the_older_grafana() -> None:
    body = {"ruleId": 3, "ruleName": "Drops", "state": "alerting", "tags": {"team": "a"}, "message": "m"}
    found = read("grafana", body)[0]
    assert (found.status, found.labels, found.lasting) == (FIRING, {"team": "a", "alertname": "Drops"}, False)
    assert read("grafana", {**body, "state": "ok"})[0].status == RESOLVED
    assert read("grafana", {**body, "state": "no_data"})[0].status == OTHER


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "body", [None, [], "x", 1, {}, {"alerts": [1]}, {"alerts": {}}, {"event": 1}, {"event": {"data": []}}]
)
def test_what_cannot_be_read_is_an_input_error(source: str, body: Any) -> None:
    with pytest.raises(InputError):
        read(source, body)


def test_too_many_and_unknown_tools() -> None:
    with pytest.raises(InputError, match="too many"):
        read("generic", {"alerts": [{"status": "firing", "labels": {"a": "b"}}] * 1001})
    with pytest.raises(InputError, match="alertmanager, grafana"):
        read("nagios\x1b[31m", {})


def test_texts_from_outside_become_one_line() -> None:
    assert clean("a\r\n b\x1b[31m\u202ec\t d", 100) == "a b [31m c d"
    assert clean("x" * 1000, 10) == "x" * 10
