"""Children that try to stay, and the ledger they sign: for tests of faults and of the terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

#: How long anything may take that has to happen: the machine may be loaded.
DEADLINE_S = 90.0


class Process(NamedTuple):
    """A process that cannot be taken for another one with the same id."""

    pid: int
    start: str


def stat_of(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third on; empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def lives(process: Process) -> bool:
    """Whether it still does anything: a zombie does not."""
    fields = stat_of(process.pid)
    return bool(fields) and fields[0] not in "ZX" and fields[19] == process.start


def children_of(pid: int) -> list[Process]:
    """The living children of a process."""
    found = []
    for entry in os.listdir("/proc"):
        fields = stat_of(int(entry)) if entry.isdigit() else []
        if fields and fields[1] == str(pid) and fields[0] not in "ZX":
            found.append(Process(int(entry), fields[19]))
    return found


def wait_for(what: str, look: Callable[[], T], within_s: float = DEADLINE_S) -> T:
    """Look until something is there, and return it."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"it never came: {what}"
        time.sleep(0.02)
    return seen


class Ledger:
    """A file in which processes sign with their id and start time, and that is cleaned up after."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def sign(self) -> str:
        """A shell command by which the process signs that carries it out."""
        return f"cut -d' ' -f1,22 /proc/$$/stat >> '{self.path}'"

    def processes(self) -> list[Process]:
        """Who has signed."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [Process(int(pid), start) for pid, _, start in (line.partition(" ") for line in lines)]

    def alive(self) -> list[Process]:
        """Who has signed and still lives."""
        return [process for process in self.processes() if lives(process)]

    def wait_for(self, count: int) -> None:
        """Wait until so many have signed."""
        wait_for(f"{count} signatures", lambda: len(self.processes()) >= count)

    def end_all(self) -> None:
        """End whoever is left, so that a failed test leaves nothing behind."""
        for process in self.alive():
            os.kill(process.pid, signal.SIGKILL)


def kinds(ledger: Ledger) -> dict[str, tuple[str, int]]:
    """Shell scripts of processes that outlive careless parents, each with how many sign the ledger."""
    stay = f"{ledger.sign}; exec sleep 600"
    child = f'sh -c "{stay}"'.replace("$$", "\\$\\$")
    quiet = "<&- >&- 2>&-"
    return {
        "leader": (stay, 1),
        "background": (f"{child} & {stay}", 2),
        "own_group": (f"set -m; {child} & {stay}", 2),
        "own_session": (f"setsid {child} & {stay}", 2),
        "ignoring_term": (f'trap "" TERM INT HUP; {child} & {stay}', 2),
        "daemon": (f"(setsid {child} {quiet} &) & {stay}", 2),
        "daemon_without_environment": (f"(env -i setsid {child} {quiet} &) & {stay}", 2),
    }


def write_script(path: Path, body: str, shell: str = "/bin/bash") -> Path:
    """An executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{shell}\n{body}\n")
    path.chmod(0o755)
    return path


@contextmanager
def started(argv: list[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program that is running; it is gone when the block is left."""
    options = {"stdin": subprocess.DEVNULL, "text": True, **options}
    process = subprocess.Popen([os.fspath(arg) for arg in argv], **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def only_run(state_dir: Path) -> Path:
    """The folder of the one run that a state folder holds."""
    runs = list((state_dir / "runs").iterdir())
    assert len(runs) == 1, runs
    return runs[0]


def events(folder: Path) -> list[dict[str, Any]]:
    """What happened in a run so far, from its folder."""
    program = Path(sys.executable).parent / "dirigent"
    command = [str(program), "export", str(folder)]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=DEADLINE_S).stdout
    told = [json.loads(line) for line in text.splitlines()]
    return [line for line in told if "seq" in line]


def summary(folder: Path) -> dict[str, Any]:
    """A run's ``summary.json``."""
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return read
