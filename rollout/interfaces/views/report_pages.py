"""A report as text, and as one self-contained HTML page: no script, and no font, picture or style from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rollout.domain.gates.summary import ArmSummary
from rollout.interfaces.views import report_plots as plots
from rollout.interfaces.views import value_text
from rollout.interfaces.views.report import Report, ReportedMetric, ReportedVersion
from rollout.interfaces.views.report_form import ReportForm
from rollout.interfaces.views.report_history import ReportedEvent

TEMPLATES = Path(__file__).parent / "templates"
MOST_EVENTS = 60
STYLES = TEMPLATES / "report.css"
# Signs that a plain terminal may not have: a lost minus would turn a difference around.
_ASCII = str.maketrans({"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{NO-BREAK SPACE}": " "})


def written(report: Report, form: ReportForm) -> str:
    """The whole report in this form."""
    match form:
        case ReportForm.JSON:
            return json.dumps(report.to_json(), ensure_ascii=False, allow_nan=False)
        case ReportForm.TEXT:
            return text(report)
        case ReportForm.HTML:
            return html(report)


def text(report: Report) -> str:
    """For a terminal."""
    return "\n".join(_lines(report)).translate(_ASCII)


def _lines(report: Report) -> list[str]:
    summary, advice, end = report.rollout, report.recommendation, report.ending
    found = [f"{summary['name']} ({summary['id']}): {summary['phase'].replace('_', ' ')}", ""]
    found += [f"{title:<15} {value}" for title, value in facts(report)]
    if advice is not None:
        found += ["", f"Recommendation: {advice.what}"]
        found += [f"  why: {why}" for why in advice.why]
        found += [f"  what would change it: {advice.would_change}"]
    if end is not None:
        found += ["", f"What was done: {end.what} {end.results}", *(f"  {line}" for line in end.followed)]
    for version in report.versions:
        found += ["", f"{version.name} ({version.serves}): {version.calls:,} call{'' if version.calls == 1 else 's'}"]
        found += [f"  {line}" for line in map(_metric, version.metrics)]
    for arm in () if report.gates is None else report.gates.arms:
        found += [f"  {name}: {value}" for name, value in external(arm)]
    found += ["", "What happened:"]
    told, left_out = shown_events(report)
    found += [f"  {value_text.moment(e.at)}  {e.actor}: {e.what}" for e in told]
    found += [f"  {left_out} events between the first and these are in the journal"] if left_out else []
    return found


def _metric(m: ReportedMetric) -> str:
    line = f"{value_text.metric(m.name):<16} {value_text.counted(m.rate)}"
    if m.rate.calls:
        line += f" good, {value_text.rate(m.rate.good)} ({value_text.span(m.rate.good_interval)})"
    if m.difference is not None:
        line += f"; {value_text.points(m.difference)} against the baseline ({value_text.points_span(m.interval)})"
    return line


def facts(report: Report) -> list[tuple[str, str]]:
    """The versions compared, their numbers, the time and the calls."""
    baseline, *tried = report.versions
    count = len(report.numbers)
    numbers = (
        f"{value_text.number_count(count)}: {', '.join(report.numbers)}"
        if 0 < count <= 4
        else value_text.number_count(count)
    )
    return [
        ("Tried", "; ".join(f"{v.name}: {v.serves}" for v in tried)),
        ("Against", baseline.serves or "the numbers have not been read yet"),
        ("Numbers", f"{numbers} ({', '.join(c.replace('_', ' ') for c in report.channels)})"),
        ("Since", value_text.moment(report.since) if report.since else "not begun yet"),
        *([("Until", value_text.moment(report.until))] if report.until else []),
        ("Calls", f"{report.calls:,}: " + ", ".join(f"{v.name} {v.calls:,}" for v in report.versions)),
        ("As of", value_text.moment(report.at)),
    ]


def shown_events(report: Report) -> tuple[tuple[ReportedEvent, ...], int]:
    """The first event and the newest ones, and how many between them are left out."""
    left_out = max(0, len(report.events) - MOST_EVENTS)
    return (*report.events[:1], *report.events[1 + left_out :]), left_out


def external(arm: ArmSummary) -> list[tuple[str, str]]:
    """The values from elsewhere with their limits, in value_text."""
    return [(value_text.metric(x.name), value_text.external(x)) for x in arm.external]


def html(report: Report) -> str:
    """The whole page, to be kept, sent or printed."""
    return environment().get_template("report_file.html").render(report=report, **parts(report))


def parts(report: Report) -> dict[str, Any]:
    """The parts of `report_body.html` beside the report itself."""
    sizes = (plots.WIDE, plots.NARROW)
    events, left_out = shown_events(report)
    curves = [(c.version, [plots.evidence(c, width) for width in sizes]) for c in report.evidence]
    return {
        "facts": facts(report),
        "rows": rows(report.versions),
        "events": events,
        "left_out": left_out,
        "rates": [plots.rates(report, width) for width in sizes],
        "curves": curves,
        "external": [(arm.name, external(arm)) for arm in (report.gates.arms if report.gates else ()) if arm.external],
    }


def rows(
    versions: Sequence[ReportedVersion],
) -> list[tuple[str, float | None, list[tuple[ReportedVersion, ReportedMetric]]]]:
    """By metric: its name, the margin that must be proven, if one must, and each version's figures."""
    judged = [v for v in versions if v.metrics]
    return [
        (
            group[0].name,
            next((m.margin for m in group if m.margin is not None), None),
            list(zip(judged, group, strict=True)),
        )
        for group in zip(*(v.metrics for v in judged), strict=True)
    ]


def environment(*folders: Path) -> Environment:
    """Templates of these folders and of the report: autoescape is on for every one, nothing is ever marked as safe, and
    a name that is not given is an error, not an empty text."""
    made = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
        auto_reload=False,
    )
    made.globals["value_text"] = value_text
    return made


def _shown(value: Any) -> Any:
    """Every value on its way into a page: characters that nobody would see, or that turn text, are replaced."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return value_text.visible(value)
    return value
