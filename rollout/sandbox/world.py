"""The state behind the API: numbers, agents, calls and chats. Pure: every method takes the time.

Not locked; the owner of a world holds one lock around each use. `now` is seconds of the sandbox's clock.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from rollout.sandbox.agents import Agent, Version
from rollout.sandbox.batch_tests import BatchTest, TestCase
from rollout.sandbox.callers import Stream
from rollout.sandbox.clock import milliseconds
from rollout.sandbox.conversations import Conversation
from rollout.sandbox.messages import NOT_FOUND, NOT_FOUND_ASSET, ApiError
from rollout.sandbox.numbers import CHANNELS, Number, State, fixed_fields, merged

KEPT_CALLS = 200_000
"""Conversations kept of each number and channel; the oldest tenth goes when there are more."""

Listener = Callable[[Conversation], None]


class World:
    """All that a Retell account would hold."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.numbers: dict[str, Number] = {}
        self.agents: dict[str, Agent] = {}
        self.listener: Listener | None = None
        """Told of every new conversation (webhooks)."""
        self._streams: dict[tuple[str, str], Stream] = {}
        self._calls: dict[tuple[str, str], list[Conversation]] = {}
        self._by_id: dict[str, Conversation] = {}
        self._created = 0
        self.test_cases: dict[str, TestCase] = {}
        self.batches: dict[str, BatchTest] = {}

    # -- numbers

    def add_number(
        self,
        phone_number: str,
        fields: Mapping[str, Any],
        now: float,
        *,
        rates: Mapping[str, float],
        bypass: Mapping[str, Any] | None = None,
        phone_number_type: str = "retell-twilio",
    ) -> Number:
        """A new number, or the same one created again; its callers continue from where they were."""
        self.catch_up(now)
        old = self.numbers.get(phone_number)
        self._created += 1
        stamp = milliseconds(now) if old is None else max(milliseconds(now), old.timestamp + 1)
        number = Number(
            phone_number,
            old.order if old else self._created,
            fixed_fields(phone_number, phone_number_type),
            [State(now, stamp, merged({}, fields), "created")],
            dict(rates),
            dict(bypass) if bypass else None,
        )
        self.numbers[phone_number] = number
        for channel in CHANNELS:
            key = (phone_number, channel)
            if key not in self._streams:
                self._streams[key] = Stream(phone_number, channel, self.seed, now)
                self._calls[key] = []
        return number

    def number(self, phone_number: str) -> Number:
        """The number, or ApiError 422 as Retell answers for an unknown one."""
        found = self.numbers.get(phone_number)
        if found is None:
            raise ApiError(422, NOT_FOUND_ASSET)
        return found

    def delete_number(self, phone_number: str, now: float) -> None:
        """The number is gone; its past calls stay."""
        self.catch_up(now)
        del self.numbers[self.number(phone_number).phone_number]

    def changed(self, number: Number, changes: Mapping[str, Any], now: float, by: str, seq: int | None) -> State:
        """The state that a change would lead to; nothing is stored. Time stamps rise strictly."""
        stamp = max(milliseconds(now), number.timestamp + 1)
        return State(now, stamp, merged(number.state.fields, changes), by, seq)

    def apply(
        self, number: Number, changes: Mapping[str, Any], now: float, *, by: str, seq: int | None = None
    ) -> State:
        """Store a change, after every caller who came before it was served by the old split."""
        self._catch_up_number(number, now)
        state = self.changed(number, changes, now, by, seq)
        number.states.append(state)
        return state

    # -- agents

    def agent(self, agent_id: str, status: int = 422) -> Agent:
        """The agent, or ApiError with this status."""
        found = self.agents.get(agent_id)
        if found is None:
            raise ApiError(status, NOT_FOUND if status == 404 else NOT_FOUND_ASSET)
        return found

    def put_version(self, agent: Agent, version: Version, now: float) -> None:
        """Add or replace a version; callers before now met the old one."""
        self.catch_up(now)
        agent.versions[version.number] = version
        agent.modified = milliseconds(now)

    def create_version(self, agent: Agent, base: Version, now: float) -> Version:
        """A new draft with the next number; its callers fare as those of its base."""
        number = max(agent.versions) + 1
        draft = replace(
            base,
            number=number,
            is_published=False,
            base_version=base.number,
            title=None,
            modified=milliseconds(now),
            published_order=0,
        )
        self.put_version(agent, draft, now)
        return draft

    def publish(self, agent: Agent, version: Version, title: str | None, now: float) -> None:
        """Mark a draft as published; the latest one published is `latest_published`."""
        order = 1 + max(item.published_order for item in agent.versions.values())
        done = replace(
            version, is_published=True, published_order=order, modified=milliseconds(now), title=title or version.title
        )
        self.put_version(agent, done, now)

    def delete_version(self, agent: Agent, number: int, now: float) -> None:
        """The version is gone, also for numbers that serve it: their calls then end in an error."""
        self.catch_up(now)
        del agent.versions[number]
        agent.modified = milliseconds(now)

    # -- calls and chats

    def catch_up(self, now: float) -> None:
        """Let every caller call who should have called by now."""
        for number in self.numbers.values():
            self._catch_up_number(number, now)

    def _catch_up_number(self, number: Number, now: float) -> None:
        for channel in number.rates:
            key = (number.phone_number, channel)
            calls = self._calls[key]
            for made in self._streams[key].generate(number, self.agents, now):
                calls.append(made)
                self._by_id[made.id] = made
                if self.listener is not None:
                    self.listener(made)
            if len(calls) > KEPT_CALLS:
                for old in calls[: KEPT_CALLS // 10]:
                    del self._by_id[old.id]
                del calls[: KEPT_CALLS // 10]

    def conversation(self, conversation_id: str, now: float) -> Conversation:
        """One call or chat that has started, or ApiError 422."""
        self.catch_up(now)
        found = self._by_id.get(conversation_id)
        if found is None:
            raise ApiError(422, NOT_FOUND_ASSET)
        return found

    def conversations(
        self, now: float, *, chats: bool, number: str | None = None, since_ms: float = 0
    ) -> Iterator[Conversation]:
        """Started calls (or chats), of one number if given, that started at or after `since_ms`."""
        if number is None:
            self.catch_up(now)
            keys = list(self._calls)
        else:
            if number in self.numbers:
                self._catch_up_number(self.numbers[number], now)
            keys = [key for channel in CHANNELS if (key := (number, channel)) in self._calls]
        for key in keys:
            calls = self._calls[key]
            if key[1].endswith("_sms") == chats:
                first = bisect_left(calls, since_ms, key=lambda call: call.start_ms) if since_ms > 0 else 0
                yield from calls[first:]
