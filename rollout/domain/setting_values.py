"""The forms that single settings must have to take effect; each refusal says what to write instead."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from rollout.domain.phone_numbers import is_e164

MOST_SECONDS = 1e9  # beyond 31 years every sum of times overflows somewhere
MOST_DAYS = 36_500
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?", re.ASCII | re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}://.", re.IGNORECASE)


def checked(name: str, value: Any) -> Any:
    """The value of this setting; ValueError for one that can never work."""
    most = MOST_DAYS if name.endswith("_days") else MOST_SECONDS
    if isinstance(value, int | float) and value > most:
        raise ValueError(f"{value:g} is too large; write at most {most:,.0f}")
    if name in _EACH:
        return tuple(_EACH[name](each) for each in value)
    if name == "notify_urls":
        for place, each in enumerate(value, 1):
            notice(each.get_secret_value(), place)
    if name == "retell_api_key" and value is not None:
        return SecretStr(key(value.get_secret_value().strip()))
    return value if value is None or name not in _ONE else _ONE[name](value)


def host(text: str) -> str:
    """A host's name or IP address, alone, as it is compared and listened on; ValueError for anything else."""
    if "://" in text or "/" in text:
        found = urlsplit(text if "://" in text else f"//{text}").netloc.rpartition("@")[2]
        raise ValueError(f"{text} is an address; write the host alone{_such(_without_port(found))}")
    if "*" in text:
        raise ValueError(f"{text} is a pattern, and patterns are not supported; write each name in full")
    bare = text.strip("[]")
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        if text.count(":") == 1 or text.startswith("["):
            raise ValueError(f"{text} has a port; write the host alone{_such(_without_port(text))}") from None
    else:
        return bare
    if not text.isascii():
        try:
            written = text.encode("idna").decode()
        except UnicodeError:
            raise ValueError(f"{text} is not a host's name; write for example rollout.example.com") from None
        raise ValueError(f"{text} is sent as {written}; write that")
    if len(text) > 253 or not _NAME.fullmatch(text):
        raise ValueError(f"{text} is not a host's name; write for example rollout.example.com")
    return text


def _without_port(text: str) -> str:
    return re.sub(r":[0-9]*$", "", text)


def _such(name: str) -> str:
    return f": {name}" if name else ", for example rollout.example.com"


def number(text: str) -> str:
    """A phone number in E.164; ValueError for anything else."""
    if is_e164(text):
        return text
    digits = re.sub(r"[^0-9]", "", text)
    right = f"+{digits}"
    raise ValueError(f"{text} is not E.164; write {right if is_e164(right) else '+14157774444, for example'}")


def notice(url: str, place: int) -> None:
    """An address of a notice, by its form alone; ValueError without any of its text, which may be a secret."""
    if not _SCHEME.match(url):
        raise ValueError(
            f"address {place} is not valid; write it as apprise's documentation says, for example "
            "slack://TOKEN_A/TOKEN_B/TOKEN_C or https webhooks as jsons://HOST/PATH"
        )


def key(text: str) -> str:
    """An API key, as a header can carry it; ValueError, without the key, for anything else."""
    if not re.fullmatch(r"[!-~]*", text):
        raise ValueError("it holds a space, a line ending or a character outside ASCII; write only the key")
    return text


def web(text: str) -> str:
    """A web address, https except on this machine; ValueError for anything else."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError("it is not a web address; write https://HOST/PATH") from None
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if (parts.scheme != "https" and not (parts.scheme == "http" and local)) or not parts.hostname:
        raise ValueError("it is not an https address; write https://HOST/PATH")
    return text


def group_role(text: str) -> str:
    """`group=role`; ValueError for anything else."""
    group, _, role = text.rpartition("=")
    if not group.strip() or role not in ("viewer", "responder", "operator", "admin"):
        raise ValueError(f"{text} is not group=role; roles are viewer, responder, operator, admin")
    return text


_ONE: dict[str, Callable[[str], str]] = {"host": host, "oidc_issuer": web, "oidc_redirect_url": web}
_EACH: dict[str, Callable[[str], str]] = {
    "allowed_hosts": host,
    "notify_hosts": host,
    "allowed_numbers": number,
    "oidc_roles": group_role,
}
