"""Carrying out the functions of a run: in threads, and on an event loop where they are coroutine functions.

The native side decides what runs when; here is only how a function is called and what is told of it.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import contextvars
import os
import threading
import time
import types
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from dirigent import _native
from dirigent._context import CURRENT, Attempt, TaskContext
from dirigent._display import kernel_shell
from dirigent._errors import ProcessLost, TaskInterrupt

if TYPE_CHECKING:
    import asyncio

    from dirigent._native import Seat, Session
    from dirigent._options import Task

# Threads of runs that nobody waits for may be anywhere when the program leaves.
atexit.register(_native.leave)
# A connection to a database must not be in two processes.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_native.let_go)

#: How often a wait in the main thread looks for signals, in seconds.
SIGNAL_TICK_S = 0.02
#: How often the loop of a notebook's kernel does.
_KERNEL_TICK_S = 0.05

#: How long the loop is held up by coroutines that begin before others get a turn.
_SLICE_NS = 5_000_000

#: Files of ours that call what users wrote.
OUR_FILES = {__file__}

Job = tuple[int, int, Any, "tuple[Any, ...] | None", "dict[str, Any] | None", "Task | None"]


def _enter(around: Attempt | list[Any], function: Any, args: Any, kwargs: Any) -> Any:
    CURRENT.set(around)
    if kwargs is None:
        return function(*args) if args is not None else function()
    return function(*args, **kwargs) if args is not None else function(**kwargs)


def work(part: list[tuple[Session, contextvars.Context]], gate: _thread.LockType) -> None:
    """Take part in a run until there is nothing more to do. One call a thread."""
    _take_part(*part.pop())
    # That a thread ends costs others more than that it waits: those that carry out the last tasks come first. It holds nothing
    # of the run by now.
    with gate:
        pass


def _take_part(session: Session, base: contextvars.Context) -> None:
    """Take attempts of a run and carry them out until there are no more."""
    seat = session.seat(threading.get_ident())
    try:
        while True:
            try:
                _work(session, base, seat)
                return
            except TaskInterrupt:
                continue  # it came too late for the attempt it was meant for
    finally:
        seat.leave()


def _work(session: Session, base: contextvars.Context, seat: Seat) -> None:
    step, copy = seat.step, base.copy
    job = seat.take_first()
    while job is not None:
        task, attempt, function, args, kwargs, extras = job
        if extras is not None:
            job = _work_with_extras(session, copy(), seat, job)
            continue
        try:
            value = copy().run(_enter, [session, task, attempt], function, args, kwargs)
            if type(value) is types.CoroutineType:
                value = _run_coroutine(value)
        except BaseException as error:
            _fail(seat.fail, error, isinstance(error, Exception))
            job = seat.take_first()
        else:
            job = step(value)


def _work_with_extras(session: Session, context: contextvars.Context, seat: Seat, job: Job) -> Job | None:
    task, attempt, function, args, kwargs, extras = job
    assert extras is not None
    if attempt == 0:
        _answer_condition(session, context, seat, task, extras)
        return seat.take_first()
    around = Attempt(session, task, attempt, extras.timeout)
    try:
        if extras.carry is not None:
            # It is carried out elsewhere, or by other tasks.
            value = context.run(
                _enter, around, extras.carry, (around, function, args or (), kwargs or {}), None
            )
            if value is HANDED_ON:
                seat.hand_on()
                return seat.take_first()
        else:
            kwargs = _with_context(extras, around, kwargs)
            value = context.run(_enter, around, function, args, kwargs)
        if type(value) is types.CoroutineType:
            value = context.run(_run_coroutine, value)
        value, through = context.run(_finished, extras, value)
    except ProcessLost as lost:
        seat.lose(str(lost))
        return seat.take_first()
    except BaseException as error:
        _fail(seat.fail, error, extras.is_retried_on(error))
        return seat.take_first()
    if not through:
        seat.repeat(value)
        return seat.take_first()
    return seat.step(value)


#: What carries a task out by other tasks returns: their ends are its own.
HANDED_ON: Any = object()


def _with_context(extras: Task, around: Attempt, kwargs: dict[str, Any] | None) -> dict[str, Any] | None:
    if extras.context_parameter is None:
        return kwargs
    return {**(kwargs or {}), extras.context_parameter: TaskContext(around, extras.name)}


def _finished(extras: Task, value: Any) -> tuple[Any, bool]:
    if extras.transform_result is not None:
        value = extras.transform_result(value)
    if extras.repeat_until is not None:
        return value, bool(extras.repeat_until(value))
    return value, True


def _answer_condition(
    session: Session, context: contextvars.Context, seat: Seat, task: int, extras: Task
) -> None:
    from dirigent._result import Results

    assert extras.condition is not None
    # What it asks for are the tasks of its own workflow, whose names may be longer in the run.
    prefix = session.name(task).removesuffix(extras.name)
    try:
        holds = bool(context.run(extras.condition, Results(session, prefix)))
    except BaseException as error:
        seat.answer(False, f"its condition raised {describe(error)}")
    else:
        seat.answer(holds)


def _run_coroutine(coroutine: Any) -> Any:
    import asyncio

    return asyncio.run(coroutine)


def _fail(tell: Callable[..., Any], error: BaseException, retryable: bool) -> Any:
    # The frames above the user's function are ours, and say nothing.
    cut = error.__traceback__
    while cut is not None and cut.tb_frame.f_code.co_filename in OUR_FILES:
        cut = cut.tb_next
    error.__traceback__ = cut
    # Not before something fails: to load what lays tracebacks out takes longer than to import all of us.
    from dirigent._traceback import traceback_of

    return tell(error, _class_of(error), text_of(error), traceback_of(error), retryable)


def _class_of(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__
        if kind.__module__ in ("builtins", "__main__")
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def text_of(error: BaseException) -> str:
    """The text of an exception, whose own ``__str__`` may raise."""
    try:
        return str(error)
    except BaseException:
        return "(its text cannot be made)"


def describe(error: BaseException) -> str:
    """An exception in a sentence."""
    text = text_of(error)
    return f"{_class_of(error)}: {text}" if text else _class_of(error)


def attend(session: Session, base: contextvars.Context) -> None:
    """Start and interrupt threads as a run wants them, until it ends."""
    gate = _thread.allocate_lock()
    with gate:
        while (wanted := session.attend(SIGNAL_TICK_S)) != -1:
            if wanted == -2:
                session.interrupt(TaskInterrupt)
            for _ in range(wanted):
                # Not by `threading.Thread`, which waits for each to be up: a hundred at once would take too long. Like
                # daemon threads these hold nobody up at the end.
                _thread.start_new_thread(work, ([(session, base)], gate))


class OnLoop:
    """Carries out the coroutine functions of a run on the running event loop."""

    def __init__(self, session: Session, base: contextvars.Context) -> None:
        import asyncio

        from dirigent._eager import starter

        self.session = session
        self.base = base
        self.loop = asyncio.get_running_loop()
        self.create = starter(self.loop)
        #: Attempts that were taken and not started yet.
        self.waiting: deque[Job] = deque()
        #: The turn of the loop in which those are to be.
        self.turn: asyncio.Handle | None = None
        self.tasks: dict[tuple[int, int], asyncio.Task[Any]] = {}

    async def run(self) -> None:
        """Carry out the run; when this is cancelled, it is too."""
        ended = self.loop.create_future()

        def tell() -> None:
            if not ended.done():
                ended.set_result(None)

        def attend_and_tell() -> None:
            attend(self.session, self.base)
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits
                self.loop.call_soon_threadsafe(tell)

        descriptor = self.session.wake_descriptor()
        self.loop.add_reader(descriptor, self.wake)
        attendant = threading.Thread(target=attend_and_tell, name="dirigent-attendant", daemon=True)
        try:
            self.session.begin()
            attendant.start()
            self.begin()
            if kernel_shell() is not None:
                self.stay_awake(ended)
            await ended
        finally:
            self.loop.remove_reader(descriptor)
            for task in self.end():
                task.cancel()

    def stay_awake(self, ended: asyncio.Future[None]) -> None:
        """Turn the loop now and then: an interrupt of a notebook's kernel leaves a callback there and does not wake it."""
        if not ended.done():
            self.loop.call_later(_KERNEL_TICK_S, self.stay_awake, ended)

    def begin(self) -> None:
        """Start what is there, in the loop's next turn: coroutines cannot begin within a task."""
        if self.turn is None:
            self.turn = self.loop.call_soon(self.go_on)

    def go_on(self) -> None:
        self.turn = None
        self.start([])

    def end(self) -> list[asyncio.Task[Any]]:
        """Start nothing more, and return what is under way."""
        self.begin()
        assert self.turn is not None
        self.turn.cancel()
        return list(self.tasks.values())

    def wake(self) -> None:
        """Take what came in while the loop did something else."""
        self.session.woken()
        given_up = set(self.session.given_up_on_loop())
        if given_up:
            self.waiting = deque(job for job in self.waiting if job[:2] not in given_up)
        for key in given_up & self.tasks.keys():
            self.tasks[key].cancel()
        self.start(self.session.take_for_loop())

    def start(self, jobs: list[Job]) -> None:
        """Start attempts, and those that follow from what is through at once."""
        waiting, session, clock, copy = self.waiting, self.session, time.perf_counter_ns, self.base.copy
        waiting += jobs
        if self.turn is not None:
            return
        now_ns = clock()
        until_ns = now_ns + _SLICE_NS
        while True:
            while waiting:
                if now_ns > until_ns:
                    # Others want the loop, too.
                    return self.begin()
                since_ns = now_ns
                task, attempt, function, args, kwargs, extras = waiting.popleft()
                around = Attempt(session, task, attempt, None if extras is None else extras.timeout)
                context = copy()
                try:
                    if extras is not None:
                        kwargs = _with_context(extras, around, kwargs)
                    coroutine = context.run(_enter, around, function, args, kwargs)
                    running = self.create(coroutine, context)
                except KeyboardInterrupt:
                    raise  # it is meant for whoever runs the loop, and hit here by chance
                except BaseException as error:
                    waiting += self.failed(task, attempt, error, extras, 0)
                    continue
                now_ns = clock()
                if running.done():
                    waiting += self.told(task, attempt, extras, now_ns - since_ns, running)
                else:
                    self.tasks[task, attempt] = running
                    running.add_done_callback(partial(self.ended, task, attempt, extras, since_ns))
            waiting += session.take_for_loop()
            if not waiting:
                # Only now is the loop woken for what comes later.
                return

    def ended(
        self, task: int, attempt: int, extras: Task | None, since_ns: int, running: asyncio.Task[Any]
    ) -> None:
        self.tasks.pop((task, attempt), None)
        jobs = self.told(task, attempt, extras, time.perf_counter_ns() - since_ns, running)
        if jobs:
            self.start(jobs)

    def told(
        self, task: int, attempt: int, extras: Task | None, wall_ns: int, running: asyncio.Task[Any]
    ) -> list[Job]:
        """Hand in what came of a coroutine, and take what follows."""
        if running.cancelled():
            import asyncio

            return self.failed(task, attempt, asyncio.CancelledError(), extras, wall_ns)
        if (error := running.exception()) is not None:
            return self.failed(task, attempt, error, extras, wall_ns)
        value, through = running.result(), True
        if extras is not None:
            try:
                value, through = _finished(extras, value)
            except KeyboardInterrupt:
                raise
            except BaseException as problem:
                return self.failed(task, attempt, problem, extras, wall_ns)
        hand_in = self.session.step_on_loop if through else self.session.repeat_on_loop
        return hand_in(task, attempt, value, wall_ns)

    def failed(
        self, task: int, attempt: int, error: BaseException, extras: Task | None, wall_ns: int
    ) -> list[Job]:
        retryable = isinstance(error, Exception) if extras is None else extras.is_retried_on(error)

        def tell(error: BaseException, kind: str, text: str, trace: str, retryable: bool) -> list[Job]:
            return self.session.fail_on_loop(task, attempt, error, kind, text, trace, retryable, wall_ns)

        jobs: list[Job] = _fail(tell, error, retryable)
        return jobs
