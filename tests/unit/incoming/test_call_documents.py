"""What is taken of a call's document, and where each part of it ends."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.calls import CallDetails
from rollout.domain.incoming import call_documents


@pytest.mark.parametrize(
    ("value", "taken"),
    [(0, 0.0), (1e9 - 1, 1e9 - 1), (1e9, None), (-0.5, None), (True, None), ("5", None), (None, None)],
)
def test_a_figure_is_a_number_from_nought_to_a_thousand_million(value: object, taken: float | None) -> None:
    assert call_documents.figure({"a": {"b": value}}, "a", "b") == taken


def test_a_figure_that_lies_elsewhere_is_missing() -> None:
    assert call_documents.figure({"a": 5}, "a", "b") is None
    assert call_documents.figure({"a": {"c": 5}}, "a", "b") is None
    assert call_documents.figure({"a": {"b": {}}}, "a", "b") is None
    assert call_documents.figures({"latency": {"e2e": {"p50": 1, "p90": 2}}}) == {"e2e_p90": 2.0}


def custom(**fields: Any) -> dict[str, Any]:
    return call_documents.custom({"custom_analysis_data": fields})


def test_custom_fields_are_truths_numbers_and_short_texts() -> None:
    assert custom(yes=True, no=False, tries=3, text="x" * 100) == {
        "yes": True,
        "no": False,
        "tries": 3.0,
        "text": "x" * 100,
    }
    assert custom(long="x" * 101, most=1e9, least=-1e9, list=[], nothing=None) == {}
    assert custom(most=1e9 - 1, least=1 - 1e9) == {"most": 1e9 - 1, "least": 1 - 1e9}
    assert call_documents.custom({"custom_analysis_data": [1]}) == {}
    assert call_documents.custom({}) == {}


def test_of_many_custom_fields_the_first_two_hundred_count() -> None:
    many = {f"f{i}": i for i in range(201)}
    assert list(custom(**many)) == list(many)[:200]


def test_texts_are_such_as_every_database_takes() -> None:
    assert custom(**{"n" * 101: "a\0b\ud800"}) == {"n" * 100: "a?b?"}


def spoken(*utterances: Any) -> CallDetails:
    found = call_documents.details({"transcript_with_tool_calls": list(utterances)})
    assert found is not None
    return found


def asked(name: Any, id_: Any) -> dict[str, Any]:
    return {"role": "tool_call_invocation", "tool_call_id": id_, "name": name}


def answered(id_: Any, successful: Any) -> dict[str, Any]:
    return {"role": "tool_call_result", "tool_call_id": id_, "successful": successful}


def test_a_call_without_a_transcript_has_no_details() -> None:
    assert call_documents.details({}) is None
    assert call_documents.details({"transcript_with_tool_calls": {}}) is None
    assert spoken() == CallDetails(False, {})


@pytest.mark.parametrize(
    ("utterance", "backup"),
    [
        ({"role": "agent", "metadata": {"backup_model_used": {}}}, True),
        ({"role": "agent", "metadata": {"backup_model_used": None}}, False),
        ({"role": "agent", "metadata": []}, False),
        ("metadata", False),
    ],
)
def test_a_backup_model_is_seen_by_what_an_utterance_says_of_it(utterance: Any, backup: bool) -> None:
    assert spoken({"role": "user"}, utterance, "odd") == CallDetails(backup, {})


def test_a_tool_is_told_by_its_own_results_wherever_they_stand() -> None:
    assert spoken(answered("1", False), asked("book", "1"), asked("look", "2"), answered("2", True)).tools == {
        "book": True,
        "look": False,
    }
    assert spoken(asked("book", "1"), {**answered("1", False), "role": "agent"}).tools == {"book": None}
    assert (
        spoken(asked("book", 1), asked(None, "1"), answered(1, False), {**asked("x", "1"), "role": "user"}).tools == {}
    )


def test_of_many_tools_the_first_hundred_count_and_they_to_the_end() -> None:
    many = [asked(f"t{i}", str(i)) for i in range(101)]
    found = spoken(*many, asked("t0", "again"), answered("again", False)).tools
    assert found == {**{f"t{i}": None for i in range(100)}, "t0": True}


def test_a_transcript_beyond_all_bounds_is_read_to_a_bound() -> None:
    silence: list[Any] = [None] * 19_999
    assert spoken(*silence, asked("t", "1"), asked("u", "2")).tools == {"t": None}
