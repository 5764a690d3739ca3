"""Seeds that once broke an invariant, kept as regression tests with what was wrong then.

A seed replays its history only as long as the simulator draws the same numbers in the same order; what such
a history was about is therefore also a named test where it can be told in a few lines.
"""

from __future__ import annotations

KEPT: dict[int, str] = {
    52: "a look that was begun too early was merged with each later one: it read again without end",
    80: "stopped, then edited by somebody: the judge took that for ours",
    146: "held on drift with a write without an outcome: it polled for ever, and a stop never came",
    163: "rolled back with a write without an outcome on a number somebody had edited: polled for ever",
    191: "another rollout took the numbers over: the first one's targets are superseded",
    275: "as 52, in the last step",
    578: "the last step without a hold, its write unanswered: GETs without a pause until its horizon closed",
    950: "as 578",
    1173: "an edit behind a time stamp that is older than one seen before stayed unseen while a person was waited for",
    2032: "the lists that a person had answered, written again: the judge took them for a new edit",
    2086: "an edit that a kit had put back before the number was read: the judge took it for overwritten",
    2400: "another rollout's open write on other channels of a number was taken for ours",
    2925: "a process that watched an ended rollout recorded what it had read before a later one took the numbers over, "
    "and undid the later one's end",
    9168: "two edits before the start, the first with a stamp ahead: the judge took the first for overwritten",
    9991: "an edit before the start, seen a reading's staleness before the claim: the judge took a step for counted over it",
    12395: "a process that was stopped recorded what it had read before a later intent: the judge looked behind that",
    13247: "promoted to the end while the writes of a step were on their way, then edited: held at the end, whose weights "
    "restore would have written",
}

KEPT_IF_MATCH: dict[tuple[int, str], str] = {
    (2519, "honoured"): "as 2032",
    (2621, "honoured"): "as 2032",
    (6739, "ignored"): "held at a position that every number was at, though no step had stopped there",
}
"""Those that broke one where Retell does this with If-Match; in KEPT each history draws what it does."""
