"""Settings that can never work are refused, with what to write instead and without their secrets."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from rollout.domain.setting_values import checked

LONGEST = "a." * 126 + "a"  # name of a host: 253 characters
GOOD: list[tuple[str, Any, Any]] = [
    ("poll_seconds", 1e9, 1e9),
    ("retention_days", 36_500, 36_500),
    ("tick_seconds", True, True),
    ("allowed_hosts", ("Rollout.example.com.", "[::1]", "10.0.0.7", "fe80::1%eth0"),
     ("Rollout.example.com.", "::1", "10.0.0.7", "fe80::1%eth0")),
    ("notify_hosts", ("a_b.internal",), ("a_b.internal",)),
    ("host", LONGEST, LONGEST),
    ("host", "a" * 63, "a" * 63),
    ("oidc_redirect_url", "http://127.0.0.1/cb", "http://127.0.0.1/cb"),
    ("oidc_redirect_url", "http://[::1]/cb", "http://[::1]/cb"),
    ("allowed_numbers", ("+14157774444",), ("+14157774444",)),
    ("oidc_roles", ("a=b=admin", "ops=viewer"), ("a=b=admin", "ops=viewer")),
    ("oidc_issuer", "https://id.example.com/x", "https://id.example.com/x"),
    ("oidc_redirect_url", "http://localhost:8000/cb", "http://localhost:8000/cb"),
    ("oidc_issuer", None, None),
    ("host", "127.0.0.1", "127.0.0.1"),
    ("retell_api_key", None, None),
    ("anything_else", "as it is", "as it is"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "taken"), GOOD)
def test_what_can_work_is_taken(name: str, value: Any, taken: Any) -> None:
    assert checked(name, value) == taken


def test_a_key_is_taken_without_what_surrounds_it() -> None:
    assert checked("retell_api_key", SecretStr(" key_1!~\n")).get_secret_value() == "key_1!~"
    urls = (SecretStr("slack://a/b/c"), SecretStr("jsons://host/path"))
    assert checked("notify_urls", urls) == urls


BAD: list[tuple[str, Any, str]] = [
    ("poll_seconds", 1.1e9, "1.1e+09 is too large; write at most 1,000,000,000"),
    ("retention_days", 36_501, "36501 is too large; write at most 36,500"),
    ("host", "https://rollout.example.com:80/x", "is an address; write the host alone: rollout.example.com"),
    ("host", "user@rollout.example.com/x", "is an address; write the host alone: rollout.example.com"),
    ("host", "///", "is an address; write the host alone, for example rollout.example.com"),
    ("host", "*.example.com", "is a pattern, and patterns are not supported"),
    ("host", "example.com:8000", "has a port; write the host alone: example.com"),
    ("host", "[::1]:8000", "has a port; write the host alone: [::1]"),
    ("host", "bücher.example", "is sent as xn--bcher-kva.example; write that"),
    ("host", "é" * 300, "is not a host's name; write for example rollout.example.com"),
    ("host", "a..b", "is not a host's name"),
    ("host", "-a.example", "is not a host's name"),
    ("host", "a" * 64, "is not a host's name"),
    ("host", f"a{LONGEST}", "is not a host's name"),
    ("host", "a-.example", "is not a host's name"),
    ("host", "a:b:c", "is not a host's name"),
    ("oidc_redirect_url", "ftp://localhost/cb", "it is not an https address"),
    ("allowed_hosts", ("good.example", "bad host"), "bad host is not a host's name"),
    ("allowed_numbers", ("1 415 777 4444",), "1 415 777 4444 is not E.164; write +14157774444"),
    ("allowed_numbers", ("none",), "none is not E.164; write +14157774444, for example"),
    ("oidc_issuer", "http://id.example.com", "it is not an https address; write https://HOST/PATH"),
    ("oidc_issuer", "https://", "it is not an https address"),
    ("oidc_issuer", "https://a:port/", "it is not a web address; write https://HOST/PATH"),
    ("oidc_roles", ("ops",), "ops is not group=role; roles are viewer, responder, operator, admin"),
    ("oidc_roles", (" =admin",), "is not group=role"),
    ("oidc_roles", ("ops=root",), "ops=root is not group=role"),
]


@pytest.mark.parametrize(("name", "value", "words"), BAD)
def test_what_can_never_work_is_refused_with_what_to_write(name: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError) as refused:
        checked(name, value)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retell_api_key", SecretStr("hunter two")),
        ("retell_api_key", SecretStr("hunter\x7f")),
        ("notify_urls", (SecretStr("slack://ok/ok/ok"), SecretStr("hunter"))),
        ("notify_urls", (SecretStr("slack://ok/ok/ok"), SecretStr("hunter://"))),
    ],
)
def test_a_secret_that_is_refused_is_not_repeated(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"write") as refused:
        checked(name, value)
    assert "hunter" not in str(refused.value)
    if name == "notify_urls":
        assert "address 2 is not valid" in str(refused.value)
