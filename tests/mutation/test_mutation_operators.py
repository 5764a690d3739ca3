"""What is a mutant, and what is none."""

from __future__ import annotations

import pytest

from tests.mutation.operators import mutants_of


def changed(text: str) -> list[str]:
    """The module with each of its mutants, in the order of its text."""
    source = text.encode()
    return [mutant.apply(source).decode() for mutant in mutants_of("m.py", source)]


@pytest.mark.parametrize(
    ("text", "mutants"),
    [
        ("x = a < b", ["x = a <= b"]),
        ("x = (a) is not (b)", ["x = (a) is (b)"]),
        ("x = a <= b < c", ["x = a < b < c", "x = a <= b <= c"]),
        ("x = a and b and c", ["x = a or b and c", "x = a and b or c"]),
        ("x = not a", ["x =  a"]),
        ("x = (a - é) * b", ["x = (a + é) * b", "x = (a - é) / b"]),
        ("x += y", ["x -= y"]),
        ("x = 7", ["x = 8"]),
        ("x = True", ["x = False"]),
        ("x = any(y)", ["x = all(y)"]),
        ("x = a if b else c", ["x = a if False and (b) else c", "x = a if True or (b) else c"]),
        ("go()", ["None and (go())"]),
        ("def f():\n    return a", ["def f():\n    return None and (a)"]),
    ],
)
def test_each_place_is_changed_by_itself(text: str, mutants: list[str]) -> None:
    assert changed(text) == mutants


@pytest.mark.parametrize(
    "text",
    [
        '"""7 < 8"""',
        "x: Literal[7] = y",
        "def f(x: Literal[7]) -> Literal[8]: ...",
        "def f():\n    return None",
        "assert a < b",
        'x = "a" + b',
        "x = [a] + b",
        "if TYPE_CHECKING:\n    go()",
        "T = TypeVar('T', bound=7)",
    ],
)
def test_what_says_nothing_when_it_runs_is_left_alone(text: str) -> None:
    assert changed(text) == []


def test_a_mutant_says_where_it_is_and_what_it_changes() -> None:
    source = b"x = f(\n    a,\n    b < c,\n)\n"
    (mutant,) = mutants_of("m.py", source)
    assert (mutant.line, mutant.statement) == (3, 1)
    assert str(mutant) == "m.py:3 comparison: < -> <="
