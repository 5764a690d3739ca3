"""Values as the page words them: shares, times, splits, phases. Pure text; escaping is the templates' business."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rollout.domain.gates.summary import ArmCalls
from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.lifecycle.machine import HeldReason, Phase
from rollout.domain.lifecycle.state import Rollout, TargetState
from rollout.domain.plan.plan import Plan
from rollout.domain.splits.splits import describe
from rollout.domain.versions import tags

NO_BREAK = "\N{NO-BREAK SPACE}"

# Closed: a test holds each of these against its enum, so that no state, phase, reason or verdict is without words.
# phase -> (what it is called, a sign that is not a colour, its tone in the style sheet)
PHASES: Mapping[str, tuple[str, str, str]] = {
    Phase.PENDING: ("pending", "○", "quiet"),
    Phase.PROGRESSING: ("progressing", "▶", "go"),
    Phase.PAUSED: ("paused", "‖", "wait"),
    Phase.HELD: ("held", "■", "alarm"),
    Phase.PROMOTED: ("promoted", "✓", "good"),
    Phase.ROLLING_BACK: ("rolling back", "◀", "back"),
    Phase.ROLLED_BACK: ("rolled back", "↩", "back"),
    Phase.STOPPED: ("stopped", "×", "quiet"),
}
TARGETS: Mapping[str, tuple[str, str]] = {
    TargetState.UNTOUCHED: ("not written yet", "quiet"),
    TargetState.CONFIRMED: ("confirmed", "good"),
    TargetState.DRIFTED: ("drifted", "alarm"),
    TargetState.TOUCHED: ("touched", "wait"),
    TargetState.MISSING: ("missing", "alarm"),
    TargetState.REJECTED: ("rejected", "alarm"),
    TargetState.RESTORED: ("restored", "back"),
    TargetState.SUPERSEDED: ("a later rollout has it", "quiet"),
    TargetState.FOREIGN: ("edited by somebody", "wait"),
}
VERDICTS: Mapping[str, str] = {
    GateOutcome.PASS: "✓ pass",
    GateOutcome.FAIL: "✗ fail",
    GateOutcome.UNDECIDED: "… undecided",
    GateOutcome.UNMEASURABLE: "? unmeasurable",
}
# What each reason of a hold means, and what answers it.
HELD: Mapping[str, str] = {
    HeldReason.DRIFT: "The live split is not this rollout's. Adopt it, restore the rollout's, roll back or stop.",
    HeldReason.TOUCHED: "Somebody wrote a number, and nothing visible changed. Adopt, restore, roll back or stop.",
    HeldReason.IDENTITY: "A number was deleted and created again. Check it in Retell before you answer.",
    HeldReason.MISSING: "Retell does not know a number any more.",
    HeldReason.REJECTED: "Retell refuses what the rollout sends, and trying again does not help.",
    HeldReason.ROLLBACK_IMPOSSIBLE: "The baseline's version is gone, so a rollback of that number would be refused.",
    HeldReason.POISON: "The service crashed on this rollout five times in a row; its log says where.",
    HeldReason.SPLIT: "The calls do not follow the weights. Something else decides which version answers.",
    HeldReason.LABELS: "More results of one version are missing, and those may be the bad calls. Check the analysis of its "
    "agent, or adopt to continue without them.",
    HeldReason.DEADLINE: "The plan's deadline has passed.",
}


def sentence(text: str) -> str:
    """A message as a sentence: a capital in front, unless the name of a field stands there, and a full stop."""
    text = text.strip()
    if not text.partition(" ")[0].endswith(":"):
        text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?:" else f"{text}."


def percent(share: float | None) -> str:
    """`12.5 %` of 0.125, never broken over two lines; an en dash of None."""
    return "–" if share is None else f"{round(share * 100, 2):g}\u00a0%"


def whole_percent(share: float) -> str:
    """A share of the way: `12 %`."""
    return f"{share * 100:.0f}\u00a0%"


def rate_percent(share: float) -> str:
    """A measured share, to a tenth: `12.3 %`."""
    return f"{share * 100:.1f}\u00a0%"


def good_rate(arm: ArmCalls) -> str:
    """The share of good calls of an arm, to a tenth; an en dash without calls."""
    return "–" if arm.rate is None else rate_percent(1 - arm.rate)


def points(share: float | None) -> str:
    """A difference of shares in percentage points, with its sign: `+1.7`."""
    return "–" if share is None else f"{share * 100:+.1f}".replace("-", "−")


def evidence(value: float) -> str:
    """An e-value in as many digits as it is worth."""
    if value >= 1000:
        return "over 1000"
    return f"{value:.0f}" if value >= 20 else f"{value:.2g}"


def count(number: int) -> str:
    """`1,234`."""
    return f"{number:,}"


def clock_text(moment: datetime | None) -> str:
    """`2 Nov 17:03:05 UTC`; the script of the page turns it into the reader's zone."""
    if moment is None:
        return "–"
    moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%b %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """A length of time in its largest unit, or the two largest below ten: `45 s`, `2 h 30 min`, `3 d`."""
    left = max(0, round(seconds))
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for i, (name, size) in enumerate(units):
        if left >= size:
            whole, rest = divmod(left, size)
            if i + 1 < len(units) and whole < 10 and (part := rest // units[i + 1][1]):
                return f"{whole} {name} {part} {units[i + 1][0]}"
            return f"{whole} {name}"
    return "0 s"


def from_now(moment: datetime | None, now: datetime) -> str:
    """`in 4 min`, `2 h ago`, `now`."""
    if moment is None:
        return "–"
    seconds = (moment - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {duration(seconds)}" if seconds > 0 else f"{duration(-seconds)} ago"


def parse_time(text: str | None) -> datetime | None:
    """A time of the JSON form (ISO 8601 with Z)."""
    return None if not text else datetime.fromisoformat(text)


def split_text(entries: Sequence[Mapping[str, Any]] | None) -> str:
    """One list in words: `100 % agent_abc v6`; of several versions of one agent, `agent_abc: 10 % v7, 90 % v6`.

    No share is broken over two lines.
    """
    if not entries:
        return "nothing bound"
    text = describe([dict(e) for e in entries])
    agents = {str(e.get("agent_id")) for e in entries}
    if len(agents) == 1 and len(entries) > 1:
        agent = agents.pop()
        text = f"{agent}: {text.replace(f' {agent} ', NO_BREAK)}"
    return text.replace(" %", f"{NO_BREAK}%")


def lists_text(lists: Mapping[str, Any] | None) -> str:
    """A number's lists in words; the channel is named when there are several."""
    if not lists:
        return "–"
    if len(lists) == 1:
        return split_text(next(iter(lists.values())))
    return "; ".join(f"{channel_of(field)}: {split_text(entries)}" for field, entries in lists.items())


def channel_of(field: str) -> str:
    """`inbound` of `inbound_agents`."""
    return field.removesuffix("_agents").replace("_", " ")


def tried(plan: Plan) -> str:
    """The versions in a plan: `agent_abc v6 → v7` where it names the baseline, else `agent_abc v7`; variants in turn."""
    arms = list(plan.arms.values())
    base = plan.baseline or ()
    if len(arms) == len(base) == 1 and base[0].agent_id == arms[0].agent_id and base[0].agent_version is not None:
        return f"{arms[0].agent_id} v{base[0].agent_version} → v{arms[0].agent_version}"
    versions: dict[str, list[str]] = {}
    for arm in arms:
        versions.setdefault(arm.agent_id, []).append(f"v{arm.agent_version}")
    return ", ".join(f"{agent} {', '.join(found)}" for agent, found in versions.items())


def held(r: Rollout) -> str:
    """The meaning of a rollout's hold and the answer to it; empty while it is not held.

    A hold after a failure has the failure itself as its reason, which is shown beside it.
    """
    if r.phase is Phase.HELD and tags.moved(r.tags):
        return "A tag that the baseline names was moved or deleted. Adopt it as it is, roll back or stop."
    return HELD.get(r.reason or "", "It waits for a person.") if r.phase is Phase.HELD else ""


def pretty_json(body: str) -> str:
    """A body as it is sent, with one agent a line; every character but the white space is the same."""
    document = json.loads(body)
    lists = [
        f"  {json.dumps(field)}: [\n" + ",\n".join(f"    {json.dumps(e)}" for e in entries) + "\n  ]"
        if isinstance(entries, list)
        else f"  {json.dumps(field)}: {json.dumps(entries)}"
        for field, entries in document.items()
    ]
    return "{\n" + ",\n".join(lists) + "\n}"
