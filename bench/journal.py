"""Measures what it costs to record runs, beside the same without a record and beside the bare database.

    python bench/journal.py [--rounds N] [CASE ...]

Cases: independent, chain, resume, disk, cached, readers, engines. Each measurement is a process of its own with a state
folder of its own; medians of the rounds are printed, as ratios wherever there is something to compare with.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HALF = 50_000
CASES: dict[str, Callable[[], dict[str, float]]] = {}


def case(function: Callable[[], dict[str, float]]) -> Callable[[], dict[str, float]]:
    """Register a measurement, which returns figures by name."""
    CASES[function.__name__] = function
    return function


def noop() -> None:
    """What costs nothing."""


def inc(x: int) -> int:
    return x + 1


def us_a_task(tasks: int, chained: bool, durability: str, ready: Callable[[], object] = noop) -> float:
    """Microseconds a task of one run, after a small one, and after somebody else is ready for it too."""
    from dirigent import Workflow

    wf = Workflow("measured")
    if chained:
        wf.add_task("0", lambda: 0)
        for n in range(1, tasks):
            wf.add_task(f"{n}", eval(f"lambda **v: v['{n - 1}'] + 1"), [f"{n - 1}"])
    else:
        wf.add_tasks((f"{n}", noop, ()) for n in range(tasks))
    wf.validate()
    Workflow("warm").add_task("one", noop).run_sync(durability=durability)
    ready()
    began = time.perf_counter()
    run = wf.run_sync(durability=durability)
    assert run.ok
    return (time.perf_counter() - began) / tasks * 1e6


@case
def independent() -> dict[str, float]:
    return {f"{kind}, µs a task": us_a_task(10_000, False, kind) for kind in ("none", "process", "power")}


@case
def chain() -> dict[str, float]:
    figures = {f"{kind}, µs a task": us_a_task(1_000, True, kind) for kind in ("none", "process")}
    database = sqlite3.connect(Path(os.environ["DIRIGENT_STATE_DIR"]) / "bare.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, body BLOB)")
    began = time.perf_counter()
    for n in range(1_000):
        database.execute("INSERT INTO t VALUES (?, ?)", (n, b"x" * 200))
    figures["a bare commit, µs"] = (time.perf_counter() - began) / 1_000 * 1e6
    return figures


def big(kills_itself: bool) -> float:
    """A run of 100,000 tasks; returns when its first task of this process started."""
    from dirigent import Workflow

    done = 0
    started: list[float] = []

    def work() -> None:
        nonlocal done
        done += 1
        if not started:
            started.append(time.perf_counter())
        if kills_itself and done == HALF:
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        if not kills_itself:
            time.sleep(60)

    wf = Workflow("big", max_concurrency=1000).add_tasks((f"{n}", work, ()) for n in range(2 * HALF))
    wf.validate()
    began = time.perf_counter()
    if kills_itself:
        wf.run_sync()
    handle = wf.start(resume="last", changed="continue")
    while not started:
        time.sleep(0.001)
    print(json.dumps({"seconds": started[0] - began}), flush=True)
    handle.cancel()
    os._exit(0)


@case
def resume() -> dict[str, float]:
    command = [sys.executable, __file__, "--alone", "big"]
    subprocess.run([*command, "kill"], check=False)
    told = subprocess.run([*command, "resume"], check=False, stdout=subprocess.PIPE, text=True).stdout
    return {"100,000 tasks, half done: s until the first starts": json.loads(told)["seconds"]}


@case
def disk() -> dict[str, float]:
    us_a_task(10_000, False, "process")
    folder = Path(os.environ["DIRIGENT_STATE_DIR"])
    database = sqlite3.connect(folder / "journal.db")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = (folder / "journal.db").stat().st_size
    return {"bytes a task": size / 10_000}


@case
def cached() -> dict[str, float]:
    """10,000 tasks of which nothing has changed."""
    from dirigent import Workflow

    def once() -> float:
        wf = Workflow("cached", max_concurrency=1000)
        for n in range(10_000):
            wf.add_task(f"{n}", inc, args=(n,), cache=True)
        wf.validate()
        began = time.perf_counter()
        run = wf.run_sync()
        seconds = time.perf_counter() - began
        assert run.ok and run["9999"] == 10_000
        return seconds / 10_000 * 1e6

    first, again = once(), once()
    return {
        "the first time, µs a task": first,
        "nothing changed, µs a task": again,
        **cached_by_others(again),
    }


DOIT = """
import sys, time
from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain

def inc(x):
    return {"value": x + 1}

def task_t():
    for n in range(10_000):
        yield {"name": str(n), "actions": [(inc, [n])], "uptodate": [True]}

tasks = {"task_t": task_t, "DOIT_CONFIG": {"dep_file": sys.argv[1], "verbosity": 0, "reporter": "zero"}}
DoitMain(ModuleTaskLoader(tasks)).run(["run"])
began = time.perf_counter()
assert DoitMain(ModuleTaskLoader(tasks)).run(["run"]) == 0
print((time.perf_counter() - began) / 10_000 * 1e6)
"""

REDUN = """
import sys, time
from redun import Scheduler, task
from redun.config import Config

redun_namespace = "bench"

@task()
def inc(x):
    return x + 1

@task()
def every(n):
    return [inc(x) for x in range(n)]

scheduler = Scheduler(config=Config({"backend": {"db_uri": f"sqlite:///{sys.argv[1]}"}}))
scheduler.load()
scheduler.run(every(1_000))
began = time.perf_counter()
assert scheduler.run(every(1_000))[-1] == 1_000
print((time.perf_counter() - began) / 1_000 * 1e6)
"""


def cached_by_others(own_us: float) -> dict[str, float]:
    """The same by tools that are installed beside: doit with 10,000 tasks, redun, which takes long, with 1,000."""
    found: dict[str, float] = {}
    for name, program in (("doit", DOIT), ("redun", REDUN)):
        if importlib.util.find_spec(name) is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "program.py")
            file.write_text(program)
            words = [sys.executable, str(file), f"{folder}/db"]
            told = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
        us = float(told.stdout.split()[-1])
        found |= {f"{name}, µs a task": us, f"ratio to {name}": own_us / us}
    return found


@case
def readers() -> dict[str, float]:
    """The same with four who ask fifty times a second which runs there are, and without, in turns."""
    from dirigent import attach, runs

    command = "import dirigent, time\nwhile True:\n dirigent.runs(); time.sleep(0.02)"
    us_a_task(10_000, False, "process")
    polls = [subprocess.Popen([sys.executable, "-c", command]) for _ in range(4)]
    time.sleep(0.5)
    found: dict[int, list[float]] = {signal.SIGSTOP: [], signal.SIGCONT: []}
    try:
        for _ in range(9):
            for turn, figures in found.items():
                for poll in polls:
                    poll.send_signal(turn)
                time.sleep(0.05)
                figures.append(us_a_task(10_000, False, "process"))
        assert all(poll.poll() is None for poll in polls), "a reader broke off"
    finally:
        for poll in polls:
            poll.kill()
            poll.wait()
    assert runs() and attach().ok
    alone, with_readers = (statistics.median(figures) for figures in found.values())
    return {"ratio to without": with_readers / alone, "µs a task": with_readers}


@case
def engines() -> dict[str, float]:
    """Four programs on one state folder that begin together, beside one that does the work of all."""
    command = [sys.executable, __file__, "--alone", "one"]

    def seconds(tasks: list[str]) -> tuple[float, float]:
        """Of whole programs, and from the moment at which they were told to begin."""
        started = time.perf_counter()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        programs = [subprocess.Popen([*command, count], **pipes) for count in tasks]
        for program in programs:
            assert program.stdout is not None and program.stdout.readline() == "ready\n"
        began = time.perf_counter()
        for program in programs:
            assert program.stdin is not None
            program.stdin.close()
        for program in programs:
            assert program.stdout is not None and program.stdout.readline() == "done\n"
        took = time.perf_counter() - began
        assert [program.wait() for program in programs] == [0] * len(tasks)
        return time.perf_counter() - started, took

    alone, together = seconds(["40000"]), seconds(["10000"] * 4)
    return {
        "4 times 10,000 in 4 programs to 40,000 in one, ratio": together[0] / alone[0],
        "the same without their start and end, ratio": together[1] / alone[1],
    }


def alone(words: list[str]) -> None:
    """A part of a measurement that is a process of its own."""
    if words[0] == "big":
        big(words[1] == "kill")
    elif words[0] == "one":

        def ready() -> None:
            print("ready", flush=True)
            sys.stdin.read()

        us_a_task(int(words[1]), False, "process", ready)
        print("done", flush=True)
    else:
        print(json.dumps(CASES[words[0]]()))


def measure(name: str, rounds: int) -> dict[str, float]:
    """The medians of a case."""
    seen: dict[str, list[float]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="dirigent-bench-") as folder:
            env = {**os.environ, "DIRIGENT_STATE_DIR": folder}
            command = [sys.executable, __file__, "--alone", name]
            told = subprocess.run(command, check=True, env=env, stdout=subprocess.PIPE, text=True).stdout
            for key, value in json.loads(told.splitlines()[-1]).items():
                seen.setdefault(key, []).append(value)
    return {key: statistics.median(values) for key, values in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("cases", nargs="*", metavar="CASE", choices=[[], *CASES])
    arguments = parser.parse_args()
    if arguments.alone:
        alone(arguments.alone)
        return
    for name in arguments.cases or CASES:
        for key, value in measure(name, arguments.rounds).items():
            print(f"{name:<12} {key:<52} {value:>10.2f}", flush=True)


if __name__ == "__main__":
    main()
