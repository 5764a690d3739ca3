"""The control routes under /sandbox/: HTTP in front of the operations. They need no key.

A wrong request is answered 400 with Retell's error body and a sentence that names the field.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rollout.sandbox.control import Operations
from rollout.sandbox.faults import KINDS
from rollout.sandbox.messages import Answer, ApiError, Request, error_answer, json_answer, plain, read_object


@dataclass(frozen=True, slots=True)
class Ask:
    """The request that a control route answers."""

    operations: Operations
    request: Request
    arguments: list[str]


ControlRoute = Callable[[Ask], Any]


class Control:
    """Dispatches `/sandbox/...`; the pattern's `*` are the arguments."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def handle(self, request: Request) -> Answer:
        """The answer of a control route."""
        parts = request.path.strip("/").split("/")[1:]
        try:
            for (method, pattern), route in CONTROL_ROUTES.items():
                wanted = pattern.split("/") if pattern else []
                if method == request.method and len(wanted) == len(parts):
                    pairs = list(zip(wanted, parts, strict=True))
                    if all(want in ("*", part) for want, part in pairs):
                        arguments = [part for want, part in pairs if want == "*"]
                        found = route(Ask(self._operations, request, arguments))
                        return json_answer({"status": "ok"} if found is None else found)
            known = ", ".join(f"{method} /sandbox/{pattern}" for method, pattern in CONTROL_ROUTES)
            return error_answer(404, f"There is no {request.method} {request.path}; there are {known}")
        except ApiError as error:
            return error_answer(error.status, error.message)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return error_answer(400, str(error))


def _body(request: Request) -> dict[str, Any]:
    body: dict[str, Any] = plain(read_object(request.body))
    return body


def _number(request: Request) -> str | None:
    """The `number` of the query string, where a `+` may have been read as a space."""
    number = request.query.get("number")
    return None if number is None else number.replace(" ", "+")


def _named(request: Request, name: str) -> tuple[str, dict[str, Any]]:
    """A required text field, and the other fields."""
    body = _body(request)
    value = body.pop(name, None)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is missing: write it as text")
    return value, body


def _summary(ask: Ask) -> Any:
    return {
        "clock": ask.operations.clock(),
        "numbers": [number.phone_number for number in ask.operations.numbers()],
        "requests": len(ask.operations.log()),
        "faults": len(ask.operations.faults()),
        "routes": [f"{method} /sandbox/{pattern}" for method, pattern in CONTROL_ROUTES],
    }


def _log(ask: Ask) -> Any:
    query = ask.request.query
    since = int(query.get("since", "0"))
    return ask.operations.log(since=since, number=_number(ask.request), method=query.get("method"))


def _add_faults(ask: Ask) -> Any:
    """One fault, or a list of them."""
    text = ask.request.body.strip()
    items = _body(ask.request) if text.startswith(b"{") else json.loads(text or b"null")
    items = [items] if isinstance(items, dict) else items
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError('Send one fault, {"kind": "drop_after", "method": "PATCH"}, or a list of them')
    made = []
    for item in items:
        kind = item.pop("kind", None)
        if not isinstance(kind, str):
            raise ValueError(f"kind is missing: write one of {', '.join(KINDS)}")
        made.append(ask.operations.fault(kind, **item).to_json())
    return made


def _edit(ask: Ask) -> Any:
    number, fields = _named(ask.request, "number")
    return ask.operations.edit(number, **fields).to_json()


def _add_number(ask: Ask) -> Any:
    number, fields = _named(ask.request, "number")
    return ask.operations.add_number(number, **fields).to_json()


def _add_agent(ask: Ask) -> Any:
    agent_id, fields = _named(ask.request, "agent_id")
    agent = ask.operations.add_agent(agent_id, **fields)
    return agent.list_json() | {"versions": sorted(agent.versions)}


def _add_test_case(ask: Ask) -> Any:
    case_id, fields = _named(ask.request, "test_case_definition_id")
    made = ask.operations.add_test_case(case_id, **fields)
    return {"test_case_definition_id": made.case_id, "name": made.name, "agent_id": made.agent_id}


def _delete_version(ask: Ask) -> Any:
    ask.operations.delete_version(ask.arguments[0], int(ask.arguments[1]))


def _calls(ask: Ask) -> Any:
    chats = ask.request.query.get("chats") == "true"
    return ask.operations.calls(_number(ask.request), chats=chats)


def _set_clock(ask: Ask) -> Any:
    return ask.operations.clock(**_body(ask.request))


def _webhook(ask: Ask) -> Any:
    url, fields = _named(ask.request, "url")
    ask.operations.webhook(url, **fields)


CONTROL_ROUTES: dict[tuple[str, str], ControlRoute] = {
    ("GET", ""): _summary,
    ("GET", "log"): _log,
    ("DELETE", "log"): lambda ask: ask.operations.clear_log(),
    ("GET", "faults"): lambda ask: [fault.to_json() for fault in ask.operations.faults()],
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): lambda ask: ask.operations.clear_faults(),
    ("POST", "edit"): _edit,
    ("GET", "numbers"): lambda ask: [item.to_json() for item in ask.operations.numbers()],
    ("POST", "numbers"): _add_number,
    ("DELETE", "numbers/*"): lambda ask: ask.operations.delete_number(*ask.arguments),
    ("GET", "numbers/*/history"): lambda ask: ask.operations.history(*ask.arguments),
    ("POST", "agents"): _add_agent,
    ("DELETE", "agents/*/versions/*"): _delete_version,
    ("POST", "test-cases"): _add_test_case,
    ("GET", "calls"): _calls,
    ("GET", "clock"): lambda ask: ask.operations.clock(),
    ("POST", "clock"): _set_clock,
    ("GET", "webhook"): lambda ask: ask.operations.sent_events(),
    ("POST", "webhook"): _webhook,
    ("DELETE", "webhook"): lambda ask: ask.operations.webhook(None),
    ("POST", "reset"): lambda ask: ask.operations.reset(),
}
"""(method, path below /sandbox/) -> route."""
