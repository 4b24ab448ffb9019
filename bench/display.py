"""Measures what the picture in a terminal costs: a run with it beside one without, and a long run that is only watched.

    python bench/display.py [--rounds N] [--program PATH] [CASE ...]

Cases: commands, watching. The terminal is a real one of the kernel, whose other end is read and thrown away. Build with
optimisation first (`make install`): the limits named here are for such a build.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

PROGRAM = Path(sys.executable).parent / "dirigent"
COLUMNS, ROWS = 160, 50
CASES: dict[str, Callable[[Path, Path, int], None]] = {}


def case(
    function: Callable[[Path, Path, int], None],
) -> Callable[[Path, Path, int], None]:
    """Register a measurement, which gets the program, a folder of its own and how many rounds to make."""
    CASES[function.__name__] = function
    return function


class Terminal:
    """A terminal that nobody looks at, and how much was written to it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.written = 0
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.ours, 1 << 16)
            except OSError:  # nobody has the other end any more
                return
            if not data:
                return
            self.written += len(data)

    def close(self) -> int:
        """Close it, and say how many bytes were written to it."""
        os.close(self.theirs)
        self.reader.join()
        os.close(self.ours)
        return self.written


def environment(**more: str) -> dict[str, str]:
    """A terminal that can do everything, whatever this program was started in."""
    return {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **more}


@case
def commands(program: Path, folder: Path, rounds: int) -> None:
    """10,000 trivial commands with the picture, and with standard error thrown away. Goal: 1.02."""
    (folder / "many.yaml").write_text(f"tasks: {{t: {{each: {list(range(10_000))}, run: [/bin/true]}}}}\n")
    argv = [program, "run", "many.yaml", "--jobs", "2", "--report", "none", "--state-dir", "state"]
    took: dict[str, list[float]] = {"with the picture": [], "without": []}
    spent: dict[str, list[float]] = {name: [] for name in took}
    written = 0
    for number in range(rounds + 1):
        # Each is first as often as the other.
        for name in sorted(took, reverse=bool(number % 2)):
            terminal = Terminal() if name == "with the picture" else None
            stderr = terminal.theirs if terminal else subprocess.DEVNULL
            began = time.perf_counter()
            process = subprocess.Popen(
                argv, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=stderr
            )
            _, status, usage = os.wait4(process.pid, 0)
            elapsed = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
            written = terminal.close() if terminal else written
            if number:
                took[name].append(elapsed)
                spent[name].append(usage.ru_utime + usage.ru_stime)
    for name in took:
        wall, cpu = statistics.median(took[name]), statistics.median(spent[name])
        print(
            f"  {name:<24} {wall:9.2f} s, fastest {min(took[name]):.2f}; {cpu:.2f} s of CPU, children included"
        )
    for what, times in (("time", took), ("CPU", spent)):
        ours, theirs = times.values()
        median, best = statistics.median(ours) / statistics.median(theirs), min(ours) / min(theirs)
        rounded = [one / other for one, other in zip(ours, theirs, strict=True)]
        print(
            f"  {what}, with / without: medians {median:.3f}, fastest {best:.3f},"
            f" round by round {min(rounded):.3f} to {max(rounded):.3f}"
        )
    print(f"  {written / 1e3:.0f} kB written")


def spent_ns(pid: int) -> dict[str, int]:
    """How long each thread of a process was on a processor."""
    spent = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = "display" if task.name == str(pid) else task.name
        spent[name] = int((task / "schedstat").read_text().split()[0])
    return spent


@case
def watching(program: Path, folder: Path, rounds: int) -> None:
    """50 tasks that run and write five lines a second each, watched for 12 s. Goal: 1 % of a core."""
    body = "end=$(($(date +%s) + $LASTS)); while [ $(date +%s) -lt $end ]; do echo line $end; sleep 0.2; done"
    lines = [f"  t{n}: {{shell: '{body}'}}\n" for n in range(50)]
    (folder / "long.yaml").write_text("tasks:\n" + "".join(lines))
    argv = [program, "run", "long.yaml", "--jobs", "50", "--report", "none", "--state-dir", "state"]
    # The second run knows how long the first one took.
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL}
    subprocess.run(argv, check=True, env=environment(LASTS="2"), stderr=subprocess.DEVNULL, **quiet)
    shares, wholes, rates = [], [], []
    for _ in range(rounds):
        terminal = Terminal()
        process = subprocess.Popen(argv, env=environment(LASTS="16"), stderr=terminal.theirs, **quiet)
        time.sleep(2)
        (before, began, written) = (spent_ns(process.pid), time.monotonic(), terminal.written)
        time.sleep(12)
        after, elapsed_ns = spent_ns(process.pid), (time.monotonic() - began) * 1e9
        rates.append((terminal.written - written) / elapsed_ns * 1e6)
        process.wait()
        terminal.close()
        shares.append(100 * (after["display"] - before["display"]) / elapsed_ns)
        wholes.append(100 * (sum(after.values()) - sum(before.values())) / elapsed_ns)
    print(f"  the picture {statistics.median(shares):.2f} % of a core, at most {max(shares):.2f}")
    print(
        f"  the whole engine {statistics.median(wholes):.2f} %; {statistics.median(rates):.1f} kB/s written"
    )


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", type=Path, default=PROGRAM, help="another build of it")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"some of {', '.join(CASES)}")
    options = parser.parse_args()
    for name in options.cases or CASES:
        print(f"{name}: {CASES[name].__doc__}")
        folder = Path(tempfile.mkdtemp(prefix="dirigent-display-"))
        try:
            CASES[name](options.program.resolve(), folder, options.rounds)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
