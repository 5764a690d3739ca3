"""Who gets in: forms prove where they come from, roles are kept, headers are on every page. No browser here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi import FastAPI

from rollout.interfaces.auth.roles import ALLOWED, Right, Role, create_token, revoke_token
from rollout.interfaces.dashboard.page_route import PageRoute, safe_next, shown
from tests.integration.dashboard.world import World, world
from tests.support.journal import given_by_people

COMMANDS = ("promote", "set", "ship", "pause", "resume", "stop", "adopt", "restore", "rollback")


def page_routes(service: World) -> list[PageRoute]:
    api = service.server.api
    assert isinstance(api, FastAPI)
    found = [r for r in _flat(api.routes) if isinstance(r, PageRoute)]
    assert len(found) > 20
    return found


def _flat(routes: object) -> Iterator[object]:
    for route in routes:
        yield route
        router = getattr(route, "original_router", None) or getattr(route, "router", None)
        if router is not None:
            yield from _flat(router.routes)


def address(service: World, path: str, id_: str, number: str) -> str:
    return path.replace("{id}", id_).replace("{text}", number).replace("{name}", "page.css")


@pytest.fixture(scope="module")
def rollout_id(service: World) -> str:
    return service.start(name="doors")


def number_of(service: World, id_: str) -> str:
    return service.app.store.load(id_)[0].targets[0].number


def test_every_page_route_declares_a_right(service: World) -> None:
    for route in page_routes(service):
        assert isinstance(route.page_right, Right)
    with pytest.raises(RuntimeError, match="declares no right"):
        PageRoute("/x", lambda: None)
    with pytest.raises(RuntimeError, match="declares no right"):
        PageRoute("/x", lambda: None, openapi_extra={})
    assert PageRoute("/x", lambda: None, **shown(Right.READ)).page_right is Right.READ


BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_a_browser_gets_errors_as_pages_with_a_way_back(service: World) -> None:
    for method, path, status in (
        ("GET", "/no-such-page", 404),
        ("GET", "/docs", 404),
        ("GET", "/rollouts/x/y/z", 404),
        ("GET", "/sign-out", 405),
        ("POST", "/nothing", 404),
        ("DELETE", "/", 405),
    ):
        answer = service.ask(method, path, headers=BROWSER)
        assert answer.status == status and answer.headers["content-type"].startswith("text/html"), path
        assert '<a class="button" href="/">' in answer.text and "There is nothing here" in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    unknown_host = service.ask("GET", "/", headers={**BROWSER, "Host": "elsewhere.example"})
    assert unknown_host.status == 421 and "ROLLOUT_ALLOWED_HOSTS" in unknown_host.text
    assert unknown_host.headers["content-type"].startswith("text/html")


def test_a_program_gets_errors_as_json(service: World) -> None:
    for path, headers in (("/no-such-page", {}), ("/api/v1/nothing", BROWSER), ("/api/v1/rollouts", BROWSER)):
        answer = service.ask("GET", path, headers=headers)
        assert answer.headers["content-type"] == "application/problem+json", path


def test_head_is_answered_wherever_a_page_is(service: World, rollout_id: str) -> None:
    number, cookie = number_of(service, rollout_id), service.session("admin")
    for route in page_routes(service):
        if "GET" in route.methods:
            path = address(service, route.path, rollout_id, number)
            head = service.ask("HEAD", path, cookie=cookie)
            assert (head.status, head.text) == (200, ""), path


def test_no_page_without_a_session(service: World, rollout_id: str) -> None:
    for route in page_routes(service):
        if route.page_right is Right.PUBLIC:
            continue
        path = address(service, route.path, rollout_id, number_of(service, rollout_id))
        method = next(iter(route.methods - {"HEAD"}))
        answer = service.ask(method, path)
        if method == "GET" and not path.endswith("/events"):
            assert (answer.status, answer.headers["location"][:14]) == (303, "/sign-in?next="), path
        else:
            assert answer.status == 401, path
        assert "doors" not in answer.text


def test_the_matrix_of_roles(service: World, rollout_id: str) -> None:
    number = number_of(service, rollout_id)
    for role in ("viewer", "responder", "operator", "admin"):
        cookie = service.session(role)
        for route in page_routes(service):
            if "GET" not in route.methods or route.page_right is Right.PUBLIC or route.path.endswith("/events"):
                continue
            answer = service.ask("GET", address(service, route.path, rollout_id, number), cookie=cookie)
            allowed = route.page_right in ALLOWED[Role(role)]
            assert answer.status == (200 if allowed else 403), (role, route.path)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_viewer_changes_nothing(service: World, rollout_id: str, command: str) -> None:
    cookie = service.session("viewer")
    csrf = service.ask("GET", "/", cookie=cookie).csrf
    before = given_by_people(service.app.store, rollout_id)
    form = {"csrf": csrf, "reason": "no", "expect": service.position(rollout_id)}
    answer = service.ask("POST", f"/rollouts/{rollout_id}/{command}", form, cookie=cookie)
    assert answer.status == 403
    assert given_by_people(service.app.store, rollout_id) == before


BAD_ORIGINS = {
    "another site": {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    "a site that says it is ours": {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    "null": {"Origin": "null"},
    "a subdomain": {"Sec-Fetch-Site": "same-site"},
    "nothing said": {"Origin": None, "Sec-Fetch-Site": None},
}


@pytest.mark.parametrize("headers", BAD_ORIGINS.values(), ids=BAD_ORIGINS.keys())
def test_every_form_refuses_a_wrong_origin(service: World, rollout_id: str, headers: dict[str, str]) -> None:
    cookie = service.session("operator")
    csrf = service.ask("GET", "/", cookie=cookie).csrf
    before = len(service.app.store.history(rollout_id))
    for route in page_routes(service):
        if "POST" not in route.methods:
            continue
        form = {"csrf": csrf, "reason": "no", "expect": "1.1", "token": service.tokens["operator"], "plan": "{}"}
        path = address(service, route.path, rollout_id, "")
        answer = service.ask("POST", path, form, cookie=cookie, headers=headers)
        assert answer.status == 403, path
        assert "set-cookie" not in answer.headers
    assert len(service.app.store.history(rollout_id)) == before


@pytest.mark.parametrize("csrf", ["", "0" * 64, None])
def test_every_form_refuses_a_wrong_csrf_value(service: World, rollout_id: str, csrf: str | None) -> None:
    cookie = service.session("operator")
    if csrf is None:  # that of somebody else's session
        csrf = service.ask("GET", "/", cookie=service.session("viewer")).csrf
    for route in page_routes(service):
        if "POST" not in route.methods or route.path == "/sign-in":
            continue
        form = {"csrf": csrf, "reason": "no", "expect": "1.1", "plan": "{}"}
        path = address(service, route.path, rollout_id, "")
        assert service.ask("POST", path, form, cookie=cookie).status == 403, path
    assert service.ask("GET", "/", cookie=cookie).status == 200, "it did not even sign out"


def test_a_body_that_is_no_form_is_refused(service: World, rollout_id: str) -> None:
    headers = {"Content-Type": "text/plain"}
    path = f"/rollouts/{rollout_id}/pause"
    answer = service.ask("POST", path, {"reason": "x"}, cookie=service.session("operator"), headers=headers)
    assert answer.status == 415


def test_get_changes_nothing(service: World, rollout_id: str) -> None:
    """Every link an operator sees, followed: the journal is as long as before."""
    cookie = service.session("operator")
    before = [len(service.app.store.history(r.id)) for r in service.app.store.summaries()]
    seen, todo = set[str](), ["/", f"/rollouts/{rollout_id}"]
    while todo and len(seen) < 40:
        path = todo.pop()
        if path in seen or not path.startswith("/"):
            continue
        seen.add(path)
        found = Links()
        found.feed(service.ask("GET", path, cookie=cookie).text)
        todo += found.addresses
    assert f"/rollouts/{rollout_id}/rollback" in seen
    assert [len(service.app.store.history(r.id)) for r in service.app.store.summaries()] == before


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [v.partition("#")[0] for k, v in attrs if tag == "a" and k == "href" and v]


def test_headers_are_on_every_page(service: World, rollout_id: str) -> None:
    cookie = service.session("operator")
    number = number_of(service, rollout_id)
    paths = ["/", f"/rollouts/{rollout_id}", f"/numbers/{number}", "/new", "/sign-in", "/rollouts/nothing"]
    for path in [*paths, *(f"/rollouts/{rollout_id}/{c}" for c in COMMANDS)]:
        headers = service.ask("GET", path, cookie=cookie).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "script-src 'self';" in policy
        assert "style-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert "access-control-allow-origin" not in headers


def test_the_cookie(service: World) -> None:
    answer = service.ask("POST", "/sign-in", {"token": service.tokens["viewer"], "next": "/new"})
    assert answer.headers["location"] == "/new"
    cookie = answer.headers["set-cookie"].lower()
    for part in ("httponly", "samesite=strict", "path=/"):
        assert part in cookie
    value = answer.headers["set-cookie"].partition(";")[0]
    csrf = service.ask("GET", "/", cookie=value).csrf
    out = service.ask("POST", "/sign-out", {"csrf": csrf}, cookie=value)
    assert "max-age=0" in out.headers["set-cookie"].lower()
    assert service.ask("GET", "/", cookie=value).status == 303, "the old cookie is worth nothing"


def test_a_revoked_token_ends_its_session_at_once(service: World) -> None:
    id_, token = create_token(service.app.store, "viewer", "short", None, None, "cli:test")
    value = service.ask("POST", "/sign-in", {"token": token}).headers["set-cookie"].partition(";")[0]
    assert service.ask("GET", "/", cookie=value).status == 200
    revoke_token(service.app.store, id_, "cli:test")
    assert service.ask("GET", "/", cookie=value).status == 303


def test_a_token_of_some_numbers_sees_no_others(service: World, rollout_id: str) -> None:
    mine = service.start(name="mine-alone")
    numbers = [number_of(service, mine)]
    _, token = create_token(service.app.store, "operator", "limited", None, numbers, "cli:test")
    cookie = service.ask("POST", "/sign-in", {"token": token}).headers["set-cookie"].partition(";")[0]
    service.until(lambda: "mine-alone" in service.ask("GET", "/", cookie=cookie).text)
    listed = service.ask("GET", "/", cookie=cookie).text
    assert "doors" not in listed
    for path in (f"/rollouts/{rollout_id}", f"/rollouts/{rollout_id}/rollback", f"/rollouts/{rollout_id}/events"):
        assert service.ask("GET", path, cookie=cookie).status == 404
    assert service.ask("GET", f"/numbers/{number_of(service, rollout_id)}", cookie=cookie).status == 404


@pytest.mark.parametrize(
    "odd",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\r\nX: y", "/sign-in"],
)
def test_signing_in_never_leads_away(odd: str) -> None:
    assert safe_next(odd) == "/"
    assert safe_next("/rollouts/abc?tpage=2") == "/rollouts/abc?tpage=2"


@pytest.mark.parametrize("form", [{"expect": "1.1"}, {"reason": "yes"}, {"reason": "yes", "expect": "one"}])
def test_a_form_that_lacks_something_says_what(service: World, rollout_id: str, form: dict[str, str]) -> None:
    cookie = service.session("operator")
    csrf = service.ask("GET", "/", cookie=cookie).csrf
    answer = service.ask("POST", f"/rollouts/{rollout_id}/promote", {"csrf": csrf, **form}, cookie=cookie)
    assert answer.status == 422
    assert ("reason: " if "reason" not in form else "expect: ") in answer.text
    assert service.position(rollout_id) == "1.1"


def test_a_start_without_a_reason_starts_nothing(service: World) -> None:
    cookie = service.session("operator")
    csrf = service.ask("GET", "/", cookie=cookie).csrf
    form = {"csrf": csrf, "plan": json.dumps(service.plan(service.number(), name="unsaid")), "reason": " "}
    answer = service.ask("POST", "/new/start", form, cookie=cookie)
    assert answer.status == 422
    assert "reason: say why" in answer.text
    assert "unsaid" not in service.ask("GET", "/", cookie=cookie).text


def test_a_check_that_is_refused_is_no_page_within_the_page(service: World) -> None:
    cookie = service.session("viewer")
    form = {"csrf": service.ask("GET", "/new", cookie=cookie).csrf, "plan": "version: 1"}
    answer = service.ask("POST", "/new/check", form, cookie=cookie, headers={"HX-Request": "true"})
    assert answer.status == 403
    assert "operator" in answer.text
    assert "<html" not in answer.text


def test_the_same_form_twice_is_one_command(service: World) -> None:
    id_ = service.start()
    cookie = service.session("operator")
    csrf = service.ask("GET", "/", cookie=cookie).csrf
    form = {"csrf": csrf, "reason": "once", "expect": "1.1", "request_id": "the-same"}
    for _ in range(2):
        answer = service.ask("POST", f"/rollouts/{id_}/promote", form, cookie=cookie)
        assert (answer.status, answer.headers["location"]) == (303, f"/rollouts/{id_}?did=promote")
    assert service.position(id_) == "1.2"


def test_without_any_token_the_page_only_reads(tmp_path: Path) -> None:
    with world(tmp_path, tokens=False) as service:
        id_ = service.start()
        page = service.ask("GET", f"/rollouts/{id_}")
        assert page.status == 200
        assert "rollout token create" in page.text
        assert 'id="rollback"' not in page.text
        assert service.ask("POST", f"/rollouts/{id_}/rollback", {"reason": "x"}).status == 401
        assert service.ask("GET", f"/rollouts/{id_}/rollback").status in (303, 401)
        assert "rollout token create" in service.ask("GET", "/sign-in").text


def test_a_reason_that_forges_lines_is_refused_and_a_rollback_goes_on_without_them(service: World) -> None:
    id_, cookie = service.start(name="forged"), service.session("operator")
    csrf = service.ask("GET", "/", cookie=cookie).csrf
    form = {"csrf": csrf, "reason": "fine\r\nwhy all is well", "expect": service.position(id_)}
    refused = service.ask("POST", f"/rollouts/{id_}/pause", form, cookie=cookie)
    assert refused.status == 422 and "reason: write one line" in refused.text
    assert service.phase(id_) == "progressing"
    done = service.ask("POST", f"/rollouts/{id_}/rollback", form, cookie=cookie)
    assert done.status == 303
    assert [reason for _, reason in service.reasons(id_, "rollback")] == ["fine  why all is well"]
