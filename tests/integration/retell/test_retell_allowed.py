"""Numbers that this service may not write: their orders end here, before a byte of them leaves."""

from __future__ import annotations

from collections.abc import Callable

from rollout.adapters.retell import RetellClient
from rollout.domain.writes.answers import Answer, Order, Reading, Trouble
from tests.integration.retell.retell_peer import BODY, NUMBER, Peer, good

Serve = Callable[..., Peer]
Make = Callable[..., RetellClient]
Soon = Callable[[float], float]
OTHER = "+14157774445"


def write(client: RetellClient, soon: Soon, *numbers: str) -> dict[str, Answer]:
    with client.session(numbers) as session:
        assert all(isinstance(found, Reading) for found in session.read(numbers).values()), "reading is free"
        return session.write([Order(n, BODY) for n in numbers], send_by=soon(30), stop=lambda: False)


def test_only_the_allowed_number_is_written(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(good)
    answers = write(client(peer, allowed=frozenset({NUMBER})), soon, OTHER, NUMBER)
    assert list(answers) == [OTHER, NUMBER]
    assert answers[NUMBER].status == 200
    refused = answers[OTHER].failure
    assert refused is not None and answers[OTHER].status is None
    assert (refused.trouble, refused.status) == (Trouble.REJECTED, None)
    assert refused.detail == "not sent: the number is not in ROLLOUT_ALLOWED_NUMBERS"
    assert [seen.number for seen in peer.methods("PATCH")] == [NUMBER]


def test_an_urgent_order_is_no_exception(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(good)
    made = client(peer, allowed=frozenset({OTHER}))
    with made.session([NUMBER], urgent=True) as session:
        session.read([NUMBER])
        answer = session.write([Order(NUMBER, BODY)], send_by=soon(30), stop=lambda: False)[NUMBER]
    assert answer.failure is not None and answer.failure.trouble is Trouble.REJECTED
    assert peer.methods("PATCH") == []


def test_an_empty_list_allows_nothing_and_none_allows_all(serve: Serve, client: Make, soon: Soon) -> None:
    peer = serve(good)
    assert write(client(peer, allowed=frozenset()), soon, NUMBER)[NUMBER].failure is not None
    assert peer.methods("PATCH") == []
    assert write(client(peer), soon, NUMBER)[NUMBER].status == 200
