"""What a head of a chain that was kept elsewhere proves about the history now."""

from __future__ import annotations

import pytest

from rollout.domain.anchors import Anchor, broken, broken_token, ends_before, find

A, B = "a" * 64, "b" * 64
HEAD = Anchor("r1", 7, A)


def test_an_anchor_is_found_again_in_any_text() -> None:
    other = Anchor("token.T-1_x", 2, B)
    text = f"at noon {HEAD}, again {HEAD};\n<b>{other}</b> anchor:r1:7:{A}f anchor:r1:x:{A} anchor::7:{A}"
    assert find(text) == [HEAD, other]
    assert find("") == []


@pytest.mark.parametrize(
    ("kept", "pruned", "words"),
    [
        (A, False, None),
        (A, True, None),
        (None, True, None),
        (None, False, "r1 entry 7: it is in the anchor but not in the journal"),
        (B, False, "r1 entry 7: it is not the one in the anchor"),
        (B, True, "r1 entry 7: it is not the one in the anchor"),
    ],
)
def test_a_history_that_was_cut_or_written_anew_is_seen(kept: str | None, pruned: bool, words: str | None) -> None:
    found = broken(HEAD, kept, pruned)
    assert found is None if words is None else (found or "").startswith(words)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (Anchor("token.T", 2, A), None),
        (Anchor("token.T", 3, A), None),
        (None, "token T: it is in the anchor but not in the table"),
        (Anchor("token.T", 2, B), "token T: was changed in the table since the anchor was made"),
        (Anchor("token.T", 1, A), "token T: it was revoked when the anchor was made and no longer is"),
    ],
)
def test_a_token_that_was_changed_or_unrevoked_is_seen(now: Anchor | None, words: str | None) -> None:
    assert broken_token(Anchor("token.T", 2, A), now) == words


def test_only_the_chains_that_were_asked_for_are_held_against_their_anchors() -> None:
    anchors = [HEAD, Anchor("r1", 9, A), Anchor("r2", 1, A), Anchor("r3", 1, B)]
    faults = ends_before(anchors, {("r1", 7): A, ("r3", 1): A}, {"r1", "r3"})
    assert [fault.partition(":")[0] for fault in faults] == ["r1 entry 9", "r3 entry 1"]
