"""`--all`: every live rollout, those that only wait for their start too, whatever comes of one of them."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.domain.errors import NotReachable, Refused
from rollout.interfaces.backend import local
from tests.support.inside import Inside
from tests.support.values import ONE, THREE, TWO

PLAN = """\
version: 1
name: {name}
numbers: ["{number}"]
channels: [inbound]
canary: {{agent_id: agent_frontdesk, agent_version: 7}}
steps:
  - {{weight: 1.0, hold: 30m}}
gates: {{profile: none}}
{more}
"""
DECEMBER = 'start: "2093-12-01T09:00:00Z"'


def start(inside: Inside, name: str, number: str = ONE, more: str = "") -> str:
    inside.write(f"{name}.yaml", PLAN.format(name=name, number=number, more=more))
    done = inside("start", f"{name}.yaml")
    assert done.code == 0, done.err
    return done.out.strip()


def phase(inside: Inside, id_: str) -> str:
    return str(inside("show", id_, "--json").json["phase"])


def test_rollback_all_covers_scheduled_rollouts_and_names_them(inside: Inside) -> None:
    later = start(inside, "december", more=DECEMBER)
    after = start(inside, "second", TWO, more="after: december")
    soon = start(inside, "soon", THREE)
    done = inside("rollback", "--all", "--reason", "stop the line")
    assert done.code == 0, done.err
    assert f"{later}: december, scheduled for Tue 01 Dec 09:00, will not start (rolled_back)\n" in done.out
    assert f"{after}: second, scheduled after december, will not start (rolled_back)\n" in done.out
    assert {phase(inside, each) for each in (later, after, soon)} == {"rolled_back"}
    assert inside("rollback", "--all").out == "nothing to roll back: no rollout is live\n"


def test_pause_all_covers_scheduled_rollouts_and_names_them(inside: Inside) -> None:
    later, soon = start(inside, "december", more=DECEMBER), start(inside, "soon", TWO)
    done = inside("pause", "--all")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        f"{soon}: pause: paused at 1.1",
        f"{later}: pause: paused at 1.1",
        "  december, scheduled for Tue 01 Dec 09:00, does not start until it is resumed",
    ]
    assert phase(inside, later) == phase(inside, soon) == "paused"
    assert inside("pause", "--all").out == "nothing to pause: no rollout is running or scheduled\n"
    # what was paused before its start is rolled back with the rest, and named
    done = inside("rollback", "--all", "--no-wait", "--json")
    told = {a["name"]: (a["was"], a["scheduled"]) for a in done.json}
    assert told == {"december": ("paused", "scheduled for Tue 01 Dec 09:00"), "soon": ("paused", None)}


@pytest.mark.parametrize("command", ["pause", "rollback"])
def test_one_refusal_does_not_keep_the_others_going(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    ids = [start(inside, "first"), start(inside, "middle", TWO), start(inside, "last", THREE)]
    name = "command" if command == "pause" else "rollback"
    kept = getattr(local.LocalBackend, name)

    def one_is_refused(self: Any, *args: Any, **more: Any) -> Any:
        if ids[1] in args:
            raise Refused("it has just ended")
        return kept(self, *args, **more)

    monkeypatch.setattr(local.LocalBackend, name, one_is_refused)
    done = inside(command, "--all")
    assert done.code == 3 and f"{ids[1]}: it has just ended" in done.err
    monkeypatch.undo()
    wanted = {"pause": "paused", "rollback": "rolled_back"}[command]
    assert [phase(inside, each) for each in ids] == [wanted, "pending", wanted]


def test_one_request_id_covers_all_of_them_and_again(inside: Inside) -> None:
    first, second = start(inside, "first"), start(inside, "second", TWO)
    assert inside("pause", "--all", "--request-id", "one").code == 0
    for _ in range(2):
        done = inside("rollback", "--all", "--request-id", "two", "--no-wait")
        assert done.code == 0, done.err
    assert phase(inside, first) == phase(inside, second) == "rolling_back"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("pause", "x", "--all"), "write an ID or --all, not both"),
        (("pause", "--all", "--expect", "1.1"), "--expect works with one rollout only"),
    ],
)
def test_what_does_not_go_with_all_is_refused(inside: Inside, args: tuple[str, ...], words: str) -> None:
    id_ = start(inside, "first")
    done = inside(*args)
    assert done.code == 2 and words in done.err
    assert phase(inside, id_) == "pending"


@pytest.mark.parametrize("every", [False, True], ids=["one", "all"])
def test_a_rollback_that_is_not_read_back_is_told_once_for_each(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, every: bool
) -> None:
    ids = [start(inside, "first"), *([start(inside, "second", TWO)] if every else [])]

    def unreadable(_self: Any, id_: str, _timeout: float) -> Any:
        raise NotReachable(f"{id_} is ordered but not read back")

    monkeypatch.setattr(local.LocalBackend, "follow_rollback", unreadable)
    done = inside("rollback", *(["--all"] if every else ids))
    assert done.code == 4
    told = [line for line in done.err.splitlines() if "not read back" in line]
    assert told[0].startswith(f"{ids[-1]}: " if every else "rollout: ")
    assert len(told) == (3 if every else 1)  # of several, the command's own sentence is the last one's
