"""One number before the first write: its baseline, the problems, and the warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rollout.domain.errors import SplitError
from rollout.domain.plan.plan import Plan
from rollout.domain.splits import splits
from rollout.domain.splits.baselines import AGENTS_ANEW, reason_to_refuse, wrong_sum
from rollout.domain.writes.answers import Reading
from rollout.domain.writes.protocol import lists_at


def problems(plan: Plan, reading: Reading) -> tuple[list[str], dict[str, list[dict[str, Any]]] | None]:
    """(reasons to refuse this number, a sentence each; its baseline by Retell's field, None if there is a reason)."""
    found: list[str] = []
    baseline: dict[str, list[dict[str, Any]]] = {}
    for channel in plan.channels:
        entries = reading.lists.get(channel.field)
        if not entries:
            found.append(
                f"{reading.number} has no {channel.field}, so there is nothing to roll back to; assign an agent first"
            )
            continue
        if (why := reason_to_refuse(entries)) is not None:
            found.append(
                f"{reading.number}: Retell would refuse its {channel.field} in a rollback, because {why}: {AGENTS_ANEW}"
            )
            continue
        expected = plan.expected_baseline
        if expected is not None and not splits.same(entries, expected):
            found.append(
                f"{reading.number} serves {splits.describe(entries)} on {channel.value}, and the plan's baseline "
                f"is {splits.describe(expected)}: write what it serves, or set its agents in Retell"
            )
        baseline[channel.field] = [dict(entry) for entry in entries]
    if found:
        return found, None
    for step in range(1, plan.last_step + 1):
        try:
            lists_at(plan, baseline, step)
            lists_at(plan, baseline, step, plan.retreat)
        except SplitError as error:
            return [f"{reading.number}: {error.message}"], None
    return found, baseline


def warnings(plan: Plan, reading: Reading) -> Iterator[str]:
    """Warnings about this number before the first step, a sentence each."""
    yield from _webhook_warnings(plan, reading)
    for channel in plan.channels:
        entries = reading.lists.get(channel.field) or []
        yield from _version_warnings(reading.number, entries)
        yield from _weight_warnings(reading.number, channel.field, entries)


def _webhook_warnings(plan: Plan, reading: Reading) -> Iterator[str]:
    channels = {channel.value for channel in plan.channels}
    if "inbound" in channels and reading.inbound_webhook_url:
        yield f"{reading.number} has an inbound webhook, which may override the weights for any call"
    if "inbound_sms" in channels and reading.inbound_sms_webhook_url:
        yield f"{reading.number} has an inbound SMS webhook, which may override the weights for any message"


def _version_warnings(number: str, entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry in entries:
        version = splits.normal_version(entry.get("agent_version"))
        if version is None:
            yield f"{number}: the baseline names {entry['agent_id']} without a version, so it may change"
        elif isinstance(version, str):
            yield f"{number}: the baseline names the tag {version} of {entry['agent_id']}, which may be moved"


def _weight_warnings(number: str, field_: str, entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if reason_to_refuse(entries) is None and (total := wrong_sum(entries)) is not None:
        yield (
            f"{number}: the weights of its {field_} add up to {total}, not to 1; a rollback writes "
            "them as they are or, if Retell refuses that, in the same proportions with a sum of exactly 1"
        )
    if any(round(float(e["weight"]), 4) != float(e["weight"]) for e in entries):
        yield (
            f"{number}: the baseline's weights have more than four decimals; they are restored as they "
            "are, and steps keep their proportions to one basis point"
        )
