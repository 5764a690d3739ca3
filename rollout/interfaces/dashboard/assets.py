"""The page's own files: style sheets, scripts, icon. Loaded once, served by name only, cached by their hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi.responses import Response

from rollout.interfaces.views import report_pages

FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent."""

    content: bytes
    media_type: str
    tag: str


class Assets:
    """Every file of the folder, and the report's style sheet, by name."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files: dict[str, Asset] = {}
        for path in (*sorted(folder.iterdir()), report_pages.STYLES):
            if path.suffix in _TYPES:
                content = path.read_bytes()
                tag = hashlib.sha256(content).hexdigest()[:16]
                self._files[path.name] = Asset(content, _TYPES[path.suffix], tag)

    def url(self, name: str) -> str:
        """The address of a file, with its hash, so that a new version is a new address."""
        return f"/static/{name}?v={self._files[name].tag}"

    def answer(self, name: str, version: str | None) -> Response | None:
        """The file; None when there is no such file. Browsers may keep it forever under an address with its hash."""
        found = self._files.get(name)
        if found is None:
            return None
        kept = "public, max-age=31536000, immutable" if version == found.tag else "no-cache"
        return Response(found.content, 200, {"Cache-Control": kept}, found.media_type)
