"""The form of a plan: its fields from the plan's keys, and the plan's keys from its fields. Pure.

A key whose fields nobody touched is left as it stands in the text, and so is every key without a field: going
from text to form and back changes nothing. Values that make no sense are taken over as they were typed, and the
reader of plans complains about them at their line.
"""

from __future__ import annotations

from rollout.interfaces.dashboard.plan_form.fields import Inputs, changes, inputs_of
from rollout.interfaces.dashboard.plan_form.rows import LADDERS, act, ladder, rows_of

__all__ = ["LADDERS", "Inputs", "act", "changes", "inputs_of", "ladder", "rows_of"]
