"""Retell's endpoints as functions from a request to an answer. Never touches a socket.

Statuses and bodies follow Retell's OpenAPI (2026-08) and, where that is older, its SDK 6.2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rollout.sandbox.agents import Version, version_list_json
from rollout.sandbox.filters import compile_filter, lower_bound, only_number, page
from rollout.sandbox.messages import (
    BAD_REQUEST,
    NOT_FOUND,
    NOT_FOUND_ASSET,
    UNAUTHORIZED,
    Answer,
    ApiError,
    Request,
    dump,
    error_answer,
    json_answer,
    read_object,
)
from rollout.sandbox.numbers import Number, State
from rollout.sandbox.rules import check_assets, read_patch
from rollout.sandbox.world import World

BEFORE_LAST = float("-inf")
"""As a time to look back to: each number as it was before its last change."""


@dataclass(slots=True)
class Asked:
    """What a route is told."""

    request: Request
    now: float
    """Seconds of the sandbox's clock."""
    argument: str = ""
    """The last part of the path, for routes that take one."""
    seq: int | None = None
    as_of: float | None = None
    """Stale read: show the state of this time, or `BEFORE_LAST`."""
    pretend: bool = False
    """Lying write: answer as if it had been applied, and apply nothing."""


Route = Callable[["Routes", Asked], Answer]


class Routes:
    """The Retell API over one world."""

    def __init__(self, world: World, key: str | None, strict: bool = False) -> None:
        self.world = world
        self.key = key
        self.strict = strict

    def handle(self, asked: Asked) -> Answer:
        """Check the key, find the route, run it; every refusal has Retell's error body."""
        try:
            request = asked.request
            self._authorize(request)
            route = ROUTES.get((request.method, request.path))
            if route is None:
                head, _, asked.argument = request.path.rpartition("/")
                route = ROUTES.get((request.method, head + "/")) if asked.argument else None
            if route is None:
                raise ApiError(404, NOT_FOUND)
            return route(self, asked)
        except ApiError as error:
            return error_answer(error.status, error.message)

    def _authorize(self, request: Request) -> None:
        """`Authorization: Bearer KEY`; any key will do unless the sandbox was given one."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key or self.key not in (None, key):
            raise ApiError(401, UNAUTHORIZED)

    # -- phone numbers

    def get_number(self, asked: Asked) -> Answer:
        """GET /get-phone-number/{phone_number}"""
        number = self.world.number(asked.argument)
        return Answer(200, _seen(number, asked).to_bytes(number))

    def update_number(self, asked: Asked) -> Answer:
        """PATCH /update-phone-number/{phone_number}"""
        world = self.world
        number = world.number(asked.argument)
        changes = read_patch(_json_body(asked.request), asked.argument, strict=self.strict)
        check_assets(changes, world.agents, world.numbers.get)
        if asked.pretend:
            return Answer(200, world.changed(number, changes, asked.now, "patch", None).to_bytes(number))
        state = world.apply(number, changes, asked.now, by="patch", seq=asked.seq)
        return Answer(200, state.to_bytes(number), applied=changes, timestamp=state.timestamp)

    def list_numbers(self, asked: Asked) -> Answer:
        """GET /v2/list-phone-numbers: by creation, newest first unless told otherwise."""
        ordered = sorted(self.world.numbers.values(), key=lambda number: number.order)
        return _paged(asked.request, [(number.order, _seen(number, asked).to_json(number)) for number in ordered])

    # -- agents

    def get_agent(self, asked: Asked) -> Answer:
        """GET /get-agent/{agent_id}?version= (number or tag; latest, perhaps a draft, when left out)"""
        agent = self.world.agent(asked.argument)
        text = asked.request.query.get("version")
        number = _whole(text)
        version = agent.resolve(text if number is None else number)
        if version is None:
            raise ApiError(422, NOT_FOUND_ASSET)
        return json_answer(agent.version_json(version))

    def list_agents(self, asked: Asked) -> Answer:
        """POST /v2/list-agents, with filters channel and query; the page is asked for in the query string."""
        criteria = _json_body(asked.request).get("filter_criteria") or {}
        if not isinstance(criteria, dict):
            raise ApiError(400, f"{BAD_REQUEST} filter_criteria must be an object.")
        channel = (criteria.get("channel") or {}).get("value")
        text = str(criteria.get("query") or "")
        items = [
            (order, agent.list_json())
            for order, agent in enumerate(self.world.agents.values(), start=1)
            if channel in (None, agent.channel) and (text.lower() in agent.name.lower() or text in agent.agent_id)
        ]
        return _paged(asked.request, items)

    def list_versions(self, asked: Asked) -> Answer:
        """GET /list-agent-versions/{agent_id}, as today's SDK asks"""
        versions = sorted(self.world.agent(asked.argument).versions.items())
        return _paged(asked.request, [(number + 1, version_list_json(version)) for number, version in versions])

    def get_versions(self, asked: Asked) -> Answer:
        """GET /get-agent-versions/{agent_id}, the older bare list"""
        agent = self.world.agent(asked.argument)
        return json_answer([agent.version_json(version) for _, version in sorted(agent.versions.items())])

    def create_version(self, asked: Asked) -> Answer:
        """POST /create-agent-version/{agent_id}"""
        agent = self.world.agent(asked.argument, 404)
        base = self._version(asked.argument, _json_body(asked.request).get("base_version"), "base_version")
        return json_answer(agent.version_json(self.world.create_version(agent, base, asked.now)), 201)

    def publish_version(self, asked: Asked) -> Answer:
        """POST /publish-agent-version/{agent_id}: 200 with an empty body"""
        agent = self.world.agent(asked.argument, 404)
        body = _json_body(asked.request)
        version = self._version(asked.argument, body.get("version"), "version")
        title = body.get("version_title")
        self.world.publish(agent, version, title if isinstance(title, str) else None, asked.now)
        return Answer(200)

    def delete_version(self, asked: Asked) -> Answer:
        """DELETE /delete-agent-version/{agent_id}?version=: 204"""
        agent = self.world.agent(asked.argument, 404)
        version = self._version(asked.argument, _whole(asked.request.query.get("version")), "version")
        self.world.delete_version(agent, version.number, asked.now)
        return Answer(204)

    def _version(self, agent_id: str, number: object, name: str) -> Version:
        if not isinstance(number, int) or isinstance(number, bool):
            raise ApiError(400, f"{BAD_REQUEST} {name} must be an integer.")
        found = self.world.agent(agent_id, 404).versions.get(number)
        if found is None:
            raise ApiError(404, NOT_FOUND)
        return found

    # -- calls, chats, the key

    def list_calls(self, asked: Asked) -> Answer:
        """POST /v3/list-calls"""
        return self._conversations(asked, chats=False)

    def list_chats(self, asked: Asked) -> Answer:
        """POST /v3/list-chats"""
        return self._conversations(asked, chats=True)

    def _conversations(self, asked: Asked, *, chats: bool) -> Answer:
        body = _json_body(asked.request)
        criteria = body.get("filter_criteria", {})
        tests = compile_filter(criteria, chats=chats)
        seen = asked.now if asked.as_of in (None, BEFORE_LAST) else asked.as_of
        candidates = self.world.conversations(
            asked.now, chats=chats, number=only_number(criteria), since_ms=lower_bound(criteria)
        )
        found = [call for call in candidates if call.start <= seen and all(test(call, seen) for test in tests)]
        items, more, key, total = page(found, body)
        answer: dict[str, Any] = {"items": [call.to_json(seen) for call in items], "has_more": more}
        if key is not None:
            answer["pagination_key"] = key
        if body.get("include_total") is True:
            answer["total"] = total
        return json_answer(answer)

    def get_call(self, asked: Asked) -> Answer:
        """GET /v2/get-call/{call_id}"""
        call = self.world.conversation(asked.argument, asked.now)
        if call.is_chat:
            raise ApiError(422, NOT_FOUND_ASSET)
        return json_answer(call.to_json(asked.now, transcript=True))

    def key_info(self, _asked: Asked) -> Answer:
        """GET /get-api-key-info"""
        return json_answer({"api_key_name": "sandbox", "org_id": "org_sandbox", "org_name": "Sandbox"})


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/get-phone-number/"): Routes.get_number,
    ("PATCH", "/update-phone-number/"): Routes.update_number,
    ("GET", "/v2/list-phone-numbers"): Routes.list_numbers,
    ("GET", "/get-agent/"): Routes.get_agent,
    ("POST", "/v2/list-agents"): Routes.list_agents,
    ("GET", "/list-agent-versions/"): Routes.list_versions,
    ("GET", "/get-agent-versions/"): Routes.get_versions,
    ("POST", "/create-agent-version/"): Routes.create_version,
    ("POST", "/publish-agent-version/"): Routes.publish_version,
    ("DELETE", "/delete-agent-version/"): Routes.delete_version,
    ("POST", "/v3/list-calls"): Routes.list_calls,
    ("POST", "/v3/list-chats"): Routes.list_chats,
    ("GET", "/v2/get-call/"): Routes.get_call,
    ("GET", "/get-api-key-info"): Routes.key_info,
}
"""(method, path) -> route; a path that ends with a slash takes one argument."""


def _seen(number: Number, asked: Asked) -> State:
    """The state that a read shows."""
    if asked.as_of is None:
        return number.state
    if asked.as_of == BEFORE_LAST:
        return number.states[-2] if len(number.states) > 1 else number.state
    return number.state_at(asked.as_of)


def _whole(text: str | None) -> int | None:
    """A number of at most nine digits; None for anything else."""
    return int(text) if text is not None and len(text) < 10 and text.isascii() and text.isdigit() else None


def _json_body(request: Request) -> dict[str, Any]:
    """The body, which must be declared as JSON: a server that skips other types would apply nothing."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.body and kind != "application/json":
        raise ApiError(400, f"{BAD_REQUEST} Send Content-Type: application/json.")
    return read_object(request.body, required=request.method == "PATCH")


def _paged(request: Request, items: list[tuple[int, dict[str, Any]]]) -> Answer:
    """One page of items with a rising order number, by limit, sort_order and pagination_key of the query."""
    limit = _whole(request.query.get("limit", "50"))
    if limit is None or not 1 <= limit <= 1000:
        raise ApiError(400, f"{BAD_REQUEST} limit must be an integer from 1 to 1000.")
    order = request.query.get("sort_order", "descending")
    if order not in ("ascending", "descending"):
        raise ApiError(400, f"{BAD_REQUEST} sort_order must be ascending or descending.")
    descending = order == "descending"
    rest = sorted(items, key=lambda item: item[0], reverse=descending)
    if "pagination_key" in request.query:
        key = _whole(request.query["pagination_key"])
        if key is None:
            raise ApiError(400, f"{BAD_REQUEST} pagination_key is not one that was given out.")
        rest = [item for item in rest if (item[0] < key if descending else item[0] > key)]
    answer: dict[str, Any] = {"items": [shown for _, shown in rest[:limit]], "has_more": len(rest) > limit}
    if len(rest) > limit:
        answer["pagination_key"] = str(rest[limit - 1][0])
    return Answer(200, dump(answer))
