"""A server that speaks Retell's API with modelled callers and faults on demand.

It shares no code with `rollout.adapters.retell`, so that one misreading cannot hide in both. Names are loaded on
first use: importing this package costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollout.sandbox.server import Sandbox, run

__all__ = ["Sandbox", "run"]


def __getattr__(name: str) -> Any:
    """Load the server when one of its names is asked for."""
    if name in __all__:
        from rollout.sandbox import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
