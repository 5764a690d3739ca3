"""Pictures of the page: `python -m tests.screenshots` draws those of the README and the documents into docs/img;
`python -m tests.screenshots FOLDER` draws every page in every state, on a desk and on a phone, in light and dark.

A service on a file, its clock in our hand; calls come from a seed, so the same code draws the same pictures.
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser, Page, expect, sync_playwright

from rollout.adapters.planfile.calendar_file import calendars_at
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
from rollout.adapters.store.gate_records import StoredGateRecords
from rollout.domain.calls import CallRecord, FetchMark
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.machine import HeldReason
from rollout.domain.plan.plan import Plan
from rollout.engine.gate_check import GateCheck
from rollout.interfaces.auth.roles import create_token
from tests.integration.dashboard.conftest import CHROMIUM, FLAGS
from tests.integration.dashboard.test_dashboard_states import keep
from tests.integration.dashboard.world import World, _server
from tests.support.clock import FakeClock
from tests.support.scene import Scene
from tests.support.values import plan

AGENT = "agent_frontdesk"
MARIA = By("token:t1:Maria", "booking flow reworked in v7")
CALENDARS = Path(__file__).parents[1] / "config" / "calendars.example.toml"
IMAGES = Path(__file__).parents[1] / "docs" / "img"
DESK, PHONE = (1280, 800), (390, 844)
PICTURES = {  # of the documents: the state, the size, the theme
    "page-overview": ("overview", DESK, "light"),
    "page-rollout": ("reception-v7", DESK, "light"),
    "page-rollout-phone": ("reception-v7", PHONE, "light"),
    "page-rolled-back": ("airport-v7", DESK, "dark"),
    "page-confirm": ("confirm-promote", DESK, "light"),
}
AB_STEPS = [{"weights": {"b": 0.2, "c": 0.2}, "hold": "2h"}, {"weights": {"b": 0.3, "c": 0.3}, "hold": "14d"}]
STEPS = [{"weight": 0.1, "hold": "2h"}, {"weight": 0.5, "hold": "1d"}, {"weight": 1.0, "hold": "1d"}]


def _version(version: int) -> dict[str, Any]:
    return {"agent_id": AGENT, "agent_version": version}


class Gallery(Scene):
    """Rollouts in every state, each on a number of its own, judged by the real gates."""

    def __enter__(self) -> Gallery:
        super().__enter__()
        self.gates = GateCheck(StoredGateRecords(self.app.database))
        self.app.close()
        self.app = self._build()
        self.random = random.Random(7)
        self.made: dict[str, str] = {}
        self.sandbox.add_agent(AGENT, [5, 6, 7, 8])
        return self

    def begins(self, name: str, **changes: Any) -> str:
        """A rollout of version 7 on a new number."""
        number = f"+1415555{1000 + len(self.made)}"
        entry = {"agent_id": AGENT, "agent_version": 6, "weight": 1}
        self.sandbox.add_number(number, inbound_agents=[entry], nickname=name.replace("-", " ").title())
        later = changes.pop("later", None)
        self.app.store.calls.observe([self._call(number, 6, 0.15, ago=timedelta(hours=i)) for i in range(1, 200)])
        plan: dict[str, Any] = {
            "version": 1,
            "name": name,
            "numbers": [number],
            "channels": ["inbound"],
            "canary": {"agent_id": AGENT, "agent_version": 7},
            "steps": STEPS,
            "gates": {"profile": "standard"},
        }
        at = None if later is None else self.clock.now() + later
        given = {key: value for key, value in {**plan, **changes}.items() if value is not None}
        self.id = self.app.commands.start(Plan.model_validate(given), MARIA, at=at).id
        self.made[name] = number
        self.drive()
        return self.id

    def calls(self, number: str, count: int, *, bad: float = 0.14, every: float = 240.0, most_looks: int = 60) -> None:
        """Calls of this number, one every so many seconds; of the canary's, this share goes wrong."""
        each = max(1, count // most_looks)
        for i in range(count):
            self.clock.advance(every * self.random.expovariate(1))
            entries = self.live(number)
            version = self.random.choices(entries, [e["weight"] for e in entries])[0]["agent_version"]
            self.app.store.calls.observe([self._call(number, version, 0.15 if version == 6 else bad)])
            if i % each and i != count - 1:
                continue
            now = self.clock.now()
            self.app.store.calls.mark(FetchMark(number, "inbound", now - timedelta(seconds=60), now))
            self.app.store.wake([self.id], read_numbers=False)
            self.drive()
            if self.rollout.phase.is_final:
                return

    def _call(self, number: str, version: int, bad: float, *, ago: timedelta = timedelta()) -> CallRecord:
        at, went_wrong = self.clock.now() - ago, self.random.random() < bad
        hard = went_wrong and self.random.random() < 0.15
        return CallRecord(
            f"call_{self.random.randrange(16**10):010x}",
            AGENT,
            version,
            number,
            "inbound",
            at,
            at + timedelta(seconds=self.random.randrange(20, 200)),
            "ended",
            "error_llm_websocket_open" if hard else "user_hangup",
            self.random.uniform(700, 1100),
            not went_wrong,
            "Negative" if went_wrong and self.random.random() < 0.6 else "Neutral",
            False,
            {},
            True,
        )


def play(g: Gallery) -> dict[str, str]:
    """Every state, once; the paths of its page by name. Those that ended come first: the others share their clock."""
    found: dict[str, str] = {}

    def state(name: str, then: Callable[[str], None], **changes: Any) -> None:
        id_ = g.begins(name, **changes)
        then(g.made[name])
        found[name] = f"/rollouts/{id_}"

    def promoted(number: str) -> None:
        g.calls(number, 2600, bad=0.10, every=90)
        while not g.rollout.phase.is_final:
            g.calls(number, 200, bad=0.10, every=600)

    def rolled_back(number: str) -> None:
        g.calls(number, 600, bad=0.5)
        g.after(3600)

    def stopped(number: str) -> None:
        g.calls(number, 80)
        g.app.commands.stop(g.id, By("token:t2:Jonas", "v8 is coming instead"))
        g.drive()

    def by_hand(number: str) -> None:
        g.calls(number, 150)
        g.app.commands.rollback(g.id, By("token:t2:Jonas", "callers report long silences"))

    def asked_back(number: str) -> None:
        by_hand(number)
        g.clock.advance(1.4)
        g.drive()
        g.after(3600)

    def paused(number: str) -> None:
        g.calls(number, 120)
        g.app.commands.pause(g.id, By("token:t1:Maria", "wait for the new opening hours"))
        g.drive()

    def drifted(number: str) -> None:
        g.calls(number, 60)
        g.sandbox.edit(number, inbound_agents=[{"agent_id": AGENT, "agent_version": 8, "weight": 1}])
        g.scan()

    def unread(number: str) -> None:
        g.calls(number, 60)
        g.app.store.calls.mark_trouble(number, "inbound", g.clock.now(), "it answers 503")
        g.clock.advance(1800)
        g.app.store.wake([g.id], read_numbers=False)
        g.drive()

    def shipped(number: str) -> None:
        g.calls(number, 400, bad=0.10, every=90)
        g.app.commands.ship(g.id, By("token:t1:Maria", "c keeps more callers"), variant="c", anyway=True)
        g.drive()

    def set_by_hand(number: str) -> None:
        g.calls(number, 200, bad=0.10, every=90)
        g.app.commands.promote(g.id, MARIA, full=True)
        g.drive()
        g.app.commands.set_weights(g.id, By("token:t1:Maria", "half of them for a while"), weights={"canary": "0.8"})
        g.drive()
        g.after(90_000)

    two = {"canary": None, "variants": {"b": _version(7), "c": _version(8)}, "steps": AB_STEPS}
    state("downtown-v7", promoted)
    state("airport-v7", rolled_back)
    state("ferry-v7", asked_back)
    state("harbour-v7", stopped)
    state("gym-ab", shipped, **two)
    state("cinema-ab", lambda number: g.calls(number, 900, bad=0.12, every=60), **two)
    state("museum-hand", set_by_hand, gates={"profile": "none"})
    state("clinic-v7", paused)
    state("hotel-v7", drifted)
    state("museum-v7", unread)
    by_person = [{**STEPS[0], "approve": True}, *STEPS[1:]]
    state("garage-v7", lambda number: g.calls(number, 700, bad=0.10, every=100), steps=by_person)
    state("reception-v7", lambda number: g.calls(number, 900, bad=0.12, every=60))
    state("sales-v7", lambda _: None, gates={"profile": "none"})
    state("pharmacy-v7", lambda _: None, later=timedelta(hours=14))
    state("support-v7", lambda number: g.calls(number, 70, bad=0.12, every=60))
    state("bakery-v7", lambda _: None)
    state("theatre-v7", by_hand)
    found |= {name: f"/{name}" for name in ("new", "numbers", "journal", "calendars", "tokens", "system", "sign-in")}
    found |= {"overview": "/", "number": f"/numbers/{g.made['airport-v7']}", "error": "/rollouts/nothing"}
    found |= {f"bulk-{command}": f"/bulk/{command}" for command in ("pause", "resume", "rollback")}
    for command in ("rollback", "promote", "set", "ship?variant=canary", "pause", "stop"):
        found[f"confirm-{command.partition('?')[0]}"] = f"{found['support-v7']}/{command}"
    found |= {f"confirm-{command}": f"{found['hotel-v7']}/{command}" for command in ("adopt", "restore")}
    found |= {"confirm-resume": f"{found['clinic-v7']}/resume"}
    told = ("downtown-v7", "airport-v7", "harbour-v7", "gym-ab", "cinema-ab", "reception-v7", "bakery-v7")
    found |= {f"report-{name}": f"{found[name]}/report" for name in told}
    return found


def holds(service: World) -> dict[str, str]:
    """A rollout held for each reason, as the store has it."""
    made = {}
    for i, reason in enumerate(HeldReason):
        number = f"+1415556{1000 + i}"
        of = plan([number], name=f"held-{reason}")
        made[f"held-{reason}"] = f"/rollouts/{keep(service, i, [number], of, phase='held', reason=str(reason))}"
    return made


@contextmanager
def gallery() -> Iterator[tuple[World, dict[str, str], Gallery]]:
    """The service with all of it."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/rollout.db"
        database = Database(url, FakeClock())
        migrate.upgrade(database)
        database.close()
        with Gallery(url, read_rate=10_000, change_rate=10_000) as scene:  # its clock stands still
            paths = play(scene)
            service = World(scene.app, scene.sandbox, None, _server(scene.app, None, 0))
            for role, name in (("operator", "Maria"), ("admin", "Ada")):
                service.tokens[role] = create_token(scene.app.store, role, name, None, None, "cli:test")[1]
            scene.app.__dict__["calendars"] = calendars_at(CALENDARS)
            try:
                yield service, paths, scene
            finally:
                service.server.stop()


def draw(service: World, page: Page, path: str, file: Path, *, whole: bool) -> None:
    """One picture; `whole`: the page to its end, else what is seen at first."""
    service.app.store.heartbeats.beat(service.app.owner)  # a thread that sleeps moves this clock on
    page.goto(service.url + path)
    page.screenshot(path=file, full_page=whole)


def opened(
    browser: Browser, service: World, scene: Gallery, size: tuple[int, int], scheme: str, role: str = "operator"
) -> Page:
    """A page of that size in that theme, at the time of the scene."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        device_scale_factor=1,
        timezone_id="America/New_York",
        is_mobile=size == PHONE,
    )
    page = context.new_page()
    page.clock.set_fixed_time(scene.clock.now())
    service.sign_in(page, role)
    return page


def _a_plan_checked(page: Page, service: World, scene: Gallery, file: Path) -> None:
    """The form of a new rollout with a plan that was checked."""
    page.goto(f"{service.url}/new?number={quote(scene.made['downtown-v7'])}")
    page.fill("#f-name", "downtown-v8")
    page.fill("#arm-0-agent", AGENT)
    page.fill("#arm-0-version", "8")
    expect(page.locator("#plan")).to_have_value(re.compile("agent_version: 8"))
    page.click("#check")
    page.wait_for_selector("#start")
    page.screenshot(path=file, full_page=True)


def main(folder: Path | None) -> None:
    """All states into the folder, or the pictures of the documents."""
    with gallery() as (service, paths, scene), sync_playwright() as play_:
        browser = play_.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        if folder is None:
            for picture, (name, size, scheme) in PICTURES.items():
                page = opened(browser, service, scene, size, scheme)
                draw(service, page, paths[name], IMAGES / f"{picture}.png", whole=False)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            looks = {
                (size, scheme, role): opened(browser, service, scene, size, scheme, role)
                for size, scheme, role in product((DESK, PHONE), ("light", "dark"), ("operator", "admin"))
            }
            for shown in (paths, {"new-checked": "/new"}, holds(service)):
                for (size, scheme, role), page in looks.items():
                    for name, path in shown.items():
                        file = folder / f"{name}-{size[0]}-{scheme}.png"
                        if role != ("admin" if name in ("tokens", "system") else "operator"):
                            continue
                        if name == "new-checked":
                            _a_plan_checked(page, service, scene, file)
                        else:
                            draw(service, page, path, file, whole=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
