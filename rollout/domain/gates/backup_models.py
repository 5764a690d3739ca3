"""Backup models as a confounder: one version's calls are answered by a backup model more often than the other's.

Retell switches to a backup model where the agent's own does not answer. Then gates compare the models as well, and no
version is to blame. People are told; nothing is done by itself, unless the plan has a gate on it (`backup_model`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rollout.domain.calls import CallRecord
from rollout.domain.gates import evidence

LEVEL = 0.05
"""How often versions without a difference may cause a notice, in a whole rollout."""
SAMPLE = 400
"""Calls of a rollout whose details are read for this alone."""


@dataclass(frozen=True, slots=True)
class BackupShare:
    """The calls of one side that were read, and those of them in which a backup model answered."""

    backed_up: int
    read: int

    def __str__(self) -> str:
        return f"{self.backed_up} of {self.read} calls ({100 * self.backed_up / self.read:.3g} %)"


def share_warning(
    calls: Iterable[CallRecord], tried: Collection[tuple[str, int]], baseline: Collection[tuple[str, int]]
) -> str | None:
    """A sentence if the shares differ; None if they do not, or if too few calls were read to tell."""
    known = [c for c in calls if c.details is not None and c.details.backup_model is not None]
    canary, other = _share(known, tried), _share(known, baseline)
    if not canary.read or not other.read or not _differ(canary, other):
        return None
    return (
        f"a backup model answered {canary} of the canary and {other} of the baseline: the gates compare the models, too"
    )


def _share(known: Iterable[CallRecord], versions: Collection[tuple[str, int]]) -> BackupShare:
    found = [c.details for c in known if (c.agent_id, c.agent_version) in versions]
    return BackupShare(sum(d is not None and d.backup_model is True for d in found), len(found))


def _differ(a: BackupShare, b: BackupShare) -> bool:
    """True if the shares differ in either direction, by the gates' evidence, which stays valid when we look often."""
    return any(
        float(evidence.log_e([[x.backed_up, x.read - x.backed_up, y.backed_up, y.read - y.backed_up]], (share,)))
        >= math.log(2 / LEVEL)
        for x, y, share in ((a, b, a.read / (a.read + b.read)), (b, a, b.read / (a.read + b.read)))
    )
