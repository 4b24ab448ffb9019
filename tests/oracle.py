"""What must be true of a state folder after any fault: asked from outside, of the program, of SQLite, and of the kernel.

Whoever reads the database does so in a process of its own: closing a file in this one would give up locks that an engine in
this process holds on it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.children import DEADLINE_S, Process, lives, wait_for

#: What ends a task well.
GOOD_ENDS = ("succeeded", "returned")

#: What no user should ever read.
UNSPEAKABLE = (
    "panicked",
    "RUST_BACKTRACE",
    "Traceback (most recent",
    "database is locked",
    "database is busy",
)

READ = """
import json, sqlite3, sys
database = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=60)
check = [row[0] for row in database.execute("PRAGMA integrity_check")]
columns = "id, workflow, created_at_ms, ended_at_ms, verdict, events, counts"
runs = [list(row) for row in database.execute(f"SELECT {columns} FROM runs")]
print(json.dumps([check, runs]))
"""


class Signature(NamedTuple):
    """What an attempt wrote into the ledger when it was carried out."""

    task: int
    attempt: int
    process: Process


def signatures(ledger: Path, run: str) -> list[Signature]:
    """Who has signed for a run. A line that a killed process left half-written counts for nothing."""
    signed = []
    for line in ledger.read_text().splitlines() if ledger.exists() else []:
        words = line.split(" ")
        if len(words) == 4 and words[0].startswith(f"{run}-"):
            key, attempt, pid, start = words
            signed.append(Signature(int(key.rpartition("-")[2]), int(attempt), Process(int(pid), start)))
    return signed


def ask(state: Path, *words: str, codes: tuple[int, ...] = (0,)) -> str:
    """What the program answers about a state folder; with a documented exit code, and in sentences."""
    done = asked(state, *words)
    assert done.returncode in codes, (words, done.returncode, done.stdout[-500:], done.stderr[-2000:])
    return done.stdout


def asked(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The same, however it goes."""
    program = Path(sys.executable).parent / "dirigent"
    done = subprocess.run(
        [program, *words, "--state-dir", state],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=DEADLINE_S,
    )
    assert not any(word in done.stderr for word in UNSPEAKABLE), done.stderr
    return done


def events_of(state: Path, run: str) -> list[dict[str, Any]]:
    """The recorded events of a run."""
    told = [json.loads(line) for line in ask(state, "export", run).split("\n") if line]
    return [line for line in told if "seq" in line]


def marked(run: str) -> list[int]:
    """The living processes that carry the mark of a run."""
    mark = f"DIRIGENT_RUN_ID={run}".encode()
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            environment = Path(f"/proc/{entry}/environ").read_bytes()
        except OSError:
            continue
        if mark in environment.split(b"\0"):
            found.append(int(entry))
    return found


def guards_of(engines: set[int]) -> list[int]:
    """The living guards of engines with these process ids."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[1:2] == [b"__guard"] and int(words[2]) in engines:
            found.append(int(entry))
    return found


#: The most that the log beside a database may keep of the disk.
WAL_BYTES = 64 << 20


def left_over(state: Path) -> list[str]:
    """Files of a state folder that somebody began and never finished."""
    paths = [path for path in state.rglob("*") if path.is_file()]
    unnamed = [path for path in paths if path.parent.parent.name == "artifacts" and path.name[0] == "."]
    parts = [path for path in paths if ".part" in path.name or path.name.endswith(".db-journal")]
    return [str(path.relative_to(state)) for path in [*unnamed, *parts]]


def check(state: Path, run: str, ledger: Path | None = None) -> str:
    """Hold a run of a state folder against the oracle, and return its status.

    Args:
        state: The state folder. No engine of this process may have it open.
        run: The run's id.
        ledger: Where attempts signed, if they did; beside it, with the run's id as suffix, the events that a reader was
            told, if one wrote them down.
    """
    # O1: the database is sound.
    read = subprocess.run(
        [sys.executable, "-c", READ, state / "journal.db"], capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert read.returncode == 0, read.stderr
    sound, rows = json.loads(read.stdout)
    assert sound == ["ok"], sound
    ask(state, "verify", run)
    events = events_of(state, run)
    assert [event["seq"] for event in events] == list(range(len(events)))
    # O2: what somebody was told is recorded, and as it was told.
    told = Path(f"{ledger}.{run}")
    for line in told.read_text().splitlines() if told.exists() else []:
        if line.endswith("}"):
            event = json.loads(line)
            assert events[event["seq"] : event["seq"] + 1] == [event]
    # O3: nothing is running without somebody who runs it.
    [head] = [head for head in json.loads(ask(state, "runs", "-n", "1000000", "--json")) if head["id"] == run]
    is_held = head["holder_pid"] is not None
    assert (head["status"] == "running") == is_held
    signed = signatures(ledger, run) if ledger is not None else []
    if not is_held:
        # O4: and nobody runs on without being recorded as running.
        wait_for(f"the end of what carries the mark of {run}", lambda: not marked(run))
        wait_for("the end of whoever signed", lambda: not any(lives(one.process) for one in signed))
        engines = {one.process.pid for one in signed}
        wait_for("the end of the guards", lambda: not guards_of(engines))
    # O5: what happened did so once, and was recorded before.
    attempts = Counter((one.task, one.attempt) for one in signed)
    assert set(attempts.values()) <= {1}, attempts.most_common(3)
    started: set[tuple[int, int]] = set()
    completed: set[int] = set()
    declared = [task for event in events if event["kind"] == "tasks_declared" for task in event["tasks"]]
    cleaning = {place for place, task in enumerate(declared) if task.get("teardown")}
    for event in events:
        if event["kind"] == "run_resumed":
            # There will be more to clean up.
            completed -= cleaning
        elif event["kind"] == "attempt_started":
            assert event["task"] not in completed, event
            started.add((event["task"], event["attempt"]))
        elif event["kind"] == "attempt_ended" and event["outcome"] in GOOD_ENDS:
            completed.add(event["task"])
        elif event["kind"] == "value_lost":
            completed.discard(event["task"])
    assert attempts.keys() <= started, attempts.keys() - started
    # O8: the log beside the database has a bound, and nobody's lock is left (O3 has asked who holds one).
    log = state / "journal.db-wal"
    assert not log.exists() or log.stat().st_size <= WAL_BYTES
    # Only who is killed can leave something half-written.
    kinds = [event["kind"] for event in events]
    if kinds[-1] == "run_ended" and "run_resumed" not in kinds:
        assert left_over(state) == []
    # O6: the table says what the events say.
    [row] = [row for row in rows if row[0] == run]
    agree(state, run, head, row, events)
    return str(head["status"])


def agree(state: Path, run: str, head: dict[str, Any], row: list[Any], events: list[dict[str, Any]]) -> None:
    """See that the row of a run, what is listed of it, and the fold of its events are one."""
    _, workflow, created, ended, verdict, count, counts = row
    shown = json.loads(ask(state, "show", run, "--json"))
    assert events[0]["kind"] == "run_created" and events[0]["run"] == shown["run"] == run
    assert head["workflow"] == workflow == events[0]["workflow"]
    assert created == events[0]["at_ms"]
    folded = Counter(task["status"] for task in shown["tasks"])
    if ended is None:
        assert (verdict, count, counts, head["tasks"]) == (None, None, None, {})
        assert events[-1]["kind"] != "run_ended" and head["status"] in ("running", "interrupted")
        return
    assert events[-1]["kind"] == "run_ended"
    assert (ended, verdict, count) == (events[-1]["at_ms"], events[-1]["verdict"], len(events))
    assert head["status"] == verdict
    assert json.loads(counts) == head["tasks"] == dict(folded)
