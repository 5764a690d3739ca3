"""The page of tokens: made and shown once, last use, revoked; for admins, within the numbers of each."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from rollout.interfaces.auth.roles import ALLOWED, Right, Role, create_token, list_tokens
from rollout.interfaces.dashboard.tokens_page import ROLE_WORDS
from tests.integration.dashboard.world import World, world


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("tokens"), ticking=False) as found:
        yield found


def make(still: World, cookie: str, **form: str) -> tuple[int, str]:
    csrf = still.ask("GET", "/tokens", cookie=cookie).csrf
    answer = still.ask("POST", "/tokens", {"csrf": csrf, **form}, cookie=cookie)
    return answer.status, answer.text


def signed_in(still: World, token: str) -> str:
    answer = still.ask("POST", "/sign-in", {"token": token})
    assert answer.status == 303, answer.text
    return answer.headers["set-cookie"].partition(";")[0]


def test_a_token_is_shown_once_and_works(still: World) -> None:
    cookie = still.session("admin")
    status, text = make(
        still, cookie, name="Maria", role="responder", expires="90d", numbers="+14157770001,+14157770002"
    )
    [secret] = re.findall(r"rlt_[A-Za-z0-9_-]{43}", text)
    assert status == 201 and "It is not shown again" in text
    assert secret not in still.ask("GET", "/tokens", cookie=cookie).text
    [row] = [r for r in list_tokens(still.app.store) if r.name == "Maria"]
    assert (row.role, row.numbers) == ("responder", ("+14157770001", "+14157770002"))
    assert row.expires_at is not None and round((row.expires_at - row.created_at).total_seconds() / 86_400) == 90
    assert row.created_by.endswith("admin of a test")
    assert row.last_used_at is None
    assert still.ask("GET", "/", cookie=signed_in(still, secret)).status == 200
    [row] = [r for r in list_tokens(still.app.store) if r.name == "Maria"]
    assert row.last_used_at is not None, "to sign in is to use it"


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"name": " ", "role": "viewer"}, "name: "),
        ({"name": "x", "role": "king"}, "no role 'king'"),
        ({"name": "x", "role": "viewer", "expires": "tomorrow"}, "tomorrow"),
        ({"name": "x", "role": "viewer", "numbers": "4155550100"}, "E.164"),
    ],
)
def test_a_wrong_form_makes_nothing_and_says_why(still: World, form: dict[str, str], words: str) -> None:
    before = len(list_tokens(still.app.store))
    status, text = make(still, still.session("admin"), **form)
    assert status == 422 and "Nothing was changed" in text
    assert words.lower() in text.replace("&#39;", "'").lower()
    assert len(list_tokens(still.app.store)) == before


def test_a_revoked_token_is_out_at_once(still: World) -> None:
    id_, secret = create_token(still.app.store, "viewer", "Paul", None, None, "cli:test")
    theirs, cookie = signed_in(still, secret), still.session("admin")
    csrf = still.ask("GET", "/tokens", cookie=cookie).csrf
    done = still.ask("POST", "/tokens/revoke", {"csrf": csrf, "id": id_}, cookie=cookie)
    assert (done.status, done.headers["location"]) == (303, "/tokens?did=revoke")
    assert still.ask("GET", "/", cookie=theirs).status == 303
    assert '<span class="badge">revoked</span>' in still.ask("GET", "/tokens", cookie=cookie).text
    unknown = still.ask("POST", "/tokens/revoke", {"csrf": csrf, "id": "nosuch"}, cookie=cookie)
    assert unknown.status == 404 and "no token nosuch" in unknown.text


def test_an_admin_of_some_numbers_stays_within_them(still: World) -> None:
    mine = ["+14157770011", "+14157770012"]
    _, token = create_token(still.app.store, "admin", "Part", None, mine, "cli:test")
    cookie = signed_in(still, token)
    other, _ = create_token(still.app.store, "viewer", "Elsewhere", None, ["+14157770099"], "cli:test")
    assert "Elsewhere" not in still.ask("GET", "/tokens", cookie=cookie).text
    assert make(still, cookie, name="all of them", role="viewer")[0] == 403
    assert make(still, cookie, name="one of mine", role="viewer", numbers=mine[0])[0] == 201
    csrf = still.ask("GET", "/tokens", cookie=cookie).csrf
    assert still.ask("POST", "/tokens/revoke", {"csrf": csrf, "id": other}, cookie=cookie).status == 404


@pytest.mark.parametrize("role", ["viewer", "responder", "operator"])
def test_others_get_a_sentence_and_a_way_back(still: World, role: str) -> None:
    answer = still.ask("GET", "/tokens", cookie=still.session(role))
    assert answer.status == 403 and f"role {role} may not do this" in answer.text and 'href="/"' in answer.text
    assert "/tokens" not in still.ask("GET", "/", cookie=still.session(role)).text


def test_every_role_has_words() -> None:
    assert set(ROLE_WORDS) == set(Role)
    assert [r for r in Role if Right.ADMIN in ALLOWED[r]] == [Role.ADMIN]


@pytest.mark.browser
def test_a_token_is_made_and_revoked_in_the_browser(still: World, page: Page) -> None:
    still.sign_in(page, "admin")
    page.goto(f"{still.url}/tokens")
    page.get_by_text("Create a token").click()
    page.get_by_label("Name: whose").fill("Night shift")
    page.get_by_label("Role").select_option("responder")
    page.get_by_role("button", name="Create token").click()
    expect(page.locator("#secret pre")).to_contain_text("rlt_")
    row = page.locator("tr", has_text="Night shift")
    expect(row).to_contain_text("never")
    row.get_by_text("Revoke", exact=True).click()
    row.get_by_role("button", name="Revoke Night shift").click()
    expect(page.get_by_text("The token is revoked.")).to_be_visible()
    expect(page.locator("#secret")).to_have_count(0)
