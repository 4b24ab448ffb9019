"""A workflow with every kind of task, each of which signs a ledger: for tests of the journal to kill and to resume.

A program of its own, so that it can be killed: ``python durable.py LEDGER VALUES [resume] [power]``. What its tasks gave is
written to the second file when the run is through; what a reader of its events was told to ``LEDGER.RUN``, a line an event.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from dirigent import CommandResult, RetryPolicy, RunHandle, StorageError, TaskContext, Workflow

LEDGER = Path(sys.argv[1]) if __name__ == "__main__" else Path(os.devnull)

#: How a process signs: the key of its task, its attempt, its id, and its start time.
SIGN = "echo $DIRIGENT_IDEMPOTENCY_KEY $DIRIGENT_ATTEMPT $(cut -d' ' -f1,22 /proc/$$/stat) >> "


def sign(context: TaskContext) -> None:
    start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    line = f"{context.idempotency_key} {context.attempt} {os.getpid()} {start}\n"
    file = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


def load(context: TaskContext) -> list[int]:
    sign(context)
    return [3, 1, 2]


def large(context: TaskContext, load: list[int]) -> bytes:
    sign(context)
    return bytes(load) * 4000


def flaky(context: TaskContext) -> str:
    sign(context)
    if context.attempt == 1:
        raise OSError("not yet")
    return "at last"


def again(context: TaskContext) -> str:
    sign(context)
    return "more" if context.attempt == 1 else "enough"


async def later(context: TaskContext, load: list[int]) -> int:
    sign(context)
    await asyncio.sleep(0.001)
    return len(load)


def square(item: int, context: TaskContext) -> int:
    sign(context)
    return item * item


def isolated(load: list[int]) -> int:
    return max(load)


def total(context: TaskContext, squares: list[int], inner: dict[str, Any], later: int) -> int:
    sign(context)
    return sum([*squares, *inner["cubes"], later])


def workflow() -> Workflow:
    """The graph: a dozen tasks of the workflow itself, some of which consist of others."""
    ledger = f"{SIGN} '{LEDGER}'"
    script = LEDGER.with_suffix(".sh")
    script.write_text(f"#!/bin/sh\n{ledger}\necho from a script\n")
    inner = Workflow("inner").add_task("start", load)
    inner.add_map("cubes", square, over="start", dependencies=["start"])
    wf = Workflow("durable", max_concurrency=4)
    wf.add_task("load", load)
    wf.add_task("large", large, dependencies=["load"])
    wf.add_task("flaky", flaky, retry_policy=RetryPolicy(max_attempts=4, initial_delay=0.01))
    wf.add_task("again", again, repeat_until=lambda value: value == "enough", repeat_delay=0.01)
    wf.add_task("later", later, dependencies=["load"])
    wf.add_map("squares", square, over="load")
    wf.add_workflow("inner", inner, dependencies=["load"])
    wf.add_task("isolated", isolated, dependencies=["load"], isolation="process")
    wf.add_task("left out", load, condition=lambda results: False)
    wf.add_task("let in", load, dependencies=["load"], condition=lambda results: results["load"].success)
    wf.add_approval("ok", "Go on?", dependencies=["load"])
    wf.add_shell("line", f"{ledger}; echo from a line", dependencies=["ok"])
    wf.add_script("script", script, dependencies=["line"])
    wf.add_task("total", total, dependencies=["squares", "inner", "later"])
    wf.add_task("cleared", load, teardown=True)
    return wf


def told(run: RunHandle) -> None:
    """Write down what is told, and answer what waits."""
    names: list[str] = []
    with open(f"{LEDGER}.{run.id}", "a", buffering=1) as file:
        for event in run.events():
            file.write(json.dumps(event) + "\n")
            names = names or list(run.tasks)
            # Of a run that goes on, what was told long ago is told again.
            if event["kind"] == "wait_started" and run.tasks[names[event["task"]]].status == "waiting":
                run.approve(names[event["task"]])


def written(result: CommandResult) -> str | None:
    """What a command wrote; nothing where that is lost."""
    try:
        return result.stdout
    except StorageError:
        return None


def main() -> int:
    """Carry the workflow out, or go on with the last run of it."""
    goes_on = "resume" in sys.argv[3:]
    durability = "power" if "power" in sys.argv[3:] else "process"
    handle = workflow().start(resume="last" if goes_on else None, durability=durability)
    reader = threading.Thread(target=told, args=(handle,))
    reader.start()
    run = handle.wait()
    reader.join()
    values = {name: run[name] for name in run if name not in ("line", "script")}
    values["large"] = values["large"].hex()
    values["lines"] = [written(run["line"]), written(run["script"])]
    Path(sys.argv[2]).write_text(json.dumps(values, sort_keys=True))
    return 0 if run.ok else 1


if __name__ == "__main__":
    sys.exit(main())
