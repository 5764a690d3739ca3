"""Agents and their versions as Retell lists them, to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ListedAgent:
    """One agent of the workspace's list; `name` is empty where it has none."""

    agent_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """One version of an agent's list; `title` is empty where it has none, `changed` None where Retell leaves it out."""

    version: int
    is_published: bool
    title: str
    changed: datetime | None
