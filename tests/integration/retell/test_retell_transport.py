"""Everything that goes to Retell goes through `httpx.Client`, over a transport that cannot open a connection."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest

from rollout.adapters.http.transport import make_client
from tests.support.scene import ME, Scene


def test_every_request_that_retell_sees_was_sent_by_an_httpx_client(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, str, bytes]] = []
    send = httpx.Client.send

    def counting(client: httpx.Client, request: httpx.Request, **more: Any) -> httpx.Response:
        if str(request.url).startswith(scene.sandbox.url):  # and not what an earlier test has left running
            sent.append((request.method, request.url.path, request.content))
        return send(client, request, **more)

    monkeypatch.setattr(httpx.Client, "send", counting)
    numbers = scene.add_numbers(60)
    scene.given(numbers=numbers)
    scene.after(3600)
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()

    seen = [(e["method"], e["path"], (e["body"] or "").encode()) for e in scene.sandbox.log()]
    assert Counter(sent) == Counter(seen)
    assert sum(method == "PATCH" for method, _, _ in sent) >= 2 * len(numbers), "a step and its rollback"


def test_the_client_takes_nothing_from_its_surroundings() -> None:
    client = make_client()
    assert not client.trust_env
    assert not client.follow_redirects
    answer = httpx.Response(
        200, headers={"Set-Cookie": "a=b"}, request=httpx.Request("GET", "https://api.retellai.com/")
    )
    client.cookies.extract_cookies(answer)
    assert not client.cookies
    with pytest.raises(KeyError):  # a request that names no connection has none, and none is opened for it
        client.get("http://127.0.0.1:9/")
