"""Text that people give with a command: one line, without characters that a terminal, a log or a page interprets."""

from __future__ import annotations

import re

from rollout.domain.errors import InputError

# Controls, line separators, what turns or hides text, half characters. Joiners are letters to some scripts.
_ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_NAMES = {"\n": "a line end", "\r": "a line end", "\u2028": "a line end", "\u2029": "a line end", "\t": "a tab"}


def one_line(field: str, text: str, most: int) -> str:
    """The text, if it is one line of at most `most` characters; InputError names the field and the character."""
    if len(text) > most:
        raise InputError(f"{field}: write at most {most} characters, not {len(text)}", field=field)
    if found := _ACTING.search(text):
        what = _NAMES.get(found[0], f"the character U+{ord(found[0]):04X}")
        raise InputError(
            f"{field}: write one line, without control or text-direction characters; there is {what} "
            f"after {found.start()} characters",
            field=field,
        )
    return text


def in_one_line(text: str, instead: str = " ") -> str:
    """Any text as one line, with `instead` for each character that would act."""
    return _ACTING.sub(instead, text)
