"""Outgoing HTTP: the route (`network`), one open connection, and httpx's transport over it.

Retell, metric sources, the command line's service and the sign-in provider are all asked through `httpx` clients
that are built on this package.
"""

from __future__ import annotations

import logging
import sys

# httpx and httpcore log whole URLs, and a URL holds a caller's number
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

# httpx brings a command line of its own, with click, rich and pygments: a tenth of what a rollback loads. Hiding it is
# safe: httpx works the same where those are not installed.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: cannot be imported
