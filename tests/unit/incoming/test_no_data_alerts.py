"""Alerts that monitoring is blind: they concern nobody but a rule that names them."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.incoming.alerts import reaction, read
from rollout.domain.plan.notices import AlertRule as Rule
from rollout.domain.plan.notices import Reaction
from tests.unit.incoming.alert_rules import rule


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
