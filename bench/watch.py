"""Measures what passes between a change and the first line of what `dirigent watch` then runs, without the debounce.

    python bench/watch.py [--rounds N]

Beside it stands the same program started by hand, which is the floor. The goal is 100 ms.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from dirigent._program import program

DEBOUNCE_S = 0.1
PATIENCE_S = 30.0
SCRIPT = "#!/bin/sh\n# {n}\ndate +%s.%N >> {log}\n"


def line(log: Path, number: int) -> float:
    """The moment at which a script wrote its line of this number."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        if len(lines) > number and lines[number].endswith("\n"):
            return float(lines[number])
        time.sleep(0.001)
    raise TimeoutError(f"the script was not run within {PATIENCE_S:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        script, log = Path(folder, "work.sh"), Path(folder, "log")
        script.write_text(SCRIPT.format(n=0, log=log))
        script.chmod(0o755)
        words = ["--state-dir", f"{folder}/.dirigent", "--report", "none"]
        quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        floors, number = [], 0
        for _ in range(rounds):
            began = time.time()
            subprocess.run([program(), "run", "work.sh", *words], check=True, **quiet)
            floors.append(line(log, number) - began)
            number += 1
        watch = subprocess.Popen(
            [program(), "watch", "work.sh", "--path", "work.sh", "--debounce", f"{DEBOUNCE_S}s", *words],
            **quiet,
        )
        try:
            line(log, number)
            took = []
            for n in range(1, rounds + 1):
                # Not before the round before is through.
                time.sleep(0.5)
                number += 1
                script.write_text(SCRIPT.format(n=n, log=log))
                changed = time.time()
                took.append(line(log, number) - changed - DEBOUNCE_S)
        finally:
            os.kill(watch.pid, signal.SIGINT)
            watch.wait(PATIENCE_S)
    watched, floor = (statistics.median(times) * 1e3 for times in (took, floors))
    print(
        f"change to first line, less the debounce    {watched:6.1f} ms (goal 100), at most {max(took) * 1e3:.1f}"
    )
    print(f"the same script by `dirigent run`          {floor:6.1f} ms; ratio {watched / floor:.1f}")


if __name__ == "__main__":
    main()
