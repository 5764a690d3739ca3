"""Text that people give: one line, and nothing that forges another one."""

from __future__ import annotations

import pytest

from rollout.domain.errors import InputError
from rollout.domain.lifecycle.commands import By
from rollout.domain.one_line import in_one_line, one_line
from rollout.interfaces.cli.screen import plain, plain_lines

ACTING = [
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\x00",
    "\x1b[2J",
    "\x07",
    "\x7f",
    "\x85",
    "\x9b31m",
    "\u061c",
    "\u200b",
    "\u200e",
    "\u200f",
    "\u2028",
    "\u2029",
    "\u202a",
    "\u202e",
    "\u2060",
    "\u2066",
    "\u2069",
    "\ufeff",
    "\udc80",
    "\U000e0041",
]
GOOD = ["", "calls drop", "größer – 100\u00a0%", "نمی\u200cخواهم", "👩\u200d🚒 says so", "a 'b' \"c\" \\ <d> &"]


@pytest.mark.parametrize("acting", ACTING, ids=ascii)
def test_a_character_that_forges_lines_is_refused_by_the_name_of_its_field(acting: str) -> None:
    with pytest.raises(InputError, match=r"^reason: write one line.* after 2 characters$"):
        By("cli:me", f"ok{acting}why     all is well")
    with pytest.raises(InputError, match=r"^actor: write one line"):
        By(f"cli:me{acting}")
    with pytest.raises(InputError, match=r"^request_id: write 1 to 120 printable"):
        By("cli:me", "", f"a{acting}b")
    assert len(plain(f"a{acting}b").splitlines()) == 1 and "\x1b" not in plain_lines(f"a{acting}b")
    assert in_one_line(f"a{acting}b").isprintable() is True


@pytest.mark.parametrize("good", GOOD, ids=ascii)
def test_what_people_write_is_taken_as_it_is(good: str) -> None:
    assert By("cli:me", good).reason == good
    assert one_line("name", good, 80) == one_line("name", good, len(good)) == good


def test_a_text_that_is_too_long_is_refused_with_the_length() -> None:
    with pytest.raises(InputError, match=r"^reason: write at most 1000 characters, not 1001$"):
        By("cli:me", "x" * 1001)
