"""Rollouts from Python, on a running service: `from rollout import Client`.

The client goes the way that the command line goes when ROLLOUT_URL is set, so proxies, certificates, retries and
errors are the same. Every error is a RolloutError; `exit_code` is what the command line would have ended with.
"""

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from rollout.adapters.clock import SystemClock
from rollout.domain.errors import NotPromoted, RolloutError, SettingsError
from rollout.domain.lifecycle.commands import By, parse_position
from rollout.domain.lifecycle.machine import Phase
from rollout.interfaces.backend.following import documents
from rollout.interfaces.backend.plan_text import PlanText
from rollout.interfaces.backend.remote import RemoteBackend
from rollout.interfaces.views.report_form import ReportForm

__all__ = ["Client", "NotPromoted", "RolloutError", "RolloutStatus"]


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """A rollout's phase, wave and step; wave and step count from 1.

    `document` is the whole answer of the service. After `get`, `list` and `wait` it has the fields that
    `rollout show --json` prints, among them `weight`, `why`, `waiting_for` and `targets`.
    """

    id: str
    phase: Phase
    reason: str | None
    wave: int
    step: int
    document: Mapping[str, Any]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The status in an answer of the service."""
        at = document["position"]
        return cls(document["id"], Phase(document["phase"]), document["reason"], at["wave"], at["step"], document)

    def __str__(self) -> str:
        why = self.reason or self.document.get("why")
        return f"{self.id}: {self.phase} at {self.wave}.{self.step}" + (f": {why}" if why else "")


class Client:
    """A service at `url`, asked with `token`; left out, they are ROLLOUT_URL and ROLLOUT_TOKEN.

    A rollout is named by its id or its plan's name. `reason` goes into the journal; `request_id` makes a change safe
    to repeat: the first answer comes back and nothing happens twice. `expect` ("1.2": wave 1, step 2) refuses a change
    when the rollout no longer stands there. `timeout` is in seconds. A client may be used as a context manager.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, timeout: float = 30.0) -> None:
        url = url or os.environ.get("ROLLOUT_URL")
        if not url:
            raise SettingsError(
                "url: give the service's address, or set ROLLOUT_URL, for example http://127.0.0.1:8080"
            )
        self._remote = RemoteBackend(url, token or os.environ.get("ROLLOUT_TOKEN") or None, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; what was ordered stays ordered."""
        self._remote.close()

    def check(self, plan: str | Path | Mapping[str, Any], *, strict: bool = False) -> dict[str, Any]:
        """The answer of `rollout check --json`: `ok`, `problems`, `warnings` and the exact requests. Writes nothing."""
        return self._remote.check(_plan(plan), strict=strict)

    def start(
        self,
        plan: str | Path | Mapping[str, Any],
        *,
        reason: str = "",
        request_id: str | None = None,
        at: datetime | None = None,
        strict: bool = False,
    ) -> str:
        """Start a plan, given as the path of a file or as a mapping; returns the rollout's id.

        PreflightRefused when the live numbers do not allow it, NameTaken when a live rollout has this name.
        """
        return self._remote.start(_plan(plan), _by(reason, request_id), at=at, strict=strict).id

    def get(self, rollout: str) -> RolloutStatus:
        """The state of a rollout."""
        return RolloutStatus.of(self._remote.show(rollout))

    def list(self, *, live: bool | None = None, limit: int | None = None) -> builtins.list[RolloutStatus]:
        """Rollouts, newest first: all of them, or only those that are live (True) or ended (False)."""
        return [RolloutStatus.of(each) for each in self._remote.list(live, limit=limit)]

    def wait(
        self, rollout: str, *, timeout: float | None = None, on_change: Callable[[RolloutStatus], object] | None = None
    ) -> RolloutStatus:
        """Follow a rollout until it is promoted; `on_change` is called with every status that differs.

        NotPromoted when it ends otherwise, with `id` and `phase` in `details`; TimeoutError after `timeout` seconds.
        The rollout continues whatever happens to this call.
        """
        give_up = None if timeout is None else SystemClock().boot() + timeout
        status = None
        for document in documents(self._remote, rollout, pause=1.0):
            before, status = status, RolloutStatus.of(document)
            if on_change is not None and (before is None or str(before) != str(status)):
                on_change(status)
            if give_up is not None and not status.phase.is_final and SystemClock().boot() >= give_up:
                raise TimeoutError(f"{status} (not ended after {timeout:g} s)")
        assert status is not None
        if status.phase is not Phase.PROMOTED:
            raise NotPromoted(f"{status.id} ended as {status.phase}: {status.reason}", id=status.id, phase=status.phase)
        return status

    def promote(
        self,
        rollout: str,
        *,
        full: bool = False,
        expect: str | None = None,
        reason: str = "",
        request_id: str | None = None,
    ) -> RolloutStatus:
        """Go to the next step now, whatever the hold and the gates; with `full` to the last."""
        return self._change("promote", rollout, expect, _by(reason, request_id), full=full)

    def set_weights(
        self,
        rollout: str,
        weights: float | Mapping[str, float],
        *,
        expect: str | None = None,
        reason: str = "",
        request_id: str | None = None,
    ) -> RolloutStatus:
        """Set the canary's weight by hand, or those of variants by name; the step's hold starts again."""
        by_arm = dict(weights) if isinstance(weights, Mapping) else {"canary": weights}
        return self._change("set", rollout, expect, _by(reason, request_id), weights=by_arm)

    def ship(
        self,
        rollout: str,
        variant: str,
        *,
        anyway: bool = False,
        expect: str | None = None,
        reason: str = "",
        request_id: str | None = None,
    ) -> RolloutStatus:
        """Give a version every call; refused without enough evidence, but for `anyway`."""
        return self._change("ship", rollout, expect, _by(reason, request_id), variant=variant, anyway=anyway)

    def pause(
        self, rollout: str, *, expect: str | None = None, reason: str = "", request_id: str | None = None
    ) -> RolloutStatus:
        """Hold at the current position; gates keep watching."""
        return self._change("pause", rollout, expect, _by(reason, request_id))

    def resume(
        self, rollout: str, *, expect: str | None = None, reason: str = "", request_id: str | None = None
    ) -> RolloutStatus:
        """Continue after a pause."""
        return self._change("resume", rollout, expect, _by(reason, request_id))

    def stop(
        self, rollout: str, *, expect: str | None = None, reason: str = "", request_id: str | None = None
    ) -> RolloutStatus:
        """End the rollout and leave the split as it is."""
        return self._change("stop", rollout, expect, _by(reason, request_id))

    def rollback(
        self, rollout: str, *, reason: str = "", request_id: str | None = None, timeout: float = 60.0
    ) -> RolloutStatus:
        """Write every baseline back; returns when every number is read back.

        NotReachable after `timeout` seconds; the order is recorded, and the service keeps trying.
        """
        ordered = self._remote.rollback(rollout, _by(reason, request_id))
        return RolloutStatus.of(self._remote.follow_rollback(str(ordered["id"]), timeout))

    def report(self, rollout: str) -> dict[str, Any]:
        """The answer of `rollout report --json`: the versions, their rates and evidence, and what to do or was done."""
        found: dict[str, Any] = json.loads(self._remote.report(rollout, ReportForm.JSON))
        return found

    def report_html(self, rollout: str) -> str:
        """The report as one self-contained HTML page, to be sent or printed."""
        return self._remote.report(rollout, ReportForm.HTML)

    def _change(self, command: str, rollout: str, expect: str | None, by: By, **asked: Any) -> RolloutStatus:
        position = None if expect is None else parse_position(expect)
        return RolloutStatus.of(self._remote.command(command, rollout, by, expect=position, **asked).to_json())


def _plan(plan: str | Path | Mapping[str, Any]) -> PlanText:
    """The plan; PlanError for one that is not valid, OSError when its file cannot be read."""
    if isinstance(plan, Mapping):
        return PlanText.read(json.dumps(plan), "plan")
    return PlanText.read(Path(plan).read_text(encoding="utf-8"), str(plan))


def _by(reason: str, request_id: str | None) -> By:
    """The reason and the request id; who asks is what the token says."""
    return By("client", reason, request_id)
