"""Confounders: differences between versions beside which a gate would not measure the agent alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.domain.versions.documents import VersionDocument

ANALYSIS = {
    "post_call_analysis_data": "the fields of their post-call analysis",
    "post_call_analysis_model": "the model of their post-call analysis",
    "analysis_successful_prompt": "the prompt that says what a successful call is",
    "analysis_user_sentiment_prompt": "the prompt of the sentiment",
    "post_chat_analysis_data": "the fields of their post-chat analysis",
    "post_chat_analysis_model": "the model of their post-chat analysis",
}
"""Retell's fields that say how a conversation is judged, and what to call them."""


def confounders(before: str, after: str, old: VersionDocument, new: VersionDocument) -> Iterator[str]:
    """A sentence for each; `before` and `after` name the versions of the baseline and of the canary."""
    pair = f"{after} and the baseline's {before}"
    differs = [words for name, words in ANALYSIS.items() if old.agent.get(name) != new.agent.get(name)]
    if differs:
        yield (
            f"{pair} differ in {', '.join(differs)}: their calls are judged by different rules, so the gates compare "
            "the rules, too; give both versions the same analysis"
        )
    for name, document in ((before, old), (after, new)):
        memory = document.agent.get("contact_memory_config")
        if isinstance(memory, Mapping) and (uses := [use for use in ("read", "update") if memory.get(f"enable_{use}")]):
            yield (
                f"{name} has contact memory on ({' and '.join(uses)}): what one version learns about a caller reaches "
                "the other one, so the versions are not judged independently"
            )
    if _languages(old) != _languages(new):
        yield (
            f"{pair} speak different languages ({_languages(old)} and {_languages(new)}): callers get either one at "
            "random, whatever language they speak"
        )
    if _channel(old) != _channel(new):
        yield f"{pair} are for different channels ({_channel(old)} and {_channel(new)})"


def _languages(document: VersionDocument) -> str:
    found: Any = document.agent.get("language")
    return ", ".join(sorted(map(str, found))) if isinstance(found, list) else str(found or "Retell's default")


def _channel(document: VersionDocument) -> str:
    return "voice" if "voice_id" in document.agent else "chat"
