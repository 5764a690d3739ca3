"""Alerts that say that monitoring is blind: its data source fails, there is no data, or the alert is a heartbeat.

They say nothing of the calls, so they neither fire nor resolve unless a plan names them. Names and words are those
of the tools' documentation: Grafana's DatasourceError, DatasourceNoData and grafana_state_reason; the Watchdog and
DeadMansSwitch that Alertmanager's usual rules keep sending, and Dead Man's Snitch that watches for them;
Datadog's "No Data".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

REASON = "grafana_state_reason"
NAMES = frozenset({"alertname", "title"})  # a rule that has one of these names the alert itself
_NAMED = frozenset({"watchdog", "nodata", "datasourceerror", "datasourcenodata"})
_WITHIN = ("datasourceerror", "datasourcenodata", "deadmanssnitch", "deadmansnitch", "deadmansswitch", "deadmanswitch")
# A state, and the labels that tools write it into. `state: error` may be somebody's own word for a call, `no data` not.
_STATES = frozenset({"nodata", "renodata"})
_STATE_LABELS = (
    "transition",
    "alert_transition",
    "alert_status",
    "alertstate",
    "alert_state",
    "monitor_status",
    "state",
    "status",
    "grafana_state",
)
_REASONS = frozenset({"nodata", "error", "missingseries"})
_TITLE = re.compile(r"\s*\[(?:re-?)?no[ _-]?data\b", re.IGNORECASE)  # Datadog: "[No data] Success rate of ..."


def is_no_data_alert(name: str, labels: Mapping[str, str]) -> bool:
    """True if an alert of this name with these labels says that monitoring is blind."""
    for text in (name, labels.get("alertname", ""), labels.get("title", "")):
        bare = _bare(text)
        if bare in _NAMED or any(word in bare for word in _WITHIN) or _TITLE.match(text):
            return True
    if any(_bare(part) in _REASONS for part in labels.get(REASON, "").split(",")):
        return True
    if _bare(labels.get("grafana_state", "")) in _REASONS:
        return True
    return any(_bare(labels.get(label, "")) in _STATES for label in _STATE_LABELS)


def _bare(text: str) -> str:
    """The letters alone, in lower case: Dead Man's Snitch, dead-mans-snitch and DeadMansSnitch are one name."""
    return re.sub(r"[^a-z]", "", text.lower())
