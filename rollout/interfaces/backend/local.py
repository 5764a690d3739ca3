"""The operations that the command line offers, on a running service or directly on the database.

`LocalBackend` works on the database, `rollout.interfaces.backend.remote.RemoteBackend` through a service. Both return
the values of rollout.interfaces.views.rollout, so nothing on the command line depends on which one it talks to.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from rollout.domain.errors import ClaimLost, InputError, NotReachable
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.interfaces.views import rollout

if TYPE_CHECKING:
    from rollout.app import App
    from rollout.domain.calendar.timetable import TimetableRow
    from rollout.domain.lifecycle.commands import By
    from rollout.domain.lifecycle.entries import CommandGiven
    from rollout.domain.lifecycle.started import StartedRollout
    from rollout.domain.plan.plan import Plan
    from rollout.interfaces.backend.plan_text import PlanText
    from rollout.interfaces.views.report import Report
    from rollout.interfaces.views.report_form import ReportForm

# The commands by their names, and the methods of `engine.commands.Commands` that carry them out.
COMMANDS = {name: name for name in ("promote", "ship", "pause", "resume", "stop", "adopt", "restore")} | {
    "set": "set_weights"
}


class Backend(Protocol):
    """The questions and commands of the command line."""

    def check(
        self, written: PlanText, *, strict: bool = False, tests: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """With `tests`, which is called with their progress, run the plan's tests as well and wait for their result."""
        ...

    def start(
        self, written: PlanText, by: By, *, at: datetime | None = None, strict: bool = False
    ) -> StartedRollout: ...

    def command(self, command: str, id_: str, by: By, *, expect: Position | None = None, **asked: Any) -> CommandGiven:
        """`asked`: what this command alone takes, such as `full` of promote."""
        ...

    def rollback(self, id_: str, by: By) -> dict[str, Any]:
        """Order the rollback: committed when it returns. A service answers with the whole rollout."""
        ...

    def follow_rollback(self, id_: str, timeout: float) -> dict[str, Any]:
        """Wait until every number of an ordered rollback is read back; NotReachable after `timeout` s."""
        ...

    def list(
        self, live: bool | None = None, *, limit: int | None = None, name: str | None = None
    ) -> builtins.list[dict[str, Any]]:
        """Rollouts, newest first: every one, or the `limit` newest; with a `name`, those that are called so."""
        ...

    def show(self, id_: str) -> dict[str, Any]: ...

    def history(self, id_: str, after: int = 0) -> builtins.list[dict[str, Any]]: ...

    def report(self, id_: str, form: ReportForm) -> str: ...

    def on_number(self, number: str) -> str: ...

    def address(self) -> str:
        """The address of the service's page, without the slash at its end."""
        ...

    def service_is_alive(self) -> bool: ...

    def close(self) -> None: ...


class LocalBackend:
    """The operations on the database itself, with the service running beside or not."""

    def __init__(self, app: App) -> None:
        self.app = app

    def check(
        self, written: PlanText, *, strict: bool = False, tests: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        if tests is not None and written.plan.tests is None:
            raise InputError(f"{written.name}: the plan has no tests; write for example tests: {{cases: all}}")
        return self.examine(written.plan, strict=strict, tests=tests)

    def examine(
        self, plan: Plan, *, strict: bool = False, tests: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """Pre-flight, the exact requests, the timetable and a forecast; `strict`: warnings refuse, too."""
        from rollout.interfaces.backend.examination import examine

        return examine(self.app, plan, strict, tests)

    def start(self, written: PlanText, by: By, *, at: datetime | None = None, strict: bool = False) -> StartedRollout:
        return self.app.commands.start(written.plan, by, at=at, strict=strict)

    def command(self, command: str, id_: str, by: By, *, expect: Position | None = None, **asked: Any) -> CommandGiven:
        if command not in COMMANDS:
            raise InputError(f"there is no command {command}; write one of: {', '.join(COMMANDS)}")
        method: Callable[..., CommandGiven] = getattr(self.app.commands, COMMANDS[command])
        return method(self.app.store.resolve(id_), by, expect=expect, **asked)

    def rollback(self, id_: str, by: By) -> dict[str, Any]:
        return self.app.commands.rollback(self.app.store.resolve(id_), by).to_json()

    def follow_rollback(self, id_: str, timeout: float) -> dict[str, Any]:
        """Drive the rollback here and now, unless another process is quicker; end at the read-back."""
        clock = self.app.clock
        give_up = clock.boot() + timeout
        while True:
            try:
                driven = self.app.drive(id_)
            except ClaimLost:
                driven = None
            r = driven if driven is not None else self.app.store.load(id_)[0]
            if r.phase is Phase.ROLLED_BACK or (r.restored_at is not None and r.phase is Phase.ROLLING_BACK):
                took = r.rollback_seconds
                return {**rollout.show(r), "seconds": None if took is None else round(took, 3)}
            if r.phase is not Phase.ROLLING_BACK:
                return rollout.show(r)  # nothing had been written, or somebody decided otherwise since
            if clock.boot() >= give_up:
                raise NotReachable(
                    f"the rollback of {id_} is ordered but not read back after {timeout:g} s ({r.why}); the service "
                    f"keeps trying; if it is down: rollout rollback {id_}, or the kit",
                    id=id_,
                )
            clock.sleep(0.05 if driven is None else min(1.0, self.app.timing.poll))

    def list(
        self, live: bool | None = None, *, limit: int | None = None, name: str | None = None
    ) -> builtins.list[dict[str, Any]]:
        return [rollout.summary(r) for r in self.app.store.every_summary(live=live, name=name, limit=limit)]

    def show(self, id_: str) -> dict[str, Any]:
        return self.document(self.app.store.load(self.app.store.resolve(id_))[0])

    def document(self, r: Rollout) -> dict[str, Any]:
        """One rollout whole, with its timetable and whether its calls can be read."""
        return {**rollout.show(r), "timetable": self.timetable(r), "calls_unreadable": self.unreadable(r)}

    def unreadable(self, r: Rollout) -> dict[str, Any] | None:
        """Since when calls of a live rollout cannot be read, and why."""
        return rollout.unreadable(self.app.store.calls.unreadable(r.id)) if r.phase.is_live else None

    def timetable(self, r: Rollout) -> str | None:
        """The timetable of all that is still to come in words; None where there are no rows."""
        from rollout.domain.calendar.wording import sentence

        try:
            rows = self.timetable_rows(r)
        except InputError as error:
            return error.message
        return sentence(rows, self.app.store.now()) if rows else None

    def timetable_rows(self, r: Rollout) -> builtins.list[TimetableRow]:
        """The moments still to come; [] once it ended, and while it is held. InputError: its calendar cannot be read."""
        if r.phase is Phase.HELD:
            return []  # nothing comes before a person answers, and nobody knows when that is
        return self.app.calendars.remaining(r, self.app.store.now())

    def report(self, id_: str, form: ReportForm) -> str:
        from rollout.interfaces.views.report_pages import written

        return written(self.report_on(self.app.store.load(self.app.store.resolve(id_))[0]), form)

    def report_on(self, r: Rollout) -> Report:
        """The report on a rollout as it stands."""
        from rollout.adapters.store.gate_records import StoredGateRecords
        from rollout.interfaces.views import report

        looks = StoredGateRecords(self.app.database).looks(r.id, report.MOST_LOOKS)
        return report.report(r, looks, self.app.store.history(r.id), self.app.store.now())

    def history(self, id_: str, after: int = 0) -> builtins.list[dict[str, Any]]:
        return [rollout.entry(e) for e in self.app.store.history(self.app.store.resolve(id_), after)]

    def on_number(self, number: str) -> str:
        return self.app.commands.on_number(number)

    def address(self) -> str:
        return self.app.settings.address

    def service_is_alive(self) -> bool:
        return bool(self.app.store.heartbeats.services())

    def close(self) -> None:
        self.app.close()
