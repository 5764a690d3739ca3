"""The only code that talks to Retell.

Read `client` for what can be asked, `number_session` for how a PATCH leaves, `request` for what answers mean.
"""

from __future__ import annotations

from rollout.adapters.retell.client import RetellClient

__all__ = ["RetellClient"]
