"""Chromium for the browser tests, and one running service that they share; each test has numbers of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.integration.dashboard.world import World, world
from tests.support.parts import missing

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium. In CI its absence fails; elsewhere it skips, with the reason."""
    if not CHROMIUM.exists():
        missing(f"no browser: {CHROMIUM} does not exist (apt-get install chromium)")
    return {**browser_type_launch_args, "executable_path": str(CHROMIUM), "args": FLAGS}


@pytest.fixture(scope="session")
def base_url() -> str:
    """Takes the place of pytest-base-url's fixture, which the newest pytest warns of."""
    return ""


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running service with the sandbox behind it and a token of each role."""
    with world(tmp_path_factory.mktemp("page")) as found:
        yield found


@pytest.fixture
def context(context: BrowserContext) -> BrowserContext:
    """Waits end as soon as what they wait for is there; the limit is for a machine with much else to do."""
    context.set_default_timeout(40_000)
    return context


expect.set_options(timeout=40_000)


@pytest.fixture
def operator(service: World, page: Page) -> Page:
    """A browser with an operator's session."""
    service.sign_in(page, "operator")
    return page


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
