"""`from rollout import Client` against a running service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rollout
from rollout import Client, NotPromoted, RolloutError
from rollout.adapters.planfile import build_plan, dump_plan
from rollout.domain.errors import Forbidden, InputError, NameTaken, SettingsError, StaleExpectation, UnknownRollout
from rollout.domain.lifecycle.machine import Phase
from tests.integration.api.live import Live


@pytest.fixture
def client(service: Live) -> Iterator[Client]:
    with Client(service.server.url, service.tokens["operator"]) as found:
        yield found


def test_a_rollout_is_started_promoted_and_rolled_back(service: Live, client: Client, tmp_path: Path) -> None:
    number = service.number()
    plan = service.plan(number, name="from-python")
    file = tmp_path / "plan.yaml"
    file.write_text(dump_plan(build_plan(plan)), encoding="utf-8")
    assert client.check(file)["ok"]
    id_ = client.start(str(file), reason="release 7", request_id="release-7")
    assert client.start(file, reason="release 7", request_id="release-7") == id_, "asked again: the first answer"
    service.until(lambda: client.get(id_).document["confirmed_at"])
    assert service.served(number) == [(7, 0.1), (6, 0.9)]
    moved = client.promote("from-python", expect="1.1", reason="looks good")
    assert (moved.id, moved.phase, moved.wave, moved.step) == (id_, Phase.PROGRESSING, 1, 2)
    with pytest.raises(StaleExpectation):
        client.promote(id_, expect="1.1")
    assert client.pause(id_).phase is Phase.PAUSED
    assert client.resume(id_).phase is Phase.PROGRESSING
    assert id_ in {each.id for each in client.list(live=True)}
    back = client.rollback(id_, reason="callers complain", timeout=20)
    assert back.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK) and back.document["seconds"] is not None
    assert service.served(number) == [(6, 1)]
    reasons = [e["reason"] for e in service.ask("GET", f"/api/v1/rollouts/{id_}/history").json["items"]]
    assert {"release 7", "looks good", "callers complain"} <= set(reasons)


def test_wait_follows_to_the_promotion(service: Live, client: Client) -> None:
    steps = [{"weight": 0.5, "hold": "1s"}, {"weight": 1.0, "hold": "1s"}]
    id_ = client.start(service.plan(steps=steps))
    said: list[str] = []
    end = client.wait(id_, timeout=60, on_change=lambda status: said.append(str(status)))
    assert end.phase is Phase.PROMOTED and end.document["weight"] == 1.0
    assert said[-1].startswith(f"{id_}: promoted at 1.2") and len(said) == len(set(said))


def test_wait_raises_when_it_ends_otherwise(service: Live, client: Client) -> None:
    id_ = client.start(service.plan())
    client.stop(id_, reason="not today")
    with pytest.raises(NotPromoted, match="stopped") as ended:
        client.wait(id_, timeout=20)
    assert ended.value.exit_code == 5 and ended.value.details == {"id": id_, "phase": Phase.STOPPED}


def test_wait_raises_when_its_time_is_over_and_the_rollout_goes_on(service: Live, client: Client) -> None:
    id_ = service.start()
    with pytest.raises(TimeoutError, match=f"{id_}: progressing"):
        client.wait(id_, timeout=0)
    assert client.get(id_).phase is Phase.PROGRESSING


def test_the_report_is_read_as_a_mapping_and_as_a_page(service: Live, client: Client) -> None:
    id_ = service.start()
    found = client.report(id_)
    assert found["rollout"]["id"] == id_ and [v["name"] for v in found["versions"]] == ["baseline", "canary"]
    assert client.report_html(id_).startswith("<!doctype html>")
    with pytest.raises(UnknownRollout):
        client.report("nobody")


def test_errors_are_those_of_the_command_line(service: Live, client: Client) -> None:
    plan = service.plan()
    client.start(plan)
    with pytest.raises(NameTaken):
        client.start(plan)
    with pytest.raises(UnknownRollout):
        client.get("nobody")
    with pytest.raises(InputError, match=r"write WAVE\.STEP"):
        client.promote("nobody", expect="first")
    with Client(service.server.url, service.tokens["viewer"]) as viewer, pytest.raises(Forbidden):
        viewer.rollback("nobody")
    assert issubclass(Forbidden, RolloutError)


def test_the_address_and_the_token_come_from_the_environment(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROLLOUT_URL", raising=False)
    with pytest.raises(SettingsError, match="set ROLLOUT_URL"):
        Client()
    monkeypatch.setenv("ROLLOUT_URL", service.server.url)
    monkeypatch.setenv("ROLLOUT_TOKEN", service.tokens["viewer"])
    with Client() as client:
        assert isinstance(client.list(limit=1), list)


def test_the_package_loads_nothing_before_its_client_is_asked_for() -> None:
    code = (
        "import sys, rollout; before = set(sys.modules); rollout.Client; "
        "print('httpx' in before, 'rollout.interfaces' in before, 'httpx' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False", "True", "False"]
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = rollout.Nothing
