"""Sign-in by OpenID Connect against a local provider, and forged tokens of every kind."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from pydantic import SecretStr

from rollout.domain.errors import Forbidden, NotReachable, RolloutError, SettingsError, Unauthenticated
from rollout.interfaces.auth.roles import Role
from rollout.interfaces.dashboard.sign_in.oidc import Begun, Verifier, parse_roles
from rollout.interfaces.dashboard.sign_in.oidc import Provider as SignInProvider
from rollout.settings import Settings
from tests.integration.api.live import Live, live
from tests.integration.api.test_api_sessions import add_page
from tests.support.loops import run_apart

ISSUER = "https://id.example.com"
KEY = RSAKey.generate_key(2048, {"kid": "one"})
KEYS = {"keys": [KEY.as_dict(private=False)]}
OTHER = RSAKey.generate_key(2048, {"kid": "one"})
NOW = 1_790_000_000


def verifier(**more: Any) -> Verifier:
    given = {
        "issuer": ISSUER,
        "audience": "rollout",
        "groups_claim": "groups",
        "roles": {"ops": Role.OPERATOR, "all": Role.VIEWER},
    }
    return Verifier(**{**given, **more})


def claims(**more: Any) -> dict[str, Any]:
    given = {
        "iss": ISSUER,
        "aud": "rollout",
        "sub": "7",
        "email": "alice@example.com",
        "exp": NOW + 300,
        "iat": NOW,
        "nonce": "n",
        "groups": ["all", "ops"],
    }
    return {k: v for k, v in {**given, **more}.items() if v is not None}


def signed(key: Any = KEY, alg: str = "RS256", **more: Any) -> str:
    return jwt.encode({"alg": alg, "kid": "one"}, claims(**more), key, algorithms=[alg])


def test_a_good_token_is_a_person_with_the_highest_role() -> None:
    person = verifier().check(KEYS, signed(), "n", NOW)
    assert (person.name, person.role) == ("oidc:alice@example.com", Role.OPERATOR)
    assert verifier().check(KEYS, signed(groups="all"), "n", NOW).role is Role.VIEWER


def part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def unsigned() -> str:
    return f"{part(json.dumps({'alg': 'none'}).encode())}.{part(json.dumps(claims()).encode())}."


def confused() -> str:
    """Signed with HMAC, the public key as the secret."""
    text = f"{part(json.dumps({'alg': 'HS256', 'kid': 'one'}).encode())}.{part(json.dumps(claims()).encode())}"
    secret = KEY.as_pem(private=False)
    return f"{text}.{part(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


FORGED = {
    "none": unsigned,
    "key confusion": confused,
    "other key": lambda: signed(OTHER),
    "other issuer": lambda: signed(iss="https://evil.example.com"),
    "no issuer": lambda: signed(iss=None),
    "other audience": lambda: signed(aud="another"),
    "no audience": lambda: signed(aud=None),
    "expired": lambda: signed(exp=NOW - 3600),
    "no end": lambda: signed(exp=None),
    "not yet": lambda: signed(nbf=NOW + 3600),
    "other nonce": lambda: signed(nonce="x"),
    "no nonce": lambda: signed(nonce=None),
    "no subject": lambda: signed(sub=None),
    "changed": lambda: signed()[:-6] + "AAAAAA",
    "empty": lambda: "",
    "words": lambda: "a.b.c",
    "four parts": lambda: signed() + ".x",
    "other curve": lambda: jwt.encode({"alg": "ES256", "kid": "one"}, claims(), ECKey.generate_key("P-256")),
    "several audiences, another party": lambda: signed(aud=["rollout", "x"], azp="x"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_tokens_are_nobody(name: str) -> None:
    with pytest.raises(Unauthenticated):
        verifier().check(KEYS, FORGED[name](), "n", NOW)


@pytest.mark.parametrize(
    "raw",
    [b'{"issuer": "a", "issuer": "b"}', b'{"keys": NaN}', b"[" * 100_000, b'{"a": "\xff"}', b"[]", b"<html>"],
    ids=["a key twice", "not a number", "depth", "not UTF-8", "a list", "a page"],
)
def test_a_document_that_is_not_strict_json_signs_nobody_in(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    way = {"oidc_issuer": ISSUER, "oidc_client_id": "rollout", "oidc_redirect_url": "https://here.example.com/back"}
    asked = SignInProvider(Settings(retell_api_key=SecretStr("key_x"), oidc_roles=("ops=operator",), **way))

    async def fetch(*_given: Any) -> tuple[int, bytes]:
        return 200, raw

    monkeypatch.setattr(asked, "_fetch", fetch)
    with pytest.raises(NotReachable, match="answered HTTP 200 and not with a JSON object; sign in with a token"):
        run_apart(asked.keys())


def test_nobody_gets_in_without_a_group() -> None:
    for groups in (None, [], ["others"], [1, None], "others"):
        with pytest.raises(Forbidden, match="ROLLOUT_OIDC_ROLES"):
            verifier().check(KEYS, signed(groups=groups), "n", NOW)


def test_roles_are_pairs() -> None:
    assert parse_roles(["a=b=viewer", "ops=admin"]) == {"a=b": Role.VIEWER, "ops": Role.ADMIN}
    for wrong in ("ops", "=viewer", "ops=god", "ops=trigger"):
        with pytest.raises(SettingsError, match="group=role"):
            parse_roles([wrong])


class Provider(ThreadingHTTPServer):
    """A provider with one person; `asked` are the forms that its token endpoint was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: list[dict[str, str]] = []
        self.nonce = ""
        self.moved = ""  # where GETs are sent on to
        self.paths: list[str] = []  # of GETs
        self.claims: dict[str, Any] = {}
        self.going = threading.Event()  # while it is not set, the provider hangs
        self.going.set()


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def log_message(self, *_given: Any) -> None: ...

    def answer(self, document: Any) -> None:
        raw = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self) -> None:
        self.server.going.wait()
        url = self.server.url
        self.server.paths.append(self.path)
        if self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path.startswith("/.well-known/"):
            ends = {"authorization_endpoint": "/login", "token_endpoint": "/token", "jwks_uri": "/keys"}
            self.answer({"issuer": url, **{k: url + v for k, v in ends.items()}})
        else:
            self.answer(KEYS)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.asked.append({k: v[0] for k, v in form.items()})
        now = int(time.time())
        given = {"iss": self.server.url, "exp": now + 60, "iat": now, "nonce": self.server.nonce}
        token = signed(**{**given, **self.server.claims})
        self.answer({"id_token": token, "access_token": "x", "token_type": "Bearer"})


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.going.set()
    server.shutdown()
    thread.join()
    server.server_close()


def settings_for(provider: Provider) -> dict[str, Any]:
    return {
        "oidc_issuer": provider.url,
        "oidc_client_id": "rollout",
        "oidc_roles": ("ops=operator",),
        "oidc_redirect_url": "http://127.0.0.1/auth/oidc/callback",
    }


def begin(found: Live, provider: Provider) -> tuple[str, dict[str, str]]:
    """(path of the callback, headers of the browser) after a login."""
    begun = found.ask("GET", "/auth/oidc/login", token=None)
    assert begun.status == 303, begun.raw
    query = {k: v[0] for k, v in parse_qs(urlsplit(begun.headers["location"]).query).items()}
    provider.nonce = query["nonce"]
    cookie = {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
    return f"/auth/oidc/callback?code=c&state={query['state']}", cookie


def test_a_login_on_one_replica_ends_on_another_and_after_a_restart(tmp_path: Path, provider: Provider) -> None:
    with live(tmp_path, ticking=False, **settings_for(provider)) as first:
        path, cookie = begin(first, provider)
        with live(tmp_path, ticking=False, **settings_for(provider)) as second:
            assert second.ask("GET", path, token=None, headers=cookie).status == 200
            assert first.server.service.access.signing_key() == second.server.service.access.signing_key()
        path, cookie = begin(first, provider)
    with live(tmp_path, ticking=False, **settings_for(provider)) as restarted:
        assert restarted.ask("GET", path, token=None, headers=cookie).status == 200
        forged = {"Cookie": cookie["Cookie"][:-3] + "AAA"}
        assert restarted.ask("GET", path, token=None, headers=forged).status == 401
        refused = restarted.ask("GET", path.replace("code=c", "error=access_denied"), token=None, headers=cookie)
        assert refused.status == 401 and "(access_denied)" in refused.json["detail"]


def test_a_login_behind_a_path_prefix_has_its_cookie_under_it(tmp_path: Path, provider: Provider) -> None:
    with live(tmp_path, ticking=False, root_path="/some/rollout", **settings_for(provider)) as found:
        begun = found.ask("GET", "/some/rollout/auth/oidc/login", token=None)
        assert "path=/some/rollout/auth/oidc;" in begun.headers["set-cookie"].lower()
        path, cookie = begin(found, provider)
        ended = found.ask("GET", f"/some/rollout{path}", token=None, headers=cookie)
        assert ended.status == 200, ended.raw
        gone = next(line for line in ended.headers["set-cookie"].lower().splitlines() if "rollout_oidc" in line)
        assert "path=/some/rollout/auth/oidc" in gone and "max-age=0" in gone


def test_a_login_is_good_for_ten_minutes_whichever_clock_is_ahead() -> None:
    begun = Begun.now(1000.0)
    for at, good in ((1000.0, True), (1599.0, True), (941.0, True), (1601.0, False), (900.0, False)):
        if good:
            assert Begun.opened(begun.sealed("key"), begun.state, "key", at) == begun
        else:
            with pytest.raises(Unauthenticated, match="too long"):
                Begun.opened(begun.sealed("key"), begun.state, "key", at)
    for text, state, key in (
        ("", begun.state, "key"),
        (begun.sealed("key"), "", "key"),
        (begun.sealed("x"), begun.state, "key"),
    ):
        with pytest.raises(Unauthenticated):
            Begun.opened(text, state, key, 1000.0)


ODD_GROUPS = [7, 1.5, True, False, {"ops": True}, {}, [["ops"]], ["ops", 7], [{"name": "ops"}], [None, "ops"]]


@pytest.mark.parametrize("groups", ODD_GROUPS, ids=repr)
def test_groups_of_another_kind_let_nobody_in(groups: Any) -> None:
    with pytest.raises(Forbidden, match="ROLLOUT_OIDC_GROUPS_CLAIM"):
        verifier().check(KEYS, signed(groups=groups), "n", NOW)


@pytest.mark.parametrize("keys", [{"keys": [1]}, {"keys": {}}, {"keys": "x"}, {}, {"keys": [{"kty": 1}]}], ids=repr)
def test_keys_of_another_kind_let_nobody_in(keys: Any) -> None:
    with pytest.raises(Unauthenticated):
        verifier().check(keys, signed(), "n", NOW)


def test_names_of_another_kind_are_passed_over() -> None:
    person = verifier().check(KEYS, signed(email={"a": 1}, preferred_username=["x"], sub="7"), "n", NOW)
    assert person.name == "oidc:7"


def test_odd_groups_over_http_are_403_with_a_sentence(tmp_path: Path, provider: Provider) -> None:
    with live(tmp_path, ticking=False, **settings_for(provider)) as found:
        for groups in (7, {"ops": True}, ["ops", 7]):
            path, cookie = begin(found, provider)
            provider.claims = {"groups": groups}
            answer = found.ask("GET", path, token=None, headers=cookie)
            assert answer.status == 403 and "ROLLOUT_OIDC_GROUPS_CLAIM" in answer.json["detail"]
            assert "set-cookie" not in answer.headers


def test_a_provider_that_hangs_keeps_nobody_from_signing_in_with_a_token(tmp_path: Path, provider: Provider) -> None:
    provider.going.clear()
    with live(tmp_path, ticking=False, page=True, **settings_for(provider)) as found:
        statuses: list[int] = []

        def try_it() -> None:
            statuses.append(found.ask("GET", "/auth/oidc/login", token=None, timeout=60).status)

        crowd = [threading.Thread(target=try_it) for _ in range(160)]
        for one in crowd:
            one.start()
        found.until(lambda: len(statuses) >= 100)  # those beyond the first are told at once
        assert set(statuses) == {503}
        assert sign_in_with(found, found.tokens["viewer"]) == 303
        provider.going.set()
        for one in crowd:
            one.join()
        assert statuses.count(303) == 160 - statuses.count(503) > 0


def test_a_right_token_signs_in_at_once_among_160_who_guess(tmp_path: Path) -> None:
    with live(tmp_path, ticking=False, page=True) as found:
        for _ in range(250):
            found.server.service.attempts.count("127.0.0.1")
        done = threading.Event()
        wrong: list[int] = []

        def guess() -> None:
            while not done.is_set():
                wrong.append(sign_in_with(found, "rlt_" + "x" * 43))

        crowd = [threading.Thread(target=guess) for _ in range(160)]
        for one in crowd:
            one.start()
        try:
            found.until(lambda: len(wrong) >= 160, 30)
            assert [sign_in_with(found, found.tokens["viewer"]) for _ in range(5)] == [303] * 5
        finally:
            done.set()
            for one in crowd:
                one.join()
        assert set(wrong) <= {401, 429}


def sign_in_with(found: Live, token: str) -> int:
    """The status of the page's own sign-in."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    return found.ask("POST", "/sign-in", raw=f"token={token}".encode(), token=None, headers=headers).status


def test_the_whole_way(tmp_path: Path, provider: Provider) -> None:
    with live(tmp_path, ticking=False, **settings_for(provider)) as found:
        add_page(found.server.api)
        begun = found.ask("GET", "/auth/oidc/login", token=None)
        assert begun.status == 303 and "SameSite=lax" in begun.headers["set-cookie"]
        query = {k: v[0] for k, v in parse_qs(urlsplit(begun.headers["location"]).query).items()}
        assert query["code_challenge_method"] == "S256" and query["response_type"] == "code"
        provider.nonce = query["nonce"]
        cookie = {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
        path = f"/auth/oidc/callback?code=c&state={query['state']}"
        assert found.ask("GET", path, token=None).status == 401
        assert found.ask("GET", "/auth/oidc/callback?code=c&state=x", token=None, headers=cookie).status == 401
        assert provider.asked == []
        done = found.ask("GET", path, token=None, headers=cookie)
        assert done.status == 200 and done.headers["refresh"] == "0; url=/"
        assert create_s256_code_challenge(provider.asked[0]["code_verifier"]) == query["code_challenge"]
        session = done.headers["set-cookie"].partition("rollout_session=")[2]
        me = found.ask("GET", "/t/me", token=None, headers={"Cookie": "rollout_session=" + session.partition(";")[0]})
        assert me.status == 200 and me.json["role"] == "operator" and "oidc:alice@example.com" in me.json["actor"]


def test_settings_belong_together(tmp_path: Path) -> None:
    with pytest.raises(RolloutError, match="belong together"), live(tmp_path, ticking=False, oidc_issuer=ISSUER):
        pass
