"""Phone numbers as text: which ones we accept, and how they are shown where others may read."""

from __future__ import annotations

import re

_E164 = re.compile(r"\+[1-9][0-9]{1,14}", re.ASCII)
_DOTS = "•••"


def is_e164(text: object) -> bool:
    """Whether this is a phone number in E.164 form: a plus and 2 to 15 ASCII digits, the first not 0."""
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
