"""Tags that a baseline names: what becomes of them, and what a person's answer makes of that."""

from __future__ import annotations

import json

from rollout.domain.versions.tags import BaselineTag, adopted, from_json, moved, to_json
from tests.support.values import AGENT

STABLE = BaselineTag(AGENT, "stable", 6)


def test_a_tag_is_seen_where_it_points_now() -> None:
    assert STABLE.seen_at(6) == STABLE
    assert STABLE.seen_at(8) == BaselineTag(AGENT, "stable", 6, is_moved=True, now=8)
    assert STABLE.seen_at(None) == BaselineTag(AGENT, "stable", 6, is_moved=True)
    assert STABLE.seen_at(8).seen_at(6) == STABLE, "moved back is not moved"


def test_the_tags_that_a_person_has_to_answer_for_are_named() -> None:
    assert moved([STABLE, STABLE.seen_at(8), BaselineTag(AGENT, "prod", 5).seen_at(None)]) == ["stable", "prod"]
    assert moved(None) == []


def test_adopting_takes_tags_where_they_are_and_forgets_those_that_are_gone() -> None:
    gone = BaselineTag(AGENT, "prod", 5).seen_at(None)
    assert adopted([STABLE, BaselineTag(AGENT, "beta", 7).seen_at(9), gone]) == (STABLE, BaselineTag(AGENT, "beta", 9))


def test_tags_survive_the_rollouts_row() -> None:
    tags = (STABLE, STABLE.seen_at(8), STABLE.seen_at(None))
    assert from_json(json.loads(json.dumps(to_json(tags)))) == tags
    assert from_json(None) == ()
