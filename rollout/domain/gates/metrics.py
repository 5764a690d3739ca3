"""The metrics of calls: for each kind, which calls are bad, when that is known, and the words for it.

One table (`KINDS`) for the built-in kinds and for custom analysis fields; the reference of plans and docs/gates.md
are made from it. A value that is missing, of another kind or out of all bounds makes a call unknown to that metric,
never good or bad. Facts about Retell's fields: its list-calls and get-call schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a plan names metrics, and a rollout, whose records these are, has a plan
    from rollout.domain.calls import CallRecord, CustomValue

QUANTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
LATENCY_PARTS = ("e2e", "llm", "tts", "asr")
LATENCY_QUANTILES = ("p50", "p90", "p95")
EARLY_SECONDS = 15.0
USUAL_QUANTILE = "p90"  # of the baseline's own earlier calls, where a plan names no limit


class Known(StrEnum):
    """The moment from which a metric knows the outcome of a call."""

    AT_END = "at its end"
    ANALYSIS = "after the analysis"
    DETAILS = "once the call itself was read (get-call, or its webhook)"


@dataclass(frozen=True, slots=True)
class MetricRule:
    """One yes-or-no outcome of a call that is compared between the arms, or one external value with a limit.

    `share` is the part of the harm evidence that this metric carries; what the shares leave of 1 is not bet.
    `margins` are points of the bad rate as fractions (0.25 = 25 points); a metric with margins is critical: a
    step passes only when the canary is proven not to be worse by the margin. External: below `minimum` or above
    `maximum` on `looks` looks in a row fails.

    Of calls: `kind` names the row of KINDS (empty: `custom`, else the name). Bad is `bad` or one of `bad_values`
    (custom fields), a number below `bad_below` or above `bad_above` (cents, seconds, milliseconds or the field's own
    unit), or one above the baseline's own earlier `quantile`. `detail`: the tool, or the latency such as "llm_p90".
    """

    name: str
    share: float = 0.0
    margins: tuple[float, ...] = ()
    custom: str | None = None
    bad: bool = False
    external: bool = False
    maximum: float | None = None
    minimum: float | None = None
    looks: int = 1
    kind: str = ""
    detail: str = ""
    bad_values: tuple[CustomValue, ...] = ()
    bad_below: float | None = None
    bad_above: float | None = None
    quantile: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "margins": list(self.margins), "bad_values": list(self.bad_values)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MetricRule:
        """A rule as kept with a verdict, also by an earlier version."""
        return cls(**{**data, "margins": tuple(data["margins"]), "bad_values": tuple(data.get("bad_values", ()))})

    @property
    def critical(self) -> bool:
        return bool(self.margins)

    @property
    def row(self) -> MetricKind:
        """Its row of the table; not for external values."""
        return KINDS[self.kind or ("custom" if self.custom else self.name)]

    @property
    def sampled(self) -> bool:
        """True if its calls are read one by one, at a bounded rate, so that it may judge a sample of them."""
        return not self.external and self.row.known is Known.DETAILS

    @property
    def series(self) -> tuple[str, ...]:
        """Names of the counted outcomes: `slow` is judged against two thresholds, the rest against one."""
        if self.external:
            return ()
        return tuple(self.row.quantiles) or (self.name,)

    @property
    def quantiles(self) -> Mapping[str, float]:
        """By series: the quantile of the baseline's own earlier calls above which a call is bad."""
        return self.row.quantiles or ({} if self.quantile is None else {self.name: self.quantile})


@dataclass(frozen=True, slots=True)
class MetricKind:
    """One row of the table: either `bad` judges a call, or its `figure` is compared with a limit.

    bad: (call, rule, hard) -> True for bad, None for unknown; hard: the call ended by a hard error. meaning: for the
    reference. told: for the sentences of a verdict, after "7 of its 50 calls were"; for a figure, the comparative.
    quantiles: by series, where the limits are always the baseline's own. usual: the bad rate of a plain voice agent.
    """

    known: Known
    meaning: str
    told: str
    usual: float = 0.10
    bad: Callable[[CallRecord, MetricRule, bool], bool | None] | None = None
    figure: Callable[[CallRecord, MetricRule], float | None] | None = None
    unit: str = ""
    quantiles: Mapping[str, float] = field(default_factory=dict)

    def outcome(self, call: CallRecord, rule: MetricRule, hard: bool, limit: float | None) -> bool | None:
        """True for bad, False for fine, None for unknown. `limit`: of the figure; None: not known."""
        if self.bad is not None:
            return self.bad(call, rule, hard)
        figure = self.figure(call, rule) if self.figure is not None else None
        return None if figure is None or limit is None else figure > limit


def limits(rule: MetricRule, baseline: Mapping[str, float]) -> dict[str, float]:
    """By series: the limit of the rule's figure, its own or the baseline's as far as it is known."""
    if rule.bad_above is not None:
        return {rule.name: rule.bad_above}
    return {series: baseline[series] for series in rule.quantiles if series in baseline}


CellCounts = tuple[Mapping[str, Sequence[int]], Mapping[str, Sequence[int]]]  # of a cell: counts, lost


def sample(rule: MetricRule, cells: Iterable[CellCounts]) -> tuple[int, int]:
    """(judged calls, calls that could be): fewer where a sample is judged."""
    judged = lost = 0
    for counts, missed in cells if rule.sampled else ():
        judged += sum(counts.get(rule.name, ()))
        lost += sum(missed.get(rule.name, ()))
    return judged, judged + lost


def bad_calls_text(rule: MetricRule, series: str) -> str:
    """Words for the bad calls of a series, after "7 of its 50 calls were"."""
    row = rule.row
    if row.figure is None:
        return _custom_told(rule) if rule.custom else row.told.format(rule=rule)
    quantile = rule.quantiles.get(series)
    if quantile is None:
        return f"{row.told} than {rule.bad_above:g} {row.unit}"
    return f"{row.told} than the baseline's usual {'half' if quantile == 0.5 else f'{100 * quantile:g} %'}"


def _custom_told(rule: MetricRule) -> str:
    if rule.bad_values:
        return f"with {rule.custom} = {' or '.join(_plain(v) for v in rule.bad_values)}"
    below = [] if rule.bad_below is None else [f"below {rule.bad_below:g}"]
    above = [] if rule.bad_above is None else [f"above {rule.bad_above:g}"]
    if below or above:
        return f"with {rule.custom} {' or '.join(below + above)}"
    return f"with {rule.custom} = {_plain(rule.bad)}"


def _plain(value: CustomValue) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value


# ------------------------------------------------------------------ what a call says


def _unsuccessful(call: CallRecord, _rule: MetricRule, hard: bool) -> bool | None:
    # A call that broke down and was never judged is a failed call, not an unknown one.
    return (True if hard else None) if call.successful is None else not call.successful


def _negative(call: CallRecord, _rule: MetricRule, _hard: bool) -> bool | None:
    mood = (call.sentiment or "unknown").lower()
    return None if mood == "unknown" else mood == "negative"


def _hung_up_early(call: CallRecord, rule: MetricRule, _hard: bool) -> bool | None:
    if call.disconnection_reason != "user_hangup":
        return None if call.disconnection_reason is None else False
    length = _seconds(call, rule)
    return None if length is None or rule.bad_below is None else length < rule.bad_below


def _transferred(call: CallRecord, _rule: MetricRule, _hard: bool) -> bool | None:
    reason = call.disconnection_reason
    return None if reason is None else reason in ("call_transfer", "transfer_bridged")


def _tool_failed(call: CallRecord, rule: MetricRule, _hard: bool) -> bool | None:
    tools = None if call.details is None else call.details.tools
    return None if tools is None else tools.get(rule.detail, False)


def _backup_model(call: CallRecord, _rule: MetricRule, _hard: bool) -> bool | None:
    return None if call.details is None else call.details.backup_model


def _custom(call: CallRecord, rule: MetricRule, _hard: bool) -> bool | None:
    value = call.custom.get(rule.custom or "")
    if rule.bad_values:
        # Text where numbers are expected says nothing; True is no 1.
        known = any(type(value) is type(bad) for bad in rule.bad_values)
        return any(type(value) is type(bad) and value == bad for bad in rule.bad_values) if known else None
    if rule.bad_below is None and rule.bad_above is None:
        return value is rule.bad if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, float):
        return None
    below = rule.bad_below is not None and value < rule.bad_below
    return below or (rule.bad_above is not None and value > rule.bad_above)


def _seconds(call: CallRecord, _rule: MetricRule) -> float | None:
    if call.started_at is None or call.ended_at is None or call.ended_at < call.started_at:
        return None
    return (call.ended_at - call.started_at).total_seconds()


def _latency(call: CallRecord, rule: MetricRule) -> float | None:
    return call.e2e_p50_ms if rule.detail in ("", "e2e_p50") else call.figures.get(rule.detail)


KINDS: Mapping[str, MetricKind] = {
    "success": MetricKind(
        Known.ANALYSIS,
        "the analysis says the call was not successful, or the call broke down and was not judged",
        "not successful",
        0.15,
        bad=_unsuccessful,
    ),
    "hard_error": MetricKind(
        Known.AT_END,
        "the call ended for a reason that points to the agent or its engine (a plan can replace the list)",
        "ended by an error",
        0.01,
        bad=lambda _call, _rule, hard: hard,
    ),
    "slow": MetricKind(
        Known.AT_END,
        "the call's median latency is above the p50, and above the p90, of the baseline's own earlier calls: two "
        "bets, of which the mean counts",
        "slower",
        figure=_latency,
        unit="ms",
        quantiles={"slow:p50": 0.5, "slow:p90": 0.9},
    ),
    "negative": MetricKind(
        Known.ANALYSIS,
        "the caller's sentiment is negative; unknown is missing",
        "with a negative caller",
        0.20,
        bad=_negative,
    ),
    "voicemail": MetricKind(
        Known.ANALYSIS,
        "the call ended in voicemail",
        "ended in voicemail",
        0.05,
        bad=lambda call, _rule, _hard: call.in_voicemail,
    ),
    "early_hangup": MetricKind(
        Known.AT_END,
        "the caller hung up within 15 s (`early_hangup: {within: 20s}`: another time)",
        "hung up by the caller within {rule.bad_below:g} s",
        0.05,
        bad=_hung_up_early,
    ),
    "transferred": MetricKind(
        Known.AT_END, "the call was transferred to somebody else", "transferred", 0.10, bad=_transferred
    ),
    "cost": MetricKind(
        Known.AT_END,
        "the call cost more than the p90 of the baseline's own earlier calls (`cost: {above: 40}`: than 40 cents; "
        "`above: p95`: another quantile)",
        "more expensive",
        figure=lambda call, _rule: call.figures.get("cost"),
        unit="cents",
    ),
    "duration": MetricKind(
        Known.AT_END,
        "the call took longer than the p90 of the baseline's own earlier calls (`duration: {above: 10m}`, or a quantile)",
        "longer",
        figure=_seconds,
        unit="s",
    ),
    "latency": MetricKind(
        Known.AT_END,
        "one of the call's latencies is above the p90 of the baseline's own earlier calls (`latency: {part: llm, "
        "quantile: p95, above: 1200}`: `part` is e2e, llm, tts or asr, `quantile` p50, p90 or p95 within the call, "
        "`above` in ms or a quantile of the calls)",
        "slower",
        figure=_latency,
        unit="ms",
    ),
    "backup_model": MetricKind(
        Known.DETAILS, "a backup model answered at least once", "answered by a backup model", 0.02, bad=_backup_model
    ),
    "tool_failed": MetricKind(
        Known.DETAILS,
        "a call of the tool with this name failed; a call without it is good",
        "with a failed call of {rule.detail}",
        0.03,
        bad=_tool_failed,
    ),
    "custom": MetricKind(
        Known.ANALYSIS,
        "the field of the custom analysis is false (`bad: true`: is true), one of `bad_values: [..]`, below "
        "`bad_below` or above `bad_above`",
        "",
        bad=_custom,
    ),
}
NAMED = frozenset({"tool_failed", "custom"})  # they need the name of a tool or of a field
BUILT_IN: tuple[str, ...] = tuple(name for name in KINDS if name not in NAMED)
SOURCES = ("custom", "tool_failed", "early_hangup", "cost", "duration", "latency")  # keys of a metric in a plan
