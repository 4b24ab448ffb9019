"""Running one function in a process of its own, so that nothing it does can hurt the caller."""

from __future__ import annotations

import pickle
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dirigent import _native
from dirigent._program import program


def run_function(
    func: Callable[..., object],
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] | None = None,
    timeout: float | None = 60,
    memory_limit_mb: int | None = None,
) -> dict[str, Any]:
    """Call a function in a process of its own and wait for it.

    A crash, an exit, a hang, a flood of output or a result of any size stays there: the caller gets an answer.

    Args:
        func: The function; lambdas, closures and functions of notebooks too.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        timeout: Seconds it may take; ``None`` for no limit.
        memory_limit_mb: How much memory it may use, in MiB.

    Returns:
        The keys of :func:`run_script`, with ``script`` and ``name`` naming the function, and beside them ``result``
        (what it returned; ``None`` unless ``status`` is ``passed``) and ``error_type`` (the name of the exception's
        class or ``None``). ``exit_code`` is that of the process.

    Raises:
        UsageError: An argument makes no sense.
        TypeError: The function or its arguments cannot be sent to another process.
        KeyboardInterrupt: At once, on Ctrl-C; the process is ended.
    """
    name = getattr(func, "__qualname__", None) or type(func).__qualname__
    with tempfile.TemporaryDirectory(prefix="dirigent-") as folder:
        call, answer = Path(folder, "call"), Path(folder, "answer")
        call.write_bytes(_packed(func, args, kwargs or {}, str(name)))
        result: dict[str, Any] = _native.run_command(
            str(name),
            [sys.executable, "-m", "dirigent._function_child", str(call), str(answer)],
            program(),
            None if timeout is None else float(timeout),
            {"PYTHONUNBUFFERED": "1"},
            None,
            memory_limit_mb,
        )
        _read_answer(result, answer)
    return result


def _packed(
    func: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object], name: str
) -> bytes:
    import cloudpickle  # only needed here, and not cheap

    try:
        packed: bytes = cloudpickle.dumps((func, tuple(args), dict(kwargs)))
    except Exception as error:
        raise TypeError(f"{name} or its arguments cannot be sent to another process: {error}") from error
    # The path comes first by itself: the rest may need it to be read.
    return pickle.dumps(list(sys.path)) + packed


def _read_answer(result: dict[str, Any], answer: Path) -> None:
    """Put what the child left into the result. No answer is a failure, whatever the exit code."""
    result["result"] = None
    result["error_type"] = None
    if result["status"] not in ("passed", "failed"):
        return
    try:
        with answer.open("rb") as file:
            kind = pickle.load(file)
            if kind == "value":
                value = pickle.load(file)
                # A process that dies after it has answered has not succeeded.
                if result["status"] == "passed":
                    result["result"] = value
            else:
                result["error_type"], result["error"] = pickle.load(file)
                result["status"] = "failed"
    except FileNotFoundError:
        if result["status"] == "passed" or result["exit_code"] is not None:
            result["status"] = "failed"
            result["error"] = (
                f"the process ended with exit code {result['exit_code']} before the function returned"
            )
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the value's own code raises while it is put together again
        result["status"] = "failed"
        result["error_type"] = type(error).__name__
        result["error"] = f"what the function returned cannot be read here: {error}"
