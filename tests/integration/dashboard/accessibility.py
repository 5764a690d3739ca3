"""axe-core, vendored beside this for the tests alone: findings that keep people from using a page."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

AXE = Path(__file__).parent / "axe"
# Those that axe counts as WCAG 2.2 AA and as good practice; colour contrast is among them.
_RUN = "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)"


@cache
def _source() -> str:
    return (AXE / "axe.min.js").read_text()


def findings(page: Page) -> list[str]:
    """The serious and critical findings on a page: the rule, what it asks for, and where."""
    page.evaluate(_source())
    found: list[dict[str, Any]] = page.evaluate(_RUN)
    return [
        f"{rule['id']}: {rule['help']}: {', '.join(str(node['target']) for node in rule['nodes'][:3])}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
