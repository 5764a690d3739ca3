"""Who wants which notice, and that text from outside smuggles nothing into one."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.notices.notice import clean, wanted
from rollout.domain.plan.notices import NoticeEvent, NoticeRule, Severity
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
