"""How far a batch of simulated runs is."""

from __future__ import annotations

from rollout.domain.agent_tests.runs import BatchProgress


def test_a_run_is_done_however_it_ended() -> None:
    assert BatchProgress("batch_1", is_complete=False, passed=1, failed=2, errors=4, total=9).done == 7
