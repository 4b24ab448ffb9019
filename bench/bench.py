"""Measures dirigent beside its peers in one run, interleaved, and prints ratios. Figures of a noisy machine mean little alone.

    python bench/bench.py [--program PATH] [--rounds N] [--json FILE] [CASE ...]

Cases: spawn, start, python, import, discovery, output, flat, kill. A peer that is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent

#: The C floor: the programs that are named, at most so many at once, nothing captured; below zero, each in a session of its own.
FLOOR = r"""
#define _GNU_SOURCE
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
extern char **environ;
int main(int count, char **words) {
    posix_spawnattr_t own;
    posix_spawnattr_init(&own);
    if (atoi(words[1]) < 0) posix_spawnattr_setflags(&own, POSIX_SPAWN_SETSID);
    int most = abs(atoi(words[1])), running = 0, status;
    for (int i = 2; i < count; i++) {
        pid_t pid;
        char *command[] = {words[i], "1", 0};  // one argument, as everybody here gives it
        if (running == most) { wait(&status); running--; }
        if (posix_spawn(&pid, words[i], 0, &own, command, environ)) return 1;
        running++;
    }
    while (running--) wait(&status);
    return 0;
}
"""

#: The loop that output is compared with: read 64 KiB, write it to a file.
TEE = """
import os, subprocess, sys
child = subprocess.Popen(["head", "-c", sys.argv[1], "/dev/zero"], stdout=subprocess.PIPE, bufsize=0)
with open(sys.argv[2], "wb", buffering=0) as file:
    while chunk := child.stdout.read(65536):
        file.write(chunk)
child.wait()
"""

#: Seven ways to outlive one's parent; each appends the pids to be gone to the ledger that LEDGER names.
DESCENDANTS = {
    "leader": 'echo $$ >> "$LEDGER"; exec sleep 300',
    "background": 'sleep 300 & echo $! >> "$LEDGER"; wait',
    "own group": 'set -m; sleep 300 & echo $! >> "$LEDGER"; wait',
    "own session": "setsid sh -c 'echo $$ >> \"$LEDGER\"; exec sleep 300' & wait",
    "ignoring TERM": "trap '' TERM; echo $$ >> \"$LEDGER\"; while :; do sleep 1; done",
    "daemon": "(setsid sh -c 'echo $$ >> \"$LEDGER\"; exec sleep 300' <&- >&- 2>&- &); exec sleep 300",
    "daemon, no environment": "(L=$LEDGER; env -i setsid sh -c 'echo $$ >> \"'$L'\"; exec sleep 300' <&- >&- 2>&- &); "
    "exec sleep 300",
}


class Bench:
    """A scratch folder, the program, and what was measured."""

    def __init__(self, program: Path, scratch: Path, rounds: int) -> None:
        self.program, self.scratch, self.rounds = program, scratch, rounds
        self.results: list[dict[str, object]] = []
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("DIRIGENT_", "XDG_"))
        } | {"HOME": str(scratch)}

    def dirigent(self, *words: object) -> list[str]:
        return [str(self.program), *map(str, words)]

    def run(self, command: list[str], **options: object) -> float:
        """Run one command to its end and return its wall time in seconds."""
        began = time.perf_counter()
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment,
            check=True,
            **options,  # type: ignore[call-overload]
        )
        return time.perf_counter() - began

    def compare(
        self, case: str, ours: list[str], peers: dict[str, list[str]], unit: float = 1.0, **goals: float
    ) -> None:
        """Time ours and the peers in turns; print medians and the ratio of ours to each."""
        commands = {"dirigent": ours} | {
            name: command for name, command in peers.items() if shutil.which(command[0]) is not None
        }
        for name in peers.keys() - commands.keys():
            print(f"{case}: {name} is not installed and left out")
        times: dict[str, list[float]] = {name: [] for name in commands}
        for round_number in range(self.rounds + 1):
            for name, command in commands.items():
                seconds = self.run(command)
                if round_number:  # the first round warms caches
                    times[name].append(seconds)
        medians = {name: statistics.median(values) * unit for name, values in times.items()}
        fastest = {name: min(values) * unit for name, values in times.items()}
        for name in commands:
            ratio = medians["dirigent"] / medians[name]
            of_fastest = fastest["dirigent"] / fastest[name]
            goal = goals.get(name.replace(" ", "_").replace("-", "_"))
            wanted = f"  goal {goal:g}" if goal else ""
            print(
                f"{case:22} {name:26} median {medians[name]:10.3f} ms  fastest {fastest[name]:10.3f} ms"
                f"  ours/this {ratio:6.2f} ({of_fastest:.2f} of the fastest){wanted}",
                flush=True,
            )
        self.results.append({"case": case, "median_ms": medians, "fastest_ms": fastest})

    def scripts(self, name: str, count: int) -> Path:
        """A folder of so many scripts whose interpreter is /bin/true: each is one start of that program with one argument."""
        folder = self.scratch / name
        if not folder.exists():
            folder.mkdir()
            (folder / "dirigent.toml").write_text('interpreters = { ".t" = ["/bin/true"] }\n')
            for number in range(count):
                (folder / f"t{number:05}.t").touch()
        return folder


def spawn(bench: Bench) -> None:
    """1,000 times /bin/true, two at a time, output captured and logged: per task in ms."""
    folder = bench.scripts("true", 1000)
    peers = {"xargs": ["sh", "-c", "seq 1000 | xargs -P2 -n1 /bin/true"]}
    if shutil.which("cc"):
        source, floor = bench.scratch / "floor.c", bench.scratch / "floor"
        source.write_text(FLOOR)
        subprocess.run(["cc", "-O2", source, "-o", floor], check=True)
        peers["C posix_spawn"] = [str(floor), "2", *["/bin/true"] * 1000]
        peers["C, a session each"] = [str(floor), "-2", *["/bin/true"] * 1000]
    ours = bench.dirigent("run", folder, "--jobs", 2)
    bench.compare("spawn, all reports", ours, peers, xargs=1.0, C_posix_spawn=1.5)
    bench.compare("spawn, no report", [*ours, "--report", "none"], peers, xargs=1.0, C_posix_spawn=1.5)


def start(bench: Bench) -> None:
    """From a cold shell: the version, and one trivial shell script."""
    script = bench.scratch / "one.sh"
    script.write_text("#!/bin/sh\n:\n")
    script.chmod(0o755)
    ninja = bench.scratch / "ninja"
    ninja.mkdir(exist_ok=True)
    (ninja / "build.ninja").write_text("rule r\n  command = sh " + str(script) + "\nbuild all: r\n")
    bench.compare("version", bench.dirigent("--version"), {"/bin/true": ["/bin/true"]}, unit=1000)
    bench.compare(
        "one shell script",
        bench.dirigent("run", script),
        {"ninja": ["ninja", "-C", str(ninja), "--quiet"], "the script alone": [str(script)]},
        unit=1000,
        ninja=2.0,
    )


def python(bench: Bench) -> None:
    """One trivial Python script, beside the script alone."""
    script = bench.scratch / "one.py"
    script.write_text("print('hello')\n")
    ours = bench.dirigent("run", script, "--python", sys.executable)
    bench.compare(
        "one Python script",
        ours,
        {"the script alone": [sys.executable, str(script)]},
        unit=1000,
        the_script_alone=1.5,
    )


def import_(bench: Bench) -> None:
    """The import of the package, over an interpreter that does nothing."""
    bench.compare(
        "import dirigent",
        [sys.executable, "-c", "import dirigent; dirigent.__version__"],
        {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import asyncio": [sys.executable, "-c", "import asyncio"],
        },
        unit=1000,
    )


def discovery(bench: Bench) -> None:
    """100,000 files in 10,000 folders, skips, *.py."""
    tree = bench.scratch / "tree"
    if not tree.exists():
        make_tree(tree)
    skips = ["-g", "!node_modules", "-g", "!.git", "-g", "!__pycache__", "-g", "*.py"]
    rg = shutil.which("rg") or "rg"
    bench.compare(
        "discovery",
        bench.dirigent("list", tree, "--filter", "*.py"),
        {"rg --files": [rg, "--files", "-uu", *skips, str(tree)], "find": find_command(tree)},
        unit=1000,
        rg___files=1.0,
    )


def find_command(tree: Path) -> list[str]:
    pruned = "-name node_modules -prune -o -name .git -prune -o -name __pycache__ -prune -o"
    return ["find", str(tree), *pruned.split(), "-type", "f", "-name", "*.py", "-print"]


def make_tree(tree: Path) -> None:
    """10,000 folders of ten files, one in twenty a Python file, about a tenth below folders that are skipped."""
    folders, queue, number = [tree], [tree], 0
    tree.mkdir()
    while len(folders) < 10_000:
        parent = queue.pop(0)
        for place in range(10):
            if len(folders) == 10_000:
                break
            skipped = parent != tree and place == 9
            name = (
                ("node_modules", ".git", "__pycache__")[len(folders) % 3]
                if skipped
                else f"dir_{len(folders)}"
            )
            folder = parent / name
            folder.mkdir()
            folders.append(folder)
            queue.append(folder)
    for folder in folders:
        for _ in range(10):
            (folder / f"file_{number}{'.py' if number % 20 == 7 else '.txt'}").touch()
            number += 1


def output(bench: Bench) -> None:
    """One child that prints 1 GiB, kept whole in the log."""
    size = 1 << 30
    script = bench.scratch / "flood.sh"
    script.write_text(f"#!/bin/sh\nexec head -c {size} /dev/zero\n")
    script.chmod(0o755)
    tee = [sys.executable, "-c", TEE, str(size), str(bench.scratch / "tee.bin")]
    state = bench.scratch / "flood-state"
    ours = bench.dirigent(
        "run", script, "--output-limit-mb", 100_000, "--report", "none", "--state-dir", state
    )
    clean = ["sh", "-c", 'rm -rf "$0"; exec "$@"', str(state), *ours]
    bench.compare("1 GiB of output", clean, {"a 64 KiB loop": tee}, unit=1000, a_64_KiB_loop=1.0)
    print(f"  peak memory of the engine: {peak_mb(bench, clean):.0f} MiB")
    shutil.rmtree(state, ignore_errors=True)


def peak_mb(bench: Bench, command: list[str]) -> float:
    """The most memory that any one process of a command's tree had, in MiB."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=-3, stderr=-3)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, *command],
        env=bench.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(told.stdout)


def flat(bench: Bench) -> None:
    """Listing and running 1,000 and 10,000 scripts: time and memory a task."""
    for count in (1000, 10_000):
        folder = bench.scripts(f"true{count}", count)
        for verb, words in (("list", ()), ("run", ("--jobs", "2"))):
            command = bench.dirigent(verb, folder, *words)
            seconds = bench.run(command)
            memory = peak_mb(bench, command)
            print(
                f"flat: {verb:4} {count:6} scripts  {seconds / count * 1e6:9.1f} µs a task  "
                f"{memory:7.1f} MiB in all",
                flush=True,
            )
            bench.results.append({"case": f"flat {verb} {count}", "seconds": seconds, "memory_mb": memory})


def kill(bench: Bench) -> None:
    """SIGKILL of the engine while 50 children run: who lives after a second, each kind alone and all at once."""
    ballast = "import sys, dirigent\nx = bytearray(2 << 30)\nx[::4096] = b'1' * len(x[::4096])\ndirigent.run_script(sys.argv[1])"
    kinds = list(DESCENDANTS)
    for label, chosen in [*((kind, [kind]) for kind in kinds), ("all at once", kinds)]:
        print(f"kill: {label:24} {survivors(bench, chosen, 50)} of 50 alive after 1 s", flush=True)
    print(f"kill: from a process of 2 GiB  {survivors(bench, ['daemon'], 1, ballast)} of 1 alive after 1 s")


def survivors(bench: Bench, kinds: list[str], count: int, ballast: str | None = None) -> int:
    with tempfile.TemporaryDirectory(dir=bench.scratch) as place:
        folder, ledger = Path(place, "scripts"), Path(place, "ledger")
        folder.mkdir()
        ledger.touch()
        for number in range(count):
            (folder / f"s{number:02}.sh").write_text(DESCENDANTS[kinds[number % len(kinds)]] + "\n")
        command = bench.dirigent("run", folder, "--jobs", count, "--report", "none")
        if ballast is not None:
            command = [sys.executable, "-c", ballast, str(folder / "s00.sh")]
        engine = subprocess.Popen(
            command,
            env=bench.environment | {"LEDGER": str(ledger)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: len(ledger.read_text().split()) >= count)
        engine.kill()
        engine.wait()
        pids = [int(pid) for pid in ledger.read_text().split()]
        time.sleep(1)  # the promise that is measured
        return sum(map(lives, pids))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("bench: the children never came up")
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


CASES: dict[str, Callable[[Bench], None]] = {
    "spawn": spawn,
    "start": start,
    "python": python,
    "import": import_,
    "discovery": discovery,
    "output": output,
    "flat": flat,
    "kill": kill,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="which to measure; all where nothing is said"
    )
    parser.add_argument("--program", type=Path, default=Path(sys.executable).parent / "dirigent")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    for case in options.cases:
        if case not in CASES:
            parser.error(f"there is no case {case!r}; there are {', '.join(CASES)}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    with tempfile.TemporaryDirectory(prefix="dirigent-bench-") as scratch:
        bench = Bench(options.program.resolve(), Path(scratch), options.rounds)
        for case in options.cases or CASES:
            CASES[case](bench)
        if options.json:
            options.json.write_text(json.dumps(bench.results, indent=1))


if __name__ == "__main__":
    main()
