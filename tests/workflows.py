"""What tests of workflows share: a run with a deadline, after which nothing may be left, and views of what happened in it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable
from typing import Any

from dirigent import Run, RunHandle, Workflow, _carry
from hypothesis import HealthCheck, settings

from tests.children import DEADLINE_S, wait_for

FINAL = {"completed", "failed", "timed_out", "cancelled", "skipped"}


def same(max_examples: int) -> settings:
    """Settings for the same examples on every machine, however slow it is."""
    return settings(
        max_examples=max_examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def ended(workflow: Workflow) -> Run:
    """Carry a workflow out, and see that it ends and leaves no task behind."""
    handle = workflow.start()
    try:
        return whole(handle.wait(DEADLINE_S))
    except TimeoutError:
        handle.kill()
        raise


def whole(run: Run) -> Run:
    """See that every task of a run that is over has ended."""
    left = {name: status for name, status in statuses(run).items() if status not in FINAL}
    assert not left, left
    return run


def statuses(run: Run) -> dict[str, str]:
    """The status of each task, as a word."""
    return {name: result.status.value for name, result in run.tasks.items()}


def wait_until_begun(*began: threading.Event) -> None:
    """Wait until functions have said that they run."""
    for event in began:
        assert event.wait(DEADLINE_S), "it never began"


def wait_for_status(handle: RunHandle, task: str, status: str) -> None:
    """Wait until a task stands so."""
    wait_for(
        f"`{task}` {status}",
        lambda: task in handle.tasks and handle.tasks[task].status.value == status,
    )


def started_in_order(run: Run) -> list[str]:
    """The names of the tasks in the order in which their attempts started."""
    names = list(run.tasks)
    return [names[event["task"]] for event in run.events() if event["kind"] == "attempt_started"]


def most_at_once(run: Run, names: Iterable[str], weigh: Callable[[str], float] = lambda _: 1) -> float:
    """The most that some tasks weighed together at any time."""
    all_names, which = list(run.tasks), set(names)
    now = most = 0.0
    for event in run.events():
        kind = event["kind"]
        if kind in ("attempt_started", "attempt_ended") and (name := all_names[event["task"]]) in which:
            now += weigh(name) if kind == "attempt_started" else -weigh(name)
            most = max(most, now)
    return most


def ends_of(run: Run, name: str) -> list[dict[str, Any]]:
    """How the attempts of a task ended, as events."""
    place = list(run.tasks).index(name)
    return [event for event in run.events() if event["kind"] == "attempt_ended" and event["task"] == place]


def with_time_enough(attempt: Callable[[float], bool], limits: tuple[float, ...] = (0.4, 4, 40)) -> None:
    """Try with growing time limits: a loaded machine may need longer before anything has begun.

    The attempt answers whether what it is about had begun when the limit hit.
    """
    assert any(attempt(limit) for limit in limits), "the limit hit before anything had begun"


def threads_of_runs() -> list[str]:
    """The threads that belong to runs. One that makes a pickle which never ends belongs to none."""
    names = [thread.name for thread in threading.enumerate()]
    named = [name for name in names if name.startswith("dirigent-") and name != "dirigent-pickler"]
    return named + [f"thread {number}" for number, frame in sys._current_frames().items() if _works(frame)]


def _works(frame: types.FrameType | None) -> bool:
    """Whether a thread was begun to carry out functions: those have no names."""
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame is not None and frame.f_code is _carry.work.__code__


class Endless:
    """Functions that do not end by themselves, and what ended them."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended_by: list[type[BaseException]] = []
        self.over = threading.Event()

    def thread(self) -> None:
        self.began.set()
        try:
            while True:
                time.sleep(0.005)
        except BaseException as error:
            self.ended_by.append(type(error))
            raise
        finally:
            self.over.set()

    async def coroutine(self) -> None:
        self.began.set()
        try:
            await asyncio.sleep(3600)
        except BaseException as error:
            self.ended_by.append(type(error))
            raise
        finally:
            self.over.set()
