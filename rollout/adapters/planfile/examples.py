"""The example plans: in the wheel, or in config/plans of a checkout."""

from __future__ import annotations

from pathlib import Path


def example_plans() -> dict[str, str]:
    """Name -> text of each example in YAML, by name."""
    here = Path(__file__).resolve().parents[2]
    inside, checkout = here / "_plans", here.parent / "config" / "plans"
    folder = inside if inside.is_dir() else checkout
    return {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.yaml"))}
