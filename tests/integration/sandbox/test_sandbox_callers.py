"""Modelled callers: they follow the weights in force, one seed gives one history, results come later."""

from collections import Counter
from typing import Any

import pytest

from rollout.sandbox import Sandbox

NUMBER = "+15550000001"
AGENT = "agent_a"
SMS = {"inbound_sms": 600.0, "outbound_sms": 300.0}


def entries(*weights: float) -> list[dict[str, Any]]:
    return [{"agent_id": AGENT, "agent_version": index, "weight": weight} for index, weight in enumerate(weights)]


def world(seed: int = 1, rate: float | dict[str, float] = 3600.0, **fields: Any) -> Sandbox:
    """Not started: the callers need no socket. The clock stands at a known instant."""
    made = Sandbox(seed=seed, speed=0, epoch=1_800_000_000.0)
    made.add_agent(
        AGENT,
        [
            {"version": 0, "success": 0.9, "hard_error": 0.0},
            {"version": 1, "success": 0.5, "hard_error": 0.3, "latency_p50_ms": 2000, "negative": 0.4},
        ],
    )
    made.add_number(NUMBER, calls_per_hour=rate, **({"inbound_agents": entries(0.9, 0.1)} | fields))
    return made


def shares(calls: list[dict[str, Any]]) -> dict[int, float]:
    counts = Counter(call["agent_version"] for call in calls)
    return {version: count / len(calls) for version, count in counts.items()}


def test_calls_follow_the_weights() -> None:
    made = world(inbound_agents=entries(0.7, 0.2, 0.1))
    made.add_agent(AGENT, [2])
    made.clock(advance=3 * 3600)
    calls = made.calls()
    assert len(calls) == pytest.approx(10_800, rel=0.04)
    counts = Counter(call["agent_version"] for call in calls)
    expected = {0: 0.7 * len(calls), 1: 0.2 * len(calls), 2: 0.1 * len(calls)}
    chi_square = sum((counts[version] - want) ** 2 / want for version, want in expected.items())
    assert chi_square < 13.8  # 0.1 % point at two degrees of freedom


def test_each_call_is_drawn_by_the_weights_at_its_start() -> None:
    made = world(inbound_agents=entries(1))
    made.clock(advance=1800)
    made.edit(NUMBER, inbound_agents=entries(0.5, 0.5))
    changed = made.number(NUMBER).state.at * 1000
    made.clock(advance=1800)
    early = [call for call in made.calls() if call["start_timestamp"] < changed]
    late = [call for call in made.calls() if call["start_timestamp"] >= changed]
    assert shares(early) == {0: 1.0}
    assert shares(late)[1] == pytest.approx(0.5, abs=0.05)
    first, second = made.history(NUMBER)
    assert (first["by"], second["by"]) == ("created", "edit")
    assert first["until"] == second["from"] == changed
    assert first["served"] == {"inbound": {f"{AGENT}@0": len(early)}}
    assert sum(second["served"]["inbound"].values()) == len(late)


def test_one_seed_gives_one_history_however_often_one_looks() -> None:
    once, often, other = world(5), world(5), world(6)
    once.clock(advance=600)
    other.clock(advance=600)
    for _ in range(100):
        often.clock(advance=6)
        often.history(NUMBER)
    assert once.calls() == often.calls()
    assert once.calls() != other.calls()


def test_arrivals_do_not_depend_on_the_split() -> None:
    mixed, plain = world(inbound_agents=entries(0.5, 0.5)), world(inbound_agents=entries(1))
    for made in (mixed, plain):
        made.clock(advance=900)
    assert [call["start_timestamp"] for call in mixed.calls()] == [call["start_timestamp"] for call in plain.calls()]
    assert shares(plain.calls()) == {0: 1.0}


def test_results_come_later() -> None:
    made = world(rate=60.0)
    made.add_agent(AGENT, [{"version": version, "duration_s": 10, "analysis_delay_s": 40} for version in (0, 1)])
    while not made.calls():
        made.clock(advance=1)
    call_id = made.calls()[0]["call_id"]
    seen = []
    for _ in range(120):
        call = next(call for call in made.calls() if call["call_id"] == call_id)
        state = (call["call_status"], "duration_ms" in call, "call_analysis" in call)
        if not seen or seen[-1] != state:
            seen.append(state)
        made.clock(advance=1)
    ended = seen[1][0]
    assert ended in ("ended", "error")
    assert seen == [("ongoing", False, False), (ended, True, False), (ended, True, True)]


def test_versions_fare_by_their_behaviour() -> None:
    made = world(inbound_agents=entries(0.5, 0.5))
    made.clock(advance=3 * 3600)
    judged = [call for call in made.calls() if "call_analysis" in call]
    for version, success, errors, latency, negative in ((0, 0.9, 0.0, 800, 0.05), (1, 0.35, 0.3, 2000, 0.4)):
        own = [call for call in judged if call["agent_version"] == version]
        good = sum(call["call_analysis"]["call_successful"] for call in own) / len(own)
        broken = [call for call in own if call["call_status"] == "error"]
        middle = sorted(call["latency"]["e2e"]["p50"] for call in own)[len(own) // 2]
        unhappy = sum(call["call_analysis"]["user_sentiment"] == "Negative" for call in own) / len(own)
        assert good == pytest.approx(success, abs=0.03)
        assert len(broken) / len(own) == pytest.approx(errors, abs=0.03)
        assert middle == pytest.approx(latency, rel=0.05)
        assert unhappy == pytest.approx(negative, abs=0.03)
        assert all(call["disconnection_reason"].startswith("error_") for call in broken)
        assert not any(call["call_analysis"]["call_successful"] for call in broken)


def test_calls_that_are_not_judged_or_never_connect_say_so() -> None:
    made = world(rate={"outbound": 3600.0}, outbound_agents=entries(1))
    made.add_agent(
        AGENT,
        [{"version": 0, "unjudged": 0.5, "not_connected": 0.3, "voicemail": 0.2, "custom": {"booked": 0.6, "x": 0}}],
    )
    made.clock(advance=3600)
    calls = [call for call in made.calls() if "call_analysis" in call]
    missed = [call for call in calls if call["call_status"] == "not_connected"]
    assert len(missed) / len(calls) == pytest.approx(0.3, abs=0.05)
    assert {call["disconnection_reason"] for call in missed} == {"dial_no_answer"}
    assert all("call_successful" not in call["call_analysis"] and "latency" not in call for call in missed)
    met = [call for call in calls if call["call_status"] != "not_connected"]
    unjudged = [call for call in met if "call_successful" not in call["call_analysis"]]
    assert len(unjudged) / len(met) == pytest.approx(0.5, abs=0.05)
    assert sum(call["call_analysis"]["in_voicemail"] for call in met) / len(met) == pytest.approx(0.2, abs=0.05)
    custom = [call["call_analysis"]["custom_analysis_data"] for call in met]
    assert sum(data["booked"] for data in custom) / len(met) == pytest.approx(0.6, abs=0.05)
    assert not any(data["x"] for data in custom)
    assert all((call["from_number"], call["direction"]) == (NUMBER, "outbound") for call in calls)


def test_chats_go_through_the_sms_splits() -> None:
    made = world(rate=SMS, inbound_sms_agents=entries(0.5, 0.5), outbound_sms_agents=entries(1))
    made.clock(advance=2 * 3600)
    assert made.calls() == []
    chats = made.calls(chats=True)
    assert len(chats) == pytest.approx(1800, rel=0.1)
    assert all("direction" not in chat and "latency" not in chat for chat in chats)
    served = made.history(NUMBER)[0]["served"]
    assert set(served) == set(SMS)
    assert set(served["outbound_sms"]) == {f"{AGENT}@0"}


def test_nobody_answers_where_no_agent_is_bound() -> None:
    made = world(inbound_agents=[])
    made.clock(advance=3600)
    assert made.calls() == []
    assert made.history(NUMBER)[0]["unserved"]["inbound"] == pytest.approx(3600, rel=0.1)


def test_a_version_that_vanished_answers_with_errors() -> None:
    made = world(inbound_agents=entries(0.5, 0.5))
    made.delete_version(AGENT, 1)
    made.clock(advance=2 * 3600)
    ended = [call for call in made.calls() if call["call_status"] != "ongoing"]
    assert {call["call_status"] for call in ended if call["agent_version"] == 1} == {"error"}
    assert {call["call_status"] for call in ended if call["agent_version"] == 0} == {"ended"}


def test_a_tag_is_resolved_when_the_call_starts() -> None:
    made = world(inbound_agents=[{"agent_id": AGENT, "agent_version": "prod", "weight": 1}])
    made.add_agent(AGENT, [], tags={"prod": 0})
    made.clock(advance=600)
    before = made.calls()
    made.add_agent(AGENT, [], tags={"prod": 1})
    made.clock(advance=600)
    after = made.calls()[len(before) :]
    assert shares(before) == {0: 1.0}
    assert shares(after) == {1: 1.0}
    assert {call["agent_tag"] for call in before + after} == {"prod"}


def test_a_webhook_may_override_the_split() -> None:
    made = world(bypass={"agent_id": AGENT, "agent_version": 1, "share": 0.5})
    made.clock(advance=3600)
    assert shares(made.calls())[1] == pytest.approx(0.55, abs=0.04)
    made.edit(NUMBER, bypass={})
    before = len(made.calls())
    made.clock(advance=3600)
    assert shares(made.calls()[before:])[1] == pytest.approx(0.1, abs=0.03)


def test_a_rate_can_be_changed_and_stopped() -> None:
    made = world(rate=3600.0)
    made.clock(advance=600)
    first = len(made.calls())
    made.edit(NUMBER, calls_per_hour=0)
    made.clock(advance=600)
    assert len(made.calls()) == first
    made.edit(NUMBER, calls_per_hour=36_000)
    made.clock(advance=600)
    assert len(made.calls()) - first == pytest.approx(6000, rel=0.1)
    assert [entry["by"] for entry in made.history(NUMBER)] == ["created"]


def test_wall_time_with_high_rates_and_short_calls() -> None:
    made = Sandbox()
    made.add_ready_world(calls_per_hour=360_000, duration_s=0.02, analysis_delay_s=0.01)
    while not (judged := [call for call in made.calls() if "call_analysis" in call]):
        pass
    assert judged[0]["agent_version"] == 6
    assert judged[0]["end_timestamp"] >= judged[0]["start_timestamp"]
