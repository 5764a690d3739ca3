"""Names over HTTP, for tokens that see a part; and what is chosen among more live rollouts than fit on one page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.adapters.exposition.prometheus import metrics_text
from rollout.domain.errors import InputError
from rollout.domain.lifecycle.commands import By
from rollout.interfaces.backend.local import LocalBackend
from rollout.interfaces.backend.remote import RemoteBackend
from rollout.interfaces.dashboard import overview_page
from rollout.interfaces.dashboard.page_state import PageState
from tests.integration.api.live import Live, live
from tests.support.hand import Hand

OVER = 2100  # more than any page, and more than the caps that were once put before a filter


def twins(service: Live) -> tuple[str, str, str, str]:
    """(id, number) of two live rollouts of one name, as older databases may hold them: ids, then numbers."""
    one, two = service.number(), service.number()
    first, second = service.start(one, name=f"shop{one}"), service.start(two, name=f"other{two}")
    Hand(service.app.store).run("UPDATE rollouts SET name = :name WHERE id = :id", name=f"shop{one}", id=second)
    return first, second, one, two


def test_a_second_live_rollout_of_one_name_is_refused(service: Live) -> None:
    id_ = service.start(name="only-one")
    answer = service.ask("POST", "/api/v1/rollouts", {"plan": service.plan(name="only-one")})
    assert (answer.status, answer.json["code"], answer.json["rollout_id"]) == (409, "name_taken", id_)
    assert id_ in answer.json["detail"]
    report = service.ask("POST", "/api/v1/plans/check", {"plan": service.plan(name="only-one")}).json
    assert not report["ok"] and len(report["problems"]) == 1 and id_ in report["problems"][0]
    assert service.ask("POST", "/api/v1/rollouts/only-one/rollback?wait=10").json["id"] == id_
    service.until(lambda: service.show(id_)["phase"] == "rolled_back")
    assert service.start(name="only-one") != id_


def test_every_route_that_takes_a_name_refuses_one_that_two_live_rollouts_have(service: Live) -> None:
    first, second, one, _two = twins(service)
    name = f"shop{one}".replace("+", "%2B")
    routes = [("GET", ""), ("GET", "/history"), ("GET", "/events")]
    routes += [
        ("POST", f"/{c}") for c in ("promote", "set", "ship", "pause", "resume", "stop", "adopt", "restore", "rollback")
    ]
    for method, route in routes:
        body = {"/set": {"weight": 0.2}, "/ship": {"variant": "canary"}}.get(route)
        answer = service.ask(method, f"/api/v1/rollouts/{name}{route}", body)
        assert (answer.status, answer.json["code"]) == (409, "ambiguous_name"), route
        assert set(answer.json["ids"]) == {first, second}
    assert service.ask("POST", f"/api/v1/rollouts/{first}/rollback?wait=10").json["read_back"]
    assert service.show(second)["phase"] == "progressing"
    assert service.show(name)["id"] == second  # the live one: the other has ended


def test_a_limited_token_reaches_its_own_of_two_that_have_one_name(service: Live) -> None:
    first, second, one, two = twins(service)
    name = f"shop{one}".replace("+", "%2B")
    for number, own, other in ((one, first, second), (two, second, first)):
        token = service.token("operator", numbers=[number])[1]
        for path in (name, own):
            assert service.ask("GET", f"/api/v1/rollouts/{path}", token=token).json["id"] == own
        assert service.ask("GET", f"/api/v1/rollouts/{other}", token=token).status == 404
        answer = service.ask("POST", f"/api/v1/rollouts/{name}/pause", {"reason": "mine"}, token=token)
        assert answer.json["id"] == own
        remote = RemoteBackend(service.server.url, token)
        assert remote.show(f"shop{one}")["id"] == own
        remote.close()
    assert service.served(one) == service.served(two) == [(7, 0.1), (6, 0.9)]


def test_a_limited_token_cannot_capture_a_name(service: Live) -> None:
    theirs, mine = service.number(), service.number()
    id_ = service.start(theirs, name="captured")
    token = service.token("operator", numbers=[mine])[1]
    plan = {"plan": service.plan(mine, name="captured")}
    assert service.ask("POST", "/api/v1/rollouts", plan, token=token).json["code"] == "name_taken"
    assert service.ask("POST", "/api/v1/rollouts/captured/rollback?wait=10").json["id"] == id_
    assert service.served(theirs) == [(6, 1)]


def test_a_name_with_odd_characters_is_reached_and_one_with_a_slash_by_its_id(service: Live) -> None:
    remote = RemoteBackend(service.server.url, service.tokens["admin"])
    for name in ("a?b#c%2F &=+", "Büro 50 %", "..."):
        id_ = service.start(name=name)
        assert remote.show(name)["id"] == id_
        assert remote.command("pause", name, By("", "x")).id == id_
    refused = service.ask("POST", "/api/v1/rollouts", {"plan": service.plan(name="shop/berlin")})
    assert refused.status == 422 and "has a slash; write a name without slashes" in refused.json["detail"]
    assert service.ask("POST", "/api/v1/plans/check", {"plan": service.plan(name="shop/berlin")}).status == 422
    Hand(service.app.store).run("UPDATE rollouts SET name = 'shop/berlin' WHERE id = :id", id=id_)
    assert remote.show(id_)["name"] == "shop/berlin" and LocalBackend(service.app).show("shop/berlin")["id"] == id_
    with pytest.raises(InputError, match="write the rollout's id"):
        remote.show("shop/berlin")
    remote.close()


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[tuple[Live, str, str]]:
    """A service with one rollout that matters, older than thousands of other live ones."""
    with live(tmp_path, ticking=False) as service:
        number, hand = service.number(), Hand(service.app.store)
        old = service.start(number, confirmed=False, name="old", alerts=[{"match": {"team": "x"}, "action": "pause"}])
        other = service.start(confirmed=False, name="other")
        hand.copies(other, OVER)
        hand.run("UPDATE rollouts SET phase = 'progressing', due_at = NULL")
        yield service, old, number


def test_nothing_is_capped_before_it_is_filtered(crowded: tuple[Live, str, str]) -> None:
    service, id_, number = crowded
    token = service.token("viewer", numbers=[number])[1]
    # an alert acts on every rollout that listens, however many are newer
    body = {"status": "firing", "labels": {"team": "x"}, "id": "one"}
    done = service.ask("POST", "/hooks/alerts/generic", body, token="trigger", timeout=60).json["done"]
    assert [(d["rollout"], d["done"]) for d in done] == [(id_, True)]
    # what "every live rollout" means on the command line, here and over the network
    remote = RemoteBackend(service.server.url, service.tokens["admin"])
    for backend in (LocalBackend(service.app), remote):
        listed = backend.list(live=True)
        assert len(listed) == OVER + 2 and listed[-1]["id"] == id_
    remote.close()
    limited = RemoteBackend(service.server.url, token)
    assert [r["id"] for r in limited.list(live=True)] == [id_]
    limited.close()
    # the overview's counts, and what it is searched for
    page_state = PageState(service.server.service)
    caller = service.server.service.caller([f"Bearer {service.tokens['viewer']}"], on_loopback=True)
    found = overview_page.page(page_state, caller, {"q": "old"})
    assert found["live_total"] == OVER + 2 and [r.id for g in found["groups"] for r in g.rows] == [id_]
    # the figures of every live rollout
    assert f'id="{id_}",phase="paused",rollout="old"' in metrics_text(service.app).decode()
