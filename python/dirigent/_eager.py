"""Coroutines as tasks of an event loop whose first step is done at once: one that never waits costs the loop no turn.

CPython has such tasks from 3.12 on. Those before it give the first step of a new task to the loop, from where it is taken here.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable
from typing import Any

from dirigent._carry import OUR_FILES

OUR_FILES.add(__file__)

#: Makes a task of a coroutine, with this context.
Starter = Callable[[Any, contextvars.Context], "asyncio.Task[Any]"]


def starter(loop: asyncio.AbstractEventLoop) -> Starter:
    """What makes tasks on this loop. They are not to be made within a task."""
    if sys.version_info >= (3, 12):
        return lambda coroutine, context: asyncio.Task(
            coroutine, loop=loop, context=context, eager_start=True
        )
    # A loop, or a factory of tasks, that somebody else wrote may want to see every step, or every task.
    if (
        loop.get_task_factory() is None
        and type(loop).call_soon is asyncio.BaseEventLoop.call_soon
        and "call_soon" not in vars(loop)
    ):
        return _FirstSteps(loop).start
    if sys.version_info >= (3, 11):
        return lambda coroutine, context: loop.create_task(coroutine, context=context)
    return lambda coroutine, context: context.run(loop.create_task, coroutine)


class _FirstSteps:
    """Takes the first steps of tasks out of the hand of the loop."""

    __slots__ = ("call_soon", "context", "coroutine", "loop", "own", "step", "taking")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.own = vars(loop)
        self.call_soon = loop.call_soon
        self.taking = self.take
        self.coroutine: Any = None
        self.step: Any = None
        self.context: Any = None

    def start(self, coroutine: Any, context: contextvars.Context) -> asyncio.Task[Any]:
        self.coroutine = coroutine
        try:
            self.own["call_soon"] = self.taking
            if sys.version_info >= (3, 11):
                task = asyncio.Task(coroutine, loop=self.loop, context=context)
            else:
                task = context.run(asyncio.Task, coroutine, loop=self.loop)
        finally:
            self.own.pop("call_soon", None)
        try:
            self.context.run(self.step)
        except SystemExit:
            return task  # which holds it, as any other exception
        return task

    def take(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        whose = getattr(callback, "__self__", None)
        if isinstance(whose, asyncio.Task) and whose.get_coro() is self.coroutine:
            self.step, self.context = callback, context
            return None
        # Not the new task's: what a handler of a signal wants of the loop, for one, goes its way.
        return self.call_soon(callback, *args, context=context)
