"""What tests of workflow files share: a folder of them, the program run there, and what became of each task."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.children import DEADLINE_S, wait_for
from tests.oracle import UNSPEAKABLE, ask, check, events_of

PROGRAM = Path(sys.executable).parent / "dirigent"


class Ran:
    """What the journal says of a run."""

    def __init__(self, state: Path, run: str) -> None:
        self.id, self.state = run, state
        self.events = events_of(state, run)
        declared = [event["tasks"] for event in self.events if event["kind"] == "tasks_declared"]
        self.names: list[str] = [task["name"] for tasks in declared for task in tasks]
        self.statuses: dict[str, str] = {}
        self.sentences: dict[str, str] = {}
        self.shown: dict[str, Any] = json.loads(ask(state, "show", run, "--json"))
        for task in self.shown["tasks"]:
            self.statuses[task["name"]] = task["status"]
            self.sentences[task["name"]] = task["sentence"]

    def of(self, name: str, *kinds: str) -> list[dict[str, Any]]:
        """The events of a task, of these kinds if any are named."""
        index = self.names.index(name)
        own = [event for event in self.events if event.get("task") == index]
        return [event for event in own if not kinds or event["kind"] in kinds]

    def attempts(self, name: str) -> int:
        """How often it was carried out in this run."""
        return len(self.of(name, "attempt_started"))

    def value(self, name: str) -> Any:
        """What a task gave."""
        kept = self.of(name, "attempt_ended")[-1]["value"]
        assert kept["encoding"] == "json", kept
        if kept["kept"] == "inline":
            return json.loads(kept["text"])
        [path] = (self.state / "artifacts").rglob(f"*{kept['hash'][2:]}")
        return json.loads(path.read_text())

    def reused(self) -> set[str]:
        """The tasks whose outcome was taken from another run."""
        return {self.names[event["task"]] for event in self.events if event["kind"] == "task_reused"}


class Place:
    """A folder with workflow files, and the state folder of their runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.engine: subprocess.Popen[bytes] | None = None

    def write(self, name: str, text: str) -> Path:
        """A file of this folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def command(self, *words: str | Path) -> list[str | Path]:
        return [PROGRAM, *words, "--state-dir", self.state]

    def say(
        self, *words: str | Path, code: int = 0, stdin: str = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Have the program do something here, and see that it ends as expected and in sentences."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env={**os.environ, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert not any(word in done.stderr for word in UNSPEAKABLE[:2]), done.stderr
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done

    def run(self, text: str, *words: str | Path, code: int = 0, name: str = "flow.yaml") -> Ran:
        """Write a workflow file and run it to its end."""
        self.write(name, text)
        self.say("run", name, *words, code=code)
        return self.last()

    def refused(self, text: str, *words: str | Path, code: int = 2) -> str:
        """Write a workflow file that is not run, nor anything recorded; what is said instead."""
        before = self.runs()
        self.write("flow.yaml", text)
        done = self.say("run", "flow.yaml", *words, code=code)
        assert self.runs() == before and not done.stdout
        return done.stderr

    def start(self, text: str, *words: str | Path, name: str = "flow.yaml") -> subprocess.Popen[bytes]:
        """Write a workflow file, and have it run without waiting for its end."""
        self.write(name, text)
        quiet = subprocess.DEVNULL
        command = self.command("run", name, *words)
        self.engine = subprocess.Popen(command, cwd=self.folder, stdin=quiet, stdout=quiet, stderr=quiet)
        return self.engine

    def cut(self, engine: subprocess.Popen[bytes]) -> str:
        """Kill an engine for good, and return the id of the run that this cut short."""
        engine.send_signal(signal.SIGKILL)
        engine.wait(DEADLINE_S)
        run = str(self.runs()[0]["id"])
        assert check(self.state, run, self.folder / "signed") == "interrupted"
        return run

    def resume(self, code: int = 0) -> Ran:
        """Go on with the last run to its end, and hold it against the oracle."""
        self.say("resume", code=code)
        ran = self.last()
        check(self.state, ran.id, self.folder / "signed")
        return ran

    def runs(self) -> list[dict[str, Any]]:
        """The runs there are, the last one first."""
        if not self.state.exists():
            return []
        runs: list[dict[str, Any]] = json.loads(self.say("runs", "--json").stdout)
        return runs

    def last(self) -> Ran:
        """The last run."""
        return Ran(self.state, str(self.runs()[0]["id"]))

    def until(self, *tasks: str, status: str = "waiting") -> None:
        """Wait until tasks of the last run stand so."""

        def stand() -> bool:
            assert self.engine is None or self.engine.poll() is None, "it has ended"
            if not self.runs():
                return False
            statuses = self.last().statuses
            return all(statuses.get(task) == status for task in tasks)

        wait_for(f"{tasks} {status}", stand)

    def lines(self, name: str = "ledger") -> list[str]:
        """The lines of a file here; none where there is no such file."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


def most_at_once(lines: list[str]) -> int:
    """Of lines `+ …` and `- …`, as things start and end: how many there were at the same time."""
    now = most = 0
    for line in lines:
        now += 1 if line.startswith("+") else -1
        most = max(most, now)
    assert now == 0, lines
    return most
