"""The comparison of a plan's versions: the changes, and what makes them hard to compare. Only reads; never refuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rollout.domain.versions.confounders import confounders
from rollout.domain.versions.difference import VersionDifference, difference
from rollout.domain.versions.documents import ResponseEngine, VersionDocument
from rollout.domain.versions.tags import BaselineTag
from rollout.domain.writes.answers import Failure
from rollout.engine.ports import AgentRoots, AgentVersion, ResponseEngines

MOST_PAIRS = 10


@dataclass(frozen=True, slots=True)
class VersionComparison:
    """The differences, and a sentence for each confounder."""

    differences: tuple[VersionDifference, ...] = ()
    warnings: tuple[str, ...] = ()


def compare_versions(
    baselines: Iterable[AgentVersion], tried: Iterable[AgentVersion], engines: ResponseEngines | None
) -> VersionComparison:
    """Compare each version that is tried with each that the numbers serve, at most ten pairs.

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


def tag_warnings(tags: Iterable[BaselineTag], roots: AgentRoots) -> Iterator[str]:
    """The version that each tag of a baseline points to now, and which variables the canary does not get."""
    wanted: dict[str, list[str]] = {}
    for tag in tags:
        wanted.setdefault(tag.agent_id, []).append(tag.tag)
    for agent_id, names in list(wanted.items())[:MOST_PAIRS]:
        shown = roots.tags(agent_id)
        if shown is None:
            yield f"the tags of {agent_id} cannot be read: Retell has no agent roots here"
        elif isinstance(shown, Failure):
            yield f"the tags of {agent_id} could not be read: {shown.detail}"
        else:
            yield from (_tag_sentence(agent_id, tag, shown.get(tag)) for tag in names)


def _tag_sentence(agent_id: str, tag: str, shown: object) -> str:
    found = shown if isinstance(shown, Mapping) else None
    if found is None:
        return f"{agent_id} has no tag {tag} now, though the baseline names it"
    version, variables = found.get("version"), found.get("dynamic_variables")
    where = (
        f"points to version {version}" if type(version) is int else "points to no version, which means the latest one"
    )
    names = ", ".join(sorted(map(str, variables))[:10]) if isinstance(variables, Mapping) and variables else ""
    if not names:
        return f"the tag {tag} of {agent_id} {where} now"
    return (
        f"the tag {tag} of {agent_id} {where} now and has dynamic variables of its own ({names}): the canary is "
        "dispatched by its number and gets those of its own version's tag, or none"
    )


def _document(version: AgentVersion, engines: ResponseEngines | None) -> VersionDocument:
    engine = ResponseEngine.of(version.document)
    if engines is None or engine is None or not engine.is_kept:
        return VersionDocument(version.document)
    found = engines.engine(engine)
    if isinstance(found, Failure):
        return VersionDocument(version.document, unread=f"its response engine could not be read: {found.detail}")
    return VersionDocument(version.document, found)
