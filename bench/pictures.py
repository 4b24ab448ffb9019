"""Measures the layout and the picture of graphs beside Graphviz in one run, and prints ratios.

    python bench/pictures.py [--most N]

Graphs of 30 to 10,000 tasks: layered ones at random, a chain, a fan-out, diamonds. The layout of ours is timed in its own process
of an optimised build (which this makes with cargo), the median of five; of `dot`, the whole program, which starts in some 5 ms
and reads the same edges. Without `dot` only ours is measured, and the output says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Seconds that `dot` may take for a graph.
PATIENCE_S = 60


def ours() -> list[dict[str, object]]:
    """What the example of the report's crate measures."""
    command = [
        "cargo",
        "run",
        "-q",
        "--release",
        "-p",
        "dirigent-report",
        "--example",
        "pictures",
        "--",
        "--time",
    ]
    rows: list[dict[str, object]] = json.loads(subprocess.check_output(command, cwd=ROOT))
    return rows


def theirs(dot: str, edges: list[list[int]]) -> float | None:
    """Seconds of `dot` for the same graph; ``None`` where it took too long."""
    lines = "".join(f"{a}->{b};" for a, b in edges)
    graph = f"digraph{{rankdir=LR;node[shape=box,fixedsize=true,width=1.9,height=.6,label=x];{lines}}}"
    began = time.perf_counter()
    try:
        subprocess.run(
            [dot, "-Tsvg"], input=graph, text=True, capture_output=True, check=True, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return None
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=10_000, help="leave out graphs with more tasks")
    options = parser.parse_args()
    dot = shutil.which("dot")
    if dot is None:
        sys.stdout.write("dot is not installed: only ours is measured\n")
    sys.stdout.write("graph      tasks   layout     drawn as SVG         crossings      dot   layout / dot\n")
    for row in ours():
        tasks, layout_s = int(str(row["tasks"])), float(str(row["layout_s"]))
        if tasks > options.most:
            continue
        edges: list[list[int]] = row["edges"]  # type: ignore[assignment]
        dot_s = theirs(dot, edges) if dot is not None else None
        beside = "" if dot is None else f"{'more than a minute':>20}"
        if dot_s is not None:
            beside = f"{dot_s * 1e3:>8.1f} ms  {layout_s / dot_s:>8.3f}"
        sys.stdout.write(
            f"{row['shape']:<9} {tasks:>6} {layout_s * 1e3:>6.1f} ms {float(str(row['svg_s'])) * 1e3:>7.1f} ms "
            f"{int(str(row['svg_bytes'])) / 1000:>5.0f} kB {row['crossings']:>9} {beside}\n"
        )


if __name__ == "__main__":
    main()
