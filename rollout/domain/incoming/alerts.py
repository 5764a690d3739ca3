"""Alerts of other tools, brought into one form, and which plans they concern. Pure.

Shapes read: Alertmanager's webhook version 4 and Grafana's, which is the same with more fields (also
Grafana's older one); PagerDuty's webhook v3; Datadog's, whose body the user writes from its variables (the
names of docs/api.md); and a plain one of ours. What is not understood is left out, never guessed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rollout.domain.errors import InputError
from rollout.domain.incoming import no_data_alerts
from rollout.domain.phone_numbers import is_e164
from rollout.domain.plan.notices import AlertRule as Rule
from rollout.domain.plan.notices import Reaction

SOURCES = ("alertmanager", "grafana", "pagerduty", "datadog", "generic")
MOST_ALERTS = 1000
UNNAMED = "alert"
KEEP = timedelta(days=30)  # how long an alert is known as handled: it may keep firing for weeks
FIRING, RESOLVED, OTHER = "firing", "resolved", "other"
_NUMBER_LABELS = ("number", "phone_number", "to_number", "from_number")
_GENERIC = frozenset({"status", "labels", "numbers", "summary", "id", "starts_at"})


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `key` names this very outbreak of it: the same key is the same event sent again.

    `lasting` False: the tool gives an outbreak no name of its own, so `key` comes back at the next one and
    is to be forgotten when the alert is resolved.
    """

    source: str
    key: str
    status: str
    labels: Mapping[str, str]
    summary: str
    numbers: tuple[str, ...] = ()
    lasting: bool = True
    name: str = field(default=UNNAMED)

    @property
    def is_blind(self) -> bool:
        """True if the alert says that monitoring has no data, and not that something is wrong."""
        return no_data_alerts.is_no_data_alert(self.name, self.labels)


def read(source: str, document: object) -> list[Alert]:
    """The alerts of one delivery. InputError names what is missing; unknown sources too."""
    if source not in SOURCES:
        raise InputError(f"source: there is no hook for {clean(source, 40)}; write one of: {', '.join(SOURCES)}")
    if not isinstance(document, Mapping):
        raise InputError(f"the body is not an object; send what {source} sends")
    found = list(_READERS[source](document))
    if not found:
        raise InputError(f"there is no alert in this body; {_EXPECTED[source]}")
    if len(found) > MOST_ALERTS:
        raise InputError(f"alerts: {len(found)} in one request are too many; send at most {MOST_ALERTS}")
    return found


def reaction(rules: Sequence[Rule], numbers: Sequence[str], alert: Alert) -> Reaction | None:
    """The reaction of a rollout with these `alerts:` and numbers to an alert; None: it is not concerned.

    All labels of one rule must be the alert's. If the alert names phone numbers, one of them must be the
    rollout's. An alert that says that monitoring is blind concerns only rules that name it, by its alertname or
    title. When several rules match, a rollback wins.
    """
    if alert.numbers and not set(alert.numbers) & set(numbers):
        return None
    matched = {
        rule.action
        for rule in rules
        if _matches(rule.match, alert) and (not alert.is_blind or no_data_alerts.NAMES & rule.match.keys())
    }
    if Reaction.ROLLBACK in matched:
        return Reaction.ROLLBACK
    return Reaction.PAUSE if matched else None


def clean(text: object, most: int) -> str:
    """Text from outside for a reason: one line, without control characters, cut to `most` characters."""
    plain = "".join(c if c.isprintable() else " " for c in str(text))
    return " ".join(plain.split())[:most]


def _matches(wanted: Mapping[str, str], alert: Alert) -> bool:
    return all(
        value in alert.numbers
        if label in _NUMBER_LABELS and label not in alert.labels
        else alert.labels.get(label) == value
        for label, value in wanted.items()
    )


# ------------------------------------------------------------------ one reader for each tool


def _alertmanager(document: Mapping[str, Any], source: str = "alertmanager") -> Iterator[Alert]:
    for item in _list(document.get("alerts")):
        labels = _labels(item.get("labels"))
        notes = _labels(item.get("annotations"))
        if no_data_alerts.REASON in notes:  # Grafana says there why it is in this state
            labels.setdefault(no_data_alerts.REASON, notes[no_data_alerts.REASON])
        status = str(item.get("status") or document.get("status") or "")
        started = clean(item.get("startsAt") or "", 60)
        print_ = clean(item.get("fingerprint") or "", 80) or _digest(labels)
        name = labels.get("alertname") or clean(document.get("title") or UNNAMED, 120)
        yield Alert(
            source,
            f"{print_}|{started}",
            status if status in (FIRING, RESOLVED) else OTHER,
            labels,
            notes.get("summary") or notes.get("description") or "",
            _numbers(labels),
            bool(started),
            name,
        )


def _grafana(document: Mapping[str, Any]) -> Iterator[Alert]:
    if "alerts" in document:
        yield from _alertmanager(document, "grafana")
        return
    state = document.get("state")
    if not isinstance(state, str):
        return
    name = clean(document.get("ruleName") or document.get("title") or UNNAMED, 120)
    labels = {**_labels(document.get("tags")), "alertname": name}
    key = clean(document.get("ruleId") or "", 80) or _digest(labels)
    status = {"alerting": FIRING, "ok": RESOLVED}.get(state, OTHER)
    yield Alert(
        "grafana", key, status, labels, clean(document.get("message") or "", 300), _numbers(labels), False, name
    )


_PAGERDUTY = {
    "incident.triggered": FIRING,
    "incident.reopened": FIRING,
    "incident.escalated": FIRING,
    "incident.resolved": RESOLVED,
}


def _pagerduty(document: Mapping[str, Any]) -> Iterator[Alert]:
    event = document.get("event")
    if not isinstance(event, Mapping) or not isinstance(event.get("data"), Mapping):
        return
    data = event["data"]
    labels = {"event_type": clean(event.get("event_type") or "", 80)}
    for label in ("title", "urgency", "status", "incident_key", "id"):
        if isinstance(data.get(label), str):
            labels[label] = clean(data[label], 200)
    for label in ("service", "priority", "escalation_policy"):
        part = data.get(label)
        if isinstance(part, Mapping):
            labels[label] = clean(part.get("summary") or "", 200)
            labels[f"{label}_id"] = clean(part.get("id") or "", 80)
    name = labels.get("title") or "incident"
    status = _PAGERDUTY.get(labels["event_type"], OTHER)
    # An incident keeps its id; if it is opened again, that is a new occurrence.
    again = clean(event.get("occurred_at") or "", 60) if labels["event_type"] == "incident.reopened" else ""
    yield Alert("pagerduty", f"{labels.get('id', '')}|{again}", status, labels, name, _numbers(labels), True, name)


_DATADOG = {
    "triggered": FIRING,
    "re-triggered": FIRING,
    "no data": OTHER,
    "re-no data": OTHER,
    "warn": OTHER,
    "re-warn": OTHER,
    "renotify": FIRING,
    "recovered": RESOLVED,
}


def _datadog(document: Mapping[str, Any]) -> Iterator[Alert]:
    known = ("title", "alert_id", "alert_type", "transition", "id", "tags", "body", "aggreg_key")
    if not any(key in document for key in known):
        return
    labels = {
        key: clean(value, 200)
        for key, value in document.items()
        if isinstance(value, str | int) and not isinstance(value, bool) and key not in ("tags", "body")
    }
    tags = document.get("tags")
    for tag in tags.split(",") if isinstance(tags, str) else tags if isinstance(tags, list) else []:
        label, colon, value = str(tag).strip().partition(":")
        if colon:
            labels.setdefault(label, clean(value, 200))
    transition = labels.get("transition", "").lower()
    kind = {"error": FIRING, "success": RESOLVED}.get(labels.get("alert_type", ""), OTHER)
    status = _DATADOG.get(transition, kind if not transition else OTHER)
    cycle = labels.get("aggreg_key", "")
    key = f"{labels.get('alert_id', '')}|{cycle}" if labels.get("alert_id") or cycle else _digest(labels)
    name = labels.get("title", UNNAMED)
    summary = clean(document.get("body") or name, 300)
    yield Alert("datadog", key, status, labels, summary, _numbers(labels), False, name)


def _generic(document: Mapping[str, Any]) -> Iterator[Alert]:
    items = _list(document["alerts"]) if "alerts" in document else [document]
    for item in items:
        odd = sorted(str(k) for k in item if k not in _GENERIC)
        if odd:
            raise InputError(f"{clean(odd[0], 60)}: no such field; write {', '.join(sorted(_GENERIC))}")
        status = item.get("status")
        if status not in (FIRING, RESOLVED):
            raise InputError("status: write firing or resolved")
        labels = _labels(item.get("labels"))
        named = item.get("numbers", [])
        if not isinstance(named, list) or not all(is_e164(n) for n in named):
            raise InputError('numbers: write a list of E.164 numbers, for example ["+14157774444"]')
        if not labels and not named:
            raise InputError("labels: write at least one label, for example {service: frontdesk}")
        own = clean(item.get("id") or "", 120)
        started = clean(item.get("starts_at") or "", 60)
        numbers = tuple(dict.fromkeys([*named, *_numbers(labels)]))
        yield Alert(
            "generic",
            f"{own or _digest({**labels, 'numbers': ','.join(numbers)})}|{started}",
            status,
            labels,
            clean(item.get("summary") or "", 300),
            numbers,
            bool(own or started),
            labels.get("alertname", own or UNNAMED),
        )


_READERS: dict[str, Any] = {
    "alertmanager": _alertmanager,
    "grafana": _grafana,
    "pagerduty": _pagerduty,
    "datadog": _datadog,
    "generic": _generic,
}
_EXPECTED = {
    "alertmanager": 'send {"alerts": [{"status", "labels", "annotations", "startsAt", "fingerprint"}]}',
    "grafana": 'send {"alerts": [...]} as contact points of type webhook do',
    "pagerduty": 'send {"event": {"event_type", "data": {...}}} as webhooks v3 do',
    "datadog": 'write the webhook\'s payload with "alert_id", "transition", "title" and "tags"',
    "generic": 'send {"status": "firing", "labels": {...}}',
}


def _list(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _labels(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    plain = (str, int, float)
    return {
        clean(k, 100): clean(v, 200)
        for k, v in list(value.items())[:200]
        if isinstance(v, plain) and not isinstance(v, bool)
    }


def _numbers(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(labels[k] for k in _NUMBER_LABELS if is_e164(labels.get(k))))


def _digest(labels: Mapping[str, str]) -> str:
    """A key for an alert without one: from its labels, without those that change while it lasts."""
    moving = ("transition", "alert_type", "status", "date", "id", no_data_alerts.REASON)
    still = {k: v for k, v in labels.items() if k not in moving}
    return hashlib.sha256(json.dumps(still, sort_keys=True).encode()).hexdigest()[:32]
