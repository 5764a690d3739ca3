"""A company's network: Retell behind a proxy by a private authority, PostgreSQL behind PgBouncer in session mode."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.processes import replicas
from tests.processes.campaign import Tally
from tests.processes.nursery import Nursery
from tests.processes.stage import KEY, Stage, new_sandbox, new_stage
from tests.support.pgbouncer import bouncer, through
from tests.support.tunnel import Proxy, TlsFront, authority

HOST = "api.retell.test"


@dataclass(frozen=True)
class Company:
    """A stage whose only way to Retell is the proxy, and whose only way to the database is PgBouncer."""

    stage: Stage
    proxy: Proxy
    front: TlsFront


@contextmanager
def new_company(nursery: Nursery, postgres_url: str) -> Iterator[Company]:
    """The network, and a stage in it, on this database."""
    with ExitStack() as stack:
        private = authority(Path(stack.enter_context(TemporaryDirectory(prefix="rollout-authority-"))), HOST)
        sandbox = stack.enter_context(new_sandbox())
        front = stack.enter_context(TlsFront(private, sandbox.port))
        proxy = stack.enter_context(Proxy({f"{HOST}:443": front.port}))
        port = stack.enter_context(bouncer(postgres_url))
        network = {
            "ROLLOUT_RETELL_BASE_URL": f"https://{HOST}",
            "HTTPS_PROXY": proxy.url.replace("//", "//rollout:a%20password@"),
            "NO_PROXY": "localhost,127.0.0.1,.internal",
            "SSL_CERT_FILE": str(private.ca),
        }
        before = {name: os.environ.get(name) for name in network if not name.startswith("ROLLOUT_")}
        stack.callback(_put_back, before)
        os.environ.update({name: network[name] for name in before})
        stage = new_stage(nursery, through(postgres_url, port), sandbox, network=network)
        yield Company(stack.enter_context(stage), proxy, front)


def _put_back(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def with_a_kill(company: Company, rng: random.Random, rollouts: int) -> Tally:
    """So many rollouts by two services, one of which is killed once; with what the proxy saw besides."""
    tally = replicas.with_kills(company.stage, rng, rollouts, (1.0, 2.0), replicas=2, parts=2, most=1)
    if sum(tally.kills.values()) != 1:
        tally.faults.append(f"{sum(tally.kills.values())} kills instead of one")
    asked = {head.split("\r\n")[0] for head in company.proxy.asked}
    if asked != {f"CONNECT {HOST}:443 HTTP/1.1"}:
        tally.faults.append(f"the proxy was asked for {asked}")
    if company.front.accepted != len(company.proxy.asked):
        tally.faults.append("somebody reached Retell past the proxy")
    if KEY.encode() in company.proxy.heard:
        tally.faults.append("the proxy heard the key")
    return tally
