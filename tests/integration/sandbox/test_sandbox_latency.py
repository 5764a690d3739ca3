"""How long answers take: by endpoint, and never twice the same time."""

import statistics
import time

import pytest

from rollout.sandbox import Sandbox
from rollout.sandbox.latency import JITTER, latency
from tests.integration.sandbox.conftest import Client

NUMBER = "+14155550100"
SPLIT = [{"agent_id": "agent_a", "agent_version": 6, "weight": 1}]


@pytest.mark.parametrize(
    "path, status, milliseconds",
    [
        (f"/get-phone-number/{NUMBER}", 200, 50),
        (f"/update-phone-number/{NUMBER}", 200, 50),
        ("/v2/list-phone-numbers", 200, 80),
        ("/get-agent/agent_a", 200, 1),
        ("/v2/list-agents", 200, 1),
        ("/v3/list-calls", 200, 1),
        (f"/get-phone-number/{NUMBER}", 422, 1),
        (f"/update-phone-number/{NUMBER}", 401, 1),
        ("/nowhere", 404, 1),
    ],
)
def test_endpoints_differ(path: str, status: int, milliseconds: float) -> None:
    draws = [latency(path, status, 0.05, draw / 10) for draw in range(11)]
    assert statistics.mean(draws) == pytest.approx(milliseconds / 1000)
    assert (draws[0], draws[-1]) == pytest.approx(
        ((1 - JITTER) * milliseconds / 1000, (1 + JITTER) * milliseconds / 1000)
    )


def test_a_number_takes_its_time_and_a_refusal_none() -> None:
    with Sandbox(latency=0.2) as sandbox:
        sandbox.add_agent("agent_a", [6])
        sandbox.add_number(NUMBER, inbound_agents=SPLIT)
        client = Client(sandbox.port)

        def took(path: str, status: int) -> float:
            began = time.monotonic()
            assert client("GET", path).status == status
            return time.monotonic() - began

        number = took(f"/get-phone-number/{NUMBER}", 200)
        others = [took("/get-agent/agent_a", 200), took("/get-phone-number/+14155550199", 422)]
        client.close()
    assert number >= 0.2 * (1 - JITTER) > 10 * latency("/get-agent/agent_a", 200, 0.2, 1.0)
    assert min(others) < number, "one of them at least, on a busy machine too"
