"""Flows whose tasks and bodies sign a ledger, and that are killed at one of their signatures: for tests of their going on.

A program of its own: ``python durable_flows.py FLOW LEDGER VALUE [resume]``. With ``KILL_AT=n`` the process sends itself a
signal, by default SIGKILL, at the n-th signature. What the flow returned is written to the file ``VALUE``.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from dirigent import Flow, TaskContext, TaskFailedError, flow, task
from dirigent._flow_run import FlowRun

LEDGER = Path(sys.argv[2]) if __name__ == "__main__" else Path(os.devnull)

# No plain numbers: those would be a part of what the functions do.
_signatures: list[str] = []
_lock = threading.Lock()


def sign(text: str) -> None:
    """Add a line to the ledger; at the chosen one, die."""
    with _lock:
        with open(LEDGER, "a") as file:
            file.write(text + "\n")
        _signatures.append(text)
        if len(_signatures) == int(os.environ.get("KILL_AT", "0")):
            os.kill(os.getpid(), int(os.environ.get("KILL_BY", signal.SIGKILL)))
            for _ in range(200):  # until somebody interrupts
                time.sleep(0.005)


def signed(context: TaskContext) -> None:
    sign(f"{context.task} {context.attempt}")


@task
def load(count: int, context: TaskContext) -> list[int]:
    signed(context)
    return list(range(1, count + 1))


@task
def load_once(count: int, context: TaskContext) -> Iterator[int]:
    signed(context)
    return (number for number in range(1, count + 1))


@task
def halve(x: int, context: TaskContext) -> int:
    signed(context)
    return x // 2


@task
def add(x: int, y: int, context: TaskContext) -> int:
    signed(context)
    return x + y


@task
def total(numbers: Any, context: TaskContext) -> int:
    signed(context)
    return sum(numbers)


@task
def fail(x: int, context: TaskContext) -> None:
    signed(context)
    raise LookupError(f"no such {x}")


@task
async def later(x: int, context: TaskContext) -> int:
    signed(context)
    await asyncio.sleep(0.001)
    signed(context)
    return x * 10


@task(isolation="process")
def apart(x: int) -> int:
    return x + 100


@flow
def loop(x: int) -> tuple[int, int]:
    count = 0
    while x > 1:
        x = halve(x).result()
        count += 1
        sign("body")
    return x, count


@flow
def branch(x: int) -> list[Any]:
    found = []
    for number in range(3):
        half = halve(x + number)
        sign("body")
        if half.result() % 2:
            found.append(add(half, number))
        else:
            found.append(add(number, y=half))
    try:
        fail(1).result()
    except TaskFailedError:
        found.append(halve(9))
    return found


@flow
def maps(count: int) -> Any:
    numbers = load(count)
    more = add.map(numbers, y=numbers[0] if isinstance(numbers, list) else 10)
    most = add.map(more, y=total(more))
    sign("body")
    eager = halve.map([4, 5, halve(6)])
    return total(most), most, halve.map(eager), total.map(load.map(load(3)))


@flow
def lost_values(count: int) -> Any:
    """What a generator gives cannot be recorded: it is made again."""
    more = add.map(load_once(count), y=1)
    sign("body")
    return total(add.map(more, y=2))


@dataclass
class Point:
    x: int
    words: frozenset[str]


@task
def shown(*things: Any, context: TaskContext) -> int:
    signed(context)
    return len(things)


@flow
def arguments(x: int) -> int:
    """Arguments that are equal in each process, and look different in each."""
    words = {"one", "two", "three", "four"}
    same = [x]
    node: list[Any] = [x]
    node.append(node)
    count = shown(words, Point(x, frozenset(words)), Path("here"), shown, Point.__eq__).result()
    count += shown({"a": same, "b": same}, partial(max, x), lambda: x, object(), _lock).result()
    return shown(node, date(2024, 2, 29), 1.5, 2**70, b"x", None, {"b": 1, "a": words}, count).result()


@flow
def inner(x: int) -> Any:
    return add(halve(x), 1)


@flow
def nested(x: int) -> Any:
    first = inner(x)
    return inner(first), inner(first.result()), apart(x), [inner(2) for _ in range(2)]


@flow
def mixed(x: int) -> Any:
    """Coroutine functions in a flow that is none."""
    first = later(x)
    return later.map(load(2)), add(first, later(first).result())


@flow
async def asynchronous(x: int) -> Any:
    async def chain(start: int) -> int:
        for _ in range(2):
            start = await add(start, 1)
            sign("body")
        return start

    chains = await asyncio.gather(chain(x), chain(x), chain(x + 10))
    numbers = load(3)
    return chains, await later(x), later.map(numbers), total(numbers)


@flow
def raising(x: int) -> None:
    """The process is killed when it is recorded that the body raised, and nothing else."""
    began = later(x)
    while began.status != "completed":
        time.sleep(0.001)
    slow(x)
    raise LookupError(f"no such {x}")


@task
def slow(x: int) -> None:
    for _ in range(200):
        time.sleep(0.005)


def killed_when_it_raised(run: FlowRun, _: BaseException) -> None:
    def kill() -> None:
        while run._session.wait_task(0, 1.0) is None:
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill).start()


FLOWS: dict[str, tuple[Flow[..., Any], int]] = {
    "loop": (loop, 20),
    "branch": (branch, 3),
    "maps": (maps, 3),
    "lost values": (lost_values, 2),
    "arguments": (arguments, 2),
    "nested": (nested, 8),
    "mixed": (mixed, 1),
    "asynchronous": (asynchronous, 1),
}


def main() -> None:
    """Carry a flow out, or go on with its last run."""
    chosen, argument = {**FLOWS, "raising": (raising, 1)}[sys.argv[1]]
    if chosen is raising:
        FlowRun.give_up = killed_when_it_raised  # type: ignore[method-assign]
    if "resume" in sys.argv[4:]:
        chosen = chosen.with_options(resume="last")
    value: Callable[[int], Any] = chosen
    returned = asyncio.run(value(argument)) if chosen.is_async else value(argument)
    Path(sys.argv[3]).write_text(json.dumps(returned))


if __name__ == "__main__":
    main()
