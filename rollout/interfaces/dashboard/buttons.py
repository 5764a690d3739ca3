"""The commands of a rollout's page: the event and the right of each, and the buttons that fit a phase. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.domain.lifecycle.machine import Event, Phase, allows
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.versions import tags
from rollout.interfaces.auth.roles import Right
from rollout.interfaces.dashboard.rollout_sentences import weight_at

EVENTS = {
    "promote": Event.PROMOTE_ASKED,
    "set": Event.SET_ASKED,
    "ship": Event.SHIP_ASKED,
    "pause": Event.PAUSE_ASKED,
    "resume": Event.RESUME_ASKED,
    "adopt": Event.ADOPT_ASKED,
    "restore": Event.RESTORE_ASKED,
    "stop": Event.STOP_ASKED,
    "rollback": Event.ROLLBACK_ASKED,
}
RIGHTS = {name: Right.HALT if name in ("pause", "rollback") else Right.OPERATE for name in EVENTS}


@dataclass(frozen=True, slots=True)
class Button:
    """One thing a person may ask now. `full` only with promote."""

    command: str
    label: str
    right: Right
    full: bool = False

    @property
    def href(self) -> str:
        """The address of its confirmation, behind that of the rollout."""
        return f"{self.command}?full=1" if self.full else self.command


def buttons(r: Rollout) -> list[Button]:
    """The commands that fit this phase, rollback left out: that one is always there."""
    if r.stop_asked:
        return []
    found = []
    if allows(r.phase, Event.PROMOTE_ASKED):
        after = r.next_position
        if r.confirmed_at is None and r.retreated is not None:
            label = f"Write step {r.position} now ({weight_at(r, r.position)})"
            found.append(Button("promote", label, Right.OPERATE))
        elif r.confirmed_at is not None and not (after is None and r.promote_asked):
            label = "End the bake" if after is None else f"Promote to {after} ({weight_at(r, after)})"
            found.append(Button("promote", label, Right.OPERATE))
        if after is not None and after != r.last_position:
            found.append(
                Button("promote", f"Promote all the way ({weight_at(r, r.last_position)})", Right.OPERATE, True)
            )
    for command, label, possible in (
        ("set", "Set weights", _may_set(r)),
        (
            "ship",
            "Ship a version",
            allows(r.phase, Event.SHIP_ASKED) and r.started_at is not None and r.shipped is None,
        ),
        ("resume", "Resume", r.phase is Phase.PAUSED),
        ("adopt", "Adopt the live split", allows(r.phase, Event.ADOPT_ASKED)),
        ("restore", "Restore the split", allows(r.phase, Event.RESTORE_ASKED) and not tags.moved(r.tags)),
        ("pause", "Pause", allows(r.phase, Event.PAUSE_ASKED)),
        ("stop", "Stop", allows(r.phase, Event.STOP_ASKED)),
    ):
        if possible:
            found.append(Button(command, label, RIGHTS[command]))
    return found


def _may_set(r: Rollout) -> bool:
    ready = r.confirmed_at is not None and not r.promote_asked and r.shipped is None
    return ready and allows(r.phase, Event.SET_ASKED)
