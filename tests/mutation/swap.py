"""Puts a mutant in place of a module's functions while the program runs, so that nothing is imported anew."""

from __future__ import annotations

import gc
from collections import defaultdict
from pathlib import Path
from types import CodeType, FunctionType

from tests.mutation.operators import Mutant


def swap(mutant: Mutant) -> None:
    """Every function that was made from the mutant's module is the mutant's from now on, in this process.

    Raises LookupError when no function is another one with it: the change is in a line that only an import runs.
    """
    path = Path(mutant.file).resolve()
    source = path.read_bytes()
    sound, changed = (
        _functions(compile(text, str(path), "exec", dont_inherit=True)) for text in (source, mutant.apply(source))
    )
    other = {
        old: new
        for place, codes in sound.items()
        if len(codes) == len(changed[place])  # else one of several in a line that is no longer made
        for old, new in zip(codes, changed[place], strict=True)
        if old != new
    }
    found = [f for f in gc.get_objects() if type(f) is FunctionType and f.__code__ in other]
    if not found:
        raise LookupError(f"{mutant}: no function runs this")
    for function in found:
        function.__code__ = other[function.__code__]


def _functions(module: CodeType) -> defaultdict[tuple[str, int], list[CodeType]]:
    """The code of every function of a module, by its name and first line, which a mutant leaves where they are."""
    found = defaultdict(list)

    def visit(code: CodeType) -> None:
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                found[inner.co_qualname, inner.co_firstlineno].append(inner)
                visit(inner)

    visit(module)
    return found
