"""Alerts of other tools in one form, and which plans they concern."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.errors import InputError
from rollout.domain.incoming.alerts import FIRING, OTHER, RESOLVED, SOURCES, Alert, clean, reaction, read
from rollout.domain.plan.notices import Reaction
from tests.unit.incoming.alert_rules import rule


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
    assert reaction((rule(number=two),), [one, two], alert((one, two), number=one)) is None, "its label says one"


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("incident.triggered", FIRING),
        ("incident.reopened", FIRING),
        ("incident.escalated", FIRING),
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
    assert key(title="a", team="b") == key(team="b", title="a")
    moving = [{"date": "1"}, {"date": "2", "alert_type": "error"}, {}]
    assert len({key(title="a", **labels) for labels in moving}) == 1


LINE = "+14157774444"
PAGERDUTY = {
    "id": "P1",
    "title": "Drops",
    "urgency": "high",
    "service": {"id": "S", "summary": "voice"},
    "priority": None,
}


@pytest.mark.parametrize(
    ("source", "body", "found"),
    [
        (
            "alertmanager",
            {
                "status": "resolved",
                "alerts": [
                    {
                        "status": "firing",
                        "labels": {"alertname": "Drops", "number": LINE, "level": 3, "on": True, "list": []},
                        "annotations": {"summary": "calls drop", "description": "more"},
                        "startsAt": "2026-01-01",
                        "fingerprint": "f1",
                    }
                ],
            },
            Alert(
                "alertmanager",
                "f1|2026-01-01",
                FIRING,
                {"alertname": "Drops", "number": LINE, "level": "3"},
                "calls drop",
                (LINE,),
                True,
                "Drops",
            ),
        ),
        (
            "grafana",
            {
                "status": "resolved",
                "title": "Drops",
                "alerts": [{"labels": {}, "annotations": {"description": "more"}, "fingerprint": "f1"}],
            },
            Alert("grafana", "f1|", RESOLVED, {}, "more", (), False, "Drops"),
        ),
        (
            "grafana",
            {"alerts": [{"status": "pending", "fingerprint": "f1", "startsAt": "2026-01-01"}]},
            Alert("grafana", "f1|2026-01-01", OTHER, {}, "", (), True, "alert"),
        ),
        (
            "grafana",
            {"ruleId": 3, "ruleName": "Drops", "title": "[Alerting] Drops", "state": "alerting", "tags": {"team": "a"}},
            Alert("grafana", "3", FIRING, {"team": "a", "alertname": "Drops"}, "", (), False, "Drops"),
        ),
        (
            "grafana",
            {"ruleId": 3, "title": "Drops", "state": "ok", "tags": {"from_number": LINE}, "message": "m"},
            Alert("grafana", "3", RESOLVED, {"from_number": LINE, "alertname": "Drops"}, "m", (LINE,), False, "Drops"),
        ),
        (
            "grafana",
            {"ruleId": 3, "state": "no_data"},
            Alert("grafana", "3", OTHER, {"alertname": "alert"}, "", (), False, "alert"),
        ),
        (
            "pagerduty",
            {"event": {"event_type": "incident.triggered", "occurred_at": "2026-01-01", "data": PAGERDUTY}},
            Alert(
                "pagerduty",
                "P1|",
                FIRING,
                {
                    "event_type": "incident.triggered",
                    "title": "Drops",
                    "urgency": "high",
                    "id": "P1",
                    "service": "voice",
                    "service_id": "S",
                },
                "Drops",
                (),
                True,
                "Drops",
            ),
        ),
        (
            "pagerduty",
            {"event": {"event_type": "incident.reopened", "occurred_at": "2026-01-01", "data": {"priority": {}}}},
            Alert(
                "pagerduty",
                "|2026-01-01",
                FIRING,
                {"event_type": "incident.reopened", "priority": "", "priority_id": ""},
                "incident",
                (),
                True,
                "incident",
            ),
        ),
        (
            "datadog",
            {
                "alert_id": 7,
                "aggreg_key": "c1",
                "transition": "Recovered",
                "title": "Drops",
                "body": "calls drop",
                "tags": f"team:a, to_number:{LINE},plain,title:other",
                "muted": True,
            },
            Alert(
                "datadog",
                "7|c1",
                RESOLVED,
                {
                    "alert_id": "7",
                    "aggreg_key": "c1",
                    "transition": "Recovered",
                    "title": "Drops",
                    "team": "a",
                    "to_number": LINE,
                },
                "calls drop",
                (LINE,),
                False,
                "Drops",
            ),
        ),
        (
            "datadog",
            {"aggreg_key": "c1", "transition": "Renotify", "title": "Drops"},
            Alert(
                "datadog",
                "|c1",
                FIRING,
                {"aggreg_key": "c1", "transition": "Renotify", "title": "Drops"},
                "Drops",
                (),
                False,
                "Drops",
            ),
        ),
        (
            "datadog",
            {"alert_id": "7", "tags": {"team": "a"}},
            Alert("datadog", "7|", OTHER, {"alert_id": "7"}, "alert", (), False, "alert"),
        ),
        (
            "generic",
            {
                "status": "firing",
                "labels": {"alertname": "Drops", "number": LINE},
                "numbers": ["+14157774445", LINE],
                "summary": "calls drop",
                "id": "i1",
                "starts_at": "2026-01-01",
            },
            Alert(
                "generic",
                "i1|2026-01-01",
                FIRING,
                {"alertname": "Drops", "number": LINE},
                "calls drop",
                ("+14157774445", LINE),
                True,
                "Drops",
            ),
        ),
        (
            "generic",
            {"status": "resolved", "labels": {"team": "a"}, "id": "i1"},
            Alert("generic", "i1|", RESOLVED, {"team": "a"}, "", (), True, "i1"),
        ),
    ],
)
def test_what_each_tool_sends_becomes_one_alert(source: str, body: Any, found: Alert) -> None:
    assert read(source, body) == [found]


def test_a_generic_alert_without_an_id_lasts_only_with_its_beginning() -> None:
    plain = {"status": "firing", "labels": {"team": "a"}}
    (nameless,), (begun,) = read("generic", plain), read("generic", {**plain, "starts_at": "2026-01-01"})
    assert (nameless.lasting, nameless.name) == (False, "alert")
    assert (begun.lasting, begun.key) == (True, f"{nameless.key}2026-01-01")
    other = read("generic", {**plain, "numbers": [LINE]})[0]
    assert other.key != nameless.key


@pytest.mark.parametrize(
    ("source", "make", "lengths"),
    [
        (
            "alertmanager",
            lambda x: {"alerts": [{"labels": {x: x}, "annotations": {"summary": x}, "fingerprint": x, "startsAt": x}]},
            {"key": 141, "summary": 200, "label": 100, "value": 200},
        ),
        ("alertmanager", lambda x: {"title": x, "alerts": [{"fingerprint": "f"}]}, {"name": 120}),
        (
            "grafana",
            lambda x: {"state": "ok", "ruleId": x, "ruleName": x, "message": x},
            {"key": 80, "name": 120, "summary": 300},
        ),
        (
            "pagerduty",
            lambda x: {"event": {"event_type": x, "occurred_at": x, "data": {"title": x}}},
            {"key": 1, "name": 200, "summary": 200, "event_type": 80},
        ),
        (
            "pagerduty",
            lambda x: {
                "event": {
                    "event_type": "incident.reopened",
                    "occurred_at": x,
                    "data": {"id": x, "service": {"summary": x, "id": x}},
                }
            },
            {"key": 261, "id": 200, "service": 200, "service_id": 80},
        ),
        (
            "datadog",
            lambda x: {"alert_id": x, "aggreg_key": x, "title": x, "body": x, "tags": [f"team:{x}"]},
            {"key": 401, "name": 200, "summary": 300, "team": 200, "alert_id": 200},
        ),
        (
            "generic",
            lambda x: {"status": "firing", "labels": {"a": x}, "id": x, "starts_at": x, "summary": x},
            {"key": 181, "name": 120, "summary": 300, "a": 200},
        ),
    ],
)
def test_texts_of_any_length_are_cut(source: str, make: Any, lengths: dict[str, int]) -> None:
    found = read(source, make("x" * 1000))[0]
    for name, length in lengths.items():
        match name:
            case "key" | "name" | "summary":
                text = getattr(found, name)
            case "label":
                (text,) = found.labels
            case "value":
                (text,) = found.labels.values()
            case _:
                text = found.labels[name]
        assert len(text) == length, name


def test_of_many_labels_the_first_two_hundred_count() -> None:
    labels = {f"l{i}": "x" for i in range(201)}
    assert list(read("generic", {"status": "firing", "labels": labels})[0].labels) == list(labels)[:200]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"status": "firing", "labels": {"a": "b"}, "severity": "x"}, "severity: no such field; write id, labels, "),
        ({"status": "firing", "x" * 61: 1}, "x" * 60 + ": no such field"),
        ({"status": "open", "labels": {"a": "b"}}, "status: write firing or resolved"),
        ({"status": "firing", "numbers": LINE}, "numbers: write a list of E.164 numbers"),
        ({"status": "firing", "numbers": ["14157774444"]}, "numbers: write a list of E.164 numbers"),
        ({"status": "firing", "labels": []}, "labels: write at least one label"),
    ],
)
def test_a_generic_alert_is_refused_by_the_field_that_is_wrong(body: Any, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read("generic", body)
    assert refused.value.message.startswith(message)


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
    assert len(read("generic", {"alerts": [{"status": "firing", "labels": {"a": "b"}}] * 1000})) == 1000
    with pytest.raises(InputError, match="alertmanager, grafana"):
        read("nagios\x1b[31m", {})
    with pytest.raises(InputError, match=f"no hook for {'n' * 40}; write one of"):
        read("n" * 41, {})


def test_texts_from_outside_become_one_line() -> None:
    assert clean("a\r\n b\x1b[31m\u202ec\t d", 100) == "a b [31m c d"
    assert clean("x" * 1000, 10) == "x" * 10
