"""Controls of the sandbox for people and tests: the operations behind `/sandbox/...` and the Python methods.

Each operation takes the lock. Wrong input raises ValueError with the field and what to write instead.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from rollout.sandbox.agents import Agent, read_versions
from rollout.sandbox.batch_tests import TestCase
from rollout.sandbox.clock import milliseconds
from rollout.sandbox.faults import Fault
from rollout.sandbox.messages import ApiError
from rollout.sandbox.numbers import CHANNELS, LISTS, SIP_FIELDS, Number
from rollout.sandbox.service import Service

FIELDS = (
    *LISTS,
    *SIP_FIELDS,
    "nickname",
    "inbound_webhook_url",
    "inbound_sms_webhook_url",
    "allowed_inbound_country_list",
    "allowed_outbound_country_list",
    "fallback_number",
)
"""Fields of a number that a test may set to anything, legal or not, as somebody else would."""
Rates = float | Mapping[str, float]


class Operations:
    """The operations, over one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    # -- numbers

    def add_number(
        self,
        number: str,
        *,
        calls_per_hour: Rates = 0.0,
        bypass: Mapping[str, Any] | None = None,
        phone_number_type: str = "retell-twilio",
        **fields: Any,
    ) -> Number:
        """Create a number, or replace it with its history.

        `calls_per_hour` is a rate of inbound calls, or rates by channel; `bypass` (agent_id, agent_version,
        share) models an inbound webhook that overrides the split; `fields` are Retell's.
        """
        _known(fields, FIELDS)
        if not number:
            raise ValueError("number is empty: write a number such as +14157774444")
        with self._service.lock:
            return self._service.world.add_number(
                number,
                _copied(fields),
                self._service.clock.now(),
                rates=_rates(calls_per_hour),
                bypass=_bypass(bypass),
                phone_number_type=phone_number_type,
            )

    def edit(
        self,
        number: str,
        *,
        touch: bool = False,
        calls_per_hour: Rates | None = None,
        bypass: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Number:
        """Edit a number as somebody else would: nothing is checked. `touch` moves the time stamp only.

        `calls_per_hour` and `bypass` (`{}` ends it) change the callers and leave the time stamp alone.
        """
        _known(fields, FIELDS)
        with self._service.lock:
            world, now = self._service.world, self._service.clock.now()
            found = world.number(number)
            world.catch_up(now)
            if calls_per_hour is not None:
                found.rates = _rates(calls_per_hour)
            if bypass is not None:
                found.bypass = _bypass(bypass)
            if fields or touch:
                world.apply(found, _copied(fields), now, by="edit")
            return found

    def number(self, number: str) -> Number:
        """The live number: what it says is what Retell would serve now."""
        with self._service.lock:
            return self._service.world.number(number)

    def numbers(self) -> list[Number]:
        """All numbers, in the order of their creation."""
        with self._service.lock:
            return sorted(self._service.world.numbers.values(), key=lambda number: number.order)

    def delete_number(self, number: str) -> None:
        """The number vanishes; reads and writes of it answer 422 from now on."""
        with self._service.lock:
            self._service.world.delete_number(number, self._service.clock.now())

    def history(self, number: str) -> list[dict[str, Any]]:
        """Every state of a number with its times, splits and the calls that it served."""
        with self._service.lock:
            self._service.world.catch_up(self._service.clock.now())
            return self._service.world.number(number).history_json()

    # -- agents

    def add_agent(
        self,
        agent_id: str,
        versions: Iterable[int | Mapping[str, Any]] = (0,),
        *,
        agent_name: str | None = None,
        channel: str | None = None,
        is_suspended: bool | None = None,
        tags: Mapping[str, int | Mapping[str, Any] | None] | None = None,
    ) -> Agent:
        """Create an agent, or change it: versions that are given are added or replaced, the others stay.

        A version is a number, or an object with `version`, `is_published`, `settings` (fields that get-agent shows),
        `engine` (`type`, and fields that its response engine shows) and fields of Behaviour. A tag points at a version,
        at nothing (None), or is `{"version": 6, "dynamic_variables": {"name": "text"}}`.
        """
        if channel not in (None, "voice", "chat"):
            raise ValueError(f"channel {channel!r} is unknown: write voice or chat")
        with self._service.lock:
            world, now = self._service.world, self._service.clock.now()
            world.catch_up(now)
            agent = world.agents.get(agent_id) or Agent(agent_id, agent_name or agent_id)
            made = read_versions(versions, agent.versions, milliseconds(now))
            agent.name = agent_name or agent.name
            agent.channel = channel or agent.channel
            agent.is_suspended = agent.is_suspended if is_suspended is None else is_suspended
            if tags is not None:
                read: dict[str, Mapping[str, Any]] = {
                    tag: to if isinstance(to, Mapping) else {"version": to} for tag, to in tags.items()
                }
                agent.tags = {tag: to.get("version") for tag, to in read.items()}
                agent.tag_variables = {tag: dict(to.get("dynamic_variables") or {}) for tag, to in read.items()}
                agent.modified = max(milliseconds(now), agent.modified + 1)
            world.agents[agent_id] = agent
            for version in made:
                world.put_version(agent, version, now)
            return agent

    def delete_version(self, agent_id: str, version: int) -> None:
        """The version vanishes, also for numbers that serve it. ApiError 404 if there is none."""
        with self._service.lock:
            agent = self._service.world.agent(agent_id, 404)
            if version not in agent.versions:
                raise ApiError(404, f"{agent_id} has no version {version}")
            self._service.world.delete_version(agent, version, self._service.clock.now())

    def add_test_case(
        self,
        case_id: str,
        *,
        agent_id: str,
        name: str | None = None,
        pass_rates: Mapping[str | int, float] | None = None,
    ) -> TestCase:
        """A test case of an agent's response engine.

        `pass_rates` are by version of the agent; a version that is left out passes as its own `test_pass` says.
        """
        rates = {int(version): float(rate) for version, rate in (pass_rates or {}).items()}
        for version, rate in rates.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"pass_rates.{version} {rate} is not a probability: write a number from 0 to 1")
        with self._service.lock:
            self._service.world.agent(agent_id, 404)
            made = TestCase(case_id, name or case_id, agent_id, milliseconds(self._service.clock.now()), rates)
            self._service.world.test_cases[case_id] = made
            return made

    # -- faults, log, calls, clock

    def fault(self, kind: str, **fields: Any) -> Fault:
        """Add a fault; see `rollout.sandbox.faults` for kinds and fields."""
        made = Fault.read({"kind": kind, **fields})
        with self._service.lock:
            return self._service.faults.add(made)

    def faults(self) -> list[Fault]:
        """Active faults; one that has been met `times` times is gone."""
        with self._service.lock:
            return list(self._service.faults.active)

    def clear_faults(self) -> None:
        """Serve everything properly again. What was sent to be applied late still will be."""
        with self._service.lock:
            self._service.faults.remove()

    def log(self, *, since: int = 0, number: str | None = None, method: str | None = None) -> list[dict[str, Any]]:
        """Every request of the Retell API, in the order received."""
        with self._service.lock:
            return self._service.log.to_json(since=since, number=number, method=method)

    def clear_log(self) -> None:
        """Drop the entries; `seq` continues."""
        with self._service.lock:
            self._service.log.entries.clear()

    def calls(self, number: str | None = None, *, chats: bool = False) -> list[dict[str, Any]]:
        """Every call (or chat) as Retell would show it now, oldest first."""
        with self._service.lock:
            now = self._service.clock.now()
            found = self._service.world.conversations(now, chats=chats, number=number)
            return [call.to_json(now) for call in sorted(found, key=lambda call: call.key)]

    def clock(self, *, speed: float | None = None, advance: float | None = None) -> dict[str, float]:
        """Change the clock's speed, or move it on by seconds; returns its time (ms) and speed."""
        with self._service.lock:
            clock = self._service.clock
            if speed is not None:
                clock.set_speed(speed)
            if advance is not None:
                clock.advance(advance)
            return {"now": milliseconds(clock.now()), "speed": clock.speed}

    def webhook(self, url: str | None, key: str = "sandbox") -> None:
        """Send signed call_ended and call_analyzed events there, for calls from now on; None ends it."""
        if url is None:
            self._service.webhooks.clear()
        else:
            self._service.webhooks.send_to(url, self._service.key or key)

    def sent_events(self) -> list[dict[str, Any]]:
        """Every attempt to send an event: event, call_id, and the receiver's status (None: no answer)."""
        with self._service.lock:
            return list(self._service.webhooks.sent)

    def reset(self) -> None:
        """Back to the world as it was at the start; the clock keeps running."""
        self._service.reset()


def _known(fields: Mapping[str, Any], legal: Iterable[str]) -> None:
    for name in fields:
        if name not in legal:
            raise ValueError(f"{name!r} is not a field of a number: write one of {', '.join(legal)}")


def _copied(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Lists are copied, so that a later change of the caller's list cannot move a live number."""
    return {
        name: [dict(item) if isinstance(item, Mapping) else item for item in value]
        if isinstance(value, list)
        else value
        for name, value in fields.items()
    }


def _rates(value: Rates) -> dict[str, float]:
    rates = dict(value) if isinstance(value, Mapping) else {"inbound": value}
    for channel, rate in rates.items():
        if channel not in CHANNELS:
            raise ValueError(f"calls_per_hour.{channel} is no channel: write one of {', '.join(CHANNELS)}")
        if rate < 0:
            raise ValueError(f"calls_per_hour.{channel} {rate} is negative: write 0 or more")
    return {channel: float(rates.get(channel, 0.0)) for channel in CHANNELS}


def _bypass(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not value:
        return None
    if not isinstance(value.get("agent_id"), str) or not 0 <= value.get("share", 1.0) <= 1:
        raise ValueError("bypass must have agent_id, agent_version and share, a number from 0 to 1")
    return {"share": 1.0, **value}
