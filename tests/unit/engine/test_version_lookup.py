"""The lookup of agent versions: what it remembers, for how long, and whether what a rollout needs still exists."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.versions.tags import BaselineTag
from rollout.domain.writes.answers import Failure, Trouble
from rollout.engine.version_lookup import VersionCheck, baseline_tags, is_gone
from tests.support.values import AGENT, FIELD, ONE, TWO, entry, plan, rollout, target
from tests.unit.engine.account import DOWN, GONE, NO_KEY, Account, version

CANARY_GONE = f"canary {AGENT} version 7 is gone: not found"
BASELINE_GONE = f"the baseline's {AGENT} version 6 is gone, so a rollback would be refused"


def test_a_good_answer_serves_for_a_minute_and_a_bad_one_never() -> None:
    account = Account()
    lookup = account.lookup()
    asked = []
    for seconds in (0, 59.9, 0.1, 59.9):
        account.clock.advance(seconds)
        assert lookup.look_up(AGENT, 6) == version(6)
        asked.append(len(account.asked))
    assert asked == [1, 1, 2, 2]
    for _ in range(2):
        assert lookup.look_up(AGENT, 99) is GONE
    assert len(account.asked) == 4
    assert lookup.look_up(AGENT, 7) == version(7)
    lookup.forget()
    lookup.look_up(AGENT, 6)
    assert account.asked[-1] == (AGENT, 6)


def test_what_is_past_its_time_is_dropped() -> None:
    account = Account()
    lookup = account.lookup()
    for number in range(100):
        account.versions["agent", number] = version(number)
        lookup.look_up("agent", number)
        account.clock.advance(20)
    assert len(lookup._known) == 3


@pytest.mark.parametrize(
    ("seven", "six", "found"),
    [
        (version(7), version(6), VersionCheck()),
        (GONE, version(6), VersionCheck(canary_gone=CANARY_GONE)),
        (version(7, is_suspended=True), version(6), VersionCheck(canary_gone=f"canary {AGENT} is suspended")),
        (version(7), GONE, VersionCheck(baseline_gone=BASELINE_GONE)),
        (version(7), version(6, is_suspended=True), VersionCheck()),
        (GONE, GONE, VersionCheck(canary_gone=CANARY_GONE, baseline_gone=BASELINE_GONE)),
        (DOWN, version(6), VersionCheck("Retell cannot be reached: no answer")),
        (version(7), DOWN, VersionCheck("Retell cannot be reached: no answer")),
        (NO_KEY, version(6), VersionCheck("Retell refuses the API key (401)", True)),
        (GONE, NO_KEY, VersionCheck("Retell refuses the API key (401)", True)),
    ],
)
def test_the_versions_of_a_rollout_are_there_or_gone_or_not_known(seven: Any, six: Any, found: VersionCheck) -> None:
    account = Account()
    account.versions |= {(AGENT, 7): seven, (AGENT, 6): six}
    assert account.lookup().check(rollout()) == found


def test_each_version_of_the_baselines_is_looked_up() -> None:
    account = Account()
    baselines = [{FIELD: [entry(6, 0.5), entry("prod", 0.5)]}, {FIELD: None, "inbound_sms_agents": [entry(5)]}]
    targets = [target(n, baseline=baseline) for n, baseline in zip((ONE, TWO), baselines, strict=True)]
    account.versions[AGENT, "prod"] = version(6)
    assert account.lookup().check(rollout(targets=tuple(targets), plan=plan([ONE, TWO]))) == VersionCheck()
    assert set(account.asked) == {(AGENT, 7), (AGENT, 6), (AGENT, "prod"), (AGENT, 5)}


@pytest.mark.parametrize(
    ("prod", "now"),
    [(version(6), (False, None)), (version(7), (True, 7)), (GONE, (True, None)), (DOWN, (False, None))],
    ids=["as it was", "moved", "deleted", "not known"],
)
def test_a_tag_is_followed_and_what_retell_does_not_say_stays(prod: Any, now: tuple[bool, int | None]) -> None:
    account = Account()
    account.versions[AGENT, "prod"] = prod
    (found,) = account.lookup().tags(rollout(tags=(BaselineTag(AGENT, "prod", 6),)))
    assert (found.is_moved, found.now) == now
    assert account.lookup().tags(rollout()) == ()


def test_the_tags_of_baselines_are_kept_once_and_not_words_of_retells() -> None:
    account = Account()
    account.versions |= {(AGENT, "prod"): version(6), (AGENT, "latest"): version(7)}
    lists = {FIELD: [entry("prod", 0.4), entry("latest", 0.3), entry(5, 0.2), entry("lost", 0.1)]}
    found = baseline_tags(account.lookup(), {ONE: lists, TWO: {**lists, "inbound_sms_agents": [entry("prod")]}})
    assert found == (BaselineTag(AGENT, "prod", 6),)
    assert (AGENT, "latest") not in account.asked


@pytest.mark.parametrize(
    ("trouble", "status", "gone"),
    [
        *((Trouble.REJECTED, status, status in (400, 404, 422)) for status in (400, 401, 403, 404, 422)),
        (Trouble.UNREACHABLE, 404, False),
        (Trouble.UNREACHABLE, None, False),
    ],
)
def test_only_a_definite_answer_says_that_a_version_is_gone(trouble: Trouble, status: int | None, gone: bool) -> None:
    assert is_gone(Failure(trouble, "no", status)) is gone
