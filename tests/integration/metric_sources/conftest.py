"""A server of metrics, and what reads from it."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.metric_sources.poller import ExternalMetrics
from rollout.domain.plan.metrics import Http, Prometheus
from tests.integration.metric_sources.provider import Provider
from tests.support.clock import FakeClock
from tests.support.parts import need


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.stop()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def externals(provider: Provider, clock: FakeClock) -> Iterator[Callable[..., ExternalMetrics]]:
    """Makes readers that may ask the provider; a read serves for 10 s of the test's clock."""
    made: list[ExternalMetrics] = []

    def make(**options: Any) -> ExternalMetrics:
        hosts = options.pop("hosts", (provider.host,))
        made.append(ExternalMetrics(hosts, clock, **{"fresh": 10.0, "within": 10.0, "short": 10.0} | options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody trusts, with its key, in one file."""
    need("openssl", "apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -keyout {folder}/key.pem -out {folder}/cert.pem"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return both


@pytest.fixture
def secure(certificate: Path) -> Iterator[Provider]:
    """The provider, speaking TLS as localhost."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    made = Provider(context)
    yield made
    made.stop()


def http(url: str, field: str = "value", **limits: Any) -> Http:
    return Http.model_validate({"url": url, "field": field, **(limits or {"max": 0.05})})


def prometheus(url: str, query: str = "up", **limits: Any) -> Prometheus:
    return Prometheus.model_validate({"url": url, "query": query, **(limits or {"max": 0.05})})
