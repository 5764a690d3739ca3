"""Errors that nobody foresaw: the command says what it was and where, for it has no log."""

from __future__ import annotations

import pytest

from rollout.interfaces.backend.local import LocalBackend
from tests.support.inside import Inside
from tests.support.plans import PLAN


@pytest.fixture
def live(inside: Inside) -> str:
    inside.write("plan.yaml", PLAN)
    done = inside("start", "plan.yaml")
    assert done.code == 0, done.err
    return done.out.strip()


def test_an_unforeseen_error_in_rollback_says_what_and_where(
    inside: Inside, live: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: LocalBackend, _id: str, _timeout: float) -> None:
        raise ZeroDivisionError("seven by\nnothing")

    monkeypatch.setattr(LocalBackend, "follow_rollback", broken)
    done = inside("rollback", live)
    assert done.code == 1
    assert "unexpected ZeroDivisionError at " in done.err
    assert "pause_and_rollback.py:" in done.err
    assert "seven by nothing" in done.err
    assert "the rollback is ordered" in done.err
    assert "the log has it" not in done.err


def test_an_unforeseen_error_in_any_command_says_what_and_where(
    inside: Inside, live: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: LocalBackend, _id: str) -> None:
        raise ZeroDivisionError("seven by nothing")

    monkeypatch.setattr(LocalBackend, "show", broken)
    done = inside("show", live)
    assert done.code == 1
    first = done.err.splitlines()[0]
    assert first.startswith("rollout: unexpected ZeroDivisionError at ")
    assert first.endswith(": seven by nothing")
    assert "show_commands.py:" in first, "the innermost line of ours"
