"""Which rollout is meant: the beginning of an id, what was nearly written, its page, and what a list leaves out."""

from __future__ import annotations

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.store.engine import Database
from rollout.adapters.store.repository import Store
from rollout.domain.lifecycle.machine import Phase
from tests.support.hand import Hand
from tests.support.inside import Inside
from tests.support.values import AGENT, target


@pytest.fixture
def three(inside: Inside, sqlite_url: str) -> Inside:
    """abcdefgh (live), abcdxyzk and k7m2x9p4 (ended)."""
    database = Database(sqlite_url, SystemClock())
    hand = Hand(Store(database))
    for i, (id_, name, phase) in enumerate(
        (
            ("abcdefgh", "zebra", Phase.HELD),
            ("abcdxyzk", "front-desk", Phase.PROMOTED),
            ("k7m2x9p4", "lobby", Phase.STOPPED),
        )
    ):
        hand.create(id_, target(f"+1415777000{i}"), name=name, phase=phase)
    database.close()
    return inside


def test_the_beginning_of_an_id_is_enough_where_one_begins_so(three: Inside) -> None:
    for start in ("k7m2", "k7m2x9", "k7m2x9p4"):
        assert three("show", start, "--json").json["id"] == "k7m2x9p4"
    assert three("show", "k7m").code == 2, "three characters are a slip"
    several = three("show", "abcd")
    assert several.code == 3
    assert "abcd is the beginning of 2 ids: write more of the one you mean, abcdefgh or abcdxyzk" in several.err
    assert three("show", "abcd%").code == three("show", "____").code == 2


@pytest.mark.parametrize(("asked", "meant"), [("frontdesk", "front-desk"), ("loby", "lobby"), ("abcdefgk", "abcdefgh")])
def test_what_was_nearly_written_is_suggested(three: Inside, asked: str, meant: str) -> None:
    for command in ("show", "history", "rollback", "report", "replay", "kit"):
        done = three(command, asked)
        assert done.code == 2, (command, done.err)
        assert f"there is no rollout {asked}; did you mean {meant}" in done.err, command
    assert "did you mean" not in three("show", "nothing-like-it").err


def test_the_address_of_a_page(three: Inside) -> None:
    assert three("open", "lobby").out == "http://127.0.0.1:8080/rollouts/k7m2x9p4\n"
    proxied = {"ROLLOUT_BEHIND_TLS_PROXY": "true", "ROLLOUT_ALLOWED_HOSTS": "a.example,b.example"}
    done = three("open", "lobby", "--json", ROLLOUT_ROOT_PATH="/x", **proxied)
    assert done.json == {"address": "https://a.example/x/rollouts/k7m2x9p4"}
    assert three("open", "lobby", ROLLOUT_HOST="::", ROLLOUT_PORT="99").out.startswith("http://127.0.0.1:99/")


@pytest.mark.parametrize(
    ("args", "ids"),
    [
        ((), ["k7m2x9p4", "abcdxyzk", "abcdefgh"]),
        (("--live",), ["abcdefgh"]),
        (("--live", "--all"), ["abcdefgh"]),
        (("--phase", "stopped"), ["k7m2x9p4"]),
        (("--phase", "held", "--phase", "promoted"), ["abcdxyzk", "abcdefgh"]),
        (("--phase", "paused"), []),
        (("--sort", "name"), ["abcdxyzk", "k7m2x9p4", "abcdefgh"]),
        (("--sort", "phase"), ["abcdefgh", "abcdxyzk", "k7m2x9p4"]),
        (("--sort", "updated", "--limit", "1"), ["k7m2x9p4", "abcdefgh"]),
        (("--agent", AGENT), ["k7m2x9p4", "abcdxyzk", "abcdefgh"]),
        (("--agent", f"{AGENT}:7"), ["k7m2x9p4", "abcdxyzk", "abcdefgh"]),
        (("--agent", f"{AGENT}:8"), []),
        (("--agent", "agent"), []),
    ],
)
def test_a_list_is_narrowed_and_sorted(three: Inside, args: tuple[str, ...], ids: list[str]) -> None:
    done = three("list", "--json", *args)
    assert done.code == 0, done.err
    assert [r["id"] for r in done.json] == ids


def test_an_empty_list_says_why(three: Inside) -> None:
    assert three("list", "--phase", "paused").out == "no rollout matches\n"
    assert three("list", "--phase", "nothing").code == 2
    assert three("list", "--sort", "nothing").code == 2
