"""In a company's network, where the only ways out are a proxy and a connection pooler: nothing is lost."""

from __future__ import annotations

import random

import pytest

from tests.processes.company import new_company, with_a_kill
from tests.processes.nursery import Nursery


@pytest.mark.postgres
def test_rollouts_through_a_proxy_and_pgbouncer_survive_a_kill(nursery: Nursery, postgres_url: str) -> None:
    with new_company(nursery, postgres_url) as company:
        tally = with_a_kill(company, random.Random(1), 30)
    assert tally.faults == []
    assert tally.ends.total() == 30 and tally.kills.total() == 1
