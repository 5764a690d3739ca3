"""Alerts that may stop a rollout, and whom to tell what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema

from rollout.domain.plan.fields import Part, as_text, complaint, shown


class Reaction(StrEnum):
    """The service's own reaction to an alert."""

    ROLLBACK = "rollback"
    PAUSE = "pause"


def _labels(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not value:
        raise complaint(
            f"{shown(value)} matches no alert", "write labels and their values, for example {service: frontdesk}"
        )
    for label, wanted in value.items():
        if not isinstance(label, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:/-]{0,99}", label, re.ASCII):
            raise complaint(f"{shown(label)} is not a label", "write for example alertname or service")
        if not isinstance(wanted, str) or not wanted or len(wanted) > 200 or not wanted.isprintable():
            raise complaint(f"the value {shown(wanted)} is not text", as_text(wanted), (label,))
    return dict(value)


class AlertRule(Part):
    """An alert with all these labels, sent to /hooks/alerts, acts on this rollout.

    One that says that monitoring is blind (DatasourceError, No Data, Watchdog) only where its alertname is given.
    """

    match: Annotated[
        dict[str, str],
        PlainValidator(_labels),
        WithJsonSchema({"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}}),
    ]
    action: Reaction = Reaction.ROLLBACK


class NoticeEvent(StrEnum):
    """Events that addresses can choose."""

    STARTED = "started"
    STEP = "step"
    NEEDS_PERSON = "needs_person"
    ROLLED_BACK = "rolled_back"
    PROMOTED = "promoted"
    STOPPED = "stopped"
    TROUBLE = "trouble"


class Severity(StrEnum):
    """The urgency of a notice."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


def _notice_url(value: object) -> str:
    # the address itself is never repeated in a complaint: it often carries a token
    if (
        isinstance(value, str)
        and len(value) <= 2000
        and re.fullmatch(r"[a-z][a-z0-9+.-]{0,30}://[!-~]+", value, re.ASCII)
    ):
        return value
    raise complaint(
        "this is not the address of a service", "write an apprise address, for example mailto://ops@example.com"
    )


class NoticeRule(Part):
    """One service to tell, beside those of the settings."""

    url: Annotated[
        str,
        PlainValidator(_notice_url),
        WithJsonSchema({"type": "string", "pattern": "^[a-z][a-z0-9+.-]{0,30}://[!-~]+$", "maxLength": 2000}),
    ] = Field(repr=False, description="Address of the service as apprise writes it.")
    events: tuple[NoticeEvent, ...] | None = Field(None, min_length=1, description="Left out: all but `step`.")
    min_severity: Severity = Severity.INFO
