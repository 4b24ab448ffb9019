"""Resume: a process is killed half-way through its run, and another one goes on where that was."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from dirigent import Workflow, runs


def extract(folder: Path) -> list[int]:
    with (folder / "calls").open("a") as calls:
        calls.write("extract\n")
    return [3, 1, 4]


def transform(extract: list[int], folder: Path) -> list[int]:
    if not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
    return sorted(extract)


def declare(folder: Path) -> Workflow:
    wf = Workflow("resume")
    wf.add_task("extract", extract, args=(folder,))
    wf.add_task("transform", transform, dependencies=["extract"], kwargs={"folder": folder})
    return wf


if __name__ == "__main__":
    if len(sys.argv) > 1:
        declare(Path(sys.argv[1])).run_sync()  # the process that will not live to see the end
    else:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            os.environ["DIRIGENT_STATE_DIR"] = str(folder / "state")
            killed = subprocess.run([sys.executable, __file__, folder])
            print(f"the process ended with {killed.returncode}, the run is {runs()[0].status}")

            run = declare(folder).resume()
            print(f"{run['transform']}, after {run.tasks['transform'].attempts} attempts")
            print(f"extract was called {len((folder / 'calls').read_text().splitlines())} time")
