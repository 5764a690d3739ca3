"""The only importer of apprise: hands one notice to one address, and says in safe words why it was not taken.

An address carries passwords and tokens. It is never stored beside a notice, logged, or put into an error: what
is kept of it is a digest, and it is looked up by that again when something is sent.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

from rollout.adapters.egress_guard import built_complaint, complaint, guarded
from rollout.domain.notices.notice import clean
from rollout.domain.plan.notices import NoticeRule, Severity
from rollout.domain.plan.plan import Plan

TIMEOUT = 4.0  # seconds to connect, and between two parts of an answer
_LOADING = threading.Lock()
_STATUS = re.compile(r"error=(\d{3})")
_TYPES = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}
# Services whose messages can be tied together by something that we choose ourselves.
_FIELDS = frozenset({"json", "jsons", "xml", "xmls", "form", "forms"})
_UNKNOWN = "apprise does not know this kind of address; see its documentation"
_MAIL = frozenset({"mailto", "mailtos"})


class NotTaken(Exception):
    """A service did not take a notice. `final`: a retry changes nothing."""

    def __init__(self, trouble: str, *, final: bool = False) -> None:
        super().__init__(trouble)
        self.trouble = trouble
        self.final = final


@dataclass(frozen=True, slots=True)
class Address:
    """A place for notices. `name` and `digest` may be shown; `url` may not. `trusted`: of the settings, not of a plan."""

    url: str = field(repr=False)
    digest: str
    name: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A notice to send. `event` lets a receiver that can see it drop what comes twice."""

    event: str
    rollout_id: str | None
    severity: Severity
    title: str
    body: str


def of_settings(urls: Iterable[str]) -> list[Address]:
    """The addresses of the settings, each once, named by their place."""
    found: dict[str, Address] = {}
    for place, url in enumerate(urls, 1):
        digest = hashlib.sha256(url.encode()).hexdigest()
        found.setdefault(digest, Address(url, digest, f"address {place} of the settings ({_scheme(url)})", True))
    return list(found.values())


def of_plan(plan: Plan) -> list[tuple[NoticeRule, Address]]:
    """The addresses of a plan. Their digests begin with a p: they are never taken for the settings' own."""
    found = []
    for place, notice in enumerate(plan.notify, 1):
        digest = "p" + hashlib.sha256(notice.url.encode()).hexdigest()[:63]
        name = f"address {place} of plan {clean(plan.name, 80)} ({_scheme(notice.url)})"
        found.append((notice, Address(notice.url, digest, name, False)))
    return found


def schemes() -> frozenset[str]:
    """The schemes of every service that apprise knows."""
    from apprise.manager_plugins import NotificationManager

    _apprise()  # loads its plugins
    return frozenset(NotificationManager().schemas())  # type: ignore[no-untyped-call]  # apprise gives it no types


def usable(url: str) -> bool:
    """True if apprise takes this as an address of one of its services."""
    apprise, asset = _apprise()
    try:
        return apprise.Apprise.instantiate(url, asset=asset) is not None
    except Exception:  # noqa: BLE001 - a plugin may raise anything
        return False


def _scheme(url: str) -> str:
    scheme = url.partition("://")[0].lower()
    return scheme if re.fullmatch(r"[a-z][a-z0-9+.-]{0,30}", scheme) else "unknown"


class Courier:
    """A sender of notices. `hosts`: hosts inside the network that the addresses of plans may reach."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self.hosts = tuple(hosts)

    def warm(self) -> None:
        """Load apprise, which takes a second or two of processor time: better before anything is under way."""
        _apprise()

    def send(self, address: Address, message: Message) -> float:
        """Hand it over; return how long to wait before the next one to this address, in seconds.

        Raises NotTaken, with words that hold nothing of the address. Takes some seconds at the most with a
        service that answers or hangs; one that drips its answer keeps this thread, and nobody else's.
        """
        if address.trusted:
            return self._send(address, message)
        if (why := objection(address.url, self.hosts)) is not None:
            raise NotTaken(f"refused: {why}", final=True)
        with guarded(self.hosts) as guard:
            try:
                return self._send(address, message)
            except NotTaken:
                if guard.refused is not None:
                    raise NotTaken(f"refused: {guard.refused}") from None
                raise

    def _send(self, address: Address, message: Message) -> float:
        apprise, asset = _apprise()
        plugin = self._plugin(address, message)
        box = apprise.Apprise(asset=asset)
        box.add(plugin)
        try:
            with box.notify(
                title=message.title,
                body=message.body,
                notify_type=_TYPES[message.severity],
                body_format=apprise.NotifyFormat.TEXT,
            ) as result:
                if result:
                    return float(plugin.request_rate_per_sec)
                said = " ".join(str(entry) for entry in result.logs())
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and its text may hold the address
            raise NotTaken(f"the plugin failed ({type(error).__name__})") from None
        raise NotTaken(_words(said))

    def _plugin(self, address: Address, message: Message) -> Any:
        parsed: dict[str, Any] = {}
        try:
            parsed, plugin = _built(_threaded(address.url, message))
        except Exception:  # noqa: BLE001 - as above
            plugin = None
        if plugin is None:
            raise NotTaken(_UNKNOWN, final=True)
        if not address.trusted:
            if (why := built_complaint(parsed, plugin, self.hosts)) is not None:
                raise NotTaken(f"refused: {why}", final=True)
            plugin.verify_certificate = True
            plugin.redirects = False
            plugin.socket_connect_timeout = plugin.socket_read_timeout = TIMEOUT
        return plugin


def objection(url: str, hosts: Iterable[str]) -> str | None:
    """The reason to refuse a plan's address, with what to write instead; None if it is acceptable.

    Judged by what apprise builds from it; no file is read and no host is contacted. Loads apprise, a second of work.
    """
    if (why := complaint(url, hosts)) is not None:
        return why
    _apprise()  # loads its plugins outside of the guard
    with guarded(hosts):
        try:
            parsed, plugin = _built(url)
        except Exception:  # noqa: BLE001 - a plugin may raise anything, and its text may hold the address
            plugin = None
    return _UNKNOWN if plugin is None else built_complaint(parsed, plugin, hosts)


def address_problems(plan: Plan, hosts: Iterable[str]) -> list[str]:
    """Reasons to refuse a plan for the addresses of its notices, a sentence each."""
    found = ((place, objection(notice.url, hosts)) for place, notice in enumerate(plan.notify))
    return [f"notify[{place}].url: {why}" for place, why in found if why is not None]


def _built(url: str) -> tuple[dict[str, Any], Any]:
    """(what apprise reads in an address, the plugin it makes of that); None for no plugin."""
    apprise, asset = _apprise()
    parsed: dict[str, Any] | None = apprise.plugins.url_to_dict(url, secure_logging=True)
    if not parsed:
        return {}, None
    return parsed, apprise.Apprise.instantiate(dict(parsed), asset=asset)


def _threaded(url: str, message: Message) -> str:
    """The address with what ties the messages of one rollout together, where the service has such a thing.

    Mail gets a References header, Google Chat a thread key, webhooks two fields. Slack, Discord and Telegram
    know threads only by ids of their own: if you want a thread there, write its id into the address.
    """
    scheme = _scheme(url)
    extra: dict[str, str] = {}
    thread = message.rollout_id or "service"
    if scheme in _FIELDS:
        extra = {":event": message.event, ":rollout": thread}
    elif scheme in _MAIL:
        extra = {"+References": f"<{thread}@rollout.invalid>"}
    elif scheme == "gchat" and "thread" not in urlsplit(url).query:
        extra = {"thread": f"rollout-{thread}"}
    if not extra:
        return url
    arguments = "&".join(f"{name}={quote(value, safe='')}" for name, value in extra.items())
    return f"{url}{'&' if '?' in url else '?'}{arguments}"


def _words(said: str) -> str:
    """The reason that a service did not take it, by its status alone: its own words may hold the address."""
    if found := _STATUS.search(said):
        return f"it answered {found[1]}"
    if "onnection error" in said or "ould not" in said:
        return "it could not be reached"
    return "it did not accept the notice"


@lru_cache(maxsize=1)
def _load() -> tuple[Any, Any]:
    # Its plugins import modules that Python has deprecated; a second of work, done at the first notice.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import apprise

        _hush()
        asset = apprise.AppriseAsset(
            app_id="rollout",
            app_desc="rollout",
            async_mode=False,  # in the thread of the caller, and in no pool of its own
            service_timeout=0,
            storage_mode=apprise.PersistentStoreMode.MEMORY,
            secure_logging=True,
            http_redirects=False,
            interpret_emojis=False,
            allow_templates=False,
            pgp_autogen=False,
            pem_autogen=False,
        )
        apprise.Apprise.instantiate("json://localhost", asset=asset)  # loads every plugin
    return apprise, asset


def _hush() -> None:
    """Keep the lines of the libraries out of our log: they hold addresses, and with them passwords."""
    for name, level in (("apprise", logging.WARNING), ("urllib3", logging.ERROR), ("requests", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.setLevel(level)  # apprise's own warnings are read by us: they say which status was answered
        logger.propagate = False
        logger.addHandler(logging.NullHandler())


def _apprise() -> tuple[Any, Any]:
    with _LOADING:
        return _load()
