"""Safe, gradual rollout of voice-agent versions on Retell phone numbers.

`from rollout import Client` drives a running service from Python; `import rollout` alone loads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.domain.version import __version__

if TYPE_CHECKING:
    from rollout.interfaces.client import Client, NotPromoted, RolloutError, RolloutStatus

__all__ = ["Client", "NotPromoted", "RolloutError", "RolloutStatus", "__version__"]


def __getattr__(name: str) -> object:
    """The client's names, loaded with their first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rollout.interfaces import client

    return getattr(client, name)
