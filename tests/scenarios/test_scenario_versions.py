"""What changes between the versions is told before anything is written, and so is what makes them hard to compare."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.errors import PreflightRefused
from tests.support.scene import ME, Scene
from tests.support.values import entry, plan

ANALYSIS = [{"type": "string", "name": "booked", "description": "Whether a table was booked"}]


@pytest.fixture
def two_versions(sqlite_url: str) -> Scene:
    return Scene(sqlite_url)


def prepared(scene: Scene) -> None:
    tools = {"headers": {"Authorization": "Bearer hunter2"}, "name": "book", "url": "https://x.example"}
    scene.sandbox.add_agent(
        "agent_frontdesk",
        [
            {"version": 6, "engine": {"general_prompt": "Be kind.\nAsk the name.", "general_tools": [tools]}},
            {
                "version": 7,
                "settings": {"voice_id": "11labs-Kate", "post_call_analysis_data": ANALYSIS},
                "engine": {
                    "general_prompt": "Be kind.\nAsk the number.",
                    "general_tools": [{**tools, "headers": {"Authorization": "Bearer swordfish"}}],
                },
            },
        ],
    )


def test_check_and_start_tell_what_differs_and_the_journal_keeps_it(two_versions: Scene) -> None:
    with two_versions as scene:
        prepared(scene)
        found = scene.app.commands.check(plan())
        [told] = found.differences
        assert (told.before, told.after) == ("agent_frontdesk version 6", "agent_frontdesk version 7")
        assert [item.field for item in told.fields] == [
            "voice_id",
            "response_engine.general_prompt",
            "response_engine.general_tools[book].headers.Authorization",
            "post_call_analysis_data[booked].description",
            "post_call_analysis_data[booked].name",
            "post_call_analysis_data[booked].type",
        ]
        assert "-Ask the name." in told.fields[1].diff
        assert not {"hunter2", "swordfish"} & set(str(told.to_json()).replace('"', " ").split())
        assert len(found.warnings) == 1 and "judged by different rules" in found.warnings[0]
        answer = scene.app.commands.start(plan(), ME)
        assert answer.preflight.differences == (told.to_json(),)
        created = scene.app.store.history(answer.id, 0, 1)[0]
        assert created.data["differences"] == [told.to_json()]


def test_strict_refuses_versions_that_are_judged_by_two_rules(two_versions: Scene) -> None:
    with two_versions as scene:
        prepared(scene)
        with pytest.raises(PreflightRefused, match="judged by different rules"):
            scene.app.commands.start(plan(), ME, strict=True)


def test_an_engine_that_cannot_be_read_refuses_nothing_and_is_told(two_versions: Scene) -> None:
    with two_versions as scene:
        prepared(scene)
        scene.sandbox.fault("status", status=404, path="/get-retell-llm/*", times=None)
        [told] = scene.app.commands.check(plan()).differences
        assert len(told.unread) == 2 and "could not be read" in told.unread[0]
        assert "voice_id" in [item.field for item in told.fields]
        assert scene.app.commands.start(plan(), ME, strict=False).id


def bound_by_tag(scene: Scene, tags: dict[str, Any]) -> list[str]:
    scene.sandbox.add_agent("agent_frontdesk", [], tags=tags)
    scene.sandbox.edit("+14157774444", inbound_agents=[entry("prod")])
    return [text for text in scene.app.commands.check(plan()).warnings if "tag" in text and "names the tag" not in text]


def test_a_baseline_bound_by_a_tag_is_told_with_the_variables_that_the_canary_lacks(two_versions: Scene) -> None:
    with two_versions as scene:
        told = bound_by_tag(scene, {"prod": {"version": 6, "dynamic_variables": {"city": "Oslo", "zip": "0150"}}})
        assert told == [
            (
                "the tag prod of agent_frontdesk points to version 6 now and has dynamic variables of its own (city, zip): "
                "the canary is dispatched by its number and gets those of its own version's tag, or none"
            )
        ]
        assert bound_by_tag(scene, {"prod": 6}) == ["the tag prod of agent_frontdesk points to version 6 now"]


@pytest.mark.parametrize(
    ("status", "told"),
    [(404, "cannot be read: Retell has no"), (405, "cannot be read: Retell has no"), (401, "could not be read")],
)
def test_tags_that_cannot_be_read_are_told_and_refuse_nothing(two_versions: Scene, status: int, told: str) -> None:
    with two_versions as scene:
        scene.sandbox.fault("status", status=status, path="/get-agent-root/*", times=None)
        [sentence] = bound_by_tag(scene, {"prod": 6})
        assert told in sentence
        assert scene.app.commands.check(plan()).problems == ()
