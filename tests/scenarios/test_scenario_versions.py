"""What changes between the versions is told before anything is written, and so is what makes them hard to compare."""

from __future__ import annotations

import pytest

from rollout.domain.errors import PreflightRefused
from tests.support.scene import ME, Scene
from tests.support.values import plan

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
            "post_call_analysis_data[booked].description",
            "post_call_analysis_data[booked].name",
            "post_call_analysis_data[booked].type",
            "voice_id",
            "response_engine.general_prompt",
            "response_engine.general_tools[book].headers.Authorization",
        ]
        assert "-Ask the name." in told.fields[4].diff
        assert not {"hunter2", "swordfish"} & set(str(told.to_json()).replace('"', " ").split())
        assert len(found.warnings) == 1 and "judged by two rules" in found.warnings[0]
        answer = scene.app.commands.start(plan(), ME)
        assert answer["differences"] == [told.to_json()]
        created = scene.app.store.history(answer["id"], 0, 1)[0]
        assert created.data["differences"] == [told.to_json()]


def test_strict_refuses_versions_that_are_judged_by_two_rules(two_versions: Scene) -> None:
    with two_versions as scene:
        prepared(scene)
        with pytest.raises(PreflightRefused, match="judged by two rules"):
            scene.app.commands.start(plan(), ME, strict=True)


def test_an_engine_that_cannot_be_read_refuses_nothing_and_is_told(two_versions: Scene) -> None:
    with two_versions as scene:
        prepared(scene)
        scene.sandbox.fault("status", status=404, path="/get-retell-llm/*", times=None)
        [told] = scene.app.commands.check(plan()).differences
        assert len(told.unread) == 2 and "could not be read" in told.unread[0]
        assert "voice_id" in [item.field for item in told.fields]
        assert scene.app.commands.start(plan(), ME, strict=False)["id"]
