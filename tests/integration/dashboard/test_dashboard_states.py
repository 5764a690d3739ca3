"""What a page looks like with nothing, with too much, with errors, and with text that wants to be more than text."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from rich.console import Console
from sqlalchemy import text as sql

from rollout.adapters.exposition.prometheus import metrics_text
from rollout.adapters.store import archive
from rollout.adapters.store import rollouts as rows
from rollout.adapters.store.interface_queries import EndedSearch, InterfaceQueries
from rollout.domain.agent_tests.judgement import TestOutcome, TestVerdict
from rollout.domain.agent_tests.runs import BatchProgress
from rollout.domain.agent_tests.state import AgentTests, CaseFailure, TestArm
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.machine import HeldReason, Phase
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import Rollout, TargetState
from rollout.domain.plan.plan import Plan
from rollout.domain.versions.difference import difference
from rollout.domain.versions.documents import ResponseEngine, VersionDocument
from rollout.interfaces.backend.local import LocalBackend
from rollout.interfaces.cli import show_commands
from rollout.interfaces.dashboard import buttons
from rollout.interfaces.dashboard import formatting as words
from rollout.interfaces.dashboard.page_state import PageState
from tests.integration.dashboard.world import World, world
from tests.support.clock import START
from tests.support.values import confirmed, created, entry, plan

HOSTILE = [
    '"><img src=x onerror=window.pwned=1>',
    "</script><script>window.pwned=1</script>",
    "<svg/onload=window.pwned=1>",
    "{{7*7}} {% for x in y %} ${7*7} #{7*7}",
    "javascript:window.pwned=1",
    "' onmouseover='window.pwned=1",
    "</textarea><script>window.pwned=1</script>",
    "\u202egnp.exe\u2066",
]


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service in which nothing moves: no scheduler."""
    with world(tmp_path_factory.mktemp("still"), ticking=False) as found:
        yield found


def keep(service: World, index: int, numbers: list[str], of: Plan | None = None, **changes: object) -> str:
    """Puts a rollout into the store as it is, without a pre-flight."""
    made, first = kept(index, numbers, of, **changes)
    return service.app.store.create(lambda now: (_at(made, now), first), None).id


def keep_all(service: World, made: list[tuple[Rollout, JournalEntry]]) -> None:
    """The same for many, at once."""
    now = service.app.store.now()
    with service.app.database.write() as connection:
        for one, first in made:
            rows.create(connection, _at(one, now), first, now)


def kept(index: int, numbers: list[str], of: Plan | None = None, **changes: object) -> tuple[Rollout, JournalEntry]:
    of = of or plan(numbers, name=f"fleet-{index:03d}")
    targets = tuple(replace(confirmed(n), ord=i) for i, n in enumerate(numbers))
    values = {"id": f"kept{index:06d}", "plan": of, "name": of.name, "targets": targets, **changes}
    return created(**{**values, "phase": Phase(str(changes.get("phase", "pending")))})


def _at(made: Rollout, now: object) -> Rollout:
    return replace(made, created_at=now, updated_at=now)


class Elements(HTMLParser):
    """Every element with its attributes' names, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def harmless(text: str) -> Elements:
    """The page's elements; none of them came with a text."""
    page = Elements(text)
    for tag, attributes in page.found:
        assert not [a for a in attributes if re.match("on[a-z]", a)], (tag, attributes)
        assert "style" not in attributes
        if tag == "script":
            assert "src" in attributes
        assert tag not in ("img", "iframe", "object", "embed", "base")
    return page


# ------------------------------------------------------------------ nothing, too much


def test_an_empty_service_says_what_to_do(tmp_path: Path) -> None:
    with world(tmp_path, ticking=False) as service:
        page = service.ask("GET", "/", cookie=service.session("operator"))
        assert "No rollout is under way" in page.text
        assert 'href="/new"' in page.text
        assert "No service is driving rollouts" in page.text


def test_three_hundred_rollouts_and_a_thousand_numbers(still: World) -> None:
    held = {"phase": "held", "reason": "drift"}
    keep_all(still, [kept(i, [f"+1416{5000000 + i}"], **(held if i == 7 else {})) for i in range(300)])
    cookie = still.session("operator")
    page = still.ask("GET", "/", cookie=cookie)
    assert "<strong>300</strong> live" in page.text
    assert page.text.count('<tr id="r-') == 50
    assert page.text.index("fleet-007") < page.text.index("fleet-299"), "what needs an answer comes first"
    assert "part 1 of 6" in page.text
    assert len(page.text) < 200_000
    last = still.ask("GET", "/?page=6", cookie=cookie)
    assert "part 6 of 6" in last.text
    found = still.ask("GET", "/?q=fleet-123", cookie=cookie)
    assert found.text.count('<tr id="r-') == 1
    assert "No live rollout fits" in still.ask("GET", "/?q=nothing+like+it", cookie=cookie).text

    numbers = [f"+1417{6000000 + i}" for i in range(1000)]
    id_ = keep(still, 999, numbers)
    page = still.ask("GET", f"/rollouts/{id_}", cookie=cookie)
    assert "1,000 numbers" in page.text
    assert "part 1 of 20" in page.text
    assert len(page.text) < 200_000
    filtered = still.ask("GET", f"/rollouts/{id_}?number=6000777", cookie=cookie)
    assert filtered.text.count('href="/numbers/+1417') == 1
    assert "No number fits" in still.ask("GET", f"/rollouts/{id_}?state=missing", cookie=cookie).text
    order = still.ask("GET", f"/rollouts/{id_}/rollback", cookie=cookie)
    assert "The same PATCH for 1,000 numbers" in order.text


def test_numbers_in_trouble_come_first(still: World) -> None:
    numbers = [f"+1418{7000000 + i}" for i in range(60)]
    targets = tuple(
        replace(confirmed(n), ord=i, state=TargetState.DRIFTED if i == 55 else TargetState.CONFIRMED)
        for i, n in enumerate(numbers)
    )
    id_ = keep(still, 998, numbers, targets=targets)
    page = still.ask("GET", f"/rollouts/{id_}", cookie=still.session("viewer")).text
    assert page.index(numbers[55]) < page.index(f'href="/numbers/{numbers[0]}"')


def test_what_changes_and_the_tests_that_failed_are_shown(still: World) -> None:
    ended = AgentTests(
        (TestArm("canary", ResponseEngine("retell-llm", "llm_1", 7), ("case_a",)),),
        1,
        batches=(BatchProgress("b1", True, 0, 1, 0, 1),),
        verdict=TestVerdict(TestOutcome.FAILED, "tests failed: 1 of 1 runs failed"),
        failures=(CaseFailure("canary", "Books a table", 1, "<b>no table</b>"),),
    )
    made, first = kept(997, ["+14187000099"], phase="stopped", tests=ended)
    found = difference("a v6", "a v7", VersionDocument({"voice_id": "<i>"}), VersionDocument({"voice_id": "Kate"}))
    entry_ = replace(first, data={"differences": [found.to_json()]})
    keep_all(still, [(made, entry_)])
    page = harmless(still.ask("GET", f"/rollouts/{made.id}", cookie=still.session("viewer")).text)
    assert "tests failed: 1 of 1 runs failed" in page.text
    assert "canary: Books a table failed in 1 of its runs: <b>no table</b>" in page.text
    assert 'voice_id: "<i>" -> "Kate"' in page.text


def test_only_the_live_part_is_sent_to_the_script(still: World) -> None:
    cookie = still.session("viewer")
    whole = still.ask("GET", "/", cookie=cookie).text
    part = still.ask("GET", "/", cookie=cookie, headers={"HX-Request": "true"}).text
    assert "<html" in whole
    assert "<html" not in part
    ended = still.ask("GET", "/", headers={"HX-Request": "true"})
    assert (ended.status, ended.text) == (401, "")


# ------------------------------------------------------------------ every state, phase and reason


STANDS = [(phase, None) for phase in Phase] + [(Phase.HELD, reason) for reason in HeldReason]


@pytest.mark.parametrize(("phase", "reason"), STANDS, ids=lambda v: str(v or ""))
def test_pages_are_there_in_every_phase_with_numbers_in_every_state(
    still: World, phase: Phase, reason: HeldReason | None
) -> None:
    index = 700 + STANDS.index((phase, reason))
    numbers = [f"+1420{1000000 + 100 * index + i}" for i in range(len(TargetState))]
    lists = confirmed().split
    targets = tuple(
        replace(confirmed(n), ord=i, state=state, live=lists, live_at=START)
        for i, (n, state) in enumerate(zip(numbers, TargetState, strict=True))
    )
    id_ = keep(still, index, numbers, targets=targets, phase=phase, reason=reason and str(reason))
    cookie = still.session("operator")
    pages = ["/", f"/?phase={phase}", f"/rollouts/{id_}", *(f"/numbers/{n}" for n in numbers)]
    pages += [f"/rollouts/{id_}?state={state}" for state in TargetState]
    pages += [f"/rollouts/{id_}/{command}" for command in buttons.EVENTS]
    for path in pages:
        answer = still.ask("GET", path, cookie=cookie)
        assert answer.status == 200, (path, answer.text)
    page = unescape(still.ask("GET", f"/rollouts/{id_}", cookie=cookie).text)
    assert [state for state in TargetState if words.TARGETS[state][0] not in page] == []
    assert words.PHASES[phase][0] in page and (reason is None or words.HELD[reason] in page)
    listed = LocalBackend(still.app)
    assert {t["state"] for t in listed.show(id_)["targets"]} == set(TargetState)
    buffer = io.StringIO()
    Console(file=buffer, width=200).print(show_commands.picture(listed.show(id_)))
    assert [state for state in TargetState if state not in buffer.getvalue()] == []
    metrics_text(still.app)


def test_the_pages_of_a_number_that_moved_on_and_of_its_earlier_rollouts(service: World) -> None:
    number = service.number()
    first = service.start(number)
    service.app.commands.promote(first, By("cli:test", "go"), full=True)
    service.until(lambda: service.app.store.load(first)[0].confirmed_at)
    service.app.commands.promote(first, By("cli:test", "end"))
    service.until(lambda: service.phase(first) == "promoted")
    second = service.start(number, canary={"agent_id": "agent_frontdesk", "agent_version": 8})
    assert str(service.app.store.load(first)[0].targets[0].state) == "superseded"
    for path in (f"/numbers/{number}", f"/rollouts/{first}", f"/rollouts/{second}", f"/rollouts/{first}/rollback"):
        answer = service.ask("GET", path, cookie=service.session("operator"))
        assert answer.status == 200, (path, answer.text)
    for path in (f"/numbers/{number}", f"/rollouts/{first}"):
        assert "a later rollout has it" in service.ask("GET", path, cookie=service.session("viewer")).text


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/rollouts/nothing", 404, "There is no rollout nothing"),
        ("/numbers/+14150000000", 404, "No rollout has used"),
        ("/numbers/hello", 422, "write E.164"),
        ("/?before=yesterday", 422, "before:"),
        ("/numbers/+14150000000?fresh=perhaps", 422, "fresh"),
    ],
)
def test_errors_are_pages_that_say_what_to_do(still: World, path: str, status: int, words: str) -> None:
    answer = still.ask("GET", path, cookie=still.session("viewer"))
    assert answer.status == status
    assert words in unescape(answer.text)
    assert "Traceback" not in answer.text
    harmless(answer.text)


def test_a_page_number_of_any_length_is_an_answer(still: World) -> None:
    """Python reads no whole number of more than 4300 digits: such an address was an internal error."""
    id_ = keep(still, 951, ["+14198950002"], phase=Phase.STOPPED)
    digits, cookie = "9" * 5000, still.session("viewer")
    for path in (f"/?page={digits}", f"/numbers?page={digits}", f"/rollouts/{id_}?tpage={digits}&before={digits}"):
        assert still.ask("GET", path, cookie=cookie).status == 200, path[:30]


def test_a_number_that_cannot_be_read_now_shows_the_last_look(service: World) -> None:
    number = service.number()
    service.start(number)
    service.sandbox.fault("status", method="GET", path=f"/get-phone-number/{number}*", status=500, times=20)
    try:
        answer = service.ask("GET", f"/numbers/{number}?fresh=1", cookie=service.session("viewer"))
    finally:
        service.sandbox.clear_faults()
    assert answer.status == 200
    assert "could not be read now" in answer.text
    assert "10 % v7, 90 % v6" in answer.text.replace("\u00a0", " ")


# ------------------------------------------------------------------ text stays text


@pytest.mark.parametrize("text", HOSTILE)
def test_stored_text_stays_text(still: World, text: str) -> None:
    """As a name, a reason, what comes next and why, who it was, and as an agent that somebody named in Retell."""
    index = 500 + HOSTILE.index(text)
    number = f"+1419{8000000 + index}"
    of = plan([number], name=text if text.isprintable() else "turned")
    theirs = {"inbound_agents": [entry(6, agent=text)]}
    target = replace(confirmed(number), baseline=theirs, split=theirs, live=theirs, live_at=START)
    id_ = keep(
        still,
        index,
        [number],
        of,
        name=text,
        targets=(target,),
        phase="held",
        reason=text,
        next=text,
        why=text,
        created_by=f"token:x:{text}",
    )
    said = text if text.isprintable() else "turned"  # of the others none can be given any more
    still.app.commands.stop(id_, By(f"token:x:{said}", said))
    cookie = still.session("operator")
    for path in ("/", f"/?q={index}", f"/rollouts/{id_}", f"/rollouts/{id_}/rollback", f"/numbers/{number}"):
        harmless(still.ask("GET", path, cookie=cookie).text)
    shown = harmless(still.ask("GET", f"/rollouts/{id_}", cookie=cookie).text).text
    if "\u202e" in text:
        assert "\u202e" not in shown
        assert "\ufffdgnp.exe" in shown
    else:
        assert text in shown


def test_an_alert_of_strangers_stays_text(service: World, operator: Page) -> None:
    """The reason of a rollback that an alert ordered, in a real browser."""
    id_ = service.start(name="<b>bold</b>")
    service.app.commands.rollback(id_, By("hook:alertmanager", HOSTILE[0] + HOSTILE[1]))
    for path in ("/", f"/rollouts/{id_}"):
        operator.goto(service.url + path)
        expect(operator.locator("#main")).to_contain_text("<b>bold</b>")
        assert operator.evaluate("window.pwned") is None
    expect(operator.locator("section.now")).to_contain_text("<img src=x onerror")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_plan_comes_back_as_text(still: World, text: str) -> None:
    cookie = still.session("operator")
    csrf = still.ask("GET", "/new", cookie=cookie).csrf
    for body in (text, json.dumps({"version": 1, "name": text, text: 1})):
        answer = still.ask("POST", "/new/check", {"csrf": csrf, "plan": body}, cookie=cookie)
        assert answer.status == 422
        page = harmless(answer.text)
        areas = [attributes for tag, attributes in page.found if tag == "textarea"]
        assert ("id", "name", "rows", "wrap", "spellcheck", "autocapitalize", "aria-describedby") in areas


def test_a_new_plan_that_decides_late_is_shown_the_ladder_to_write(still: World) -> None:
    cookie = still.session("operator")
    csrf = still.ask("GET", "/new", cookie=cookie).csrf
    steps = [{"weight": 0.1, "hold": "30m"}, {"weight": 1.0, "hold": "1h"}]
    plan = still.plan(still.number(), name="late", deadline="7d", steps=steps, gates={"profile": "standard"})
    answer = still.ask("POST", "/new/check", {"csrf": csrf, "plan": json.dumps(plan)}, cookie=cookie)
    assert answer.status == 200
    assert "It would take long to decide" in answer.text
    assert "{weight: 0.5, hold: 30m}" in answer.text
    plan["steps"].insert(1, {"weight": 0.5, "hold": "30m"})
    again = still.ask("POST", "/new/check", {"csrf": csrf, "plan": json.dumps(plan)}, cookie=cookie)
    assert "It would take long to decide" not in again.text


def test_a_hostile_search_comes_back_as_text(still: World) -> None:
    for text in HOSTILE:
        page = harmless(still.ask("GET", f"/?q={quote(text)}", cookie=still.session("viewer")).text)
        assert "No live rollout fits" in page.text or "No rollout is under way" in page.text


@pytest.mark.parametrize(
    "body", ["a: &x [*x]", "!!python/object/apply:os.system [id]", "[" * 5000, "version: 1\nversion: 1", " ", "\x00"]
)
def test_a_plan_that_is_a_trap_is_refused_with_a_sentence(still: World, body: str) -> None:
    cookie = still.session("operator")
    csrf = still.ask("GET", "/new", cookie=cookie).csrf
    answer = still.ask("POST", "/new/start", {"csrf": csrf, "plan": body, "reason": "x"}, cookie=cookie)
    assert answer.status == 422
    assert 'id="trouble"' in answer.text


# ------------------------------------------------------------------ nothing is cut in silence


def test_what_a_page_leaves_out_is_said(still: World, monkeypatch: pytest.MonkeyPatch) -> None:
    number = "+14198900001"
    for index in (900, 901, 902):
        keep(still, index, [number], phase=Phase.ROLLED_BACK, name=f"earlier-{index}")
        with still.app.database.write() as connection:
            connection.execute(sql("UPDATE targets SET driven = false WHERE number = :n"), {"n": number})
    cookie = still.session("viewer")
    assert "before them" not in still.ask("GET", f"/numbers/{number}", cookie=cookie).text
    monkeypatch.setattr(InterfaceQueries.history_of, "__defaults__", (None, 1))
    page = unescape(still.ask("GET", f"/numbers/{number}", cookie=cookie).text)
    assert "These are the newest 1; it was in 2 more before them." in page


def test_an_outage_of_the_call_list_is_on_the_page_and_in_the_api_at_once(still: World) -> None:
    id_ = keep(still, 940, ["+14175550142"], started_at=still.app.store.now(), phase=Phase.PROGRESSING)
    cookie = still.session("viewer")
    assert "cannot be read since" not in still.ask("GET", f"/rollouts/{id_}", cookie=cookie).text
    still.app.store.calls.mark_trouble("+14175550142", "inbound", still.app.store.now(), "it answers 503")
    page = still.ask("GET", f"/rollouts/{id_}", cookie=cookie).text
    assert "cannot be read since" in page
    assert "it answers 503" in page
    answer = still.ask("GET", f"/api/v1/rollouts/{id_}", headers={"Authorization": f"Bearer {still.tokens['viewer']}"})
    found = json.loads(answer.text)["calls_unreadable"]
    assert found["why"] == "it answers 503"
    assert found["since"]


def test_finished_rollouts_are_searched_by_the_database(still: World) -> None:
    """Each search read up to a thousand of them whole."""
    for index, name in ((910, "Quick-100%_a"), (911, "quick-1000b")):
        keep(still, index, [f"+1419890{index:04}"], phase=Phase.STOPPED, name=name)
    queries = InterfaceQueries(still.app.database)

    def found(text: str) -> list[str]:
        return [r.name for r in queries.ended(EndedSearch(text))]

    assert sorted(found("QUICK-100")) == ["Quick-100%_a", "quick-1000b"]
    assert found("100%_") == ["Quick-100%_a"], "what LIKE calls a wildcard is a letter here"
    assert found("14198900911") == ["quick-1000b"]
    assert found("kept000910") == ["Quick-100%_a"]
    assert found("nothing like it") == []
    page = still.ask("GET", "/?q=100%25_", cookie=still.session("viewer")).text
    assert "Quick-100%_a" in page and "quick-1000b" not in page


def test_a_page_that_refreshes_itself_stays_at_the_place_the_reader_chose(still: World) -> None:
    """Five seconds later the older entries were the newest again, and the number read from Retell the last look."""
    id_ = keep(still, 950, ["+14198950001"], phase=Phase.STOPPED)
    cookie = still.session("viewer")

    def place(path: str) -> dict[str, str]:
        text = unescape(still.ask("GET", path, cookie=cookie).text)
        form = re.search(r'<form id="place" hidden>(.*?)</form>', text, re.DOTALL)
        assert form is not None, path
        return dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[1]))

    assert place(f"/rollouts/{id_}?before=7&tpage=1")["before"] == "7"
    assert place(f"/rollouts/{id_}?before=x")["before"] == ""
    cursor = "2093-12-01T09:00:00+00:00 kept000950"
    assert place(f"/?before={quote(cursor)}")["before"] == cursor
    number = still.number()
    for query in ("", "?fresh=1"):
        page = still.ask("GET", f"/numbers/{number}{query or '?fresh=1'}", cookie=cookie).text
        assert f'hx-get="/numbers/{number}?fresh=1" hx-trigger="refresh, every 30s"' in page
    known = still.ask("GET", "/numbers/+14198950001", cookie=cookie).text
    assert 'hx-get="/numbers/+14198950001" hx-trigger="refresh, every 5s"' in known


def test_the_journals_that_are_kept_are_bounded_by_their_lines(still: World, monkeypatch: pytest.MonkeyPatch) -> None:
    page_state = PageState(still.server.service)
    ids = [keep(still, 960 + i, [f"+1419896000{i}"], phase=Phase.STOPPED) for i in range(4)]
    monkeypatch.setattr("rollout.interfaces.dashboard.page_state.MOST_LINES", 2)
    for id_ in ids:
        assert len(page_state.history(id_)) == 1
    assert list(page_state._lines) == ids[-2:]


def test_a_promoted_rollout_says_what_its_canary_has_and_until_when_it_can_be_rolled_back(still: World) -> None:
    """It said that the canary serves every call, and that a rollback is possible, whatever the plan and the date."""
    of = plan(["+14198970001"], name="half", steps=[{"weight": 0.5}])
    now = still.app.store.now()
    id_ = keep(still, 970, ["+14198970001"], of, phase=Phase.PROMOTED, confirmed_at=now, started_at=now)
    text = unescape(still.ask("GET", f"/rollouts/{id_}", cookie=still.session("viewer")).text)
    assert "50\u00a0% of new calls go to the canary." in text
    assert "It can be rolled back until <time" in text


# ------------------------------------------------------------------ files to keep


def test_files_of_a_rollout_are_sent_to_be_saved(service: World, tmp_path: Path) -> None:
    id_ = service.start(name="kept-as-files")
    cookie = service.session("responder")
    page = service.ask("GET", f"/rollouts/{id_}", cookie=cookie).text
    files = {}
    for name in ("report.html", "journal.jsonl", "plan.json", "kit.py"):
        assert f'href="/rollouts/{id_}/{name}"' in page
        answer = service.ask("GET", f"/rollouts/{id_}/{name}", cookie=cookie)
        assert answer.status == 200
        assert answer.headers["content-disposition"].startswith("attachment;"), "never shown in the page's own origin"
        assert id_ in answer.headers["content-disposition"]
        files[name] = answer.text
    assert "kept-as-files" in files["report.html"]
    assert Plan.model_validate(json.loads(files["plan.json"])).name == "kept-as-files"
    compile(files["kit.py"], "kit.py", "exec")
    journal = tmp_path / "journal.jsonl"
    journal.write_text(files["journal.jsonl"])
    assert [chain.faults for chain in archive.check_file(str(journal))] == [()]


def test_who_may_not_roll_back_gets_no_kit(service: World) -> None:
    id_ = service.start()
    cookie = service.session("viewer")
    assert "kit.py" not in service.ask("GET", f"/rollouts/{id_}", cookie=cookie).text
    assert service.ask("GET", f"/rollouts/{id_}/kit.py", cookie=cookie).status == 403
    assert service.ask("GET", f"/rollouts/{id_}/plan.json", cookie=cookie).status == 200


def test_an_error_on_a_rollouts_command_leads_back_to_the_rollout(service: World) -> None:
    id_ = service.start()
    answer = service.ask("GET", f"/rollouts/{id_}/promote", cookie=service.session("viewer"))
    assert answer.status == 403
    assert f'href="/rollouts/{id_}">Back to the rollout' in answer.text
