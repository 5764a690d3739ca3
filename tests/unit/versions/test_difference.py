"""What differs between two versions: every field, texts as diffs, never a secret, always bounded."""

from typing import Any

import pytest

from rollout.domain.versions.difference import MOST_FIELDS, MOST_LINES, difference, difference_lines
from rollout.domain.versions.documents import ResponseEngine, VersionDocument


def lines(old: Any, new: Any, old_engine: Any = None, new_engine: Any = None) -> list[str]:
    found = difference("a v1", "a v2", VersionDocument(old, old_engine or {}), VersionDocument(new, new_engine or {}))
    return [line.removeprefix("  ") for line in difference_lines([found.to_json()])[1:]]


def test_what_every_version_has_of_its_own_is_no_difference() -> None:
    old = {"version": 6, "is_published": True, "response_engine": {"type": "retell-llm", "llm_id": "l", "version": 6}}
    new = {"version": 7, "version_title": "x", "response_engine": {"type": "retell-llm", "llm_id": "l", "version": 7}}
    assert lines(old, new, {"version": 6, "model": "m"}, {"version": 7, "model": "m"}) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"voice_id": "Adrian"}, {"voice_id": "Kate"}, ['voice_id: "Adrian" -> "Kate"']),
        ({}, {"language": "de-DE"}, ['language: nothing -> "de-DE"']),
        ({"speed": 1}, {"speed": True}, ["speed: 1 -> true"]),
        ({"speed": 1}, {"speed": None}, ["speed: 1 -> null"]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["a.b: [1, 2] -> [1, 3]"]),
        ({"a": {}}, {"a": {"b": 1}}, ["a: {} -> nothing", "a.b: nothing -> 1"]),
    ],
)
def test_every_field_that_differs_is_told(old: Any, new: Any, told: list[str]) -> None:
    assert lines(old, new) == told


def test_a_long_value_is_cut_at_two_hundred_characters() -> None:
    assert lines({}, {"words": ["x" * 196]}) == [f'words: nothing -> ["{"x" * 196}"]']
    assert lines({}, {"words": ["x" * 197]}) == [f'words: nothing -> ["{"x" * 195}...']


def test_a_prompt_is_told_as_a_unified_diff() -> None:
    old, new = "You are kind.\nAsk for the name.\nBook.", "You are kind.\nAsk for the number.\nBook."
    told = lines({}, {}, {"general_prompt": old}, {"general_prompt": new})
    assert told[0] == "response_engine.general_prompt:"
    assert "  -Ask for the name." in told and "  +Ask for the number." in told
    assert "   You are kind." in told


def test_tabs_are_kept_and_other_controls_are_not_printed() -> None:
    told = lines({}, {}, {"prompt": "a"}, {"prompt": "a\tb\x1b[2J\nc"})
    assert told == ["response_engine.prompt:", "  @@ -1 +1,2 @@", "  -a", "  +a\tb?[2J", "  +c"]
    assert lines({"name": "a"}, {"name": "\u202eb"}) == ['name: "a" -> "?b"']


def test_a_diff_of_a_text_shows_two_lines_around_and_no_header() -> None:
    old = [f"line {i}" for i in range(9)]
    told = lines({"prompt": "\n".join(old)}, {"prompt": "\n".join([*old[:4], "new", *old[5:]])})
    assert told == ["prompt:", "  @@ -3,5 +3,5 @@", *(f"   line {i}" for i in (2, 3)), "  -line 4", "  +new"] + [
        f"   line {i}" for i in (5, 6)
    ]
    assert lines({"prompt": "a\r\nb"}, {"prompt": "a\nb"}) == ["prompt:", "  only line endings or masked values differ"]


def test_a_text_of_more_than_two_hundred_characters_is_told_as_a_diff() -> None:
    assert lines({"x": "a" * 200}, {"x": "b"}) == [f'x: "{"a" * 196}... -> "b"']
    assert lines({"x": "a" * 201}, {"x": "b"})[0] == "x:"
    assert lines({}, {"x": "a\nb"}) == ["x:", "  @@ -0,0 +1,2 @@", "  +a", "  +b"]


def test_model_voice_prompt_and_tools_come_first() -> None:
    old = {"ambient_sound": "a", "voice_id": "Adrian"}
    new = {"ambient_sound": "b", "voice_id": "Kate"}
    engine = {"begin_message": "a", "general_prompt": "a", "general_tools": [{"name": "book"}], "model": "a"}
    other = {"begin_message": "b", "general_prompt": "b", "general_tools": [{"name": "look"}], "model": "b"}
    assert [line.partition(":")[0] for line in lines(old, new, engine, other)] == [
        "response_engine.model",
        "voice_id",
        "response_engine.general_prompt",
        "response_engine.general_tools[book].name",
        "response_engine.general_tools[look].name",
        "ambient_sound",
        "response_engine.begin_message",
    ]


def test_one_more_tool_is_one_difference_whatever_its_place() -> None:
    book, look = {"name": "book", "url": "https://x/b"}, {"name": "look", "url": "https://x/l"}
    told = lines({}, {}, {"general_tools": [book]}, {"general_tools": [look, book]})
    assert told == [
        'response_engine.general_tools[look].name: nothing -> "look"',
        'response_engine.general_tools[look].url: nothing -> "https://x/l"',
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([{"name": ""}, {"name": "b"}], [{"name": "b"}]),
        ([{"name": 5}], [{"name": 6}]),
        ([{"name": "a"}, {"name": "a"}], [{"name": "a"}]),
        (["a"], ["b"]),
        ([{"name": "a"}, "b"], [{"name": "a"}]),
    ],
)
def test_a_list_without_a_name_of_its_own_for_each_is_one_value(old: list[Any], new: list[Any]) -> None:
    found = difference("a", "b", VersionDocument({"x": old}), VersionDocument({"x": new})).fields
    assert "x" in [item.field for item in found]


def test_objects_are_told_apart_by_the_first_key_that_names_them_all() -> None:
    old = [{"name": "a", "id": "1", "v": 1}, {"name": "a", "id": "2", "v": 1}]
    new = [{"name": "a", "id": "1", "v": 1}, {"name": "a", "id": "2", "v": 2}]
    assert lines({"x": old}, {"x": new}) == ["x[2].v: 1 -> 2"]


@pytest.mark.parametrize(
    "tool",
    [
        {"headers": {"Authorization": "Bearer hunter2"}},
        {"headers": {"X-Anything": "hunter2"}},
        {"query_params": {"key": "hunter2"}},
        {"url": "https://u:hunter2@x.example/?key=hunter2#hunter2"},
        {"api_key": "hunter2"},
        {"auth": {"client_secret": "hunter2"}},
        {"args": [{"token": "hunter2"}, 1]},
        {"headers": "hunter2\nhunter2"},
        {"description": "Call https://x.example/?key=hunter2 first.\nThen wait."},
        {"url": "https://x.example/" + "a" * 300 + "?key=hunter2"},
    ],
)
def test_no_secret_of_a_tool_is_shown(tool: dict[str, Any]) -> None:
    for old, new in (({}, tool), (tool, {}), (tool, {"url": "https://other.example"})):
        told = lines({}, {}, {"general_tools": [{"name": "t", **old}]}, {"general_tools": [{"name": "t", **new}]})
        assert told
        assert "hunter2" not in "\n".join(told)


def test_a_secret_inside_of_a_value_is_masked_there() -> None:
    told = lines({}, {"tools": [{"token": "hunter2", "max_tokens": 5}, {"url": "https://x.example/?key=hunter2"}]})
    assert told == ['tools: nothing -> [{"max_tokens": 5, "token": "***"}, {"url": "https://x.example/?key=***"}]']


def test_a_secret_that_changed_is_told_as_changed() -> None:
    old, new = ({"mcps": [{"name": "m", "headers": {"X-Key": key}}]} for key in ("one", "two"))
    assert lines({}, {}, old, new) == ["response_engine.mcps[m].headers.X-Key: *** -> *** (another value)"]
    assert lines({}, {"api_key": "x"}) == ["api_key: nothing -> ***"]
    assert lines({"api_key": "x"}, {}) == ["api_key: *** -> nothing"]
    assert lines({"max_tokens": 5}, {"max_tokens": 6}) == ["max_tokens: 5 -> 6"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://x.example/a/b", "https://x.example/a/b"),
        ("https://u:p@x.example:8443/a", "https://***@x.example:8443/a"),
        ("https://x.example/?a=1&b&c=#d", "https://x.example/?a=***&b=***&c=***"),
        ("https://[x/?key=hunter2", "***"),
    ],
)
def test_a_web_address_is_shown_without_what_could_be_a_secret(url: str, shown: str) -> None:
    assert lines({}, {"url": f"see {url} first"}) == [f'url: nothing -> "see {shown} first"']


def test_a_huge_difference_is_cut_and_says_so() -> None:
    found = difference("a", "b", VersionDocument({f"f{i}": 1 for i in range(300)}), VersionDocument({}))
    assert (len(found.fields), found.more) == (MOST_FIELDS, 200)
    text = VersionDocument({"prompt": "\n".join(map(str, range(5000)))})
    cut = difference("a", "b", text, VersionDocument({"prompt": "x"})).fields[0].diff
    assert len(cut) == MOST_LINES + 1
    assert cut[-1] == "... and 4702 more lines"
    assert difference_lines([found.to_json()])[-1] == "  and 200 more fields"


def test_the_lines_of_all_texts_together_are_bounded() -> None:
    many = "\n".join(map(str, range(200)))
    old, new = ({"a": text, "b": text, "c": text} for text in (many, "x"))
    first, second, third = difference("v1", "v2", VersionDocument(old), VersionDocument(new)).fields
    assert len(first.diff) == 202
    assert (len(second.diff), second.diff[-1]) == (MOST_LINES - 202 + 1, "... and 104 more lines")
    assert third.diff == ("... and 202 more lines",)


def test_versions_without_a_difference_say_so() -> None:
    same = difference("v1", "v2", VersionDocument({"a": 1}), VersionDocument({"a": 1}))
    assert difference_lines([same.to_json()]) == ["from v1 to v2 nothing differs"]


def test_an_engine_that_cannot_be_read_is_told_and_not_compared() -> None:
    old, new = VersionDocument({}, {"model": "m"}), VersionDocument({}, unread="Retell answered 500")
    found = difference("a", "b", old, new)
    told = difference_lines([found.to_json()])
    assert told == ["from a to b:", "  b: Retell answered 500"]
    assert (found.fields, found.unread) == ((), ("b: Retell answered 500",))
    assert found.to_json()["unread"] == ["b: Retell answered 500"]


@pytest.mark.parametrize(
    ("shown", "engine"),
    [
        ({"type": "retell-llm", "llm_id": "l", "version": 3}, ResponseEngine("retell-llm", "l", 3)),
        ({"type": "retell-llm", "llm_id": "l", "version": 3.0}, ResponseEngine("retell-llm", "l", 3)),
        ({"type": "retell-llm", "llm_id": 5, "version": "3"}, ResponseEngine("retell-llm")),
        ({"type": "custom-llm", "llm_websocket_url": "wss://x"}, ResponseEngine("custom-llm")),
        ({"type": 1}, None),
        ("retell-llm", None),
        (None, None),
    ],
)
def test_the_engine_that_an_agent_names(shown: Any, engine: ResponseEngine | None) -> None:
    assert ResponseEngine.of({"response_engine": shown}) == engine
