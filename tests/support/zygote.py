"""Runs many `rollout` commands quickly, each in a process of its own: the packages are imported once, then forked.

`python -m tests.support.zygote` reads one JSON request a line: args, cwd, env, input, out, err (files).
It answers with one line: the exit code and the processor time of that command, in seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, NoReturn

import rollout.adapters.planfile
import rollout.adapters.retell
import rollout.adapters.store.audit
import rollout.adapters.store.migrate
import rollout.app
import rollout.interfaces.backend.local
import rollout.interfaces.cli
import rollout.interfaces.cli.doctor
import rollout.interfaces.views.rollout
import rollout.kit.build


def run(request: dict[str, Any]) -> NoReturn:
    """The child: becomes the command."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    for number, name in enumerate(("input", "out", "err")):
        os.dup2(os.open(request[name], os.O_WRONLY if number else os.O_RDONLY), number)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.stdout = os.fdopen(1, "w", encoding=request["encoding"])
    sys.stderr = os.fdopen(2, "w", encoding=request["encoding"])
    sys.argv = ["rollout", *request["args"]]
    code = 0
    try:
        rollout.interfaces.cli.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Serves requests until standard input ends."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(line))
        _, status, used = os.wait4(child, 0)
        answer = {"code": os.waitstatus_to_exitcode(status), "cpu": used.ru_utime + used.ru_stime}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
