"""Measures the layout and the picture of graphs beside Graphviz and dagre in one run, and prints ratios.

    python bench/pictures.py [--most N] [--dagre FOLDER]

Graphs of 30 to 10,000 tasks: layered ones at random, such in which each needs what stands nearby, a chain, a fan-out, diamonds.
The layout of ours is timed in its own process of an optimised build (which this makes with cargo), the best of some; of `dot`,
the whole program, which starts in some 5 ms and reads the same edges; of dagre, its layout alone, in a process of node. Of both,
the best of three counts, as long as that takes seconds. FOLDER is one in which `npm install @dagrejs/dagre` was done. What is
missing is left out, and the output says so.

Crossings are pairs of edges that cross: of `dot` as many as it says itself, of dagre as many as are counted in its picture.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Seconds that another may take for a graph.
PATIENCE_S = 120
#: What takes longer than so many seconds is timed once.
ENOUGH_S = 5

#: Reads a graph, lays it out three times, and says how long the fastest took and where its edges run.
DAGRE = """
const dagre = require("@dagrejs/dagre");
const {tasks, edges, enough_s} = JSON.parse(require("fs").readFileSync(0, "utf8"));
let best = Infinity, points = [];
for (let round = 0; round < 3 && (round === 0 || best <= enough_s); round++) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({rankdir: "LR"});
  graph.setDefaultEdgeLabel(() => ({}));
  for (let task = 0; task < tasks; task++) graph.setNode(String(task), {width: 140, height: 44});
  for (const [from, to] of edges) graph.setEdge(String(from), String(to));
  const began = process.hrtime.bigint();
  dagre.layout(graph);
  best = Math.min(best, Number(process.hrtime.bigint() - began) / 1e9);
  const at = (task) => [graph.node(task).x, graph.node(task).y];
  points = graph.edges().map((edge) => [
    at(edge.v), ...graph.edge(edge).points.slice(1, -1).map((point) => [point.x, point.y]), at(edge.w),
  ]);
}
process.stdout.write(JSON.stringify({layout_s: best, points}));
"""


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


def of_dot(dot: str, edges: list[list[int]]) -> tuple[float, int] | None:
    """Seconds of `dot` for the same graph, and crossings; ``None`` where it took too long."""
    lines = "".join(f"{a}->{b};" for a, b in edges)
    graph = f"digraph{{rankdir=LR;node[shape=box,fixedsize=true,width=1.9,height=.6,label=x];{lines}}}"
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        try:
            ended = subprocess.run(
                [dot, "-v", "-Tsvg"],
                input=graph,
                text=True,
                capture_output=True,
                check=True,
                timeout=PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            return None
        best = min(best, time.perf_counter() - began)
        if best > ENOUGH_S:
            break
    return best, int(re.findall(r"^mincross .*: (\d+) crossings", ended.stderr, re.MULTILINE)[-1])


def of_dagre(folder: Path, tasks: int, edges: list[list[int]]) -> tuple[float, int] | None:
    """Seconds of dagre's layout of the same graph, and crossings; ``None`` where it took too long or fell over."""
    try:
        ended = subprocess.run(
            ["node", "--stack-size=8000", "-e", DAGRE],
            input=json.dumps({"tasks": tasks, "edges": edges, "enough_s": ENOUGH_S}),
            text=True,
            capture_output=True,
            check=True,
            timeout=PATIENCE_S,
            cwd=folder,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return None
    found = json.loads(ended.stdout)
    return found["layout_s"], crossings(found["points"])


def crossings(routes: list[list[tuple[float, float]]]) -> int:
    """How many pairs cross, of edges that run from layer to layer through these points."""
    between = defaultdict(list)
    for points in routes:
        for (x, y), (next_x, next_y) in pairwise(points):
            between[round(x, 2), round(next_x, 2)].append((round(y, 2), round(next_y, 2)))
    count = 0
    for ends in between.values():
        ends.sort()
        places = {y: place for place, y in enumerate(sorted({y for _, y in ends}), start=1)}
        # A tree of sums: how many so far end where.
        sums = [0] * (len(places) + 1)
        for seen, (_, y) in enumerate(ends):
            place = places[y]
            while place:
                count -= sums[place]
                place &= place - 1
            count += seen
            place = places[y]
            while place < len(sums):
                sums[place] += 1
                place += place & -place
    return count


def beside(found: tuple[float, int] | None, layout_s: float, crossings: int) -> str:
    """Another's time and crossings, with ours as a part of both."""
    if found is None:
        return f"{'did not end':>38}"
    seconds, its_crossings = found
    ratio = f"{crossings / its_crossings:.3f}" if its_crossings else "-"
    return f"{seconds * 1e3:>10.1f} ms {layout_s / seconds:>8.4f} {its_crossings:>8} {ratio:>7}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=10_000, help="leave out graphs with more tasks")
    parser.add_argument("--dagre", type=Path, help="a folder in which npm installed @dagrejs/dagre")
    options = parser.parse_args()
    dot = shutil.which("dot")
    if dot is None:
        sys.stdout.write("dot is not installed: it is left out\n")
    if options.dagre is None:
        sys.stdout.write("without --dagre, dagre is left out\n")
    elif shutil.which("node") is None or not (options.dagre / "node_modules/@dagrejs/dagre").is_dir():
        parser.error(f"there is no node, or no node_modules/@dagrejs/dagre in {options.dagre}")
    head = "graph     tasks     layout    as SVG whole, folded     crossings"
    for name in ["dot"] * (dot is not None) + ["dagre"] * (options.dagre is not None):
        head += f"{name:>13}    ours/it crossings ours/it"
    sys.stdout.write(head + "\n")
    for row in ours():
        tasks, layout_s, count = (
            int(str(row["tasks"])),
            float(str(row["layout_s"])),
            int(str(row["crossings"])),
        )
        if tasks > options.most:
            continue
        edges: list[list[int]] = row["edges"]  # type: ignore[assignment]
        whole_ms, folded_ms = (float(str(row[key])) * 1e3 for key in ("svg_s", "folded_svg_s"))
        line = (
            f"{row['shape']:<9} {tasks:>5} {layout_s * 1e3:>7.1f} ms {whole_ms:>8.1f} ms {folded_ms:>7.1f} ms "
            f"{int(str(row['svg_bytes'])) / 1000:>5.0f} kB {count:>8}"
        )
        if dot is not None:
            line += beside(of_dot(dot, edges), layout_s, count)
        if options.dagre is not None:
            line += beside(of_dagre(options.dagre, tasks, edges), layout_s, count)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
