"""Alerts of other tools in one form, and which plans they concern."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rollout.domain.alerts import FIRING, OTHER, RESOLVED, SOURCES, Alert, clean, reaction, read
from rollout.domain.errors import InputError
from rollout.domain.plan.notices import AlertRule as Rule
from rollout.domain.plan.notices import Reaction


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


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("incident.triggered", FIRING),
        ("incident.reopened", FIRING),
        ("incident.resolved", RESOLVED),
        ("incident.acknowledged", OTHER),
        ("incident.annotated", OTHER),
    ],
)
def test_pagerduty(event: str, status: str) -> None:
    data = {"id": "P1", "title": "t", "service": {"id": "S", "summary": "voice"}, "priority": None}
    found = read("pagerduty", {"event": {"event_type": event, "occurred_at": "2026", "data": data}})[0]
    assert found.status == status and found.labels["service"] == "voice" and found.labels["service_id"] == "S"


@pytest.mark.parametrize(
    ("transition", "kind", "status"),
    [
        ("Triggered", "error", FIRING),
        ("Re-Triggered", "error", FIRING),
        ("Recovered", "success", RESOLVED),
        ("No Data", "error", OTHER),
        ("Warn", "warning", OTHER),
        ("", "error", FIRING),
        ("", "success", RESOLVED),
        ("", "info", OTHER),
        ("Something New", "error", OTHER),
    ],
)
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
    first, second = ({"alert_id": "7", "transition": t, "date": d} for t, d in (("Triggered", "1"), ("Renotify", "2")))
    assert read("datadog", first)[0].key == read("datadog", second)[0].key
    plain = {"labels": {"a": "b"}}
    keys = {read("generic", {**plain, "status": s})[0].key for s in ("firing", "resolved")}
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("alertmanager", lambda labels: {"alerts": [{"status": "firing", "labels": labels}]}),
        ("grafana", lambda labels: {"state": "alerting", "tags": labels}),
        ("datadog", lambda labels: {"transition": "Triggered", **labels}),
        ("generic", lambda labels: {"status": "firing", "labels": labels}),
    ],
)
def test_alerts_without_a_name_are_told_apart_by_their_labels(source: str, body: Any) -> None:
    def key(**labels: str) -> str:
        return read(source, body(labels))[0].key

    assert len({key(title="a"), key(title="b"), key(title="a", tags="c:d"), key(tags="c:d")}) == 4
    moving = [{"date": "1"}, {"date": "2", "alert_type": "error"}, {}]
    assert len({key(title="a", **labels) for labels in moving}) == 1


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


def test_a_generic_alert_says_what_it_is_about() -> None:
    with pytest.raises(InputError, match="labels: write at least one label"):
        read("generic", {"status": "firing"})
    assert read("generic", {"status": "firing", "numbers": ["+14157774444"]})[0].labels == {}


def test_too_many_and_unknown_tools() -> None:
    with pytest.raises(InputError, match="too many"):
        read("generic", {"alerts": [{"status": "firing", "labels": {"a": "b"}}] * 1001})
    with pytest.raises(InputError, match="alertmanager, grafana"):
        read("nagios\x1b[31m", {})


def test_texts_from_outside_become_one_line() -> None:
    assert clean("a\r\n b\x1b[31m\u202ec\t d", 100) == "a b [31m c d"
    assert clean("x" * 1000, 10) == "x" * 10


# ------------------------------------------------------------------ monitoring that is blind


def _grafana(status: str, name: str, annotations: dict[str, str] | None = None, **labels: str) -> Any:
    one = {"status": status, "labels": {"alertname": name, "team": "a", **labels}, "annotations": annotations or {}}
    return "grafana", {"alerts": [one]}


def _alertmanager(name: str, **labels: str) -> Any:
    return "alertmanager", _grafana("firing", name, None, **labels)[1]


def _datadog(**body: str) -> Any:
    return "datadog", {"alert_id": "7", "alert_type": "error", "tags": "team:a", **body}


BLIND = {
    "grafana DatasourceError": _grafana("firing", "DatasourceError", rulename="Drops"),
    "grafana DatasourceNoData": _grafana("firing", "DatasourceNoData", rulename="Drops"),
    "grafana resolved": _grafana("resolved", "DatasourceNoData"),
    "grafana reason NoData": _grafana("firing", "Drops", {"grafana_state_reason": "NoData"}),
    "grafana reason Error": _grafana("firing", "Drops", {"grafana_state_reason": "Error"}),
    "grafana reason as a label": _grafana("firing", "Drops", grafana_state_reason="Error, KeepLast"),
    "grafana reason MissingSeries": _grafana("resolved", "Drops", {"grafana_state_reason": "MissingSeries"}),
    "grafana state": _grafana("firing", "Drops", grafana_state="Error"),
    "grafana alertstate": _grafana("firing", "Drops", alertstate="NoData"),
    "through alertmanager": _alertmanager("DatasourceError"),
    "watchdog": _alertmanager("Watchdog"),
    "dead man's switch": _alertmanager("DeadMansSwitch"),
    "dead man's snitch": _alertmanager("DeadMansSnitch"),
    "dead man's snitch spelled": _alertmanager("Dead Man's Snitch"),
    "prometheus e2e": _alertmanager("PrometheusAlertmanagerE2eDeadManSwitch"),
    "datadog transition": _datadog(transition="No Data", title="Drops"),
    "datadog again": _datadog(transition="Re-No Data", title="Drops"),
    "datadog title": _datadog(title="[No data] Drops on {service:frontdesk}"),
    "datadog title again": _datadog(title="[Re-No data] Drops"),
    "datadog status": _datadog(title="Drops", status="No Data"),
    "generic": ("generic", {"status": "firing", "labels": {"alertname": "DatasourceError", "team": "a"}}),
}


@pytest.mark.parametrize("name", BLIND)
def test_an_alert_that_monitoring_is_blind_concerns_nobody(name: str) -> None:
    (found,) = read(*BLIND[name])
    assert found.is_blind
    assert reaction((rule(team="a"), rule("pause", team="a")), [], found) is None


@pytest.mark.parametrize("name", BLIND)
def test_a_rule_that_names_the_blind_alert_has_it(name: str) -> None:
    (found,) = read(*BLIND[name])
    label = next((label for label in ("alertname", "title") if label in found.labels), None)
    assert label is not None
    named = Rule.model_validate({"match": {label: found.labels[label], "team": "a"}, "action": "pause"})
    assert reaction((named,), [], found) is Reaction.PAUSE
    other = Rule.model_validate({"match": {label: "Other", "team": "a"}})
    assert reaction((other, rule(team="a")), [], found) is None


@pytest.mark.parametrize(
    "found",
    [
        _grafana("firing", "Drops"),
        _grafana("firing", "Drops", {"grafana_state_reason": "Updated"}),
        _grafana("firing", "ErrorRate"),
        _grafana("firing", "NoDataFromCallers"),
        _grafana("firing", "Drops", state="error"),
        _alertmanager("DatasourceLatency"),
        _alertmanager("WatchdogRestarts"),
        _alertmanager("Drops", alert_status="down"),
        _datadog(transition="Triggered", title="[Triggered] Drops"),
        _datadog(title="[Triggered] No data loss"),
    ],
)
def test_an_alert_about_calls_still_acts(found: Any) -> None:
    (alert_,) = read(*found)
    assert not alert_.is_blind
    assert reaction((rule(team="a"),), [], alert_) is Reaction.ROLLBACK


@pytest.mark.parametrize(
    ("written", "advised"),
    [
        (True, 'put it in quotes: "true"'),
        (False, 'put it in quotes: "false"'),
        (3, 'put it in quotes: "3"'),
        (0.5, 'put it in quotes: "0.5"'),
        (None, "write text"),
        (["a"], "write text"),
        ("", "write text"),
    ],
)
def test_a_value_of_match_that_is_no_text_is_advised_as_a_label_is_spelled(written: object, advised: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"is not text; {advised}")):
        Rule.model_validate({"match": {"page": written}})
