"""The comparison of a plan's versions: the changes, and what makes them hard to compare. Only reads; never refuses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rollout.domain.versions.confounders import confounders
from rollout.domain.versions.difference import VersionDifference, difference
from rollout.domain.versions.documents import ResponseEngine, VersionDocument
from rollout.domain.writes.answers import Failure
from rollout.engine.ports import AgentVersion, ResponseEngines

MOST_PAIRS = 10


@dataclass(frozen=True, slots=True)
class VersionComparison:
    """The differences, and a sentence for each confounder."""

    differences: tuple[VersionDifference, ...] = ()
    warnings: tuple[str, ...] = ()


def compare(
    baselines: Iterable[AgentVersion], tried: Iterable[AgentVersion], engines: ResponseEngines | None
) -> VersionComparison:
    """Each version that is tried against each that the numbers serve, at most ten pairs.

    Without `engines`, and where Retell does not show one, agents are compared alone.
    """
    documents: dict[tuple[str, int], VersionDocument] = {}

    def document(version: AgentVersion) -> VersionDocument:
        key = (version.agent_id, version.version)
        if key not in documents:
            documents[key] = _document(version, engines)
        return documents[key]

    old = {(v.agent_id, v.version): v for v in baselines if v.document}
    new = {(v.agent_id, v.version): v for v in tried if v.document}
    pairs = [(a, b) for b in new.values() for a in old.values() if a != b][:MOST_PAIRS]
    named = [(f"{a.agent_id} version {a.version}", f"{b.agent_id} version {b.version}", a, b) for a, b in pairs]
    return VersionComparison(
        tuple(difference(before, after, document(a), document(b)) for before, after, a, b in named),
        tuple(
            dict.fromkeys(
                sentence
                for before, after, a, b in named
                for sentence in confounders(before, after, document(a), document(b))
            )
        ),
    )


def _document(version: AgentVersion, engines: ResponseEngines | None) -> VersionDocument:
    engine = ResponseEngine.of(version.document)
    if engines is None or engine is None or not engine.is_kept:
        return VersionDocument(version.document)
    found = engines.engine(engine)
    if isinstance(found, Failure):
        return VersionDocument(version.document, unread=f"its response engine could not be read: {found.detail}")
    return VersionDocument(version.document, found)
