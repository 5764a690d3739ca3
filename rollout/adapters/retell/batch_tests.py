"""Batch tests: simulated conversations with one version of a response engine.

A batch costs money and may run real tools, so the request that begins one is sent once and never repeated here.
Shapes as in Retell's OpenAPI document of August 2026.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from rollout.adapters.retell.paging import walk
from rollout.adapters.retell.reader import Reader
from rollout.adapters.retell.request import LARGE, RequestSpec
from rollout.adapters.retell.wire import AnswerError, optional_text, segment
from rollout.domain.agent_tests.runs import BatchProgress, RunStatus, TestCase, TestRun
from rollout.domain.versions.documents import ResponseEngine
from rollout.domain.writes.answers import Failure, Trouble

_COUNTS = ("pass_count", "fail_count", "error_count", "total_count")
_LONGEST = 1000  # characters of an explanation


class BatchTestClient:
    """See `ports.BatchTests`. Each request takes at most `within` seconds."""

    def __init__(self, reader: Reader, *, within: float) -> None:
        self._reader, self._within = reader, within

    def cases(self, engine: ResponseEngine) -> tuple[TestCase, ...] | Failure:
        """The test cases of an engine, whichever its version."""
        reference = engine.to_json()
        query = {name: value for name, value in reference.items() if name != "version"}

        def ask(size: int, key: str | None) -> RequestSpec:
            page = {**query, "limit": size} | ({} if key is None else {"pagination_key": key})
            path = f"/v2/list-test-case-definitions?{urlencode(page)}"
            return RequestSpec("list-test-case-definitions", "GET", path, limit=LARGE)

        found: list[TestCase] = []
        for items in walk(self._reader, ask, within=self._within):
            if isinstance(items, Failure):
                return items
            found += [case for item in items if (case := _case(item)) is not None]
        return tuple(found)

    def begin(self, case_ids: Sequence[str], engine: ResponseEngine) -> BatchProgress | Failure:
        """Begin a batch. UNKNOWN: one may have begun; REJECTED and UNREACHABLE: surely none."""
        body = {"test_case_definition_ids": list(case_ids), "response_engine": engine.to_json()}
        ask = RequestSpec("create-batch-test", "POST", "/create-batch-test", json.dumps(body).encode(), once=True)
        found = self._reader.ask(ask, _progress, within=self._within)
        if isinstance(found, Failure) and found.status == 402:
            return replace(
                found, trouble=Trouble.REJECTED, detail="Retell says that the account cannot pay for tests (402)"
            )
        if isinstance(found, Failure) and found.status == 429:
            return replace(found, trouble=Trouble.UNREACHABLE)  # documented for this request: nothing began
        return found

    def progress(self, batch_id: str) -> BatchProgress | Failure:
        """The progress of a batch."""

        def parse(document: Any) -> BatchProgress:
            found = _progress(document)
            if found.batch_id != batch_id:
                raise AnswerError("it is about a batch test that was not asked for")
            return found

        path = f"/get-batch-test/{segment(batch_id)}"
        return self._reader.ask(RequestSpec("get-batch-test", "GET", path), parse, within=self._within)

    def runs(self, batch_id: str) -> tuple[TestRun, ...] | Failure:
        """Every run of a batch, with Retell's explanation; transcripts are not kept."""

        def ask(size: int, key: str | None) -> RequestSpec:
            page = {"limit": size} | ({} if key is None else {"pagination_key": key})
            return RequestSpec(
                "list-test-runs", "GET", f"/v2/list-test-runs/{segment(batch_id)}?{urlencode(page)}", limit=LARGE
            )

        found: list[TestRun] = []
        for items in walk(self._reader, ask, within=self._within):
            if isinstance(items, Failure):
                return items
            found += _runs(items)
        return tuple(found)


def _case(item: Any) -> TestCase | None:
    case_id = optional_text(item, "test_case_definition_id") if isinstance(item, Mapping) else None
    return None if not case_id else TestCase(case_id, optional_text(item, "name") or case_id)


def _progress(document: Any) -> BatchProgress:
    batch_id = optional_text(document, "test_case_batch_job_id") if isinstance(document, Mapping) else None
    if not batch_id:
        raise AnswerError("it has no test_case_batch_job_id")
    counts = [document.get(name) for name in _COUNTS]
    if not all(type(count) is int and 0 <= count < 2**31 for count in counts):
        raise AnswerError(f"one of {', '.join(_COUNTS)} is not a whole number")
    return BatchProgress(batch_id, document.get("status") == "complete", *counts)


def _runs(items: Sequence[Any]) -> Iterator[TestRun]:
    """Count what is neither passed, failed nor running as an error: never as passed."""
    for item in items:
        if not isinstance(item, Mapping):
            continue
        case_id = optional_text(item, "test_case_definition_id") or "unknown"
        snapshot = item.get("test_case_definition_snapshot")
        name = optional_text(snapshot, "name") if isinstance(snapshot, Mapping) else None
        status = item.get("status")
        text = optional_text(item, "result_explanation")
        yield TestRun(
            case_id,
            name or case_id,
            RunStatus(status) if isinstance(status, str) and status in set(RunStatus) else RunStatus.ERROR,
            None if text is None else "".join(c if c.isprintable() else " " for c in text)[:_LONGEST],
        )
