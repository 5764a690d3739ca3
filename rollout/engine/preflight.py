"""Pre-flight: everything that must be true of the live numbers before the first write.

The same check serves `rollout check`, `rollout start` and a scheduled start. It only reads.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollout.domain.agent_tests.state import AgentTests
from rollout.domain.errors import NameTaken, PreflightRefused
from rollout.domain.lifecycle.columns import RolloutColumns
from rollout.domain.lifecycle.entries import PreflightSummary
from rollout.domain.lifecycle.state import Target
from rollout.domain.name_refusals import name_taken
from rollout.domain.plan.agents import ByNickname, ByServing
from rollout.domain.plan.plan import Plan
from rollout.domain.plan.steps import WaveOrder, wave_of
from rollout.domain.versions.difference import VersionDifference
from rollout.domain.versions.tags import BaselineTag
from rollout.domain.writes.answers import Failure, Reading
from rollout.domain.writes.protocol import body_of, lists_at, others_of
from rollout.engine import number_check
from rollout.engine.agent_tests import plan_tests
from rollout.engine.failures import not_reachable
from rollout.engine.ports import AgentVersion, BatchTests, NumberOwner, PhoneNumbers
from rollout.engine.server_limits import ServerLimits
from rollout.engine.version_check import compare_versions, tag_warnings
from rollout.engine.version_lookup import Pair, VersionLookup, baseline_tags, is_gone


@dataclass(frozen=True)
class Preflight:
    """The findings of pre-flight: the targets with their baselines, and what to refuse or to warn of."""

    plan: Plan
    targets: tuple[Target, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    readings: Mapping[str, Reading] = field(default_factory=dict)
    name_taken_by: str | None = None  # the live rollout that has the plan's name
    differences: tuple[VersionDifference, ...] = ()  # between what the numbers serve and what is tried
    tests: AgentTests | None = None  # to run before the first write
    tags: tuple[BaselineTag, ...] = ()  # that the baselines name

    def refuse(self, *, strict: bool = False) -> None:
        """PreflightRefused when there is a problem (or, if strict, a warning); NameTaken when the name is taken."""
        found = [*self.problems, *(self.warnings if strict else ())]
        if self.name_taken_by is not None:
            raise NameTaken("pre-flight refuses: " + _first_of(found), rollout_id=self.name_taken_by)
        if found:
            raise PreflightRefused(
                "pre-flight refuses: " + _first_of(found), problems=list(self.problems), warnings=list(self.warnings)
            )

    def columns(self) -> RolloutColumns:
        """The columns of a rollout that begins with what was found here."""
        return {"tags": self.tags or None, "tests": self.tests}

    def summary(self) -> PreflightSummary:
        """For people, in the journal and in the answer to `start`: warnings, and what changes."""
        return PreflightSummary(self.warnings, tuple(item.to_json() for item in self.differences))

    def bodies(self, number: str) -> list[str]:
        """The exact PATCH body of each step for one number, and last that of its rollback."""
        target = next(t for t in self.targets if t.number == number)
        steps = range(1, self.plan.last_step + 1)
        return [body_of(lists_at(self.plan, target.baseline, step)) for step in (*steps, 0)]

    def retreat_body(self, number: str) -> str | None:
        """The exact PATCH body of closing time for one number; None when the plan does not retreat."""
        target = next(t for t in self.targets if t.number == number)
        if self.plan.retreat is None:
            return None
        return body_of(lists_at(self.plan, target.baseline, 1, self.plan.retreat))


@dataclass(frozen=True)
class Workspace:
    """One Retell workspace as pre-flight sees it, and who drives its numbers already.

    `drivers` maps numbers to the live rollout that drives each (the store asks again at the start); `limits` are the
    server's own.
    """

    numbers: PhoneNumbers
    versions: VersionLookup
    limits: ServerLimits = field(default_factory=ServerLimits)
    drivers: Callable[[Sequence[str]], Mapping[str, NumberOwner]] = lambda _numbers: {}
    batch_tests: BatchTests | None = None


def preflight(plan: Plan, workspace: Workspace, *, seed: int = 0, name_taken_by: str | None = None) -> Preflight:
    """Read the plan's numbers and versions and judge them; NotReachable when Retell cannot be asked.

    `name_taken_by` is the live rollout that has the plan's name. If that rollout, or one that drives a number, is in
    the way, nothing else is reported: what the numbers serve now is its doing. `seed` draws the order of waves if the
    plan asks for a random one.
    """
    numbers, versions, drivers = workspace.numbers, workspace.versions, workspace.drivers
    listed = [n for n in plan.numbers if isinstance(n, str)]
    taken = [*([] if name_taken_by is None else [name_taken(plan.name, name_taken_by)]), *_driven(drivers(listed))]
    if taken:
        return Preflight(plan, problems=tuple(taken), name_taken_by=name_taken_by)
    problems = list(_arm_problems(plan, versions))
    warnings: list[str] = []
    if plan.retreat is not None and all(sum(s.points().values()) <= plan.retreat for s in plan.steps):
        warnings.append("closing: no step has more than the retreat weight, so nothing changes at closing time")
    readings, missing = _readings(plan, numbers)
    if taken := _driven(drivers([n for n in readings if n not in listed])):
        return Preflight(plan, problems=tuple(taken))
    problems += workspace.limits.problems(plan, [*readings, *missing])
    problems += [f"{number}: Retell does not know this number: write one of the key's workspace" for number in missing]
    if not readings and not missing:
        problems.append("no number of the account matches the plan's numbers; see `rollout check`")
    baselines: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for number, reading in readings.items():
        found, baseline = number_check.problems(plan, reading)
        problems += found
        warnings += number_check.warnings(plan, reading)
        if baseline is not None:
            baselines[number] = baseline
    problems += _baseline_problems(baselines, versions, warnings)
    served, tried = _served(baselines, versions), _tried(plan, versions)
    compared = compare_versions(served, tried.values(), versions.engines)
    warnings += compared.warnings
    testing = plan_tests(plan, served, tried, workspace.batch_tests)
    problems += testing.problems
    tags = baseline_tags(versions, baselines)
    if versions.roots is not None:
        warnings += tag_warnings(tags, versions.roots)
    return Preflight(
        plan,
        _targets(plan, readings, baselines, _ordered(plan, list(readings), seed)),
        tuple(dict.fromkeys(problems)),
        tuple(dict.fromkeys(warnings)),
        readings,
        differences=compared.differences,
        tests=testing.tests(plan),
        tags=tags,
    )


def _targets(
    plan: Plan,
    readings: Mapping[str, Reading],
    baselines: Mapping[str, dict[str, list[dict[str, Any]]]],
    ordered: Sequence[str],
) -> tuple[Target, ...]:
    sizes = wave_of(len(ordered), plan.waves)
    return tuple(
        Target(
            number=number,
            ord=i,
            wave=next(w for w, size in enumerate(sizes, 1) if i < size),
            baseline=baselines.get(number, {}),
            split=baselines.get(number, {}),
            step=0,
            modified=readings[number].modified,
            others=others_of(readings[number], baselines.get(number, {})),
        )
        for i, number in enumerate(ordered)
    )


def _served(
    baselines: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], versions: VersionLookup
) -> list[AgentVersion]:
    """The versions that the numbers serve; what cannot be looked up is reported elsewhere."""
    pairs = {
        (entry["agent_id"], entry.get("agent_version")): None
        for lists in baselines.values()
        for entries in lists.values()
        for entry in entries
    }
    found = (versions.look_up(agent_id, version) for agent_id, version in pairs)
    return [version for version in found if isinstance(version, AgentVersion)]


def _tried(plan: Plan, versions: VersionLookup) -> dict[str, AgentVersion]:
    """The versions that are tried, by name; what cannot be looked up is reported elsewhere."""
    found = {name: versions.look_up(ref.agent_id, ref.agent_version) for name, ref in plan.arms.items()}
    return {name: version for name, version in found.items() if isinstance(version, AgentVersion)}


def _driven(drivers: Mapping[str, NumberOwner]) -> list[str]:
    return [
        f"{number} is already driven by {owner.name} ({owner.rollout_id}): wait until it ends, stop it or roll it back"
        for number, owner in drivers.items()
    ]


def _arm_problems(plan: Plan, versions: VersionLookup) -> Iterator[str]:
    for name, ref in plan.arms.items():
        found = versions.look_up(ref.agent_id, ref.agent_version)
        what = f"{name}: {ref.agent_id} version {ref.agent_version}"
        if isinstance(found, Failure):
            if not is_gone(found):
                raise not_reachable(found)
            yield f"{what} does not exist{_why_gone(versions, ref.agent_id)}"
        elif not found.is_published:
            yield f"{what} is a draft: publish it before you start"
        elif found.is_suspended:
            yield f"{what}: the agent is suspended, so its calls would fail: write another version"


def _why_gone(versions: VersionLookup, agent_id: str) -> str:
    """An addition about a version that does not exist, when its agent does not either."""
    found = versions.look_up(agent_id, None)
    unknown = isinstance(found, Failure) and is_gone(found)
    return f", because Retell has no agent {agent_id}" if unknown else ""


def _readings(plan: Plan, numbers: PhoneNumbers) -> tuple[dict[str, Reading], list[str]]:
    listed = [n for n in plan.numbers if isinstance(n, str)]
    chosen: dict[str, Reading] = {}
    missing: list[str] = []
    if listed:
        with numbers.session(listed) as session:
            got = session.read(listed)
        for number in listed:
            reading = got[number]
            if isinstance(reading, Reading):
                chosen[number] = reading
            elif reading.number_unknown:
                missing.append(number)
            else:
                raise not_reachable(reading)
    selectors = [s for s in plan.numbers if not isinstance(s, str)]
    if selectors:
        for item in numbers.all():
            if isinstance(item, Failure):
                raise not_reachable(item)
            if any(_selects(s, plan, item) for s in selectors):
                chosen.setdefault(item.number, item)
    return chosen, missing


def _selects(selector: ByNickname | ByServing, plan: Plan, reading: Reading) -> bool:
    if isinstance(selector, ByNickname):
        return selector.matches(reading.nickname)
    return any(selector.matches(reading.lists.get(channel.field)) for channel in plan.channels)


def _baseline_problems(
    baselines: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], versions: VersionLookup, warnings: list[str]
) -> Iterator[str]:
    pairs: dict[Pair, str] = {}
    for number, lists in baselines.items():
        for entries in lists.values():
            for entry in entries:
                pairs.setdefault((entry["agent_id"], entry.get("agent_version")), number)
    for (agent_id, version), number in pairs.items():
        found = versions.look_up(agent_id, version)
        if isinstance(found, Failure):
            if not is_gone(found):
                raise not_reachable(found)
            yield (
                f"{number}: its baseline names {agent_id} version {version}, which does not exist"
                f"{_why_gone(versions, agent_id)}: "
                "a rollback would be refused"
            )
        elif not found.is_published and isinstance(version, int):
            warnings.append(f"the baseline's {agent_id} version {version} is a draft, which may still be edited")


def _ordered(plan: Plan, numbers: list[str], seed: int) -> list[str]:
    if plan.wave_order is not WaveOrder.RANDOM:
        return numbers
    order = sorted(numbers)
    random.Random(plan.seed if plan.seed is not None else seed).shuffle(order)
    return order


def _first_of(found: Sequence[str]) -> str:
    return "; ".join([*found[:5], *([f"and {len(found) - 5} more"] if len(found) > 5 else [])])
