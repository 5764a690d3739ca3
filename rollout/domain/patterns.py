"""Patterns as plans write them: `*` and `?`, and nothing else. Pure."""

from __future__ import annotations


def fits(text: str, pattern: str) -> bool:
    """True if the whole text fits: `*` stands for any characters or none, `?` for exactly one, the rest for itself.

    Case counts. Time grows with the two lengths multiplied at most, whatever the pattern.
    """
    at = wanted = 0
    star = resume = -1
    while at < len(text):
        if wanted < len(pattern) and pattern[wanted] == "*":
            star, resume = wanted, at
            wanted += 1
        elif wanted < len(pattern) and pattern[wanted] in ("?", text[at]):
            at, wanted = at + 1, wanted + 1
        elif star >= 0:  # let the last star take one character more
            resume += 1
            at, wanted = resume, star + 1
        else:
            return False
    return not pattern[wanted:].strip("*")
