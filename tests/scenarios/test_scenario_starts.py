"""How a rollout begins: at once, at a time, after another one; and every reason not to begin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rollout.adapters.store.repository import Store
from rollout.domain.errors import NameTaken, PreflightRefused, Refused, UnknownRollout
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.waiting import WaitingFor
from tests.support.scene import GET, ME, PATCH, Scene
from tests.support.values import AGENT, ONE, TWO, entry, plan

DAY = 86_400


def test_a_second_rollout_on_the_same_number_is_refused(scene: Scene) -> None:
    first = scene.given_at(1)
    with pytest.raises(PreflightRefused, match=rf"\{ONE} is already driven by frontdesk-v7 \({first}\)"):
        scene.app.commands.start(plan([TWO, ONE], name="second", channels=["inbound"]), ME)
    assert [r.id for r in scene.app.store.summaries()] == [first]
    scene.app.commands.rollback(first, ME)
    scene.drive()
    assert scene.given(name="second")


def test_a_second_rollout_is_refused_whatever_its_channel(scene: Scene) -> None:
    scene.sandbox.edit(ONE, outbound_agents=[entry(6)])
    scene.given_at(1)
    with pytest.raises(PreflightRefused, match="already driven"):
        scene.app.commands.start(plan(channels=["outbound"], name="second"), ME)


def test_of_a_number_that_is_taken_that_alone_is_said(scene: Scene) -> None:
    first = scene.given_at(1)
    for numbers in ([ONE], [{"nickname": "*"}]):
        with pytest.raises(PreflightRefused) as refused:
            scene.app.commands.start(plan(numbers, name="second"), ME)
        assert refused.value.message.startswith(
            f"pre-flight refuses: {ONE} is already driven by frontdesk-v7 ({first})"
        )
        assert "baseline" not in refused.value.message
        assert len(refused.value.details["problems"]) == 1


def test_a_live_name_is_refused_with_its_rollout_whatever_the_numbers(scene: Scene) -> None:
    first = scene.given_at(1)
    for numbers in ([TWO], [ONE]):
        with pytest.raises(NameTaken, match=rf"frontdesk-v7 is already the name of a live rollout \({first}\)"):
            scene.app.commands.start(plan(numbers), ME)
    assert not scene.app.commands.check(plan([TWO])).targets
    scene.app.commands.rollback(first, ME)
    scene.drive()
    scene.given(numbers=[TWO])


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        ("14157774444", r"; write it with its plus: \+14157774444$"),
        ("1 (415) 777-4444", r"; write it with its plus: \+14157774444$"),
        ("frontdesk", "; write E.164: a plus"),
        ("0014157774444", "; write E.164: a plus"),
        ("+14155550199", "0199$"),
    ],
)
def test_a_number_without_its_plus_is_told_so(scene: Scene, number: str, advice: str) -> None:
    scene.given_at(1)
    with pytest.raises(UnknownRollout, match=f"no rollout has written .*{advice}"):
        scene.app.commands.on_number(number)


def test_a_scheduled_start_reads_its_baseline_when_it_begins(scene: Scene) -> None:
    scene.given(at=scene.clock.now() + timedelta(hours=2))
    scene.after(3_600)
    scene.stands("pending")
    scene.sandbox.edit(ONE, inbound_agents=[entry(5, 0.5), entry(6, 0.5)])
    scene.sandbox.add_agent(AGENT, [5])
    scene.after(3_601)
    scene.stands("progressing", 1)
    assert scene.rollout.targets[0].baseline == {"inbound_agents": [entry(5, 0.5), entry(6, 0.5)]}
    assert scene.weight(ONE) == 0.1
    read = next(e for e in scene.app.store.history(scene.id) if e.kind == "baselines")
    assert [(found["before"], found["after"]) for found in read.data["differences"]] == [
        (f"{AGENT} version {old}", f"{AGENT} version 7") for old in (5, 6)
    ]


def test_a_scheduled_start_that_is_refused_ends_as_stopped_with_its_reason(scene: Scene) -> None:
    scene.given(at=scene.clock.now() + timedelta(hours=2))
    scene.sandbox.delete_version(AGENT, 7)
    scene.after(2 * 3_600)
    scene.stands("stopped")
    assert "version 7 does not exist" in str(scene.rollout.reason)
    assert PATCH not in scene.requests()
    assert scene.journal() == ["created", "refused"]


def test_of_two_scheduled_rollouts_on_one_number_the_second_is_refused(scene: Scene) -> None:
    when = scene.clock.now() + timedelta(hours=2)
    first, second = scene.given(at=when), scene.given(at=when, name="second")
    scene.after(2 * 3_600)
    phases = {i: str(scene.app.store.load(i)[0].phase) for i in (first, second)}
    assert sorted(phases.values()) == ["progressing", "stopped"]


def test_a_scheduled_start_waits_while_retell_is_away(scene: Scene) -> None:
    scene.given(at=scene.clock.now() + timedelta(hours=2))
    scene.sandbox.fault("status", status=503, times=None)
    scene.after(2 * 3_600 + 60)
    scene.stands("pending")
    scene.sandbox.clear_faults()
    scene.after(120)
    scene.stands("progressing", 1)


def test_a_scheduled_start_and_a_rollback_wait_for_a_key_that_retell_takes(scene: Scene) -> None:
    scene.given(at=scene.clock.now() + timedelta(hours=1))
    scene.after(1)
    assert scene.rollout.waiting_for is WaitingFor.START
    scene.sandbox.fault("status", status=401, times=None)
    scene.after(3_700)
    assert (scene.rollout.phase, scene.rollout.waiting_for) == ("pending", WaitingFor.KEY)
    scene.sandbox.clear_faults()
    scene.after(60)
    assert (scene.rollout.phase, scene.rollout.waiting_for) == ("progressing", WaitingFor.HOLD)
    scene.sandbox.fault("status", status=401, times=None)
    scene.app.commands.rollback(scene.id, ME)
    assert scene.rollout.waiting_for is None, "nobody has looked yet"
    scene.after(60)
    assert (scene.rollout.phase, scene.rollout.waiting_for) == ("rolling_back", WaitingFor.KEY)


def test_a_rollout_may_wait_for_another_one(scene: Scene) -> None:
    second = scene.given(numbers=[TWO], name="second", after="frontdesk-v7")
    first = scene.given_at(1)
    scene.after(DAY)
    assert str(scene.app.store.load(second)[0].phase) == "pending"
    scene.after(2 * DAY)
    scene.id = first
    scene.stands("promoted")
    scene.id = second
    scene.after(2 * DAY)
    scene.stands("promoted")


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("unknown number", {"numbers": ["+14155550199"]}, {}, r"\+14155550199: Retell does not know this number"),
    (
        "draft",
        {"canary": {"agent_id": AGENT, "agent_version": 9}},
        {},
        "agent_frontdesk version 9 is a draft: publish it before you start",
    ),
    (
        "no such version",
        {"canary": {"agent_id": AGENT, "agent_version": 70}},
        {},
        "canary: agent_frontdesk version 70 does not exist$",
    ),
    (
        "no such agent",
        {"canary": {"agent_id": "agent_x", "agent_version": 1}},
        {},
        "canary: agent_x version 1 does not exist, because Retell has no agent agent_x$",
    ),
    ("empty channel", {"channels": ["outbound"]}, {}, "has no outbound_agents, so there is nothing to roll back to"),
    ("empty list", {}, {"inbound_agents": []}, "has no inbound_agents"),
    ("other baseline", {"baseline": {"agent_id": AGENT, "agent_version": 5}}, {}, "and the plan's baseline is"),
    ("baseline gone", {}, {"inbound_agents": [entry(3)]}, "names agent_frontdesk version 3, which does not exist"),
    (
        "canary serves already",
        {},
        {"inbound_agents": [entry(7, 0.5), entry(6, 0.5)]},
        "is already in the baseline, with 50 %",
    ),
]


@pytest.mark.parametrize(
    ("changes", "edit", "words"), [c[1:] for c in REFUSED], ids=[c[0].replace(" ", "-") for c in REFUSED]
)
def test_preflight_refuses_before_anything_is_written_or_recorded(
    scene: Scene, changes: dict[str, Any], edit: dict[str, Any], words: str
) -> None:
    if edit:
        scene.sandbox.edit(ONE, **edit)
    with pytest.raises(PreflightRefused, match=words) as refused:
        scene.given(**changes)
    assert refused.value.exit_code == 3
    assert scene.app.store.summaries() == []
    assert set(scene.requests()) <= {GET}


WARNED: list[tuple[str, dict[str, Any], str]] = [
    (
        "webhook",
        {"inbound_webhook_url": "https://example.test"},
        "has an inbound webhook, which may override the weights",
    ),
    ("tag", {"inbound_agents": [entry("prod")]}, "the baseline names the tag prod"),
    ("no version", {"inbound_agents": [{"agent_id": AGENT, "weight": 1}]}, "without a version, so it may change"),
    ("decimals", {"inbound_agents": [entry(6, 0.33335), entry("prod", 0.66665)]}, "more than four decimals"),
    ("draft", {"inbound_agents": [entry(9)]}, "version 9 is a draft, which may still be edited"),
]


@pytest.mark.parametrize(("edit", "words"), [c[1:] for c in WARNED], ids=[c[0].replace(" ", "-") for c in WARNED])
def test_what_is_warned_of_is_refused_when_strict(scene: Scene, edit: dict[str, Any], words: str) -> None:
    scene.sandbox.edit(ONE, **edit)
    with pytest.raises(PreflightRefused, match=words):
        scene.app.commands.start(plan(), ME, strict=True)
    scene.given()
    scene.drive()
    assert scene.weight(ONE) == 0.1
    (created,) = [e for e in scene.app.store.history(scene.id) if e.kind == "created"]
    assert any(words in warning for warning in created.data["warnings"])


CALLS, TEXTS = "has an inbound webhook", "has an inbound SMS webhook"


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        (["inbound"], [CALLS]),
        (["inbound_sms"], [TEXTS]),
        (["outbound"], []),
        (["inbound", "inbound_sms"], [CALLS, TEXTS]),
        (["outbound", "inbound"], [CALLS]),
    ],
    ids=lambda value: "+".join(value) if value and "webhook" not in value[0] else "",
)
def test_a_webhook_is_warned_of_on_the_channel_that_it_may_override(
    scene: Scene, channels: list[str], words: list[str]
) -> None:
    lists = {f"{c}_agents": [entry(6)] for c in ("inbound", "outbound", "inbound_sms")}
    hooks = dict.fromkeys(("inbound_webhook_url", "inbound_sms_webhook_url"), "https://example.test")
    scene.sandbox.edit(ONE, **lists, **hooks)
    report = scene.app.commands.check(plan(channels=channels))
    assert [w for w in (CALLS, TEXTS) if any(w in said for said in report.warnings)] == words


def test_what_a_start_remembers_of_its_numbers_is_what_it_recorded(scene: Scene) -> None:
    scene.sandbox.add_agent(AGENT, [5])
    scene.sandbox.edit(ONE, inbound_agents=[entry(5, 0.25), entry(6, 0.75)])
    scene.given(numbers=[ONE, TWO])
    remembered = scene.app.store.load(scene.id)[0]
    assert remembered.targets == Store(scene.app.database).load(scene.id)[0].targets
    assert len(remembered.targets) == 2


def test_a_start_with_one_request_id_makes_one_rollout(scene: Scene) -> None:
    by = By("cli:test", "", "request-1")
    first = scene.app.commands.start(plan(), by)
    assert scene.app.commands.start(plan(), by).id == first.id
    assert len(scene.app.store.summaries()) == 1
    with pytest.raises(Refused, match="already used for a different request"):
        scene.app.commands.start(plan(name="other"), by)


def test_an_id_or_a_name_says_which_rollout_is_meant(scene: Scene) -> None:
    first = scene.given_at(1)
    scene.app.commands.rollback(first, ME)
    scene.drive()
    second = scene.given()
    assert scene.app.store.resolve(first) == first
    assert scene.app.store.resolve("frontdesk-v7") == second
    with pytest.raises(UnknownRollout):
        scene.app.store.resolve("nothing")
