"""`rollout replay --gate`: every stored look judged again, and what another gate would have said when."""

from __future__ import annotations

from rollout.adapters.store.gate_records import StoredGateRecords
from tests.scenarios.gates.test_gate_scenarios import GateScene, judged
from tests.support.command_line import CommandLine
from tests.support.plans import PLAN


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
    for text, complaint in (
        ("gates: {profile: best}", "gate.yaml:1:18: gates.profile: "),
        ("profil: strict", "gate.yaml:1:1: profil: there is no such key; write profile"),
        ("version: 1\nname: x", "gate.yaml:1:1: numbers: is missing"),
        ("[", "gate.yaml:1:"),
        ("5", "gate.yaml:1:1: a plan is a mapping"),
    ):
        rollout.write("gate.yaml", text)
        wrong = rollout("replay", id_, "--gate", "gate.yaml", ROLLOUT_DATABASE_URL=sqlite_url)
        assert wrong.code == 2 and complaint in wrong.err and "pydantic" not in wrong.err
    rollout.write("whole.yaml", PLAN)
    whole = rollout("replay", id_, "--gate", "whole.yaml", ROLLOUT_DATABASE_URL=sqlite_url)
    assert whole.code == 0, whole.err
    assert found["other"] == {"canary": {"outcome": "undecided", "calls": None, "sooner_by": None}}
