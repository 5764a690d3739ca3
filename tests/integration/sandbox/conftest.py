"""A plain HTTP client for the sandbox, and the parts of Retell's specification that its answers must fit."""

import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from openapi_schema_validator import OAS30Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from rollout.sandbox import Sandbox

SPECIFICATION = Path(__file__).parents[3].parent / "shared" / "openapi" / "retell-openapi-2026-08.yaml"


class Reply(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __call__(self, method: str, path: str, body: Any = None, *, key: str | None = "key") -> Reply:
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        text = body if isinstance(body, str | bytes | None) else json.dumps(body)
        self.connection.request(method, path, text, headers)
        response = self.connection.getresponse()
        data = response.read()
        kind = response.headers.get("content-type", "")
        return Reply(
            response.status,
            json.loads(data) if "json" in kind else data,
            {k.lower(): v for k, v in response.getheaders()},
        )

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def stopped() -> Iterator[Sandbox]:
    """The ready-made world with a clock that stands still at a known instant until it is advanced."""
    with Sandbox(speed=0, epoch=1_800_000_000.0) as server:
        server.add_ready_world()
        yield server


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    made = Client(sandbox.port)
    yield made
    made.close()


@pytest.fixture
def still(stopped: Sandbox) -> Iterator[Client]:
    """A client of the stopped sandbox."""
    made = Client(stopped.port)
    yield made
    made.close()


@pytest.fixture(scope="session")
def fits() -> Callable[[str, str, int, Any], None]:
    """Asserts that a body fits the answer that Retell's specification gives for (path, method, status)."""
    if not SPECIFICATION.exists():
        pytest.skip(f"Retell's specification is not at {SPECIFICATION}")
    document = yaml.load(SPECIFICATION.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    resource = Resource.from_contents(document, default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("spec", resource)

    def check(path: str, method: str, status: int, body: Any) -> None:
        answer = document["paths"][path][method]["responses"][str(status)]
        if "$ref" in answer:
            answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
        schema = _rooted(answer["content"]["application/json"]["schema"])
        found = [error.message for error in OAS30Validator(schema, registry=registry).iter_errors(body)]
        assert not found, found

    return check


def _rooted(schema: Any) -> Any:
    """The schema with its references pointing into the registered document."""
    if isinstance(schema, dict):
        return {
            key: f"spec{value}" if key == "$ref" and str(value).startswith("#") else _rooted(value)
            for key, value in schema.items()
        }
    return [_rooted(item) for item in schema] if isinstance(schema, list) else schema
