"""Makes a state folder as the present version leaves it: ``python make.py FOLDER``. One is kept for each released version.

A good run, a bad one, and one whose engine was killed half-way; no path, host or time of anybody's matters in them.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from dirigent import Workflow


def good() -> None:
    """Values of every kind: in full, by pickle, in a file of its own, not kept, made of those of others, and logs."""
    wf = Workflow("good")
    wf.add_task("json", lambda: {"text": "é", "numbers": [1, 2.5, None, True]})
    wf.add_task("pickle", lambda json: (1, "a", json["text"]), ["json"])
    wf.add_task("large", lambda: "x" * 5000)
    wf.add_task("not kept", lambda: (n for n in range(3)))
    wf.add_map("squares", lambda n: n * n, over=[1, 2, 3])
    wf.add_shell("say", "echo hello; echo oops >&2", cwd="/")
    assert wf.run_sync().ok


def bad() -> None:
    """What fails, what is skipped for it, and an exit code."""
    wf = Workflow("bad", fail_fast=False)
    wf.add_task("fails", lambda: 1 / 0).add_task("skipped", lambda fails: 1, ["fails"])
    wf.add_command("exits", ["sh", "-c", "exit 3"], cwd="/").run_sync()


def cut() -> None:
    """An engine that is gone while a task was under way."""
    wf = Workflow("cut", max_concurrency=1)
    wf.add_command("done", ["true"], cwd="/").add_command("under way", ["sleep", "0.3"], ["done"], cwd="/")
    handle = wf.add_command("to come", ["true"], ["under way"], cwd="/").start()
    while handle.tasks["under way"].status != "running":
        time.sleep(0.005)
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path) -> None:
    """Make the whole, each run in a process of its own."""
    env = {**os.environ, "DIRIGENT_STATE_DIR": str(folder)}
    for kind in ("good", "bad", "cut"):
        subprocess.run([sys.executable, __file__, str(folder), kind], env=env, check=kind != "cut")
    time.sleep(1)
    database = sqlite3.connect(folder / "journal.db")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute("PRAGMA journal_mode=DELETE")
    database.close()
    # What only those need who work in it.
    (folder / ".gitignore").unlink()
    for lock in folder.glob("runs/*/lock"):
        lock.unlink()
    for empty in folder.glob("runs/*"):
        if not any(empty.iterdir()):
            shutil.rmtree(empty)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        {"good": good, "bad": bad, "cut": cut}[sys.argv[2]]()
    else:
        main(Path(sys.argv[1]).absolute())
