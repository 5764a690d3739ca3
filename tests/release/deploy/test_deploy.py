"""The ways to run it that the repository offers: each setting exists, nothing runs as root, and signals arrive."""

from __future__ import annotations

import json
import re
import subprocess
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from rollout.settings import Settings
from tests.release.deploy.dockerfile import faults
from tests.support.command_line import REPOSITORY
from tests.support.parts import need

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
UNIT = REPOSITORY / "deploy" / "systemd" / "rollout.service"
SETTINGS = {f"ROLLOUT_{name.upper()}" for name in Settings.model_fields}
STOP_SECONDS = 15  # within which `rollout serve` ends after SIGTERM


def documents(path: str) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all((REPOSITORY / path).read_text()))


# ------------------------------------------------------------------ Dockerfile


def test_the_dockerfile_keeps_the_rules() -> None:
    assert faults(DOCKERFILE) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("FROM python:3.11-slim-bookworm\n", "FROM python:latest\n"),
        ("FROM python:3.11-slim-bookworm\n", "FROM python\n"),
        ("--require-hashes -r requirements/main.txt", "-r requirements/main.txt"),
        ("USER 65532:65532", "USER rollout"),
        ("USER 65532:65532", "USER 0"),
        ('CMD ["serve", "--migrate"]', "CMD serve --migrate"),
        ('ENTRYPOINT ["rollout"]', "ENTRYPOINT rollout"),
        ("HEALTHCHECK", "# HEALTHCHECK"),
        ("COPY rollout rollout", "ADD rollout rollout"),
        ("WORKDIR /data", "WORKDIR /data\nRUN pip install --require-hashes -r x"),
        ("PYTHONUNBUFFERED=1", "RETELL_API_KEY=abc PYTHONUNBUFFERED=1"),
    ],
)
def test_the_rules_see_what_breaks_them(old: str, new: str) -> None:
    assert old in DOCKERFILE
    assert faults(DOCKERFILE.replace(old, new))


def test_hadolint_has_nothing_to_say() -> None:
    program = need("hadolint", "make install-dev")
    done = subprocess.run([program, str(REPOSITORY / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (REPOSITORY / source).exists(), source
            assert source.split("/")[0] not in ignored, source
    assert {".git", "tests"} <= set(ignored)


def test_the_health_check_asks_the_port_that_is_served() -> None:
    assert f'"ROLLOUT_PORT\\", \\"{Settings().port}\\"' in DOCKERFILE or str(Settings().port) in DOCKERFILE
    assert "/healthz" in DOCKERFILE


# ------------------------------------------------------------------ compose.yaml


def test_compose_runs_two_replicas_on_postgresql() -> None:
    (compose,) = documents("compose.yaml")
    service, database = compose["services"]["rollout"], compose["services"]["postgres"]
    assert service["deploy"]["replicas"] == 2
    assert service["command"] == ["serve", "--migrate"]
    assert service["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert "healthcheck" in database
    names = {name for name in service["environment"] if name.startswith("ROLLOUT_")}
    assert names <= SETTINGS
    assert service["environment"]["ROLLOUT_DATABASE_URL"].startswith("postgresql://rollout@postgres/")
    assert service["environment"]["PGPASSWORD"] == database["environment"]["POSTGRES_PASSWORD"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"]), "nothing is open beyond this machine"
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert int(service["stop_grace_period"].rstrip("s")) > STOP_SECONDS
    assert set(service["secrets"]) == set(compose["secrets"])
    assert not database["image"].endswith(":latest") and ":" in database["image"]


def test_no_secret_stands_in_a_file() -> None:
    for path in ("compose.yaml", "deploy/kubernetes/rollout.yaml", "deploy/systemd/rollout.service"):
        text = (REPOSITORY / path).read_text()
        assert not re.search(r"(?i)(password|api_key)\s*[:=]\s*[\"']?[A-Za-z0-9]{8,}", text), path
    ignored = (REPOSITORY / ".gitignore").read_text().split()
    assert {"/.env", "/retell_api_key"} <= set(ignored), "what compose.yaml reads secrets from"


# ------------------------------------------------------------------ systemd


class Unit(RawConfigParser):
    """A unit file; a name that is given more than once keeps every value."""

    def __init__(self, text: str) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#",), interpolation=None)
        self.all: list[tuple[str, str]] = []
        for line in text.splitlines():
            name, sign, value = line.partition("=")
            if sign and not line.startswith("#"):
                self.all.append((name.strip(), value.strip()))

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.all if key == name]


def test_the_unit_is_shut_and_ends_in_time() -> None:
    unit = Unit(UNIT.read_text())
    for name in (
        "NoNewPrivileges",
        "PrivateTmp",
        "PrivateDevices",
        "ProtectHome",
        "ProtectKernelModules",
        "DynamicUser",
        "ProtectKernelTunables",
        "ProtectControlGroups",
        "RestrictSUIDSGID",
        "LockPersonality",
    ):
        assert unit.values(name) == ["yes"], name
    assert unit.values("ProtectSystem") == ["strict"]
    assert unit.values("CapabilityBoundingSet") == [""]
    assert int(unit.values("TimeoutStopSec")[0]) > STOP_SECONDS
    assert unit.values("Restart") == ["always"]
    (start,) = unit.values("ExecStart")
    assert start == "/opt/rollout/.venv/bin/rollout serve --migrate"
    given = {value.partition("=")[0] for value in unit.values("Environment")}
    assert given <= SETTINGS
    writable = f"/var/lib/{unit.values('StateDirectory')[0]}"
    assert all("/var/lib/" not in value or f"{writable}/" in value for value in unit.values("Environment"))


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    program = need("systemd-analyze", "apt-get install systemd")
    # verify looks for the program and the page, which are where the unit will run, and not here
    text = UNIT.read_text().replace("/opt/rollout/.venv/bin/rollout", "/bin/true")
    copy = tmp_path / "rollout.service"
    copy.write_text("\n".join(line for line in text.splitlines() if not line.startswith("Documentation=")))
    done = subprocess.run([program, "verify", str(copy)], capture_output=True, text=True, check=False, timeout=60)
    said = [line for line in done.stderr.splitlines() if "rollout.service" in line]
    assert (done.returncode, said) == (0, [])


# ------------------------------------------------------------------ Kubernetes


def test_kubernetes_runs_two_replicas_without_rights() -> None:
    found = {d["kind"]: d for d in documents("deploy/kubernetes/rollout.yaml")}
    assert set(found) == {"ServiceAccount", "Deployment", "PodDisruptionBudget", "Service"}
    spec = found["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert spec["replicas"] == 2
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 65532)
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    # Kubernetes would set ROLLOUT_PORT=tcp://... for a service named rollout, and unknown ROLLOUT_ names are refused
    assert pod["enableServiceLinks"] is False
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS
    assert {e["name"] for e in container["env"]} <= SETTINGS
    assert not container["image"].endswith(":latest") and ":" in container["image"]


def test_probes_ask_what_the_service_answers_under_a_name_it_knows() -> None:
    from rollout.settings import LOOPBACK

    (deployment,) = (d for d in documents("deploy/kubernetes/rollout.yaml") if d["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    paths = {}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        paths[probe] = asked["path"]
        assert ports[asked["port"]] == Settings().port
        (host,) = [h["value"] for h in asked["httpHeaders"] if h["name"] == "Host"]
        assert host in LOOPBACK
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    mounted = {m["name"] for m in container["volumeMounts"]}
    volumes = {v["name"] for v in deployment["spec"]["template"]["spec"]["volumes"]}
    assert mounted == volumes


def test_selectors_find_the_pods() -> None:
    found = {d["kind"]: d for d in documents("deploy/kubernetes/rollout.yaml")}
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert found["Service"]["spec"]["selector"].items() <= labels.items()
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert found["PodDisruptionBudget"]["spec"]["minAvailable"] < found["Deployment"]["spec"]["replicas"]


# ------------------------------------------------------------------ pre-commit


def test_the_pre_commit_hook_is_a_command_that_exists() -> None:
    (hooks,) = documents(".pre-commit-hooks.yaml")
    (hook,) = hooks
    assert hook["entry"] == "rollout check --offline"
    wanted = re.compile(hook["files"])
    assert wanted.search("plans/frontdesk.yaml") and wanted.search("voice/plans/a/b.json")
    assert not wanted.search("plans.yaml") and not wanted.search("explans/a.yaml")
    json.dumps(hook)
