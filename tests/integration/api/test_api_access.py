"""Who may do what: every route with every role, tokens that must not work, and limits to numbers."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.exposition.prometheus import metrics_text
from rollout.adapters.store.tokens import AccessStore
from rollout.domain.errors import Forbidden, InputError, SettingsError
from rollout.interfaces.api.guard import Guarded, needs
from rollout.interfaces.api.middleware import refuse_unsafe_bind
from rollout.interfaces.auth.roles import ALLOWED, Caller, Right, Role, create_token, list_tokens, revoke_token
from tests.integration.api.live import Live, live

# What each route must need; a new route fails here until somebody has thought about it.
EXPECTED = {
    ("GET", "/healthz"): "public",
    ("GET", "/readyz"): "public",
    ("GET", "/api/v1/openapi.json"): "public",
    ("GET", "/metrics"): "read",
    ("GET", "/api/v1/rollouts"): "read",
    ("POST", "/api/v1/rollouts"): "operate",
    ("GET", "/api/v1/rollouts/{id}"): "read",
    ("GET", "/api/v1/rollouts/{id}/history"): "read",
    ("GET", "/api/v1/rollouts/{id}/report"): "read",
    ("GET", "/api/v1/rollouts/{id}/events"): "read",
    ("POST", "/api/v1/rollouts/{id}/promote"): "operate",
    ("POST", "/api/v1/rollouts/{id}/set"): "operate",
    ("POST", "/api/v1/rollouts/{id}/ship"): "operate",
    ("POST", "/api/v1/rollouts/{id}/pause"): "halt",
    ("POST", "/api/v1/rollouts/{id}/resume"): "operate",
    ("POST", "/api/v1/rollouts/{id}/stop"): "operate",
    ("POST", "/api/v1/rollouts/{id}/adopt"): "operate",
    ("POST", "/api/v1/rollouts/{id}/restore"): "operate",
    ("POST", "/api/v1/rollouts/{id}/rollback"): "halt",
    ("POST", "/api/v1/plans/check"): "operate",
    ("POST", "/api/v1/plans/tests"): "operate",
    ("POST", "/api/v1/plans/rehearse"): "operate",
    ("GET", "/api/v1/tokens"): "admin",
    ("POST", "/api/v1/tokens"): "admin",
    ("DELETE", "/api/v1/tokens/{id}"): "admin",
    ("GET", "/api/v1/numbers/{number}"): "read",
    ("POST", "/hooks/alerts/{source}"): "trigger",
    ("POST", "/hooks/retell"): "signature",
}
MATRIX = {
    "read": {"viewer", "responder", "operator", "admin"},
    "halt": {"responder", "operator", "admin"},
    "operate": {"operator", "admin"},
    "admin": {"admin"},
    "trigger": {"trigger"},
}


def table(service: Live) -> dict[tuple[str, str], str]:
    found = {}
    for route in service.server.api.routes:
        if isinstance(route, Guarded):
            for method in route.methods:
                found[method, route.path] = str(route.right)
    return found


def test_every_route_declares_what_it_needs(service: Live) -> None:
    assert table(service) == EXPECTED
    assert all(isinstance(route, Guarded) for route in service.server.api.routes)


def test_a_route_that_declares_nothing_cannot_be_made() -> None:
    async def endpoint() -> None: ...

    with pytest.raises(RuntimeError, match="declares no right"):
        Guarded("/open", endpoint)
    assert Guarded("/fine", endpoint, **needs(Right.READ)).right is Right.READ


def test_the_route_table_is_the_description(service: Live) -> None:
    document = service.ask("GET", "/api/v1/openapi.json", token=None).json
    described = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    assert described == set(EXPECTED) - {("GET", "/api/v1/openapi.json")}


def body_for(path: str) -> Any:
    if "tokens" in path:
        return {"role": "viewer", "name": "matrix"}
    if path.endswith("generic"):
        return {"status": "firing", "labels": {"nobody": "listens"}}
    return {}


@pytest.mark.parametrize("role", [*Role, None, "revoked", "expired", "unknown"])
def test_the_matrix(service: Live, role: str | None) -> None:
    token = role
    if role == "revoked":
        id_, token = service.token("admin")
        revoke_token(service.app.store, id_, "tests")
    elif role == "expired":
        id_, token = service.token("admin")
        database = service.app.database
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE tokens SET expires_at = '2020-01-01' WHERE id = ?", (id_,))
    elif role == "unknown":
        token = "rlt_" + "x" * 43
    for (method, path), right in EXPECTED.items():
        if right in ("public", "signature") or path.endswith("/events"):
            continue
        real = path.replace("{id}", "no-such-rollout"[:15]).replace("{number}", "+19995550000")
        real = real.replace("{source}", "generic")
        answer = service.ask(method, real, body_for(real) if method == "POST" else None, token=token)
        if role in (None, "revoked", "expired", "unknown"):
            assert answer.status in (401, 429), (method, path)
        elif role in MATRIX[right]:
            assert answer.status not in (401, 403), (method, path, answer.raw)
        else:
            assert answer.status == 403 and "role" in answer.json["detail"], (method, path)


def test_the_roles_contain_each_other() -> None:
    assert ALLOWED[Role.VIEWER] < ALLOWED[Role.RESPONDER] < ALLOWED[Role.OPERATOR] < ALLOWED[Role.ADMIN]
    assert ALLOWED[Role.TRIGGER] == {Right.TRIGGER}
    assert not Caller("x", "x", Role.ADMIN, frozenset({"+1"})).covers(["+1", "+2"])
    assert not Caller("x", "x", Role.ADMIN, frozenset({"+1"})).covers([])


WRONG = [
    "",
    "Bearer",
    "Bearer ",
    "Basic rlt_x",
    "Token {token}",
    "bearer",
    "Bearer {token}x",
    "Bearer {cut}",
    "Bearer {token}, Bearer {token}",
    "Bearer {upper}",
    "Bearer rlt_" + "é" * 43,
    "Bearer rlt_" + "a" * 9000,
    "Bearer rlt_' OR '1'='1",
    "{token}",
]


@pytest.mark.parametrize("header", WRONG)
def test_odd_authorization_is_401(service: Live, header: str) -> None:
    token = service.tokens["admin"]
    value = header.format(token=token, cut=token[:-1], upper=token.upper())
    answer = service.ask(
        "GET", "/api/v1/rollouts", token=None, headers={"Authorization": value.encode("utf-8").decode("latin-1")}
    )
    assert answer.status in (401, 429) and answer.headers["content-type"] == "application/problem+json"
    if answer.status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_is_nowhere_else(service: Live) -> None:
    service.ask(
        "GET", f"/api/v1/rollouts?token={service.tokens['admin']}&access_token={service.tokens['admin']}", token=None
    )
    refused = service.ask("GET", f"/api/v1/rollouts?access_token={service.tokens['admin']}", token=None)
    cookie = service.ask(
        "GET", "/api/v1/rollouts", token=None, headers={"Cookie": f"rollout_session={service.tokens['admin']}"}
    )
    assert refused.status == cookie.status == 401


def test_tokens_over_http(service: Live) -> None:
    made = service.ask("POST", "/api/v1/tokens", {"role": "viewer", "name": "short"})
    assert made.status == 201
    token, id_ = made.json["token"], made.json["id"]
    assert token.startswith("rlt_") and len(token) == 47
    assert service.ask("GET", "/api/v1/rollouts", token=token).status == 200
    row = service.until(
        lambda: [t for t in service.ask("GET", "/api/v1/tokens").json["items"] if t["id"] == id_ and t["last_used_at"]]
    )[0]
    assert "token" not in row and "hash" not in row and row["created_by"].startswith("token:")
    assert service.ask("DELETE", f"/api/v1/tokens/{id_}").json == {"id": id_, "revoked": True}
    assert service.ask("GET", "/api/v1/rollouts", token=token).status == 401
    assert service.ask("DELETE", f"/api/v1/tokens/{id_}").json["revoked"] is False
    assert service.ask("DELETE", "/api/v1/tokens/nosuch").status == 404
    for wrong in (
        {"role": "god", "name": "x"},
        {"role": "viewer", "name": ""},
        {"role": "viewer", "name": "a\u202eb"},
        {"role": "viewer", "name": "x", "expires": "2020-01-01T00:00:00Z"},
        {"role": "viewer", "name": "x", "numbers": []},
        {"role": "viewer", "name": "x", "numbers": ["x"]},
        {"role": "viewer", "name": "x", "id": "mine"},
    ):
        assert service.ask("POST", "/api/v1/tokens", wrong).status == 422, wrong


def test_the_database_does_not_know_tokens(service: Live) -> None:
    path = service.app.settings.database_url.removeprefix("sqlite:///")
    dump = "\n".join(sqlite3.connect(path).iterdump())
    assert all(token not in dump for token in service.tokens.values())
    assert Path(path).stat().st_mode & 0o077 == 0


def test_a_limited_token_sees_and_touches_only_its_numbers(service: Live) -> None:
    mine, other = service.number(), service.number()
    own, foreign = service.start(mine, name="mine"), service.start(other, name="foreign")
    both = service.start(service.number(), service.number(), name="both")
    _, token = service.token("operator", numbers=[mine])
    assert service.ask("GET", f"/api/v1/rollouts/{own}", token=token).status == 200
    for id_ in (foreign, both, "foreign"):
        for method, path in (
            ("GET", ""),
            ("GET", "/history"),
            ("GET", "/events"),
            ("POST", "/rollback"),
            ("POST", "/pause"),
            ("POST", "/promote"),
        ):
            answer = service.ask(method, f"/api/v1/rollouts/{id_}{path}", {} if method == "POST" else None, token=token)
            assert (
                answer.status == 404
                and answer.json["detail"] == f"there is no rollout {id_}; `rollout list` shows them"
            )
    assert service.show(foreign)["phase"] == "progressing"
    assert [r["id"] for r in service.ask("GET", "/api/v1/rollouts", token=token).json["items"]] == [own]
    assert service.ask("GET", f"/api/v1/numbers/{other}", token=token).status == 404
    assert service.ask("GET", f"/api/v1/numbers/{other}?fresh=true", token=token).status == 404
    assert service.ask("GET", f"/api/v1/numbers/{mine}", token=token).status == 200
    third = service.number()
    for plan in (service.plan(third), service.plan(third, numbers=[{"nickname": "*"}])):
        for path in ("/api/v1/rollouts", "/api/v1/plans/check"):
            answer = service.ask("POST", path, {"plan": plan}, token=token)
            assert answer.status == 403 and "plan.numbers" in answer.json["detail"]


def test_a_limited_token_reads_the_metrics_of_its_rollouts_alone(
    service: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.server.service, "metrics", lambda: metrics_text(service.app))
    number = service.number()
    own = service.start(number, name='mine",id="x')
    foreign = service.start(name=f'theirs {{id="{own}"}}')
    _, token = service.token("viewer", numbers=[number])
    everything = service.ask("GET", "/metrics").raw.decode()
    assert own in everything and foreign in everything
    seen = service.ask("GET", "/metrics", token=token)
    text = seen.raw.decode()
    assert seen.status == 200 and f'id="{own}"' in text
    assert foreign not in text and "theirs" not in text and "rollout_rollouts{" not in text
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples and all(f'id="{own}"' in line for line in samples)
    _, elsewhere = service.token("viewer", numbers=[service.number()])
    nothing = service.ask("GET", "/metrics", token=elsewhere).raw.decode()
    assert all(line.startswith("#") for line in nothing.splitlines())


def test_a_limited_admin_makes_no_wider_token(service: Live) -> None:
    number = service.number()
    _, token = service.token("admin", numbers=[number])
    for numbers in (None, [number, service.number()]):
        body = {"role": "viewer", "name": "wider", **({} if numbers is None else {"numbers": numbers})}
        assert service.ask("POST", "/api/v1/tokens", body, token=token).status == 403
    made = service.ask(
        "POST", "/api/v1/tokens", {"role": "viewer", "name": "as wide", "numbers": [number]}, token=token
    )
    assert made.status == 201
    listed = service.ask("GET", "/api/v1/tokens", token=token).json["items"]
    assert {t["name"] for t in listed} == {"as wide", "admin of a test"}
    victim = next(t.id for t in list_tokens(service.app.store) if t.numbers is None)
    assert service.ask("DELETE", f"/api/v1/tokens/{victim}", token=token).status == 404


def test_request_ids_are_each_tokens_own(service: Live) -> None:
    id_ = service.start(name="smuggling")
    _, other = service.token("operator")
    first = service.ask(
        "POST", f"/api/v1/rollouts/{id_}/pause", {"request_id": "shared", "reason": "a"}, token="operator"
    )
    second = service.ask("POST", f"/api/v1/rollouts/{id_}/resume", {"request_id": "shared"}, token=other)
    assert first.json["phase"] == "paused" and second.status == 200 and second.json["phase"] == "progressing"


def test_refusals_sign_ins_and_tokens_are_in_a_chain_that_verifies(service: Live) -> None:
    id_, _ = service.token("viewer")
    revoke_token(service.app.store, id_, "tests")
    assert service.ask("GET", "/api/v1/rollouts", token="nobody's").status == 401
    assert service.ask("POST", "/api/v1/tokens", {"role": "viewer", "name": "x"}, token="viewer").status == 403
    access = AccessStore(service.app.database)
    kinds = {"token_created", "token_revoked", "token_refused", "refused"}
    service.until(lambda: kinds <= {e.kind for e in access.history()})
    assert access.check() == []
    assert all(token not in e.text for e in access.history() for token in service.tokens.values())


def test_without_tokens_loopback_reads_and_says_so(tmp_path: Path) -> None:
    with live(tmp_path, tokens=False, ticking=False) as open_:
        assert open_.ask("GET", "/api/v1/rollouts", token=None).status == 200
        for path in (
            "/api/v1/rollouts/x/rollback",
            "/api/v1/rollouts/x/promote",
            "/api/v1/rollouts",
            "/api/v1/tokens",
            "/hooks/alerts/generic",
        ):
            answer = open_.ask("POST", path, {}, token=None)
            assert answer.status == 401 and "there is no token yet" in answer.json["detail"]
        with pytest.raises(SettingsError, match="there is no token yet"):
            refuse_unsafe_bind(open_.app.settings, open_.app.store, "0.0.0.0")
        for host in ("::", "", "192.0.2.7", "no-such-name.invalid"):
            with pytest.raises(SettingsError):
                refuse_unsafe_bind(open_.app.settings, open_.app.store, host)
        for host in ("127.0.0.1", "::1", "localhost", "127.0.0.9"):
            refuse_unsafe_bind(open_.app.settings, open_.app.store, host)
        id_, _ = open_.token("viewer")
        refuse_unsafe_bind(open_.app.settings, open_.app.store, "0.0.0.0")
        assert open_.ask("GET", "/api/v1/rollouts", token=None).status == 401
        revoke_token(open_.app.store, id_, "tests")
        # the last token is gone: the doors stay shut, and the address is unsafe again
        assert open_.ask("GET", "/api/v1/rollouts", token=None).status == 401
        with pytest.raises(SettingsError):
            refuse_unsafe_bind(open_.app.settings, open_.app.store, "0.0.0.0")


def test_token_functions_name_the_field(service: Live) -> None:
    store = service.app.store
    now = service.app.store.now()
    for given, word in (
        (("god", "x", None, None), "role"),
        (("viewer", " ", None, None), "name"),
        (("viewer", "x", now - timedelta(1), None), "expires"),
        (("viewer", "x", now.replace(tzinfo=None) + timedelta(9), None), "expires"),
        (("viewer", "x", None, ["4157774444"]), "numbers"),
    ):
        with pytest.raises(InputError, match=word):
            create_token(store, *given, "tests")
    with pytest.raises(Forbidden):
        create_token(store, "viewer", "x", None, None, "tests", frozenset({"+14157774444"}))
    with pytest.raises(InputError, match="no token"):
        revoke_token(store, "nosuch", "tests")
