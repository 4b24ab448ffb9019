"""Measures workflows of Python functions beside their peers in one run, in turns, and prints ratios.

    python bench/workflows.py [--rounds N] [CASE ...]

Cases: independent, chain, layers, coroutines, sleeps, isolation, graph. Each measurement is a process of its own; what is
timed is the work alone, without imports, the making of tasks and a warm-up. A peer that is not installed is left out
and named. Everything that a user has by default is on: logging, contextvars, capture of prints.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine

Timed = Callable[[], tuple[float, int]]
WORK: dict[tuple[str, str], Timed] = {}
NEEDS = {
    "joblib": "joblib",
    "dask": "dask",
    "hamilton": "hamilton",
    "rustworkx": "rustworkx",
    "rustworkx, by name": "rustworkx",
    "networkx": "networkx",
}
GOALS = {
    ("chain", "asyncio"): 1.0,
    ("coroutines", "asyncio.gather"): 1.0,
    ("coroutines that wait", "asyncio.gather"): 1.0,
    ("sleeps", "the ideal"): 1.1,
    ("isolation", "ProcessPoolExecutor"): 1.0,
    ("graph", "rustworkx, by name"): 1.0,
    ("graph", "rustworkx"): 1.0,
}
LAYERS = WIDTH = 100
MOD = 1_000_003


def work(case: str, who: str) -> Callable[[Timed], Timed]:
    """Register a measurement: it returns seconds and the number of tasks."""

    def register(function: Timed) -> Timed:
        WORK[case, who] = function
        return function

    return register


def noop() -> None:
    """What costs nothing."""


def inc(x: int) -> int:
    return x + 1


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def ours(workflow: object) -> float:
    """The time of a run that goes well, after a small one that warms everything up."""
    from dirigent import Workflow

    assert isinstance(workflow, Workflow)
    warm = Workflow("warm")
    warm.add_task("one", noop)
    warm.run_sync(durability="none")
    began = time.perf_counter()
    run = workflow.run_sync(durability="none")
    seconds = time.perf_counter() - began
    assert run.ok, run
    return seconds


# --- independent functions ---


def independent(count: int) -> tuple[float, int]:
    from dirigent import Workflow

    return ours(Workflow("independent").add_tasks((f"t{i}", noop, ()) for i in range(count))), count


WORK["independent", "dirigent"] = lambda: independent(10_000)
WORK["independent, 100,000", "dirigent"] = lambda: independent(100_000)
WORK["independent, 1,000,000", "dirigent"] = lambda: independent(1_000_000)


@work("independent", "calls in a loop")
def _() -> tuple[float, int]:
    return timed(lambda: [noop() for _ in range(10_000)]), 10_000


@work("independent", "ThreadPoolExecutor")
def _() -> tuple[float, int]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(inc, range(10)))
        return timed(lambda: [f.result() for f in [pool.submit(noop) for _ in range(10_000)]]), 10_000


@work("independent", "joblib")
def _() -> tuple[float, int]:
    from joblib import Parallel, delayed

    return timed(lambda: Parallel(n_jobs=1)(delayed(noop)() for _ in range(10_000))), 10_000


@work("independent", "dask")
def _() -> tuple[float, int]:
    import dask

    many = [dask.delayed(inc)(i) for i in range(2_000)]
    return timed(lambda: dask.compute(*many, scheduler="threads")), 2_000


# --- a chain ---


def chain(count: int) -> tuple[float, int]:
    from dirigent import Workflow

    workflow = Workflow("chain")
    workflow.add_task("t0", inc, args=(0,))
    for i in range(1, count):
        workflow.add_task(f"t{i}", eval(f"lambda t{i - 1}: t{i - 1} + 1"), [f"t{i - 1}"])
    return ours(workflow), count


@work("chain", "dirigent")
def _() -> tuple[float, int]:
    return chain(1_000)


@work("chain of 4,000", "dirigent")
def _() -> tuple[float, int]:
    return chain(4_000)


@work("chain", "asyncio")
def _() -> tuple[float, int]:
    import asyncio

    async def step(x: int) -> int:
        return x + 1

    async def main() -> float:
        began, x = time.perf_counter(), 0
        for _ in range(1_000):
            x = await asyncio.create_task(step(x))
        return time.perf_counter() - began

    return asyncio.run(main()), 1_000


@work("chain", "ThreadPoolExecutor")
def _() -> tuple[float, int]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        pool.submit(noop).result()

        def run() -> None:
            x = 0
            for _ in range(1_000):
                x = pool.submit(inc, x).result()

        return timed(run), 1_000


# --- layers ---


@work("layers", "dirigent")
def _() -> tuple[float, int]:
    from dirigent import Workflow

    workflow = Workflow("layers")
    for layer in range(LAYERS):
        for i in range(WIDTH):
            name = f"n{layer}_{i}"
            if layer == 0:
                workflow.add_task(name, lambda i=i: i)
            else:
                a, b = f"n{layer - 1}_{i}", f"n{layer - 1}_{(i + 1) % WIDTH}"
                workflow.add_task(name, eval(f"lambda {a}, {b}: ({a} + {b}) % {MOD}"), [a, b])
    return ours(workflow), LAYERS * WIDTH


@work("layers", "dask")
def _() -> tuple[float, int]:
    import dask

    add = dask.delayed(lambda a, b: (a + b) % MOD)
    row = [dask.delayed(lambda i=i: i)() for i in range(WIDTH)]
    for _ in range(19):
        row = [add(row[i], row[(i + 1) % WIDTH]) for i in range(WIDTH)]
    return timed(lambda: dask.compute(*row, scheduler="threads")), 20 * WIDTH


# --- coroutines, 64 at once ---


async def nothing() -> None:
    """A coroutine that costs nothing."""


async def turn() -> None:
    """A coroutine that lets the loop turn once."""
    import asyncio

    await asyncio.sleep(0)


def coroutines(function: Callable[[], Coroutine[object, object, None]]) -> tuple[float, int]:
    from dirigent import Workflow

    def workflow(count: int) -> Workflow:
        made = Workflow("coroutines", max_concurrency=64)
        return made.add_tasks((f"t{i}", function, ()) for i in range(count))

    # That asyncio is imported is no work of the run; its peer is timed within a loop.
    workflow(4).run_sync(durability="none")
    return ours(workflow(10_000)), 10_000


def gather(function: Callable[[], Coroutine[object, object, None]]) -> tuple[float, int]:
    import asyncio

    async def main() -> float:
        slots = asyncio.Semaphore(64)

        async def one() -> None:
            async with slots:
                await function()

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(10_000)))
        return time.perf_counter() - began

    return asyncio.run(main()), 10_000


WORK["coroutines", "dirigent"] = lambda: coroutines(nothing)
WORK["coroutines", "asyncio.gather"] = lambda: gather(nothing)
WORK["coroutines that wait", "dirigent"] = lambda: coroutines(turn)
WORK["coroutines that wait", "asyncio.gather"] = lambda: gather(turn)


# --- sleeps of 10 ms, 100 at once ---


@work("sleeps", "dirigent")
def _() -> tuple[float, int]:
    from dirigent import Workflow

    workflow = Workflow("sleeps", max_concurrency=100)
    for i in range(1_000):
        workflow.add_task(f"t{i}", time.sleep, args=(0.01,))
    return ours(workflow), 1_000


@work("sleeps", "the ideal")
def _() -> tuple[float, int]:
    return 0.1, 1_000


@work("sleeps", "ThreadPoolExecutor")
def _() -> tuple[float, int]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(100) as pool:
        return timed(lambda: list(pool.map(time.sleep, [0.01] * 1_000))), 1_000


# --- processes of their own, warm ---


@work("isolation", "dirigent")
def _() -> tuple[float, int]:
    from dirigent import Workflow

    def workflow(count: int) -> Workflow:
        made = Workflow("isolation", max_concurrency=2)
        for i in range(count):
            made.add_task(f"t{i}", noop, isolation="process")
        return made

    workflow(4).run_sync(durability="none")
    return ours(workflow(1_000)), 1_000


@work("isolation", "ProcessPoolExecutor")
def _() -> tuple[float, int]:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as pool:
        [f.result() for f in [pool.submit(noop) for _ in range(10)]]
        return timed(lambda: [f.result() for f in [pool.submit(noop) for _ in range(1_000)]]), 1_000


# --- a big graph, built and checked ---


def edges(count: int) -> list[tuple[int, int]]:
    import random

    draw = random.Random(7).random
    made = [(0, 1), (0, 2), (1, 2)]
    for i in range(3, count):
        a, b = int(draw() * i), int(draw() * i)
        while b == a:
            b = int(draw() * i)
        made += [(a, i), (b, i)]
    return made[: 2 * count]


def rows(count: int) -> list[tuple[str, Callable[[], None], tuple[str, ...]]]:
    """Tasks as people have them: a name, what it does, and the names of those it needs."""
    names = [f"t{i}" for i in range(count)]
    needs: list[tuple[str, ...]] = [()] * count
    for a, b in edges(count):
        needs[b] = (*needs[b], names[a])
    return [(name, noop, its) for name, its in zip(names, needs, strict=True)]


@work("graph", "dirigent")
def _() -> tuple[float, int]:
    from dirigent import Workflow

    tasks = rows(1_000_000)
    return timed(lambda: Workflow("graph").add_tasks(tasks).validate()), len(tasks)


@work("graph", "rustworkx, by name")
def _() -> tuple[float, int]:
    import rustworkx

    tasks = rows(1_000_000)

    def build() -> None:
        graph = rustworkx.PyDiGraph()
        numbers = dict(zip([name for name, _, _ in tasks], graph.add_nodes_from(tasks), strict=True))
        graph.add_edges_from_no_data(
            [(numbers[need], numbers[name]) for name, _, needs in tasks for need in needs]
        )
        rustworkx.topological_sort(graph)

    return timed(build), len(tasks)


@work("graph", "rustworkx")
def _() -> tuple[float, int]:
    """Numbers instead of names and nothing on the nodes: less than there is to do."""
    import rustworkx

    count = 1_000_000
    pairs = edges(count)

    def build() -> None:
        graph = rustworkx.PyDiGraph()
        graph.add_nodes_from(range(count))
        graph.add_edges_from_no_data(pairs)
        rustworkx.topological_sort(graph)

    return timed(build), count


@work("graph", "networkx")
def _() -> tuple[float, int]:
    import networkx

    count = 1_000_000
    pairs = edges(count)

    def build() -> None:
        graph = networkx.DiGraph()
        graph.add_nodes_from(range(count))
        graph.add_edges_from(pairs)
        list(networkx.topological_sort(graph))

    return timed(build), count


# --- running all of it ---


def compare(case: str, rounds: int) -> None:
    """Run ours and the peers in turns; print medians and the ratio of ours to each."""
    peers = [who for known, who in WORK if known == case]
    missing = [who for who in peers if who in NEEDS and importlib.util.find_spec(NEEDS[who]) is None]
    for who in missing:
        print(f"{case}: {who} is not installed and left out")
    times: dict[str, list[float]] = {who: [] for who in peers if who not in missing}
    for _ in range(rounds):
        for who in times:
            command = [sys.executable, __file__, "--one", case, who]
            said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
            seconds, count = json.loads(said.splitlines()[-1])
            times[who].append(seconds / count * 1e6)
    mine = statistics.median(times["dirigent"])
    for who, values in times.items():
        median = statistics.median(values)
        goal = f"  goal {GOALS[case, who]:g}" if (case, who) in GOALS else ""
        print(
            f"{case:22} {who:22} median {median:10.2f} µs a task  fastest {min(values):10.2f}"
            f"  ours/this {mine / median:6.2f}{goal}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cases = list(dict.fromkeys(case for case, _ in WORK))
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(cases))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(WORK[tuple(options.one)]()))
        return
    for case in cases:
        if not options.cases or case.split(",")[0].split()[0] in options.cases:
            compare(case, options.rounds)


if __name__ == "__main__":
    main()
