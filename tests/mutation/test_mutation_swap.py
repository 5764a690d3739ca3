"""A mutant stands in for functions that are already imported, however they are reached."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.mutation.operators import Mutant, mutants_of
from tests.mutation.swap import swap

TEXT = """\
from functools import lru_cache

LIMIT = 3

def within(limit):
    def check(value):
        return value < limit and value > 0
    return check

small = within(LIMIT)

class Box:
    @property
    def full(self):
        return small(1) and [x for x in (1, 2) if x < 2] == [1]

@lru_cache
def double(x):
    return x * 2
"""


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    path = tmp_path / "swapped_module.py"
    path.write_text(TEXT)
    spec = importlib.util.spec_from_file_location("swapped_module", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mutant(module: ModuleType, line: int, kind: str, nth: int = 0) -> Mutant:
    assert module.__file__ is not None
    source = Path(module.__file__).read_bytes()
    return [m for m in mutants_of(module.__file__, source) if (m.line, m.kind) == (line, kind)][nth]


def test_a_function_made_by_another(module: ModuleType) -> None:
    assert not module.small(3)
    swap(mutant(module, 7, "comparison"))
    assert module.small(3)


def test_a_variable_from_outside_that_is_not_asked_any_more(module: ModuleType) -> None:
    swap(mutant(module, 7, "return"))
    assert module.small(1) is None


def test_a_property_and_what_is_made_within_it(module: ModuleType) -> None:
    assert module.Box().full
    swap(mutant(module, 15, "comparison", nth=0))
    assert not module.Box().full


def test_a_function_behind_a_decorator(module: ModuleType) -> None:
    swap(mutant(module, 19, "arithmetic"))
    assert module.double(8) == 4


def test_a_line_that_only_an_import_runs_is_refused(module: ModuleType) -> None:
    with pytest.raises(LookupError, match="no function runs this"):
        swap(mutant(module, 3, "constant"))
