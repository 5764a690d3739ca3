"""The served description against the service: schemathesis with all its checks, and its completeness."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import InvalidArgument, Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tests.integration.api.live import AGENT, Live

load_all_checks()

# Checks that do not hold by design, and why. Everything else is checked on every operation.
BODIES_WITH_RULES = {  # valid by shape, refused by rules that a schema cannot say (422 that names the field)
    "POST /api/v1/rollouts",
    "POST /api/v1/plans/check",
    "POST /api/v1/plans/rehearse",
    "POST /api/v1/plans/tests",
    "POST /api/v1/tokens",
    "POST /hooks/alerts/{source}",
}
UNKNOWN_IDS = {  # any text is an id or a name by shape, and none exists
    f"POST /api/v1/rollouts/{{id}}/{c}"
    for c in ("promote", "set", "ship", "pause", "resume", "stop", "adopt", "restore", "rollback")
} | {
    "GET /api/v1/rollouts/{id}",
    "GET /api/v1/rollouts/{id}/history",
    "GET /api/v1/rollouts/{id}/report",
    "DELETE /api/v1/tokens/{id}",
    "GET /api/v1/numbers/{number}",
}
KNOWN: dict[str, set[str]] = {
    # a cursor, too, is only good if we gave it; the webhook needs a signature over its bytes
    "positive_data_acceptance": BODIES_WITH_RULES
    | UNKNOWN_IDS
    | {"GET /api/v1/rollouts", "POST /hooks/retell", "GET /readyz"},
    # whatever is signed is taken and read later, so that the answer never waits; unsigned it is 401
    # parameters that it does not know are passed over; a request counts as wrong for a missing Authorization, too,
    # which is added below
    "negative_data_rejection": {"POST /hooks/retell", "GET /api/v1/rollouts"},
}
STREAMS = {"/api/v1/rollouts/{id}/events"}  # do not end by themselves; test_api_events has them


OPERATIONS = [
    *sorted(BODIES_WITH_RULES | UNKNOWN_IDS),
    "GET /api/v1/rollouts",
    "GET /api/v1/tokens",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "POST /hooks/retell",
]


@pytest.fixture(scope="module")
def described(service: Live) -> Any:
    return schemathesis.openapi.from_url(f"{service.server.url}/api/v1/openapi.json")


def test_no_operation_is_left_out(service: Live) -> None:
    document = service.ask("GET", "/api/v1/openapi.json", token=None).json
    all_ = {f"{m.upper()} {path}" for path, operations in document["paths"].items() for m in operations}
    assert all_ == set(OPERATIONS) | {f"GET {path}" for path in STREAMS}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_service_is_as_described(service: Live, described: Any, name: str) -> None:
    method, path = name.split(" ")
    role = "trigger" if path.startswith("/hooks/") else "admin"
    headers = {"Authorization": f"Bearer {service.tokens[role]}"}
    excluded = [CHECKS.get_one(check) for check, names in KNOWN.items() if name in names]
    answered = []

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        try:
            strategy = described[path][method].as_strategy(generation_mode=mode)
            strategy.validate()
        except (Unsatisfiable, InvalidArgument):
            continue  # nothing of this operation can be wrong

        @given(case=strategy)
        @settings(
            max_examples=12,
            deadline=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        def run(case: Any) -> None:
            service.server.service.attempts.forget()
            answer = case.call_and_validate(headers=headers, excluded_checks=excluded, timeout=20)
            answered.append(answer.status_code)

        with contextlib.suppress(Unsatisfiable):
            run()
    assert answered, "nothing was asked"


def test_rollouts_of_every_phase_are_as_described(service: Live, described: Any) -> None:
    headers = {"Authorization": f"Bearer {service.tokens['admin']}"}
    numbers = {phase: service.number() for phase in ("paused", "held", "rolled_back", "stopped", "promoted")}
    found = {phase: service.start(number, name=f"of-phase-{phase}") for phase, number in numbers.items()}
    found["pending"] = service.start(confirmed=False, name="of-phase-pending", start="2099-01-01T00:00:00Z")
    found["progressing"] = service.start(name="of-phase-judged", gates={"profile": "low-traffic"})
    theirs = [{"agent_id": AGENT, "agent_version": 5, "weight": 1}]
    service.sandbox.edit(numbers["held"], inbound_agents=theirs)
    orders = {"paused": "pause", "held": "promote", "rolled_back": "rollback", "stopped": "stop"}
    for phase, order in orders.items():
        service.ask("POST", f"/api/v1/rollouts/{found[phase]}/{order}", {})
    service.ask("POST", f"/api/v1/rollouts/{found['promoted']}/promote", {"full": True})
    service.until(lambda: service.show(found["promoted"])["weight"] == 1)
    service.until(lambda: service.ask("POST", f"/api/v1/rollouts/{found['promoted']}/promote", {}).status == 200)
    for phase, id_ in found.items():
        service.until(lambda p=phase, i=id_: service.show(i)["phase"] == p, 30)
    service.until(lambda: service.show(found["progressing"])["gates"], 30)
    for id_ in found.values():
        for path in ("/api/v1/rollouts/{id}", "/api/v1/rollouts/{id}/history"):
            case = described[path]["get"].Case(path_parameters={"id": id_})
            case.call_and_validate(headers=headers, timeout=20)
    assert service.show(found["progressing"])["verdict"].keys() == {"outcome", "alarm", "reason"}
    assert service.show(found["paused"])["verdict"] is None


def test_the_description_is_complete(service: Live) -> None:
    document = service.ask("GET", "/api/v1/openapi.json", token=None).json
    assert document["openapi"].startswith("3.1") and document["info"]["description"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"] and operation["description"] and operation["tags"], where
            assert operation["x-right"] and "security" in operation, where
            assert "500" in operation["responses"] and "421" in operation["responses"], where
            for parameter in operation.get("parameters", []):
                assert parameter.get("description"), (where, parameter["name"])
            for code, answer in operation["responses"].items():
                assert answer["description"], (where, code)
                if int(code) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (where, code)
    for name, model in document["components"]["schemas"].items():
        assert model.get("description"), name


def test_every_reference_in_the_description_leads_somewhere(service: Live) -> None:
    document = service.ask("GET", "/api/v1/openapi.json", token=None).json
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            found.update(v for k, v in value.items() if k == "$ref" and isinstance(v, str))
            value = list(value.values())
        if isinstance(value, list):
            for each in value:
                walk(each)

    walk(document)
    assert "#/components/schemas/ProblemDocument" in found
    for reference in found:
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in place, reference
            place = place[part]


def test_every_answer_carries_the_headers(service: Live) -> None:
    for path in ("/healthz", "/api/v1/rollouts", "/nothing", "/api/v1/openapi.json"):
        for token in ("admin", None):
            headers = service.ask("GET", path, token=token).headers
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store" and len(headers["x-request-id"]) == 16
            assert "server" not in headers and "access-control-allow-origin" not in headers
