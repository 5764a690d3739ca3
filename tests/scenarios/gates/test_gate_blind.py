"""Calls that Retell does not list: said from the first look that failed, and by all who show a rollout."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from rich.console import Console

from jobs.observe import Observe, _is_past
from rollout.adapters.exposition.prometheus import metrics_text
from rollout.adapters.store.gate_records import StoredGateRecords
from rollout.domain.calls import FetchMark
from rollout.engine.gate_check import GateCheck
from rollout.interfaces.backend.local import LocalBackend
from rollout.interfaces.cli.show_commands import picture
from tests.support.clock import START
from tests.support.scene import ME, Scene
from tests.support.values import ONE, rollout

GATED = {"profile": "standard"}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with Scene(request.getfixturevalue(f"{request.param}_url")) as made:
        made.gates = GateCheck(StoredGateRecords(made.app.database))
        made.app.close()
        made.app = made._build()
        yield made


def outage(scene: Scene) -> None:
    scene.sandbox.fault("status", status=503, path="*/list-calls", times=None)


def look(scene: Scene) -> None:
    assert scene.app.calls is not None
    observe = Observe(scene.app, scene.app.calls)
    observe.tick()
    observe.stop()


def shown(scene: Scene) -> str:
    text = io.StringIO()
    Console(file=text, width=200, soft_wrap=True, markup=False).print(picture(LocalBackend(scene.app).show(scene.id)))
    return text.getvalue()


def sample(scene: Scene) -> list[str]:
    found = metrics_text(scene.app).decode().splitlines()
    return [line for line in found if line.startswith("rollout_calls_unreadable_seconds{")]


def test_an_outage_of_the_call_list_is_seen_from_the_first_failed_look(scene: Scene) -> None:
    scene.given(gates=GATED)
    scene.drive()
    look(scene)
    assert LocalBackend(scene.app).show(scene.id)["calls_unreadable"] is None
    assert "cannot be read" not in shown(scene)
    assert sample(scene) == []
    outage(scene)
    began = scene.app.store.now()
    look(scene)
    found = LocalBackend(scene.app).show(scene.id)["calls_unreadable"]
    assert began <= datetime.fromisoformat(found["since"]) <= scene.app.store.now()
    assert "503" in found["why"]
    assert "calls   cannot be read since " in shown(scene)
    assert "503" in shown(scene)
    (line,) = sample(scene)
    assert f'id="{scene.id}"' in line and "503" in line
    scene.after(30)
    look(scene)
    assert LocalBackend(scene.app).show(scene.id)["calls_unreadable"]["since"] == found["since"], "the first one counts"
    if scene.app.database.is_sqlite:  # the other one has a clock of its own
        assert float(sample(scene)[0].rpartition(" ")[2]) >= 30
    scene.drive()
    assert scene.rollout.verdict is None or scene.rollout.verdict.outcome != "unmeasurable", "it may wait"
    scene.sandbox.clear_faults()
    look(scene)
    assert LocalBackend(scene.app).show(scene.id)["calls_unreadable"] is None
    assert sample(scene) == []


@pytest.mark.slow
def test_an_outage_and_its_end_wake_the_rollout_once(scene: Scene) -> None:
    scene.given(gates=GATED)
    scene.drive()
    look(scene)

    def due() -> bool:
        scene.drive()  # and it is due later again
        look(scene)
        at = scene.rollout.due_at
        return at is not None and at <= scene.app.store.now()

    assert not due()
    outage(scene)
    assert due(), "open pages are told"
    assert not due(), "told already"
    scene.sandbox.clear_faults()
    assert due()
    assert not due()


@pytest.mark.slow
@pytest.mark.parametrize("later", [{"gates": GATED}, {"gates": []}, {"channels": ["outbound"], "gates": GATED}])
def test_a_trouble_of_an_earlier_rollout_is_not_told_of_a_later_one(scene: Scene, later: dict[str, object]) -> None:
    scene.given(gates=GATED)
    scene.drive()
    outage(scene)
    look(scene)
    scene.app.commands.rollback(scene.id, ME)
    scene.after(400)
    ended = LocalBackend(scene.app).show(scene.id)
    assert (ended["phase"], ended["calls_unreadable"]) == ("rolled_back", None)
    scene.sandbox.clear_faults()
    number = scene.rollout.targets[0].number
    entry = {"agent_id": "agent_frontdesk", "agent_version": 6, "weight": 1}
    scene.sandbox.edit(number, outbound_agents=[entry])
    scene.clock.to(scene.clock.now() + timedelta(days=1))
    scene.given(name="later", **later)
    scene.drive()
    look(scene)
    assert LocalBackend(scene.app).show(scene.id)["calls_unreadable"] is None
    outage(scene)
    began = scene.app.store.now()
    look(scene)
    found = LocalBackend(scene.app).show(scene.id)["calls_unreadable"]
    if later["gates"] == []:
        assert found is None, "nobody asks for its calls"
    else:
        assert began <= datetime.fromisoformat(found["since"]) <= scene.app.store.now()
    assert not re.search(r"unreadable_seconds\{[^}]*" + "ended", metrics_text(scene.app).decode())


@pytest.mark.parametrize(
    ("since", "started", "asked", "past"),
    [(0, 1, True, True), (0, 0, True, False), (0, 0, False, True), (None, 0, True, False), (0, None, True, False)],
)
def test_trouble_from_before_a_rollout_or_of_another_channel_is_none_of_it(
    since: int | None, started: int | None, asked: bool, past: bool
) -> None:
    at = [None if s is None else START + timedelta(seconds=s) for s in (since, started)]
    mark = FetchMark(ONE, "inbound", START, START, "503", at[0])
    assert _is_past(mark, rollout(started_at=at[1]), asked) is past
