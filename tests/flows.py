"""What tests of flows share: a few tasks, and what a flow returns in the time that a test has."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from typing import Any

from dirigent import Flow, TaskInterrupt, task

from tests.children import DEADLINE_S


@task
def same(x: Any) -> Any:
    return x


@task
def add(x: int, y: int = 1) -> int:
    return x + y


@task
def total(numbers: Iterable[int]) -> int:
    return sum(numbers)


@task
def fail(x: Any = "row") -> None:
    raise LookupError(f"no such {x}")


@task
async def later(x: Any) -> Any:
    await asyncio.sleep(0)
    return x


def outcome(of: Flow[..., Any], *args: Any) -> Any:
    """What a flow returns, in the time that a test has."""
    return of.submit(*args).result(DEADLINE_S)


def told(of: Flow[..., Any], *args: Any) -> tuple[Any, dict[str, str]]:
    """What a flow returns, and the status of each of its tasks."""
    handle = of.submit(*args)
    value = handle.result(DEADLINE_S)
    run = handle.run.wait(DEADLINE_S)
    return value, {name: result.status.value for name, result in run.tasks.items()}


def until_interrupted(began: threading.Event, ended: threading.Event) -> None:
    """Go on until somebody interrupts, and say so."""
    began.set()
    deadline = time.monotonic() + DEADLINE_S
    try:
        while time.monotonic() < deadline:
            time.sleep(0.005)
    except TaskInterrupt:
        ended.set()
        raise
