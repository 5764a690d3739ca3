"""The forms of `set` and `ship` in every phase: what refuses them is said before they are filled in, and after."""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import urlencode

from rollout.domain.lifecycle.commands import By
from rollout.domain.plan.plan import Plan
from tests.integration.dashboard.world import world
from tests.support.phases import commands_in_every_phase

ASKED = {"set": {"w_canary": "0.3"}, "ship": {"variant": "canary"}}


def test_where_they_may_be_given_and_the_sentence_that_refuses_them_where_not(tmp_path: Path) -> None:
    with world(tmp_path, ticking=False) as service:
        plan = Plan.model_validate(service.plan())
        id_ = service.app.commands.start(plan, By("cli:test", "a test starts it")).id
        cookie = service.session("operator")
        csrf = service.ask("GET", "/", cookie=cookie).csrf
        for command, refused in commands_in_every_phase(service.app.store, id_):
            path = f"/rollouts/{id_}/{command}"
            before = html.unescape(service.ask("GET", f"{path}?{urlencode(ASKED[command])}", cookie=cookie).text)
            form = {"csrf": csrf, "reason": "because", "expect": "1.1", "anyway": "1", **ASKED[command]}
            after = service.ask("POST", path, form, cookie=cookie)
            if refused is None:
                assert 'name="reason"' in before
                assert (after.status, after.headers["location"]) == (303, f"/rollouts/{id_}?did={command}")
            else:
                assert f"{refused}." in before and 'name="reason"' not in before
                assert after.status == 409 and refused in html.unescape(after.text)
