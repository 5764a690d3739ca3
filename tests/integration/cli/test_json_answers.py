"""`--json`: one document on standard output whatever happens, and the same sentence and exit code as without it."""

from __future__ import annotations

import json

import pytest

from rollout.domain import errors
from rollout.domain.errors import RolloutError
from rollout.interfaces.backend.local import LocalBackend
from tests.support.inside import Inside
from tests.support.plans import PLAN

FAILING = {
    "an unknown rollout": (("show", "nothing"), 2, "unknown_rollout"),
    "an unknown rollout of a command": (("pause", "nothing"), 2, "unknown_rollout"),
    "a missing argument": (("show",), 2, "input_error"),
    "an unknown option": (("list", "--nothing"), 2, "input_error"),
    "an unknown command": (("nothing",), 2, "input_error"),
    "a plan that is not there": (("check", "nothing.yaml"), 2, "input_error"),
    "a plan that is not valid": (("start", "wrong.yaml"), 2, "plan_error"),
    "a refusal": (("resume", "frontdesk-v7"), 3, "illegal_transition"),
    "a stale expectation": (("pause", "frontdesk-v7", "--expect", "3.3"), 3, "stale_expectation"),
}


@pytest.fixture
def live(inside: Inside) -> Inside:
    inside.write("plan.yaml", PLAN)
    inside.write("wrong.yaml", "version: 1\n")
    done = inside("start", "plan.yaml")
    assert done.code == 0, done.err
    return inside


@pytest.mark.parametrize("name", FAILING)
def test_a_failure_is_a_document_with_the_same_sentence_and_exit_code(live: Inside, name: str) -> None:
    args, code, kind = FAILING[name]
    plain, done = live(*args), live(*args, "--json")
    assert plain.code == done.code == code
    assert plain.out == ""
    answer = json.loads(done.out)
    assert list(answer) == ["error"] and list(answer["error"]) == ["code", "message", "hint"]
    assert answer["error"]["code"] == kind and answer["error"]["message"] in done.err
    assert answer["error"]["hint"]


def test_an_unforeseen_failure_is_a_document_too(live: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: LocalBackend, _id: str) -> None:
        raise ZeroDivisionError("seven by nothing")

    monkeypatch.setattr(LocalBackend, "show", broken)
    done = live("show", "x", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "unexpected")
    assert done.json["error"]["message"].endswith(": seven by nothing")


def test_what_was_found_before_the_failure_is_in_the_same_document(live: Inside) -> None:
    live.write("taken.yaml", PLAN)
    refused = live("check", "taken.yaml", "--json")
    assert refused.code == 3
    assert refused.json["problems"] and not refused.json["ok"]
    assert refused.json["error"]["code"] == "preflight_refused"
    several = live("check", "taken.yaml", "plan.yaml", "--json")
    assert [report["name"] for report in several.json["items"]] == ["frontdesk-v7"] * 2
    assert several.json["error"]["code"] == "preflight_refused"


def test_an_answer_without_a_failure_is_as_it_was(live: Inside) -> None:
    assert [r["name"] for r in live("list", "--json").json] == ["frontdesk-v7"]
    assert live("show", "frontdesk-v7", "--", "--json").code == 2, "behind -- nothing is an option"


def test_a_rollout_that_is_watched_ends_with_its_document(live: Inside) -> None:
    assert live("rollback", "frontdesk-v7").code == 0
    done = live("watch", "frontdesk-v7", "--json")
    assert done.code == 5
    assert (done.json["phase"], done.json["error"]["code"]) == ("rolled_back", "not_promoted")


@pytest.mark.parametrize("kind", [k for k in vars(errors).values() if isinstance(k, type) and k is not RolloutError])
def test_every_error_has_a_code_and_a_hint(kind: type) -> None:
    if issubclass(kind, RolloutError):
        assert errors.code_of(kind).replace("_", "").isalpha() and kind.hint
