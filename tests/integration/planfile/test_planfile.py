# ruff: noqa: E501 - the tables hold whole sentences
"""Plan files: places in complaints, what the loader refuses, the schema and the examples."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.adapters.planfile import build_plan, dump_plan, load_calendar, load_plan, read_calendar, read_plan, schema
from rollout.adapters.planfile.yaml_reader import read_yaml
from rollout.domain.errors import InputError, PlanError
from rollout.domain.plan.plan import Plan
from tests.support.values import plan

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "config" / "plans").iterdir())
TEXT = """\
version: 1
name: frontdesk-v7
numbers: ["+14157774444", "+14157774445"]
channels: [inbound]
canary: {agent_id: agent_abc, agent_version: 7}
steps:
  - {weight: 0.1, hold: 30m, min_calls: 50}
  - {weight: 1.0, hold: 1d}
"""


def complaints(text: str, name: str = "p.yaml") -> list[str]:
    with pytest.raises(PlanError) as caught:
        load_plan(text, name)
    return caught.value.message.splitlines()


# ------------------------------------------------------------------ places


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            '"+14157774445"',
            "+14157774445",
            'p.yaml:3:27: numbers[1]: 14157774445 is a number, so YAML drops its plus; put it in quotes: "+14157774445"',
        ),
        (
            "30m",
            "10:30",
            "p.yaml:7:25: steps[0].hold: the colon form 10:30 can mean hours or minutes; write 10h30m or 10m30s",
        ),
        ("30m", "30", "p.yaml:7:25: steps[0].hold: 30 has no unit; write 30s for seconds or 30m for minutes"),
        (
            "0.1",
            "1e-1x",
            'p.yaml:7:14: steps[0].weight: "1e-1x" is text; write a number from 0 to 1 without quotes, for example 0.1',
        ),
        ("min_calls", "min_cals", "p.yaml:7:30: steps[0].min_cals: there is no such key; write min_calls"),
        ("name: frontdesk-v7\n", "", "p.yaml:1:1: name: is missing; write name: frontdesk-v7"),
        (
            ", agent_version: 7",
            "",
            "p.yaml:5:9: canary.agent_version: is missing; write agent_version: 7, the number of the version",
        ),
        ("[inbound]", "", "p.yaml:4:1: channels: has no value; write channels: [inbound]"),
        ("steps:", "step:", "p.yaml:6:1: step: there is no such key; write steps"),
        (
            "+14157774445",
            "+14157774444",
            "p.yaml:3:27: numbers[1]: +14157774444 is listed twice, first as entry 1; list it once",
        ),
    ],
)
def test_complaints_name_line_and_column(old: str, new: str, sentence: str) -> None:
    assert complaints(TEXT.replace(old, new, 1)) == [sentence]


def test_complaints_come_in_the_order_of_the_text_and_as_data() -> None:
    text = TEXT.replace("inbound", "inbond").replace("1.0", "0").replace("version: 1\n", "version: 1\nnotes: x\n")
    with pytest.raises(PlanError) as caught:
        load_plan(text, "p.yaml")
    assert caught.value.exit_code == 2
    assert caught.value.details["problems"][0]["field"] == "notes"
    assert caught.value.details["problems"][1:] == [
        {
            "field": "channels[0]",
            "problem": '"inbond" is not known here',
            "advice": "write inbound",
            "line": 5,
            "column": 12,
        },
        {
            "field": "steps[1].weight",
            "problem": "a weight of 0 would serve nobody, and Retell refuses it",
            "advice": "write a weight above 0, for example 0.05, or leave this entry out",
            "line": 9,
            "column": 14,
        },
    ]


def test_an_entry_written_without_its_list_keeps_its_place() -> None:
    (line,) = complaints(TEXT + "alerts:\n  match: {service: x}\n  action: halt\n")
    assert line == 'p.yaml:11:11: alerts.action: "halt" is not known here; write one of: rollback, pause'
    (line,) = complaints(TEXT + "zone: UTC\nholidays: us\n")
    assert line == 'p.yaml:10:11: holidays: "us" is not a country or region; write US'


def test_json_has_places_too() -> None:
    text = json.dumps(load_plan(TEXT).canonical(), indent=2).replace('"hold": "30m"', '"hold": 30')
    assert complaints(text, "p.json") == [
        "p.json:18:15: steps[0].hold: 30 has no unit; write 30s for seconds or 30m for minutes"
    ]


def test_many_complaints_are_counted() -> None:
    lines = complaints(TEXT + "".join(f"key{i:03}: 1\n" for i in range(80)))
    assert len(lines) == 51
    assert lines[-1] == "p.yaml: and 30 more"


# ------------------------------------------------------------------ what is refused while reading


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "p.yaml:1:1: the file is empty; write a plan; examples are in config/"),
        ("# nothing\n", "p.yaml:1:1: the file is empty; write a plan; examples are in config/"),
        ("[1]", "p.yaml:1:1: a plan is a mapping of keys to values; begin with version: 1"),
        ("a: 1\na: 2\n", "p.yaml:2:1: the key a is given twice, first on line 1; keep one of them"),
        ("a: &x 1\nb: *x\n", "p.yaml:1:4: an anchor or alias (&x); write the value out"),
        ("b: *x\n", "p.yaml:1:4: an anchor or alias (*x); write the value out"),
        ("a: !!str 1\n", "p.yaml:1:4: a tag (tag:yaml.org,2002:str); leave it out; write the plain value"),
        ("a: !x 1\n", "p.yaml:1:4: a tag (!x); leave it out; write the plain value"),
        ("<<: {a: 1}\n", "p.yaml:1:1: a merge key (<<); write the keys out"),
        ("a: .inf\n", "p.yaml:1:4: .inf is not a finite number; write a finite number"),
        ("a: -.INF\n", "p.yaml:1:4: -.INF is not a finite number; write a finite number"),
        ("a: .nan\n", "p.yaml:1:4: .nan is not a finite number; write a finite number"),
        ("a: 1e999\n", "p.yaml:1:4: the number is too large; write a finite number"),
        ("a: 012\n", 'p.yaml:1:4: 012 can be read in two ways; write 12, or "012" in quotes'),
        ("a: " + "9" * 5000, "p.yaml:1:4: the number has more than 18 digits; put it in quotes if it is text"),
        ("1: a\n", 'p.yaml:1:1: the key 1 is not text; put it in quotes: "1"'),
        ("true: a\n", 'p.yaml:1:1: the key true is not text; put it in quotes: "true"'),
        ("? [a]\n: 1\n", "p.yaml:1:3: a key that is a list or a mapping; write text as the key"),
        ("a: 1\n---\nb: 2\n", "p.yaml:2:1: a second YAML document begins; write one plan per file"),
        ("%YAML 1.1\n---\na: no\n", "p.yaml:2:1: a % directive is given; leave it out; plans are YAML 1.2"),
        (
            "a:\n\t- 1\n",
            "p.yaml:2:1: broken YAML: found character '\\t' that cannot start any token; indent with spaces, not with tabs",
        ),
        (
            "a: [1\n",
            "p.yaml:2:1: broken YAML: expected ',' or ']', but got '<stream end>'; check indentation, quotes and brackets here and on the line above",
        ),
        ("a: x\u0000\n", "p.yaml:1:5: a character that YAML does not allow; remove it, or escape it in double quotes"),
        ("a: " + "[" * 30, "p.yaml:1:23: more than 20 levels deep; nest it less"),
        ("a: [" + "1," * 40_000 + "]", "p.yaml:1:59999: more than 30000 keys and values; write several plans"),
        (
            "a: " + "x" * 262_144,
            "p.yaml:1:1: the plan is larger than 256 KiB; split it into several plans, or select numbers by nickname",
        ),
        (
            "# key_" + "ab" * 10 + "\n" + TEXT,
            "p.yaml:1:3: this looks like a Retell API key; remove it, revoke it and issue a new one, and give that to the service in ROLLOUT_RETELL_API_KEY",
        ),
        (
            "a: [key_" + "ab" * 10,
            "p.yaml:1:5: this looks like a Retell API key; remove it, revoke it and issue a new one, and give that to the service in ROLLOUT_RETELL_API_KEY",
        ),
    ],
    ids=lambda value: value[:40],
)
def test_yaml_that_is_refused(text: str, sentence: str) -> None:
    assert complaints(text) == [sentence]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "p.json:1:1: the file is empty; write a plan; examples are in config/"),
        (
            '{"a": 1,}',
            "p.json:1:9: broken JSON: a key in double quotes should begin here, found }; check commas, quotes and brackets",
        ),
        ('{"a": NaN}', "p.json:1:7: NaN and Infinity are not JSON; write a finite number"),
        ('{"a": -Infinity}', "p.json:1:7: NaN and Infinity are not JSON; write a finite number"),
        ('{"a": 1e999}', "p.json:1:7: the number is too large; write a finite number"),
        ('{"a": 1,\n "a": 2}', "p.json:2:2: the key a is given twice, first on line 1; keep one of them"),
        ('{"a" 1}', "p.json:1:6: broken JSON: a colon should be here; write a colon after the key"),
        ('{"a": [1 2]}', "p.json:1:10: broken JSON: a comma or ] should be here; check commas and brackets"),
        ('{"a": 1} x', "p.json:1:10: broken JSON: text after the end; write one plan per file"),
        ('{"a": "x', "p.json:1:7: broken JSON: Unterminated string starting at; check quotes and escapes"),
        (
            '{"a": ',
            "p.json:1:7: broken JSON: a value should begin here, the text ends; check commas, quotes and brackets",
        ),
        ("[" * 30, "p.json:1:21: more than 20 levels deep; nest it less"),
        ('{"a": 012}', "p.json:1:8: broken JSON: a comma or } should be here; check commas and brackets"),
        ('{"a": [' + "1," * 40_000 + "1]}", "p.json:1:60004: more than 30000 values; write several plans"),
    ],
    ids=lambda value: value[:40],
)
def test_json_that_is_refused(text: str, sentence: str) -> None:
    assert complaints(text, "p.json") == [sentence]


@pytest.mark.parametrize(
    "text",
    ["[" * 260_000, "{a: " * 60_000, "- " * 120_000, "? " * 100_000, "a:\n" * 80_000, "'" * 250_000, "!" * 200_000],
    ids=lambda value: value[:4].strip(),
)
def test_bombs_are_refused_quickly(text: str) -> None:
    for name in ("p.yaml", "p.json"):
        began = time.process_time()
        assert complaints(text, name)
        assert time.process_time() - began < 3  # a second on a quiet machine


def test_words_are_words_and_numbers_are_numbers() -> None:
    values = {
        "no": "no",
        "on": "on",
        "yes": "yes",
        "10:30": "10:30",
        "1_000": "1_000",
        "0x1f": "0x1f",
        "0o7": "0o7",
        "1e3": 1000.0,
        "+5": 5,
        "-5": -5,
        ".5": 0.5,
        "5.": 5.0,
        "~": None,
        "true": True,
        "'1'": "1",
        "2026-12-01": "2026-12-01",
        "1.2.3": "1.2.3",
        "=": "=",
    }
    tree = read_yaml("".join(f"k{i}: {text}\n" for i, text in enumerate(values)))
    assert list(tree.plain().values()) == list(values.values())


def test_json_may_hold_what_json_may_hold() -> None:
    text = json.dumps(load_plan(TEXT).canonical()).replace("frontdesk-v7", 'caf\\u00e9 \\ud83d\\ude00 \\"')
    assert load_plan("\ufeff" + text.replace(", ", ",\n\t"), "p.json").name == 'café 😀 "'
    assert load_plan(text).name == 'café 😀 "'  # told apart from YAML by itself


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from(list("{}[]:,-?!&*#|>'\"% \n\tab1.")), max_size=40).map("".join),
        st.tuples(st.integers(0, len(TEXT)), st.text(max_size=4)).map(lambda t: TEXT[: t[0]] + t[1] + TEXT[t[0] :]),
    ),
    st.sampled_from(["p.yaml", "p.json", "p"]),
)
def test_any_text_is_a_plan_or_gets_a_place(text: str, name: str) -> None:
    try:
        assert isinstance(load_plan(text, name), Plan)
    except PlanError as error:
        assert error.message.startswith(f"{name}:")
        assert all(problem["line"] >= 1 <= problem["column"] for problem in error.details["problems"])


# ------------------------------------------------------------------ files


@pytest.mark.parametrize(
    ("prepare", "part"),
    [
        (lambda path: None, "there is no such file; write the path of a plan"),
        (lambda path: path.mkdir(), "this is a folder; write the path of one plan file"),
        (lambda path: path.write_bytes(b"a: 1\nb: \xff\n"), "line 2 is not UTF-8 text; save the file as UTF-8"),
        (lambda path: path.write_bytes("é".encode() * 200_000), "the plan is larger than 256 KiB"),
    ],
    ids=["missing", "folder", "encoding", "large"],
)
def test_files_that_cannot_be_read(tmp_path: Path, prepare: Any, part: str) -> None:
    path = tmp_path / "plan.yaml"
    prepare(path)
    with pytest.raises(InputError) as caught:
        read_plan(path)
    assert str(path) in caught.value.message
    assert part in caught.value.message
    assert caught.value.exit_code == 2


def test_a_shared_calendar(tmp_path: Path) -> None:
    path = tmp_path / "office.yaml"
    path.write_text("zone: Europe/Berlin\nwindows: {days: [mon], from: 09:00, to: 17:00}\nholidays: [DE, DE-BY]\n")
    assert read_calendar(path).holidays == ("DE", "DE-BY")
    with pytest.raises(PlanError, match=r"c:1:10: windows: windows are given without a time zone"):
        load_calendar("windows: {from: '09:00', to: '17:00'}\n", "c")


def test_a_dumped_plan_is_short_and_reads_back() -> None:
    plan = load_plan(TEXT)
    text = dump_plan(plan)
    assert load_plan(text) == plan
    assert len(text.splitlines()) == len(TEXT.splitlines())
    assert '"+14157774444"' in text


# ------------------------------------------------------------------ schema and examples


def test_the_schema_file_is_fresh() -> None:
    kept = json.loads((ROOT / "config" / "plan.schema.json").read_text("utf-8"))
    assert kept == schema(), "stale; run: python -m rollout.adapters.planfile > config/plan.schema.json"
    jsonschema.Draft202012Validator.check_schema(kept)
    assert kept["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_module_prints_the_schema() -> None:
    out = subprocess.run(
        [sys.executable, "-m", "rollout.adapters.planfile"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert out.stdout == (ROOT / "config" / "plan.schema.json").read_text("utf-8")


def test_there_are_examples() -> None:
    assert [path.name for path in EXAMPLES] == [
        "ab-test.yaml",
        "business-hours.yaml",
        "canary-basic.yaml",
        "canary-low-traffic.yaml",
        "fleet-waves.yaml",
        "no-gates.json",
        "outbound-and-sms.yaml",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_plans_by_loader_and_schema(path: Path) -> None:
    plan = read_plan(path)
    validator = jsonschema.Draft202012Validator(schema())
    text = path.read_text("utf-8")
    validator.validate(json.loads(text) if path.suffix == ".json" else read_yaml(text).plain())
    validator.validate(plan.canonical())
    assert load_plan(dump_plan(plan)) == plan


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"name": ""},
        {"numbers": ["4157774444"]},
        {"numbers": [14157774444]},
        {"channels": ["sms"]},
        {"channels": []},
        {"canary": {"agent_id": "a", "agent_version": "prod"}},
        {"steps": []},
        {"extra": 1},
        {"steps": [{"weight": 0}]},
        {"steps": [{"weight": 1.2}]},
        {"steps": [{"weight": 0.1, "hold": "10:30"}]},
        {"steps": [{"weight": 0.1, "hold": 30}]},
        {"gates": ["x"]},
        {"waves": ["10"]},
        {"closing": "retreat"},
        {"variants": {"b": {"agent_id": "a", "agent_version": 1}}},
    ],
    ids=repr,
)
def test_schema_and_loader_refuse_alike(change: dict[str, Any]) -> None:
    document = {**load_plan(TEXT).canonical(), **change}
    assert not jsonschema.Draft202012Validator(schema()).is_valid(document)
    assert complaints(json.dumps(document), "p.json")


@pytest.mark.parametrize("name", ["shop/berlin", "/shop", "shop/", "/", ".", ".."])
def test_a_name_that_cannot_be_part_of_an_address_is_refused_where_it_is_written(name: str) -> None:
    document = plan().canonical() | {"name": name}
    for read in (lambda: build_plan(document), lambda: load_plan(json.dumps(document), "p.json")):
        with pytest.raises(PlanError, match=r"name: .*; write a name without slashes, for example") as refused:
            read()
        assert refused.value.exit_code == 2
    assert Plan.model_validate(document).name == name  # one that was recorded before is read as it is
    assert re.search(schema()["properties"]["name"]["pattern"], name) is None


@pytest.mark.parametrize("name", ["shop berlin", "a?b#c%2F", "...", "Büro 50 %", "a\\b"])
def test_a_name_may_hold_what_an_address_can_carry(name: str) -> None:
    assert build_plan(plan().canonical() | {"name": name}).name == name
    assert re.search(schema()["properties"]["name"]["pattern"], name)
