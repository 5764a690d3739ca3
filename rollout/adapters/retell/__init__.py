"""The only door to Retell, and the only importer of httpx.

Read `client` for what can be asked, `lane` for how a PATCH leaves, `exchange` for what answers mean.
"""

from __future__ import annotations

import logging

from rollout.adapters.retell.client import RetellClient

# httpx and httpcore log whole URLs, and a URL holds a caller's number
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

__all__ = ["RetellClient"]
