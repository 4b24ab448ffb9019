"""Functions that are tried again, or may take only so long: one call, carried out by the engine as a workflow of one task."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from dirigent._options import RetryPolicy, misused, seconds
from dirigent._signature import look_at

if TYPE_CHECKING:
    from dirigent._run import Run
    from dirigent._workflow import Workflow

P = ParamSpec("P")
R = TypeVar("R")

Seconds = float | timedelta

#: How long a growing delay may become.
_LONGEST_DELAY_S = 7 * 24 * 3600.0


def retry(
    action: Callable[P, R], max_attempts: int = 3, delay: float = 1.0, backoff: float = 2.0
) -> Callable[P, R]:
    """Make a function that is tried again when it raises.

    >>> from dirigent import retry
    >>> answers = iter(["busy", "busy", "42"])
    >>> retry(lambda: int(next(answers)), delay=0)()
    42

    Args:
        action: A function, or a coroutine function: then the made one is a coroutine function as well.
        max_attempts: Attempts in all, the first one included.
        delay: Seconds before the second attempt.
        backoff: By what each further delay is longer than the one before, 1 or more.

    Returns:
        The function. It takes the same arguments and gives the same value. When no attempt is left, it raises what the
        last one raised.

    Raises:
        UsageError: An argument makes no sense.
    """
    return guarded(action, None, patience(max_attempts, delay, backoff))


def timeout(seconds: Seconds) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function or a coroutine function so that it may take only so long.

    When the time is over, whoever called it goes on at once. A function is interrupted between two steps of Python; one
    that waits outside of Python is so when it comes back. What must end for sure belongs into :func:`run`.

    >>> from dirigent import timeout
    >>> @timeout(0.1)
    ... def spin():
    ...     while True:
    ...         pass
    >>> spin()
    Traceback (most recent call last):
    dirigent._errors.TaskTimeoutError: task `spin` ran out of time after 100 ms

    Args:
        seconds: The limit for one call.

    Raises:
        UsageError: This is no number of seconds. The decorated function raises :class:`TaskTimeoutError`, which is a
            ``TimeoutError``.
    """
    limit = limit_of_decorator(seconds)
    return lambda function: guarded(function, limit, None)


# --- what others build on ---


def guarded(
    action: Callable[P, R], timeout: float | None, policy: RetryPolicy | None, on_loop: bool | None = None
) -> Callable[P, R]:
    """A function whose calls run through the engine; a coroutine function where the action is one, or ``on_loop``."""
    from dirigent._workflow import Workflow

    if not callable(action):
        raise misused(f"an action is a function, not {action!r}", "for a command use Steps or Workflow")
    name = name_of(action)

    def ordered(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Workflow:
        workflow = Workflow(name)
        return workflow.add_task(name, action, args=args, kwargs=kwargs, timeout=timeout, retry_policy=policy)

    def call(*args: Any, **kwargs: Any) -> Any:
        return value_of(ordered(args, kwargs).run_sync(durability="none"), name)

    async def call_on_loop(*args: Any, **kwargs: Any) -> Any:
        return value_of(await ordered(args, kwargs).run(durability="none"), name)

    is_async = look_at(action).is_async if on_loop is None else on_loop
    made = functools.wraps(action)(call_on_loop if is_async else call)
    return cast("Callable[P, R]", made)


def patience(max_attempts: int, delay: float, backoff: float) -> RetryPolicy:
    """The policy of ``retry``: delays as they are said, not changed by chance."""
    if not isinstance(max_attempts, int) or isinstance(max_attempts, bool):
        raise misused(f"max_attempts is a whole number, not {max_attempts!r}", "1 is for no second try")
    for option, value in (("delay", delay), ("backoff", backoff)):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            raise misused(f"{option} is a number, not {value!r}")
    return RetryPolicy(
        max_attempts=max_attempts,
        initial_delay=min(delay, _LONGEST_DELAY_S),
        max_delay=_LONGEST_DELAY_S,
        exponential_base=backoff,
        jitter=0.0,
    )


def limit_of_decorator(seconds: Seconds) -> float:
    """The limit that is given to a decorator, which is easily left out."""
    if callable(seconds):
        raise misused("timeout is used without a number of seconds", "write @timeout(5)")
    limit = time_limit(seconds, "seconds")
    if limit is None:
        raise misused("a time limit is a number of seconds, not None", "leave the decorator out")
    return limit


def value_of(ended: Run, name: str) -> Any:
    """The value of a task; what it raised is raised here as it was."""
    result = ended.tasks[name]
    if result.error is not None:
        raise result.error
    return result.value if result.success else ended[name]


def name_of(action: Callable[..., Any]) -> str:
    """What a function is called, as the name of a task."""
    inner: Any = action
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = getattr(inner, "__name__", None) or type(inner).__name__
    return str(name).strip("<>")


def time_limit(value: Seconds | None, option: str = "timeout") -> float | None:
    """A time limit in seconds, from a number or a ``timedelta``."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise misused(f"{option} is a number of seconds, not {value!r}", "None stands for no limit")
    return seconds(value, option)
