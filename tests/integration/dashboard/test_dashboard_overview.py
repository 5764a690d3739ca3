"""The overview with many rollouts: sort, filter, group, and commands for all that are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.machine import Phase
from rollout.interfaces.auth.roles import create_token
from rollout.interfaces.dashboard import formatting
from rollout.interfaces.views.listing import ORDERS, ListOrder
from tests.integration.dashboard.test_dashboard_states import keep
from tests.integration.dashboard.world import World, world
from tests.support.values import plan

AGENTS = ("agent_reception", "agent_billing")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One rollout in each phase for each of two agents, in a service in which nothing moves."""
    with world(tmp_path_factory.mktemp("many"), ticking=False) as found:
        for i, phase in enumerate(Phase):
            for j, agent in enumerate(AGENTS):
                index, number = 10 * i + j, f"+1415777{i:02}{j:02}"
                of = plan([number], name=f"{agent[6:]}-{phase}", canary={"agent_id": agent, "agent_version": 7 + j})
                keep(found, index, [number], of, phase=phase)
        yield found


def ids(text: str) -> list[str]:
    return re.findall(r'<tr id="r-(\w+)"', text)


def names(text: str) -> list[str]:
    return re.findall(r'<td class="c-name"><a [^>]*><bdi>([^<]*)</bdi>', text)


def shown(many: World, query: str = "", role: str = "viewer") -> str:
    return many.ask("GET", f"/?{query}", cookie=many.session(role)).text


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_can_be_filtered(many: World, phase: Phase) -> None:
    assert sorted(names(shown(many, f"phase={phase}"))) == sorted(f"{a[6:]}-{phase}" for a in AGENTS)


def test_an_agent_is_filtered_and_shown_with_its_version(many: World) -> None:
    text = shown(many, "agent=agent_billing")
    assert len(ids(text)) == len(Phase) and "agent_billing v8" in text and "agent_reception v7" not in text
    assert len(ids(shown(many, "agent=agent_billing:8"))) == len(Phase)
    assert ids(shown(many, "agent=agent_billing:7")) == ids(shown(many, "agent=agent_bill")) == []


@pytest.mark.parametrize("order", ListOrder)
def test_the_orders_are_those_of_rollout_list(many: World, order: ListOrder) -> None:
    newest = many.server.service.backend.list(live=True)
    wanted = [r["id"] for r in sorted(newest, key=ORDERS[order])]
    assert ids(shown(many, f"sort={order}"))[: len(wanted)] == wanted


def test_what_needs_a_person_comes_first(many: World) -> None:
    assert all(name.endswith("held") for name in names(shown(many))[:2])
    assert names(shown(many, "sort=nothing")) == names(shown(many)), "an unknown order counts as none"


def test_rollouts_are_grouped_by_agent(many: World) -> None:
    text = shown(many, "group=agent&sort=name")
    live = [name for name in names(text) if Phase(name.partition("-")[2]).is_live]
    assert live == sorted(live), "billing before reception, by name in each"
    assert re.findall(r'<tr class="group"><th[^>]*><bdi>(\w+)</bdi> <span class="quiet">(\d+) live', text) == [
        ("agent_billing", "5"),
        ("agent_reception", "5"),
    ]
    assert 'class="group"' not in shown(many)


def test_ended_ones_are_listed_by_their_end(tmp_path_factory: pytest.TempPathFactory) -> None:
    with world(tmp_path_factory.mktemp("ends"), ticking=False) as service:
        for index in range(25):
            keep(service, index, [f"+14157780{index:03}"], phase=Phase.STOPPED, name=f"s-{index:02}")
        with service.app.database.write() as connection:
            now = service.app.database.now(connection)
            for index in range(25):  # what began last ended first
                at = (now - timedelta(hours=index)).strftime("%Y-%m-%d %H:%M:%S.000000")
                connection.exec_driver_sql("UPDATE rollouts SET updated_at=? WHERE name=?", (at, f"s-{index:02}"))
        first = shown(service, "q=s-")
        assert names(first) == [f"s-{i:02}" for i in range(20)]
        older = re.search(r'<a href="/\?([^"]*)">Older ones', first)
        assert older is not None
        assert names(shown(service, older[1].replace("&amp;", "&"))) == [f"s-{i:02}" for i in range(20, 25)]


def test_what_a_plan_tries_is_one_phrase() -> None:
    canary = {"agent_id": "a", "agent_version": 7}
    for more, words in (
        ({"canary": canary}, "a v7"),
        ({"canary": canary, "baseline": {"agent_id": "a", "agent_version": 6}}, "a v6 → v7"),
        ({"canary": canary, "baseline": {"agent_id": "b", "agent_version": 6}}, "a v7"),
    ):
        assert formatting.tried(plan(["+14157770000"], **more)) == words


# ------------------------------------------------------------------ commands for many


@pytest.fixture
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service of its own, with three rollouts at their first step: a command for all touches all there are."""
    with world(tmp_path_factory.mktemp("busy")) as found:
        for name in ("alpha", "beta", "gamma"):
            found.start(name=name)
        yield found


def bulk(service: World, command: str, query: str = "") -> tuple[str, dict[str, str]]:
    """The confirmation, and its form with every box ticked."""
    text = service.ask("GET", f"/bulk/{command}?{query}", cookie=service.session("operator")).text
    form = dict(re.findall(r'name="(at-\w+|csrf|request_id)" value="([^"]*)"', text))
    return text, {**form, "reason": "a test"}


def phases(service: World) -> set[str]:
    return {str(r.phase) for r in service.app.store.summaries()}


def test_the_line_is_stopped_resumed_and_rolled_back(busy: World) -> None:
    cookie = busy.session("operator")
    text, form = bulk(busy, "pause")
    assert "Stop the line: pause 3 rollouts" in text and "3 rollouts, 3 numbers" in text
    for name in ("alpha", "beta", "gamma"):
        assert name in text
    assert len([n for n in form if n.startswith("at-")]) == 3
    done = busy.ask("POST", "/bulk/pause", form, cookie=cookie)
    assert done.status == 200 and "Pause: 3 ordered" in done.text
    assert phases(busy) == {"paused"}
    again = busy.ask("POST", "/bulk/pause", form, cookie=cookie)
    assert "Pause: 3 ordered" in again.text, "the same form twice is one command"
    [(actor, reason)] = busy.reasons(next(n for n in form if n.startswith("at-")).removeprefix("at-"), "pause")
    assert reason == "a test" and actor.endswith("operator of a test")

    text, form = bulk(busy, "resume", "q=beta")
    assert "Resume 1 rollout" in text and "alpha" not in text
    busy.ask("POST", "/bulk/resume", form, cookie=cookie)
    assert sorted(str(r.phase) for r in busy.app.store.summaries()) == ["paused", "paused", "progressing"]

    text, form = bulk(busy, "rollback")
    assert "Roll back 3 rollouts" in text
    busy.ask("POST", "/bulk/rollback", form, cookie=cookie)
    busy.until(lambda: phases(busy) == {"rolled_back"})


def test_one_that_moved_on_is_refused_and_the_others_are_not(busy: World) -> None:
    cookie = busy.session("operator")
    _, form = bulk(busy, "pause")
    first = next(name for name in form if name.startswith("at-"))
    moved = busy.ask("POST", "/bulk/pause", {**form, first: "1.3"}, cookie=cookie).text
    assert "Pause: 2 ordered, 1 refused" in moved and "Some rollouts refused the command" in moved
    assert busy.phase(first.removeprefix("at-")) == "progressing"


def test_a_bulk_command_without_a_reason_or_a_rollout_changes_nothing(busy: World) -> None:
    cookie = busy.session("operator")
    _, form = bulk(busy, "pause")
    none = {name: value for name, value in form.items() if not name.startswith("at-")}
    for wrong, words in (({**form, "reason": " "}, "say why"), (none, "choose at least one")):
        answer = busy.ask("POST", "/bulk/pause", wrong, cookie=cookie)
        assert answer.status == 422 and "Nothing was changed" in answer.text and words in answer.text.lower()
    assert phases(busy) == {"progressing"}


def test_a_bulk_command_reaches_only_what_the_token_covers(busy: World) -> None:
    other = busy.start(name="delta")
    numbers = [busy.app.store.load(other)[0].targets[0].number]
    _, token = create_token(busy.app.store, "operator", "limited", None, numbers, "cli:test")
    cookie = busy.ask("POST", "/sign-in", {"token": token}).headers["set-cookie"].partition(";")[0]
    page = busy.ask("GET", "/bulk/pause", cookie=cookie)
    assert "pause 1 rollout" in page.text and "alpha" not in page.text
    _, form = bulk(busy, "pause")  # the boxes of everything
    form = {**form, "csrf": page.csrf}
    assert "1 ordered, 3 refused" in busy.ask("POST", "/bulk/pause", form, cookie=cookie).text
    assert busy.phase(other) == "paused"


def test_an_order_for_several_is_a_request_for_each() -> None:
    by = By("cli:me", "why", "one")
    assert by.each("a").request_id != by.each("b").request_id
    assert by.each("a") == by.each("a")
    assert By("cli:me").each("a").request_id is None


# ------------------------------------------------------------------ in a browser


@pytest.mark.browser
def test_the_list_sorts_filters_and_groups_while_one_looks(many: World, page: Page) -> None:
    many.sign_in(page, "operator")
    page.goto(many.url)
    rows = page.locator("table.rollouts").first.locator("tr[id]")
    expect(rows).to_have_count(10)
    page.get_by_label("Sort by").select_option("name")
    expect(rows.first).to_contain_text("billing-held")
    expect(page).to_have_url(re.compile("sort=name"))
    page.get_by_label("Agent").fill("agent_reception")
    page.get_by_label("Agent").press("Enter")
    expect(rows).to_have_count(5)
    page.get_by_label("Group by").select_option("agent")
    expect(page.locator("tr.group")).to_contain_text("agent_reception")
    page.get_by_label("Phase").select_option("promoted")
    expect(page.locator("tr[id]")).to_have_count(1)
    expect(page.locator("tr[id]")).to_contain_text("reception-promoted")
    page.reload()
    expect(page.get_by_label("Phase")).to_have_value("promoted")


@pytest.mark.browser
def test_pausing_what_is_shown_asks_first_and_leaves_out_what_is_not_ticked(busy: World, page: Page) -> None:
    busy.sign_in(page, "operator")
    page.goto(f"{busy.url}/?sort=name")
    page.get_by_role("link", name="Stop the line").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Stop the line: pause 3 rollouts")
    page.get_by_role("checkbox", name=re.compile("beta")).uncheck()
    page.get_by_label("Reason").fill("an incident")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pause: 2 ordered")
    states = {r.name: str(r.phase) for r in busy.app.store.summaries()}
    assert states == {"alpha": "paused", "beta": "progressing", "gamma": "paused"}
    page.get_by_role("link", name="All rollouts").click()
    page.get_by_role("link", name="Resume 2").click()
    page.get_by_label("Reason").fill("it is over")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Resume: 2 ordered")


def test_a_viewer_is_offered_no_bulk_command(many: World) -> None:
    assert "/bulk/" not in shown(many)
    assert "/bulk/resume" in shown(many, role="operator")
    assert "/bulk/resume" not in shown(many, role="responder") and "/bulk/pause" in shown(many, role="responder")
