"""Phone numbers as text: taken, shown, limited, and advice for those that cannot be read."""

from __future__ import annotations

import pytest

from rollout.domain.phone_numbers import covers, is_e164, listed, mask, numbers_text, plus_advice

ONE, TWO = "+14157774444", "+14157774445"


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (ONE, True),
        ("+12", True),
        ("+" + "1" * 15, True),
        ("+1", False),
        ("+" + "1" * 16, False),
        ("+0123456", False),
        ("14157774444", False),
        (f" {ONE}", False),
        (f"{ONE}\n", False),
        ("+١٢٣٤", False),
        (7, False),
        (None, False),
    ],
)
def test_what_is_e164(text: object, taken: bool) -> None:
    assert is_e164(text) is taken


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (ONE, "+1415•••4444"),
        ("+1415777444", "+14•••44"),
        ("+1234567", "+12•••67"),
        ("+123456", "+1•••"),
        ("+12", "+1•••"),
    ],
)
def test_what_is_hidden_cannot_be_guessed_from_what_is_shown(number: str, shown: str) -> None:
    assert mask(number) == shown


def test_a_plan_that_selects_by_anything_else_lists_no_numbers() -> None:
    assert listed([ONE, TWO]) == [ONE, TWO]
    assert listed([ONE, object()]) == []
    assert listed([]) == []


@pytest.mark.parametrize(
    ("limit", "numbers", "covered"),
    [
        (None, [], True),
        (None, [ONE], True),
        ({ONE}, [ONE], True),
        ({ONE}, [ONE, TWO], False),
        ({ONE, TWO}, [TWO], True),
        ({ONE}, [], False),
        (set(), [ONE], False),
    ],
)
def test_a_limit_covers_what_it_names_and_never_nothing(
    limit: set[str] | None, numbers: list[str], covered: bool
) -> None:
    assert covers(None if limit is None else frozenset(limit), iter(numbers)) is covered


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (ONE, ""),
        ("1 (415) 777-4444", f"; write it with its plus: {ONE}"),
        ("0049 30 1234567", "; write E.164: a plus, the country's code and the number, for example +14157774444"),
        ("front desk", "; write E.164: a plus, the country's code and the number, for example +14157774444"),
    ],
)
def test_whoever_leaves_the_plus_away_is_told_so(number: str, advice: str) -> None:
    assert plus_advice(number) == advice


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([ONE], ONE), ([ONE] * 3, f"{ONE}, {ONE}, {ONE}"), ([ONE] * 5, f"{ONE}, {ONE}, {ONE} and 2 more")],
)
def test_of_many_numbers_three_are_shown(numbers: list[str], text: str) -> None:
    assert numbers_text(numbers) == text
