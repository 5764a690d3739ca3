"""Retell's own OpenAPI document, when it is there: does it allow what the client sent?"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from openapi_schema_validator import OAS30Validator

FILE = Path(__file__).parents[4] / "shared" / "openapi" / "retell-openapi-2026-08.yaml"
NEWER = (
    "/v2/list-agents",
    "/list-agent-versions/",
    "/get-agent-root/",
)  # endpoints that the document does not know yet


@cache
def document() -> dict[str, Any]:
    with FILE.open("rb") as file:
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def complaints(method: str, target: str, body: bytes, document: dict[str, Any]) -> list[str]:
    """What the document has against this request; empty if nothing."""
    url = urlsplit(target)
    if url.path.startswith(NEWER):
        return []
    for template, operations in document["paths"].items():
        pattern = re.sub(r"\\\{\w+\\\}", "([^/]+)", re.escape(template))
        match = re.fullmatch(pattern, url.path)
        if match and method.lower() in operations:
            break
    else:
        return [f"{method} {url.path} is not in the document"]
    operation = operations[method.lower()]
    found = _query(operation, url.query, document)
    if not body:
        return found
    schema = operation["requestBody"]["content"]["application/json"]["schema"]

    validator = OAS30Validator({**schema, "components": document["components"]})
    return found + [error.message for error in validator.iter_errors(json.loads(body))]


def _query(operation: dict[str, Any], query: str, document: dict[str, Any]) -> list[str]:
    known: dict[str, Any] = {}
    for parameter in operation.get("parameters", []):
        while "$ref" in parameter:
            parameter = document["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
        known[parameter["name"]] = parameter["schema"]
    found = []
    for name, values in parse_qs(query).items():
        if name not in known:
            found.append(f"query parameter {name} is not in the document")
            continue
        if name == "version" and not values[0].isdigit():
            continue  # a tag: the SDK sends it, the document is older
        value: Any = int(values[0]) if known[name].get("type") == "integer" else values[0]
        found += [error.message for error in OAS30Validator(known[name]).iter_errors(value)]
    return found
