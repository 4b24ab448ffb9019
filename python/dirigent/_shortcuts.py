"""Shortcuts for what needs no workflow spelled out: run one thing or several, try again, set a limit.

Everything runs through the engine; here is only how it is asked for. Pipelines are in ``_pipe``, graphs in ``_steps``.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from dirigent import _native
from dirigent._errors import TaskFailedError, TaskTimeoutError
from dirigent._options import RetryPolicy, misused, seconds
from dirigent._program import program
from dirigent._signature import look_at

if TYPE_CHECKING:
    from dirigent._run import Run
    from dirigent._workflow import Workflow

P = ParamSpec("P")
R = TypeVar("R")

Word = str | os.PathLike[str]
Target = Word | Sequence[Word] | Callable[..., object]
Environment = Mapping[str, str | None]

#: The variables in which a script of a chain finds what the one before left.
PREVIOUS_STDOUT = "DIRIGENT_PREVIOUS_STDOUT"
PREVIOUS_RESULT = "DIRIGENT_PREVIOUS_RESULT"

#: How long a growing delay may become.
_LONGEST_DELAY_S = 7 * 24 * 3600.0
_LONGEST_NAME = 72
_LINES_IN_ERROR = 10


def run(
    target: Target,
    timeout: float | None = 60,
    args: Sequence[Any] | None = None,
    env: Environment | None = None,
    cwd: Word | None = None,
) -> dict[str, Any]:
    """Run a script, a command or a function and wait for it. How it ends is in the result.

    >>> from dirigent import run
    >>> run(["echo", "two words"])["stdout"]
    'two words\\n'
    >>> run(pow, args=[2, 10])["result"]
    1024

    Args:
        target: The path of a script, a command as a list of words that no shell sees, or a function, which is called in
            a process of its own; a coroutine function runs on a loop there.
        timeout: Seconds it may take; ``None`` for no limit.
        args: Words after the script's or the command's own; any values for a function.
        env: Variables to set, or to remove where the value is ``None``.
        cwd: The working directory. Where nothing is said, a script runs in its project's root or its own folder,
            anything else in this process's.

    Returns:
        What :func:`run_script` returns, or :func:`run_function` for a function.

    Raises:
        UsageError: The target is none, or an argument makes no sense.
        TypeError: The function or its arguments cannot be sent to another process.
        KeyboardInterrupt: At once, on Ctrl-C; the processes are ended.
    """
    return _order(target, timeout, args, env, cwd)()


def shell(
    command: str,
    timeout: float | None = 60,
    env: Environment | None = None,
    cwd: Word | None = None,
    check: bool = False,
) -> dict[str, Any]:
    """Run a line of shell with ``/bin/sh`` and wait for it.

    What goes into the line is read by the shell: values from elsewhere belong into ``env``.

    >>> from dirigent import shell
    >>> shell('echo "$GREETING" | tr a-z A-Z', env={"GREETING": "hello; date"})["stdout"]
    'HELLO; DATE\\n'
    >>> shell("exit 3", check=True)
    Traceback (most recent call last):
    dirigent._errors.TaskFailedError: `exit 3` failed with exit code 3

    Args:
        command: The line.
        timeout: Seconds it may take; ``None`` for no limit.
        env: Variables to set, or to remove where the value is ``None``.
        cwd: The working directory; that of this process where nothing is said.
        check: Raise where it does not pass.

    Returns:
        What :func:`run_script` returns.

    Raises:
        TaskFailedError: It did not pass, and ``check`` is set; a :class:`TaskTimeoutError` where its time was over.
        UsageError: An argument makes no sense.
    """
    if not isinstance(command, str) or not command.strip():
        hint = "for a list of words use run([...])" if isinstance(command, (list, tuple)) else None
        raise misused(f"a line of shell is a text that is not empty, not {command!r}", hint)
    name = shortened(command)
    argv = ["/bin/sh", "-c", command]
    result = carry_out(name, argv, time_limit(timeout), _environment(env), _folder(cwd))
    if check and result["status"] != "passed":
        raise _failure(name, result)
    return result


def batch(
    targets: Iterable[Target], workers: int | None = None, timeout: float | None = 60
) -> list[dict[str, Any]]:
    """Run several scripts, commands or functions, some of them at once, and wait for all.

    >>> from dirigent import batch
    >>> [result["stdout"] for result in batch([["echo", "one"], ["echo", "two"]])]
    ['one\\n', 'two\\n']

    Args:
        targets: What :func:`run` takes. All are looked at before the first one starts.
        workers: How many run at once; as many as there are cores where nothing is said.
        timeout: Seconds for each; ``None`` for no limit.

    Returns:
        Their results, in the order of the targets. One that cannot even be tried has the status ``error``.

    Raises:
        UsageError: A target is none, or an argument makes no sense.
        KeyboardInterrupt: At once, on Ctrl-C; nothing more starts.
    """
    workflow = batched(targets, workers, timeout)
    handle = workflow.start()
    try:
        ended = handle.wait()
    except BaseException:
        handle.cancel()
        raise
    return [value_of(ended, name) for name in workflow.tasks]


def chain_scripts(
    scripts: Iterable[Word],
    timeout_per_script: float | None = 60,
    pass_results: bool = True,
    stop_on_error: bool = True,
) -> list[dict[str, Any]]:
    """Run scripts one after the other, each with what the one before left.

    >>> import pathlib, tempfile
    >>> from dirigent import chain_scripts
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     one, two = pathlib.Path(folder, "one.sh"), pathlib.Path(folder, "two.sh")
    ...     _ = one.write_text("echo 41"), two.write_text('expr $(cat "$DIRIGENT_PREVIOUS_STDOUT") + 1')
    ...     [result["stdout"] for result in chain_scripts([one, two])]
    ['41\\n', '42\\n']

    Args:
        scripts: The paths of the scripts, which may also be made by scripts before them.
        timeout_per_script: Seconds for each; ``None`` for no limit.
        pass_results: Name two files to each script but the first: in ``DIRIGENT_PREVIOUS_STDOUT`` one with what the
            script before wrote to standard output, in ``DIRIGENT_PREVIOUS_RESULT`` one with its result as JSON. They
            are gone after the chain.
        stop_on_error: After a script that does not pass, start no other one.

    Returns:
        What :func:`run_script` returns, for every script; those that were not started have the status ``skipped``.

    Raises:
        UsageError: An argument makes no sense.
        KeyboardInterrupt: At once, on Ctrl-C; the processes are ended.
    """
    import tempfile

    from dirigent._scripts import run_script

    if isinstance(scripts, (str, os.PathLike)):
        raise misused(f"scripts is a list of paths, not {scripts!r}", f"write [{scripts!r}]")
    paths = [os.path.abspath(script) for script in scripts]
    limit = time_limit(timeout_per_script, "timeout_per_script")
    # A chain within a chain: its first script has nobody before it.
    handed: dict[str, str | None] = dict.fromkeys((PREVIOUS_STDOUT, PREVIOUS_RESULT))
    results: list[dict[str, Any]] = []
    failed: str | None = None
    with tempfile.TemporaryDirectory(prefix="dirigent-", ignore_cleanup_errors=True) as folder:
        for number, path in enumerate(paths):
            if failed is not None and stop_on_error:
                results.append(not_run(path, "skipped", f"was not started because {failed} did not pass"))
                continue
            result = run_script(path, limit, handed)
            results.append(result)
            if result["status"] not in ("passed", "skipped"):
                failed = os.path.basename(path)
            if pass_results:
                handed = _handed_on(result, Path(folder, str(number)))
    return results


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


def timeout(seconds: float) -> Callable[[Callable[P, R]], Callable[P, R]]:
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


# --- what the shortcuts have in common with their asynchronous twins ---


def batched(targets: Iterable[Target], workers: int | None, timeout: float | None) -> Workflow:
    """The workflow that carries out a batch: one task a target, named by its place, whose value is its result."""
    from dirigent._workflow import Workflow

    if isinstance(targets, (str, os.PathLike)) or callable(targets):
        raise misused(f"targets is a list of what run takes, not {targets!r}", f"write [{targets!r}]")
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    elif not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise misused(f"workers is 1 or more, not {workers!r}", "None stands for as many as there are cores")
    workflow = Workflow("batch", fail_fast=False, max_concurrency=workers)
    for number, target in enumerate(targets):
        order = _order(target, timeout, None, None, None)
        workflow.add_task(f"{number}", _tried, args=(order, _name_of_target(target)))
    return workflow


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
        return workflow.add_task(
            name, action, args=args, kwargs=kwargs, timeout=timeout, retry_policy=policy
        )

    def call(*args: Any, **kwargs: Any) -> Any:
        return value_of(ordered(args, kwargs).run_sync(), name)

    async def call_on_loop(*args: Any, **kwargs: Any) -> Any:
        return value_of(await ordered(args, kwargs).run(), name)

    is_async = look_at(action).is_async if on_loop is None else on_loop
    made = functools.wraps(action)(call_on_loop if is_async else call)
    return cast("Callable[P, R]", made)


def patience(max_attempts: int, delay: float, backoff: float) -> RetryPolicy:
    """The policy of ``retry``: delays as they are said, not changed by chance."""
    for option, value in (("max_attempts", max_attempts), ("delay", delay), ("backoff", backoff)):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value != value:
            raise misused(f"{option} is a number, not {value!r}")
    return RetryPolicy(
        max_attempts=int(max_attempts),
        initial_delay=min(delay, _LONGEST_DELAY_S),
        max_delay=_LONGEST_DELAY_S,
        exponential_base=backoff,
        jitter=0.0,
    )


def limit_of_decorator(seconds: Any) -> float:
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


def shortened(text: str) -> str:
    """A command as a name: one line, not a long one."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"


def words_of(words: object, what: str) -> list[str]:
    """Words of a command, checked."""
    if not isinstance(words, Sequence) or isinstance(words, (str, bytes)):
        raise misused(f"{what} is a list of words, not {words!r}", 'write ["--day", "monday"]')
    for word in words:
        if not isinstance(word, (str, os.PathLike)):
            raise misused(f"{what} is a list of words, and {word!r} is none", f'write "{word}"')
    return [os.fspath(word) for word in words]


def command_of(words: object) -> list[str]:
    """A command's words, of which there is one at least."""
    argv = words_of(words, "a command")
    if not argv or not argv[0]:
        raise misused("a command begins with the name of a program, and this one is empty")
    return argv


def time_limit(value: Any, option: str = "timeout") -> float | None:
    """A time limit in seconds, from a number or a ``timedelta``."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise misused(f"{option} is a number of seconds, not {value!r}", "None stands for no limit")
    return seconds(value, option)


def carry_out(
    name: str, argv: Sequence[str], timeout: float | None, env: Environment, cwd: str | None
) -> dict[str, Any]:
    """Run one command to its end."""
    result: dict[str, Any] = _native.run_command(name, argv, program(), timeout, env, cwd, None)
    return result


def not_run(name: str, status: str, why: str) -> dict[str, Any]:
    """The result of what was not started, in the shape of all others."""
    return {
        "script": name,
        "name": name,
        "subdirectory": "",
        "start_time": None,
        "end_time": None,
        "status": status,
        "exit_code": None,
        "execution_time": 0.0,
        "stdout": "",
        "stderr": "",
        "error": why,
        "attempts": 0,
        "user_time": 0.0,
        "system_time": 0.0,
        "peak_memory_bytes": 0,
        "stdout_log": None,
        "stderr_log": None,
        "left_behind": 0,
        "folder": None,
    }


# --- inside ---


def _order(
    target: Any, timeout: Any, args: Any, env: Any, cwd: Word | None
) -> Callable[[], dict[str, Any]]:
    """Look at everything now, and return what carries it out."""
    limit, changes, folder = time_limit(timeout), _environment(env), _folder(cwd)
    if callable(target):
        from dirigent._function import run_function

        if args is not None and (isinstance(args, (str, bytes)) or not isinstance(args, Sequence)):
            raise misused(f"args is a list of values, not {args!r}", f"write args=[{args!r}]")
        if changes or folder is not None or look_at(target).is_async:
            target = _surrounded(target, changes, folder)
        return functools.partial(run_function, target, tuple(args or ()), None, limit)
    words = [] if args is None else words_of(args, "args")
    if isinstance(target, (str, os.PathLike)):
        from dirigent._scripts import run_script

        path = os.path.abspath(target)
        if not os.path.isfile(path):
            line = f"for a line of shell use shell({target!r})"
            hint = line if isinstance(target, str) and " " in target else "a path counts from the working directory"
            raise misused(f"there is no script {path}", hint)
        return functools.partial(run_script, path, limit, changes, folder, {"args": words} if words else None)
    if isinstance(target, Sequence) and not isinstance(target, bytes):
        argv = [*command_of(target), *words]
        return functools.partial(carry_out, shortened(shlex.join(argv)), argv, limit, changes, folder)
    raise misused(
        f"{target!r} cannot be run",
        "give the path of a script, a list of words, or a function",
    )


def _tried(order: Callable[[], dict[str, Any]], name: str) -> dict[str, Any]:
    """Carry an order out; in a batch one that cannot be must not hide the results of the others."""
    try:
        return order()
    except Exception as error:
        return not_run(name, "error", f"could not start: {type(error).__name__}: {error}")


def _name_of_target(target: Any) -> str:
    if callable(target):
        return name_of(target)
    return os.fspath(target) if isinstance(target, (str, os.PathLike)) else shortened(shlex.join(words_of(target, "")))


def _surrounded(function: Callable[..., Any], env: Environment, cwd: str | None) -> Callable[..., Any]:
    """The function in other surroundings: it has its process to itself, so that these can be the process's."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        import asyncio
        import inspect

        for name, value in env.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if cwd is not None:
            os.chdir(cwd)
        value = function(*args)
        return asyncio.run(value) if inspect.iscoroutine(value) else value

    # Its signature is its own: what is sent to the process must not carry the function twice.
    del call.__wrapped__  # type: ignore[attr-defined]
    return call


def _environment(env: Any) -> dict[str, str | None]:
    if env is None:
        return {}
    if not isinstance(env, Mapping):
        raise misused(f"env is a mapping of names to texts, not {env!r}")
    for name, value in env.items():
        if not isinstance(name, str) or not name or "=" in name:
            raise misused(f"{name!r} cannot be the name of an environment variable")
        if value is not None and not isinstance(value, (str, os.PathLike)):
            raise misused(f"the environment variable {name} is a text, not {value!r}", f'write "{value}"')
    return {name: value if value is None else os.fspath(value) for name, value in env.items()}


def _folder(cwd: Word | None) -> str | None:
    return None if cwd is None else os.path.abspath(cwd)


def _failure(name: str, result: Mapping[str, Any]) -> TaskFailedError:
    lines = result["stderr"].rstrip().splitlines()[-_LINES_IN_ERROR:]
    message = "\n".join([f"`{name}` {result['error']}", *lines])
    if result["status"] == "timeout":
        return TaskTimeoutError(message, "task.timed_out", name)
    return TaskFailedError(message, "task.failed", name)


def _handed_on(result: Mapping[str, Any], folder: Path) -> dict[str, str | None]:
    """Files for the next script of a chain, and the variables that name them."""
    import shutil

    folder.mkdir()
    stdout, told = folder / "stdout", folder / "result.json"
    log = result["stdout_log"]
    if log is None or not log["log"]:
        stdout.write_text(result["stdout"], encoding="utf-8", errors="surrogateescape")
    else:
        # The log has the exact bytes. A copy, since it is a record, and whoever reads it might write to it.
        shutil.copyfile(Path(result["folder"], log["log"]), stdout)
    told.write_text(json.dumps(dict(result), indent=2), encoding="utf-8")
    return {PREVIOUS_STDOUT: str(stdout), PREVIOUS_RESULT: str(told)}
