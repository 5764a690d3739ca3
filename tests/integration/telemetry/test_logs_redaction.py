"""What no line of the log may show: the secrets of the settings, and the addresses of plans."""

from __future__ import annotations

import threading

import pytest

from rollout.adapters.telemetry.logs import Redactor
from rollout.settings import load_settings


def test_every_secret_of_the_settings_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "RETELL_API_KEY": "key-of-retell-1",
        "WEBHOOK_KEY": "webhook-key-1",
        "WEBHOOK_KEY_NEXT": "webhook-key-2",
        "OIDC_CLIENT_SECRET": "client-secret",
        "NOTIFY_URLS": "jsons://one.example/path-1,jsons://two.example/path-2",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"ROLLOUT_{name}", value)
    redactor = Redactor()
    redactor.know(load_settings().secrets)
    for value in given.values():
        for secret in value.split(","):
            assert redactor.clean(f"x {secret} y") == "x *** y"


def test_a_secret_that_holds_another_one_leaves_nothing_of_itself() -> None:
    redactor = Redactor()
    redactor.know(["jsons://host.example", "jsons://host.example/hook-token"])
    assert redactor.clean("to jsons://host.example/hook-token") == "to ***"


def test_the_secrets_of_plans_are_bounded_and_the_settings_own_stay() -> None:
    redactor = Redactor()
    redactor.know(["of-the-settings"])
    redactor.know_of_plan(["used-again-and-again"])
    for i in range(600):
        redactor.know_of_plan([f"address-of-plan-{i:04}"])
        redactor.know_of_plan(["used-again-and-again"])
    assert redactor.clean("of-the-settings used-again-and-again address-of-plan-0599") == "*** *** ***"
    assert redactor.clean("address-of-plan-0000") == "address-of-plan-0000"
    assert len(redactor._forms) < 2000


def test_lines_are_cleaned_while_secrets_become_known() -> None:
    """The set that was gone through changed its size in another thread: the line was lost with a RuntimeError."""
    redactor, stop = Redactor(), threading.Event()

    def learn() -> None:
        for i in range(300):
            redactor.know_of_plan([f"secret-number-{i:05}"])
        stop.set()

    learner = threading.Thread(target=learn)
    learner.start()
    while not stop.is_set():
        redactor.clean("a line " * 50)
    learner.join()
