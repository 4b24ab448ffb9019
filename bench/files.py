"""Measures workflow files: reading them, refusing hostile ones, and running them beside a folder of scripts and beside ninja.

    python bench/files.py [--rounds N] [CASE ...]

Cases: read, hostile, commands, one. Medians of the rounds are printed, as ratios wherever there is something to compare with.
Build with optimisation first (`make install`): the limits named here are for such a build.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.hostile_files import Read, kept, made, read

PROGRAM = Path(sys.executable).parent / "dirigent"
CASES: dict[str, Callable[[Path, int], None]] = {}


def case(function: Callable[[Path, int], None]) -> Callable[[Path, int], None]:
    """Register a measurement, which gets a folder of its own and how many rounds to make."""
    CASES[function.__name__.rstrip("_")] = function
    return function


def compared(rounds: int, commands: dict[str, list[str | Path]], cwd: Path) -> None:
    """Run commands in turns, after a round that warms caches, and print each median beside that of the first."""
    took: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, cwd=cwd, check=True, capture_output=True)
            if number:
                took[name].append(time.perf_counter() - began)
    ours = statistics.median(next(iter(took.values())))
    for name, times in took.items():
        median = statistics.median(times)
        print(
            f"  {name:<32} {median * 1e3:9.1f} ms, fastest {min(times) * 1e3:.1f}; ours / this {ours / median:.2f}"
        )


@case
def read_(folder: Path, rounds: int) -> None:
    """A file of 10,000 tasks with 40,000 expressions: parsed, checked and made into tasks. Goal: 300 ms, 100 MB."""
    lines = ["params: {day: today, n: 3}", "tasks:"]
    for n in range(10_000):
        late = f', "${{{{ tasks.t{n - 1}.value }}}}"], needs: [t{n - 1}]' if n % 10 else "]"
        more = 'timeout: 60s, retry: {attempts: 3, backoff: 2s}, env: {N: "${{ params.n }}"}'
        lines.append(f'  t{n}: {{run: [echo, "--day=${{{{ params.day }}}}", "{n}"{late}, {more}}}')
    path = folder / "many.yaml"
    path.write_text("\n".join(lines))
    seen = [read(PROGRAM, path, folder, 60) for _ in range(rounds)]
    assert all(one.code == 0 for one in seen), seen[0].message[:1000]
    cpu, peak = statistics.median(one.cpu_s for one in seen), max(one.peak_mib for one in seen)
    print(f"  10,000 tasks {cpu * 1e3:26.0f} ms of CPU, {peak:.0f} MiB")


@case
def hostile(folder: Path, rounds: int) -> None:
    """Every hostile file is refused. Goal: 100 ms, 64 MiB each."""
    seen: list[tuple[str, Read]] = [(path.name, read(PROGRAM, path, folder, 60)) for path in kept()]
    seen += [(path.name, read(PROGRAM, path, folder, 60)) for path in made(folder)]
    assert all(one.code == 2 for _, one in seen), [name for name, one in seen if one.code != 2]
    slow = sorted(seen, key=lambda it: -it[1].cpu_s)[:5]
    large = sorted(seen, key=lambda it: -it[1].peak_mib)[:5]
    print(
        f"  {len(seen)} files; the slowest:",
        ", ".join(f"{name} {one.cpu_s * 1e3:.0f} ms" for name, one in slow),
    )
    print("  the largest:", ", ".join(f"{name} {one.peak_mib:.0f} MiB" for name, one in large))


@case
def commands(folder: Path, rounds: int) -> None:
    """1,000 commands of a file, two at a time, beside 1,000 scripts of a folder and beside ninja. Goal: 1.5 of ninja."""
    count = 1_000
    (folder / "flow.yaml").write_text(
        "tasks:\n" + "".join(f"  t{n}: {{run: [/bin/true]}}\n" for n in range(count))
    )
    (folder / "fan.yaml").write_text(f"tasks: {{t: {{each: {list(range(count))}, run: [/bin/true]}}}}\n")
    scripts = folder / "scripts"
    scripts.mkdir()
    for n in range(count):
        (scripts / f"s{n:04}.sh").write_text("#!/bin/true\n")
    build = "rule r\n  command = /bin/true\n" + "".join(f"build t{n}: r\n" for n in range(count))
    (folder / "build.ninja").write_text(build)
    ours: list[str | Path] = [
        PROGRAM,
        "run",
        "--jobs",
        "2",
        "--report",
        "none",
        "--state-dir",
        folder / "state",
    ]
    table: dict[str, list[str | Path]] = {
        "a file": [*ours, "flow.yaml"],
        "a file, one task for each of 1,000": [*ours, "fan.yaml"],
        "a folder of scripts": [*ours, "scripts"],
    }
    if shutil.which("ninja"):
        table["ninja -j2"] = ["ninja", "-j2", "--quiet"]
    else:
        print("  ninja is not installed")
    compared(rounds, table, folder)


@case
def one(folder: Path, rounds: int) -> None:
    """A file of one task from a cold shell, recorded, with all reports, beside ninja with one command. Goal: 2.0 of ninja."""
    (folder / "flow.yaml").write_text("tasks: {t: {run: [/bin/true]}}\n")
    (folder / "build.ninja").write_text("rule r\n  command = /bin/true\nbuild t: r\n")
    table: dict[str, list[str | Path]] = {
        "a file": [PROGRAM, "run", "flow.yaml", "--state-dir", folder / "state"]
    }
    if shutil.which("ninja"):
        table["ninja"] = ["ninja", "--quiet"]
    compared(10 * rounds, {**table, "the command alone": ["/bin/true"]}, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure workflow files.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"some of {', '.join(CASES)}; without any, all"
    )
    options = parser.parse_args()
    for name in options.cases or CASES:
        print(f"{name}: {CASES[name].__doc__}")
        with tempfile.TemporaryDirectory() as folder:
            CASES[name](Path(folder), options.rounds)


if __name__ == "__main__":
    main()
