"""init: writes a first plan for a number, from what the number serves now and a few answers."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.domain.errors import InputError, NotReachable, NotWritable, PreflightRefused
from rollout.domain.phone_numbers import is_e164, plus_advice
from rollout.interfaces.cli import first_plan
from rollout.interfaces.cli.answer import print_json
from rollout.interfaces.cli.common import Json, quiet_logs
from rollout.interfaces.cli.progress import waiting
from rollout.interfaces.cli.screen import console, echo, plain, table

if TYPE_CHECKING:
    from rollout.adapters.retell import RetellClient
    from rollout.domain.writes.answers import Reading
    from rollout.engine.ports import AgentVersion

CHANNELS = ("inbound", "outbound", "inbound_sms", "outbound_sms")
PROFILES = ("standard", "low-traffic", "strict", "none")
LOOK_BACK = 10  # versions before the newest that are looked at for a published one


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(init)


@dataclass(frozen=True, slots=True)
class Asker:
    """Questions to the person at the terminal; where nobody is asked, the proposal is taken."""

    ask: bool

    def text(self, question: str, proposal: str) -> str:
        return str(typer.prompt(question, default=proposal, err=True)).strip() if self.ask else proposal

    def one_of(self, question: str, choices: Sequence[str], proposal: str) -> str:
        while True:
            answer = self.text(f"{question} ({', '.join(choices)})", proposal)
            if answer in choices:
                return answer
            if not self.ask:
                raise InputError(f"{question}: {plain(answer)} is not one of {', '.join(choices)}")
            echo(f"write one of: {', '.join(choices)}", err=True)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The command line's answers: None is looked up and asked for, the others are proposals."""

    number: str | None
    canary: str | None
    channels: Sequence[str] | None
    weights: str
    holds: str
    profile: str
    name: str | None


def interactive() -> bool:
    """True if standard input and standard error are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def init(
    number: Annotated[
        str | None, typer.Argument(metavar="[NUMBER]", help="The phone number, for example +14157774444.")
    ] = None,
    canary: Annotated[
        str | None, typer.Option("--canary", metavar="[AGENT:]VERSION", help="The version to try.")
    ] = None,
    channel: Annotated[
        list[str] | None, typer.Option("--channel", help="inbound (the default if it has agents), ...; repeat it.")
    ] = None,
    weights: Annotated[str, typer.Option("--weights", help="The canary's share, step by step.")] = "0.1,0.5,1",
    holds: Annotated[str, typer.Option("--holds", help="How long each step lasts at least.")] = "30m,2h,1d",
    profile: Annotated[str, typer.Option("--profile", help=", ".join(PROFILES))] = "standard",
    name: Annotated[str | None, typer.Option("--name", help="The plan's name.")] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Left out: NAME.yaml; - prints it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Ask nothing and accept every proposal.")] = False,
    json: Json = False,
) -> None:
    """Write a plan for a number from what it serves now. Asks a few questions at a terminal; changes nothing."""
    wanted = Wanted(number, canary, channel, weights, holds, profile, name)
    name, text = _plan(wanted, Asker(interactive() and not yes))
    path = output or f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.yaml"
    if path != "-":
        _write(text, path, force)
    if json:
        print_json({"path": path, "plan": text})
    elif path == "-":
        echo(text, nl=False)
    else:
        echo(path)
        echo(f"next: rollout check {path}, then rollout start {path}", err=True)


def _plan(wanted: Wanted, asker: Asker) -> tuple[str, str]:
    """The name and the text of a plan that `rollout check` accepts."""
    from rollout.adapters.clock import SystemClock
    from rollout.adapters.retell import RetellClient
    from rollout.settings import KeySource, load_settings

    settings = load_settings()
    quiet_logs(settings)
    clock = SystemClock()
    client = RetellClient(
        settings.retell_base_url, KeySource(settings), clock, deadline=settings.request_deadline, environ=os.environ
    )
    try:
        reading = _reading(client, wanted.number, asker)
        chosen = _channels(reading, wanted.channels, asker)
        lists = [reading.lists[f"{c}_agents"] or [] for c in chosen]
        agent, version = _canary(client, lists[0], wanted.canary, asker)
        name = asker.text("name of the plan", wanted.name or first_plan.name(reading, version))
        text = first_plan.TEMPLATE.format(
            number=reading.number,
            name=first_plan.scalar(name),
            channels=", ".join(chosen),
            agent=agent,
            version=version,
            baseline=first_plan.baseline(lists),
            steps=first_plan.steps(asker.text("weights", wanted.weights), asker.text("holds", wanted.holds)),
            profile=asker.one_of("gates", PROFILES, wanted.profile),
        )
        _passes(client, clock, text)
    finally:
        client.close()
    return name, text


# ------------------------------------------------------------------ what to ask


def _reading(client: RetellClient, number: str | None, asker: Asker) -> Reading:
    from rollout.domain.writes.answers import Failure

    if number is None:
        number = _choose(client, asker)
    number = re.sub(r"[ ().-]", "", number)
    if not is_e164(number):
        raise InputError(f"NUMBER: {plain(number)} is not a phone number{plus_advice(number)}")
    with client.session([number]) as session:
        found = session.read([number])[number]
    if isinstance(found, Failure):
        if found.status in (404, 422):
            raise InputError(f"{plain(number)}: Retell does not know this number; write it as +14157774444")
        raise NotReachable(f"{plain(number)} cannot be read: {found.detail}")
    return found


def _choose(client: RetellClient, asker: Asker) -> str:
    from rollout.domain.writes.answers import Reading

    with waiting("listing the numbers of the account"):
        found = list(client.all())
    known = sorted((r for r in found if isinstance(r, Reading)), key=lambda r: r.number)
    if not known:
        failure = next((f.detail for f in found if not isinstance(f, Reading)), "the account has no phone numbers")
        raise NotReachable(f"there is no number to choose from: {failure}")
    if not asker.ask:
        raise InputError(f"name a number: rollout init {known[0].number} ({len(known)} in this account)")
    shown = table("number", "nickname", "serves", keys=("number",))
    for r in known[:50]:
        shown.add_row(r.number, plain(r.nickname or ""), "; ".join(_serves(r)))
    console(stderr=True).print(shown)
    return asker.text("number", known[0].number)


def _serves(reading: Reading) -> list[str]:
    from rollout.domain.splits.splits import describe

    return [plain(f"{c}: {describe(entries)}") for c in CHANNELS if (entries := reading.lists.get(f"{c}_agents"))]


def _channels(reading: Reading, wanted: Sequence[str] | None, asker: Asker) -> list[str]:
    served = [c for c in CHANNELS if reading.lists.get(f"{c}_agents")]
    if not served:
        raise InputError(f"{reading.number} has no agent on any channel; assign one first, so that there is a baseline")
    for name in wanted or ():
        if name not in served:
            raise InputError(f"--channel: {reading.number} serves {', '.join(served)}, but not {plain(name)}")
    if wanted:
        return list(dict.fromkeys(wanted))
    return [asker.one_of("channel", served, served[0]) if len(served) > 1 else served[0]]


def _canary(
    client: RetellClient, baseline: Sequence[Mapping[str, Any]], wanted: str | None, asker: Asker
) -> tuple[str, int]:
    agent = str(max(baseline, key=lambda e: float(e["weight"]))["agent_id"])
    if wanted is None:
        found = _newest(client, agent, baseline)
        if found is None and not asker.ask:
            raise InputError(
                f"{agent} has no published version newer than the one the number serves; write --canary VERSION"
            )
        wanted = asker.text(
            f"version of {agent} to try (or AGENT:VERSION)", "" if found is None else str(found.version)
        )
    other, _, version = wanted.rpartition(":")
    if not version.isdigit():
        raise InputError(f"--canary: {plain(wanted)} is not a version; write 7, or agent_abc:7")
    return other or agent, int(version)


def _newest(client: RetellClient, agent: str, baseline: Sequence[Mapping[str, Any]]) -> AgentVersion | None:
    """The newest published version that the number does not serve yet."""
    from rollout.domain.writes.answers import Failure

    served = [e["agent_version"] for e in baseline if isinstance(e.get("agent_version"), int)]
    newest = client.version(agent, None)
    if isinstance(newest, Failure):
        return None
    for number in range(newest.version, max(newest.version - LOOK_BACK, max(served, default=-1)), -1):
        found = client.version(agent, number)
        if not isinstance(found, Failure) and found.is_published and number not in served:
            return found
    return None


# ------------------------------------------------------------------ the file


def _passes(client: RetellClient, clock: Any, text: str) -> None:
    """Refuse what `rollout check` would refuse; print its warnings."""
    from rollout.adapters.planfile import load_plan
    from rollout.engine.preflight import Workspace, preflight
    from rollout.engine.version_lookup import VersionLookup

    found = preflight(load_plan(text, "the plan"), Workspace(client, VersionLookup(client, clock)))
    if found.problems:
        raise PreflightRefused("nothing was written: " + "; ".join(found.problems))
    for warning in found.warnings:
        echo(f"warning: {plain(warning)}", err=True)


def _write(text: str, path: str, force: bool) -> None:
    try:
        with Path(path).open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path}: this file already exists; write -o OTHER, or --force") from None
    except OSError as error:
        raise NotWritable.at(path, error) from None
