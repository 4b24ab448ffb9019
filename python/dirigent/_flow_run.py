"""The run of a flow: its body is one task, and what the body calls becomes further tasks of the same run.

What users type is in ``_flow``, what they get back in ``_future``.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dirigent import _native
from dirigent._carry import HANDED_ON, OUR_FILES, SIGNAL_TICK_S
from dirigent._context import Attempt
from dirigent._errors import (
    TaskCancelledError,
    TaskFailedError,
    TaskInterrupt,
    TaskSkippedError,
    TaskTimeoutError,
    UsageError,
    WorkflowError,
)
from dirigent._fingerprint import fingerprint
from dirigent._flow_key import key_of
from dirigent._flow_scope import Call, Fan, Scope
from dirigent._flow_serving import Serving, arrive
from dirigent._future import ENDS, SCOPE, Future, MapFuture, futures_in, settled
from dirigent._options import Task
from dirigent._run import Run, RunHandle
from dirigent._workflow import Workflow

if TYPE_CHECKING:
    import asyncio

    from dirigent._flow import Flow

OUR_FILES.add(__file__)

#: What a run may do at once where nobody says: so many functions in threads, and so many tasks in all.
_MOST_IN_THREADS = 32
_MOST_TASKS = 1000
#: The resource that functions in threads share.
_THREADS = "threads"

_BODY = "body"
_POLICY = {"limits": {"grace_ms": 5000}, "lost_attempts_allowed": 2}
_FAN = json.dumps({**_POLICY, "slotless": True, "whole": {"of": "items"}})
#: The run goes as its body does, which knows of every failure whether somebody looked at it.
_OF_BODY = json.dumps({**_POLICY, "slotless": True, "decides": True})
#: How long the end of a run waits for coroutines that were cancelled.
_PATIENCE_S = 5.0
#: The task that an event is about.
_TASK_OF_EVENT = re.compile(r'"task":(\d+)')


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
        plan.add_function(_BODY, None, function, (self._holder,), None, plan.policy(_OF_BODY), None)
        self.flow = flow
        self.args = args
        self.kwargs = kwargs
        self.lock = threading.RLock()
        self.names = {_BODY}
        self.loop: asyncio.AbstractEventLoop | None = None
        self._session = self._opened(workflow)
        self.handle = RunHandle(self._session, workflow)
        self._run = Run(self._session, flow.name)
        self._base = contextvars.copy_context()
        self._base.run(SCOPE.set, None)
        self._serving: Serving | None = None
        self._terms: dict[int, tuple[str, Task | None]] = {}
        #: The functions that were called, with their fingerprints, by id.
        self._codes: dict[int, tuple[object, str]] = {}
        self._calls: list[Call] = []
        self._fans: dict[int, Fan] = {}
        self._items: dict[int, list[Any]] = {}
        self._items_lock = threading.Lock()
        self._seen: set[int] = set()
        self._needs: dict[int, tuple[int, ...]] = {}
        self._arrivals: dict[int, list[asyncio.Future[None]]] = {}
        self._watcher: threading.Thread | None = None
        self._raised: BaseException | None = None
        #: The first task that may not have ended when the body has returned.
        self._settled_to = 1
        self._is_closed = False
        self._is_over = False

    def _opened(self, workflow: Workflow) -> _native.Session:
        return workflow._session()

    # --- declaring ---

    def declare(self, calls: Sequence[Call]) -> Sequence[int]:
        """Take calls as tasks of the run, and return their indices."""
        self._sign(calls)
        return self._declare(calls, self._session.declare)

    def _sign(self, calls: Iterable[Call]) -> None:
        """Note what tells calls from others."""
        for call in calls:
            function = call.task.function
            known = self._codes.get(id(function))
            if known is None:
                known = self._codes[id(function)] = (function, fingerprint(function))
            call.code = f"{known[1]}:{key_of(call)}"

    def _declare(self, calls: Sequence[Call], hand_over: Callable[[_native.Plan], Any]) -> Sequence[int]:
        plan = self._planned(calls)
        # Nobody else adds tasks meanwhile: those of the plan get the next places.
        with self.lock:
            first = len(self._session)
            if not self._is_closed:
                hand_over(plan)
            if calls and len(self._session) == first:
                raise self._ended_already()
            indices = range(first, first + len(calls))
            self._note(calls, indices)
        return indices

    def _ended_already(self) -> WorkflowError:
        return WorkflowError(
            f"the run of flow `{self.flow.name}` has ended and takes no more tasks", "run.ended"
        )

    def _note(self, calls: Sequence[Call], indices: Iterable[int]) -> None:
        self._calls += calls
        for index, call in zip(indices, calls, strict=True):
            self._needs[index] = call.needs
            if call.fan is not None:
                self._fans[index] = call.fan

    def _planned(self, calls: Sequence[Call]) -> _native.Plan:
        plan = _native.Plan()
        functions: dict[int, int] = {}
        policies: dict[str, int] = {}
        needs: dict[int, str] = {}
        for call in calls:
            terms, extras = (_FAN, _fanning(call)) if call.fan is not None else self._terms_of(call)
            if terms not in policies:
                policies[terms] = plan.policy(terms)
            key = id(call.task)
            if key not in functions:
                task = call.task
                functions[key] = plan.function(
                    _carry_call, task.shown, [], task.is_async and call.fan is None
                )
            for need in call.needs:
                if need not in needs:
                    needs[need] = f"#{need}"
                    plan.refer(needs[need], need)
            named = [needs[need] for need in call.needs]
            plan.add_function(
                call.name, named, functions[key], (call,), None, policies[terms], extras, call.code
            )
        if any(call.task.is_async for call in calls):
            self._need_loop()
        return plan

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
        whole, source = fan.whole, fan.source
        items = self.sized(source) if isinstance(source, MapFuture) else self.items(source)
        index = whole._index
        assert index is not None
        with self.lock:
            status, attempt, *_ = self._session.task(index)
            if whole._futures is not None or status != "running":
                return
            calls = fan.calls(self, items)
            self._sign(calls)
            indices = self._declare(calls, lambda plan: self._session.expand(index, attempt, plan, True))
            made = zip(indices, calls, strict=True)
            whole._futures = [Future(self, part, call.name) for part, call in made]
        whole._is_sized.set()

    def items(self, source: Future[Any]) -> list[Any]:
        """The items of a task's value, which may be such that they can be gone through only once."""
        with self._items_lock:
            if source._index not in self._items:
                self._items[source._index] = list(source._value())
            return self._items[source._index]

    def sized(self, whole: MapFuture[Any]) -> list[Future[Any]]:
        """The calls of a map whose items are there. They may have to be made first."""
        assert whole._index is not None
        while whole._futures is None:
            self.expand(self._fans[whole._index])
            if whole._futures is None and self._ended(whole._index, SIGNAL_TICK_S) is not None:
                raise WorkflowError(
                    f"map `{whole.name}` was ended before its items were known", "task.no_items"
                )
        return whole._futures

    # --- waiting ---

    def _ended(self, index: int, at_most_s: float = 0.0) -> str | None:
        return self._session.wait_task(index, at_most_s)

    def status(self, future: Future[Any]) -> str:
        """Where a task stands. Whoever asks has looked."""
        status = self._session.task(future._index)[0]
        if status in ENDS:
            self._see(future._index)
        return status

    def has_ended(self, future: Future[Any]) -> bool:
        """Whether a task has ended, however."""
        return self._ended(future._index) is not None

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
        if self._is_on_loop():
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

    def _is_on_loop(self) -> bool:
        if self.loop is None:
            return False
        import asyncio

        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    async def arrival(self, future: Future[Any]) -> None:
        """Wait for the end of a task on an event loop."""
        import asyncio

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
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits
                future.get_loop().call_soon_threadsafe(arrive, future)

    def value(self, future: Future[Any]) -> Any:
        """The value of a task that has ended, or the exception that says why there is none."""
        index = future._index
        status = self._ended(index)
        if status == "completed" and (kept := self._session.value(index)) is not None:
            return kept[0]
        self._see(index)
        try:
            return self._run[future.name]
        except TaskSkippedError as skipped:
            raise skipped from self._reason(index)

    def _reason(self, index: int) -> BaseException | None:
        """What was raised where a task was skipped because of it."""
        for need in sorted(self._ancestors(index)):
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
            parts = [future._index for future in fan.whole._futures or ()] if fan is not None else []
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
                self._serving = Serving(self._session, self._base)
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

    def check_all_made(self) -> None:
        """See that the body, which has returned, has called what it had to."""

    def finish(self) -> None:
        """Wait for what the body did not wait for; after that the run takes no more tasks.

        Raises:
            TaskFailedError: A task failed, and nobody looked at it.
        """
        while (index := self._first_open()) is not None:
            self.wait(Future(self, index, self._session.name(index)), None)
        self._raise_unseen()

    async def finish_on_loop(self) -> None:
        """The same on an event loop."""
        while (index := self._first_open()) is not None:
            await self.arrival(Future(self, index, self._session.name(index)))
        self._raise_unseen()

    def _first_open(self) -> int | None:
        """The first task besides the body that has not ended; where there is none, none will come any more."""
        with self.lock:
            statuses = self._session.statuses()
            for index, status in enumerate(statuses[self._settled_to :], self._settled_to):
                if status not in ENDS:
                    self._settled_to = index
                    return index
            self._is_closed = True
        return None

    def __enter__(self) -> FlowRun:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Let go of everything that is only for the run, which has ended, or is left to itself after an exception."""
        self._is_over = True
        if kind is not None:
            self._session.interrupt(TaskInterrupt)
        if self._serving is not None:
            self._serving.close(0.0 if kind is not None else _PATIENCE_S)
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
        reason = self._session.cancel_reason()
        if reason == "timed_out":
            raise TaskTimeoutError(
                f"flow `{name}` took longer than {self.flow.timeout} s", "run.timed_out", _BODY
            )
        if reason is not None and verdict == "cancelled":
            raise TaskCancelledError(f"flow `{name}` was cancelled", "run.cancelled", _BODY)
        error = self._session.error(0)
        if isinstance(error, TaskSkippedError):
            self._raise_origin(error.task)
        if error is not None:
            # Where it was raised in here says nothing.
            raise error.with_traceback(None)
        return self._run[_BODY]

    def _raise_origin(self, skipped: str) -> None:
        """Raise what kept a task from being carried out, where that is the failure of another one."""
        ancestors = sorted(self._ancestors(self.handle.tasks._place(skipped)))
        # Where a failure ends everything, it need be none of those.
        for index in [*ancestors, *(range(1, len(self._session)) if self.flow.fail_fast else ())]:
            if self._failed_itself(index):
                self.value(Future(self, index, self._session.name(index)))

    def _failed_itself(self, index: int) -> bool:
        """Whether a task failed, and not only as the whole of calls of which one did."""
        fan = self._fans.get(index)
        is_whole = fan is not None and fan.whole._futures is not None
        return not is_whole and self._ended(index) in ("failed", "timed_out", "cancelled")

    def _raise_unseen(self) -> None:
        ends = enumerate(self._session.statuses())
        failures = [index for index, status in ends if status not in ("completed", "skipped")]
        unseen = [index for index in failures if index not in self._seen and self._failed_itself(index)]
        if not unseen:
            return
        first = self._run.tasks[self._session.name(unseen[0])]
        rest = f" (and {len(unseen) - 1} more tasks failed)" if len(unseen) > 1 else ""
        raise TaskFailedError(
            f"task `{first.name}` {first.sentence}, and nobody asked for its result{rest}",
            "task.failed",
            first.name,
        ) from first.error


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
    run.check_all_made()
    value = settled(returned)
    run.finish()
    return value


async def _carry_async_body(holder: list[FlowRun]) -> Any:
    (run,) = holder
    import asyncio

    SCOPE.set(Scope(run))
    run.loop = asyncio.get_running_loop()
    try:
        returned = await run.flow.function(*run.args, **run.kwargs)
    except BaseException as error:
        run.give_up(error)
        raise
    run.check_all_made()
    for future in futures_in(returned):
        await future
    value = settled(returned)
    await run.finish_on_loop()
    return value
