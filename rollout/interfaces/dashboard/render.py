"""Templates to HTML: autoescape is on for every template, and nothing is ever marked as safe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment

from rollout.domain.version import __version__
from rollout.interfaces.dashboard import formatting
from rollout.interfaces.dashboard.assets import Assets
from rollout.interfaces.views import report_pages, value_text

TEMPLATES = Path(__file__).parent / "templates"


def environment(assets: Assets) -> Environment:
    """The page's templates, and the report's, with their filters."""
    made = report_pages.environment(TEMPLATES)
    made.filters |= {
        "percent": formatting.percent,
        "rate_percent": formatting.rate_percent,
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
        "actor": value_text.actor_name,
        "numbers": value_text.number_count,
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
