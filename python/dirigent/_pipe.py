"""Pipelines: commands that run at once, each reading what the one before writes.

The commands are children of one small process (``_pipe_child``), which is one command to the engine: when its time is
over or it is ended, all of them are.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dirigent._guarded import Seconds, time_limit
from dirigent._options import misused
from dirigent._shortcuts import Word, carry_out, command_of, not_run, shortened


def pipe(
    commands: Iterable[str | Sequence[Word]],
    timeout_per_command: Seconds | None = 30,
    stop_on_error: bool = True,
) -> list[dict[str, Any]]:
    """Run a pipeline and wait for it: all commands at once, the output of each is the input of the next.

    >>> from dirigent import pipe
    >>> results = pipe([["printf", "b\\\\na\\\\n"], "sort", ["head", "-n", "1"]])
    >>> results[-1]["stdout"]
    'a\\n'
    >>> [result["status"] for result in pipe(["echo 1; exit 3", "cat; echo never"])]
    ['failed', 'skipped']

    Args:
        commands: Each a list of words that no shell sees, or a line for ``/bin/sh``. The first one's input is empty.
        timeout_per_command: Seconds that each may take, which all start at once; ``None`` for no limit.
        stop_on_error: When a command fails, end the others. A command then never takes what a failed one left for a
            complete input: the end of its input comes only when the one before has passed. Otherwise all run to their
            ends, as in a shell.

    Returns:
        What :func:`run_script` returns, for each command. The one that failed has the status ``failed``, ``timeout`` or
        ``error`` (it could not start); others that were ended because of it are ``skipped``. ``stdout`` is there for the
        last one only: that of the others went on. A command that the next one no longer listened to has passed, as
        ``yes`` has in ``yes | head``.

    Raises:
        UsageError: An argument makes no sense.
        KeyboardInterrupt: At once, on Ctrl-C; all processes are ended.
    """
    import tempfile

    if isinstance(commands, (str, bytes)):
        raise misused(
            f"commands is a list of commands, not {commands!r}", f"for one line use shell({commands!r})"
        )
    orders = [_order(command) for command in commands]
    if not orders:
        raise misused("a pipeline has one command at least, and this one is empty")
    names = [name for name, _ in orders]
    limit = time_limit(timeout_per_command, "timeout_per_command")
    with tempfile.TemporaryDirectory(prefix="dirigent-", ignore_cleanup_errors=True) as folder:
        order = {"commands": [argv for _, argv in orders], "stop_on_error": bool(stop_on_error)}
        Path(folder, "order").write_text(json.dumps(order), encoding="ascii")
        child = os.path.join(os.path.dirname(__file__), "_pipe_child.py")
        argv = [sys.executable or "python3", "-I", "-S", child, folder]
        whole = carry_out(shortened(" | ".join(names)), argv, limit, {}, None)
        return _results(names, whole, limit, Path(folder))


def _order(command: object) -> tuple[str, list[str]]:
    """What a command is called, and its words."""
    if isinstance(command, str):
        if not command.strip():
            raise misused("a command of the pipeline is empty")
        return shortened(command), ["/bin/sh", "-c", command]
    argv = command_of(command)
    return shortened(shlex.join(argv)), argv


def _results(
    names: Sequence[str], whole: Mapping[str, Any], limit: float | None, folder: Path
) -> list[dict[str, Any]]:
    seen = _seen(folder)
    last = len(names) - 1
    if limit is not None and whole["status"] == "timeout":
        # Who ends when the time is over ends because of it, whatever its exit code.
        over_s = datetime.fromisoformat(whole["start_time"]).timestamp() + limit
        for told in seen.values():
            if told.get("ended_s", 0) >= over_s:
                del told["code"]
    culprit = next((number for number, told in seen.items() if _has_failed(told, number == last)), None)
    because = "" if culprit is None else f"because command {culprit + 1} (`{names[culprit]}`) failed"
    results: list[dict[str, Any]] = []
    # From the last to the first: whether one has passed that nobody listened to depends on who did not.
    for number, name in reversed(list(enumerate(names))):
        told = seen.get(number, {})
        result = not_run(name, *_status(told, whole, because, results[-1]["status"] if results else None))
        result["folder"] = whole["folder"]
        if "started_s" in told:
            ended_s = told.get("ended_s")
            result |= {
                "start_time": _time(told["started_s"]),
                "end_time": whole["end_time"] if ended_s is None else _time(ended_s),
                "execution_time": whole["execution_time"] if ended_s is None else told["wall_s"],
                "attempts": 1,
                "stderr": _text(folder / f"{number}.stderr"),
            }
            result |= {
                key: told[key] for key in ("user_time", "system_time", "peak_memory_bytes") if key in told
            }
        if told.get("code", -1) >= 0:
            result["exit_code"] = told["code"]
        if number == last:
            result |= {key: whole[key] for key in ("stdout", "stdout_log", "left_behind")}
        results.append(result)
    return results[::-1]


def _seen(folder: Path) -> dict[int, dict[str, Any]]:
    """What the child saw of each command, in the order in which they ended."""
    started: dict[int, dict[str, Any]] = {}
    ended: dict[int, dict[str, Any]] = {}
    for line in _text(folder / "seen").splitlines(keepends=True):
        if line.endswith("\n"):  # it may have been ended while it wrote
            told = json.loads(line)
            number = told.pop("number")
            if "started_s" in told:
                started[number] = told
            else:
                ended[number] = {**started.get(number, {}), **told}
    return {**ended, **{number: told for number, told in started.items() if number not in ended}}


def _status(
    told: Mapping[str, Any], whole: Mapping[str, Any], because: str, next_status: str | None
) -> tuple[str, str | None]:
    """How a command went, and what to say of it."""
    if "problem" in told:
        return "error", f"could not start: {told['problem']}"
    if "code" not in told:
        if whole["status"] == "timeout":
            return "timeout", whole["error"]
        if "started_s" not in told and because:
            return "skipped", f"was not started {because}"
        # Nobody saw how it ended.
        return "error", f"was lost with its pipeline, which {whole['error'] or 'ended'}"
    code = told["code"]
    if told["was_stopped"]:
        return "skipped", f"was ended {because}"
    if code == 0:
        return "passed", None
    if _is_cut_off(code, next_status is None):
        if next_status == "passed":
            return "passed", None
        return "skipped", f"was no longer listened to {because}".rstrip()
    return "failed", f"failed with exit code {code}" if code > 0 else f"was killed by {_signal(-code)}"


def _has_failed(told: Mapping[str, Any], is_last: bool) -> bool:
    if "problem" in told:
        return True
    code = told.get("code", 0)
    return code != 0 and not told["was_stopped"] and not _is_cut_off(code, is_last)


def _is_cut_off(code: int, is_last: bool) -> bool:
    """Whether nobody listened to it any more; a shell says so with an exit code."""
    return not is_last and code in (-signal.SIGPIPE, 128 + signal.SIGPIPE)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s).astimezone().isoformat(timespec="milliseconds")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
