"""The only module that reads the environment and rollout.toml."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from rollout.domain.errors import SettingsError
from rollout.domain.lifecycle.machine import KEEP_BASELINE
from rollout.domain.setting_values import checked

RETELL = "https://api.retellai.com"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Names that belong to the environment and are no settings of the service.
OTHER_NAMES = frozenset({"ROLLOUT_URL", "ROLLOUT_TOKEN", "ROLLOUT_CONFIG"})


class Settings(BaseSettings):
    """Settings of the service; times are in seconds. The environment beats rollout.toml."""

    model_config = SettingsConfigDict(
        env_prefix="ROLLOUT_",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_ignore_empty=True,
        allow_inf_nan=False,
        enable_decoding=False,  # lists are separated by commas in the environment, not written as JSON
    )

    database_url: str = Field(
        "sqlite:///rollout.db", description="SQLite file or PostgreSQL; the default file is created when it is needed."
    )
    ballast_mb: float = Field(
        8.0, ge=0, le=10_000, description="SQLite: megabytes of disk kept for rollbacks; 0: none."
    )
    retell_api_key: SecretStr | None = Field(None, description="Also read from RETELL_API_KEY.")
    retell_api_key_file: Path | None = Field(
        None, description="A file with the key, read again when it changes, so rotation needs no restart."
    )
    retell_base_url: str = Field(RETELL, description="Must be https, or http on loopback.")
    webhook_key: SecretStr | None = Field(None, description="The key that signs Retell's webhooks.")
    webhook_key_next: SecretStr | None = Field(None, description="A second key, while you rotate it.")

    host: str = Field("127.0.0.1", description="Address to listen on; any but loopback needs a token first.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    allowed_hosts: tuple[str, ...] = Field((), description="Further names that the Host header may have.")
    root_path: str = Field("", description="Path under which a proxy serves this service, for example /rollout.")
    behind_tls_proxy: bool = Field(False, description="A proxy in front of this service terminates TLS.")
    read_rate: float = Field(400.0, gt=0, description="Reading requests a second for each token.")
    change_rate: float = Field(
        20.0, gt=0, description="Changing requests a second for each token; rollback has no limit."
    )
    event_clients: int = Field(200, ge=1, le=5000, description="Open event streams at the same time.")
    webhook_queue: int = Field(2000, ge=1, description="Webhooks waiting to be recorded, before 429.")

    oidc_issuer: str | None = Field(None, description="Sign-in by OIDC: https address of the provider.")
    oidc_client_id: str | None = Field(
        None, description="This service's client id at the provider; the audience of its tokens."
    )
    oidc_client_secret: SecretStr | None = Field(None, description="Left out for a public client.")
    oidc_redirect_url: str | None = Field(None, description="https address of /auth/oidc/callback here.")
    oidc_groups_claim: str = Field("groups", description="The claim that names a person's groups.")
    oidc_roles: tuple[str, ...] = Field(
        (), description="group=role; the highest role wins, and without a group there is no access."
    )

    tick_seconds: float = Field(
        1.0,
        gt=0,
        le=20,  # a heartbeat goes with each check, and a process without one for 30 s counts as gone
        description="Interval between two checks for what is due, at most 20.",
    )
    drift_seconds: float = Field(15.0, gt=0, description="Interval between two scans of the account for drift.")
    observe_seconds: float = Field(5.0, gt=0, description="Interval between two fetches of calls for the gates.")
    call_details_per_minute: float = Field(
        60.0,
        gt=0,
        le=60_000,
        description="Calls read one by one in a minute, for gates on `tool_failed` and `backup_model`; if more end, "
        "a sample is judged. Of other rollouts with gates 400 are read, to find backup models.",
    )
    prune_seconds: float = Field(86_400.0, gt=0, description="Interval between two removals of expired data.")
    notify_seconds: float = Field(2.0, gt=0, description="Interval between two checks for notices to send.")
    send_window: float = Field(2.0, gt=0, description="A write is sent within this time of its intent, or not at all.")
    request_deadline: float = Field(15.0, gt=0, description="One request to Retell ends after this long.")
    lease: float = Field(45.0, gt=0, description="How long a process keeps a rollout without renewing its lease.")
    provider_idle: float = Field(120.0, ge=0, description="Retell closes a connection that was idle this long.")
    provider_apply: float = Field(60.0, ge=0, description="Retell applies what it received within this time.")
    read_staleness: float = Field(0.0, ge=0, description="What Retell answers to a read is at most this old.")
    horizon_margin: float = Field(
        15.0, ge=0, description="Added to provider_idle, provider_apply and read_staleness: the write horizon."
    )
    poll_seconds: float = Field(5.0, gt=0, description="Interval between two reads while something is unsettled.")
    watch_seconds: float = Field(10.0, gt=0, description="Interval between two checks of the gates while waiting.")

    concurrency: int = Field(32, ge=1, le=256, description="Concurrent requests to Retell from one process.")
    rate: float = Field(0.0, ge=0, description="Requests a second to Retell from all processes together; 0: no limit.")
    account_concurrency: int = Field(128, ge=1, description="Concurrent requests to Retell from all services together.")
    workers: int = Field(8, ge=1, le=64, description="Rollouts driven at the same time.")
    allowed_numbers: tuple[str, ...] = Field((), description="If set, no other number is ever written.")

    kit_dir: Path | None = Field(None, description="Where a break-glass kit is written before each step.")
    calendars: Path | None = Field(None, description="A TOML file of named calendars.")
    notify_urls: tuple[SecretStr, ...] = Field((), description="Where notices go (apprise URLs).")
    notify_hosts: tuple[str, ...] = Field((), description="Hosts inside the network that addresses in plans may reach.")
    notify_unmeasurable_seconds: float = Field(
        600.0, gt=0, description="A gate that cannot be measured for this long causes a notice."
    )
    metric_hosts: tuple[str, ...] = Field((), description="Hosts that plans may read metrics from.")
    keep_days: int = Field(400, ge=30, description="Days a finished rollout's history is kept.")
    rollback_days: int = Field(
        30, ge=1, description="Days after its end that a rollout can be rolled back; below 30 it is 30."
    )
    keep_looks_days: int = Field(180, ge=1, description="Days the gates' evidence of an ended rollout is kept.")
    keep_observations_days: int = Field(90, ge=1, description="Days that calls are kept when no rollout needs them.")
    keep_requests_days: int = Field(7, ge=1, description="Days a repeated request id gets its first answer.")
    keep_notices_days: int = Field(30, ge=1, description="Days delivered notices are kept.")
    keep_deliveries_days: int = Field(
        7, ge=1, description="Days that handled alerts are remembered, at least 30; webhooks are forgotten sooner."
    )
    keep_sessions_days: int = Field(1, ge=0, description="Days expired sessions of the page are kept.")
    export_dir: Path | None = Field(
        None, description="Where a rollout's journal is written (JSON Lines) before it is pruned."
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")

    @property
    def database_is_default(self) -> bool:
        """True if no database is configured: it is then in the working folder, and is made when it is needed."""
        return "database_url" not in self.model_fields_set

    @property
    def secrets(self) -> list[str]:
        """Every secret among the settings: no line of a log may show one."""
        values = [value for name in type(self).model_fields for value in _each(getattr(self, name))]
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]

    @property
    def address(self) -> str:
        """The address of the page for people, as far as the settings say: through the proxy, if there is one."""
        if self.behind_tls_proxy and self.allowed_hosts:
            return f"https://{self.allowed_hosts[0]}{self.root_path}"
        host = "127.0.0.1" if self.host in ("", "0.0.0.0", "::") else self.host  # noqa: S104 - a name, not a bind
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{self.root_path}"

    @property
    def baseline_kept(self) -> timedelta:
        """The period in which a rollout can be rolled back after another end."""
        return max(timedelta(days=self.rollback_days), KEEP_BASELINE)

    @property
    def horizon(self) -> float:
        """H, the longest time after its intent in which a request may take effect: K + D + R + margin."""
        return self.provider_idle + self.provider_apply + self.read_staleness + self.horizon_margin

    @property
    def poll(self) -> float:
        """The pause between two looks, in proportion when the horizon is scaled down."""
        return min(self.poll_seconds, max(self.tick_seconds, self.horizon / 10))

    @field_validator("retell_api_key", "webhook_key", "webhook_key_next", mode="before")
    @classmethod
    def _plain_key(cls, value: object) -> object:
        given = value.get_secret_value() if isinstance(value, SecretStr) else value
        return plain_key(given) if isinstance(given, str) else value

    @field_validator("root_path")
    @classmethod
    def _root_path(cls, value: str) -> str:
        path = value.rstrip("/")
        if path and not re.fullmatch(r"(/[A-Za-z0-9._~-]*[A-Za-z0-9_~-])+", path, re.ASCII):
            raise ValueError("write only the path, for example /rollout")
        return path

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        return value.removeprefix("[").removesuffix("]")

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        if not value.strip():
            raise ValueError(_NO_ADDRESS)
        return value.strip()

    @field_validator("retell_base_url")
    @classmethod
    def _base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("write only scheme, host and port, for example https://api.retellai.com")
        if parts.scheme == "https" and parts.hostname:
            return value.rstrip("/")
        if parts.scheme == "http" and parts.hostname in LOOPBACK:
            return value.rstrip("/")
        raise ValueError("write an https address, or http on 127.0.0.1")

    @field_validator("allowed_hosts", "allowed_numbers", "oidc_roles", "notify_hosts", "metric_hosts", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("*")
    @classmethod
    def _can_work(cls, value: Any, info: ValidationInfo) -> Any:
        return checked(info.field_name or "", value)

    @field_validator("notify_urls", mode="before")
    @classmethod
    def _addresses(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        # an address may hold commas itself: only one before the next scheme separates
        return tuple(part.strip(" ,") for part in re.split(r",\s*(?=[a-z][a-z0-9+.-]*://)", value) if part.strip(" ,"))

    @model_validator(mode="after")
    def _belong_together(self) -> Settings:
        if not self.send_window < self.request_deadline < self.lease:
            raise ValueError(
                "ROLLOUT_SEND_WINDOW < ROLLOUT_REQUEST_DEADLINE < ROLLOUT_LEASE must hold, and is "
                f"{self.send_window:g} < {self.request_deadline:g} < {self.lease:g}"
            )
        if self.horizon <= self.request_deadline:
            raise ValueError(
                "ROLLOUT_PROVIDER_IDLE + ROLLOUT_PROVIDER_APPLY + ROLLOUT_READ_STALENESS + ROLLOUT_HORIZON_MARGIN "
                f"must be more than ROLLOUT_REQUEST_DEADLINE, and {self.horizon:g} is not more than "
                f"{self.request_deadline:g}"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = _config_file()
        toml = (_Toml(settings_cls, file),) if file.is_file() else ()
        return (init_settings, env_settings, *toml)


def _each(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


class _Toml(TomlConfigSettingsSource):
    """The file, also as editors on Windows save it: UTF-8 with a byte order mark."""

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        return tomllib.loads(file_path.read_bytes().decode("utf-8-sig"))


def _config_file() -> Path:
    return Path(os.environ.get("ROLLOUT_CONFIG", "rollout.toml"))


def load_settings(**given: Any) -> Settings:
    """Settings from the environment and rollout.toml; SettingsError names what is wrong.

    An unknown ROLLOUT_ variable is refused: a mistyped name would silently mean the default.
    """
    _refuse_strangers(os.environ)
    if "database_url" not in given and os.environ.get("ROLLOUT_DATABASE_URL", "x") == "":
        raise SettingsError(f"ROLLOUT_DATABASE_URL: {_NO_ADDRESS}")
    config = os.environ.get("ROLLOUT_CONFIG")
    if config and not Path(config).is_file():
        raise SettingsError(f"ROLLOUT_CONFIG: there is no file {config}")
    if "retell_api_key" not in given and not os.environ.get("ROLLOUT_RETELL_API_KEY"):
        key = os.environ.get("RETELL_API_KEY")
        if key:
            given["retell_api_key"] = SecretStr(key)
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in problem["loc"])
            text = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                text = f"there is no such setting{_nearest(name, list(Settings.model_fields))}"
            if advice := _ADVICE.get(problem["type"]):
                text = advice.format_map(problem.get("ctx", {}))
            lines.append(f"ROLLOUT_{name.upper()}: {text}" if name else text)
        raise SettingsError("; ".join(lines)) from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{_config_file()} cannot be read: {_unreadable(error)}") from None


def _unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text; save it as UTF-8"
    return str(error.strerror) if isinstance(error, OSError) else f"it is not TOML: {error}"


# What Kubernetes tells a pod of services whose names begin with "rollout": addresses, by names that look like ours.
_SERVICE_LINK = re.compile(
    r"ROLLOUT_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST=.*|SERVICE_PORT(?:_[A-Z0-9_]+)?=.*|PORT=(?:tcp|udp|sctp)://.*"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?=.*)",
    re.DOTALL,
)
_NO_ADDRESS = (
    "it is set and empty; leave it out for rollout.db in the working folder, or write sqlite:///PATH or "
    "postgresql://user@host/name"
)
_ADVICE = {
    "float_parsing": "write a number, for example 1.5",
    "int_parsing": "write a whole number, for example 8080",
    "int_from_float": "write a whole number, for example 8080",
    "bool_parsing": "write true or false",
    "finite_number": "write a number, for example 1.5",
    "greater_than": "is too small; write a number above {gt:g}",
    "greater_than_equal": "is too small; write at least {ge:g}",
    "less_than": "is too large; write a number below {lt:g}",
    "less_than_equal": "is too large; write at most {le:g}",
    "string_pattern_mismatch": "write debug, info, warning or error",
}


def _refuse_strangers(environ: Mapping[str, str]) -> None:
    known = {f"ROLLOUT_{name.upper()}" for name in Settings.model_fields} | OTHER_NAMES
    links = [n for n, value in environ.items() if _SERVICE_LINK.fullmatch(f"{n}={value}")]
    if links:
        raise SettingsError(
            f"{min(links)}: Kubernetes writes this into every pod beside a service named rollout, but it is not "
            "a setting; write enableServiceLinks: false into the pod's spec (deploy/kubernetes/rollout.yaml has it)"
        )
    for name in sorted(environ):
        if name.startswith("ROLLOUT_") and name not in known and not name.startswith("ROLLOUT_TEST_"):
            raise SettingsError(f"{name}: there is no such setting{_nearest(name, sorted(known))}")


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.6)
    return f"; did you mean {near[0]}?" if near else "; `rollout doctor` lists them"


def traces_wanted(environ: Mapping[str, str] | None = None) -> bool:
    """True if OpenTelemetry's own variables name a place to send traces to and do not switch them off."""
    given = os.environ if environ is None else environ
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return any(given.get(name) for name in names)


def plain_key(text: str) -> str:
    """A key without what editors, `echo` and PowerShell put around it; ValueError for what no key holds."""
    key = text.strip().removeprefix("\ufeff").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("it holds more than a key; write one line of plain text with only the key")
    return key


class KeySource:
    """The API key, asked for at each request, so that a rotated key is taken over without a restart."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.retell_api_key_file
        self._key = settings.retell_api_key
        self._seen: tuple[float, str] | None = None

    def __call__(self) -> str:
        if self._file is not None:
            try:
                changed = self._file.stat().st_mtime
                if self._seen is None or self._seen[0] != changed:
                    self._seen = (changed, plain_key(self._file.read_text("utf-8-sig")))
                if self._seen[1]:
                    return self._seen[1]
            except (OSError, ValueError) as error:
                if self._seen is None:
                    why = _unreadable(error) if isinstance(error, OSError | UnicodeDecodeError) else str(error)
                    raise SettingsError(f"ROLLOUT_RETELL_API_KEY_FILE: {why}") from None
                return self._seen[1]  # the file is being replaced: use the last key
        if self._key is None or not self._key.get_secret_value():
            raise SettingsError("there is no Retell API key: set RETELL_API_KEY or ROLLOUT_RETELL_API_KEY")
        return self._key.get_secret_value()
