"""Shortcuts for what needs no workflow spelled out: run one thing, a line of shell, several things, scripts in a row.

Everything runs through the engine; here is only how it is asked for. Pipelines are in ``_pipe``, graphs in ``_steps``,
retries and limits of functions in ``_guarded``.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dirigent import _native
from dirigent._errors import TaskFailedError, TaskTimeoutError
from dirigent._guarded import Seconds, name_of, time_limit, value_of
from dirigent._options import misused
from dirigent._program import program
from dirigent._signature import look_at

if TYPE_CHECKING:
    from dirigent._workflow import Workflow

Word = str | os.PathLike[str]
Target = Word | Sequence[Word] | Callable[..., object]
Environment = Mapping[str, str | None]

#: The variables in which a script of a chain finds what the one before left.
PREVIOUS_STDOUT = "DIRIGENT_PREVIOUS_STDOUT"
PREVIOUS_RESULT = "DIRIGENT_PREVIOUS_RESULT"

_LONGEST_NAME = 72
_LINES_IN_ERROR = 10


def run(
    target: Target,
    timeout: Seconds | None = 60,
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
    timeout: Seconds | None = 60,
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
    targets: Iterable[Target], workers: int | None = None, timeout: Seconds | None = 60
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
    timeout_per_script: Seconds | None = 60,
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
    paths = [os.path.abspath(script) for script in words_of(list(scripts), "scripts")]
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


# --- what the shortcuts have in common with their asynchronous twins ---


def batched(targets: Iterable[Target], workers: int | None, timeout: Seconds | None) -> Workflow:
    """The workflow that carries out a batch: one task a target, named by its place, whose value is its result."""
    from dirigent._workflow import Workflow

    given: Any = targets
    if isinstance(given, (str, os.PathLike)) or callable(given):
        raise misused(f"targets is a list of what run takes, not {given!r}", f"write [{given!r}]")
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    elif not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise misused(f"workers is 1 or more, not {workers!r}", "None stands for as many as there are cores")
    workflow = Workflow("batch", fail_fast=False, max_concurrency=workers)
    for number, target in enumerate(targets):
        order = _order(target, timeout, None, None, None)
        workflow.add_task(f"{number}", _tried, args=(order, _name_of_target(target)))
    return workflow


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


def carry_out(
    name: str, argv: Sequence[str], timeout: float | None, env: Environment, cwd: str | None
) -> dict[str, Any]:
    """Run one command to its end."""
    result: dict[str, Any] = _native.run_command(name, argv, program(), timeout, env, cwd, None)
    return result


def not_run(name: str, status: str, why: str | None) -> dict[str, Any]:
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


def _order(target: Any, timeout: Any, args: Any, env: Any, cwd: Word | None) -> Callable[[], dict[str, Any]]:
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
            is_line = isinstance(target, str) and " " in target
            hint = f"shell({target!r}) is for a line of shell" if is_line else "a relative path starts here"
            raise misused(f"there is no script {path}", hint)
        return functools.partial(run_script, path, limit, changes, folder, {"args": words} if words else None)
    if isinstance(target, Sequence) and not isinstance(target, bytes):
        argv = [*command_of(target), *words]
        return functools.partial(carry_out, shortened(shlex.join(argv)), argv, limit, changes, folder)
    raise misused(f"{target!r} cannot be run", "give the path of a script, a list of words, or a function")


def _tried(order: Callable[[], dict[str, Any]], name: str) -> dict[str, Any]:
    """Carry an order out; in a batch one that cannot be must not hide the results of the others."""
    try:
        return order()
    except Exception as error:
        return not_run(name, "error", f"could not start: {type(error).__name__}: {error}")


def _name_of_target(target: Any) -> str:
    if callable(target):
        return name_of(target)
    if isinstance(target, (str, os.PathLike)):
        return os.fspath(target)
    return shortened(shlex.join(words_of(target, "a command")))


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
