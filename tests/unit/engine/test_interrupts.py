"""Which drives a command takes their rollout away from."""

from __future__ import annotations

from rollout.domain.lifecycle.records import Claim
from rollout.engine.interrupts import Interrupts
from tests.support.clock import START


def held(epoch: int, id_: str = "r1") -> Claim:
    return Claim(id_, epoch, "me", START, 0)


def test_an_urgent_command_interrupts_every_drive_until_the_next_begins() -> None:
    interrupts = Interrupts()
    interrupts.changed("r1", urgent=False)
    assert interrupts.woken.is_set()
    assert not interrupts("r1", 0)
    interrupts.changed("r1", urgent=True)
    assert interrupts("r1", 9)
    assert not interrupts("r2", 1)
    interrupts.clear(held(9, "r2"))
    assert interrupts("r1", 9)
    interrupts.clear(held(10))
    assert not interrupts("r1", 10)


def test_a_command_of_another_process_interrupts_drives_of_older_epochs() -> None:
    interrupts = Interrupts()
    interrupts.taken("r1", 5)
    assert interrupts.woken.is_set()
    assert [interrupts("r1", epoch) for epoch in (4, 5, 6)] == [True, False, False]
    interrupts.taken("r1", 3)
    assert interrupts("r1", 4), "what is told late takes nothing back"
    interrupts.clear(held(4))
    assert interrupts("r1", 4), "it was claimed before the command"
    interrupts.clear(held(5))
    assert not interrupts("r1", 4), "the newest claim is driven"


def test_of_many_commands_the_newest_are_known() -> None:
    interrupts = Interrupts()
    interrupts.MOST = 3
    for i in (1, 2, 3, 1, 4):
        interrupts.changed(f"r{i}", urgent=True)
        interrupts.taken(f"s{i}", 7)
    for kind, epoch in (("r", 9), ("s", 6)):
        assert [interrupts(f"{kind}{i}", epoch) for i in (1, 2, 3, 4)] == [True, False, True, True]
