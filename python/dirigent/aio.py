"""The shortcuts for programs that run in an event loop: the same names, to be awaited, and the loop goes on meanwhile.

What makes a workflow (``Steps``, ``chain``, ``parallel``, ``fan_out_fan_in``) is the same here: it has ``await ….run()``.
When the caller is cancelled it goes on at once, and nothing more starts.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar, cast, overload

from dirigent import _pipe, _shortcuts
from dirigent._guarded import Seconds, guarded, limit_of_decorator, patience, value_of
from dirigent._options import RetryPolicy
from dirigent._shortcuts import Environment, Target, Word
from dirigent._steps import Steps, chain, fan_out_fan_in, parallel, step

__all__ = [
    "Steps",
    "batch",
    "chain",
    "chain_scripts",
    "fan_out_fan_in",
    "parallel",
    "pipe",
    "retry",
    "run",
    "shell",
    "step",
    "timeout",
]

P = ParamSpec("P")
R = TypeVar("R")


async def run(
    target: Target,
    timeout: Seconds | None = 60,
    args: Sequence[Any] | None = None,
    env: Environment | None = None,
    cwd: Word | None = None,
) -> dict[str, Any]:
    """Run a script, a command or a function: see :func:`dirigent.run`.

    >>> import asyncio
    >>> from dirigent import aio
    >>> asyncio.run(aio.run(["echo", "two words"]))["stdout"]
    'two words\\n'
    """
    return await _beside_the_loop(_shortcuts.run, target, timeout, args, env, cwd)


async def shell(
    command: str,
    timeout: Seconds | None = 60,
    env: Environment | None = None,
    cwd: Word | None = None,
    check: bool = False,
) -> dict[str, Any]:
    """Run a line of shell: see :func:`dirigent.shell`.

    >>> import asyncio
    >>> from dirigent import aio
    >>> asyncio.run(aio.shell("echo $((6 * 7))"))["stdout"]
    '42\\n'
    """
    return await _beside_the_loop(_shortcuts.shell, command, timeout, env, cwd, check)


async def pipe(
    commands: Iterable[str | Sequence[Word]],
    timeout_per_command: Seconds | None = 30,
    stop_on_error: bool = True,
) -> list[dict[str, Any]]:
    """Run a pipeline: see :func:`dirigent.pipe`.

    >>> import asyncio
    >>> from dirigent import aio
    >>> asyncio.run(aio.pipe([["echo", "abc"], "tr a-z A-Z"]))[-1]["stdout"]
    'ABC\\n'
    """
    return await _beside_the_loop(_pipe.pipe, commands, timeout_per_command, stop_on_error)


async def batch(
    targets: Iterable[Target], workers: int | None = None, timeout: Seconds | None = 60
) -> list[dict[str, Any]]:
    """Run several scripts, commands or functions, some of them at once: see :func:`dirigent.batch`.

    >>> import asyncio
    >>> from dirigent import aio
    >>> [result["stdout"] for result in asyncio.run(aio.batch([["echo", "one"], ["echo", "two"]]))]
    ['one\\n', 'two\\n']
    """
    workflow = _shortcuts.batched(targets, workers, timeout)
    ended = await workflow.run()
    return [value_of(ended, name) for name in workflow.tasks]


async def chain_scripts(
    scripts: Iterable[Word],
    timeout_per_script: Seconds | None = 60,
    pass_results: bool = True,
    stop_on_error: bool = True,
) -> list[dict[str, Any]]:
    """Run scripts one after the other: see :func:`dirigent.chain_scripts`."""
    return await _beside_the_loop(
        _shortcuts.chain_scripts, scripts, timeout_per_script, pass_results, stop_on_error
    )


@overload
def retry(
    action: Callable[P, Coroutine[Any, Any, R]],
    max_attempts: int = 3,
    delay: float = 1.0,
    backoff: float = 2.0,
) -> Callable[P, Coroutine[Any, Any, R]]: ...
@overload
def retry(
    action: Callable[P, R], max_attempts: int = 3, delay: float = 1.0, backoff: float = 2.0
) -> Callable[P, Coroutine[Any, Any, R]]: ...
def retry(
    action: Callable[P, Any], max_attempts: int = 3, delay: float = 1.0, backoff: float = 2.0
) -> Callable[P, Coroutine[Any, Any, Any]]:
    """Make a coroutine function that tries a function or a coroutine function again: see :func:`dirigent.retry`.

    A function runs in a thread, so that the loop goes on while it does.

    >>> import asyncio
    >>> from dirigent import aio
    >>> answers = iter(["busy", "42"])
    >>> asyncio.run(aio.retry(lambda: int(next(answers)), delay=0)())
    42
    """
    return _on_loop(action, None, patience(max_attempts, delay, backoff))


def timeout(seconds: Seconds) -> Callable[[Callable[P, Any]], Callable[P, Coroutine[Any, Any, Any]]]:
    """Decorate a function or a coroutine function: it becomes a coroutine function that may take only so long.

    A function runs in a thread, so that the loop goes on while it does. See :func:`dirigent.timeout`.

    >>> import asyncio
    >>> from dirigent import aio
    >>> @aio.timeout(5)
    ... def answer():
    ...     return 42
    >>> asyncio.run(answer())
    42
    """
    limit = limit_of_decorator(seconds)
    return lambda function: _on_loop(function, limit, None)


def _on_loop(
    action: Callable[P, Any], limit: float | None, policy: RetryPolicy | None
) -> Callable[P, Coroutine[Any, Any, Any]]:
    made = guarded(action, limit, policy, on_loop=True)
    return cast("Callable[P, Coroutine[Any, Any, Any]]", made)


async def _beside_the_loop(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a thread of the engine, and give what it returns or raises."""
    called = cast("Callable[P, Coroutine[Any, Any, R]]", guarded(function, None, None, on_loop=True))
    return await called(*args, **kwargs)
