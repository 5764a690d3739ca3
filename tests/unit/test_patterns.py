"""Patterns: only `*` and `?` are special, wherever a pattern is matched."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.patterns import fits
from rollout.domain.plan.agents import ByNickname
from rollout.sandbox.faults import Fault
from rollout.sandbox.messages import Request

# what a shell, a regular expression or SQL would obey
LITERAL = ["Front [EN]", "Front [!a]", "a-z[0-9]", "{a,b}", "a|b", "(x)", "x+", "^x$", "x.y", "50 %", "a_b", "a\\b"]


@pytest.mark.parametrize("text", LITERAL)
def test_every_character_but_two_is_literal(text: str) -> None:
    assert fits(text, text) and ByNickname(nickname=text).matches(text)
    others = [o for o in (*LITERAL, "Front E", "Front N", "Front b", "a-z5", "a", "b", "x", "xx", "xzy") if o != text]
    assert [o for o in others if ByNickname(nickname=text).matches(o)] == []


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("Front*", ["Front", "Front desk", "Front *"], ["front", "A Front"]),
        ("*desk", ["desk", "Front desk"], ["desks"]),
        ("Front ?", ["Front E", "Front ?", "Front *"], ["Front", "Front ", "Front EN"]),
        ("?*?", ["ab", "abc"], ["", "a"]),
        ("*a*b*", ["ab", "xaxbx", "aab"], ["ba", "a"]),
        ("**", ["", "a\nb"], []),
        ("[*]", ["[]", "[EN]"], ["E", "[EN"]),
        ("Front [E?]", ["Front [EN]"], ["Front E", "Front ["]),
    ],
)
def test_star_is_any_characters_and_question_mark_is_one(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [t for t in yes if not fits(t, pattern)] == []
    assert [t for t in no if fits(t, pattern)] == []


@given(st.text("ab*?[", max_size=12), st.text("ab*?[", max_size=8))
def test_a_pattern_means_what_the_plain_expression_means(text: str, pattern: str) -> None:
    plain = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    assert fits(text, pattern) == (re.fullmatch(plain, text, re.DOTALL) is not None)


def test_a_pattern_of_many_stars_ends() -> None:
    assert not fits("a" * 2000, "*a" * 49 + "*b")


def test_no_nickname_fits_no_pattern() -> None:
    assert not ByNickname(nickname="*").matches(None)


def test_a_fault_of_the_sandbox_is_literal_too() -> None:
    fault = Fault("drip", seconds=1, path="/get-agent/[ab]*")
    assert fault.matches(Request("GET", "/get-agent/[ab]1", {}, {}, b"", "x"))
    assert not fault.matches(Request("GET", "/get-agent/a1", {}, {}, b"", "x"))
