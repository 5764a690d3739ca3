"""Writes docs/reference from the code: `python -m tests.reference`. A test fails when a page is stale."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import SecretStr

from rollout.adapters.planfile import schema
from rollout.domain import errors
from rollout.domain.lifecycle.machine import Event
from rollout.interfaces.cli import app
from rollout.settings import OTHER_NAMES, Settings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
MADE = "Made from the code by `make docs`; do not edit it here."

KINDS = {
    "created": "a rollout was recorded, with its plan, its numbers and their baselines",
    "baselines": "a rollout with a later start has read its numbers and begins",
    "tests_progressed": "the tests of the agent before the first step began, or a batch of them began or ended",
    "tests_passed": "the tests of the agent passed; the first step follows",
    "begun": "pre-flight passed at the start; the first step follows",
    "intended": "the exact bodies that are about to be sent; nothing is sent before this is recorded",
    "settled": "what became of each write: applied, not applied, or not known yet",
    "watched": "after the promotion its calls are worse than the baseline's record allows; at most once a day",
    "backup_models": "a backup model answered one version's calls more often; at most once a day",
    "observed": "what else a reading of the numbers found: other fields changed, numbers missing or back",
    "confirmed": "every number of the position was read back at its step; the hold begins",
    "retreated": "closing time: the retreat weight is wanted; the time already held is kept",
    "returned": "opening time: the position's weights are wanted again",
    "reached": "what closing or opening time wanted was read back on every number",
    "advanced": "the next position is wanted: the hold is over and the gates passed",
    "decision_kept": "the plan's `decide` found nothing to ship and says `otherwise: keep`: the test continues",
    "decision_paused": "the plan's `decide` found nothing to ship and says `otherwise: pause`: a person decides",
    "completed": "the last step finished its bake: promoted",
    "failed": "a gate, a step or the deadline failed, or the plan's `decide` says so: the rollback begins",
    "failure_paused": "it failed, and the plan says `on_failure: pause`",
    "held": "the service holds it until a person answers; the reason says why",
    "read_back": "a rollback: every number was read back at its baseline",
    "contested": "a rollback: somebody else has overwritten the baseline of these numbers three times",
    "restored": "a rollback is over: every number shows its baseline, and nothing of ours can land any more",
    "restored_outside": "every number shows its baseline: a person or a kit rolled back outside the service",
    "reopened": "a late write of ours took effect after the rollback; it is being undone",
    "ended": "stopped by a person; the split stays as it is",
    "rearmed": "the database lost its last entries: horizons were opened again, and every number is read first",
    "superseded": "a later rollout has some of its numbers now; they are no longer watched here",
    "promote": "a person went to the next step, or ended the bake",
    "set": "a person set weights in place of the step's; its hold starts again",
    "shipped": "a version gets every call of every number, by a person or by the plan; then it bakes like the last step",
    "pause": "a person paused it",
    "resume": "a person resumed it",
    "stop": "a person asked to end it",
    "adopt": "a person accepted the live split",
    "restore": "a person asked to write the rollout's split again",
    "rollback": "a person (or an alert) ordered the rollback",
    "refused": "pre-flight refused at the start, or the tests of the agent did not pass: it ends as stopped, before any "
    "write; in the chain `system`: a request beyond somebody's rights",
    "token_refused": "chain `system`: wrong tokens, once a minute per address, with how many there were",
    "command_refused": "chain `system`: a command that the rollout's state does not allow",
    "alert_passed_over": "chain `system`: an alert that matches no live rollout",
    "pruned": "chain `system`: an ended rollout was removed after its retention time; names its last entry",
    "token_created": "chain `system`: a token was created",
    "token_revoked": "chain `system`: a token was revoked",
    "signed_in": "chain `system`: somebody signed in to the page with a token",
    "signed_in_oidc": "chain `system`: somebody signed in to the page by OpenID Connect",
    "signed_out": "chain `system`: a session of the page ended",
}
EXIT_CODES = {
    0: "done",
    1: "an unexpected error, or `verify` found an altered journal",
    2: "the input is wrong: a plan, an option, a setting, an unknown id",
    3: "refused by the rollout's state, by drift, by pre-flight or by an old schema; nothing was changed",
    4: "Retell, the database or the service cannot be reached, or refuses the key",
    5: "the rollout that was waited for did not end as promoted",
    130: "interrupted; what you ordered is still carried out",
}


def pages() -> dict[str, Callable[[], str]]:
    """Every generated page by its file name."""
    return {
        "cli.md": cli,
        "settings.md": settings,
        "plan.md": plan,
        "journal.md": journal,
        "exit-codes.md": exit_codes,
        "api.md": api,
    }


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", MADE, *(p for p in parts if p)]) + "\n"


def _table(head: str, rows: Sequence[tuple[str, ...]]) -> str:
    columns = head.split(" | ")
    lines = [f"| {head} |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


# ------------------------------------------------------------------ command line


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by the words that call it, as Click knows it."""

    def walk(words: str, command: Any) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield words, command
            return
        for name in inner:
            yield from walk(f"{words} {name}".strip(), inner[name])

    yield from walk("", typer.main.get_command(app))


def cli() -> str:
    parts = []
    for words, command in commands():
        if getattr(command, "hidden", False):
            continue
        rows = [_parameter(p) for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
        parts.append(f"## rollout {words}")
        parts.append(" ".join((command.help or "").split()))
        if rows:
            parts.append(_table("argument or option | means", rows))
    head = (
        '`--json` gives stable JSON; after a failure also `{"error": {"code", "message", "hint"}}` beside what was found '
        "before it. Standard error has the same message. [Exit codes](exit-codes.md) are the same for every command."
    )
    return _page("Command line", head, *parts)


def _parameter(parameter: Any) -> tuple[str, str]:
    help_ = " ".join((getattr(parameter, "help", None) or "").split())
    if parameter.param_type_name == "argument":
        metavar = parameter.metavar or str(parameter.name).upper()
        return f"`{metavar.strip('[]')}`" + ("" if parameter.required else " (may be left out)"), help_
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    if not getattr(parameter, "is_flag", False) and parameter.metavar:
        names += f" {parameter.metavar}"
    default = parameter.default
    if default not in (None, False, "", ()) and not callable(default) and "Path" not in type(default).__name__:
        help_ += f" Default: {default}."
    return names, help_.strip()


# ------------------------------------------------------------------ settings


def settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        assert field.description, f"the setting {name} has no description"
        limits = ", ".join(
            f"{words} {getattr(m, attribute):g}"
            for m in field.metadata
            for attribute, words in (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))
            if hasattr(m, attribute)
        )
        rows.append((f"`ROLLOUT_{name.upper()}`", _default(field.default), field.description, limits or "-"))
    others = ", ".join(f"`{name}`" for name in sorted(OTHER_NAMES))
    return _page(
        "Settings",
        "In the environment as below, or in `rollout.toml` in lower case and without the prefix; the environment "
        "wins. Times are in seconds. Lists are separated by commas. An unknown `ROLLOUT_` name is refused.",
        _table("name | default | means | limits", rows),
        f"Beside them, for the command line: {others} (see [the API](../api.md)); `ROLLOUT_CONFIG` names another "
        "`rollout.toml`. `RETELL_API_KEY` is read when `ROLLOUT_RETELL_API_KEY` is not set.",
        "The variables of the network are honoured: `HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE` and "
        "`SSL_CERT_DIR` ([operations](../operations.md#firewall-and-proxy)).",
    )


def _default(value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


# ------------------------------------------------------------------ plan


def plan() -> str:
    found = schema()
    parts = ["## A plan", _fields(found)]
    for name, part in found["$defs"].items():
        parts.append(f"## {name}")
        parts.append(" ".join(str(part.get("description", "")).split()))
        parts.append(_fields(part) if "properties" in part else "One of: " + _words(part.get("enum", ())) + ".")
    head = (
        "Every key of a plan file, from its schema (`config/plan.schema.json`). Unknown keys are refused with line and "
        "column. Rules across keys are checked by `rollout check --offline`."
    )
    return _page("Plan", head, *parts)


def _fields(part: Mapping[str, Any]) -> str:
    required = set(part.get("required", ()))
    rows = [
        (
            f"`{name}`",
            _kind(value),
            "required" if name in required else _json(value.get("default")),
            " ".join(str(value.get("description", "")).split()) or "-",
        )
        for name, value in part["properties"].items()
    ]
    return _table("key | kind | default | means", rows)


def _kind(value: Mapping[str, Any]) -> str:
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for many in ("anyOf", "oneOf"):
        if many in value:
            return " or ".join(dict.fromkeys(_kind(v) for v in value[many] if v.get("type") != "null"))
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return _words(value["enum"])
    kind = str(value.get("type", "any"))
    if kind == "array":
        return "list of " + _kind(value["items"]) if "items" in value else "empty list"
    return {"object": "mapping", "string": "text", "integer": "whole number", "boolean": "true or false"}.get(
        kind, kind
    )


def _words(values: Any) -> str:
    return ", ".join(f"`{v}`" for v in values)


def _json(value: Any) -> str:
    if value is None or value in ([], {}):
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


# ------------------------------------------------------------------ journal, exit codes, API


def recorded_kinds() -> set[str]:
    """The kinds of entries that the code writes: literals given to Entry, and the events that decisions record."""
    found: set[str] = set()
    for path in [*(ROOT / "rollout").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]:
        if "sandbox" in path.parts or path.name == "splits.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            first, called = node.args[0], getattr(node.func, "id", getattr(node.func, "attr", ""))
            notes = called == "note" and path.parent.name == "api"
            if (called == "Entry" or notes) and isinstance(first, ast.Constant):
                found.add(str(first.value))
            if called == "Record":
                found |= {str(Event[name]) for name in _events(first)}
    return found


def _events(expression: ast.AST) -> Iterator[str]:
    """The names of the events in an expression."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Event":
            yield node.attr


def journal() -> str:
    fields = _table(
        "field | means",
        [
            ("`rollout_id`", "the rollout, or `system` for what concerns none (tokens, sign-ins, refusals)"),
            ("`seq`", "1, 2, 3, ... without a gap"),
            ("`at`", "when, in UTC"),
            ("`actor`", "who: `service`, `cli:NAME`, a token, a person"),
            ("`kind`", "what, by the table below"),
            ("`reason`", "why, in words"),
            ("`data`", "the details; `change` in it is what was changed in the tables"),
            ("`prev_hash`", "the hash of the entry before; 64 zeros for the first"),
            ("`hash`", "SHA-256 of the canonical JSON of prev_hash, rollout_id, seq, at, actor, kind, reason and data"),
        ],
    )
    return _page(
        "Journal",
        "Every rollout has a chain of its own. `rollout history ID --export FILE` writes it as JSON Lines, "
        "`rollout verify --file FILE` checks such a file alone.",
        "## An entry",
        fields,
        "## Kinds",
        _table("kind | means", [(f"`{kind}`", words) for kind, words in KINDS.items()]),
    )


def exit_codes() -> str:
    rows = []
    for code, words in EXIT_CODES.items():
        kinds = sorted(
            errors.code_of(kind)
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, errors.RolloutError) and kind.exit_code == code
        )
        rows.append((f"`{code}`", words, ", ".join(f"`{k}`" for k in kinds) or "-"))
    return _page(
        "Exit codes",
        "An error is one or two sentences on standard error; with `--json` standard output has it, too, with its code.",
        _table("exit code | means | `code` of the error", rows),
    )


def api() -> str:
    rows = []
    for path, methods in _description()["paths"].items():
        for method, operation in methods.items():
            rows.append((f"`{method.upper()} {path}`", str(operation.get("summary", "-"))))
    return _page(
        "HTTP API",
        "Every route, from the description that the service gives at `/api/v1/openapi.json`; [the API](../api.md) says "
        "how to use it.",
        _table("route | does", rows),
    )


def _description() -> dict[str, Any]:
    from rollout.app import build
    from rollout.interfaces.api.factory import make_api

    with tempfile.TemporaryDirectory() as folder:
        product = build(Settings(database_url=f"sqlite:///{folder}/none.db", retell_api_key=SecretStr("none")))
        made = make_api(product)
        try:
            return made.openapi()
        finally:
            made.state.service.stop()
            product.close()


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in pages().items():
        (FOLDER / name).write_text(make(), encoding="utf-8")
