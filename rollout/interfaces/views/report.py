"""`rollout report`: what the calls said, arm by arm, as text, JSON or one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from rollout.domain.gates.summary import ArmSummary, GateSummary, summarise
from rollout.domain.gates.verdict import GateOutcome, StoredLook
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.interfaces.views import gates
from rollout.interfaces.views import rollout as views

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 260, 48, 32


@dataclass(frozen=True, slots=True)
class Report:
    """The comparison, and the evidence over calls by arm for the plot."""

    rollout: dict[str, Any]
    gates: GateSummary | None
    recommendation: str
    evidence: Mapping[str, Sequence[Mapping[str, Any]]]

    def to_json(self) -> dict[str, Any]:
        return {
            "rollout": self.rollout,
            "arms": gates.arms(self.gates),
            "recommendation": self.recommendation,
            "evidence": self.evidence,
        }


def report(rollout: Rollout, looks: Sequence[StoredLook]) -> Report:
    """The report on a rollout as it stands, with its stored looks."""
    found = summarise(rollout)
    said = _recommendation(rollout, () if found is None else found.arms)
    return Report(views.summary(rollout), found, said, _evidence(looks))


def _evidence(looks: Sequence[StoredLook]) -> dict[str, list[dict[str, Any]]]:
    curves: dict[str, list[dict[str, Any]]] = {}
    for look in looks:
        for arm, kept in look.verdict.arms.items():
            figures = kept.evidence.figures
            curves.setdefault(arm, []).append(
                {
                    "calls": kept.evidence.tally.calls,
                    "harm": figures.e_gate,
                    "safe": min(figures.safe.values(), default=1.0),
                    "at": views.when(look.at),
                }
            )
    return curves


def _recommendation(rollout: Rollout, found: Sequence[ArmSummary]) -> str:
    """The recommendation; for a rollout that is over, or waits for a person, what was and what it waits for."""
    failing = [a.name for a in found if a.outcome is GateOutcome.FAIL]
    passing = [a for a in found if a.outcome is GateOutcome.PASS]
    best = min(passing, key=_success).name if passing else ""
    if rollout.phase not in (Phase.PENDING, Phase.PROGRESSING, Phase.PAUSED):
        return f"{_STANDS[rollout.phase]}{_because(rollout)}. {_said(failing, best, len(found))}"
    if not found:
        return "No verdict yet: no calls have been judged."
    words = f"Do not use {', '.join(failing)}: worse than the baseline. " if failing else ""
    if not passing:
        return words + ("" if failing and len(failing) == len(found) else "There are not enough calls to decide yet.")
    if len(found) == 1:
        return words + f"{best} is not worse than the baseline by the margins of this plan: promote it."
    return words + f"{best} has the best success of those shown not to be worse: promote it, or run it alone."


_STANDS = {
    Phase.ROLLING_BACK: "It is being rolled back",
    Phase.ROLLED_BACK: "It was rolled back",
    Phase.STOPPED: "It was stopped, and the split left as it was",
    Phase.PROMOTED: "It was promoted",
    Phase.HELD: "It is held and needs a person",
}


def _because(rollout: Rollout) -> str:
    return f": {rollout.reason.rstrip('.')}" if rollout.reason and rollout.phase is not Phase.PROMOTED else ""


def _said(failing: Sequence[str], best: str, arms: int) -> str:
    """The calls' result until then."""
    if not arms:
        return "No calls were judged."
    shown = [f"{', '.join(failing)} to be worse than the baseline"] if failing else []
    shown += [f"{best} not to be worse by the margins of this plan"] if best else []
    return f"The calls had shown {' and '.join(shown)}." if shown else "The calls had not decided it."


def _success(arm: ArmSummary) -> float:
    rates = [m.canary.rate for m in arm.metrics if m.proof is not None]
    known = [r for r in rates if r is not None]
    return known[0] if known else 1.0


def text(report: Report) -> str:
    """For a terminal."""
    summary = report.rollout
    head = f"{summary['name']} ({summary['id']}): {summary['phase']}"
    return "\n".join([f"{head}. {report.recommendation}", *gates.lines(report.gates)])


def html(report: Report) -> str:
    """One page without scripts, fonts or pictures from elsewhere."""
    summary = report.rollout
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>{escape(summary['name'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(summary['name'])}</h1>",
        f"<p>{escape(summary['id'])}, {escape(summary['phase'])}. {escape(report.recommendation)}</p>",
    ]
    for arm in () if report.gates is None else report.gates.arms:
        parts.append(f"<h2>{escape(arm.name)}: {escape(arm.outcome)}</h2><p>{escape(arm.reason)}</p>")
        parts.append(_table(arm))
        parts.append(_plot(report.evidence.get(arm.name, []), arm.rollback.line))
    return "\n".join(parts)


def _table(arm: ArmSummary) -> str:
    rows = ["<table><tr><th>metric<th>canary<th>baseline<th>difference<th>95 % interval, any time<th>harm<th>safe"]
    for m in arm.metrics:
        cells = [
            escape(m.outcome.replace(":", " ")),
            gates.good(m.canary),
            gates.good(m.baseline),
            "" if m.difference is None else f"{gates.points(-m.difference)} points",
            "" if m.interval is None else f"{gates.points(-m.interval[1])} to {gates.points(-m.interval[0])}",
            f"{m.harm.e:.3g}",
            "" if m.proof is None else f"{m.proof.e:.3g} of {m.proof.line:.0f}",
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}" for cell in cells))
    rows += [
        f"<tr><td>{escape(x.name)}<td colspan=6>{'not read' if x.value is None else x.value}" for x in arm.external
    ]
    return "".join(rows) + "</table>"


def _plot(points: Sequence[Mapping[str, Any]], roll_back_at: float) -> str:
    """Evidence over calls on a logarithmic scale, with the line at which it decides."""
    import math

    if len(points) < 2:
        return "<p>Too few looks for a chart.</p>"
    most = max(p["calls"] for p in points) or 1
    low, high = -2.0, 4.0

    def x(calls: float) -> float:
        return LEFT + (WIDTH - LEFT - 8) * calls / most

    def y(e: float) -> float:
        log = min(high, max(low, math.log10(max(e, 1e-9))))
        return 8 + (HEIGHT - BOTTOM - 8) * (high - log) / (high - low)

    def curve(key: str) -> str:
        return " ".join(f"{x(p['calls']):.1f},{y(p[key]):.1f}" for p in points)

    marks = "".join(
        f"<text x=4 y={y(10.0**k) + 4:.0f}>{10.0**k:g}</text>"
        f"<line class=grid x1={LEFT} x2={WIDTH} y1={y(10.0**k):.0f} y2={y(10.0**k):.0f} />"
        for k in range(-2, 5)
    )
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img aria-label='evidence over calls'>{marks}"
        f"<line class=limit x1={LEFT} x2={WIDTH} y1={y(roll_back_at):.0f} y2={y(roll_back_at):.0f} />"
        f"<polyline class=harm points='{curve('harm')}' /><polyline class=safe points='{curve('safe')}' />"
        f"<text x={LEFT} y={HEIGHT - 8}>0 calls</text><text x={WIDTH - 90} y={HEIGHT - 8}>{most} calls</text></svg>"
        "<p class=key><span class=harm>harm</span> <span class=safe>safe</span></p>"
    )


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d0d7de}"
    "svg{width:100%;height:auto}svg text{font-size:11px;fill:#57606a}.grid{stroke:#eaeef2}.limit{stroke:#57606a;"
    "stroke-dasharray:4}.harm{stroke:#cf222e;color:#cf222e}.safe{stroke:#1a7f37;color:#1a7f37}polyline{fill:none;"
    "stroke-width:2}@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td{border-color:#30363d}"
    ".grid{stroke:#21262d}}"
)
