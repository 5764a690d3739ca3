"""A server of other hands: one number, one agent and its tests, and the product beside it on a clock of the test's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from rollout.app import App, build
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.state import Rollout
from rollout.settings import Settings
from tests.integration.retell.retell_peer import KEY, NUMBER, Peer, Seen, http
from tests.support.clock import FakeClock
from tests.support.scene import ScriptedGates
from tests.support.values import plan

AGENT, LLM, CASES = "agent_abc", "llm_77", ("case_1", "case_2")
ME = By("cli:test")


class ForeignRetell:
    """One number, one agent, two test cases. A batch ends when it is asked for the second time; version 8 fails."""

    def __init__(self) -> None:
        self.agents = [{"agent_id": AGENT, "agent_version": 6, "weight": 1}]
        self.modified = 1_703_413_636_133
        self.batches: dict[str, dict[str, Any]] = {}
        self.asked: dict[str, int] = {}
        self.is_down = False

    def __call__(self, seen: Seen, sock: socket.socket) -> bool:
        url = urlsplit(seen.path)
        if self.is_down and ("test" in url.path):
            return False
        body, status = self.answer(seen, url.path, parse_qs(url.query))
        sock.sendall(http(body, status))
        return True

    def answer(self, seen: Seen, path: str, query: dict[str, list[str]]) -> tuple[Any, int]:
        version = int(query.get("version", ["7"])[0])
        engine = {"type": "retell-llm", "llm_id": LLM, "version": version}
        match path.split("/")[1:]:
            case ["get-phone-number", _]:
                return self.number(), 200
            case ["update-phone-number", _]:
                self.agents, self.modified = seen.json["inbound_agents"], self.modified + 1
                return self.number(), 200
            case ["get-agent", _]:
                shown = {"agent_id": AGENT, "version": version, "is_published": True, "voice_id": "11labs-Adrian"}
                return {**shown, "response_engine": engine, "last_modification_timestamp": 1}, 200
            case ["get-retell-llm", _]:
                return {"llm_id": LLM, "version": version, "general_prompt": f"Version {version}."}, 200
            case ["v2", "list-test-case-definitions"]:
                items = [{"test_case_definition_id": case, "name": f"Name of {case}"} for case in CASES]
                return {"items": items, "has_more": False}, 200
            case ["create-batch-test"]:
                batch = f"tcb_{len(self.batches)}"
                self.batches[batch] = seen.json
                return self.batch(batch), 201
            case ["get-batch-test", batch]:
                self.asked[batch] = self.asked.get(batch, 0) + 1
                return self.batch(batch), 200
            case ["v2", "list-test-runs", batch]:
                return {"items": [self.run(batch, case) for case in CASES], "has_more": False}, 200
        return {"status": "error", "message": "not found"}, 404

    def number(self) -> dict[str, Any]:
        return {
            "phone_number": NUMBER,
            "phone_number_type": "custom",
            "inbound_agents": self.agents,
            "last_modification_timestamp": self.modified,
        }

    def batch(self, batch: str) -> dict[str, Any]:
        asked = self.batches[batch]
        done = len(asked["test_case_definition_ids"]) if self.asked.get(batch, 0) >= 2 else 0
        fails = asked["response_engine"]["version"] == 8
        return {
            "test_case_batch_job_id": batch,
            "status": "complete" if done else "in_progress",
            "response_engine": asked["response_engine"],
            "pass_count": 0 if fails else done,
            "fail_count": done if fails else 0,
            "error_count": 0,
            "total_count": len(asked["test_case_definition_ids"]),
            "creation_timestamp": 1,
            "user_modified_timestamp": 1,
        }

    def run(self, batch: str, case: str) -> dict[str, Any]:
        fails = self.batches[batch]["response_engine"]["version"] == 8
        return {
            "test_case_job_id": f"{batch}_{case}",
            "status": "fail" if fails else "pass",
            "test_case_definition_id": case,
            "test_case_definition_snapshot": {"name": f"Name of {case}"},
            "result_explanation": "It forgot the table.",
            "creation_timestamp": 1,
            "user_modified_timestamp": 1,
        }


class ForeignCase:
    """The product on a database of its own beside the foreign server, on a clock of the test's."""

    def __init__(self, url: str, serve: Callable[..., Peer]) -> None:
        self.retell, self.clock, self.url, self.gates = ForeignRetell(), FakeClock(), url, ScriptedGates()
        self.peer = serve(self.retell)
        self.app = self.build()
        self.id = ""

    def build(self) -> App:
        settings = Settings(
            database_url=self.url, retell_api_key=SecretStr(KEY), retell_base_url=self.peer.url, watch_seconds=1800
        )
        return build(settings, clock=self.clock, gates=self.gates)

    def restart(self) -> None:
        self.app.close()
        self.app = self.build()

    def start(self, **plan_changes: Any) -> None:
        """Start a rollout of the number, by the tests' usual plan with these changes."""
        self.id = self.app.commands.start(plan([NUMBER], **plan_changes), ME).id

    @property
    def rollout(self) -> Rollout:
        return self.app.store.load(self.id)[0]

    def after(self, seconds: float, every: float = 5) -> None:
        """This much time passes, in steps of `every` seconds, and what is due is driven."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while True:
            for held in self.app.store.claim(self.app.owner, timedelta(seconds=45)):
                self.app.driver.drive(held)
            if self.clock.now() >= end:
                return
            self.clock.to(min(end, self.clock.now() + timedelta(seconds=every)))

    def patches(self) -> list[Any]:
        return [seen.json for seen in self.peer.methods("PATCH")]
