"""What pre-flight finds: targets with their baselines, and what it refuses or warns of, in words."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.errors import KeyRefused, NameTaken, NotReachable, PreflightRefused
from rollout.domain.plan.plan import Plan
from rollout.domain.writes.answers import Failure, Trouble
from rollout.domain.writes.protocol import body_of, lists_at
from rollout.engine.ports import NumberOwner
from rollout.engine.preflight import Preflight, _first_of
from rollout.engine.server_limits import ServerLimits
from tests.support.values import AGENT, FIELD, ONE, THREE, TWO, entry, only, plan
from tests.unit.engine.account import DOWN, GONE, NO_KEY, Account, reading, version

OTHER = NumberOwner("r9", "other", "progressing")
HOURS: dict[str, Any] = {"windows": {"from": "09:00", "to": "17:00"}, "zone": "UTC"}


def chosen(*numbers: Any) -> Plan:
    return plan(numbers)


def test_five_problems_are_named_and_the_rest_counted() -> None:
    problems = [f"problem {i}" for i in range(7)]
    assert _first_of(problems[:5]) == "problem 0; problem 1; problem 2; problem 3; problem 4"
    assert _first_of(problems) == "problem 0; problem 1; problem 2; problem 3; problem 4; and 2 more"


def test_each_number_becomes_a_target_with_what_it_serves_as_its_baseline() -> None:
    account = Account(reading(ONE), reading(TWO, entry(5), modified=2_000, lists={"outbound_agents": [entry(5)]}))
    found = account.preflight(plan([ONE, TWO]))
    assert (found.problems, found.warnings, found.tests, found.tags) == ((), (), None, ())
    first, second = found.targets
    assert (first.number, first.ord, first.wave, first.step, first.modified) == (ONE, 0, 1, 0, 1_000)
    assert (second.number, second.ord, second.modified) == (TWO, 1, 2_000)
    assert first.baseline == first.split == only(6)
    assert second.baseline == only(5)
    assert first.others != second.others
    assert set(found.readings) == {ONE, TWO}
    assert found.columns() == {"tags": None, "tests": None}


# ------------------------------------------------------------------ refusing


def test_what_is_found_is_refused_with_problems_first_and_warnings_where_asked() -> None:
    found = Preflight(plan(), problems=("a problem",), warnings=("a warning",))
    for strict, said in ((False, "pre-flight refuses: a problem"), (True, "pre-flight refuses: a problem; a warning")):
        with pytest.raises(PreflightRefused) as caught:
            found.refuse(strict=strict)
        assert caught.value.message == said
        assert caught.value.details["problems"] == ["a problem"]
        assert caught.value.details["warnings"] == ["a warning"]
    Preflight(plan(), warnings=("a warning",)).refuse()
    with pytest.raises(PreflightRefused, match="a warning"):
        Preflight(plan(), warnings=("a warning",)).refuse(strict=True)


def test_a_name_or_a_number_that_is_taken_is_told_alone() -> None:
    account = Account(reading(ONE, entry(99)))
    taken = f"{ONE} is already driven by other (r9): wait until it ends, stop it or roll it back"
    found = account.preflight(plan([ONE]), drivers=lambda numbers: dict.fromkeys(numbers, OTHER))
    assert found.problems == (taken,)
    assert (found.targets, account.asked) == ((), [])
    named = account.preflight(plan(), name_taken_by="r8")
    assert len(named.problems) == 1
    assert "r8" in named.problems[0]
    with pytest.raises(NameTaken) as caught:
        named.refuse()
    assert caught.value.details["rollout_id"] == "r8"


def test_a_number_that_is_chosen_by_its_nickname_and_driven_is_told_alone() -> None:
    account = Account(reading(ONE, nickname="desk 1"), reading(TWO, nickname="home"))
    found = account.preflight(
        chosen({"nickname": "desk*"}), drivers=lambda numbers: {n: OTHER for n in numbers if n == ONE}
    )
    assert [said.split()[0] for said in found.problems] == [ONE]


# ------------------------------------------------------------------ versions


@pytest.mark.parametrize(
    ("seven", "said"),
    [
        (version(7, is_published=False), f"canary: {AGENT} version 7 is a draft: publish it before you start"),
        (
            version(7, is_suspended=True),
            f"canary: {AGENT} version 7: the agent is suspended, so its calls would fail: write another version",
        ),
        (GONE, f"canary: {AGENT} version 7 does not exist"),
    ],
    ids=["draft", "suspended", "gone"],
)
def test_a_version_that_cannot_be_tried_is_a_problem(seven: Any, said: str) -> None:
    account = Account()
    account.versions[AGENT, 7] = seven
    assert account.preflight(plan()).problems == (said,)


def test_an_agent_that_does_not_exist_is_named() -> None:
    account = Account()
    account.versions = {(AGENT, 6): version(6)}
    (said,) = account.preflight(plan()).problems
    assert said == f"canary: {AGENT} version 7 does not exist, because Retell has no agent {AGENT}"


@pytest.mark.parametrize("which", [6, 7])
@pytest.mark.parametrize(("failure", "error"), [(DOWN, NotReachable), (NO_KEY, KeyRefused)])
def test_versions_that_cannot_be_asked_for_end_it(which: int, failure: Failure, error: type[Exception]) -> None:
    account = Account()
    account.versions[AGENT, which] = failure
    with pytest.raises(error):
        account.preflight(plan())


def test_a_baseline_that_is_gone_or_a_draft_is_told_once_with_the_first_number() -> None:
    account = Account(reading(ONE), reading(TWO))
    account.versions[AGENT, 6] = GONE
    assert account.preflight(plan([ONE, TWO])).problems == (
        f"{ONE}: its baseline names {AGENT} version 6, which does not exist: a rollback would be refused",
    )
    account.versions[AGENT, 6] = version(6, is_published=False)
    found = account.preflight(plan([ONE, TWO]))
    assert (found.problems, found.warnings) == (
        (),
        (f"the baseline's {AGENT} version 6 is a draft, which may still be edited",),
    )


def test_a_tag_of_a_baseline_is_kept_with_its_version_and_a_draft_behind_it_is_no_news() -> None:
    account = Account(reading(ONE, entry("prod")), reading(TWO, entry("latest")))
    account.versions |= {(AGENT, "prod"): version(5, is_published=False), (AGENT, "latest"): version(7)}
    found = account.preflight(plan([ONE, TWO]))
    assert [(t.agent_id, t.tag, t.version) for t in found.tags] == [(AGENT, "prod", 5)]
    assert not any("draft" in said for said in found.warnings)
    assert found.columns()["tags"] == found.tags


def test_where_a_tag_points_is_told_where_retell_shows_agent_roots() -> None:
    account = Account(reading(ONE, entry("prod")))
    account.versions[AGENT, "prod"] = version(5)

    class Roots:
        def tags(self, _agent_id: str) -> dict[str, Any]:
            return {"prod": {"version": 5}}

    said = f"the tag prod of {AGENT} points to version 5 now"
    assert said in account.preflight(plan(), versions=account.lookup(roots=Roots())).warnings
    assert said not in account.preflight(plan()).warnings


# ------------------------------------------------------------------ numbers


def test_numbers_that_retell_does_not_know_or_the_server_does_not_allow_are_problems() -> None:
    found = Account().preflight(plan([ONE, TWO]), limits=ServerLimits(frozenset({ONE})))
    assert [said for said in found.problems if TWO in said] == [
        f"{TWO} is not in ROLLOUT_ALLOWED_NUMBERS: take it out of the plan, or have it added to the service's settings",
        f"{TWO}: Retell does not know this number: write one of the key's workspace",
    ]
    assert len(found.problems) == 2


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Failure(Trouble.REJECTED, "unprocessable", 422), None),
        (GONE, None),
        (DOWN, NotReachable),
        (NO_KEY, KeyRefused),
        (Failure(Trouble.REJECTED, "bad request", 400), NotReachable),
    ],
)
def test_a_number_that_cannot_be_read_is_unknown_or_ends_it(failure: Failure, error: type[Exception] | None) -> None:
    account = Account()
    account.readings[ONE] = failure
    if error is None:
        assert "does not know this number" in account.preflight(plan()).problems[0]
    else:
        with pytest.raises(error):
            account.preflight(plan())


def test_numbers_are_chosen_by_their_nickname_or_by_what_they_serve() -> None:
    account = Account(
        reading(ONE, nickname="desk 1"), reading(TWO, nickname="home"), reading(THREE, entry(5), nickname="desk 2")
    )
    assert [t.number for t in account.preflight(chosen({"nickname": "desk*"})).targets] == [ONE, THREE]
    assert account.sessions == [], "the list of the account has them"
    serving = {"serving": {"agent_id": AGENT, "agent_version": 6}}
    assert [t.number for t in account.preflight(chosen(serving)).targets] == [ONE, TWO]
    assert [t.number for t in account.preflight(chosen(THREE, serving)).targets] == [THREE, ONE, TWO]
    sms = {"lists": {"inbound_sms_agents": [entry(5)]}}
    one_of_two = Account(reading(ONE, **sms), reading(TWO, entry(5), **sms)).preflight(
        plan([serving], channels=["inbound", "inbound_sms"])
    )
    assert [t.number for t in one_of_two.targets] == [ONE], "on any of the plan's channels"
    nobody = account.preflight(chosen({"nickname": "shop*"}))
    assert nobody.problems == ("no number of the account matches the plan's numbers; see `rollout check`",)
    account.listed = [reading(ONE), DOWN]
    with pytest.raises(NotReachable):
        account.preflight(chosen(serving))


def test_waves_are_filled_in_order_and_an_order_by_chance_follows_the_seed() -> None:
    numbers = [f"+1415777{i:04d}" for i in range(10)]
    account = Account(*map(reading, numbers))
    listed = account.preflight(plan(numbers, waves=[1, "50%", "100%"]), seed=3)
    assert [t.wave for t in listed.targets] == [1, *[2] * 4, *[3] * 5]
    assert [t.number for t in listed.targets] == numbers

    def order(drawn_by: int, **changes: Any) -> list[str]:
        of = plan(numbers[::-1], waves=[1, "100%"], wave_order="random", **changes)
        return [t.number for t in account.preflight(of, seed=drawn_by).targets]

    assert order(3) == order(3)
    assert sorted(order(3)) == numbers
    assert len({tuple(order(seed)) for seed in range(5)}) == 5
    assert order(1, seed=7) == order(2, seed=7) == order(7), "the plan's own seed decides"
    assert order(1, seed=0) == order(0)


# ------------------------------------------------------------------ what is told


@pytest.mark.parametrize(("retreat", "told"), [(0.09, False), (0.1, True), (0.2, True)])
def test_a_retreat_that_no_step_is_above_changes_nothing(retreat: float, told: bool) -> None:
    steps = [{"weight": 0.05, "hold": "1h"}, {"weight": 0.1, "hold": "1h"}]
    found = Account().preflight(plan(steps=steps, closing={"retreat": retreat}, **HOURS))
    said = "closing: no step has more than the retreat weight, so nothing changes at closing time"
    assert (said in found.warnings) is told


def test_what_changes_between_the_versions_is_told_in_the_journal() -> None:
    account = Account()
    account.versions[AGENT, 7] = version(7, document={**version(7).document, "voice_id": "other"})
    account.versions[AGENT, 6] = version(6, document={**version(6).document, "voice_id": "one"})
    found = account.preflight(plan())
    (difference,) = found.differences
    assert "voice_id" in str(difference.to_json())
    told = found.summary().to_json()
    assert told["warnings"] == list(found.warnings)
    assert told["differences"] == [difference.to_json()]


def test_the_bodies_of_a_number_are_those_of_each_step_and_of_its_rollback() -> None:
    of = plan([ONE, TWO], closing={"retreat": 0.05}, **HOURS)
    found = Account(reading(ONE), reading(TWO, entry(5))).preflight(of)
    assert found.bodies(TWO) == [body_of(lists_at(of, only(5), step)) for step in (1, 2, 3, 0)]
    assert found.retreat_body(TWO) == body_of(lists_at(of, only(5), 1, 500))
    assert Account().preflight(plan()).retreat_body(ONE) is None


def test_a_number_with_a_problem_does_not_hide_those_of_others() -> None:
    found = Account(reading(ONE, lists={FIELD: []}), reading(TWO, entry(99))).preflight(plan([ONE, TWO]))
    assert [said.split(":")[0].split()[0] for said in found.problems] == [ONE, TWO]
    assert found.targets[0].baseline == {}
