"""The kit's builder: a rollout's rollback as one Python file that needs neither service, database nor package.

The program itself is in `rollout.kit.program`; this module joins its parts, embeds what a rollback must know and
writes the file. No key is ever put inside.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
import tempfile
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from rollout.domain.errors import InputError, NotWritable, Refused
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.splits.baselines import exact_lists
from rollout.kit.program.wire import origin

_PARTS = ("proxy.py", "wire.py", "restore.py", "rollback.py")  # the last one's docstring becomes the file's
_SLOT = 'json.loads(r"""{}""")'
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_LISTS = frozenset({"inbound_agents", "outbound_agents", "inbound_sms_agents", "outbound_sms_agents"})


def make_kit(rollout: Rollout, *, base_url: str, lease: float, horizon: float, now: datetime) -> str:
    """The text of the kit for all of a rollout's numbers, as they are known at `now` (aware).

    `lease` and `horizon` (H) are in seconds; `base_url` is used only if the rollout has not recorded the
    one it used. Raises Refused if there is no baseline to go back to, InputError for a bad argument.
    """
    base_url = rollout.base_url or base_url
    try:
        origin(base_url)
    except ValueError as error:
        raise InputError(str(error)) from None
    for name, seconds in (("lease", lease), ("horizon", horizon)):
        if not (math.isfinite(seconds) and seconds > 0):
            raise InputError(f"{name}: {seconds} is not a time; write seconds above 0")
    if now.tzinfo is None:
        raise InputError("now: the time has no zone; give an aware one")
    made_at = now.astimezone(UTC).isoformat(timespec="seconds")
    data = {
        "id": rollout.id,
        "name": rollout.name,
        "made_at": made_at,
        "phase": str(rollout.phase),
        "position": str(rollout.position),
        "base_url": base_url,
        "lease": lease,
        "horizon": horizon,
        "head": _head(rollout, made_at, lease + horizon),
        "numbers": _numbers(rollout),
    }
    return _program(data)


def write_kit(
    rollout: Rollout, directory: Path | str, *, base_url: str, lease: float, horizon: float, now: datetime
) -> Path:
    """Write `rollback-<id>.py` (mode 0700) into a folder, which is made if needed; returns its path.

    The file is complete or not there at all; an older one is replaced. Arguments and errors as for
    `make_kit`, and NotWritable if the folder cannot be written.
    """
    if not _ID.fullmatch(rollout.id):
        raise InputError(f"id: {rollout.id!r} cannot be part of a file's name")
    text = make_kit(rollout, base_url=base_url, lease=lease, horizon=horizon, now=now)
    path = Path(directory) / f"rollback-{rollout.id}.py"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(path, text)
    except OSError as error:
        raise NotWritable.at(path, error) from None
    return path


def _replace(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o700)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _numbers(rollout: Rollout) -> dict[str, Any]:
    """Every target, written or not: the service may write the others while the kit lies in a drawer."""
    if not rollout.targets:
        raise Refused(
            f"rollout {rollout.id} has not read its numbers yet, so there is no baseline to go back to; "
            "build the kit once the rollout has started"
        )
    for target in rollout.targets:
        empty = [name for name in target.baseline if not target.baseline[name] or name not in _LISTS]
        if empty or not target.baseline:
            what = empty[0] if empty else "any list"
            raise Refused(f"{target.number}: its baseline has no agents in {what}: nothing to go back to")
    found: dict[str, Any] = {}
    for target in rollout.targets:
        kept: dict[str, Any] = {"baseline": dict(target.baseline), "confirmed": dict(target.split)}
        if (exact := exact_lists(target.baseline)) != target.baseline:
            kept["exact"] = exact  # for when Retell refuses the baseline as it was read
        found[target.number] = kept
    return found


def _head(rollout: Rollout, made_at: str, watch: float) -> list[str]:
    """The kit's validity and what it cannot know, in ASCII, for its head and for its start."""
    channels = ", ".join(channel.value for channel in rollout.plan.channels)
    count = len(rollout.targets)
    numbers = f"{count} number{'s' * (count != 1)}, channels: {channels}"
    return [
        f"Rollback of rollout {rollout.id} {json.dumps(rollout.name)}: {numbers}",
        f"Made {made_at} at position {rollout.position} ({rollout.phase}); the baselines are those known then.",
        "Valid until somebody changes these numbers on purpose or another rollout starts on them, and only",
        "  while Retell still has the agent versions of the baselines. Steps taken after it was made are fine.",
        "Cannot know: what others edited since (their splits of these channels are overwritten), what the",
        f"  service does now (so it watches {watch:g} s after its last write), nor which calls are under way",
        "  (they keep their agent).",
    ]


def _program(data: dict[str, Any]) -> str:
    """The parts with the data of one rollout, as one file."""
    doc, imports, program = _parts()
    # In a raw string of apostrophes only an apostrophe could end it; JSON may write one as \u0027.
    text = json.dumps(data, indent=1, allow_nan=False).replace("'", "\\u0027")
    program = program.replace(_SLOT, f"json.loads(r'''{text}''')")
    comment = "\n".join(f"# {line}".rstrip() for line in data["head"])
    return (
        f'#!/usr/bin/env python3\n{comment}\n\n"""{doc}"""\n\n'
        f"from __future__ import annotations\n\n{imports}\n\n{program}"
    )


@cache  # a kit is written before each step: joining its parts each time took a third of a busy service's processor time
def _parts() -> tuple[str, str, str]:
    """The last part's docstring; the imports, each once; the code in order, with its place for the data."""
    imports: dict[str, set[str]] = {}
    bodies: list[str] = []
    doc = ""
    for name in _PARTS:
        source = resources.files("rollout.kit.program").joinpath(name).read_text("utf-8")
        doc, body = _split(source, imports)
        # A docstring tells what its part is for; in the joined file it is a comment.
        about = [] if name == _PARTS[-1] else [f"# {line}".rstrip() for line in doc.splitlines()] + [""]
        bodies.append("\n".join([*about, body.strip()]) + "\n")
    program = "\n\n".join(bodies)
    if program.count(_SLOT) != 1:
        raise RuntimeError("rollout/kit/program/rollback.py has not exactly one place for the data")
    plain = [f"import {module}" for module, names in sorted(imports.items()) if not names]
    named = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(imports.items()) if names]
    return doc, "\n".join(plain + named), program


def _split(source: str, imports: dict[str, set[str]]) -> tuple[str, str]:
    """A part's docstring and its code; its imports of the standard library go to `imports`."""
    tree = ast.parse(source)
    lines = source.splitlines()
    first = tree.body[0]
    assert isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    gone: list[ast.stmt] = [first]
    for node in tree.body:
        if isinstance(node, ast.Import):
            gone.append(node)
            for alias in node.names:
                imports.setdefault(alias.name, set())
        elif isinstance(node, ast.ImportFrom):
            gone.append(node)
            module = node.module or ""
            if not module.startswith(("rollout", "__future__")):
                imports.setdefault(module, set()).update(alias.name for alias in node.names)
    for node in gone:
        end = node.end_lineno or node.lineno
        lines[node.lineno - 1 : end] = [""] * (end - node.lineno + 1)
    kept = [line for line in lines if not line.startswith("# ruff:")]
    return str(first.value.value).strip("\n"), "\n".join(kept)
