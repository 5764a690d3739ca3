"""Templates to HTML: autoescape is on for every template, and nothing is ever marked as safe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rollout import __version__
from rollout.dashboard import words
from rollout.dashboard.assets import Assets

TEMPLATES = Path(__file__).parent / "templates"


def environment(assets: Assets) -> Environment:
    """The templates with their filters; a name that is not given is an error, not an empty text."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_shown, auto_reload=False,
    )  # fmt: skip
    made.filters |= {
        "percent": words.percent,
        "points": words.points,
        "evidence": words.evidence,
        "count": words.count,
        "clock": words.clock_text,
        "duration": words.duration,
        "split": words.split_text,
        "lists": words.lists_text,
        "channel": words.channel_of,
        "actor": words.actor,
        "numbers": words.number_count,
        "tojson_text": _json,
    }
    made.globals |= {
        "asset": assets.url,
        "from_now": words.from_now,
        "PHASES": words.PHASES,
        "TARGETS": words.TARGETS,
        "VERDICTS": words.VERDICTS,
        "version": __version__,
    }
    return made


def _json(value: Any) -> str:
    """JSON to be read, as text: the template escapes it like everything else."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def _shown(value: Any) -> Any:
    """Every value on its way into a page: characters that nobody would see, or that turn text, are replaced."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return words.plain(value)
    return value
