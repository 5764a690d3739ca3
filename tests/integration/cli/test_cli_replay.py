"""`rollout replay --gate`: every stored look judged again, and what another gate would have said when."""

from __future__ import annotations

from rollout.adapters.store.gate_records import StoredGateRecords
from tests.scenarios.gates.test_gate_scenarios import GateScene, judged
from tests.support.command_line import CommandLine


def test_another_gate_is_compared_with_what_was_decided(rollout: CommandLine, sqlite_url: str) -> None:
    with GateScene(sqlite_url) as scene:
        scene.given(judged())
        scene.drive()
        scene.calls(200, share=0.1, canary_bad=1.0)
        scene.stands("rolled_back")
        looks, id_ = StoredGateRecords(scene.app.database).looks(scene.id), scene.id
    rollout.write("same.yaml", "profile: low-traffic")
    rollout.write("slow.yaml", "gates: {metrics: [{name: success, share: 0.2, margins: [0.3, 0.1]}]}")
    same, slow, plain = (
        rollout("replay", id_, *more, ROLLOUT_DATABASE_URL=sqlite_url)
        for more in (("--gate", "same.yaml"), ("--gate", "slow.yaml"), ())
    )
    first, decided, other = same.out.splitlines()
    assert first == f"{len(looks)} looks, all the same"
    assert decided.startswith("canary: first decided as fail after ")
    assert other == decided.replace("first decided as", "the other gate:") + " (0 calls sooner)"
    assert slow.out.splitlines() == [first, decided, "canary: the other gate: undecided"]
    assert plain.out.splitlines() == [first, decided]
    found = rollout("replay", id_, "--gate", "slow.yaml", "--json", ROLLOUT_DATABASE_URL=sqlite_url).json
    assert found["other"] == {"canary": {"outcome": "undecided", "calls": None, "sooner_by": None}}
