"""`set` and `ship` in every phase: where they may be given, and the sentence that refuses them where not."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.adapters.store.repository import Store
from rollout.domain.lifecycle.machine import Phase
from tests.support.hand import Hand

SET_WHERE: dict[Phase, str | None] = {
    Phase.PENDING: "it has not started yet",
    Phase.PROGRESSING: None,
    Phase.PAUSED: "resume it first",
    Phase.HELD: "answer it first: adopt, restore, rollback or stop",
    Phase.PROMOTED: "it has ended as promoted; start a new rollout",
    Phase.ROLLING_BACK: "wait until its rollback has ended",
    Phase.ROLLED_BACK: "it has ended as rolled_back; start a new rollout",
    Phase.STOPPED: "it has ended as stopped; start a new rollout",
}
SHIP_WHERE: dict[Phase, str | None] = {**SET_WHERE, Phase.PAUSED: None}


def commands_in_every_phase(store: Store, id_: str) -> Iterator[tuple[str, str | None]]:
    """Puts the rollout, whose step counts as confirmed, into each phase: the command, and what refuses it there."""
    words = {"set": "set to other weights", "ship": "shipped"}
    for command, where in (("set", SET_WHERE), ("ship", SHIP_WHERE)):
        for phase, advice in where.items():
            Hand(store).run(
                "UPDATE rollouts SET phase = :phase, due_at = NULL, started_at = created_at, confirmed_at = created_at, "
                "by_hand = NULL, hand_split = NULL, wave = 1, step = 1 WHERE id = :id",
                id=id_,
                phase=str(phase),
            )
            yield command, None if advice is None else f"a rollout that is {phase} cannot be {words[command]}: {advice}"
