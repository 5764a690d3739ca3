"""What makes two versions hard to compare is named, and nothing else is."""

from typing import Any

import pytest

from rollout.domain.versions.confounders import ANALYSIS, confounders
from rollout.domain.versions.documents import VersionDocument

SAME = {"voice_id": "v", "language": "en-US"}


def told(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return list(confounders("a v1", "a v2", VersionDocument({**SAME, **old}), VersionDocument({**SAME, **new})))


def test_versions_that_differ_in_what_callers_hear_are_compared_well() -> None:
    assert told({"voice_id": "x"}, {"interruption_sensitivity": 0.5}) == []


@pytest.mark.parametrize("field", sorted(ANALYSIS))
def test_another_analysis_is_named(field: str) -> None:
    for old, new in (({}, {field: "x"}), ({field: "x"}, {field: "y"})):
        [sentence] = told(old, new)
        assert ANALYSIS[field] in sentence and "different rules" in sentence


def test_contact_memory_is_named_for_the_version_that_has_it_on() -> None:
    on, off = {"enable_read": True, "enable_update": True}, {"enable_read": False, "enable_update": False}
    assert told({"contact_memory_config": off}, {"contact_memory_config": off}) == []
    [sentence] = told({}, {"contact_memory_config": on})
    assert sentence.startswith("a v2 has contact memory on (read and update)")
    assert len(told({"contact_memory_config": on}, {"contact_memory_config": on})) == 2
    [sentence] = told({"contact_memory_config": {"enable_update": True}}, {"contact_memory_config": "on"})
    assert sentence.startswith("a v1 has contact memory on (update)")


def test_other_languages_and_channels_are_named() -> None:
    assert "en-US and de-DE, en-US" in told({}, {"language": ["en-US", "de-DE"]})[0]
    assert "(Retell's default and en-US)" in told({"language": None}, {})[0]
    assert told({"language": ["a", "b"]}, {"language": ["b", "a"]}) == []
    chat = VersionDocument({"language": "en-US"})
    assert list(confounders("a", "b", VersionDocument(SAME), chat)) == [
        "b and the baseline's a are for different channels (voice and chat)"
    ]
