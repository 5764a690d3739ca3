"""Behind a path prefix: every link, form, redirect, cookie, file and stream of every page stays under it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from rollout.domain.errors import SettingsError
from rollout.settings import Settings, load_settings
from tests.integration.dashboard.test_dashboard_page_route import BROWSER, address, number_of, page_routes
from tests.integration.dashboard.world import World, world

ROOT = "/some/rollout"
LINK = re.compile(r'(?:href|action|src|hx-get|hx-sse:connect)="(/[^"]*)"')


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("prefix"), root_path=ROOT) as found:
        yield found


@pytest.mark.parametrize("seen", [ROOT, ""], ids=["proxy leaves it", "proxy takes it away"])
def test_every_page_stays_under_its_prefix(behind: World, seen: str) -> None:
    id_, cookie = behind.start(name=f"prefixed-{len(seen)}"), behind.session("admin")
    looked = 0
    for route in page_routes(behind):
        if "GET" not in route.methods or route.path.endswith("/events") or route.path.startswith("/static"):
            continue
        path = address(behind, route.path, id_, number_of(behind, id_))
        answer = behind.ask("GET", seen + path, cookie=cookie)
        assert answer.status == 200, path
        if "content-disposition" in answer.headers:  # a file to keep, which links to nothing
            continue
        links = LINK.findall(answer.text)
        whole = "<html" in answer.text  # a part of a page may link to nothing
        assert (links or not whole) and all(link.startswith(f"{ROOT}/") for link in links), (path, links)
        looked += 1
    assert looked > 8
    page = behind.ask("GET", f"{seen}/rollouts/{id_}", cookie=cookie).text
    assert f'hx-sse:connect="{ROOT}/rollouts/{id_}/events' in page and f'data-root="{ROOT}"' in page
    files = {link for link in LINK.findall(page) if "/static/" in link}
    assert len(files) > 3 and all(behind.ask("GET", link).status == 200 for link in files)
    missing = behind.ask("GET", f"{seen}/no-such-page", headers=BROWSER)
    assert missing.status == 404 and f'href="{ROOT}/"' in missing.text


def test_redirects_and_cookies_stay_under_the_prefix(behind: World) -> None:
    away = behind.ask("GET", f"{ROOT}/new?x=1")
    assert away.headers["location"] == f"{ROOT}/sign-in?next=%2Fnew%3Fx%3D1"
    done = behind.ask("POST", f"{ROOT}/sign-in", {"token": behind.tokens["operator"], "next": "/new?x=1"})
    assert done.status == 303 and done.headers["location"] == f"{ROOT}/new?x=1"
    assert f"path={ROOT}/;" in done.headers["set-cookie"].lower() + ";"
    cookie = done.headers["set-cookie"].partition(";")[0]
    number, id_ = behind.number(), behind.start(name="moved")
    searched = behind.ask("GET", f"{ROOT}/?q=%2B{number[1:]}", cookie=cookie)
    assert searched.headers["location"] == f"{ROOT}/numbers/{number}"
    csrf = behind.ask("GET", f"{ROOT}/", cookie=cookie).csrf
    form = {"csrf": csrf, "reason": "x", "expect": behind.position(id_)}
    paused = behind.ask("POST", f"{ROOT}/rollouts/{id_}/pause", form, cookie=cookie)
    assert paused.headers["location"] == f"{ROOT}/rollouts/{id_}?did=pause"
    out = behind.ask("POST", f"{ROOT}/sign-out", form, cookie=cookie)
    assert out.headers["location"] == f"{ROOT}/sign-in"
    assert f"path={ROOT}/" in out.headers["set-cookie"].lower()


def test_a_path_that_only_begins_like_the_prefix_is_another(behind: World) -> None:
    assert behind.ask("GET", f"{ROOT}x/healthz").status == 404
    assert behind.ask("GET", f"{ROOT}/healthz").status == behind.ask("GET", "/healthz").status == 200
    assert f'"servers":[{{"url":"{ROOT}"}}]' in behind.ask("GET", f"{ROOT}/api/v1/openapi.json").text


def test_the_setting_is_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, taken in (("/rollout/", "/rollout"), ("/a/b-c", "/a/b-c"), ("/", ""), ("", "")):
        assert Settings(root_path=given).root_path == taken
    for wrong in ("rollout", "https://x/rollout", "/a//b", "/a/../b", "/a b", "/<x>", "//evil.example", "/a/."):
        monkeypatch.setenv("ROLLOUT_ROOT_PATH", wrong)
        with pytest.raises(SettingsError, match="ROLLOUT_ROOT_PATH: write only the path"):
            load_settings()
