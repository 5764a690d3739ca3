"""A small reader of Dockerfiles and the rules that ours keeps; where hadolint is installed it is asked, too."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Instruction:
    """One instruction with its lines joined; `stage` counts FROM instructions from 0."""

    word: str
    rest: str
    stage: int


def read(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, without comments."""
    found: list[Instruction] = []
    stage = -1
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", kept).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        stage += word.upper() == "FROM"
        found.append(Instruction(word.upper(), " ".join(rest.split()), stage))
    return found


def faults(text: str) -> list[str]:
    """What breaks a rule, one sentence each."""
    lines = read(text)
    last = max(i.stage for i in lines)
    final = [i for i in lines if i.stage == last]
    words = {i.word: i for i in final}
    found = [*_images(lines, last), *_installs(lines, final)]
    user = words.get("USER")
    if user is None or not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", user.rest):
        found.append("the image must run as a numeric user that is not root")
    elif any(i.word in ("RUN", "COPY", "ADD") for i in final[final.index(user) :]):
        found.append("nothing is built after USER")
    if "HEALTHCHECK" not in words or "CMD" not in words["HEALTHCHECK"].rest:
        found.append("the image needs a health check")
    for word in ("ENTRYPOINT", "CMD"):
        if word not in words or not _is_exec(words[word].rest):
            found.append(f"{word} must be in exec form, so that signals reach the program")
    if "HEALTHCHECK" in words and not _is_exec(words["HEALTHCHECK"].rest.partition("CMD")[2]):
        found.append("the health check must be in exec form: the image may have no shell")
    found += [f"use COPY instead of ADD {i.rest}" for i in lines if i.word == "ADD"]
    secret = re.compile(r"(KEY|TOKEN|PASSWORD|SECRET)\s*=", re.IGNORECASE)
    found += [f"no secret in an image: {i.rest}" for i in lines if i.word in ("ENV", "ARG") and secret.search(i.rest)]
    return found


def _images(lines: list[Instruction], last: int) -> list[str]:
    found = [] if last == 1 else ["there are two stages: one that builds, one that runs"]
    for i in lines:
        if i.word == "FROM":
            image = i.rest.split()[0]
            if ":" not in image or image.endswith(":latest"):
                found.append(f"{image}: name the version of the image, and not latest")
    return found


def _installs(lines: list[Instruction], final: list[Instruction]) -> list[str]:
    found = []
    for i in lines:
        for command in re.split(r"&&|;", i.rest) if i.word == "RUN" else ():
            if re.search(r"\bpip install\b", command) and not re.search(
                r"--require-hashes|--no-deps\b.*\.whl", command
            ):
                found.append(f"every package is installed with its hash:{command}")
            if re.search(r"\bapt(-get)? (install|upgrade)\b", command):
                found.append(f"nothing of the system is installed:{command}")
    if any(i.word == "RUN" and "pip" in i.rest for i in final):
        found.append("the stage that runs installs nothing")
    return found


def _is_exec(text: str) -> bool:
    try:
        parsed = json.loads(text)
    except ValueError:
        return False
    return isinstance(parsed, list) and all(isinstance(part, str) for part in parsed)
