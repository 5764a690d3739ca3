"""Endpoints about what is behind an agent: response engines by version, agent roots, tests of an engine.

Functions of a world and what was asked. Statuses and bodies follow Retell's OpenAPI (2026-08); agent roots, which it
does not have yet, follow the page of `update-agent-root` (2026-11).
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from rollout.sandbox.agents import Agent, Version
from rollout.sandbox.batch_tests import BatchTest, drawn
from rollout.sandbox.messages import BAD_REQUEST, NOT_FOUND, NOT_FOUND_ASSET, Answer, ApiError, json_answer
from rollout.sandbox.route_request import RouteRequest, json_body, paged, whole
from rollout.sandbox.world import World

EngineRoute = Callable[[World, RouteRequest], Answer]
MOST_CASES = 1000

_IDS = {"retell-llm": "llm_id", "conversation-flow": "conversation_flow_id"}


def get_llm(world: World, asked: RouteRequest) -> Answer:
    """GET /get-retell-llm/{llm_id}?version="""
    return _engine(world, asked, "retell-llm", 422)


def get_flow(world: World, asked: RouteRequest) -> Answer:
    """GET /get-conversation-flow/{conversation_flow_id}?version="""
    return _engine(world, asked, "conversation-flow", 404)


def _engine(world: World, asked: RouteRequest, kind: str, missing: int) -> Answer:
    text = asked.request.query.get("version")
    found = _behind(world, kind, asked.argument, whole(text))
    if found is None:
        raise ApiError(missing, NOT_FOUND if missing == 404 else NOT_FOUND_ASSET)
    return json_answer(found[0].engine_json(found[1]))


def get_root(world: World, asked: RouteRequest) -> Answer:
    """GET /get-agent-root/{agent_id}: its tags, with an ETag"""
    agent = world.agent(asked.argument, 404)
    return Answer(200, json_answer(agent.root_json()).body, headers=(("etag", f'"{agent.modified}"'),))


def list_cases(world: World, asked: RouteRequest) -> Answer:
    """GET /v2/list-test-case-definitions?type=&llm_id=&conversation_flow_id="""
    query = asked.request.query
    kind = query.get("type", "")
    if kind not in _IDS:
        raise ApiError(400, f"{BAD_REQUEST} type must be one of {', '.join(_IDS)}.")
    engine_id = query.get(_IDS[kind])
    if not engine_id:
        raise ApiError(400, f"{BAD_REQUEST} {_IDS[kind]} is required when type is {kind}.")
    items = [
        (order, case.to_json(agent.engine_of(version)))
        for order, case in enumerate(world.test_cases.values(), start=1)
        if (agent := world.agents.get(case.agent_id)) is not None
        and (version := agent.latest) is not None
        and agent.engine_of(version).get(_IDS[kind]) == engine_id
    ]
    return paged(asked.request, items)


def create_batch(world: World, asked: RouteRequest) -> Answer:
    """POST /create-batch-test"""
    body = json_body(asked.request)
    ids = body.get("test_case_definition_ids")
    if not isinstance(ids, list) or not 1 <= len(ids) <= MOST_CASES or not all(isinstance(item, str) for item in ids):
        raise ApiError(400, f"{BAD_REQUEST} test_case_definition_ids must be a list of 1 to {MOST_CASES} ids.")
    engine = body.get("response_engine")
    kind = engine.get("type") if isinstance(engine, dict) else None
    if not isinstance(engine, dict) or kind not in _IDS:
        raise ApiError(400, f"{BAD_REQUEST} response_engine.type must be one of {', '.join(_IDS)}.")
    engine_id, version = engine.get(_IDS[kind]), engine.get("version")
    if not isinstance(engine_id, str):
        raise ApiError(400, f"{BAD_REQUEST} response_engine.{_IDS[kind]} must be text.")
    if isinstance(version, bool) or not isinstance(version, int | Decimal | None):
        raise ApiError(400, f"{BAD_REQUEST} response_engine.version must be a number or null.")
    found = _behind(world, kind, engine_id, None if version is None else int(version))
    if found is None:
        raise ApiError(400, f"{BAD_REQUEST} There is no such response engine, or it has no such version.")
    agent, shown = found
    cases = [world.test_cases.get(item) for item in ids]
    known = [case for case in cases if case is not None and case.agent_id == agent.agent_id]
    if len(known) != len(ids):
        raise ApiError(400, f"{BAD_REQUEST} A test case does not exist, or is one of another response engine.")
    batch_id = f"batch_{len(world.batches) + 1}"
    batch = drawn(batch_id, agent, shown, known, world.seed, asked.now)
    if not asked.pretend:
        world.batches[batch_id] = batch
    return json_answer(batch.to_json(asked.now), 201)


def get_batch(world: World, asked: RouteRequest) -> Answer:
    """GET /get-batch-test/{test_case_batch_job_id}"""
    return json_answer(_batch(world, asked).to_json(asked.now))


def list_runs(world: World, asked: RouteRequest) -> Answer:
    """GET /v2/list-test-runs/{test_case_batch_job_id}"""
    batch = _batch(world, asked)
    items = [
        (order, run.to_json(batch.engine, batch.began, asked.now)) for order, run in enumerate(batch.runs, start=1)
    ]
    return paged(asked.request, items)


def _batch(world: World, asked: RouteRequest) -> BatchTest:
    found = world.batches.get(asked.argument)
    if found is None:
        raise ApiError(404, NOT_FOUND)
    return found


def _behind(world: World, kind: str, engine_id: str, number: int | None) -> tuple[Agent, Version] | None:
    """The agent and the version that this version of an engine serves; without a number the latest one."""
    for agent in world.agents.values():
        version = agent.latest if number is None else agent.versions.get(number)
        if version is not None:
            engine: dict[str, Any] = agent.engine_of(version)
            if engine["type"] == kind and engine[_IDS[kind]] == engine_id:
                return agent, version
    return None


ENGINE_ROUTES: dict[tuple[str, str], EngineRoute] = {
    ("GET", "/get-retell-llm/"): get_llm,
    ("GET", "/get-conversation-flow/"): get_flow,
    ("GET", "/get-agent-root/"): get_root,
    ("GET", "/v2/list-test-case-definitions"): list_cases,
    ("POST", "/create-batch-test"): create_batch,
    ("GET", "/get-batch-test/"): get_batch,
    ("GET", "/v2/list-test-runs/"): list_runs,
}
"""(method, path) -> route; a path that ends with a slash takes one argument."""
