"""Phone numbers as text: which ones we accept, and how they are shown where others may read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_E164 = re.compile(r"\+[1-9][0-9]{1,14}", re.ASCII)
_DOTS = "•••"


def is_e164(text: object) -> bool:
    """True if this is a phone number in E.164 form: a plus and 2 to 15 ASCII digits, the first not 0."""
    return isinstance(text, str) and _E164.fullmatch(text) is not None


def mask(number: str) -> str:
    """The number for logs: `+14157774444` becomes `+1415•••4444`.

    A shorter number shows less, so that what is hidden can never be guessed from what is shown.
    """
    if len(number) >= 12:
        return f"{number[:5]}{_DOTS}{number[-4:]}"
    if len(number) >= 8:
        return f"{number[:3]}{_DOTS}{number[-2:]}"
    return f"{number[:2]}{_DOTS}"


def numbers_text(numbers: Sequence[str]) -> str:
    """The first three of these numbers, and how many more there are."""
    shown = ", ".join(numbers[:3])
    return shown if len(numbers) <= 3 else f"{shown} and {len(numbers) - 3} more"


def listed(chosen: Iterable[object]) -> list[str]:
    """The numbers that a plan's `numbers` list; none if it selects any by nickname or by what they serve."""
    entries = list(chosen)
    found = [n for n in entries if isinstance(n, str)]
    return found if len(found) == len(entries) else []


def covers(limit: frozenset[str] | None, numbers: Iterable[str]) -> bool:
    """True if all of these numbers are among a limit's; of no numbers at all, only without a limit (None)."""
    if limit is None:
        return True
    found = list(numbers)
    return bool(found) and all(number in limit for number in found)


def plus_advice(number: str) -> str:
    """The end of a sentence about a number that is not known: what to write instead, where its plus is missing."""
    digits = re.sub(r"[ ().-]", "", number)
    if is_e164(number):
        return ""
    if is_e164(f"+{digits}") and not digits.startswith("00"):
        return f"; write it with its plus: +{digits}"
    return "; write E.164: a plus, the country's code and the number, for example +14157774444"
