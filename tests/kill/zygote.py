"""A process that has loaded everything and opened nothing: from it others are forked, quickly.

It is asked in lines of JSON: a list of jobs, to be done in one process after the other. It answers in one
line: of each process how it ended, and what it said.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import threading
import traceback
from typing import Any

PATIENCE = 60  # seconds after which a process that hangs is ended


def main() -> None:
    warm_up()
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        answers = [ended(job) for job in json.loads(line)]
        sys.stdout.write(json.dumps(answers) + "\n")
        sys.stdout.flush()


def warm_up() -> None:
    """Loads what runs need, and reads the sources that fingerprints are made of, by letting runs go by."""
    from penstock.core.fingerprint import Fingerprints
    from penstock.stores.memory import MemoryStore
    from penstock.stores.sqlite import SqliteStore
    from penstock.testing.running import stand_ins
    from tests.kill import lives, races

    races.warm_up()
    assert SqliteStore.durable
    assert stand_ins.__name__
    for name in lives.MAKERS:
        one = lives.pipeline(name)
        prints = Fingerprints()
        for node in one.graph().nodes:
            prints.of_node(node)
        if name in ("chain", "nested", "stream", "conditions"):
            one.go(MemoryStore(), None)


def ended(job: dict[str, Any]) -> dict[str, Any]:
    """Does a job in a process of its own; a job names its function: ``tests.kill.lives:live``."""
    come, go = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(come)
        child(job, go)
    os.close(go)
    with open(come, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    answer: dict[str, Any] = {"signal": 0, "code": 0, "pid": pid}
    if os.WIFSIGNALED(status):
        answer["signal"] = os.WTERMSIG(status)
    else:
        answer["code"] = os.WEXITSTATUS(status)
    for line in said.decode().splitlines():
        answer.update(json.loads(line))
    return answer


def child(job: dict[str, Any], go: int) -> None:
    code = 1
    try:
        signal.alarm(PATIENCE)
        os.dup2(2, 1)
        os.close(0)

        def say(what: dict[str, Any]) -> None:
            os.write(go, json.dumps(what, default=repr).encode() + b"\n")

        module, _, name = str(job.get("call", "tests.kill.lives:live")).partition(":")
        try:
            getattr(importlib.import_module(module), name)(job, say)
            code = 0
        except BaseException as error:
            say({"error": type(error).__name__, "text": traceback.format_exc()})
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
