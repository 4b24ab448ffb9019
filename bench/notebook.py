"""Measures what showing a run costs the kernel of a notebook, and how soon an interrupt is answered.

    python bench/notebook.py [--rounds N]

A real kernel runs chains of 10, 100 and 200 tasks, and 200 in layers: more are drawn as stages, which 5,000 show. An update is
the line, or the picture: its cost is the processor time that the thread which shows them takes for one, drawing and sending
included; the first picture has to find a place for everything. An interrupt is timed from the request of the front end to the
error that the cell shows, with the traceback that IPython makes; `time.sleep` in a cell, without dirigent, stands beside it.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.children import wait_for  # noqa: E402
from tests.kernels import Kernel, kernel  # noqa: E402

SHAPES = (("chain", 10), ("chain", 100), ("chain", 200), ("layers", 200), ("layers", 5_000))
DECLARED = """
import os, pathlib, random, time
from dirigent import Workflow, _display

costs = {"line": [], "picture": []}
offer = _display.Shown.offer

def measured(self, make, *rest):
    last, began = self._last, time.thread_time()
    seen = offer(self, make, *rest)
    if self._last is not last:
        which = "picture" if "<svg" in self._last["text/html"] else "line"
        costs[which].append(1000 * (time.thread_time() - began))
    return seen

_display.Shown.offer = measured

def chain(count):
    wf = Workflow("chain")
    for i in range(count):
        wf.add_task(f"step{i}", time.sleep, args=(3 / count,), dependencies=[f"step{i - 1}"] if i else [])
    return wf

def layers(count):
    # 15 side by side, each with three needs at random: the first picture has to find a place for all of them.
    chance, wf = random.Random(1), Workflow("layers", max_concurrency=15)
    for i in range(count):
        before = range(i // 15 * 15 - 15, i // 15 * 15)
        needs = [f"step{j}" for j in chance.sample(before, 3)] if i >= 15 else []
        wf.add_task(f"step{i}", time.sleep, args=(45 / count,), dependencies=needs)
    return wf

def sleeps():
    pathlib.Path("sleeps").touch()
    time.sleep(600)

slow = Workflow("slow").add_command("command", ["sleep", "600"]).add_task("function", sleeps)
"""


def interrupted_ms(live: Kernel, folder: Path, code: str) -> float:
    """How long it takes from the interrupt to the error."""
    mark = folder / "sleeps"
    mark.unlink(missing_ok=True)
    cell = live.begin(code)
    wait_for("the sleep", mark.exists)
    time.sleep(0.5)
    began = time.monotonic()
    live.manager.interrupt_kernel()
    return 1000 * next(m.at_s - began for m in list(live.messages(cell)) if m.kind == "error")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name, kernel(Path(name)) as live:
        folder = Path(name)
        live.execute(DECLARED)
        print("processor time of an update, ms            n   median  largest     sent, kB")
        for shape, count in SHAPES:
            live.execute("for kept in costs.values(): kept.clear()")
            said = live.execute(f"{shape}({count}).run_sync();")
            sent = sum(m.size_bytes for m in said if m.display) / 1000
            for which, kept in ast.literal_eval(live.value("costs")).items():
                name = f"{shape} of {count} tasks, {which}"
                figures = f"{statistics.median(kept):8.2f} {max(kept):8.2f} {sent:12.1f}"
                print(f"  {name:36} {len(kept):6} {figures}")
        print("interrupt, ms                              n   median  largest")
        live.execute("%xmode Context")
        cells = {
            "time.sleep, without dirigent": "pathlib.Path('sleeps').touch(); time.sleep(600)",
            "run_sync": "slow.run_sync()",
            "await run": "await slow.run()",
        }
        for shown, code in cells.items():
            # The first one pays for what tracebacks import.
            kept = [interrupted_ms(live, folder, code) for _ in range(rounds + 1)][1:]
            print(f"  {shown:36} {len(kept):6} {statistics.median(kept):8.1f} {max(kept):8.1f}")


if __name__ == "__main__":
    main()
