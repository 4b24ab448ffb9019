"""Graphs that are said in one breath: steps that follow each other, chains, and what runs side by side.

Each makes a :class:`Workflow`, and adds nothing to what that can do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dirigent._guarded import Seconds, name_of, time_limit
from dirigent._options import RetryPolicy, misused
from dirigent._shortcuts import Word, command_of
from dirigent._signature import look_at
from dirigent._workflow import Workflow

if TYPE_CHECKING:
    from dirigent._run import Run

F = TypeVar("F", bound=Callable[..., object])
Action = Callable[..., object] | str | Sequence[Word]

_MARK = "__dirigent_step__"


@dataclass(frozen=True)
class _Marked:
    """What :func:`step` says of a function."""

    name: str
    timeout: float | None
    retry: int


@overload
def step(function: F, /) -> F: ...
@overload
def step(
    function: None = None, /, *, name: str | None = None, timeout: Seconds | None = None, retry: int = 1
) -> Callable[[F], F]: ...
def step(
    function: Any = None, /, *, name: str | None = None, timeout: Seconds | None = None, retry: int = 1
) -> Any:
    """Mark a function with how it is to be carried out as a step; called by itself it is as it was.

    >>> from dirigent import Steps, step
    >>> @step(timeout=5, retry=2)
    ... def fetch():
    ...     return [1, 2]
    >>> Steps("etl").add(fetch).run_sync()["fetch"]
    [1, 2]

    Args:
        function: The function, where ``@step`` stands by itself.
        name: What the step is called; the function's name where nothing is said.
        timeout: Seconds for one attempt; ``None`` for no limit.
        retry: Attempts in all.

    Raises:
        UsageError: An option makes no sense.
    """
    limit = time_limit(timeout)
    _policy(retry)

    def mark(function: F) -> F:
        if not callable(function):
            raise misused(
                f"a step is a function, not {function!r}", "write @step(name=…, timeout=…, retry=…)"
            )
        try:
            setattr(function, _MARK, _Marked(name or name_of(function), limit, retry))
        except AttributeError:
            raise misused(
                f"{function!r} cannot be marked as a step", "give its name and options to Steps.add"
            ) from None
        return function

    return mark if function is None else mark(function)


class Steps:
    """A workflow whose steps follow each other as they are added.

    >>> from dirigent import Steps
    >>> steps = Steps("etl").add("rows", lambda: [3, 1, 2])
    >>> steps = steps.add_parallel([("low", lambda rows: min(rows)), ("high", lambda rows: max(rows))])
    >>> run = steps.add("span", lambda low, high: high - low, depends_on=["low", "high"]).run_sync()
    >>> run["span"]
    2

    A function gets the values of the steps it depends on as the parameters named after them, as in
    :meth:`Workflow.add_task`.

    Args:
        name: What it is called in reports.
        timeout: Seconds for a whole run; ``None`` for no limit.

    Attributes:
        workflow: The workflow it makes, for everything else that can be done with one.
    """

    def __init__(self, name: str, timeout: Seconds | None = None) -> None:
        self.workflow = Workflow(name, time_limit(timeout))
        self._before: list[str] = []

    def add(
        self,
        name: str | Callable[..., object],
        action: Action | None = None,
        depends_on: str | Iterable[str] | None = None,
        timeout: Seconds | None = None,
        retry: int = 1,
    ) -> Steps:
        """Add a step and return the steps, so that calls chain.

        Args:
            name: Unique among the steps; or a function, which brings its name and what :func:`step` says of it.
            action: A function, a coroutine function, a command as a list of words, or a line for ``/bin/sh``.
            depends_on: The name of the step it waits for, or a list of them; ``[]`` for none. Where nothing is said, the
                step or the parallel steps added before.
            timeout: Seconds for one attempt; ``None`` for no limit, or the one that :func:`step` says.
            retry: Attempts in all; where nothing is said, what :func:`step` says.

        Raises:
            DuplicateTaskError: The name is taken.
            UsageError: An argument makes no sense.
        """
        self._before = [self._add(name, action, self._needs(depends_on), timeout, retry)]
        return self

    def add_parallel(
        self,
        steps: Iterable[tuple[str, Action] | Callable[..., object]],
        depends_on: str | Iterable[str] | None = None,
        timeout: Seconds | None = None,
        retry: int = 1,
    ) -> Steps:
        """Add steps that run side by side; the next step depends on all of them. Return the steps.

        Args:
            steps: Pairs of a name and an action, or functions that bring their names.
            depends_on: As in :meth:`add`, for each of them.
            timeout: As in :meth:`add`, for each of them.
            retry: As in :meth:`add`, for each of them.

        Raises:
            DuplicateTaskError: A name is taken.
            UsageError: An argument makes no sense.
        """
        given: Any = steps
        if isinstance(given, str) or callable(given):
            raise misused(f"steps is a list of pairs of a name and an action, not {given!r}")
        needs, added = self._needs(depends_on), []
        for item in steps:
            if callable(item):
                added.append(self._add(item, None, needs, timeout, retry))
            elif isinstance(item, (tuple, list)) and len(item) == 2:
                added.append(self._add(item[0], item[1], needs, timeout, retry))
            else:
                raise misused(f"a step is a pair of a name and an action, not {item!r}")
        if not added:
            raise misused("there are no steps to add")
        self._before = added
        return self

    async def run(self, **options: Any) -> Run:
        """Run them in the running event loop. Options and result are those of :meth:`Workflow.run`."""
        return await self.workflow.run(**options)

    def run_sync(self, **options: Any) -> Run:
        """Run them and wait for the end. Options and result are those of :meth:`Workflow.run_sync`."""
        return self.workflow.run_sync(**options)

    def __len__(self) -> int:
        return len(self.workflow)

    def __repr__(self) -> str:
        return f"Steps({self.workflow.name!r}, {len(self)} steps)"

    def _needs(self, depends_on: str | Iterable[str] | None) -> list[str]:
        if depends_on is None:
            return self._before
        return [depends_on] if isinstance(depends_on, str) else list(depends_on)

    def _add(
        self,
        name: Any,
        action: Any,
        needs: list[str],
        timeout: Seconds | None,
        retry: int,
    ) -> str:
        brings_name = action is None and callable(name)
        if brings_name:
            action = name
        said: _Marked | None = getattr(action, _MARK, None)
        if brings_name:
            name = said.name if said is not None else name_of(action)
        if not isinstance(name, str) or not name:
            raise misused(f"the name of a step is a text that is not empty, not {name!r}")
        if action is None:
            raise misused(
                f"step `{name}` has no action", "give a function, a list of words or a line of shell"
            )
        if said is not None:
            timeout = said.timeout if timeout is None else timeout
            retry = said.retry if retry == 1 else retry
        options: dict[str, Any] = {"timeout": time_limit(timeout), "retry_policy": _policy(retry)}
        if callable(action):
            self.workflow.add_task(name, action, needs, **options)
        elif isinstance(action, str):
            if not action.strip():
                raise misused(f"the line of step `{name}` is empty")
            self.workflow.add_shell(name, action, needs, **options)
        else:
            self.workflow.add_command(name, command_of(action), needs, **options)
        return name


def chain(*actions: Callable[..., object], names: Sequence[str] | None = None) -> Workflow:
    """Make a workflow of functions that follow each other, each called with the value of the one before.

    >>> from dirigent import chain
    >>> run = chain(lambda: "3 1 2", str.split, sorted, names=["text", "words", "sorted"]).run_sync()
    >>> run["sorted"]
    ['1', '2', '3']

    Args:
        *actions: Functions or coroutine functions. Each but the first gets the value before it as its only positional
            argument, if it takes one.
        names: What the tasks are called; after their functions where nothing is said, with a number where two are alike.

    Returns:
        The workflow, which has not run yet.

    Raises:
        UsageError: A function cannot be called so, or there are not as many names as functions.
        DuplicateTaskError: Two names are alike.
    """
    workflow = Workflow("chain")
    before: str | None = None
    for name, action in _named(actions, names):
        _add_passing(workflow, name, action, [] if before is None else [before], before is not None)
        before = name
    return workflow


def parallel(*actions: Callable[..., object], names: Sequence[str] | None = None) -> Workflow:
    """Make a workflow of functions that run side by side.

    >>> from dirigent import parallel
    >>> dict(parallel(lambda: 1, lambda: 2, names=["one", "two"]).run_sync())
    {'one': 1, 'two': 2}

    Args:
        *actions: Functions or coroutine functions without arguments.
        names: As in :func:`chain`.

    Returns:
        The workflow, which has not run yet.

    Raises:
        UsageError: A function cannot be called so, or there are not as many names as functions.
        DuplicateTaskError: Two names are alike.
    """
    workflow = Workflow("parallel")
    for name, action in _named(actions, names):
        _add_passing(workflow, name, action, [], False)
    return workflow


def fan_out_fan_in(
    initial: Callable[..., object],
    parallel_tasks: Sequence[Callable[..., object]],
    final: Callable[..., object],
) -> Workflow:
    """Make a workflow that spreads out and comes together: one function, several with its value, one with all of theirs.

    >>> from dirigent import fan_out_fan_in
    >>> def total(parts):
    ...     return sum(parts)
    >>> fan_out_fan_in(lambda: [3, 4], [len, sum, max], total).run_sync()["total"]
    13

    Args:
        initial: A function without arguments.
        parallel_tasks: Functions that get its value, if they take an argument.
        final: A function that gets the list of their values, in the order of ``parallel_tasks``, if it takes an argument.

    Returns:
        The workflow, which has not run yet; its tasks are called after the functions, with a number where two are alike.

    Raises:
        UsageError: A function cannot be called so, or there is nothing between the first and the last.
    """
    given: Any = parallel_tasks
    if callable(given) or not given:
        raise misused(f"parallel_tasks is a list of functions, not {given!r}")
    (first, _), *middle, (last, _) = _named([initial, *parallel_tasks, final], None)
    workflow = Workflow("fan_out_fan_in")
    _add_passing(workflow, first, initial, [], False)
    for name, action in middle:
        _add_passing(workflow, name, action, [first], True)
    return _add_passing(workflow, last, final, [name for name, _ in middle], True, as_list=True)


# --- inside ---


def _policy(retry: Any) -> RetryPolicy | None:
    if not isinstance(retry, int) or isinstance(retry, bool) or retry < 1:
        raise misused(f"retry is how many attempts there are in all, not {retry!r}", "1 is for no second try")
    return RetryPolicy(max_attempts=retry) if retry > 1 else None


def _named(
    actions: Sequence[Callable[..., object]], names: Sequence[str] | None
) -> list[tuple[str, Callable[..., object]]]:
    """Each action with a name of its own."""
    if not actions:
        raise misused("there are no functions to run")
    for action in actions:
        if not callable(action):
            raise misused(f"an action is a function, not {action!r}", "for commands use Steps or Workflow")
    if names is not None:
        if isinstance(names, str) or len(names) != len(actions):
            raise misused(f"there are {len(actions)} functions, and their names are {names!r}")
        return list(zip(names, actions, strict=True))
    wanted = [name_of(action) for action in actions]
    taken: set[str] = set()
    found = []
    for name, action in zip(wanted, actions, strict=True):
        free, number = name, 1
        # Nor the name that a later one has by itself.
        while free in taken or (number > 1 and free in wanted):
            number += 1
            free = f"{name}_{number}"
        taken.add(free)
        found.append((free, action))
    return found


def _add_passing(
    workflow: Workflow,
    name: str,
    action: Callable[..., object],
    needs: list[str],
    has_value: bool,
    as_list: bool = False,
) -> Workflow:
    """Add a task that gets the value of what it needs as its only positional argument, if it takes one."""
    looked = look_at(action)
    takes = _takes_a_value(name, action, has_value, looked.context_parameter)
    if not needs:
        return workflow.add_task(name, action)

    def args(values: dict[str, Any]) -> tuple[Any, ...]:
        return () if not takes else ([values[need] for need in needs],) if as_list else (values[needs[0]],)

    def kwargs(context: Any) -> dict[str, Any]:
        return {} if looked.context_parameter is None else {looked.context_parameter: context}

    def call(dirigent_context: Any = None, **values: Any) -> Any:
        return action(*args(values), **kwargs(dirigent_context))

    async def call_on_loop(dirigent_context: Any = None, **values: Any) -> Any:
        made: Any = action(*args(values), **kwargs(dirigent_context))
        return await made

    passing: Any = call_on_loop if looked.is_async else call
    if looked.context_parameter is not None:
        passing.__annotations__["dirigent_context"] = "TaskContext"
    passing.__qualname__ = getattr(action, "__qualname__", name)
    passing.__module__ = getattr(action, "__module__", __name__)
    return workflow.add_task(name, passing, needs)


def _takes_a_value(
    name: str, action: Callable[..., object], has_value: bool, context_parameter: str | None
) -> bool:
    """Whether a function takes a positional argument. One that cannot be called with what there is raises here."""
    import inspect

    try:
        parameters = inspect.signature(action).parameters
    except (TypeError, ValueError):
        return has_value  # a function in C that does not say
    kinds = inspect.Parameter
    positional = [
        it
        for it in parameters.values()
        if it.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD) and it.name != context_parameter
    ]
    wanted = [it.name for it in positional if it.default is kinds.empty]
    wanted += [
        it.name
        for it in parameters.values()
        if it.kind is kinds.KEYWORD_ONLY and it.default is kinds.empty and it.name != context_parameter
    ]
    takes = bool(positional) or any(it.kind is kinds.VAR_POSITIONAL for it in parameters.values())
    missing = wanted[1:] if has_value and positional else wanted
    if missing:
        given = "one value" if has_value else "no value"
        listed = ", ".join(f"`{parameter}`" for parameter in missing)
        raise misused(
            f"`{name}` gets {given} here, and wants {listed} as well"
            if has_value
            else f"`{name}` gets {given} here, and wants {listed}",
            "bind it with functools.partial, or use Workflow.add_task",
        )
    return takes
