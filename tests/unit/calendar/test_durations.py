"""Durations: exact, and helpful about every form they refuse."""

from __future__ import annotations

from datetime import time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.calendar import durations
from rollout.domain.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("3d", timedelta(days=3)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("0.5s", timedelta(milliseconds=500)),
        ("1m0.000001s", timedelta(minutes=1, microseconds=1)),
        ("0s", timedelta(0)),
        ("90m", timedelta(minutes=90)),
        ("3650d", timedelta(days=3650)),
        ("87600h", timedelta(days=3650)),
        (timedelta(0), timedelta(0)),
        (timedelta(days=3650), timedelta(days=3650)),
    ],
    ids=repr,
)
def test_reads(text: object, value: timedelta) -> None:
    assert durations.parse(text) == value


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("10:30", "the colon form 10:30 can mean hours or minutes; write 10h30m or 10m30s"),
        (time(10, 30), "the colon form 10:30 can mean hours or minutes; write 10h30m or 10m30s"),
        ("1:02:03", "the colon form 1:02:03 is not a duration; write 1h2m3s"),
        (30, "30 has no unit; write 30s for seconds or 30m for minutes"),
        (0, "0 has no unit; write 0s for seconds or 0m for minutes"),
        (999_999_999, "999999999 has no unit; write 999999999s for seconds or 999999999m for minutes"),
        (10**9, "1000000000 has no unit; write 30s for seconds or 30m for minutes"),
        (-5, "-5 has no unit; write 30s for seconds or 30m for minutes"),
        (time(10, 30, 5), "the colon form 10:30 is not a duration; write 10h30m5s"),
        ("1:02:00", "the colon form 1:02:00 can mean hours or minutes; write 1h2m or 1m2s"),
        (630, "630 has no unit; write 630s for seconds or 630m for minutes"),
        ("30", "30 has no unit; write 30s for seconds or 30m for minutes"),
        (0.5, "0.5 has no unit; write for example 0.5s, 30s or 15m"),
        ("250ms", "250ms is not in the form of a duration; write 0.25s"),
        ("1.5h", "1.5h: only seconds may have decimals; write 1h30m"),
        ("30 min", "30 min is not in the form of a duration; write 30m"),
        ("2 weeks", "2 weeks is not in the form of a duration; write 14d"),
        ("1H30M", "1H30M is not in the form of a duration; write 1h30m"),
        ("1h 30m", "1h 30m is not in the form of a duration; write 1h30m"),
        ("1.5d", "1.5d: only seconds may have decimals; write 1d12h"),
        ("0.5m", "0.5m: only seconds may have decimals; write 30s"),
        ("3 secs", "3 secs is not in the form of a duration; write 3s"),
        ("2 Hours", "2 Hours is not in the form of a duration; write 2h"),
        ("1 day", "1 day is not in the form of a duration; write 1d"),
        ("1w", "1w is not in the form of a duration; write 7d"),
        ("1H " + " " * 36 + "2", "1H " + " " * 36 + "2 is not a duration; write for example 90s, 15m, 1h30m or 3d"),
        ("x" * 41, f"'{'x' * 40}' is not a duration; write for example 90s, 15m, 1h30m or 3d"),
        ("1H" + " " * 38 + "2M", f"'1H{' ' * 38}' is not in the form of a duration; write 1h2m"),
        ("soon", "soon is not a duration; write for example 90s, 15m, 1h30m or 3d"),
        ("h", "h is not a duration; write for example 90s, 15m, 1h30m or 3d"),
        ("", "'' is not a duration; write for example 90s, 15m, 1h30m or 3d"),
        ("30m1h", "30m1h is not a duration; write for example 90s, 15m, 1h30m or 3d"),
        ("-5m", "-5m is not a duration; write for example 90s, 15m, 1h30m or 3d"),
        ("5\nm", "'5\\nm' is not in the form of a duration; write 5m"),
        ("\u0665m", "\u0665m is not a duration; write for example 90s, 15m, 1h30m or 3d"),
        ("99999999d", "99999999d is longer than ten years; write at most 3650d"),
        ("3651d", "3651d is longer than ten years; write at most 3650d"),
        ("3650d0.000001s", "3650d0.000001s is longer than ten years; write at most 3650d"),
        (timedelta(days=3651), "3651 days, 0:00:00 is longer than ten years; write at most 3650d"),
        ("999999999h", "999999999h is longer than ten years; write at most 3650d"),
        (timedelta(seconds=-1), "-1 day, 23:59:59 is negative; write for example 30s"),
        (True, "True is not a duration; write for example 30s, 15m or 1h30m"),
        (None, "None is not a duration; write for example 30s, 15m or 1h30m"),
        ([], "a list is not a duration; write for example 30s, 15m or 1h30m"),
    ],
    ids=repr,
)
def test_refuses_with_what_to_write(value: object, sentence: str) -> None:
    with pytest.raises(durations.DurationError) as caught:
        durations.parse(value)
    assert caught.value.message == sentence
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_code == 2


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.timedeltas(min_value=timedelta(0), max_value=durations.LONGEST))
def test_what_is_rendered_is_read_back(value: timedelta) -> None:
    text = durations.render(value)
    assert durations.parse(text) == value
    assert durations.render(durations.parse(text)) == text


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(st.text(max_size=20), st.from_regex(r"[0-9:.dhms ]{1,12}", fullmatch=True)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        value = durations.parse(text)
    except durations.DurationError as error:
        assert "; write " in error.message
    else:
        assert timedelta(0) <= value <= durations.LONGEST


def test_long_texts_are_refused_at_once() -> None:
    with pytest.raises(durations.DurationError):
        durations.parse("1" * 100_000 + "x")
