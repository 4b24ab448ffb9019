"""The tour: a workflow whose engine is killed half-way, and that goes on. What ``dirigent demo`` runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dirigent import Workflow, attach
from dirigent._program import program

_SCRIPT = """\
#!/bin/sh
# A script of the tour: it makes the input that the other tasks work on.
echo "three files for you"
for name in red green blue; do echo "$name" > "$1/$name.txt"; done
"""


def _sizes(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.txt"))


def _measure(name: str, folder: Path) -> int:
    time.sleep(0.3)
    return len((folder / name).read_text().strip())


def _wreck(folder: Path) -> str:
    """Kill the process that carries the run on, once."""
    mark = folder / "wrecked"
    if mark.exists():
        return "survived"
    mark.touch()
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def tour(folder: Path) -> Workflow:
    """The workflow: a script, a function, a fan-out, a function that kills the engine, and a command."""
    wf = Workflow("tour", max_concurrency=4)
    wf.add_script("make files", folder / "make.sh", args=[str(folder)])
    wf.add_task("find files", _sizes, ["make files"], args=(folder,))
    wf.add_map("measure", _measure, over="find files", kwargs={"folder": folder})
    wf.add_task("kill the engine", _wreck, ["measure"], args=(folder,))
    wf.add_task("sum", lambda measure: sum(measure), ["measure", "kill the engine"])
    wf.add_command("say so", ["echo", "all measured"], ["sum"])
    return wf


def _carry_out(folder: Path) -> int:
    """One process with an engine: shows what happens, a line each."""

    def show(task: str, status: str, _: object) -> None:
        if status in ("running", "completed", "failed"):
            sign = {"running": "▸", "completed": "✓"}.get(status, "✗")
            print(f"    {sign} {task}", flush=True)

    wf = tour(folder)
    wf.progress_callback = show
    return 0 if wf.run_sync(resume="last").ok else 1


def _engine(folder: Path) -> int:
    command = [sys.executable, "-m", "dirigent._demo", str(folder)]
    env = {**os.environ, "DIRIGENT_STATE_DIR": str(folder / "state")}
    with subprocess.Popen(command, env=env) as process:
        return process.wait()


def _left_behind(run_id: str) -> int:
    """How many living processes carry the mark of a run."""
    mark, count = f"DIRIGENT_RUN_ID={run_id}".encode(), 0
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            count += mark in environ.read_bytes().split(b"\0")
        except OSError:  # it has ended, or is somebody else's
            continue
    return count


def _nothing() -> None:
    pass


def _engine_us(tasks: int = 2000) -> float:
    """Microseconds of the engine for a recorded task that does nothing."""
    wf = Workflow("nothing").add_tasks((f"{number}", _nothing, ()) for number in range(tasks))
    wf.validate()
    began = time.perf_counter()
    wf.run_sync()
    return (time.perf_counter() - began) / tasks * 1e6


def main() -> int:
    """Show the tour, and say what came of it. Returns the exit code."""
    began = time.perf_counter()
    base = Path(tempfile.mkdtemp(prefix="dirigent-demo-"))
    folder = base / "work"
    folder.mkdir()
    (folder / "make.sh").write_text(_SCRIPT)
    (folder / "make.sh").chmod(0o755)
    state = folder / "state"
    print(
        "A script makes files, a function finds them, a fan-out measures each, and one task kills the engine.\n"
    )
    print("  first process:", flush=True)
    code = _engine(folder)
    if code != -signal.SIGKILL:
        print(f"\nthe engine should have been killed, and ended with {code}")
        return 1
    unfinished = attach(state_dir=state)
    print("    ✗ SIGKILL: the engine is gone in the middle of the run")
    print(f"      processes it left behind: {_left_behind(unfinished.id)}\n")
    print("  second process, the same command again:", flush=True)
    before = {name for name, result in unfinished.tasks.items() if result.success}
    if _engine(folder) != 0:
        print("\nthe run did not go on as it should")
        return 1
    run = attach(state_dir=state)
    resumed = next(n for n, event in enumerate(run.events()) if event["kind"] == "run_resumed")
    again = {e["task"] for e in list(run.events())[resumed:] if e["kind"] == "attempt_started"}
    names = list(run.tasks)
    reused = [name for name in before if names.index(name) not in again]
    command = [program(), "report", str(run_folder(state, run.id)), "--format", "html"]
    report = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    os.environ["DIRIGENT_STATE_DIR"] = str(base / "nothing")
    engine_us = _engine_us()
    shutil.rmtree(base / "nothing", ignore_errors=True)
    print(f"""
  the same run, taken up where it was: {json.dumps(run["sum"])} letters in all
    tasks that were not run again   {len(reused)} of {len(names)}
    processes left behind           {_left_behind(run.id)}
    engine time of a recorded task  {engine_us:.0f} µs
    all of this took                {time.perf_counter() - began:.1f} s
    report                          {report}

  look closer:
    dirigent show --state-dir {state}
    dirigent verify --state-dir {state}""")
    return 0 if _left_behind(run.id) == 0 else 1


def run_folder(state: Path, run_id: str) -> Path:
    """Where the logs and reports of a run are."""
    return state / "runs" / run_id


if __name__ == "__main__":
    sys.exit(_carry_out(Path(sys.argv[1])) if len(sys.argv) > 1 else main())
