"""Workflows whose functions, commands and hosts misbehave: the run goes on, ends, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dirigent import TaskFailedError, Workflow

from tests.children import DEADLINE_S, Ledger, Process, children_of, kinds, lives, started, wait_for
from tests.workflows import ended, ends_of, statuses, with_time_enough

ROOT = Path(__file__).resolve().parent.parent

#: Within which nothing of a killed program may be left: two seconds, and something for a loaded machine.
GONE_WITHIN_S = 4.0


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def one() -> int:
    return 1


# --- ways to end ----------------------------------------------------------------------------------


class Own(BaseException):
    """An exception that is no ``Exception``."""


class Mute(Exception):
    """An exception without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def throwing(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


#: What a function raises, and what is told of it.
EXITS: dict[str, tuple[BaseException, str]] = {
    "exit 0": (SystemExit(0), "raised SystemExit: 0"),
    "exit": (SystemExit(), "raised SystemExit"),
    "exit with a text": (SystemExit("bye"), "raised SystemExit: bye"),
    "interrupt": (KeyboardInterrupt(), "raised KeyboardInterrupt"),
    "generator exit": (GeneratorExit(), "raised GeneratorExit"),
    "stop iteration": (StopIteration(5), "raised StopIteration: 5"),
    "cancelled": (asyncio.CancelledError(), "raised asyncio.exceptions.CancelledError"),
    "own": (Own("mine"), f"raised {Own.__module__}.Own: mine"),
    "mute": (Mute(), f"raised {Mute.__module__}.Mute: (its text cannot be made)"),
    "memory": (MemoryError(), "raised MemoryError"),
    "recursion": (RecursionError("deep"), "raised RecursionError: deep"),
}


@pytest.mark.fault("P1", "every kind of exception, in threads")
def test_no_way_of_ending_a_function_is_a_success_or_the_end_of_the_run() -> None:
    wf = Workflow("exits", fail_fast=False, max_concurrency=2)
    for name, (error, _) in EXITS.items():
        wf.add_task(name, throwing(error)).add_task(f"after {name}", one, [name])
    run = ended(wf.add_task("neighbour", one))
    for name, (error, sentence) in EXITS.items():
        result = run.tasks[name]
        assert (result.status.value, result.value, result.sentence) == ("failed", None, sentence)
        assert result.error is error
        assert run.tasks[f"after {name}"].status.value == "skipped"
    assert run["neighbour"] == 1 and not run.ok


@pytest.mark.fault("P1", "every kind of exception, in coroutines")
def test_no_way_of_ending_a_coroutine_is_a_success_or_the_end_of_the_run() -> None:
    # An event loop hands the first two to whoever runs it, and makes cancellations of its own.
    others = ("exit", "interrupt", "cancelled")
    named = {name: error for name, (error, _) in EXITS.items() if not name.startswith(others)}
    wf = Workflow("exits", fail_fast=False)

    def later(error: BaseException) -> Callable[[], Any]:
        async def work() -> None:
            await asyncio.sleep(0)
            raise error

        return work

    def cancel() -> Callable[[], Any]:
        async def work() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(3600)

        return work

    for name, error in named.items():
        wf.add_task(name, later(error))
    run = ended(wf.add_task("cancels itself", cancel()).add_task("neighbour", one))
    assert statuses(run) == {**dict.fromkeys([*named, "cancels itself"], "failed"), "neighbour": "completed"}
    # Python itself makes a RuntimeError of a StopIteration that leaves a coroutine.
    errors = {name: run.tasks[name].error for name in named if name != "stop iteration"}
    assert errors == {name: named[name] for name in errors}


@pytest.mark.fault("P1", "exceptions, exits and signals, in processes")
def test_no_way_of_ending_a_function_in_a_process_is_a_success_or_the_end_of_the_run() -> None:
    def leave(code: int) -> Callable[[], None]:
        return lambda: os._exit(code)

    def crash(by: int) -> Callable[[], None]:
        return lambda: os.kill(os.getpid(), by)

    wf = Workflow("exits", fail_fast=False, max_concurrency=2)
    for name in ("exit 0", "exit", "exit with a text", "interrupt", "generator exit", "stop iteration"):
        wf.add_task(name, throwing(EXITS[name][0]), isolation="process")
    wf.add_task("leave 0", leave(0), isolation="process").add_task("leave 3", leave(3), isolation="process")
    for by in (signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT):
        wf.add_task(by.name, crash(by), isolation="process")
    last = wf.add_task(
        "neighbour", lambda: os.getpid(), list(wf.tasks), trigger="all_done", isolation="process"
    )
    run = ended(last)
    assert run["neighbour"] != os.getpid()
    del (how := statuses(run))["neighbour"]
    assert set(how.values()) == {"failed"}, how
    for name in ("exit 0", "exit", "exit with a text", "interrupt", "generator exit", "stop iteration"):
        assert run.tasks[name].sentence == EXITS[name][1]
        assert type(run.tasks[name].error) is type(EXITS[name][0])
    assert "SIGSEGV" in run.tasks["SIGSEGV"].sentence
    assert "exit code 3" in run.tasks["leave 3"].sentence


def test_a_failure_in_a_process_shows_where_it_was() -> None:
    def inner() -> None:
        raise LookupError("no such row")

    def outer() -> None:
        inner()

    error = ended(Workflow("far").add_task("x", outer, isolation="process")).tasks["x"].error
    assert isinstance(error, LookupError) and str(error) == "no such row"
    assert "in outer" in str(error.__cause__) and "in inner" in str(error.__cause__)


def test_an_exception_that_cannot_come_back_is_told_as_what_it_was() -> None:
    class Two(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")

    def work() -> None:
        raise Two(1, 2)

    sentence = ended(Workflow("far").add_task("x", work, isolation="process")).tasks["x"].sentence
    assert "Two" in sentence and "1 and 2" in sentence


# --- values ---------------------------------------------------------------------------------------


class Spiteful:
    """A value whose own code raises wherever it can."""

    def refuse(self, *_: object) -> Any:
        raise RuntimeError("leave me alone")

    __repr__ = __str__ = __eq__ = __bool__ = __hash__ = __len__ = __iter__ = refuse  # type: ignore[assignment]
    __reduce__ = __reduce_ex__ = __getattr__ = __copy__ = __deepcopy__ = refuse  # type: ignore[assignment]

    def __del__(self) -> None:
        raise RuntimeError("not even this")


@pytest.mark.fault("P2", "a value whose own code raises wherever it can")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_spiteful_value_reaches_who_needs_it() -> None:
    async def later() -> Spiteful:
        return Spiteful()

    wf = Workflow("spite", fail_fast=False).add_task("make", Spiteful).add_task("later", later)
    wf.add_task("use", lambda make, later: [type(make).__name__, type(later).__name__], ["make", "later"])
    wf.add_task("drop", lambda make: None, ["make"])
    run = ended(wf)
    assert run["use"] == ["Spiteful", "Spiteful"]
    assert run.ok and isinstance(run["make"], Spiteful)
    assert repr(run)
    del run, wf
    gc.collect()


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.fault("P2", "values that cannot be sent to another process")
def test_values_that_cannot_be_sent_are_failures_that_name_the_part() -> None:
    class Refusing:
        def __reduce__(self) -> str:
            raise RuntimeError("not me")

    class Unreadable:
        def __reduce__(self) -> tuple[Any, ...]:
            return (int, ("no number",))

    def lock() -> dict[str, Any]:
        import threading

        return {"rows": [1, 2, {"lock": threading.Lock()}]}

    def deep() -> list[Any]:
        value: list[Any] = []
        for _ in range(100_000):
            value = [value]
        return value

    wf = Workflow("send", fail_fast=False, max_concurrency=2)
    wf.add_task("lock", lock, isolation="process")
    wf.add_task("refusing", lambda: [Refusing()], isolation="process")
    wf.add_task("unreadable", lambda: Unreadable(), isolation="process")
    wf.add_task("deep", deep, isolation="process")
    wf.add_task("here", lambda: threading.Lock())
    wf.add_task("used here", lambda here: here.locked(), ["here"])
    wf.add_task("used there", lambda here: here.locked(), ["here"], isolation="process")
    wf.add_task("fine", lambda: bytes(16 << 20), isolation="process")
    run = ended(wf)
    assert "result['rows'][2]['lock']" in run.tasks["lock"].sentence
    assert "result[0]" in run.tasks["refusing"].sentence
    assert isinstance(run.tasks["unreadable"].error, ValueError)
    assert "cannot be sent to another process" in run.tasks["deep"].sentence
    assert "cannot be sent to another process" in run.tasks["used there"].sentence
    failed = ["lock", "refusing", "unreadable", "deep", "used there"]
    assert [result.name for result in run.failed] == failed
    assert (run["used here"], len(run["fine"])) == (False, 16 << 20)


def test_a_result_that_hangs_when_it_is_sent_runs_out_of_time() -> None:
    class Stuck:
        def __reduce__(self) -> str:
            import time

            time.sleep(600)
            return ""

    wf = Workflow("stuck", fail_fast=False).add_task("x", lambda: Stuck(), isolation="process", timeout=2)
    wf.add_task("next", lambda: 1, ["x"], trigger="all_done", isolation="process")
    assert statuses(ended(wf)) == {"x": "timed_out", "next": "completed"}


@pytest.mark.fault("P5", "a list nested 100,000 deep")
def test_data_nested_deep_is_data_like_any_other() -> None:
    wf = (
        Workflow("deep")
        .add_task("make", nested, args=(100_000,))
        .add_task("use", lambda make: len(make), ["make"])
    )
    wf.add_task("pass on", lambda make: make, ["make"])
    run = ended(wf)
    assert run["pass on"] is run["make"] and run["use"] == 1


# --- who holds on ---------------------------------------------------------------------------------


@pytest.mark.fault("P3", "C code that never lets go, in a process")
def test_a_function_in_a_process_that_holds_the_interpreter_is_ended(ledger: Ledger) -> None:
    path = str(ledger.path)

    def hold() -> None:
        import ctypes
        from pathlib import Path

        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        Path(path).write_text(f"{os.getpid()} {fields[19]}\n")
        ctypes.PyDLL(None).sleep(600)

    def attempt(limit: float) -> bool:
        run = ended(Workflow("hold").add_task("x", hold, isolation="process", timeout=limit))
        assert statuses(run) == {"x": "timed_out"}
        wait_for("the end of its process", lambda: not ledger.alive())
        return bool(ledger.processes())

    with_time_enough(attempt, (2, 10, 60))


@pytest.mark.fault("P3", "a coroutine that never yields")
def test_a_coroutine_that_never_yields_holds_up_the_loop_alone() -> None:
    code = """
import itertools
from dirigent import Workflow

async def spin():
    for _ in itertools.count():
        pass

def tell(task, status, details):
    print(task, status, flush=True)

wf = Workflow("spin", fail_fast=False, progress_callback=tell)
wf.add_task("spin", spin, timeout=0.2).add_task("plain", lambda: 1).add_task("after", lambda: 2, ["plain"])
wf.add_task("late", lambda: 3, ["spin"], trigger="all_done").run_sync()
"""
    expected = {"spin running", "spin timed_out", "plain completed", "after completed", "late completed"}
    with started([sys.executable, "-c", code], stdout=subprocess.PIPE) as program:
        watchdog = threading.Timer(DEADLINE_S, program.kill)
        watchdog.start()
        assert program.stdout is not None
        for line in program.stdout:
            expected.discard(line.strip())
            if not expected:
                break
        watchdog.cancel()
        assert not expected
        assert program.poll() is None


# --- Ctrl-C ---------------------------------------------------------------------------------------

INTERRUPTED = """
import asyncio, os, sys, time
from pathlib import Path
from dirigent import Workflow
from tests.children import Ledger, kinds

ledger = Ledger(Path(sys.argv[1]))

def say(what):
    os.write(1, f"{what}\\n".encode())

def thread():
    say("began")
    time.sleep(600)

async def coroutine():
    say("began")
    await asyncio.sleep(600)

def far(line):
    import subprocess, time
    subprocess.Popen(["sh", "-c", line])
    time.sleep(600)

wf = Workflow("interrupted", max_concurrency=16)
for kind in sys.argv[2:]:
    if kind in ("thread", "coroutine"):
        wf.add_task(kind, globals()[kind])
    elif kind == "far":
        wf.add_task(kind, far, args=(f"{ledger.sign}; exec sleep 600",), isolation="process")
    else:
        wf.add_command(kind, ["bash", "-c", kinds(ledger)[kind][0]])
try:
    wf.run_sync()
except KeyboardInterrupt:
    say(f"interrupted {time.monotonic()}")
    raise
"""


@pytest.mark.fault("P4", "SIGINT while functions and commands run")
@pytest.mark.parametrize(
    ("names", "began", "signers"),
    [
        ("thread", 1, 0),
        ("coroutine", 1, 0),
        ("leader daemon own_session", 0, 5),
        ("thread coroutine far background daemon_without_environment", 2, 5),
    ],
    ids=["thread", "coroutine", "commands", "all"],
)
def test_an_interrupt_ends_the_program_and_all_it_started(
    ledger: Ledger, names: str, began: int, signers: int
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", INTERRUPTED, str(ledger.path), *names.split()]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment}
    with started(command, **options) as program:
        assert program.stdout is not None
        watchdog = threading.Timer(DEADLINE_S, program.kill)
        watchdog.start()
        for _ in range(began):
            assert program.stdout.readline() == "began\n"
        ledger.wait_for(signers)
        helpers = children_of(program.pid)
        sent_at = time.monotonic()
        program.send_signal(signal.SIGINT)
        told, at = program.stdout.readline().split()
        _, errors = program.communicate(timeout=DEADLINE_S)
        watchdog.cancel()
    assert told == "interrupted"
    # 200 ms on a machine that has nothing else to do; a loaded one may take its time.
    assert float(at) - sent_at < 20
    assert program.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt"), errors
    assert_gone(ledger, helpers)


@pytest.mark.fault("P4", "SIGINT in a program that catches it")
def test_functions_end_on_an_interrupt_though_the_program_goes_on() -> None:
    code = """
import os, time
from dirigent import Workflow

def thread():
    os.write(1, b"began\\n")
    try:
        while True:
            time.sleep(0.01)
    finally:
        os.write(1, b"ended\\n")

try:
    Workflow("w").add_task("thread", thread).run_sync()
except KeyboardInterrupt:
    os.write(1, b"interrupted\\n")
time.sleep(600)
"""
    with started([sys.executable, "-c", code], stdout=subprocess.PIPE) as program:
        watchdog = threading.Timer(DEADLINE_S, program.kill)
        watchdog.start()
        assert program.stdout is not None
        assert program.stdout.readline() == "began\n"
        program.send_signal(signal.SIGINT)
        told = {program.stdout.readline(), program.stdout.readline()}
        watchdog.cancel()
        assert told == {"interrupted\n", "ended\n"} and program.poll() is None


@pytest.mark.fault("P4", "SIGINT with a command that ignores SIGTERM")
def test_a_command_that_ignores_requests_does_not_outlive_an_interrupted_program(ledger: Ledger) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", INTERRUPTED, str(ledger.path), "ignoring_term"]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as program:
        ledger.wait_for(2)
        helpers = children_of(program.pid)
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=DEADLINE_S)
    assert_gone(ledger, helpers, DEADLINE_S)


def assert_gone(ledger: Ledger, helpers: list[Process], within_s: float = DEADLINE_S) -> None:
    wait_for("the end of what it started", lambda: not ledger.alive(), within_s)
    wait_for("the end of its helpers", lambda: not any(map(lives, helpers)), within_s)


# --- a host that is killed ------------------------------------------------------------------------


@pytest.mark.fault("E4", "kill -9 of a workflow's program")
def test_nothing_outlives_a_program_that_is_killed_in_the_middle_of_a_run(ledger: Ledger) -> None:
    code = """
import sys
from pathlib import Path
from dirigent import Workflow
from tests.children import Ledger, kinds

def far(body):
    import subprocess, time
    subprocess.Popen(["bash", "-c", body])
    time.sleep(600)

wf = Workflow("killed", max_concurrency=64)
for name, (body, _) in kinds(Ledger(Path(sys.argv[1]))).items():
    wf.add_command(f"command {name}", ["bash", "-c", body])
    wf.add_task(f"function {name}", far, args=(body,), isolation="process")
wf.run_sync()
"""
    signers = 2 * sum(signing for _, signing in kinds(ledger).values())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with started([sys.executable, "-c", code, str(ledger.path)], env=environment) as host:
        ledger.wait_for(signers)
        assert len(ledger.alive()) == signers
        helpers = children_of(host.pid)
        assert helpers
        host.kill()
        host.wait()
        assert_gone(ledger, helpers, GONE_WITHIN_S)


# --- commands -------------------------------------------------------------------------------------


@pytest.mark.fault("C5", "commands that end badly")
def test_a_command_that_ends_badly_hurts_itself_alone(tmp_path: Path) -> None:
    not_executable = tmp_path / "not-executable"
    not_executable.write_text("#!/bin/sh\n")
    faults: dict[str, tuple[list[str], str]] = {
        "missing": (["/nowhere/at-all"], "could not start: cannot execute /nowhere/at-all: No such file"),
        "unknown": (["no-such-program-anywhere"], "could not start: cannot find the program"),
        "not executable": ([str(not_executable)], "could not start: .*Permission denied"),
        "too long": (["true", "x" * 200_000], "could not start: .*Argument list too long"),
        "nul": (["echo", "a\0b"], "could not start: cannot use a NUL byte in an argument"),
        "segfault": (["sh", "-c", "kill -SEGV $$"], "was killed by SIGSEGV"),
        "abort": (["sh", "-c", "kill -ABRT $$"], "was killed by SIGABRT"),
        "asks": (["sh", "-c", "read x </dev/tty"], "failed with exit code"),
    }
    wf = Workflow("commands", fail_fast=False)
    for name, (argv, _) in faults.items():
        wf.add_command(name, argv)
    wf.add_command("no folder", ["true"], cwd=tmp_path / "nowhere")
    wf.add_command("no input", ["cat"]).add_shell("neighbour", "echo fine")
    run = ended(wf)
    for name, (_, sentence) in faults.items():
        with pytest.raises(TaskFailedError, match=sentence):
            run[name]
    with pytest.raises(TaskFailedError, match=r"could not start: cannot change to .*nowhere"):
        run["no folder"]
    assert statuses(run)["no input"] == statuses(run)["neighbour"] == "completed"


@pytest.mark.fault("C1", "a command that ignores SIGTERM")
def test_a_command_that_ignores_requests_is_killed_after_the_grace(ledger: Ledger) -> None:
    body, signers = kinds(ledger)["ignoring_term"]

    def attempt(limit: float) -> bool:
        ledger.path.unlink(missing_ok=True)
        wf = Workflow("ignores", fail_fast=False).add_command("x", ["bash", "-c", body], timeout=limit)
        run = ended(wf.add_command("neighbour", ["true"]))
        assert statuses(run) == {"x": "timed_out", "neighbour": "completed"}
        assert not ledger.alive()
        return len(ledger.processes()) == signers

    with_time_enough(attempt)


@pytest.mark.fault("C3", "commands that leave children behind")
def test_what_a_command_leaves_behind_is_ended(ledger: Ledger) -> None:
    quiet = "<&- >&- 2>&-"
    child = f'sh -c "{ledger.sign}; exec sleep 600"'.replace("$$", "\\$\\$")
    signed = f"while [ $(wc -l < {ledger.path}) -lt 3 ]; do sleep 0.01; done; exit 0"
    wf = Workflow("leaves", max_concurrency=8).add_shell("prepare", f": > {ledger.path}")
    wf.add_shell("keeps the pipe", f"{child} & {signed}", ["prepare"])
    wf.add_shell("daemon", f"(setsid {child} {quiet} &); {signed}", ["prepare"])
    wf.add_shell("session", f"setsid {child} & {signed}", ["prepare"])
    run = ended(wf)
    assert run.ok, run.summary()
    assert len(ledger.processes()) == 3 and not ledger.alive()
    assert ends_of(run, "keeps the pipe")[0]["left_behind"] >= 1


@pytest.mark.fault("P5", "a long chain of tasks")
def test_a_chain_of_many_tasks_is_carried_out() -> None:
    count = 20_000
    wf = Workflow("chain").add_task("0", one)
    for number in range(1, count):
        wf.add_task(f"{number}", lambda **before: sum(before.values()) + 1, [f"{number - 1}"])
    run = ended(wf)
    assert run.ok and run[f"{count - 1}"] == count


@pytest.mark.fault("P5", "a long chain of tasks that is skipped")
def test_a_chain_of_many_tasks_is_skipped() -> None:
    count = 20_000
    wf = Workflow("chain", fail_fast=False).add_task("0", throwing(ValueError()))
    for number in range(1, count):
        wf.add_task(f"{number}", one, [f"{number - 1}"])
    assert ended(wf).summary()["counts"] == {"failed": 1, "skipped": count - 1}
