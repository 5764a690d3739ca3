"""`rollout doctor`: a self-test of settings, database, Retell and service, each with a sentence."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any, Protocol

from rollout.adapters.http.network import network_of
from rollout.adapters.retell.origin import parse_base_url
from rollout.adapters.settings_check import problems as settings_problems
from rollout.adapters.settings_check import shown_settings
from rollout.adapters.store import migrate
from rollout.adapters.store.disk_reserve import GIVEN_BACK
from rollout.adapters.store.interface_queries import InterfaceQueries
from rollout.app import App, build
from rollout.domain.errors import Forbidden, RolloutError, Unauthenticated
from rollout.domain.writes.answers import Failure
from rollout.settings import Settings


class _Notes:
    """Findings, in the order in which they are noted."""

    def __init__(self, checks: list[dict[str, Any]]) -> None:
        self._checks = checks

    def __call__(self, name: str, ok: bool, detail: str, exit_code: int = 4, *, warning: bool = False) -> None:
        code = 0 if ok else exit_code
        self._checks.append({"name": name, "ok": ok, "warning": warning, "detail": detail, "exit_code": code})


class Elsewhere(Protocol):
    """The questions to a running service."""

    url: str

    def readiness(self) -> Mapping[str, str]: ...

    def list(self, live: bool | None = None) -> list[dict[str, Any]]: ...


def examine_service(service: Elsewhere) -> dict[str, Any]:
    """The same of a service elsewhere, as ROLLOUT_URL names it: what it says of itself, and whether we may ask."""
    checks: list[dict[str, Any]] = []
    note = _Notes(checks)
    try:
        for name, found in service.readiness().items():
            note(name, found == "ok", found)
        note("service", all(c["ok"] for c in checks), f"{service.url} answers")
        note("rollouts", True, f"{len(service.list(live=True))} live")
    except (Unauthenticated, Forbidden) as error:
        note("token", False, error.message, error.exit_code)
    except RolloutError as error:
        note("service", False, error.message, error.exit_code)
    return {"ok": all(c["ok"] for c in checks), "checks": checks, "settings": {"url": service.url}}


def run_checks(settings: Settings) -> dict[str, Any]:
    """{"checks": [{name, ok, warning, detail, exit_code}], "settings": {...}}; nothing that counts is changed.

    `warning`: it works, and something should be set otherwise; the exit code does not speak of it.
    """
    checks: list[dict[str, Any]] = []
    note = _Notes(checks)
    for wrong in settings_problems(settings):
        note("settings", False, wrong, 2)
    none_yet, used = migrate.has_none_yet(settings), settings
    with contextlib.ExitStack() as stack:
        if none_yet:
            used = settings.model_copy(update={"database_url": stack.enter_context(migrate.scratch())})
        app = build(used)
        stack.callback(app.close)
        app.ready()
        found, wanted = None, migrate.head()
        try:
            found = migrate.current(app.database)
            ok = found == wanted
            if not none_yet:
                note("schema", ok, f"{found}" if ok else f"{found or 'empty'}; run: rollout db upgrade", 3)
        except RolloutError as error:
            note("database", False, error.message)
        if none_yet:
            note("database", True, "none in this folder yet: `rollout serve` or `rollout start` creates it")
        elif found == wanted:
            try:
                _examine_database(app, note)
            except RolloutError as error:
                note("database", False, error.message)
        note("network", True, network_of(parse_base_url(settings.retell_base_url), os.environ).sentence)
        try:
            _examine_retell(app, note)
        except RolloutError as error:
            note("retell", False, error.message, error.exit_code)
    return {"ok": all(c["ok"] for c in checks), "checks": checks, "settings": shown_settings(settings)}


def _examine_database(app: App, note: _Notes) -> None:
    InterfaceQueries(app.database).probe()  # a full disk is noticed by writing alone
    note("database", True, "can be written")
    if app.store.disk_reserve.given_back:
        note("disk", False, GIVEN_BACK)
    for wrong in app.database.sessions():
        note("sessions", False, wrong, 3)
    if advice := app.store.heartbeats.durability():
        note("durability", True, advice, warning=True)
    ahead = (app.store.now() - app.clock.now()).total_seconds()
    note("clock", abs(ahead) < 2, f"the database's clock is {round(ahead, 3) + 0.0:+.3f} s from this machine's")
    alive = app.store.heartbeats.services()
    trouble = [s for s in alive if s.trouble]
    live = len(app.store.summaries(live=True, limit=None))
    words = f"{len(alive)} running"
    if not alive:
        words = "none is running: nothing happens until you run `rollout serve`"
        words += f", and {live} live rollout{' waits' if live == 1 else 's wait'}" if live else ""
    note("service", not trouble and not (live and not alive), trouble[0].trouble if trouble else words)
    note("rollouts", True, f"{live} live")


def _examine_retell(app: App, note: _Notes) -> None:
    first = next(iter(app.numbers.all()), None)
    if isinstance(first, Failure):
        refused = first.status in (401, 403)
        note("retell", False, f"the key is refused ({first.status})" if refused else first.detail)
        return
    note("retell", True, f"{app.settings.retell_base_url} answers")
    if first is None:
        return
    with app.numbers.session([first.number]) as session:
        alone = session.read([first.number])[first.number]
    if isinstance(alone, Failure):
        note("if-match", False, alone.detail)
    elif alone.etag is None:
        note("if-match", True, "not supported: Retell returns numbers without an ETag")
    else:
        note("if-match", True, "supported: steps are written with If-Match, and 412 counts as drift")
