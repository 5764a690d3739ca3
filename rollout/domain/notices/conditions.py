"""Conditions that cause notices: states that last and have no entry in the journal, approval wanted, trouble.

Pure. Each state has a time since when; the event of its notice is made of it, so that it is told once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rollout.domain.calendar.durations import render
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.notices.notice import Notice, NoticeText, Scope, clean, compose, moment_text, stamp
from rollout.domain.plan.notices import NoticeEvent, Severity
from rollout.domain.splits.splits import weights_text

# Seconds after which a rollback that is not read back causes notices, ever more urgent; then every two hours.
ROLLBACK_LEVELS = (60, 300, 1800)
ROLLBACK_AGAIN = 7200


def of_rollout(r: Rollout, now: datetime, unmeasurable_since: datetime | None, patience: timedelta) -> list[Notice]:
    """Notices of the conditions of a rollout now that have no entry of their own in the journal.

    `unmeasurable_since`: when its gates stopped measuring, if they have; it is told after `patience`.
    """
    found: list[Notice] = []
    if r.phase is Phase.PROGRESSING and r.confirmed_at is not None and r.waiting_for is WaitingFor.APPROVAL:
        after = r.next_position
        goal = (
            "it is promoted" if after is None else f"step {after} follows: {weights_text(r.plan.weights(after.step))}"
        )
        words = NoticeText(
            NoticeEvent.NEEDS_PERSON,
            Severity.WARNING,
            f"step {r.position} waits for your approval",
            "its hold is over and all other conditions are met",
            f"{goal}, as soon as somebody promotes it",
            f"rollout promote {r.id} --expect {r.position}",
        )
        found.append(compose(f"{r.id}:approve:{r.position}:{stamp(r.confirmed_at)}", r, words))
    if r.phase is Phase.ROLLING_BACK and r.restored_at is None and r.rollback_at is not None:
        taken = (now - r.rollback_at).total_seconds()
        level = sum(taken >= s for s in ROLLBACK_LEVELS) + max(0, int(taken // ROLLBACK_AGAIN))
        if level:
            words = NoticeText(
                NoticeEvent.TROUBLE,
                Severity.CRITICAL,
                f"the rollback is not complete after {render(timedelta(seconds=int(taken)))}",
                r.why,
                "the service keeps trying until it succeeds; the rollback kit works without the service",
                f"rollout kit {r.id}, then run the file that it writes",
            )
            found.append(compose(f"{r.id}:rollback-failing:{stamp(r.rollback_at)}:{level}", r, words))
    live = r.phase in (Phase.PROGRESSING, Phase.PAUSED, Phase.HELD)
    if live and unmeasurable_since is not None and now - unmeasurable_since >= patience:
        words = NoticeText(
            NoticeEvent.TROUBLE,
            Severity.WARNING,
            "its gates cannot be measured",
            r.why if r.verdict is None else r.verdict.reason,
            f"no calls have been judged since {moment_text(unmeasurable_since)}; the weight stays until they are again",
            f"rollout rollback {r.id}",
        )
        found.append(compose(f"{r.id}:unmeasurable:{stamp(unmeasurable_since)}", r, words))
    return found


def key_refused(rollouts: Sequence[Rollout], since: datetime) -> list[Notice]:
    """Retell refuses our key: once for the whole service, and once to the addresses of each plan concerned."""
    if not rollouts:
        return []
    first, told = rollouts[0], []
    next_ = "nothing is sent until the key works again, not even a rollback; a new key takes effect without a restart"
    for r in rollouts:
        words = NoticeText(
            NoticeEvent.TROUBLE, Severity.CRITICAL, "Retell refuses the API key", r.why, next_, "rollout doctor"
        )
        told.append(compose(f"{r.id}:key:{stamp(since)}", r, words, scope=Scope.PLAN))
    count = f"{len(rollouts)} rollouts" if len(rollouts) > 1 else "one rollout"
    body = (
        f"Retell refuses the API key, so {count} cannot continue.\nWhy: {clean(first.why)}\nNext: {next_}\n"
        "To intervene: rollout doctor"
    )
    title = "Retell refuses the API key"
    event = f"service:key:{stamp(since)}"
    return [*told, Notice(event, None, NoticeEvent.TROUBLE, Severity.CRITICAL, title, body, Scope.SETTINGS)]


def service_failing(name: str, digest: str, since: datetime, tries: int, trouble: str) -> Notice:
    """The notice to all other addresses that one of them fails. `name` never holds the address."""
    body = (
        f"Notices cannot be delivered to {clean(name, 120)}.\n"
        f"Why: {clean(trouble)} ({tries} tries since {moment_text(since)})\n"
        "Next: they are kept, and sent when delivery works again; rollouts are not affected\nTo intervene: rollout doctor"
    )
    title = clean(f"notices cannot be delivered to {name}", 200)
    event = f"service:notify:{digest[:12]}:{stamp(since)}"
    return Notice(event, None, NoticeEvent.TROUBLE, Severity.WARNING, title, body, Scope.SETTINGS)
