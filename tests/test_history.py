"""Recorded runs in Python: which there are, how one is looked at, and how one goes on."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import json
import math
import pickle
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import dirigent
import pytest
from dirigent import (
    BusyError,
    NotFoundError,
    StorageError,
    TaskFailedError,
    UsageError,
    ValueNotKeptError,
    Workflow,
    WorkflowChangedError,
    WorkflowError,
)

from tests.children import DEADLINE_S, started, wait_for
from tests.workflows import ended, statuses


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "state"


def boom() -> None:
    raise LookupError("no such row")


# --- looking --------------------------------------------------------------------------------------


def test_runs_are_told_with_the_newest_first(state: Path, tmp_path: Path) -> None:
    assert dirigent.runs() == []
    first = Workflow("first").add_task("a", lambda: 1).run_sync()
    second = Workflow("second").add_task("boom", boom).add_task("after", boom, ["boom"]).run_sync()
    told = dirigent.runs()
    assert [(run.id, run.workflow, run.status) for run in told] == [
        (second.id, "second", "failed"),
        (first.id, "first", "succeeded"),
    ]
    assert told[0].tasks == {"failed": 1, "skipped": 1}
    assert told[0].ended is not None and told[0].ended >= told[0].created
    age = datetime.datetime.now(datetime.timezone.utc) - told[0].created
    assert datetime.timedelta(0) <= age < datetime.timedelta(seconds=DEADLINE_S)
    assert [run.id for run in dirigent.runs(1)] == [second.id]
    assert [run.id for run in dirigent.runs(workflow="first")] == [first.id]
    assert dirigent.runs(state_dir=tmp_path / "none") == []
    assert [run.id for run in dirigent.runs(state_dir=state)] == [second.id, first.id]


def test_a_run_in_memory_is_not_recorded(state: Path) -> None:
    assert Workflow("w").add_task("a", lambda: 1).run_sync(durability="none").ok
    assert dirigent.runs() == []
    with pytest.raises(NotFoundError):
        dirigent.attach()


def test_a_run_that_ended_is_looked_at_as_if_it_were_our_own(state: Path) -> None:
    wf = Workflow("etl", fail_fast=False)
    wf.add_task("rows", lambda: [1, 2, 3])
    wf.add_map("squares", lambda item: item**2, over="rows")
    wf.add_command("tell", ["echo", "done"], dependencies=["squares"])
    wf.add_task("boom", boom).add_task("after", boom, ["boom"])
    here = ended(wf)
    there = dirigent.attach(here.id[:16])
    assert (there.id, there.name, there.verdict, there.ok) == (here.id, "etl", "failed", False)
    assert statuses(there) == statuses(here)
    assert there.summary() == here.summary()
    assert list(there.events()) == here.events() and list(there.events(3)) == here.events(3)
    assert list(there) == list(here) and len(there) == len(here)
    assert (there["rows"], there["squares"], there["squares[2]"]) == ([1, 2, 3], [1, 4, 9], 9)
    assert there["tell"].exit_code == 0
    log = there.tasks["tell"].log
    assert log is not None and (log / "stdout.log").read_text() == "done\n"
    for name, result in here.tasks.items():
        assert there.tasks[name].sentence == result.sentence
        assert there.tasks[name].attempts == result.attempts
        assert there.tasks[name].execution_time == result.execution_time
    assert [task.name for task in there.failed] == ["boom"]
    with pytest.raises(TaskFailedError, match="raised LookupError: no such row"):
        there["boom"]
    with pytest.raises(TaskFailedError, match="no such row"):
        there.raise_for_failures()


class Point:
    """A value that JSON does not have."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


#: Values that have to come back as they were, with their types.
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**80,
    0.1,
    -0.0,
    math.inf,
    "",
    "é\ud800\0\x7f",
    "x" * 200_000,
    b"\0\xff",
    [],
    [1, [2.0, None]],
    (1, 2),
    [(1,), [1]],
    {"a": 1, "b": {"c": []}},
    {"b": 1, "a": 2},
    {1: "one", "1": "other"},
    {True: 1},
    {"key": (1,)},
    {1, 2},
    1j,
    datetime.date(2026, 2, 28),
    Path("a/b"),
    Point(3),
    collections.OrderedDict(a=1),
    collections.Counter("aab"),
    bytearray(b"ab"),
    range(5),
    list(range(50_000)),
]


def same(a: Any, b: Any) -> bool:
    """Whether two values are the same also in their types, all the way down."""
    if type(a) is not type(b) or a != b:
        return False
    if isinstance(a, (list, tuple)):
        return all(map(same, a, b))
    if isinstance(a, dict):
        return all(map(same, a.items(), b.items()))
    return not isinstance(a, float) or math.copysign(1, a) == math.copysign(1, b)


def test_values_come_back_as_they_were() -> None:
    wf = Workflow("values")
    for i, value in enumerate(VALUES):
        wf.add_task(f"{i}", lambda value=value: value)
    run = ended(wf)
    there = dirigent.attach()
    for i, value in enumerate(VALUES):
        assert same(run[f"{i}"], value)
        assert same(there[f"{i}"], value), (value if i != 10 else "long", there[f"{i}"])


def test_a_value_that_cannot_be_kept_says_why() -> None:
    run = ended(Workflow("w").add_task("lock", threading.Lock).add_task("used", lambda lock: 1, ["lock"]))
    assert run.ok and run["lock"].acquire(blocking=False)
    there = dirigent.attach()
    assert there.ok and there["used"] == 1
    lock = there.tasks["lock"]
    assert (lock.success, lock.status, lock.error) == (True, "completed", None)
    assert "lock" in repr(lock) and len(there) == len(list(there)) == 2
    for ask in (lambda: there["lock"], lambda: lock.value):
        with pytest.raises(ValueNotKeptError, match="cannot be pickled") as caught:
            ask()
        assert caught.value.code == "value.not_kept"


class Loud:
    """A value that says when it is read back."""

    heard: ClassVar[list[str]] = []

    def __setstate__(self, _: object) -> None:
        Loud.heard.append("read")

    def __getstate__(self) -> object:
        return {"a": 1}


def test_a_value_is_read_back_when_it_is_asked_for_and_not_before() -> None:
    ended(Workflow("w").add_task("loud", Loud))
    there = dirigent.attach()
    assert there.ok and statuses(there) == {"loud": "completed"} and there.summary()["tasks"] == 1
    result = there.tasks["loud"]
    assert (result.attempts, Loud.heard) == (1, [])
    assert isinstance(result.value, Loud) and result.value is result.value and Loud.heard == ["read"]
    assert dataclasses.replace(result, name="other").name == "other"
    assert pickle.loads(pickle.dumps(dataclasses.replace(result, value=7))).value == 7


def test_a_run_that_is_not_there_is_not_found() -> None:
    assert ended(Workflow("w").add_task("a", lambda: 1)).ok
    for name in ("nowhere", "", "../..", "0" * 36, "' OR 1=1 --"):
        with pytest.raises(NotFoundError):
            dirigent.attach(name)


def test_an_altered_history_is_not_believed(state: Path) -> None:
    run = ended(Workflow("w").add_task("a", lambda: 1))
    with sqlite3.connect(state / "journal.db") as database:
        place, body = database.execute(
            "SELECT place, body FROM events ORDER BY place DESC LIMIT 1"
        ).fetchone()
        database.execute("UPDATE events SET body = ? WHERE place = ?", [body + b" ", place])
    with pytest.raises(StorageError, match=run.id) as caught:
        dirigent.attach()
    assert caught.value.code == "journal.damaged"
    assert [head.status for head in dirigent.runs()] == ["succeeded"], "its head says what it said"


# --- a program of its own -------------------------------------------------------------------------

#: Its tasks write into `trace`; `wait` goes on when there is a file `go`.
PROGRAM = """
import os, sys, threading, time
from pathlib import Path
from dirigent import Workflow

HERE = Path(__file__).parent

def trace(name):
    with open(HERE / "trace", "a") as file:
        file.write(name + "\\n")

def rows():
    trace("rows")
    return [(1, "a"), (2, "b")]

def lock():
    trace("lock")
    return threading.Lock()

def one(item):
    trace(f"one {item}")
    if item == 2:
        wait()
    return item * 10

def wait():
    (HERE / "begun").touch()
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return "waited"

def total(rows, lock, items, tell):
    trace("total")
    assert lock.acquire(blocking=False) and tell.stdout == "told\\n"
    return rows, items

def workflow():
    wf = Workflow("nightly", max_concurrency=1)
    wf.add_task("rows", rows).add_task("lock", lock)
    wf.add_command("tell", ["sh", "-c", f"echo tell >> {HERE}/trace; echo told"])
    wf.add_map("items", one, [1, 2, 3], dependencies=["rows", "tell"])
    wf.add_task("total", total, ["rows", "lock", "items", "tell"])
    return wf

if __name__ == "__main__":
    run = workflow().run_sync(resume=sys.argv[1] if len(sys.argv) > 1 else None)
    print(run.id, run["total"])
"""


class Program:
    """A program with a workflow, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "program.py"
        self.path.write_text(PROGRAM)

    @contextmanager
    def under_way(self, *argv: str) -> Iterator[subprocess.Popen[str]]:
        """The program, which waits in the middle of the map."""
        with started([sys.executable, self.path, *argv], stdout=subprocess.PIPE) as process:
            wait_for("the second item", (self.path.parent / "begun").exists)
            yield process

    def killed(self) -> str:
        """A run whose engine was killed half-way; returns its id."""
        with self.under_way() as process:
            process.kill()
            process.wait(DEADLINE_S)
        self.go()
        return dirigent.runs()[0].id

    def go(self) -> None:
        """Let what waits go on."""
        (self.path.parent / "go").touch()

    def run(self, *argv: str) -> str:
        """The program from its beginning to its end; returns what it printed."""
        command = [sys.executable, self.path, *argv]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def trace(self) -> list[str]:
        """What its tasks have done so far, sorted."""
        return sorted((self.path.parent / "trace").read_text().splitlines())

    def workflow(self) -> Workflow:
        """Its workflow, in this process."""
        space: dict[str, Any] = {"__name__": "program", "__file__": str(self.path)}
        exec(compile(self.path.read_text(), self.path, "exec"), space)
        made: Workflow = space["workflow"]()
        return made


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A program that has not run yet."""
    return Program(tmp_path)


ROWS = [(1, "a"), (2, "b")]
ONCE = ["lock", "one 1", "one 2", "rows", "tell"]


def test_a_run_of_another_process_is_looked_at_while_it_runs(program: Program) -> None:
    with program.under_way() as process:
        [head] = dirigent.runs()
        assert (head.status, head.workflow, head.ended, dict(head.tasks)) == ("running", "nightly", None, {})
        run = dirigent.attach()
        assert (run.verdict, run.ok) == ("unfinished", False)
        assert run["rows"] == ROWS and run["items[0]"] == 10
        told = statuses(run)
        assert told["items[1]"] == "running" and told["total"] == "pending"
        with pytest.raises(BusyError) as caught:
            program.workflow().resume(head.id)
        assert caught.value.code == "journal.held" and str(process.pid) in str(caught.value)
        program.go()
        out, _ = process.communicate(timeout=DEADLINE_S)
    assert out == f"{head.id} {(ROWS, [10, 20, 30])}\n"
    assert dirigent.attach()["total"] == (ROWS, [10, 20, 30])


def test_a_run_that_was_killed_is_interrupted_and_its_values_are_there(program: Program) -> None:
    run_id = program.killed()
    [head] = dirigent.runs()
    assert (head.status, head.ended) == ("interrupted", None)
    run = dirigent.attach(run_id)
    assert (run.verdict, run.ok, run.failed) == ("unfinished", False, [])
    assert run["rows"] == ROWS and run["tell"].stdout == "told\n"
    assert program.trace() == ONCE


@pytest.mark.parametrize("how", ["last", "id", "head"])
def test_a_run_goes_on_where_it_was_and_does_nothing_twice(program: Program, how: str) -> None:
    run_id = program.killed()
    resume: Any = {"last": "last", "id": run_id, "head": dirigent.runs()[0]}[how]
    run = program.workflow().run_sync(resume=resume)
    assert run.id == run_id and run.ok
    assert run["total"] == (ROWS, [10, 20, 30])
    # What was under way is tried again, and what has no recorded value is made again.
    again = ["lock", "one 2", "one 3", "total"]
    assert program.trace() == sorted(ONCE + again)
    assert [head.status for head in dirigent.runs()] == ["succeeded"]
    assert dirigent.attach()["items"] == [10, 20, 30]


def test_a_run_goes_on_in_a_new_process(program: Program) -> None:
    run_id = program.killed()
    assert program.run("last") == f"{run_id} {(ROWS, [10, 20, 30])}\n"
    assert program.run("last").split()[0] != run_id, "where the last one is through, a new one starts"
    assert len(dirigent.runs()) == 2


def test_a_run_goes_on_as_often_as_it_has_to(program: Program) -> None:
    run_id = program.killed()
    for name in ("go", "begun"):
        (program.path.parent / name).unlink()
    with program.under_way("last") as process:
        process.kill()
        process.wait(DEADLINE_S)
    program.go()
    run = program.workflow().resume()
    assert run.id == run_id and run.ok and run["total"][1] == [10, 20, 30]
    assert run.tasks["items[1]"].attempts == 3
    assert [event["kind"] for event in run.events()].count("run_resumed") == 2


def test_where_nothing_is_to_go_on_that_is_told() -> None:
    wf = Workflow("w").add_task("a", lambda: 1)
    for _ in range(2):
        with pytest.raises(NotFoundError) as caught:
            wf.resume()
        assert caught.value.code == "run.nothing_to_resume"
        run = wf.run_sync(resume="last")
        assert run.ok
    with pytest.raises(NotFoundError):
        wf.resume("no-such-run")
    assert len(dirigent.runs()) == 2


#: Needs a change of the engine.
def test_a_run_that_is_over_does_not_go_on() -> None:
    wf = Workflow("w").add_task("a", lambda: 1)
    run = wf.run_sync()
    with pytest.raises(UsageError, match="is over: it succeeded"):
        wf.resume(run.id)


def test_a_map_under_way_whose_need_was_not_kept_says_so_and_stays_as_it_was(
    program: Program, tmp_path: Path
) -> None:
    text = program.path.read_text()
    program.path.write_text(
        text.replace('dependencies=["rows", "tell"]', 'dependencies=["rows", "tell", "lock"]')
    )
    run_id = program.killed()
    with pytest.raises(ValueNotKeptError, match="not kept"):
        program.workflow().resume(run_id)
    assert [run.status for run in dirigent.runs() if run.id == run_id] == ["interrupted"]


def test_a_cancelled_run_goes_on() -> None:
    gate, began, calls = threading.Event(), threading.Event(), []

    def slow(first: int) -> int:
        calls.append("slow")
        began.set()
        assert gate.wait(DEADLINE_S)
        return first + 1

    wf = Workflow("w").add_task("first", lambda: calls.append("first") or 1).add_task("slow", slow, ["first"])
    handle = wf.start()
    assert began.wait(DEADLINE_S)
    handle.cancel()
    gate.set()
    assert handle.wait(DEADLINE_S).verdict == "cancelled"
    assert [head.status for head in dirigent.runs()] == ["cancelled"]
    run = wf.resume()
    assert run.ok and run["slow"] == 2 and calls == ["first", "slow", "slow"]


def test_changed_code_is_refused_unless_it_is_wanted(program: Program) -> None:
    run_id = program.killed()
    text = program.path.read_text()
    program.path.write_text(text.replace('return [(1, "a"), (2, "b")]', 'return [(3, "c")]'))
    with pytest.raises(WorkflowChangedError, match="rows") as caught:
        program.workflow().resume(run_id)
    assert caught.value.code == "workflow.changed"
    assert [head.status for head in dirigent.runs()] == ["interrupted"], "nothing has happened to it"
    run = program.workflow().resume(run_id, changed="continue")
    assert run.ok and run["rows"] == ROWS, "what completed keeps its value"


def test_a_workflow_of_other_tasks_does_not_go_on_with_a_run(program: Program) -> None:
    run_id = program.killed()
    text = program.path.read_text()
    program.path.write_text(
        text.replace('.add_task("lock", lock)', '.add_task("key", lock).add_task("lock", lock)')
    )
    with pytest.raises(WorkflowChangedError, match="where it had task `lock`, there is `key` now"):
        program.workflow().resume(run_id, changed="continue")
    assert [head.status for head in dirigent.runs()] == ["interrupted"]


def test_code_that_changed_only_in_its_layout_has_not_changed(program: Program) -> None:
    program.killed()
    text = program.path.read_text()
    program.path.write_text(text.replace("def rows():\n", "def rows():\n\n    # The rows of tonight.\n"))
    assert program.workflow().resume().ok


def test_a_run_in_memory_cannot_go_on() -> None:
    wf = Workflow("w").add_task("a", lambda: 1)
    with pytest.raises(UsageError, match="a run that goes on is recorded"):
        wf.run_sync(durability="none", resume="last")
    with pytest.raises(WorkflowError):
        Workflow("v").add_task("a", lambda: 1).get_summary()


def test_what_python_recorded_the_program_tells(program: Program, state: Path) -> None:
    program.killed()
    command = [Path(sys.executable).parent / "dirigent", "show", "--state-dir", state]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S).stdout
    assert "nightly  " in shown and "interrupted" in shown
    assert "items[1]  was under way when its engine went" in shown
    assert "8 tasks: " in shown and "`Workflow.resume(" in shown
    told = json.loads(subprocess.run([*command, "--json"], capture_output=True, timeout=DEADLINE_S).stdout)
    assert told["verdict"] is None and told["counts"]["completed"] == 4
