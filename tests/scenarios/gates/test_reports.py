"""The report of each end: what it says, and that its text, its JSON and its HTML say the same numbers."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from rollout.adapters.store.gate_records import StoredGateRecords
from rollout.domain.gates.summary import summarise
from rollout.domain.lifecycle.commands import By
from rollout.interfaces.api.report_answers import ReportAnswer
from rollout.interfaces.backend.local import LocalBackend
from rollout.interfaces.views import report_pages, report_plots
from rollout.interfaces.views.report import MOST_LOOKS, Report, report
from rollout.interfaces.views.report_advice import Advice, recommend
from tests.scenarios.gates.test_gate_scenarios import VARIANTS, GateScene, judged, make_plan
from tests.support.verdicts import ENOUGH, ab_verdict
from tests.unit.decide.test_ab_test_end import in_test

MARIA = By("token:ab12:Maria", "callers complain")


@pytest.fixture
def scene(sqlite_url: str) -> Iterator[GateScene]:
    with GateScene(sqlite_url) as made:
        yield made


def report_of(scene: GateScene) -> Report:
    return LocalBackend(scene.app).report_on(scene.rollout)


class Page(HTMLParser):
    """The words of a page, and every address that it would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.in_style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.in_style = tag == "style"
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False

    def handle_data(self, data: str) -> None:
        if self.in_style:
            assert "url(" not in data and "@import" not in data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def agree(found: Report) -> None:
    """Text, JSON and HTML say the same figures of every version, and the HTML fetches nothing."""
    text, page, document = (
        report_pages.text(found),
        Page(report_pages.html(found)),
        json.loads(json.dumps(found.to_json())),
    )
    ReportAnswer.model_validate(document)  # as the API describes it
    assert page.addresses == [] and not {"script", "link", "img", "iframe"} & set(page.tags)
    html = page.text.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
    assert f"{document['calls']:,}: baseline" in text and f"{document['calls']:,}: baseline" in html
    assert [v["name"] for v in document["versions"]] == [v.name for v in found.versions]
    for version in document["versions"]:
        for metric in version["metrics"]:
            figures = [f"{metric['good']:,} of {metric['calls']:,}"] if metric["calls"] else []
            if metric["rate"] is not None:
                low, high = metric["interval"]
                assert low <= metric["rate"] <= high
                figures.append(f"{metric['rate'] * 100:.1f} %")
            if metric["difference"] is not None:
                low, high = metric["difference_interval"]
                figures += [
                    f"{metric['difference'] * 100:+.1f} points",
                    f"{low * 100 + 0.0:+.1f} to {high * 100 + 0.0:+.1f}",
                ]
            for figure in figures:
                assert figure in text and figure in html, figure
    for curve in found.evidence:
        last = document["evidence"][curve.version]["points"][-1]
        assert f"after {last['calls']:,} calls, evidence of harm {last['harm']:.2g}" in report_pages.html(found)
    sentences = [*([found.ending.what, *found.ending.followed] if found.ending else [])]
    sentences += [found.recommendation.what, found.recommendation.would_change] if found.recommendation else []
    plain = [s.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-") for s in sentences]
    assert plain and all(s in text and s in html for s in plain)


@pytest.mark.slow
def test_the_report_of_a_promoted_rollout_tells_what_followed_at_full_weight(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    first = report_of(scene)
    assert first.recommendation is not None and first.recommendation.advice is Advice.WAIT
    agree(first)
    scene.calls(1500, share=None, canary_bad=0.15, look_every=6)
    scene.stands("promoted")
    found = report_of(scene)
    agree(found)
    end = found.ending
    assert end is not None and found.recommendation is None
    assert end.what == "Promoted: canary takes 100\u00a0% of new calls on 1 number."
    assert end.results == "The calls had shown that canary is not worse than the baseline by the margins of this plan."
    assert re.match(r"canary with all calls: [\d,]+ of [\d,]+ good in success, ", end.followed[0])
    assert end.followed[1].startswith("Its numbers and calls are watched until ")
    assert [w.weight for w in found.weights] == [0.1, 0.5, 1.0]
    assert found.until is not None and found.since is not None and found.since < found.until
    later = report(scene.rollout, [], scene.app.store.history(scene.id), found.at + timedelta(days=30))
    assert later.ending is not None and "were watched until" in later.ending.followed[1]


def test_the_report_of_a_rollback_by_the_gates_says_which_figures_did_it(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    scene.calls(200, share=0.1, canary_bad=1.0)
    scene.stands("rolled_back")
    found = report_of(scene)
    agree(found)
    assert found.ending is not None and found.recommendation is None
    assert found.ending.what.startswith("Rolled back: The canary is worse: ")
    assert found.ending.results == "The calls had shown that canary is worse than the baseline."
    assert found.ending.followed[0] == "1 number back at the baseline, read back 0.0 s after the order."
    assert found.weights[-1].weight == 0.0


def test_the_report_of_a_rollback_by_hand_names_the_person_and_the_reason(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    scene.calls(40, share=None, canary_bad=0.15, look_every=4)
    scene.app.commands.rollback(scene.id, MARIA)
    scene.drive()
    found = report_of(scene)
    agree(found)
    assert found.ending is not None
    assert found.ending.what == "Rolled back by Maria: callers complain."
    assert found.ending.results == "The calls had not decided it."
    assert any(e.what == "Rollback ordered: callers complain" and e.actor == "Maria" for e in found.events)


def test_the_report_of_a_stopped_rollout_says_what_was_left(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    scene.app.commands.stop(scene.id, By("cli:noor", "the campaign is over"))
    scene.drive()
    found = report_of(scene)
    agree(found)
    assert found.ending is not None
    assert found.ending.what == (
        "Stopped by noor: the campaign is over. The split was left as it was: canary takes 10\u00a0%, the baseline "
        "90\u00a0% of new calls."
    )
    assert found.ending.results == "No calls were judged."


def test_names_between_backticks_are_set_as_code_in_the_report(scene: GateScene) -> None:
    scene.given(judged())
    scene.app.commands.stop(scene.id, By("cli:noor", "see `runbook` <b>"))
    page = report_pages.html(report_of(scene))
    assert "see <code>runbook</code> &lt;b&gt;" in page
    assert "`" not in page.partition("<style>")[0] + page.partition("</style>")[2]


def test_the_report_of_a_shipped_version_says_who_shipped_it_and_what_it_lacked(scene: GateScene) -> None:
    steps = [{"weights": {"b": 0.3, "c": 0.3}, "hold": "1d"}]
    scene.given(make_plan(canary=None, variants=VARIANTS, steps=steps, gates={"profile": "none"}))
    scene.drive()
    scene.app.commands.ship(scene.id, MARIA, variant="c", anyway=True)
    scene.after(86_400)
    scene.stands("promoted")
    found = report_of(scene)
    agree(found)
    assert found.ending is not None
    assert found.ending.what == (
        "Promoted: c takes 100\u00a0% of new calls on 1 number. "
        "Shipped by Maria: c, although no gate has judged c yet: callers complain."
    )
    assert [w.weight for w in found.weights] == [0.6, 1.0]


def test_the_report_of_an_ab_test_compares_every_variant_and_ends_undecided(scene: GateScene) -> None:
    steps = [{"weights": {"b": 0.3, "c": 0.3}, "hold": "14d", "approve": True}]
    gates = {"profile": "low-traffic"}
    scene.given(make_plan(canary=None, variants=VARIANTS, steps=steps, gates=gates, on_failure="pause"))
    scene.drive()
    drawn = random.Random(3)
    for i in range(24):
        scene.clock.to(scene.clock.now() + timedelta(minutes=20))
        version = drawn.choices((6, 7, 8), weights=(0.4, 0.3, 0.3))[0]
        scene.app.store.calls.observe([scene.call(version, bad=drawn.random() < 0.15)])
        if i % 6 == 5:
            scene.polled()
            scene.app.store.wake([scene.id], read_numbers=False)
            scene.drive()
    live = report_of(scene)
    agree(live)
    assert live.recommendation is not None and live.recommendation.advice is Advice.WAIT
    assert live.recommendation.would_change.count("pauses it") == 2, "what would decide on each variant"
    scene.app.commands.stop(scene.id, By("cli:noor", "no difference worth it"))
    scene.drive()
    found = report_of(scene)
    agree(found)
    assert [(v.name, v.serves) for v in found.versions] == [
        ("baseline", "agent_frontdesk v6"),
        ("b", "agent_frontdesk v7"),
        ("c", "agent_frontdesk v8"),
    ]
    assert list(found.rates) == ["baseline", "b", "c"]
    assert sum(v.calls for v in found.versions) == found.calls == 24
    assert found.ending is not None
    assert found.ending.results == "The calls had not decided it."
    assert "b takes 30\u00a0%, c takes 30\u00a0%, the baseline 40\u00a0%" in found.ending.what
    for width in (report_plots.WIDE, report_plots.NARROW):
        plot = report_plots.rates(found, width)
        assert plot is not None
        assert [line.tone for line in plot.lines] == ["baseline", "v1", "v2"]
        places = [float(n) for line in plot.lines for n in re.findall(r"[ML]([\d.]+) ", line.path + line.band)]
        assert min(places) >= plot.left and max(places) <= plot.right


@pytest.mark.parametrize(
    ("rates", "advice", "what"),
    [
        (
            (0.2, 0.1),
            Advice.PROMOTE,
            "Ship c (rollout ship r1 --variant c): c is proven not worse than the baseline, and ",
        ),
        ((0.2, 0.2), Advice.WAIT, "Wait: b is not proven better than c: success: evidence "),
        ((0.2, 0.4), Advice.PROMOTE, "Ship b (rollout ship r1 --variant b): "),
        ((0.4, 0.4), Advice.GIVE_UP, "Do not use b and c: worse than the baseline. Roll back."),
    ],
)
def test_the_advice_on_an_ab_test_is_what_the_plan_would_decide(
    rates: tuple[float, float], advice: Advice, what: str
) -> None:
    verdict = ab_verdict({"b": (ENOUGH, rates[0]), "c": (ENOUGH, rates[1])})
    r = in_test(timedelta(days=1), verdict=verdict)
    found = recommend(r, summarise(r))
    assert found is not None
    assert (found.advice, found.what[: len(what)]) == (advice, what)
    decides = "The plan decides it at the earliest on 15 Nov 2026, 17:00 UTC."
    assert (decides in found.what) is (advice is not Advice.GIVE_UP)


def test_a_report_of_a_thousand_looks_draws_as_many_as_can_be_seen_and_the_last_one(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    scene.calls(30, share=None, canary_bad=0.15, look_every=10)
    records, verdict = StoredGateRecords(scene.app.database), scene.rollout.verdict
    assert verdict is not None
    for i in range(400):
        records.keep_look(scene.rollout, verdict, scene.clock.now() + timedelta(minutes=i))
    whole, some = records.looks(scene.id), records.looks(scene.id, MOST_LOOKS)
    assert len(some) <= MOST_LOOKS < len(whole)
    assert (some[-1].seq, len(records.looks(scene.id, 10_000))) == (whole[-1].seq, len(whole))


def test_names_that_would_be_markup_or_turn_text_are_shown_as_text(scene: GateScene) -> None:
    scene.given(judged())
    scene.drive()
    scene.app.commands.stop(scene.id, By("cli:<b>noor", "<script>alert(1)</script>"))
    scene.drive()
    found = report_of(scene)
    odd: dict[str, Any] = {**found.rollout, "name": "</title><img src=x>\u202e"}
    page = report_pages.html(replace(found, rollout=odd))
    assert "<script" not in page and "<img" not in page and "<b>" not in page and "\u202e" not in page
