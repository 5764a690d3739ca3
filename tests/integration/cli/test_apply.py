"""`rollout apply`: what is new is started, what runs is left alone, and what differs is said."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.interfaces.cli.apply import comparable, plan_differences
from rollout.sandbox import Sandbox
from tests.support.inside import Inside
from tests.support.values import ONE, TWO, plan

PLAN = """\
version: 1
name: {name}
numbers: ["{number}"]
channels: [inbound]
canary: {{agent_id: agent_frontdesk, agent_version: 7}}
steps:
  - {{weight: {weight}, hold: 30m}}
  - {{weight: 1.0, hold: 1d}}
gates: {{profile: none}}
"""


def write(inside: Inside, name: str, number: str = ONE, weight: float = 0.1, file: str = "") -> None:
    inside.write(f"plans/{file or name}.yaml", PLAN.format(name=name, number=number, weight=weight))


def results(done: Any) -> dict[str, str]:
    return {row["name"]: row["result"] for row in done.json["plans"]}


def test_new_plans_are_started_and_running_ones_left_alone(inside: Inside, quiet: Sandbox) -> None:
    write(inside, "first")
    dry = inside("apply", "plans", "--dry-run", "--json")
    assert (dry.code, results(dry)) == (0, {"first": "new"})
    assert inside("list", "--json").json == []

    done = inside("apply", "plans", "--json", "--reason", "merged")
    assert (done.code, results(done)) == (0, {"first": "started"})
    (listed,) = inside("list", "--json").json
    assert listed["id"] == done.json["plans"][0]["id"]

    write(inside, "second", TWO)
    again = inside("apply", "plans", "--json")
    assert (again.code, results(again)) == (0, {"first": "running", "second": "started"})
    assert len(inside("list", "--json").json) == 2
    created = inside("history", "first", "--json").json[0]
    assert (created["kind"], created["reason"]) == ("created", "merged")
    assert quiet.log(method="PATCH") == [], "starting is recording: the service writes"


def test_another_plan_of_the_same_name_changes_nothing_and_says_what_differs(inside: Inside) -> None:
    write(inside, "first")
    assert inside("apply", "plans").code == 0
    before = inside("show", "first", "--json").json
    write(inside, "first", weight=0.2)
    done = inside("apply", "plans")
    assert done.code == 3
    assert "steps[0].weight is 0.2 here and 0.1 there" in done.err
    assert "differs" in done.out
    after = inside("show", "first", "--json").json
    assert (after["plan"], after["epoch"]) == (before["plan"], before["epoch"])
    assert len(inside("list", "--json").json) == 1


def test_what_has_ended_is_not_started_again_unless_the_plan_is_new(inside: Inside) -> None:
    write(inside, "first")
    assert inside("apply", "plans").code == 0
    assert inside("stop", "first", "--reason", "no").code == 0
    done = inside("apply", "plans", "--json")
    assert (done.code, results(done)) == (0, {"first": "ended"})
    assert "stopped on " in done.json["plans"][0]["detail"]
    write(inside, "first", weight=0.3)
    assert results(inside("apply", "plans", "--json")) == {"first": "started"}
    assert inside("stop", "first").code == 0
    write(inside, "first", weight=0.1)
    assert results(inside("apply", "plans", "--json")) == {"first": "ended"}, "an earlier one counts, too"


def test_a_refused_plan_does_not_keep_the_others_from_starting(inside: Inside) -> None:
    write(inside, "a-unknown", "+14157779999")
    write(inside, "b-good")
    write(inside, "c-taken", ONE)
    dry = inside("apply", "plans", "--dry-run", "--json")
    assert (dry.code, results(dry)["a-unknown"]) == (3, "refused")
    done = inside("apply", "plans", "--json")
    assert done.code == 3
    assert results(done) == {"a-unknown": "refused", "b-good": "started", "c-taken": "refused"}
    details = {row["name"]: row["detail"] for row in done.json["plans"]}
    assert "Retell does not know this number" in details["a-unknown"]
    assert "already driven by b-good" in details["c-taken"]


def test_one_wrong_plan_starts_nothing(inside: Inside) -> None:
    write(inside, "good")
    inside.write("plans/deep/wrong.yaml", "version: 1\nname: wrong\nnumbers: [+1]\n")
    write(inside, "good", TWO, file="twin")
    done = inside("apply", "plans")
    assert done.code == 2
    assert "plans/deep/wrong.yaml:3" in done.err
    assert "is called good, too" in done.err
    assert inside("list", "--json").json == []


@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_a_folder_without_plans_is_said(inside: Inside, folder: str) -> None:
    (inside.folder / "empty").mkdir()
    (inside.folder / "empty" / "notes.md").write_text("no plan")
    done = inside("apply", folder)
    assert (done.code, done.out) == (2, "")


def test_offline_needs_nothing(inside: Inside) -> None:
    write(inside, "first")
    inside.write("plans/.hidden.yaml", "not a plan")
    unreachable = {"ROLLOUT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x", "RETELL_API_KEY": ""}
    done = inside("apply", "plans", "--offline", "--json", **unreachable)
    assert (done.code, results(done)) == (0, {"first": "valid"})


def test_plans_are_compared_by_what_they_mean() -> None:
    one = plan()
    assert list(plan_differences(comparable(one.canonical()), comparable(one.canonical()))) == []
    bare = {k: v for k, v in one.canonical().items() if k != "on_failure"}
    assert list(plan_differences(comparable(bare), comparable(one.canonical()))) == [], (
        "a default written out is no difference"
    )
    other = plan(numbers=(ONE, TWO), deadline="7d")
    assert list(plan_differences(comparable(other.canonical()), comparable(one.canonical()))) == [
        "deadline is 7d here and left out there",
        f"numbers is ['{ONE}', '{TWO}'] here and ['{ONE}'] there",
    ]


def test_notices_are_compared_without_their_addresses() -> None:
    def with_url(url: str, severity: str) -> dict[str, Any]:
        return comparable({**plan().canonical(), "notify": [{"url": url, "min_severity": severity}]})

    assert list(plan_differences(with_url("json://a", "info"), with_url("***", "info"))) == []
    assert list(plan_differences(with_url("json://a", "info"), with_url("***", "error"))) == [
        "notify[0].min_severity is info here and error there"
    ]


def test_nothing_known_is_started_again_however_many_came_after(inside: Inside) -> None:
    write(inside, "first")
    assert inside("apply", "plans").code == 0
    assert inside("stop", "first").code == 0
    write(inside, "second", TWO)
    assert results(inside("apply", "plans", "--json")) == {"first": "ended", "second": "started"}
    assert results(inside("apply", "plans", "--json")) == {"first": "ended", "second": "running"}
