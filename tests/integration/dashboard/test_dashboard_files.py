"""The page's own files: what is vendored is what was published, and nothing is inline or comes from elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from rollout.interfaces.dashboard.assets import FOLDER, Assets
from rollout.interfaces.dashboard.render import TEMPLATES
from rollout.interfaces.views import report_pages
from tests.integration.dashboard.accessibility import AXE

PACKAGE = TEMPLATES.parent


@pytest.mark.parametrize(
    ("folder", "own"),
    [(FOLDER, {"page.css", "page.js", "plan.js", "icon.svg"}), (AXE, set[str]())],
    ids=["static", "axe"],
)
def test_vendored_files_have_the_hashes_of_their_manifest(folder: Path, own: set[str]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    listed = {f["file"]: f["sha256"] for package in manifest["packages"] for f in package["files"]}
    for name, wanted in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == wanted, name
    for package in manifest["packages"]:
        assert package["name"]
        assert re.fullmatch(r"[0-9.]+", package["version"])
        assert package["licence"]
        assert package["licence_file"] in listed
    assert {p.name for p in folder.iterdir()} == {"manifest.json"} | own | set(listed), "every other file is listed"


@pytest.mark.parametrize(
    "path", sorted((*TEMPLATES.iterdir(), report_pages.TEMPLATES / "report_body.html")), ids=lambda p: p.name
)
def test_templates_hold_no_script_no_style_and_no_way_around_escaping(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\son[a-z]+\s*=", text), "an inline handler"
    assert not re.search(r"\sstyle\s*=|<style", text), "an inline style"
    assert not re.search(r"<script(?![^>]*\ssrc=)[^>]*>", text), "an inline script"
    assert not re.search(r"\|\s*safe|autoescape|Markup|hx-on|javascript:|js:", text), "a way around escaping"
    assert not re.search(r"(?:src|href|action)=\"(?:https?:)?//", text), "something from elsewhere"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda p: p.name)
def test_modules_mark_nothing_as_safe(path: Path) -> None:
    assert not re.search(r"\bMarkup\b|autoescape=False|\|safe", path.read_text())


def test_our_script_writes_text_and_never_html() -> None:
    text = (FOLDER / "page.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
    assert "http" not in text


def test_the_style_sheet_answers_to_dark_small_and_still() -> None:
    text = (FOLDER / "page.css").read_text()
    for query in ("color-scheme: light dark", "max-width: 760px", "prefers-reduced-motion: reduce", "forced-colors"):
        assert query in text
    assert ":focus-visible" in text
    assert not re.search(r"url\(|@import|@font-face", text)


def colours(text: str, scheme: str) -> dict[str, str]:
    """The colours of one theme: `light-dark(LIGHT, DARK)` names both."""
    pairs = re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{3,6}), (#[0-9a-f]{3,6})\)", text)
    return {name: light if scheme == "light" else dark for name, light, dark in pairs}


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(scheme: str) -> None:
    values = colours((FOLDER / "page.css").read_text(), scheme)
    pairs = [(ink, on) for ink in ("ink", "quiet", "accent", "alarm", "good", "wait", "back") for on in ("bg", "panel")]
    for ink, on in [*pairs, ("on-alarm", "alarm"), ("on-accent", "accent"), ("ink", "alarm-soft"), ("ink", "wash")]:
        a, b = sorted((luminance(values[ink]), luminance(values[on])))
        assert (b + 0.05) / (a + 0.05) >= 4.5, f"{ink} on {on}"


def test_files_are_served_by_name_only() -> None:
    assets = Assets()
    found = assets.answer("page.css", None)
    assert found is not None
    assert found.headers["cache-control"] == "no-cache"
    assert found.media_type == "text/css; charset=utf-8"
    name, _, tag = assets.url("page.css").rpartition("/")[2].partition("?v=")
    kept = assets.answer(name, tag)
    assert kept is not None
    assert "immutable" in kept.headers["cache-control"]
    for odd in ("../render.py", "..%2frender.py", "/etc/passwd", "page.css/", "", "PAGE.CSS"):
        assert assets.answer(odd, None) is None
