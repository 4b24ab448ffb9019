"""Measures the same graphs in dirigent and in other workflow tools, in one run, in turns, and prints ratios.

    python bench/peers.py --peers FOLDER [--rounds N] [CASE ...]

Cases: independent, chain, layers. FOLDER has the tools' scripts and their virtual environments, as bench/README.md
says; what is not there is left out and named. Each measurement is a process of its own, ours beside every single one
of a tool's, at the same size. What is timed, for all of them, is declaring the graph and running it, without
imports, the start of servers and a warm-up; every tool runs as its users have it by default.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

LAYER = 100
MOD = 1_000_003
TIMEOUT_S = 600


class Case(NamedTuple):
    """A graph, and how many tasks of it are fair to each kind of tool: the slow ones get fewer."""

    letter: str  # the name by which the scripts know it
    quick: int
    slow: int


CASES = {
    "independent": Case("A1", 10_000, 1_000),
    "chain": Case("A2", 1_000, 1_000),
    "layers": Case("A3", 10_000, 1_000),
}


class Peer(NamedTuple):
    """Another tool, in one of the ways to use it."""

    name: str
    environment: str
    script: str
    mode: str
    is_quick: bool = False
    is_sequence: bool = False  # it knows no graph, so that it has no chain


PEERS = (
    Peer("joblib, sequential", "joblib", "py_joblib.py", "seq", is_quick=True, is_sequence=True),
    Peer("joblib, threads", "joblib", "py_joblib.py", "threads", is_quick=True, is_sequence=True),
    Peer("Hamilton", "hamilton", "py_hamilton.py", "driver", is_quick=True),
    Peer("doit", "doit", "py_doit.py", "dbm", is_quick=True),
    Peer("Dask, threads, bare graph", "dask", "py_dask.py", "get"),
    Peer("Dask, threads", "dask", "py_dask.py", "threads"),
    Peer("Dask, distributed", "dask", "py_dask.py", "dist"),
    Peer("Ray", "ray", "py_ray.py", "tasks"),
    Peer("Luigi", "luigi", "py_luigi.py", "mem"),
    Peer("Prefect", "prefect", "py_prefect.py", "call"),
    Peer("Prefect, submit", "prefect", "py_prefect.py", "submit"),
    Peer("Dagster", "dagster", "py_dagster.py", "eph"),
    Peer("redun", "redun", "py_redun.py", "mem"),
)

#: No tool calls home while it is measured, or waits for somebody who does not answer.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "HAMILTON_TELEMETRY_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}


# --- ours -----------------------------------------------------------------------------------------


def noop(i: int) -> None:
    """What costs nothing."""


def independent(count: int) -> Callable[[], None]:
    from dirigent import Workflow

    def run() -> None:
        workflow = Workflow("independent")
        for i in range(count):
            workflow.add_task(f"t{i}", noop, args=(i,))
        assert workflow.run_sync().ok

    return run


def chain(count: int) -> Callable[[], None]:
    from dirigent import Workflow

    # What users write themselves is there before the clock starts.
    steps = [lambda: 1, *(eval(f"lambda t{i - 1}: t{i - 1} + 1") for i in range(1, count))]

    def run() -> None:
        workflow = Workflow("chain").add_task("t0", steps[0])
        for i in range(1, count):
            workflow.add_task(f"t{i}", steps[i], [f"t{i - 1}"])
        assert workflow.run_sync()[f"t{count - 1}"] == count

    return run


def layers(count: int) -> Callable[[], None]:
    from dirigent import Workflow

    depth = count // LAYER
    sources = [eval(f"lambda: {i}") for i in range(LAYER)]
    pairs = [[(f"n{layer - 1}_{i}", f"n{layer - 1}_{(i + 1) % LAYER}") for i in range(LAYER)]
             for layer in range(1, depth)]  # fmt: skip
    sums = [[eval(f"lambda {a}, {b}: ({a} + {b}) % {MOD}") for a, b in row] for row in pairs]

    def run() -> None:
        workflow = Workflow("layers")
        for i in range(LAYER):
            workflow.add_task(f"n0_{i}", sources[i])
        for layer in range(1, depth):
            for i in range(LAYER):
                workflow.add_task(f"n{layer}_{i}", sums[layer - 1][i], pairs[layer - 1][i])
        values = workflow.run_sync()
        assert [values[f"n{depth - 1}_{i}"] for i in range(LAYER)] == expected(depth)

    return run


def expected(depth: int) -> list[int]:
    row = list(range(LAYER))
    for _ in range(1, depth):
        row = [(row[i] + row[(i + 1) % LAYER]) % MOD for i in range(LAYER)]
    return row


OURS = {"independent": independent, "chain": chain, "layers": layers}


def measure_ours(case: str, count: int) -> None:
    """Print what one run of ours took, as the scripts of the tools do."""
    OURS[case](LAYER)()
    run = OURS[case](count)
    began = time.perf_counter()
    run()
    seconds = time.perf_counter() - began
    print("RESULT " + json.dumps({"us_per_task": seconds / count * 1e6}))


# --- one measurement ------------------------------------------------------------------------------


class Failed(Exception):
    """A measurement gave no figure; its text says why."""


def us_per_task(command: list[str], scratch: Path, extra: dict[str, str]) -> float:
    """Run one measurement away from the user's own settings, and end whatever it leaves behind."""
    home = scratch / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "WORK": str(scratch),
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        **QUIET,
        **extra,
    }
    # In a file, since a server that a tool leaves behind would hold a pipe open.
    with tempfile.TemporaryFile(dir=scratch) as out, tempfile.TemporaryFile(dir=scratch) as err:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"not through after {TIMEOUT_S} s") from None
        finally:
            end_session(process)
        out.seek(0)
        err.seek(0)
        said = re.findall(r"^RESULT (\{.*\})$", out.read().decode(errors="replace"), re.MULTILINE)
        if code or not said:
            lines = err.read().decode(errors="replace").strip().splitlines()
            raise Failed(f"exit code {code}: {lines[-1] if lines else 'no figure'}")
    return float(json.loads(said[-1])["us_per_task"])


def end_session(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ours(case: str, count: int, scratch: Path) -> float:
    return us_per_task([sys.executable, __file__, "--one", case, str(count)], scratch, {})


def theirs(peer: Peer, folder: Path, case: str, count: int, scratch: Path) -> float:
    python, script = places(peer, folder)
    command = [str(python), str(script), peer.mode, CASES[case].letter, str(count)]
    return us_per_task(command, scratch, {"DAG_W": str(LAYER), "DAG_L": str(count // LAYER)})


def places(peer: Peer, folder: Path) -> tuple[Path, Path]:
    return folder / "venvs" / peer.environment / "bin" / "python", folder / "peers" / peer.script


# --- all of them ----------------------------------------------------------------------------------


def compare(case: str, peers: list[Peer], folder: Path, rounds: int) -> list[str]:
    """Run the tools in turns, ours right beside each; print a row for each and return what gave no figure."""
    took: dict[Peer, list[tuple[float, float]]] = {peer: [] for peer in peers}
    count_of = {peer: CASES[case].quick if peer.is_quick else CASES[case].slow for peer in peers}
    left_out = {}
    for _ in range(rounds):
        for peer in peers:
            if peer in left_out:
                continue
            # A new scratch folder each time, so that no tool finds results that it would take over.
            with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as scratch:
                mine = ours(case, count_of[peer], Path(scratch))
                try:
                    their = theirs(peer, folder, case, count_of[peer], Path(scratch))
                    took[peer].append((their, mine))
                except Failed as why:
                    left_out[peer] = f"{case}: {peer.name}: {why}"
    for peer in sorted(peers, key=lambda peer: [their for their, _ in took[peer]]):
        if peer not in left_out:
            their, mine = (statistics.median(values) for values in zip(*took[peer], strict=True))
            print(
                f"| {case} | {peer.name} | {count_of[peer]:,} | {their:,.1f} | {mine:,.1f} | {their / mine:,.1f} |",
                flush=True,
            )
    return list(left_out.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="the tools' scripts and environments")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return measure_ours(options.one[0], int(options.one[1]))
    if options.peers is None:
        parser.error("name the folder of the tools with --peers FOLDER")
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    folder = options.peers.absolute()
    there = [peer for peer in PEERS if all(place.exists() for place in places(peer, folder))]
    left_out = [f"{peer.name}: not in {options.peers}" for peer in PEERS if peer not in there]
    print("| case | tool | tasks | µs a task, theirs | ours | theirs / ours |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for case in options.cases or CASES:
        able = [peer for peer in there if case != "chain" or not peer.is_sequence]
        left_out += compare(case, able, folder, options.rounds)
    for line in left_out:
        print(f"left out: {line}")


if __name__ == "__main__":
    main()
