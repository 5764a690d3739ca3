"""Needs of the settings on this machine: asked when the service starts and by `doctor`, before anything relies on it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from rollout.adapters.metric_sources.allowed_hosts import MetricHosts
from rollout.adapters.store.address import parse_address
from rollout.domain.errors import InputError, SettingsError
from rollout.settings import Settings


def refuse_unusable(settings: Settings) -> None:
    """SettingsError names every setting that can never work here, and what to write instead; changes nothing."""
    found = list(problems(settings))
    if found:
        raise SettingsError("; ".join(found))


def problems(settings: Settings) -> Iterator[str]:
    """A sentence for each setting that can never work here."""
    for name, folder in (("KIT_DIR", settings.kit_dir), ("EXPORT_DIR", settings.export_dir)):
        if folder is not None and (why := _no_folder(folder)):
            yield f"ROLLOUT_{name}: {why}; write a folder that this user may write to"
    try:
        MetricHosts(settings.metric_hosts)
    except SettingsError as error:
        yield error.message
    if settings.calendars is not None:
        yield from _calendars(settings.calendars)
    for place, url in enumerate(settings.notify_urls, 1):
        yield from _notice(place, url.get_secret_value())


def shown_settings(settings: Settings) -> dict[str, str]:
    """Every setting by its name, as it is written; of a secret only that it is set, and of an address no password."""
    shown = {name: _shown(getattr(settings, name)) for name in type(settings).model_fields}
    return {**shown, "database_url": parse_address(settings.database_url).shown}


def _shown(value: object) -> str:
    if value is None or value in ("", ()):
        return "not set"
    if isinstance(value, SecretStr):
        return "set, not shown"
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _no_folder(path: Path) -> str:
    """The reason that no file can be made in this folder, which is made itself if need be; empty when it can."""
    nearest = path.absolute()
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        return f"{nearest} is not a folder"
    return "" if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} cannot be written"


def _calendars(path: Path) -> Iterator[str]:
    from rollout.adapters.planfile.calendar_file import read_calendars

    try:
        read_calendars(path)
    except OSError as error:
        yield f"ROLLOUT_CALENDARS: {path} cannot be read ({error.strerror}); write the path of a TOML file"
    except InputError as error:
        yield f"ROLLOUT_CALENDARS: {error.message}"


def _notice(place: int, url: str) -> Iterator[str]:
    from rollout.adapters.notify import schemes, usable

    scheme = url.partition("://")[0].lower()
    known = schemes()
    if scheme not in known:
        near = difflib.get_close_matches(scheme, known, 1, 0.6)
        advice = f"did you mean {near[0]}://?" if near else "write one of apprise's, for example slack:// or jsons://"
        yield f"ROLLOUT_NOTIFY_URLS: address {place}: there is no service {scheme[:30]}://; {advice}"
    elif not usable(url):
        yield (
            f"ROLLOUT_NOTIFY_URLS: address {place}: apprise cannot use it as an address of {scheme}://; "
            "write it as apprise's documentation says"
        )
