"""Settings that can never work are refused by name when the service starts, with what to write instead."""

from __future__ import annotations

import pytest

from rollout.adapters.settings_check import problems
from rollout.domain.errors import SettingsError
from rollout.sandbox import Sandbox
from rollout.settings import Settings, load_settings
from tests.support.command_line import CommandLine
from tests.support.plans import PLAN

# name, value, what the refusal says
BY_FORM = [
    ("ALLOWED_HOSTS", "https://rollout.example.com", "is an address; write the host alone: rollout.example.com"),
    ("ALLOWED_HOSTS", "a.example, *.example.com", "*.example.com is a pattern"),
    ("ALLOWED_HOSTS", "rollout.example.com:8080", "has a port; write the host alone: rollout.example.com"),
    ("ALLOWED_HOSTS", "rollout.example.com/rollout", "write the host alone: rollout.example.com"),
    ("ALLOWED_HOSTS", "two words", "two words is not a host's name"),
    ("ALLOWED_HOSTS", "b\u00fccher.example", "is sent as xn--bcher-kva.example; write that"),
    ("HOST", "http://0.0.0.0", "write the host alone: 0.0.0.0"),
    ("HOST", "0.0.0.0:8080", "write the host alone: 0.0.0.0"),
    ("NOTIFY_HOSTS", "https://hooks.internal", "write the host alone: hooks.internal"),
    ("METRIC_HOSTS", "*.example.com", "ROLLOUT_METRIC_HOSTS"),
    ("ALLOWED_NUMBERS", "14157774444", "14157774444 is not E.164; write +14157774444"),
    ("ALLOWED_NUMBERS", "+14157774444,+1 (415) 777-4445", "write +14157774445"),
    ("ALLOWED_NUMBERS", "frontdesk", "is not E.164"),
    ("NOTIFY_URLS", "hooks.example.com/x", "address 1 is not valid"),
    ("NOTIFY_URLS", "slakc://a/b/c", "there is no service slakc://"),
    ("NOTIFY_URLS", "json://a.example/x, ftp://b.example/y", "address 2: there is no service ftp://"),
    ("NOTIFY_URLS", "slack://nonsense", "apprise cannot use it as an address of slack://"),
    ("OIDC_ISSUER", "login.example.com", "it is not an https address"),
    ("OIDC_REDIRECT_URL", "http://rollout.example.com/auth/oidc/callback", "it is not an https address"),
    ("OIDC_ROLES", "ops=root", "ops=root is not group=role"),
    ("LOG_LEVEL", "verbose", "write debug, info, warning or error"),
    ("TICK_SECONDS", "nan", "write a number"),
    ("TICK_SECONDS", "30", "is too large; write at most 20"),
    ("DRIFT_SECONDS", "inf", "write a number"),
    ("LEASE", "1e12", "is too large; write at most 1,000,000,000"),
    ("KEEP_DAYS", "1000000", "is too large; write at most 36,500"),
    ("RETELL_API_KEY", "key with spaces", "write one line of plain text with only the key"),
    ("CALENDARS", "missing.toml", "missing.toml cannot be read (No such file or directory)"),
    ("CALENDARS", "plans", "plans cannot be read (Is a directory)"),
    ("CALENDARS", "broken.toml", "broken.toml: this is not TOML"),
    ("CALENDARS", "wrong.toml", "no holidays are known for XX"),
    ("KIT_DIR", "plan.yaml", "plan.yaml is not a folder"),
    ("KIT_DIR", "plan.yaml/kits", "plan.yaml is not a folder"),
    ("EXPORT_DIR", "plan.yaml", "plan.yaml is not a folder"),
]


@pytest.mark.parametrize(("name", "value", "words"), BY_FORM, ids=[f"{n}-{v[:24]}" for n, v, _ in BY_FORM])
def test_a_setting_that_can_never_work_is_refused_when_the_service_starts(
    rollout: CommandLine, name: str, value: str, words: str
) -> None:
    (rollout.folder / "plans").mkdir()
    rollout.write("broken.toml", "[office\n")
    rollout.write("wrong.toml", '[office]\nzone = "UTC"\nholidays = ["XX"]\n')
    done = rollout("serve", "--no-http", "--migrate", timeout=30, **{f"ROLLOUT_{name}": value})
    assert done.code == 2, done.err
    assert f"ROLLOUT_{name}" in done.err
    assert words in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert "nonsense" not in done.err and "key with" not in done.err, "what may be a secret is never shown"
    assert not list(rollout.folder.glob("rollout.db*")), "nothing was made"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_hosts", "rollout, rollout.default.svc, my_host, 10.0.0.7, ::1, [2001:db8::1], a.example."),
        ("host", "0.0.0.0"),
        ("host", "::"),
        ("host", "localhost"),
        ("notify_hosts", "127.0.0.1, hooks.internal"),
        ("allowed_numbers", "+14157774444, +4930123456"),
        ("notify_urls", "json://127.0.0.1/x, mailto://me:pass@mail.example.com"),
        ("oidc_issuer", "https://login.example.com/realm"),
        ("oidc_issuer", "http://127.0.0.1:9000"),
        ("oidc_roles", "ops=admin, a=b=viewer"),
        ("kit_dir", "kits/of/today"),
        ("log_level", "debug"),
    ],
)
def test_a_setting_that_works_is_taken(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ROLLOUT_{name.upper()}", value)
    assert list(problems(load_settings())) == []


def test_every_default_of_a_setting_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/reference/settings.md shows as the default is taken from the environment, and is the same."""
    whole = load_settings()
    for name, field in Settings.model_fields.items():
        if field.default in (None, ()):
            continue
        with monkeypatch.context() as patch:
            patch.setenv(f"ROLLOUT_{name.upper()}", str(field.default))
            assert load_settings() == whole, name


def test_a_secret_is_in_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETELL_API_KEY", "key_0123 secret")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.message.startswith("ROLLOUT_RETELL_API_KEY: ")
    assert "secret" not in caught.value.message


# ------------------------------------------------------------------ one rule for a plan's calendar

HOLIDAYS = PLAN + "zone: UTC\nholidays: [US, XX]\n"
NAMED = PLAN + "calendar: nowhere\n"


@pytest.mark.parametrize(
    "args",
    [
        ("check", "bad.yaml"),
        ("check", "bad.yaml", "--offline"),
        ("start", "bad.yaml"),
        ("start", "bad.yaml", "--at", "2030-01-01T00:00:00Z"),
        ("apply", "plans"),
        ("apply", "plans", "--offline"),
        ("apply", "plans", "--dry-run"),
        ("rehearse", "bad.yaml", "--calls-per-day", "50"),
    ],
)
def test_holidays_that_nobody_knows_are_refused_by_every_command(
    rollout: CommandLine, retell: Sandbox, args: tuple[str, ...]
) -> None:
    assert rollout("db", "upgrade").code == 0
    (rollout.folder / "plans").mkdir()
    rollout.write("bad.yaml", HOLIDAYS)
    rollout.write("plans/bad.yaml", HOLIDAYS)
    done = rollout(*args)
    assert done.code == 2, done.err
    assert "holidays[1]: no holidays are known for XX; write an ISO 3166 code, for example US or US-CA" in done.err
    assert rollout("list", "--json").json == []


@pytest.mark.parametrize("args", [("check", "bad.yaml"), ("start", "bad.yaml"), ("apply", "plans")])
def test_a_calendar_that_nobody_knows_is_refused_by_check_start_and_apply(
    rollout: CommandLine, args: tuple[str, ...]
) -> None:
    assert rollout("db", "upgrade").code == 0
    (rollout.folder / "plans").mkdir()
    rollout.write("bad.yaml", NAMED)
    rollout.write("plans/bad.yaml", NAMED)
    done = rollout(*args)
    assert done.code in (2, 3), done.err
    assert "there is no calendar" in done.err
    assert rollout("list", "--json").json == []
