"""`rollout` run inside the test's own process: the same entry point, without the second that a process costs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rollout.interfaces import cli
from tests.support import logs
from tests.support.command_line import QUICK, Done


class Inside:
    """Runs commands in `folder` with an environment of their own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._patch, self._capture = folder, monkeypatch, capsys
        self.environment: dict[str, str] = {"TZ": "UTC", "COLUMNS": "200"}

    def use(self, base_url: str, key: str = "key_of_a_test") -> None:
        """Points the commands at a server that speaks Retell's API, with quick bounds."""
        self.environment |= {**QUICK, "ROLLOUT_RETELL_BASE_URL": base_url, "RETELL_API_KEY": key}

    def write(self, name: str, text: str) -> str:
        """A file in the folder; returns its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return name

    def __call__(self, *args: str, **more: str) -> Done:
        with logs.kept(), self._patch.context() as patch:
            patch.chdir(self.folder)
            for name in ("ROLLOUT_URL", "ROLLOUT_TOKEN"):
                patch.delenv(name, raising=False)
            for name, value in {**self.environment, **more}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["rollout", *args])
            self._capture.readouterr()
            try:
                cli.main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            else:
                code = 0
            captured = self._capture.readouterr()
        return Done(code, captured.out, captured.err, 0.0)
