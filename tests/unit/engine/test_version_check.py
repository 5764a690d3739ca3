"""The comparison of a plan's versions, and what is told of the tags that baselines name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rollout.domain.versions.documents import ResponseEngine
from rollout.domain.versions.tags import BaselineTag
from rollout.domain.writes.answers import Failure
from rollout.engine.version_check import MOST_PAIRS, compare_versions, tag_warnings
from tests.support.values import AGENT
from tests.unit.engine.account import DOWN, version


class Engines:
    """Implements rollout.engine.ports.ResponseEngines; `asked` are the versions that were."""

    def __init__(self, failure: Failure | None = None) -> None:
        self.asked: list[int | None] = []
        self.failure = failure

    def engine(self, engine: ResponseEngine) -> Mapping[str, Any] | Failure:
        self.asked.append(engine.version)
        return self.failure or {"llm_id": engine.engine_id, "general_prompt": f"prompt {engine.version}"}


class Roots:
    """Implements rollout.engine.ports.AgentRoots."""

    def __init__(self, shown: Any) -> None:
        self.shown, self.asked = shown, list[str]()

    def tags(self, agent_id: str) -> Any:
        self.asked.append(agent_id)
        return self.shown


def test_each_version_that_is_tried_is_compared_with_each_that_is_served() -> None:
    engines = Engines()
    found = compare_versions([version(5), version(6), version(6)], [version(6), version(7)], engines)
    pairs = [(d.before, d.after) for d in found.differences]
    name = f"{AGENT} version"
    assert pairs == [(f"{name} 5", f"{name} 6"), (f"{name} 5", f"{name} 7"), (f"{name} 6", f"{name} 7")]
    assert sorted(engines.asked, key=str) == [5, 6, 7], "each document is read once"
    assert "prompt" in str(found.differences[0].to_json())


def test_at_most_ten_pairs_are_compared() -> None:
    many = [version(n) for n in range(MOST_PAIRS + 5)]
    assert len(compare_versions(many, [version(99)], None).differences) == MOST_PAIRS


def test_a_version_whose_document_is_not_known_is_not_compared() -> None:
    unknown = version(6, document={})
    assert compare_versions([unknown], [version(7)], None).differences == ()
    assert compare_versions([version(7)], [unknown], None).differences == ()


def test_where_the_engine_cannot_be_read_the_agents_are_compared_and_it_is_told() -> None:
    found = compare_versions([version(6)], [version(7)], Engines(DOWN))
    assert "its response engine could not be read: no answer" in str((found.warnings, found.differences[0].to_json()))
    custom = version(7, document={"response_engine": {"type": "custom-llm"}})
    engines = Engines()
    compare_versions([custom], [version(6, document={"agent_id": AGENT})], engines)
    assert engines.asked == [], "Retell keeps neither of them"


def test_what_makes_versions_hard_to_compare_is_told_once() -> None:
    found = compare_versions([version(5), version(6)], [version(7)], Engines())
    assert len(found.warnings) == len(set(found.warnings))


TAG = BaselineTag(AGENT, "prod", 6)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (None, f"the tags of {AGENT} cannot be read: Retell has no agent roots here"),
        (DOWN, f"the tags of {AGENT} could not be read: no answer"),
        ({}, f"{AGENT} has no tag prod now, though the baseline names it"),
        ({"prod": {"version": 6, "dynamic_variables": ["name"]}}, f"the tag prod of {AGENT} points to version 6 now"),
        ({"prod": {"version": 6}}, f"the tag prod of {AGENT} points to version 6 now"),
        ({"prod": {"version": 0, "dynamic_variables": {}}}, f"the tag prod of {AGENT} points to version 0 now"),
        ({"prod": {"version": True}}, f"the tag prod of {AGENT} points to no version, which means the latest one now"),
        (
            {"prod": {"version": 6, "dynamic_variables": {f"v{i:02}": "x" for i in range(11, -1, -1)}}},
            (
                f"the tag prod of {AGENT} points to version 6 now and has dynamic variables of its own (v00, v01, v02, v03, "
                "v04, v05, v06, v07, v08, v09): the canary is dispatched by its number and gets those of its own version's "
                "tag, or none"
            ),
        ),
    ],
)
def test_what_a_tag_points_to_is_told(shown: Any, said: str) -> None:
    assert list(tag_warnings([TAG], Roots(shown))) == [said]


def test_the_tags_of_an_agent_are_read_once_and_those_of_ten_agents_at_most() -> None:
    roots = Roots({})
    tags = [BaselineTag(f"agent_{i}", tag, 1) for i in range(MOST_PAIRS + 2) for tag in ("a", "b")]
    assert len(list(tag_warnings(tags, roots))) == 2 * MOST_PAIRS
    assert roots.asked == [f"agent_{i}" for i in range(MOST_PAIRS)]
