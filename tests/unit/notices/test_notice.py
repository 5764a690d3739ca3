"""Who wants which notice, and that text from outside smuggles nothing into one."""

from __future__ import annotations

from dataclasses import replace
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.notices.notice import Notice, NoticeText, Scope, clean, compose, wanted
from rollout.domain.plan.notices import NoticeEvent, NoticeRule, Severity
from tests.support.values import rollout
from tests.unit.notices.written import told


def test_the_settings_are_told_all_but_steps() -> None:
    assert not wanted(told("confirmed"))
    assert all(wanted(told(kind)) for kind in ("begun", "held", "failed", "read_back", "completed", "stop"))


def test_a_plan_says_what_it_wants_to_be_told() -> None:
    loud = NoticeRule(url="json://example.com", min_severity=Severity.CRITICAL)
    steps = NoticeRule(url="json://example.com", events=(NoticeEvent.STEP,))
    plain = NoticeRule(url="json://example.com")
    assert [wanted(told(kind), loud) for kind in ("begun", "rollback", "failed")] == [False, False, True]
    assert [wanted(told(kind), steps) for kind in ("begun", "confirmed")] == [False, True]
    assert [wanted(told(kind), plain) for kind in ("begun", "confirmed")] == [True, False]


@given(st.text(max_size=2000))
def test_cleaned_text_is_one_printable_line(text: str) -> None:
    line = clean(text)
    assert line.isprintable()
    assert len(line) <= 600
    assert clean(line) == line
    message = EmailMessage()
    message["Subject"] = line  # raises when a header could be injected
    assert "@everyone" not in line


@pytest.mark.parametrize("ping", ["@everyone wake", "@here", "<!channel> x", "<@U123> hi", "@channel"])
def test_nobody_is_pinged(ping: str) -> None:
    assert ping.split()[0] not in clean(ping)


def test_a_text_that_is_too_long_ends_in_an_ellipsis() -> None:
    assert clean("x" * 600) == "x" * 600
    assert clean("x" * 601) == "x" * 599 + "…"
    assert clean("ab cd", 4) == "ab…", "no blank before the ellipsis"


def test_a_notice_is_a_title_and_a_line_for_each_of_its_parts() -> None:
    words = NoticeText(
        NoticeEvent.TROUBLE, Severity.WARNING, "odd things happen", "", "more of them", "rollout show r1"
    )
    found = compose("r1:7", rollout(name="n" * 81), words, "Journal")
    assert found == Notice(
        "r1:7",
        "r1",
        NoticeEvent.TROUBLE,
        Severity.WARNING,
        f"{'n' * 79}… (r1): odd things happen",
        "Odd things happen.\nWhy: no reason was given\nNext: more of them\nTo intervene: rollout show r1\nJournal",
        Scope.ALL,
    )
    assert len(compose("r1:7", rollout(), replace(words, what="x" * 300)).title) == 200
    assert compose("r1:7", rollout(), words).body.splitlines()[-1] == "To intervene: rollout show r1"


def test_notices_go_to_the_addresses_of_their_scope() -> None:
    rule, everywhere = NoticeRule(url="json://example.com"), told("held")
    for scope, settings, of_plan in ((Scope.ALL, True, True), (Scope.SETTINGS, True, False), (Scope.PLAN, False, True)):
        notice = replace(everywhere, scope=scope)
        assert (wanted(notice), wanted(notice, rule)) == (settings, of_plan)
