"""Retell's endpoints as functions from a request to an answer. Never touches a socket.

Statuses and bodies follow Retell's OpenAPI (2026-08) and, where that is older, its SDK 6.2.
"""

from collections.abc import Callable
from typing import Any, Literal

from rollout.sandbox.agents import Version, version_list_json
from rollout.sandbox.engine_routes import ENGINE_ROUTES
from rollout.sandbox.filters import compile_filter, lower_bound, only_number, page
from rollout.sandbox.messages import (
    BAD_REQUEST,
    NOT_FOUND,
    NOT_FOUND_ASSET,
    PRECONDITION_FAILED,
    UNAUTHORIZED,
    Answer,
    ApiError,
    Request,
    error_answer,
    json_answer,
)
from rollout.sandbox.numbers import Number, State
from rollout.sandbox.route_request import BEFORE_LAST, RouteRequest, json_body, paged, whole
from rollout.sandbox.rules import check_assets, read_patch
from rollout.sandbox.world import World

Route = Callable[["Routes", RouteRequest], Answer]
Preconditions = Literal["honoured", "ignored"]
"""Numbers are shown with an ETag, and an If-Match that does not fit is answered 412, or is not looked at."""


class Routes:
    """The Retell API over one world."""

    def __init__(
        self, world: World, key: str | None, strict: bool = False, preconditions: Preconditions | None = None
    ) -> None:
        self.world = world
        self.key = key
        self.strict = strict
        self.preconditions = preconditions

    def handle(self, asked: RouteRequest) -> Answer:
        """Check the key, find the route, run it; every refusal has Retell's error body."""
        try:
            request = asked.request
            self._authorize(request)
            key = (request.method, request.path)
            if key not in ROUTES and key not in ENGINE_ROUTES:
                head, _, asked.argument = request.path.rpartition("/")
                key = (request.method, head + "/")
                if not asked.argument or (key not in ROUTES and key not in ENGINE_ROUTES):
                    raise ApiError(404, NOT_FOUND)
            return ROUTES[key](self, asked) if key in ROUTES else ENGINE_ROUTES[key](self.world, asked)
        except ApiError as error:
            return error_answer(error.status, error.message)

    def _authorize(self, request: Request) -> None:
        """`Authorization: Bearer KEY`; any key will do unless the sandbox was given one."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key or self.key not in (None, key):
            raise ApiError(401, UNAUTHORIZED)

    # -- phone numbers

    def get_number(self, asked: RouteRequest) -> Answer:
        """GET /get-phone-number/{phone_number}"""
        number = self.world.number(asked.argument)
        seen = _seen(number, asked)
        return Answer(200, seen.to_bytes(number), headers=self._etag(seen))

    def _etag(self, state: State) -> tuple[tuple[str, str], ...]:
        return () if self.preconditions is None else (("etag", f'"{state.timestamp}"'),)

    def update_number(self, asked: RouteRequest) -> Answer:
        """PATCH /update-phone-number/{phone_number}"""
        world = self.world
        number = world.number(asked.argument)
        changes = read_patch(json_body(asked.request), asked.argument, strict=self.strict)
        check_assets(changes, world.agents, world.numbers.get)
        wanted = asked.request.headers.get("if-match")
        if self.preconditions == "honoured" and wanted not in (None, "*", f'"{number.timestamp}"'):
            raise ApiError(412, PRECONDITION_FAILED)
        if asked.pretend:
            return Answer(200, world.changed(number, changes, asked.now, "patch", None).to_bytes(number))
        state = world.apply(number, changes, asked.now, by="patch", seq=asked.seq)
        return Answer(
            200, state.to_bytes(number), headers=self._etag(state), applied=changes, timestamp=state.timestamp
        )

    def list_numbers(self, asked: RouteRequest) -> Answer:
        """GET /v2/list-phone-numbers: by creation, newest first unless told otherwise."""
        ordered = sorted(self.world.numbers.values(), key=lambda number: number.order)
        return paged(asked.request, [(number.order, _seen(number, asked).to_json(number)) for number in ordered])

    # -- agents

    def get_agent(self, asked: RouteRequest) -> Answer:
        """GET /get-agent/{agent_id}?version= (number or tag; latest, perhaps a draft, when left out)"""
        agent = self.world.agent(asked.argument)
        text = asked.request.query.get("version")
        number = whole(text)
        version = agent.resolve(text if number is None else number)
        if version is None:
            raise ApiError(422, NOT_FOUND_ASSET)
        return json_answer(agent.version_json(version))

    def list_agents(self, asked: RouteRequest) -> Answer:
        """POST /v2/list-agents, with filters channel and query; the page is asked for in the query string."""
        criteria = json_body(asked.request).get("filter_criteria") or {}
        if not isinstance(criteria, dict):
            raise ApiError(400, f"{BAD_REQUEST} filter_criteria must be an object.")
        channel = (criteria.get("channel") or {}).get("value")
        text = str(criteria.get("query") or "")
        items = [
            (order, agent.list_json())
            for order, agent in enumerate(self.world.agents.values(), start=1)
            if channel in (None, agent.channel) and (text.lower() in agent.name.lower() or text in agent.agent_id)
        ]
        return paged(asked.request, items)

    def list_versions(self, asked: RouteRequest) -> Answer:
        """GET /list-agent-versions/{agent_id}, as today's SDK asks"""
        versions = sorted(self.world.agent(asked.argument).versions.items())
        return paged(asked.request, [(number + 1, version_list_json(version)) for number, version in versions])

    def get_versions(self, asked: RouteRequest) -> Answer:
        """GET /get-agent-versions/{agent_id}, the older bare list"""
        agent = self.world.agent(asked.argument)
        return json_answer([agent.version_json(version) for _, version in sorted(agent.versions.items())])

    def create_version(self, asked: RouteRequest) -> Answer:
        """POST /create-agent-version/{agent_id}"""
        agent = self.world.agent(asked.argument, 404)
        base = self._version(asked.argument, json_body(asked.request).get("base_version"), "base_version")
        return json_answer(agent.version_json(self.world.create_version(agent, base, asked.now)), 201)

    def publish_version(self, asked: RouteRequest) -> Answer:
        """POST /publish-agent-version/{agent_id}: 200 with an empty body"""
        agent = self.world.agent(asked.argument, 404)
        body = json_body(asked.request)
        version = self._version(asked.argument, body.get("version"), "version")
        title = body.get("version_title")
        self.world.publish(agent, version, title if isinstance(title, str) else None, asked.now)
        return Answer(200)

    def delete_version(self, asked: RouteRequest) -> Answer:
        """DELETE /delete-agent-version/{agent_id}?version=: 204"""
        agent = self.world.agent(asked.argument, 404)
        version = self._version(asked.argument, whole(asked.request.query.get("version")), "version")
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

    def list_calls(self, asked: RouteRequest) -> Answer:
        """POST /v3/list-calls"""
        return self._conversations(asked, chats=False)

    def list_chats(self, asked: RouteRequest) -> Answer:
        """POST /v3/list-chats"""
        return self._conversations(asked, chats=True)

    def _conversations(self, asked: RouteRequest, *, chats: bool) -> Answer:
        body = json_body(asked.request)
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

    def get_call(self, asked: RouteRequest) -> Answer:
        """GET /v2/get-call/{call_id}"""
        call = self.world.conversation(asked.argument, asked.now)
        if call.is_chat:
            raise ApiError(422, NOT_FOUND_ASSET)
        return json_answer(call.to_json(asked.now, transcript=True))

    def key_info(self, _asked: RouteRequest) -> Answer:
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


def _seen(number: Number, asked: RouteRequest) -> State:
    """The state that a read shows."""
    if asked.as_of is None:
        return number.state
    if asked.as_of == BEFORE_LAST:
        return number.states[-2] if len(number.states) > 1 else number.state
    return number.state_at(asked.as_of)
