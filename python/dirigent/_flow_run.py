"""The run of a flow: its body is one task, and what the body calls becomes further tasks of the same run.

What users type is in ``_flow``, what they get back in ``_future``.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from dirigent import _native
from dirigent._carry import HANDED_ON, OUR_FILES, SIGNAL_TICK_S, OnLoop
from dirigent._context import Attempt
from dirigent._errors import (
    TaskCancelledError,
    TaskError,
    TaskFailedError,
    TaskTimeoutError,
    UsageError,
    WorkflowError,
)
from dirigent._future import ENDS, Future, Ground, MapFuture, futures_in, given, held, settled
from dirigent._options import Task
from dirigent._run import Run, RunHandle
from dirigent._workflow import Workflow

if TYPE_CHECKING:
    from dirigent._flow import Flow, TaskFunction

OUR_FILES.add(__file__)

#: The part of a flow that this code is the body of; ``None`` outside of flows, and in the bodies of tasks.
SCOPE: ContextVar[Scope | None] = ContextVar("dirigent_flow", default=None)

#: What a run may do at once where nobody says: so many functions in threads, and so many tasks in all.
_MOST_IN_THREADS = 32
_MOST_TASKS = 1000
#: The resource that functions in threads share.
_THREADS = "threads"

_BODY = "body"
_POLICY = {"limits": {"grace_ms": 5000}, "lost_attempts_allowed": 2}
_SLOTLESS = json.dumps({**_POLICY, "slotless": True})
#: The task that an event is about.
_TASK_OF_EVENT = re.compile(r'"task":(\d+)')


class Call:
    """One call of a task: what becomes a task of the run."""

    __slots__ = ("args", "fan", "kwargs", "name", "needs", "task")

    def __init__(
        self,
        name: str,
        task: TaskFunction,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        needs: tuple[int, ...],
        fan: Fan | None = None,
    ) -> None:
        self.name = name
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self.needs = needs
        #: Set where this is no call, but stands for as many as there will be.
        self.fan = fan

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, with values in the places of futures."""
        if self.needs:
            return given((self.args, self.kwargs))  # type: ignore[no-any-return]
        return self.args, self.kwargs

    def forget(self) -> None:
        """Let go of everything: the native side keeps the call itself as long as the run."""
        self.args, self.kwargs, self.fan = (), {}, None


class CallGround(Ground, Protocol):
    """A ground on which calls can be put."""

    #: Whether nothing is run on it.
    draws: bool
    lock: threading.RLock
    names: set[str]

    def declare(self, calls: Sequence[Call]) -> int:
        """Take calls as tasks, and return the index of the first."""


class Scope:
    """A body on its ground: the flow's own, or that of a flow called in it."""

    __slots__ = ("_counts", "_ground", "_prefix")

    def __init__(self, ground: CallGround, prefix: str = "") -> None:
        self._ground = ground
        self._prefix = prefix
        self._counts: dict[str, int] = {}

    def call(self, task: TaskFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        """Make a call a task of the run."""
        (args, kwargs), needs = held(self._ground, (args, kwargs))
        call = Call(self.name(task.name), task, args, kwargs, needs)
        return Future(self._ground, self._ground.declare([call]), call.name)

    def map(
        self, task: TaskFunction, items: Any, bound: tuple[Any, ...], common: dict[str, Any]
    ) -> MapFuture[Any]:
        """Make a call for each item a task of the run."""
        (bound, common), needs = held(self._ground, (bound, common))
        if isinstance(items, Future) or (isinstance(items, MapFuture) and items._index is not None):
            return self._map_later(task, items, bound, common, needs)
        calls = []
        for item in items:
            item, more = held(self._ground, item)
            calls.append(
                Call(self.name(task.name), task, (*bound, item), common, tuple({*needs, *more}))
            )
        first = self._ground.declare(calls) if calls else 0
        futures = [Future[Any](self._ground, first + n, call.name) for n, call in enumerate(calls)]
        return MapFuture(self._ground, calls[0].name if calls else task.name, futures)

    def _map_later(
        self,
        task: TaskFunction,
        source: Future[Any] | MapFuture[Any],
        bound: tuple[Any, ...],
        common: dict[str, Any],
        needs: tuple[int, ...],
    ) -> MapFuture[Any]:
        if source._ground is not self._ground:
            held(self._ground, source)
        whole = MapFuture[Any](self._ground, self.name(f"{task.name}.map"), None)
        fan = Fan(whole, task, source, bound, common, needs)
        draws = self._ground.draws
        # It is sized as soon as what it goes over has a size: the calls themselves wait one by one.
        sizing = source._sizing_needs if isinstance(source, MapFuture) and not draws else source._needs
        whole._sizing_needs = tuple(dict.fromkeys((*sizing, *needs)))
        call = Call(whole.name, task, (), {}, whole._sizing_needs, fan)
        whole._index = self._ground.declare([call])
        chain = source._chain if isinstance(source, MapFuture) and not draws else ()
        whole._chain = (whole._index, *chain)
        return whole

    def name(self, own: str) -> str:
        """The name of the next call of this name: ``own``, ``own[1]``, ``own[2]`` and so on."""
        with self._ground.lock:
            while True:
                count = self._counts[own] = self._counts.get(own, -1) + 1
                name = f"{self._prefix}{own}[{count}]" if count else f"{self._prefix}{own}"
                if name not in self._ground.names:
                    self._ground.names.add(name)
                    return name

    def within(self, flow: str) -> Scope:
        """The scope of a flow that is called in this one."""
        return Scope(self._ground, f"{self.name(flow)}/")


class Fan:
    """What makes the calls of a map once it is known how many there are."""

    __slots__ = ("bound", "common", "needs", "source", "task", "whole")

    def __init__(
        self,
        whole: MapFuture[Any],
        task: TaskFunction,
        source: Future[Any] | MapFuture[Any],
        bound: tuple[Any, ...],
        common: dict[str, Any],
        needs: tuple[int, ...],
    ) -> None:
        self.whole = whole
        self.task = task
        self.source = source
        self.bound = bound
        self.common = common
        self.needs = needs

    def calls(self, ground: FlowRun) -> list[Call]:
        """The calls, one for each item."""
        if isinstance(self.source, MapFuture):
            futures = ground.sized(self.source)
            items = [(held(ground, future)[0], future._needs) for future in futures]
        else:
            items = [(item, ()) for item in ground.items(self.source)]
        name, task, bound, common, needs = self.whole.name, self.task, self.bound, self.common, self.needs
        return [
            Call(f"{name}/{n}", task, (*bound, item), common, (*needs, *own))
            for n, (item, own) in enumerate(items)
        ]


class _FlowWorkflow(Workflow):
    """The options of tasks, checked as those of any workflow, for tasks that are declared later."""

    def _policy(self, key: str | None, policy: dict[str, Any]) -> int:
        number = super()._policy(key, policy)
        self.made = {**_POLICY, **policy}
        return number


class FlowRun:
    """One run of a flow, from its declaration to its outcome."""

    draws = False

    def __init__(self, flow: Flow[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        most = flow.max_concurrency
        self._shares_threads = most is None
        resources = {_THREADS: _MOST_IN_THREADS, **flow.resources} if most is None else flow.resources
        self._workflow = workflow = _FlowWorkflow(
            flow.name,
            flow.timeout,
            flow.fail_fast,
            max_concurrency=_MOST_TASKS if most is None else most,
            resources=resources,
        )
        workflow._has_loop = flow.is_async
        self._holder: list[FlowRun] = [self]
        carry = _carry_async_body if flow.is_async else _carry_body
        plan = workflow._plan
        function = plan.function(carry, flow.shown, [], flow.is_async)
        plan.add_function(_BODY, None, function, (self._holder,), None, plan.policy(_SLOTLESS), None)
        self.flow = flow
        self.args = args
        self.kwargs = kwargs
        self.lock = threading.RLock()
        self.names = {_BODY}
        self.loop: asyncio.AbstractEventLoop | None = None
        self._session = workflow._session()
        self.handle = RunHandle(self._session, workflow)
        self._base = contextvars.copy_context()
        self._base.run(SCOPE.set, None)
        self._serving: _Serving | None = None
        self._terms: dict[int, tuple[str, Task | None]] = {}
        self._calls: list[Call] = []
        self._fans: dict[int, MapFuture[Any]] = {}
        self._items: dict[int, list[Any]] = {}
        self._seen: set[int] = set()
        self._needs: dict[int, tuple[int, ...]] = {}
        self._arrivals: dict[int, list[asyncio.Future[None]]] = {}
        self._watcher: threading.Thread | None = None
        self._raised: BaseException | None = None
        self._is_over = False

    # --- declaring ---

    def declare(self, calls: Sequence[Call]) -> int:
        """Take calls as tasks of the run, and return the index of the first."""
        return self._declare(calls, self._session.declare)

    def _declare(self, calls: Sequence[Call], hand_over: Callable[[_native.Plan], Any]) -> int:
        plan = _native.Plan()
        functions: dict[int, int] = {}
        policies: dict[str, int] = {}
        needs: dict[int, str] = {}
        for call in calls:
            terms, extras = (_SLOTLESS, _fanning(call)) if call.fan is not None else self._terms_of(call)
            if terms not in policies:
                policies[terms] = plan.policy(terms)
            key = id(call.task)
            if key not in functions:
                task = call.task
                functions[key] = plan.function(_carry_call, task.shown, [], task.is_async and call.fan is None)
            for need in call.needs:
                if need not in needs:
                    needs[need] = f"#{need}"
                    plan.refer(needs[need], need)
            named = [needs[need] for need in call.needs]
            plan.add_function(call.name, named, functions[key], (call,), None, policies[terms], extras)
        if any(call.task.is_async for call in calls):
            self._need_loop()
        # Nobody else adds tasks meanwhile: those of the plan get the next places.
        with self.lock:
            first = len(self._session)
            hand_over(plan)
            if calls and len(self._session) == first:
                raise WorkflowError(
                    f"the run of flow `{self.flow.name}` has ended and takes no more tasks", "run.ended"
                )
            self._calls += calls
            for index, call in enumerate(calls, first):
                self._needs[index] = call.needs
                if call.fan is not None:
                    self._fans[index] = call.fan.whole
        return first

    def _terms_of(self, call: Call) -> tuple[str, Task | None]:
        """The policy of a call, and what Python has to know to carry it out."""
        task = call.task
        known = self._terms.get(id(task.terms))
        if known is None:
            terms = task.terms
            resources = dict(terms.resources)
            if self._shares_threads and not task.is_async and _THREADS not in resources:
                resources[_THREADS] = 1
            options = {**terms.options, "resources": resources}
            extras = terms.task(task)
            self._workflow._options(extras, options)
            if extras.carry is not None:
                extras.carry = _carry_in_process
            is_plain = extras.timeout is None and extras.retry_policy is None and extras.carry is None
            known = (json.dumps(self._workflow.made), None if is_plain else extras)
            self._terms[id(terms)] = known
        policy, shared = known
        if task.context_parameter is None:
            return policy, shared
        own = task.terms.task(task, call.name)
        own.carry = shared.carry if shared is not None else None
        own.context_parameter = task.context_parameter
        return policy, own

    def expand(self, fan: Fan) -> None:
        """Make the calls of a map, unless it has been done."""
        calls = fan.calls(self)
        whole = fan.whole
        assert whole._index is not None
        with self.lock:
            if whole._futures is not None:
                return
            status, attempt, *_ = self._session.task(whole._index)
            if status != "running":
                return
            index = whole._index
            first = self._declare(calls, lambda plan: self._session.expand(index, attempt, plan, True))
            whole._futures = [Future(self, first + n, call.name) for n, call in enumerate(calls)]
        whole._is_sized.set()

    def items(self, source: Future[Any]) -> list[Any]:
        """The items of a task's value, which may be such that they can be gone through only once."""
        with self.lock:
            if source._index not in self._items:
                self._items[source._index] = list(source._value())
            return self._items[source._index]

    def sized(self, whole: MapFuture[Any]) -> list[Future[Any]]:
        """The calls of a map whose items are there. They may have to be made first."""
        assert whole._index is not None
        while whole._futures is None:
            call = next(call for call in self._calls if call.fan is not None and call.fan.whole is whole)
            assert call.fan is not None
            self.expand(call.fan)
            if whole._futures is None and self._ended(whole._index, SIGNAL_TICK_S) is not None:
                raise WorkflowError(f"map `{whole.name}` was ended before its items were known", "task.no_items")
        return whole._futures

    # --- waiting ---

    def _ended(self, index: int, at_most_s: float = 0.0) -> str | None:
        return self._session.wait_task(index, at_most_s)

    def status(self, future: Future[Any]) -> str:
        """Where a task stands. Whoever reads that it failed has looked."""
        status = self._session.task(future._index)[0]
        if status in ENDS:
            self._see(future._index)
        return status

    def wait(self, future: Future[Any], timeout: float | None) -> bool:
        """Wait for the end of a task, and say whether it came in time."""
        index = future._index
        return self._until(lambda at_most_s: self._ended(index, at_most_s) is not None, timeout, future.name)

    def wait_until_sized(self, fan: MapFuture[Any], timeout: float | None) -> bool:
        """Wait until it is known how many calls a map makes, or never will be, and say whether that came in time."""
        index = fan._index
        assert index is not None

        def is_known(at_most_s: float) -> bool:
            return fan._is_sized.wait(at_most_s) or (self._ended(index) is not None)

        return self._until(is_known, timeout, fan.name)

    def _until(self, look: Callable[[float], bool], timeout: float | None, name: str) -> bool:
        if look(0.0):
            return True
        if self.loop is not None and asyncio._get_running_loop() is self.loop:
            raise UsageError(
                f"to wait for `{name}` here would stop the event loop that it may need\nhint: await the future",
                "flow.blocks_loop",
            )
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            # Short, so that an interrupt gets through.
            left = SIGNAL_TICK_S if deadline is None else min(SIGNAL_TICK_S, deadline - time.monotonic())
            if left <= 0:
                return False
            if look(left):
                return True
            if self._is_over:
                if look(0.0):
                    return True
                raise WorkflowError(f"the run of flow `{self.flow.name}` broke off", "run.broken_off")

    async def arrival(self, future: Future[Any]) -> None:
        """Wait for the end of a task on an event loop."""
        arrived = asyncio.get_running_loop().create_future()
        index = future._index
        with self.lock:
            self._arrivals.setdefault(index, []).append(arrived)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="dirigent-watcher", daemon=True)
                self._watcher.start()
        if self._ended(index) is not None or self._is_over:
            self._arrive(index)
        await arrived

    def _watch(self) -> None:
        place = 0
        while (lines := self._session.events(place, 0.1)) is not None:
            place += len(lines)
            for line in lines:
                found = _TASK_OF_EVENT.search(line)
                if found is None:
                    continue
                index = int(found[1])
                if index in self._arrivals and self._ended(index) is not None:
                    self._arrive(index)
        for index in list(self._arrivals):
            self._arrive(index)

    def _arrive(self, index: int) -> None:
        with self.lock:
            arrived = self._arrivals.pop(index, ())
        for future in arrived:
            try:
                future.get_loop().call_soon_threadsafe(_set, future)
            except RuntimeError:
                pass  # its loop is closed: nobody waits

    def value(self, future: Future[Any]) -> Any:
        """The value of a task that has ended, or the exception that says why there is none."""
        if self._ended(future._index) == "completed":
            kept = self._session.value(future._index)
            if kept is not None:
                return kept[0]
        self._see(future._index)
        try:
            return Run(self._session, self.flow.name)[future.name]
        except TaskError as error:
            if error.__cause__ is None:
                error.__cause__ = self._reason(future._index)
            raise

    def _reason(self, index: int) -> BaseException | None:
        """What was raised where a task was skipped because of it."""
        for need in self._ancestors(index):
            error = self._session.error(need)
            if error is not None and self._ended(need) == "failed":
                return error
        return None

    def _ancestors(self, index: int) -> Iterable[int]:
        """A task, what it needs, what that needs and so on; of a map also its calls."""
        seen, left = {index}, [index]
        while left:
            index = left.pop()
            yield index
            fan = self._fans.get(index)
            parts = [future._index for future in fan._futures or ()] if fan is not None else []
            more = [need for need in (*self._needs.get(index, ()), *parts) if need not in seen]
            seen.update(more)
            left += more

    def _see(self, index: int) -> None:
        """Note that somebody knows how a task ended, and with it what it depended on."""
        if index not in self._seen and self._ended(index) not in (None, "completed"):
            self._seen.update(self._ancestors(index))

    # --- running ---

    def _need_loop(self) -> None:
        with self.lock:
            if not self.flow.is_async and self._serving is None:
                self._serving = _Serving(self._session, self._base)
                self.loop = self._serving.loop

    def give_up(self, error: BaseException) -> None:
        """Note what the body raised, and end everything else as soon as that is recorded."""
        if self._session.task(0)[0] != "running":
            return  # it was ended, and this is how it heard of it
        self._raised = error

        def end() -> None:
            while self._ended(0, 1.0) is None and not self._is_over:
                pass
            self._session.cancel()

        threading.Thread(target=end, name="dirigent-end", daemon=True).start()

    def close(self) -> None:
        """Let go of everything that is only for the run: to be called when it has ended."""
        self._is_over = True
        if self._serving is not None:
            self._serving.close()
        with self.lock:
            calls, self._calls = self._calls, []
            self._holder.clear()
        for call in calls:
            call.forget()
        self._items.clear()

    def outcome(self) -> Any:
        """What the body returned.

        Raises:
            TaskFailedError: A task failed, and nobody looked at it.
            TaskTimeoutError: The flow took longer than it may.
            TaskCancelledError: It was cancelled.
            BaseException: What the body raised.
        """
        if self._raised is not None:
            raise self._raised
        name, verdict = self.flow.name, self._session.verdict()
        if verdict != "succeeded":
            reason = self._cancel_reason()
            if reason == "timed_out":
                raise TaskTimeoutError(
                    f"flow `{name}` took longer than {self.flow.timeout:g} s", "run.timed_out", _BODY
                )
            if reason is not None:
                raise TaskCancelledError(f"flow `{name}` was cancelled", "run.cancelled", _BODY)
            self._raise_unseen()
        return Run(self._session, name)[_BODY]

    def _cancel_reason(self) -> str | None:
        for event in self.handle.events():
            if event["kind"] == "cancel_requested":
                return str(event["reason"])
        return None

    def _raise_unseen(self) -> None:
        unseen = []
        for index, status in enumerate(self._session.statuses()):
            fan = self._fans.get(index)
            is_of_parts = fan is not None and fan._futures is not None
            if status in ("failed", "timed_out") and not (index == 0 or index in self._seen or is_of_parts):
                unseen.append(index)
        if not unseen:
            return
        names = self._session.names(0)
        first = self.handle.tasks[names[unseen[0]]]
        rest = f" (and {len(unseen) - 1} more tasks failed)" if len(unseen) > 1 else ""
        raise TaskFailedError(
            f"task `{first.name}` {first.sentence}, and nobody asked for its result{rest}",
            "task.failed",
            first.name,
        ) from first.error


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _carry_call(call: Call, **context: Any) -> Any:
    args, kwargs = call.arguments()
    return call.task.function(*args, **kwargs, **context)


def _carry_in_process(around: Attempt, function: object, args: tuple[Call], kwargs: Any) -> Any:
    from dirigent._isolation import carry

    (call,) = args
    positional, named = call.arguments()
    return carry(around, call.task.plain(), positional, {**named, **kwargs})


def _fanning(call: Call) -> Task:
    """How the task that stands for a map is carried out: by its calls."""
    task = Task(call.name, call.task.function)
    task.carry = _carry_fan
    return task


def _carry_fan(around: Attempt, function: object, args: tuple[Call], kwargs: Any) -> Any:
    fan = args[0].fan
    if fan is not None:
        ground = fan.whole._ground
        assert isinstance(ground, FlowRun)
        ground.expand(fan)
    return HANDED_ON


def _carry_body(holder: list[FlowRun]) -> Any:
    (run,) = holder
    SCOPE.set(Scope(run))
    try:
        returned = run.flow.function(*run.args, **run.kwargs)
    except BaseException as error:
        run.give_up(error)
        raise
    return settled(returned)


async def _carry_async_body(holder: list[FlowRun]) -> Any:
    (run,) = holder
    SCOPE.set(Scope(run))
    run.loop = asyncio.get_running_loop()
    try:
        returned = await run.flow.function(*run.args, **run.kwargs)
    except BaseException as error:
        run.give_up(error)
        raise
    for future in futures_in(returned):
        await future
    return settled(returned)


class _Serving:
    """An event loop in a thread of its own, for the coroutines of a flow whose body is an ordinary function."""

    def __init__(self, session: _native.Session, base: contextvars.Context) -> None:
        self._session = session
        self._base = base
        self.loop = asyncio.new_event_loop()
        self._ended: asyncio.Future[None] = self.loop.create_future()
        self._thread = threading.Thread(target=self._serve, name="dirigent-loop", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._carry_out())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

    async def _carry_out(self) -> None:
        on_loop = OnLoop(self._session, self._base)
        descriptor = self._session.wake_descriptor()
        self.loop.add_reader(descriptor, on_loop.wake)
        try:
            on_loop.start(self._session.take_for_loop())
            await self._ended
        finally:
            self.loop.remove_reader(descriptor)
            running = list(on_loop.tasks.values())
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def close(self) -> None:
        """End the loop. A coroutine that does not let itself be cancelled goes on in its thread."""
        try:
            self.loop.call_soon_threadsafe(_set, self._ended)
        except RuntimeError:
            return
        self._thread.join(_POLICY["limits"]["grace_ms"] / 1000)  # type: ignore[index]
