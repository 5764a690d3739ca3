"""Templates to HTML: autoescape is on for every template, and nothing is ever marked as safe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rollout.interfaces.dashboard import formatting
from rollout.interfaces.dashboard.assets import Assets
from rollout.version import __version__

TEMPLATES = Path(__file__).parent / "templates"


def environment(assets: Assets) -> Environment:
    """The templates with their filters; a name that is not given is an error, not an empty text."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
        auto_reload=False,
    )
    made.filters |= {
        "percent": formatting.percent,
        "percent1": formatting.percent1,
        "rate": formatting.good_rate,
        "points": formatting.points,
        "evidence": formatting.evidence,
        "count": formatting.count,
        "clock": formatting.clock_text,
        "duration": formatting.duration,
        "sentence": formatting.sentence,
        "split": formatting.split_text,
        "lists": formatting.lists_text,
        "channel": formatting.channel_of,
        "actor": formatting.actor,
        "numbers": formatting.number_count,
        "tojson_text": _json,
    }
    made.globals |= {
        "asset": assets.url,
        "from_now": formatting.from_now,
        "PHASES": formatting.PHASES,
        "TARGETS": formatting.TARGETS,
        "VERDICTS": formatting.VERDICTS,
        "version": __version__,
    }
    return made


def _json(value: Any) -> str:
    """JSON to be read, as text: the template escapes it like everything else."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def _shown(value: Any) -> Any:
    """Every value on its way into a page: characters that nobody would see, or that turn text, are replaced."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return formatting.plain(value)
    return value
