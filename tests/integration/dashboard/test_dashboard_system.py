"""The page of the service itself: replicas, lag, answers, notices, database, and settings without their secrets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from html import unescape

import pytest
from pydantic import SecretStr

from rollout.adapters.settings_check import shown_settings
from rollout.adapters.store.outbox import AddressedNotice, Outbox
from rollout.adapters.store.system_state import system_state
from rollout.domain.notices.notice import Notice
from rollout.domain.plan.notices import NoticeEvent, Severity
from rollout.interfaces.dashboard.system_page import operations
from rollout.settings import Settings
from tests.integration.dashboard.test_dashboard_states import keep
from tests.integration.dashboard.world import World, world


@pytest.fixture
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("system"), ticking=False) as found:
        yield found


def page(still: World) -> str:
    answer = still.ask("GET", "/system", cookie=still.session("admin"))
    assert answer.status == 200, answer.text
    return unescape(answer.text)


def test_settings_are_shown_and_secrets_are_not(still: World) -> None:
    text = page(still)
    assert "key_of_a_test" not in text and "set, not shown" in text
    assert "ROLLOUT_RETELL_API_KEY" in text and "sqlite:///" in text


def test_settings_are_shown_as_they_are_written() -> None:
    shown = shown_settings(Settings(prune_seconds=86_400, tick_seconds=0.25, keep_days=400))
    found = {name: shown[name] for name in ("prune_seconds", "tick_seconds", "keep_days", "behind_tls_proxy")}
    assert found == {"prune_seconds": "86400", "tick_seconds": "0.25", "keep_days": "400", "behind_tls_proxy": "false"}


def test_no_secret_of_the_settings_is_ever_shown() -> None:
    settings = Settings(
        database_url="postgresql://me:hush1@db/x",
        retell_api_key=SecretStr("key_hush2"),
        webhook_key=SecretStr("hush3"),
        oidc_client_secret=SecretStr("hush4"),
        notify_urls=(SecretStr("json://me:hush5@example.com"), SecretStr("json://example.org")),
        retell_api_key_file=None,
    )
    shown = shown_settings(settings)
    assert "hush" not in str(shown)
    assert shown["notify_urls"] == "set, not shown, set, not shown"
    assert (shown["oidc_issuer"], shown["allowed_numbers"], shown["port"]) == ("not set", "not set", "8080")


def test_replicas_their_trouble_and_those_that_are_silent(still: World) -> None:
    assert "No replica has reported" in page(still)
    beats = still.app.store.heartbeats
    beats.beat("host-one", started=True, ticks=1234)
    beats.beat("host-two", started=True, trouble="the API key is refused")
    text = page(still)
    assert "No replica has reported" not in text
    for words in ("host-one", "1,234", "alive", "host-two", "The API key is refused"):
        assert words in text
    with still.app.database.write() as connection:
        old = (still.app.store.now() - timedelta(minutes=5)).strftime("%Y-%m-%d %H:%M:%S.000000")
        connection.exec_driver_sql("UPDATE services SET beat_at = ?, version = '0.9' WHERE owner = 'host-one'", (old,))
    text = page(still)
    assert "silent" in text and "different versions" not in text, "a silent one is no replica that runs"


def test_what_is_late_is_counted(still: World) -> None:
    assert system_state(still.app.database).late == 0
    keep(still, 1, ["+14157760001"], phase="progressing")
    state = system_state(still.app.database)
    assert state.late == 1 and state.late_since is not None
    assert "1 rollout is due with no replica at work on it" in page(still)


def test_retells_answers_are_counted_by_kind(still: World) -> None:
    for status in (200, 200, 422, 429, 503, None):
        still.app.meter("update_number", "PATCH", status, 0.1)
    [line] = [o for o in operations(still.app) if o.operation == "update_number"]
    assert dict(line.answers) == {"2xx": 2, "4xx": 1, "429": 1, "5xx": 1, "none": 1}
    assert line.total == 6 and line.mean == pytest.approx(0.1)
    assert "100 ms" in page(still)


def test_notices_sent_waiting_given_up_and_addresses_that_fail(still: World) -> None:
    outbox = Outbox(still.app.database)
    some = [Notice(f"e{i}", None, NoticeEvent.TROUBLE, Severity.WARNING, "t", "b") for i in range(4)]
    outbox.put([AddressedNotice(notice, "c" * 64) for notice in some])
    one, two, three, _ = outbox.claim("c" * 64, timedelta(minutes=1), 10)
    outbox.sent(one)
    outbox.give_up(two, "gone")
    outbox.failed(three, [], timedelta(minutes=1), "Slack of operations", "it answers 404")
    notices = system_state(still.app.database).notices
    assert (notices.sent, notices.waiting, notices.given_up) == (1, 2, 1)
    text = page(still)
    assert "Slack of operations" in text and "It answers 404" in text and "1 in the last 24 hours" in text


def test_the_database_and_its_schema(still: World) -> None:
    found = system_state(still.app.database).database
    assert found.product.startswith("SQLite 3") and found.size > 0 and found.revision == found.wanted
    assert "wants" not in page(still)
    with still.app.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    assert "rollout db upgrade" in page(still)


@pytest.mark.parametrize("role", ["viewer", "responder", "operator"])
def test_it_is_for_admins(still: World, role: str) -> None:
    answer = still.ask("GET", "/system", cookie=still.session(role))
    assert answer.status == 403 and f"role {role} may not do this" in answer.text
