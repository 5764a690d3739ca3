"""`rollout set` and `rollout ship` in every phase, on the database."""

from __future__ import annotations

from rollout.app import build
from rollout.settings import Settings
from tests.support.inside import Inside
from tests.support.phases import commands_in_every_phase
from tests.support.plans import PLAN

ARGUMENTS = {"set": ("--weight", "0.3"), "ship": ("--variant", "canary", "--anyway", "--reason", "it books more")}


def test_where_they_may_be_given_and_the_sentence_that_refuses_them_where_not(inside: Inside) -> None:
    inside.write("plan.yaml", PLAN)
    id_ = inside("start", "plan.yaml").out.strip()
    app = build(Settings(database_url=inside.environment["ROLLOUT_DATABASE_URL"]))
    for command, refused in commands_in_every_phase(app.store, id_):
        done = inside(command, id_, *ARGUMENTS[command])
        if refused is None:
            assert done.code == 0, done.err
        else:
            assert (done.code, done.out, done.err.splitlines()[0]) == (3, "", f"rollout: {refused}")
    app.close()
