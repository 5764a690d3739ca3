"""Form and YAML of a plan are one: whatever goes from one to the other and back is the same plan."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.adapters.planfile import build_plan, dump_plan, edit_plan, load_plan, plan_document
from rollout.adapters.planfile.examples import example_plans
from rollout.domain.errors import PlanError
from rollout.domain.plan.agents import Channel
from rollout.domain.plan.plan import Plan
from rollout.interfaces.dashboard import plan_draft as drafts
from rollout.interfaces.dashboard import plan_form
from rollout.interfaces.dashboard.assets import Assets
from rollout.interfaces.dashboard.plan_form.fields import CHOICES, LINES, LISTS, TEXTS
from rollout.interfaces.dashboard.render import environment

EXAMPLES = sorted((Path(__file__).parents[3] / "config" / "plans").iterdir())
CHANNELS = [channel.value for channel in Channel]
TEMPLATES = environment(Assets())
SHOWN = {
    *TEXTS,
    *CHOICES,
    *LINES,
    *LISTS,
    "version",
    "closing",
    "decide",
    "tests",
    "channels",
    "canary",
    "variants",
    "steps",
}


class Browser(HTMLParser):
    """What a browser would send of a form that nobody touched."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sent: dict[str, str] = {}
        self._area: str | None = None
        self._select: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "input" and name:
            if given.get("type") != "checkbox":
                self.sent[name] = given.get("value") or ""
            elif "checked" in given:
                self.sent[name] = "on"
        elif tag == "textarea":
            self._area, self.sent[name] = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in given:
            self.sent[self._select] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            assert self._area is not None
            self.sent[self._area] = self.sent[self._area].removeprefix("\n").replace("\n", "\r\n")
            self._area = None
        elif tag == "select":
            self._select = None

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self.sent[self._area] += data


def as_sent(text: str) -> dict[str, str]:
    """The fields of the form for this text, as a browser sends them back."""
    draft = drafts.from_text(text)
    assert draft.inputs is not None, draft.complaints
    return Browser(TEMPLATES.get_template("plan_form.html").render(**draft.values)).sent


def digest(text: str) -> str:
    return load_plan(text, "p.json" if text.startswith("{") else "p.yaml").digest()


# ------------------------------------------------------------------ nothing is lost


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_comes_back_untouched_to_the_letter(path: Path) -> None:
    text = path.read_text()
    assert drafts.from_form(text, as_sent(text)).text == text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_form_makes_the_same_plan_as_each_example(path: Path) -> None:
    """Typed into an empty form."""
    text = path.read_text()
    made = drafts.from_form("", as_sent(text))
    assert made.complaints == []
    assert digest(made.text) == digest(text)


_names = st.text("abcdefghijkl mnop-.é*'\"#:{}[]&!%@,", min_size=1, max_size=20).map(str.strip).filter(bool)
_agents = st.sampled_from(["agent_a", "agent_b.c:d", "1"])
_refs = st.builds(lambda a, v: {"agent_id": a, "agent_version": v}, _agents, st.integers(0, 2**31 - 1))
_durations = st.sampled_from(["30s", "10m", "1h30m", "2d", "90s", "1.5s"])
_weights = st.integers(1, 10_000).map(lambda points: points / 10_000)
_tags = st.sampled_from(["prod", "v-next", "a1"])
_selectors = (
    st.integers(0, 9999).map(lambda i: f"+1415777{i:04}")
    | _names.map(lambda name: {"nickname": name})
    | st.builds(lambda a, v: {"serving": {"agent_id": a} | ({} if v is None else {"agent_version": v})}, _agents,
                st.none() | _tags | st.integers(0, 99))
)  # fmt: skip
_windows = st.builds(
    lambda days, opens: ({"days": days} if days else {}) | {"from": opens, "to": "17:30"},
    st.lists(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), unique=True),
    st.sampled_from(["09:00", "00:00", "18:00"]),
)
_freezes = st.builds(
    lambda ends, why: {"from": ends[0], "to": ends[1], "reason": why},
    st.sampled_from([("2026-12-21", "2027-01-03"), ("2026-12-21T00:00:00-08:00", "2026-12-22T00:00:00Z")]),
    _names,
)
_rules = st.builds(
    lambda labels, action: {"match": labels} | ({} if action is None else {"action": action}),
    st.dictionaries(st.sampled_from(["service", "a:b", "_x"]), _names, min_size=1),
    st.none() | st.sampled_from(["pause", "rollback"]),
)
_notices = st.builds(
    lambda url, more: {"url": url} | more,
    st.sampled_from(["mailto://oncall@example.com", "json://host/x?a=b,c#{d}"]),
    st.sampled_from([{}, {"min_severity": "warning"}, {"events": ["step", "started"], "min_severity": "critical"}]),
)
_gates: st.SearchStrategy[Any] = st.just([]) | st.fixed_dictionaries(
    {},
    optional={
        "profile": st.sampled_from(["standard", "low-traffic", "strict", "none"]),
        "max_call_time": _durations,
        "act_at_full_weight": st.booleans(),
        "floors": st.lists(st.integers(1, 100), min_size=1, max_size=3),
    },
)
_decides = st.builds(
    lambda after, more: {"after": after} | more,
    _durations,
    st.fixed_dictionaries(
        {},
        optional={
            "min_calls": st.integers(0, 1_000_000),
            "ship": st.sampled_from(["best", "none"]),
            "otherwise": st.sampled_from(["rollback", "pause", "keep"]),
        },
    ),
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A plan's document with any of its keys; some of these break a rule across keys."""
    arms = draw(
        st.just(None) | st.lists(st.sampled_from(["b", "c", "long-name_1"]), min_size=1, max_size=3, unique=True)
    )
    if arms is None:
        tried: dict[str, Any] = {"canary": draw(_refs)}
        share = st.builds(lambda w: {"weight": w}, _weights)
    else:
        tried = {"variants": {name: draw(_refs) for name in arms}}
        few = st.integers(1, 3333).map(lambda points: points / 10_000)
        share = st.dictionaries(st.sampled_from(arms), few, min_size=1).map(lambda w: {"weights": w})
    step = st.builds(
        lambda given, more: given | more,
        share,
        st.fixed_dictionaries(
            {},
            optional={
                "hold": _durations | st.just({"open": "4h"}),
                "min_calls": st.integers(0, 1_000_000),
                "approve": st.booleans(),
            },
        ),
    )
    more = st.fixed_dictionaries(
        {},
        optional={
            "windows": st.lists(_windows, max_size=3),
            "zone": st.just("Europe/Berlin"),
            "holidays": st.just("US-CA") | st.just(["US", "DE"]),
            "freezes": st.lists(_freezes, max_size=2),
            "closing": st.just("keep") | _weights.map(lambda w: {"retreat": w}),
            "calendar": _names,
            "gates": _gates,
            "tests": st.sampled_from([{}, {"runs": 5, "max_failed": 0.1}]),
            "notify": _notices | st.lists(_notices, max_size=2),
            "alerts": _rules | st.lists(_rules, max_size=2),
            "waves": st.sampled_from([[1, "10%", "100%"], ["0.5%"], [3]]),
            "wave_order": st.sampled_from(["plan", "random"]),
            "seed": st.integers(0, 2**53),
            "start": st.sampled_from(["2026-12-01T09:00:00-08:00", "2026-12-01T09:00:00Z"]),
            "after": _names,
            "deadline": _durations,
            "decide": _decides,
            "on_failure": st.sampled_from(["rollback", "pause"]),
            "on_deadline": st.sampled_from(["rollback", "pause"]),
            "baseline": _refs | st.just([{"agent_id": "a", "weight": 0.25}, {"agent_id": "b", "weight": 0.75}]),
        },
    )
    return {
        "version": 1,
        "name": draw(_names),
        "numbers": draw(st.lists(_selectors, min_size=1, max_size=4)),
        "channels": draw(st.lists(st.sampled_from(CHANNELS), min_size=1, unique=True)),
        **tried,
        "steps": draw(st.lists(step, min_size=1, max_size=4)),
        **draw(more),
    }


@settings(max_examples=80, deadline=None)
@given(documents())
def test_any_document_goes_through_the_form_and_comes_back_the_same(document: dict[str, Any]) -> None:
    """Also one that is no valid plan yet: nothing that somebody wrote is lost."""
    text = json.dumps(document, indent=1)
    assert drafts.from_form(text, as_sent(text)).text == text


@settings(max_examples=80, deadline=None)
@given(documents())
def test_any_plan_typed_into_the_form_is_the_same_plan(document: dict[str, Any]) -> None:
    """All keys that the form shows, from the form alone; the others were there before."""
    document["channels"].sort(key=CHANNELS.index)  # boxes have no order of their own
    try:
        plan = build_plan(document)
    except PlanError:
        return
    whole = dump_plan(plan)
    hidden = {key: value for key, value in plan_document(whole).items() if key not in SHOWN}
    before = edit_plan(drafts.BLANK, hidden | ({"tests": document["tests"]} if "tests" in document else {}))
    assert drafts.from_form(before, as_sent(json.dumps(document))).complaints == []
    assert digest(drafts.from_form(before, as_sent(json.dumps(document))).text) == plan.digest()


@settings(max_examples=60, deadline=None)
@given(documents(), st.sampled_from(["name", "steps", "numbers", "gates", "tests"]))
def test_an_edit_changes_its_key_and_no_other(document: dict[str, Any], key: str) -> None:
    try:
        text = f"# mine\n{dump_plan(build_plan(document))}# end\n"
    except PlanError:
        return
    sent = as_sent(text)
    inputs = {
        "name": lambda: sent | {"name": "another"},
        "steps": lambda: plan_form.act(sent, "step.add"),
        "numbers": lambda: sent | {"numbers": sent["numbers"] + "\r\n+14157779999x"},
        "gates": lambda: sent | {"gates.max_call_time": "7m"},
        "tests": lambda: {k: v for k, v in sent.items() if k != "tests"} if "tests" in sent else sent | {"tests": "on"},
    }[key]()
    made = drafts.from_form(text, inputs).text
    before, after = plan_document(text), plan_document(made)
    assert {k for k in {*before, *after} if before.get(k) != after.get(k)} == {key}
    assert made.startswith("# mine\n") and "# end\n" in made


def test_a_plan_with_tests_as_they_come_keeps_them_when_it_is_written() -> None:
    plan = load_plan(example_plans()["canary-basic"] + "tests: {}\n")
    assert load_plan(dump_plan(plan)) == plan


# ------------------------------------------------------------------ what the buttons do


def test_a_second_version_names_both_and_gives_each_step_a_weight() -> None:
    text = example_plans()["canary-basic"]
    draft = drafts.from_form(text, as_sent(text), "arm.add")
    document = plan_document(draft.text)
    assert list(document["variants"]) == ["b", "c"]
    assert "canary" not in document
    assert document["steps"][0]["weights"] == {"b": 0.1}
    assert draft.inputs is not None
    back = drafts.from_form(draft.text, draft.inputs, "arm.remove.1")
    assert plan_document(back.text) == plan_document(text) | {"steps": plan_document(back.text)["steps"]}
    assert digest(back.text) == digest(text)


@pytest.mark.parametrize("name", plan_form.LADDERS)
def test_a_preset_is_a_valid_ladder_that_ends_at_all_calls(name: str) -> None:
    text = example_plans()["canary-basic"]
    draft = drafts.from_form(text, as_sent(text), f"ladder.{name}")
    assert draft.complaints == []
    weights = [step.weight for step in load_plan(draft.text).steps]
    assert weights == sorted(weights)
    assert weights[-1] == 1
    assert len(plan_form.ladder(draft.inputs or {})) == len(weights)


@pytest.mark.parametrize("button", ["", "step.remove.99", "arm.remove.x", "ladder.none", "step.remove.-1", "no.such"])
def test_a_button_that_does_not_exist_changes_nothing(button: str) -> None:
    text = example_plans()["fleet-waves"]
    assert drafts.from_form(text, as_sent(text), button).text == text


# ------------------------------------------------------------------ complaints


def test_what_makes_no_sense_is_taken_over_and_complained_about_at_its_line() -> None:
    text = example_plans()["canary-basic"]
    draft = drafts.from_form(text, as_sent(text) | {"step.1.hold": "soon", "step.0.weight.0": "lots"})
    assert [(c["field"], draft.text.splitlines()[c["line"] - 1].strip()) for c in draft.complaints] == [
        ("steps[0].weight", "- {weight: lots, hold: 30m, min_calls: 50}"),
        ("steps[1].hold", "- {weight: 0.5, hold: soon}"),
    ]


@pytest.mark.parametrize("text", ["a: [", "- x", "key_" + "ab" * 20, "a: &x 1"])
def test_a_text_that_cannot_be_read_leaves_the_form_alone(text: str) -> None:
    assert drafts.from_text(text).inputs is None
    assert drafts.from_text(text).complaints
    assert drafts.from_form(text, {"name": "x"}).text == text


def test_a_field_that_a_complaint_names_is_in_the_form() -> None:
    text = example_plans()["canary-basic"]
    draft = drafts.from_form(text, as_sent(text) | {"arm.0.version": "prod", "step.0.min_calls": "x"})
    html = TEMPLATES.get_template("plan_form.html").render(**draft.values)
    for complaint in draft.complaints:
        assert f'data-field="{complaint["field"]}"' in html
    assert isinstance(load_plan(text), Plan)
