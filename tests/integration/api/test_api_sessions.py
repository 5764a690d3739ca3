"""Sessions of the page over real sockets, with a page of three routes that does what a page does."""

from __future__ import annotations

import http.cookies
import json
import sqlite3
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import Form, Request
from fastapi.responses import JSONResponse

from rollout.domain.errors import Unauthenticated
from rollout.interfaces.auth.roles import Right, revoke_token
from rollout.interfaces.dashboard.sign_in import sessions
from tests.integration.api.live import Answer, Live, live


def add_page(api: Any) -> None:
    """What the page does with rollout.interfaces.dashboard.sign_in.sessions."""

    @api.post("/t/sign-in")
    def sign_in(request: Request, token: str = Form(...)) -> JSONResponse:
        answer = JSONResponse({})
        answer.set_cookie(**sessions.sign_in(request, token))
        return answer

    @api.get("/t/me")
    def me(request: Request) -> JSONResponse:
        session = sessions.current_session(request)
        if session is None:
            raise Unauthenticated
        return JSONResponse({"actor": session.caller.actor, "role": session.caller.role, "csrf": session.csrf})

    @api.post("/t/change")
    def change(request: Request, csrf: str = Form("")) -> JSONResponse:
        sessions.check_form(request, {"csrf": csrf})
        session = sessions.current_session(request)
        assert session is not None
        session.caller.need(Right.HALT)
        return JSONResponse({"changed": True})

    @api.post("/t/sign-out")
    def sign_out(request: Request) -> JSONResponse:
        answer = JSONResponse({})
        answer.set_cookie(**sessions.sign_out(request))
        return answer


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("page"), ticking=False) as found:
        add_page(found.server.api)
        yield found


SAME = {"Sec-Fetch-Site": "same-origin"}


def form(page: Live, path: str, cookie: str | None, headers: dict[str, str] | None = None, **fields: str) -> Answer:
    sent = {"Content-Type": "application/x-www-form-urlencoded", **(SAME if headers is None else headers)}
    if cookie is not None:
        sent["Cookie"] = cookie
    return page.ask("POST", path, raw=urllib.parse.urlencode(fields).encode(), token=None, headers=sent)


def sign_in(page: Live, token: str) -> str:
    answer = form(page, "/t/sign-in", None, token=page.tokens.get(token, token))
    assert answer.status == 200, answer.raw
    return answer.headers["set-cookie"].partition(";")[0]


def me(page: Live, cookie: str | None) -> Answer:
    return page.ask("GET", "/t/me", token=None, headers={"Cookie": cookie} if cookie else {})


def test_a_token_signs_in_and_the_cookie_is_of_the_strict_kind(page: Live) -> None:
    answer = form(page, "/t/sign-in", None, token=page.tokens["responder"])
    morsel = next(iter(http.cookies.SimpleCookie(answer.headers["set-cookie"]).values()))
    assert morsel["httponly"] and morsel["samesite"] == "strict" and morsel["path"] == "/"
    assert not morsel["secure"] and morsel["max-age"] == str(12 * 3600)
    cookie = f"{morsel.key}={morsel.value}"
    found = me(page, cookie).json
    assert found["role"] == "responder" and found["actor"].startswith("token:")
    assert form(page, "/t/change", cookie, csrf=found["csrf"]).json == {"changed": True}
    path = page.app.settings.database_url.removeprefix("sqlite:///")
    dump = "\n".join(sqlite3.connect(path).iterdump())
    assert morsel.value not in dump and found["csrf"] not in dump


def test_roles_hold_on_the_page_too(page: Live) -> None:
    cookie = sign_in(page, "viewer")
    assert form(page, "/t/change", cookie, csrf=me(page, cookie).json["csrf"]).status == 403
    assert form(page, "/t/sign-in", None, token=page.tokens["trigger"]).status == 403
    assert form(page, "/t/sign-in", None, token="rlt_" + "x" * 43).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "file://"},
        {"Referer": "http://127.0.0.1/"},
    ],
)
def test_other_sites_are_refused(page: Live, headers: dict[str, str]) -> None:
    cookie = sign_in(page, "operator")
    csrf = me(page, cookie).json["csrf"]
    answer = form(page, "/t/change", cookie, headers, csrf=csrf)
    assert answer.status == 403 and "changed" not in answer.json
    assert form(page, "/t/sign-in", None, headers, token=page.tokens["operator"]).status == 403


def test_an_origin_of_ours_is_enough_for_older_browsers(page: Live) -> None:
    cookie = sign_in(page, "operator")
    headers = {"Origin": f"http://127.0.0.1:{page.server.port}"}
    assert form(page, "/t/change", cookie, headers, csrf=me(page, cookie).json["csrf"]).status == 200


def test_the_csrf_value_is_the_sessions_own(page: Live) -> None:
    one, two = sign_in(page, "operator"), sign_in(page, "operator")
    other = me(page, two).json["csrf"]
    for csrf in ("", "x", other, "é"):
        assert form(page, "/t/change", one, csrf=csrf).status == 403
    for kind in ("text/plain", "application/json", ""):
        sent = {"Content-Type": kind, "Cookie": one, **SAME}
        answer = page.ask(
            "POST", "/t/change", raw=b"csrf=" + me(page, one).json["csrf"].encode(), token=None, headers=sent
        )
        assert answer.status == 415


def test_the_api_does_not_look_at_cookies(page: Live) -> None:
    cookie = sign_in(page, "admin")
    for method, path in (("GET", "/api/v1/rollouts"), ("POST", "/api/v1/tokens"), ("POST", "/hooks/alerts/generic")):
        assert (
            page.ask(method, path, {} if method == "POST" else None, token=None, headers={"Cookie": cookie}).status
            == 401
        )


def test_signing_in_again_ends_the_session_before(page: Live) -> None:
    fixed = "rollout_session=chosen-by-an-attacker"
    assert me(page, fixed).status == 401
    answer = form(page, "/t/sign-in", fixed, token=page.tokens["viewer"])
    first = answer.headers["set-cookie"].partition(";")[0]
    assert first != fixed and me(page, fixed).status == 401 and me(page, first).status == 200
    second = form(page, "/t/sign-in", first, token=page.tokens["viewer"]).headers["set-cookie"].partition(";")[0]
    assert me(page, first).status == 401 and me(page, second).status == 200


def test_signing_out_and_revoking_end_it(page: Live) -> None:
    cookie = sign_in(page, "viewer")
    out = form(page, "/t/sign-out", cookie)
    assert "Max-Age=0" in out.headers["set-cookie"] and me(page, cookie).status == 401
    id_, token = page.token("operator")
    cookie = sign_in(page, token)
    assert me(page, cookie).status == 200
    revoke_token(page.app.store, id_, "tests")
    assert me(page, cookie).status == 401


@pytest.mark.parametrize(
    ("column", "minutes", "status"),
    [("seen_at", 29, 200), ("seen_at", 31, 401), ("expires_at", 12 * 60 + 1, 401), ("expires_at", 11 * 60, 200)],
)
def test_idle_and_absolute_ends(page: Live, column: str, minutes: int, status: int) -> None:
    cookie = sign_in(page, "viewer")
    with page.app.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE sessions SET {column} = datetime({column}, '-{minutes} minutes')")
    assert me(page, cookie).status == status


def test_wrong_tokens_are_refused_by_address_and_a_right_one_is_not(page: Live) -> None:
    attempts = page.server.service.attempts
    attempts.forget()
    for _ in range(attempts.MOST):
        attempts.count("127.0.0.1")
    assert form(page, "/t/sign-in", None, token="rlt_" + "x" * 43).status == 429
    assert page.ask("GET", "/api/v1/rollouts", token="rlt_" + "x" * 43).status == 429
    assert me(page, sign_in(page, "viewer")).status == 200
    attempts.forget()


def test_behind_tls_the_cookie_is_secure_and_bound_to_the_host(tmp_path: Any) -> None:
    with live(tmp_path, ticking=False, behind_tls_proxy=True) as found:
        add_page(found.server.api)
        answer = form(found, "/t/sign-in", None, token=found.tokens["viewer"])
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name == "__Host-rollout" and "Secure" in rest and "Domain" not in rest
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert json.loads(answer.raw) == {}
