"""How long deliveries are known: webhooks by their setting, alerts as long as one may go on firing."""

from __future__ import annotations

from datetime import timedelta

from pydantic import SecretStr

from jobs.prune import Prune
from rollout.adapters.store.repository import Store
from rollout.adapters.store.tokens import AccessStore
from rollout.app import build
from rollout.domain.incoming.alerts import KEEP
from rollout.settings import Settings
from tests.support.clock import FakeClock


def test_an_alert_is_remembered_longer_than_a_webhook(store: Store, clock: FakeClock) -> None:
    settings = Settings(retell_api_key=SecretStr("key_of_a_test"), keep_deliveries_days=7)
    app = build(settings, clock=clock, database=store.database)
    access, prune, begun = AccessStore(store.database), Prune(app), clock.now()
    access.remember(["a1", "w1"])

    def left(after: timedelta) -> set[str]:
        clock.to(begun + after)
        prune.tick()
        return access.known(["a1", "w1"])

    assert left(timedelta(days=6.9)) == {"a1", "w1"}
    assert left(timedelta(days=7.1)) == {"a1"}
    assert left(KEEP - timedelta(hours=1)) == {"a1"}
    assert left(KEEP + timedelta(hours=1)) == set()
    app.close()
