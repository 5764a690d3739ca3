"""Which hosts a plan's metrics may be read from: the attacks on that rule, and what it lets through."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from rollout.adapters.metric_sources.allowed_hosts import AllowedAddress, MetricHosts, ValueUnreadable, addresses
from rollout.domain.errors import SettingsError
from tests.support.values import plan

NAME = "metrics.example.com"


def answers(*found: str) -> Any:
    """A resolver that gives these addresses, and counts how often it is asked."""

    def lookup(host: str, port: int, **_: object) -> list[Any]:
        lookup.asked += 1
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in at], socket.SOCK_STREAM, 6, "", (at, port)) for at in found]

    lookup.asked = 0
    return lookup


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "localhost",
        "localhost.",
        "169.254.169.254",
        "[fd00::1]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "100.64.0.1",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[::127.0.0.1]",
        "224.0.0.1",
        "255.255.255.255",
        f"{NAME}.",
        "evil.example",
        f"{NAME}.evil.example",
        f"{NAME}%00",
        "xn--",
        "①②⑦.0.0.1",
    ],
)
@pytest.mark.parametrize("port", ["", ":443", ":8080"])
def test_no_spelling_of_a_host_that_is_not_listed_passes(host: str, port: str) -> None:
    for scheme in ("http", "https"):
        with pytest.raises(ValueUnreadable):
            MetricHosts([NAME]).place(f"{scheme}://{host}{port}/x")


@pytest.mark.parametrize(
    "listed", ["127.0.0.1", "localhost", "::1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "fd00::1", "0.0.0.0"]
)
def test_a_host_inside_the_network_is_refused_without_its_port(listed: str) -> None:
    shown = f"[{listed}]" if ":" in listed else listed
    with pytest.raises(
        ValueUnreadable, match=r"metrics may not be read from|inside the network; only an entry with its port"
    ):
        place = MetricHosts([listed]).place(f"https://{shown}/x")
        addresses(place, answers())


@pytest.mark.parametrize(
    "listed",
    [
        "169.254.169.254:443",
        "0.0.0.0:443",
        "[::ffff:10.0.0.1]:443",
        "224.0.0.1:443",
        "[fe80::1]:443",
        "[64:ff9b::a00:1]:443",
    ],
)
def test_some_addresses_are_refused_even_with_their_port(listed: str) -> None:
    with pytest.raises(ValueUnreadable, match="metrics may not be read from"):
        MetricHosts([listed]).place(f"https://{listed}/x")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://metrics.example.com/",
        "ftp://metrics.example.com/",
        "//metrics.example.com",
        "https://a@metrics.example.com/",
        "https://metrics.example.com@127.0.0.1/",
        "https://127.0.0.1#@metrics.example.com",
        "https://metrics.example.com/#x",
        "https://metrics.example.com\\@127.0.0.1/",
        "https://metrics.exam\tple.com/",
        "https://metrics.example.com/a b",
        "https://metrics.example.com/\r\nHost: x",
        "https://metrics.example.com:0/",
        "https://metrics.example.com:99999/",
        "https://[metrics.example.com/",
        "https://",
        "http://metrics.example.com/",
        "https://metrics.example.com/é",
        "",
    ],
)
def test_addresses_that_could_be_read_in_two_ways_are_refused(url: str) -> None:
    with pytest.raises(ValueUnreadable):
        MetricHosts([NAME]).place(url)


def test_what_is_listed_passes() -> None:
    hosts = MetricHosts([NAME, "10.0.0.7:9090", "localhost:9090", "[::1]:9090", "2606:4700::1111", "8.8.8.8"])
    assert hosts.place("https://Metrics.Example.com/a?b=c") == AllowedAddress("https", NAME, 443, "/a?b=c", False)
    assert hosts.place(f"https://{NAME}:8443") == AllowedAddress("https", NAME, 8443, "/", False)
    assert hosts.place("https://10.0.0.7:9090/x").inside
    assert hosts.place("http://localhost:9090/x").authority == "localhost:9090"
    assert hosts.place("http://[0:0::1]:9090/x").authority == "[::1]:9090"
    assert hosts.place("https://[2606:4700::1111]/x").authority == "[2606:4700::1111]"
    assert hosts.place("https://8.8.8.8/").authority == "8.8.8.8"
    for url in ("http://10.0.0.7:9090/", "https://10.0.0.7/", "https://localhost:9091/", "http://localhost/"):
        with pytest.raises(ValueUnreadable):
            hosts.place(url)


@pytest.mark.parametrize(
    "found",
    [
        ("127.0.0.1",),
        ("93.184.216.34", "127.0.0.1"),
        ("10.0.0.1",),
        ("::1",),
        ("::ffff:93.184.216.34",),
        ("169.254.169.254",),
        ("64:ff9b::7f00:1",),
        ("100.64.0.1",),
        ("fd00::1",),
        ("fe80::1%eth0",),
        (),
    ],
)
def test_a_name_is_refused_with_any_address_that_is(found: tuple[str, ...]) -> None:
    with pytest.raises(ValueUnreadable):
        addresses(MetricHosts([NAME]).place(f"https://{NAME}/"), answers(*found))


def test_a_name_with_its_port_may_lead_into_the_network_and_never_to_this_machine() -> None:
    place = MetricHosts([f"{NAME}:9090"]).place(f"https://{NAME}:9090/")
    assert addresses(place, answers("10.0.0.1")) == [(socket.AF_INET, "10.0.0.1")]
    for bad in ("127.0.0.1", "::1", "169.254.169.254", "0.0.0.0"):
        with pytest.raises(ValueUnreadable):
            addresses(place, answers(bad))


def test_a_name_is_looked_up_once_and_localhost_never() -> None:
    lookup = answers("93.184.216.34")
    assert addresses(MetricHosts([NAME]).place(f"https://{NAME}/"), lookup) == [(socket.AF_INET, "93.184.216.34")]
    assert lookup.asked == 1
    local = addresses(MetricHosts(["localhost:9090"]).place("http://localhost:9090/"), lookup)
    assert [at for _, at in local] == ["127.0.0.1", "::1"]
    assert lookup.asked == 1


@pytest.mark.parametrize(
    "entry",
    [
        "https://metrics.example.com",
        "metrics.example.com/x",
        "a b",
        "",
        "127.1",
        "metrics.example.com:0",
        "metrics.example.com:x",
        "a@b",
        "*.example.com",
    ],
)
def test_an_entry_that_is_no_host_is_refused_at_the_start(entry: str) -> None:
    with pytest.raises(SettingsError, match=r"ROLLOUT_METRIC_HOSTS: .* write for example"):
        MetricHosts([entry])


def test_problems_name_the_field() -> None:
    metrics = [
        {"name": "success"},
        {"name": "errors", "prometheus": {"url": "https://x.example:9090", "query": "up", "max": 1}},
        {"name": "rate", "http": {"url": f"https://{NAME}/x", "field": "value", "max": 1}},
        {"name": "again", "prometheus": {"url": f"https://{NAME}/?a=b", "query": "up", "max": 1}},
    ]
    made = plan(gates={"metrics": metrics})
    assert MetricHosts([NAME]).problems(made) == [
        (
            "gates.metrics[1].prometheus.url: the host x.example:9090 is not in ROLLOUT_METRIC_HOSTS; have it added "
            "to the service's settings, or write an address whose host is listed"
        ),
        "gates.metrics[3].prometheus.url: it has a query of its own; write only the server's address",
    ]
    assert len(MetricHosts([]).problems(made)) == 3
    assert MetricHosts([]).problems(plan()) == []
