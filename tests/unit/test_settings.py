"""Settings as their surroundings write them: Kubernetes' service links, byte order marks, brackets, line ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rollout.adapters.planfile.calendar_file import read_calendars
from rollout.domain.errors import SettingsError
from rollout.settings import KeySource, Settings, load_settings

BOM = b"\xef\xbb\xbf"


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROLLOUT_CONFIG", raising=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROLLOUT_PORT", "tcp://10.96.0.12:8080"),
        ("ROLLOUT_PORT", "udp://[fd00::1]:8080"),
        ("ROLLOUT_SERVICE_HOST", "10.96.0.12"),
        ("ROLLOUT_SERVICE_PORT", "8080"),
        ("ROLLOUT_SERVICE_PORT_HTTP", "8080"),
        ("ROLLOUT_PORT_8080_TCP", "tcp://10.96.0.12:8080"),
        ("ROLLOUT_PORT_8080_TCP_ADDR", "10.96.0.12"),
        ("ROLLOUT_PORT_8080_TCP_PROTO", "tcp"),
        ("ROLLOUT_PORT_8080_TCP_PORT", "8080"),
        ("ROLLOUT_POSTGRES_SERVICE_HOST", "10.96.0.13"),
        ("ROLLOUT_POSTGRES_PORT", "tcp://10.96.0.13:5432"),
    ],
)
def test_what_kubernetes_writes_into_a_pod_is_named_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"{name}: Kubernetes .*enableServiceLinks: false"):
        load_settings()


def test_a_port_and_a_mistyped_name_are_no_service_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLOUT_PORT", "9090")
    assert load_settings().port == 9090
    monkeypatch.setenv("ROLLOUT_PROT", "9090")
    with pytest.raises(SettingsError, match="did you mean ROLLOUT_PORT"):
        load_settings()


def test_every_command_of_the_documents_for_a_pod_switches_the_links_off() -> None:
    text = Path(__file__).parents[2].joinpath("docs/operations.md").read_text()
    commands = re.findall(r"^kubectl run .*$", text, re.MULTILINE)
    assert len(commands) == 2
    assert all('"enableServiceLinks": false' in command for command in commands)


def test_toml_files_may_begin_with_a_byte_order_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rollout.toml").write_bytes(BOM + b"workers = 3\r\n")
    assert load_settings().workers == 3
    calendars = tmp_path / "calendars.toml"
    calendars.write_bytes(BOM + b'[shop]\nzone = "Europe/Berlin"\nwindows = [{from = "09:00", to = "17:00"}]\n')
    assert list(read_calendars(calendars)) == ["shop"]
    other = tmp_path / "other.toml"
    other.write_bytes("workers = 3".encode("utf-16"))
    monkeypatch.setenv("ROLLOUT_CONFIG", str(other))
    with pytest.raises(SettingsError, match=r"other\.toml cannot be read: it is not UTF-8 text"):
        load_settings()
    other.write_text("workers = = 3")
    with pytest.raises(SettingsError, match=r"other\.toml cannot be read: it is not TOML"):
        load_settings()


@pytest.mark.parametrize("raw", [BOM + b"key_1\r\n", b"key_1\n", b" key_1 \n\n", b"key_1"])
def test_a_key_may_be_saved_by_any_editor(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(raw)
    assert KeySource(Settings(retell_api_key_file=file))() == "key_1"
    text = raw.decode("utf-8")
    given = Settings(retell_api_key=text, webhook_key=text, webhook_key_next=text)
    for secret in (given.retell_api_key, given.webhook_key, given.webhook_key_next):
        assert secret is not None and secret.get_secret_value() == "key_1"


@pytest.mark.parametrize(
    "raw", [b"key_1\nkey_2\n", b"key 1", "schl\u00fcssel".encode(), "key_1".encode("utf-16"), b"\xff"]
)
def test_what_is_no_key_is_refused_by_the_name_of_its_setting(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(raw)
    with pytest.raises(SettingsError, match="ROLLOUT_RETELL_API_KEY_FILE: "):
        KeySource(Settings(retell_api_key_file=file))()
    with pytest.raises(SettingsError, match="ROLLOUT_WEBHOOK_KEY: it holds more than a key"):
        load_settings(webhook_key=raw.decode("latin-1"))


def test_a_host_may_be_written_with_the_brackets_of_an_address() -> None:
    assert Settings(host="[::1]").host == "::1"
