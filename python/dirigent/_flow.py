"""Flows: ordinary functions whose calls of tasks become one run. The decorators ``task`` and ``flow``, and what they make.

How a flow runs is in ``_flow_run``.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from dirigent._future import SCOPE
from dirigent._options import Cache, RetryPolicy, Task, at_least_0, misused, policy_of, resource, seconds
from dirigent._signature import look_at

if TYPE_CHECKING:
    from datetime import timedelta

    from dirigent._flow_graph import FlowGraph
    from dirigent._flow_run import FlowRun
    from dirigent._run import RunHandle

P = ParamSpec("P")
R = TypeVar("R")


class _Terms:
    """The options of a task, which its bound copies share."""

    def __init__(
        self,
        timeout: float | None = None,
        retry_policy: RetryPolicy | None = None,
        tags: Iterable[str] = (),
        resources: Mapping[str, float] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.timeout = timeout
        self.retry_policy = retry_policy
        self.tags = frozenset(tags)
        self.resources = dict(resources or {})
        self.options = dict(options or {})

    def task(self, function: TaskFunction, name: str | None = None) -> Task:
        """The same as options of a task of a workflow."""
        return Task(
            name or function.name,
            function.function,
            timeout=self.timeout,
            retry_policy=self.retry_policy,
            tags=self.tags,
        )


class TaskFunction:
    """A function that becomes a task where the body of a flow calls it, and is itself anywhere else: see :func:`task`.

    Attributes:
        name: What its tasks are called.
        function: The function.
    """

    __name__: str
    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], name: str | None, terms: _Terms) -> None:
        looked = look_at(function)
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name or looked.shown.rpartition(".")[2]
        self.shown = looked.shown
        self.is_async = looked.is_async
        self.context_parameter = looked.context_parameter
        self.terms = terms
        self._bound: tuple[Any, ...] = ()
        if looked.is_async and sys.version_info >= (3, 12):
            import inspect

            inspect.markcoroutinefunction(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it: in the body of a flow this declares a task and returns its :class:`Future`, elsewhere it is a plain call."""
        scope = SCOPE.get()
        if scope is None:
            return self.function(*self._bound, *args, **kwargs)
        return scope.call(self, (*self._bound, *args), kwargs)

    def map(self, items: Any, /, **common: Any) -> Any:
        """Call it once for each item.

        In the body of a flow each call becomes a task, and this returns a :class:`MapFuture` at once; elsewhere it
        returns the list of what the calls return. The items may be the :class:`Future` of a task whose value they are,
        or another map's result: then each call waits for the one it goes over, and not for the others.

        Args:
            items: What to call it with, one by one.
            **common: Further arguments of every call.
        """
        scope = SCOPE.get()
        if scope is None:
            return [self.function(*self._bound, item, **common) for item in items]
        return scope.map(self, items, self._bound, common)

    def __get__(self, instance: object, owner: type | None = None) -> TaskFunction:
        if instance is None:
            return self
        bound = object.__new__(TaskFunction)
        bound.__dict__.update(self.__dict__)
        bound._bound = (instance,)
        return bound

    def plain(self) -> TaskFunction:
        """The same before it was bound."""
        if not self._bound:
            return self
        unbound = object.__new__(TaskFunction)
        unbound.__dict__.update(self.__dict__)
        unbound._bound = ()
        return unbound

    def __reduce__(self) -> Any:
        if not self._bound and _is_found(self):
            return self.function.__qualname__
        return _restored, (self.function, self.name, self._bound)

    def __repr__(self) -> str:
        return f"<task {self.name}>"


def _is_found(it: TaskFunction) -> bool:
    """Whether it can be imported by its name, as what is sent to another process has to be."""
    function: Any = it.function
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "__main__")
    if found is None or found.__name__ == "__main__":
        return False
    for name in getattr(function, "__qualname__", "<none>").split("."):
        found = getattr(found, name, None)
    return found is it


def _restored(function: Callable[..., Any], name: str, bound: tuple[Any, ...]) -> TaskFunction:
    it = TaskFunction(function, name, _Terms())
    it._bound = bound
    return it


@overload
def task(function: Callable[..., Any], /, *, name: str | None = None) -> TaskFunction: ...
@overload
def task(
    function: None = None,
    /,
    *,
    name: str | None = None,
    retries: int = 0,
    retry_delay: float | timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    timeout: float | timedelta | None = None,
    tags: Iterable[str] = (),
    priority: int = 0,
    pool: str | None = None,
    resources: Mapping[str, float] | None = None,
    isolation: str = "thread",
    cache: bool | Cache = False,
) -> Callable[[Callable[..., Any]], TaskFunction]: ...
def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retries: int = 0,
    retry_delay: float | timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    timeout: float | timedelta | None = None,
    tags: Iterable[str] = (),
    priority: int = 0,
    pool: str | None = None,
    resources: Mapping[str, float] | None = None,
    isolation: str = "thread",
    cache: bool | Cache = False,
) -> TaskFunction | Callable[[Callable[..., Any]], TaskFunction]:
    """Make a function a task of the flows that call it.

    In the body of a flow, calling it returns a :class:`Future` at once. Elsewhere, also in the body of another task, it
    stays the function it is.

    >>> from dirigent import flow, task
    >>> @task(retries=3)
    ... def fetch(day):
    ...     return f"data of {day}"
    >>> fetch("monday")
    'data of monday'
    >>> @flow
    ... def report(days):
    ...     return fetch.map(days)
    >>> report(["monday", "tuesday"])
    ['data of monday', 'data of tuesday']

    Args:
        function: The function, a coroutine function or a method; without parentheses the only argument.
        name: What its tasks are called; by default as the function.
        retries: How often it is tried again after it raised: ``retries=3`` means four attempts.
        retry_delay: Seconds before each of those; by default 1, and each time twice as many, up to 60.
        retry_policy: How it is tried again, in full; instead of ``retries``.
        timeout: Seconds for one attempt; ``None`` for no limit.
        tags: Words to find its tasks by.
        priority: Of the tasks that could start, those with more go first.
        pool: What it takes one of while it runs, a resource of the flow.
        resources: What it takes of the flow's resources while it runs, by name.
        isolation: ``"process"`` for a process of its own, ``"thread"`` otherwise.
        cache: ``True`` or a :class:`Cache`, where it need not run again while nothing changes that it depends on: its code,
            its arguments, the values of the tasks among these, and what the ``Cache`` names.

    Raises:
        UsageError: An option makes no sense.
    """
    if not isinstance(retries, int) or retries < 0:
        raise misused(f"retries is a whole number from 0 on, not {retries!r}")
    if retry_policy is not None and (retries or retry_delay is not None):
        raise misused("a task has either retry_policy or retries and retry_delay")
    if retry_delay is not None:
        in_seconds: Any = getattr(retry_delay, "total_seconds", lambda: retry_delay)
        delay = at_least_0(in_seconds())
        if not retries:
            raise misused("retry_delay says nothing without retries", "add retries=1")
        retry_policy = RetryPolicy(retries + 1, delay, delay, 1.0, 0.0)
    elif retries:
        retry_policy = RetryPolicy(retries + 1)
    options: dict[str, Any] = {"isolation": isolation, "priority": priority, "cache": cache}
    if pool is not None:
        options["pool"] = pool
    limit = seconds(timeout, "timeout")
    terms = _Terms(limit, retry_policy, tags, resources, options)

    def make(function: Callable[..., Any]) -> TaskFunction:
        if isinstance(function, (staticmethod, classmethod)):
            raise misused("@task stands below @staticmethod and @classmethod, not above")
        if not callable(function):
            raise TypeError(f"a task is a function, not {function!r}")
        made = TaskFunction(function, name, terms)
        if made.is_async and isolation == "process":
            raise misused(
                f"task `{made.name}` is a coroutine function, which cannot have a process of its own"
            )
        checked = {key: value for key, value in options.items() if key != "pool"}
        policy_of(terms.task(made), checked, {}, {})
        return made

    return make if function is None else make(function)


class Flow(Generic[P, R]):
    """A function whose calls of tasks become one run: see :func:`flow`.

    Attributes:
        name: What its runs are called.
        function: The function.
    """

    __name__: str
    __wrapped__: Callable[..., Any]

    def __init__(
        self,
        function: Callable[P, R],
        name: str | None = None,
        timeout: float | None = None,
        fail_fast: bool = False,
        max_concurrency: int | None = None,
        resources: Mapping[str, float | str] | None = None,
    ) -> None:
        looked = look_at(function)
        functools.update_wrapper(self, function)
        self.function: Callable[..., Any] = function
        self.name = name or looked.shown.rpartition(".")[2]
        self.shown = looked.shown
        self.is_async = looked.is_async
        self.timeout = timeout
        self.fail_fast = fail_fast
        self.max_concurrency = max_concurrency
        self.resources = dict(resources or {})
        #: The run to go on with, and what to do where its tasks do something else now.
        self.resume: object = None
        self.changed = "refuse"
        self._bound: tuple[Any, ...] = ()
        if looked.is_async and sys.version_info >= (3, 12):
            import inspect

            inspect.markcoroutinefunction(self)

    def with_options(self, *, resume: object = None, changed: str = "refuse") -> Flow[P, R]:
        """The same flow, to be called, awaited or submitted with options that are no arguments of its function.

        Where a run goes on, the body is carried out once more. A call that completed gives its recorded value at once, one
        that was under way is tried again. A call is the recorded one if the task is of the same name and the arguments
        are equal; of several such, the first with the first.

        Args:
            resume: A recorded run of this flow to go on with: its id, or ``"last"``, which starts a new run where the last
                one is through.
            changed: What to do where the body makes other calls than are recorded, or a task that completed does something
                else now: ``"refuse"``, or ``"continue"``, which carries out what is not recorded, and forgets what is not called.

        Raises:
            UsageError: An option makes no sense.

        The call raises ``WorkflowChangedError``, ``BusyError`` and ``StorageError`` as :meth:`Workflow.run` does.
        """
        if changed == "rerun":
            raise misused(
                "`rerun` is not for flows",
                "with @task(cache=True) a task runs again only where something changed",
            )
        if changed not in ("refuse", "continue"):
            raise misused(f"changed is `refuse` or `continue`, not {changed!r}")
        same: Flow[P, R] = object.__new__(Flow)
        same.__dict__.update(self.__dict__)
        same.resume, same.changed = resume, changed
        return same

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it, wait for its end and return what its body returned, with values in the places of futures.

        Of a coroutine function this is to be awaited. In the body of another flow the body is simply carried out: its
        tasks become tasks of that flow's run, named ``name/task``, and futures stay futures.

        Raises:
            TaskFailedError: A task failed, and nobody looked at it.
            TaskTimeoutError: It took longer than it may.
            BaseException: What the body raised; everything else is cancelled then.
        """
        scope = SCOPE.get()
        if scope is not None:
            if self.resume is not None:
                raise misused(
                    f"flow `{self.name}` is part of another one here, and has no run of its own to go on with",
                    "resume the outer flow",
                )
            return self._within(args, kwargs)  # type: ignore[no-any-return]
        if self.is_async:
            return self._drive(args, kwargs)  # type: ignore[return-value]
        from dirigent._run import _run_here

        with self._run(args, kwargs) as run:
            _run_here(run.handle)
        return run.outcome()  # type: ignore[no-any-return]

    async def _drive(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        from dirigent._run import _drive

        with self._run(args, kwargs) as run:
            await _drive(run.handle)
        return run.outcome()

    def _within(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if self.is_async:
            return self._within_async(args, kwargs)
        with _Part(self.name):
            return self.function(*self._bound, *args, **kwargs)

    async def _within_async(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        with _Part(self.name):
            return await self.function(*self._bound, *args, **kwargs)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> FlowHandle:
        """Run it in the background, as a run of its own wherever this is called, and return its handle."""
        from dirigent._run import _drive, _run_here

        context = contextvars.copy_context()
        context.run(SCOPE.set, None)
        run = context.run(self._run, args, kwargs)
        handle = run.handle

        def go() -> None:
            try:
                with run:
                    if self.is_async:
                        import asyncio

                        context.run(asyncio.run, _drive(handle))
                    else:
                        context.run(_run_here, handle)
            except BaseException as error:
                handle._problem = error

        # Now, since a run can only be cancelled when it has begun.
        handle._session.begin()
        handle._thread = threading.Thread(target=go, name="dirigent-run", daemon=True)
        handle._thread.start()
        return FlowHandle(run)

    def graph(self, *args: P.args, **kwargs: P.kwargs) -> FlowGraph:
        """Draw the tasks that the body declares, without running any: up to where the body asks for a value."""
        from dirigent._flow_graph import Drawing, Unknown
        from dirigent._flow_scope import Scope

        drawing = Drawing(self.name)
        arguments = (*self._bound, *args)

        def draw() -> None:
            SCOPE.set(Scope(drawing))
            with contextlib.suppress(Unknown):
                self.function(*arguments, **kwargs)

        async def draw_async() -> None:
            SCOPE.set(Scope(drawing))
            with contextlib.suppress(Unknown):
                await self.function(*arguments, **kwargs)

        if self.is_async:
            import asyncio
            from concurrent.futures import ThreadPoolExecutor

            # This thread may have an event loop that runs.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(contextvars.copy_context().run, asyncio.run, draw_async()).result()
        else:
            contextvars.copy_context().run(draw)
        return drawing.graph()

    def __get__(self, instance: object, owner: type | None = None) -> Flow[..., R]:
        if instance is None:
            return self
        bound: Flow[..., R] = object.__new__(Flow)
        bound.__dict__.update(self.__dict__)
        bound._bound = (instance,)
        return bound

    def _run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FlowRun:
        from dirigent._flow_run import FlowRun

        args = (*self._bound, *args)
        if self.resume is not None:
            from dirigent._flow_resume import ResumedFlowRun
            from dirigent._history import to_resume
            from dirigent._run import state_folder

            run_id = to_resume(self.name, self.resume, state_folder())
            if run_id is not None:
                return ResumedFlowRun(self, args, kwargs, run_id)
        return FlowRun(self, args, kwargs)

    def __repr__(self) -> str:
        return f"<flow {self.name}>"


class _Part:
    """While it lasts, calls belong to a flow inside the flow."""

    def __init__(self, name: str) -> None:
        scope = SCOPE.get()
        assert scope is not None
        self._inner = scope.within(name)

    def __enter__(self) -> None:
        self._token = SCOPE.set(self._inner)

    def __exit__(self, *_: object) -> None:
        SCOPE.reset(self._token)


@overload
def flow(function: Callable[P, R], /, *, name: str | None = None) -> Flow[P, R]: ...
@overload
def flow(
    function: None = None,
    /,
    *,
    name: str | None = None,
    timeout: float | timedelta | None = None,
    fail_fast: bool = False,
    max_concurrency: int | None = None,
    resources: Mapping[str, float | str] | None = None,
) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float | timedelta | None = None,
    fail_fast: bool = False,
    max_concurrency: int | None = None,
    resources: Mapping[str, float | str] | None = None,
) -> Any:
    """Make a function a flow: what it calls of tasks becomes one run.

    The body is ordinary Python. Calling a task returns a :class:`Future` at once; passing it to another task makes that
    one wait; ``.result()`` waits and gives the value, so that ``if`` and ``for`` may depend on it. In the body of a coroutine
    function futures are awaited.

    >>> from dirigent import flow, task
    >>> @task
    ... def halve(x):
    ...     return x // 2
    >>> @flow
    ... def steps(x):
    ...     count = 0
    ...     while x > 1:
    ...         x = halve(x).result()
    ...         count += 1
    ...     return count
    >>> steps(1000)
    9

    Args:
        function: The function or coroutine function; without parentheses the only argument.
        name: What its runs are called; by default as the function.
        timeout: Seconds for a whole run; ``None`` for no limit.
        fail_fast: After a failure start nothing new. By default only what depends on the failed task is skipped.
        max_concurrency: How many tasks run at once; by default 32 functions in threads, and 1000 tasks in all.
        resources: What there is only so much of, by name: ``{"api": "10/s"}``. Tasks say with ``pool`` or ``resources``
            what they take. ``"threads"`` is how many functions run in threads, where ``max_concurrency`` is not given.

    In the body of another flow, none of these options counts: that flow's own do.

    Raises:
        UsageError: An option makes no sense.
    """
    limit = seconds(timeout, "timeout")
    if max_concurrency is not None and max_concurrency < 1:
        raise misused(f"max_concurrency is 1 or more, not {max_concurrency}")
    for known, amount in (resources or {}).items():
        resource(known, amount)

    def make(function: Callable[..., Any]) -> Flow[..., Any]:
        if isinstance(function, (staticmethod, classmethod)):
            raise misused("@flow stands below @staticmethod and @classmethod, not above")
        if not callable(function):
            raise TypeError(f"a flow is a function, not {function!r}")
        return Flow(function, name, limit, fail_fast, max_concurrency, resources)

    return make if function is None else make(function)


class FlowHandle:
    """A run of a flow in the background.

    Attributes:
        run: The run under way: its tasks, its events.
    """

    def __init__(self, run: FlowRun) -> None:
        self._run = run
        self.run: RunHandle = run.handle

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return what the body returned, with values in the places of futures.

        Raises:
            TimeoutError: It did not end within so many seconds; it goes on.
            TaskCancelledError: It was cancelled.
            BaseException: As calling the flow.
        """
        self.run.wait(timeout)
        return self._run.outcome()

    def done(self) -> bool:
        """Whether it has ended."""
        return self.run.done

    def cancel(self) -> None:
        """Ask it to end: its body and its tasks are interrupted, nothing new starts."""
        self.run.cancel()

    def events(self, from_seq: int = 0) -> Iterator[dict[str, Any]]:
        """Everything that happens, in order, from a place on, until the end."""
        return self.run.events(from_seq)

    def __repr__(self) -> str:
        return f"<FlowHandle of {self._run.flow.name!r}, run {self.run.id}>"
