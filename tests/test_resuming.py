"""Runs that are cut short at one place and go on elsewhere: what waits, what is tried again, and code that has changed since."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.children import DEADLINE_S, started, wait_for
from tests.oracle import ask, check, events_of

#: What every program begins with. `cut` ends it for good, once for each name.
HEAD = """
import asyncio, functools, json, os, signal, sys, time
from pathlib import Path
from dirigent import RetryPolicy, TaskContext, Workflow, WorkflowChangedError

HERE = Path.cwd()

def cut(name="fuse"):
    fuse = HERE / name
    if not fuse.exists():
        fuse.touch()
        os.kill(os.getpid(), signal.SIGKILL)

def one():
    return 1

def tell(run):
    tasks = {name: [task.status.value, task.attempts, task.value] for name, task in run.tasks.items()}
    print(json.dumps([run.verdict, tasks]))
"""


class Program:
    """A program with a state folder of its own, that is started again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.environment = {**os.environ, "DIRIGENT_STATE_DIR": str(self.state)}

    def command(self, body: str) -> list[str | Path]:
        return [sys.executable, "-c", HEAD + body]

    def start(self, body: str) -> subprocess.CompletedProcess[str]:
        """Carry it out to its end, or until it is killed."""
        return subprocess.run(
            self.command(body),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    def is_killed(self, body: str) -> str:
        """Carry it out, see that it is killed, and return the id of the run that this cut short."""
        done = self.start(body)
        assert done.returncode == -signal.SIGKILL, done.stderr
        run = self.run()
        assert check(self.state, run) == "interrupted"
        return run

    def ends(self, body: str) -> tuple[str, dict[str, Any]]:
        """Carry it out to its end, and return the verdict and what became of each task."""
        done = self.start(body)
        assert done.returncode == 0, done.stderr
        verdict, tasks = json.loads(done.stdout)
        assert check(self.state, self.run()) == verdict
        return verdict, tasks

    def run(self) -> str:
        """The id of the only run."""
        [head] = json.loads(ask(self.state, "runs", "--json"))
        return str(head["id"])


@pytest.fixture
def program_of_ours(tmp_path: Path) -> Program:
    return Program(tmp_path)


# --- what was under way ---------------------------------------------------------------------------


@pytest.mark.fault("E1", "kill -9 while approvals wait and after an answer")
def test_an_approval_still_waits_and_an_answer_is_not_asked_for_twice(program_of_ours: Program) -> None:
    body = """
wf = Workflow("release").add_task("a", one)
wf.add_approval("first", "?", ["a"]).add_task("b", lambda: (cut(), 2)[1], ["first"])
wf.add_approval("second", "?", ["b"]).add_task("c", lambda: 3, ["second"])
handle = wf.start(resume="last")
for event in handle.events():
    name = event["kind"] == "wait_started" and list(handle.tasks)[event["task"]]
    if name and handle.tasks[name].status == "waiting":
        if name == "second":
            cut("while it waits")
        handle.approve(name, comment="by one of several")
tell(handle.wait())
"""
    program_of_ours.is_killed(body)
    program_of_ours.is_killed(body)
    verdict, tasks = program_of_ours.ends(body)
    assert verdict == "succeeded"
    assert {name: task[2] for name, task in tasks.items()} == {
        "a": 1, "first": None, "b": 2, "second": None, "c": 3,
    }  # fmt: skip
    kinds = [event["kind"] for event in events_of(program_of_ours.state, program_of_ours.run())]
    assert (kinds.count("wait_started"), kinds.count("wait_answered")) == (2, 2)


@pytest.mark.fault("E1", "kill -9 during a delay between attempts")
def test_a_delay_before_another_try_is_kept(program_of_ours: Program) -> None:
    body = """
def fail(context: TaskContext):
    if context.attempt < 3:
        raise OSError("not yet")
    return "at last"

wf = Workflow("delays").add_task("flaky", fail, retry_policy=RetryPolicy(3, initial_delay=1, exponential_base=1))
handle = wf.start(resume="last")
for event in handle.events():
    if event["kind"] == "attempt_ended" and event["attempt"] == 1:
        cut()
tell(handle.wait())
"""
    run = program_of_ours.is_killed(body)
    verdict, tasks = program_of_ours.ends(body)
    assert (verdict, tasks) == ("succeeded", {"flaky": ["completed", 3, "at last"]})
    events = events_of(program_of_ours.state, run)
    ends = [event for event in events if event["kind"] == "attempt_ended"]
    assert [end["outcome"] for end in ends] == ["raised", "raised", "returned"]
    begins = [event["at_ms"] for event in events if event["kind"] == "attempt_started"]
    assert begins[1] >= ends[0]["at_ms"] + 800 and begins[2] >= ends[1]["at_ms"] + 800


@pytest.mark.fault("E1", "kill -9 inside of workflows in workflows")
def test_parts_of_parts_go_on_where_they_were(program_of_ours: Program) -> None:
    body = """
def record(item, context: TaskContext):
    with (HERE / "ledger").open("a") as file:
        file.write(f"{context.idempotency_key.rpartition('-')[2]}\\n")
    if item == 2:
        cut("fuse of " + context.task.replace("/", "-"))
    return item * 10

def build(name, depth):
    wf = Workflow(name, max_concurrency=1).add_task("items", lambda: [1, 2, 3])
    wf.add_map("m", record, over="items")
    if depth:
        wf.add_workflow("in", build("inner", depth - 1), ["m"])
    return wf

run = build("outer", 2).run_sync(resume="last")
tell(run)
assert run["in"] == {"items": [1, 2, 3], "m": [10, 20, 30], "in": {"items": [1, 2, 3], "m": [10, 20, 30]}}
"""
    for _ in range(3):
        program_of_ours.is_killed(body)
    verdict, tasks = program_of_ours.ends(body)
    assert verdict == "succeeded" and {task[0] for task in tasks.values()} == {"completed"}
    # Nine calls, and three of them a second time.
    lines = (program_of_ours.folder / "ledger").read_text().split()
    assert (len(lines), len(set(lines))) == (12, 9)


@pytest.mark.fault("E1", "kill -9 in conditions, commands and coroutines")
def test_conditions_commands_and_coroutines_go_on(program_of_ours: Program) -> None:
    body = """
async def later(a):
    await asyncio.sleep(0)
    cut("in a coroutine")
    return a + 1

def asked(results):
    cut("in a condition")
    return results["a"].value == 1

wf = Workflow("mixed", max_concurrency=1).add_task("a", one).add_task("later", later, ["a"])
wf.add_task("if", lambda: "asked", ["later"], condition=asked)
wf.add_task("not", one, ["if"], condition=lambda results: False)
wf.add_shell("line", f"test -e '{HERE}/in a command' && exit 0; touch '{HERE}/in a command'; kill -9 $PPID; sleep 600",
             ["if"])
wf.add_task("end", lambda line: line.exit_code, ["line"])
wf.add_task("clear", lambda: cut("in a teardown"), teardown=True)
run = wf.run_sync(resume="last")
print(json.dumps([run.verdict, {name: [task.status.value, task.attempts] for name, task in run.tasks.items()}]))
"""
    program_of_ours.is_killed(body)
    program_of_ours.is_killed(body)
    # The command kills its guard, which is replaced; the engine lives on.
    program_of_ours.is_killed(body)
    verdict, tasks = program_of_ours.ends(body)
    assert verdict == "succeeded"
    assert tasks == {
        "a": ["completed", 1], "later": ["completed", 2], "if": ["completed", 1], "not": ["skipped", 0],
        "line": ["completed", 2], "end": ["completed", 1], "clear": ["completed", 2],
    }  # fmt: skip


@pytest.mark.fault("E5", "SIGINT, and the run goes on")
@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_run_that_ctrl_c_ended_is_cancelled_and_goes_on(program_of_ours: Program, durability: str) -> None:
    body = f"""
def slow():
    if not (HERE / "began").exists():
        (HERE / "began").touch()
        time.sleep(600)
    return "slept"

signal.signal(signal.SIGINT, signal.default_int_handler)
wf = Workflow("interrupted").add_task("a", one).add_task("slow", slow, ["a"]).add_task("b", one, ["slow"])
try:
    tell(wf.run_sync(resume="last", durability="{durability}"))
except KeyboardInterrupt:
    time.sleep({DEADLINE_S})
"""
    with started(
        program_of_ours.command(body), cwd=program_of_ours.folder, env=program_of_ours.environment
    ) as it:
        wait_for("the slow one", lambda: (program_of_ours.folder / "began").exists())
        it.send_signal(signal.SIGINT)
        wait_for("the end", lambda: '"cancelled"' in ask(program_of_ours.state, "runs", "--json"))
    run = program_of_ours.run()
    assert check(program_of_ours.state, run) == "cancelled"
    verdict, tasks = program_of_ours.ends(body)
    assert (verdict, program_of_ours.run()) == ("succeeded", run)
    assert tasks == {
        "a": ["completed", 1, 1], "slow": ["completed", 2, "slept"], "b": ["completed", 1, 1],
    }  # fmt: skip


# --- code that has changed ------------------------------------------------------------------------

TWO = """
{before}
wf = Workflow("edited")
wf.add_task("first", {first})
wf.add_task("second", {second}, ["first"])
try:
    tell(wf.run_sync(resume="last", changed="{changed}"))
except WorkflowChangedError as error:
    print(json.dumps(["refused", str(error)]))
"""

PLAIN = {"before": "def f(): return 1", "first": "f", "second": "lambda first: (cut(), first + 1)[1]"}

#: What the program said at first (or what is above), what it says then, and whether the first task does something else.
EDITS: dict[str, tuple[dict[str, str], dict[str, str], bool]] = {
    "nothing": ({}, {}, False),
    "a comment": ({}, {"before": "def f():\n    # one\n    return 1"}, False),
    "the body": ({}, {"before": "def f(): return 3"}, True),
    "the second task alone": ({}, {"second": "lambda first: (cut(), first + 1, 5)[1]"}, False),
    "a lambda": ({"first": "lambda: 1"}, {"first": "lambda: 3"}, True),
    "what a closure holds": (
        {"before": "def make(n):\n    return lambda: n\nf = make(1)"},
        {"before": "def make(n):\n    return lambda: n\nf = make(3)"},
        True,
    ),
    "a function that it calls": (
        {"before": "def g(): return 1\ndef f(): return g()"},
        {"before": "def g(): return 3\ndef f(): return g()"},
        True,
    ),
    "a default": ({"before": "def f(n=1): return n"}, {"before": "def f(n=3): return n"}, True),
    "a constant": ({"before": "N = 1\ndef f(): return N"}, {"before": "N = 3\ndef f(): return N"}, True),
    "an argument of a partial": (
        {"before": "def g(n): return n\nf = functools.partial(g, 1)"},
        {"before": "def g(n): return n\nf = functools.partial(g, 3)"},
        True,
    ),
    "a coroutine": ({"before": "async def f(): return 1"}, {"before": "async def f(): return 3"}, True),
}


@pytest.mark.fault("P6", "code edited between start and resume")
@pytest.mark.parametrize("edit", EDITS)
def test_a_task_that_completed_and_does_something_else_now_is_noticed(
    program_of_ours: Program, edit: str
) -> None:
    old, new, is_noticed = EDITS[edit]
    run = program_of_ours.is_killed(TWO.format(**{**PLAIN, **old}, changed="refuse"))
    edited = {**PLAIN, **old, **new}
    through = {"first": ["completed", 1, 1], "second": ["completed", 2, 2]}
    if not is_noticed:
        assert program_of_ours.ends(TWO.format(**edited, changed="refuse")) == ("succeeded", through)
        return
    done = program_of_ours.start(TWO.format(**edited, changed="refuse"))
    assert done.returncode == 0, done.stderr
    word, message = json.loads(done.stdout)
    assert word == "refused"
    assert message.startswith(
        f"run {run} is of another workflow: task `first` does something else now\nhint: "
    )
    assert check(program_of_ours.state, run) == "interrupted"
    assert program_of_ours.ends(TWO.format(**edited, changed="continue")) == ("succeeded", through)


@pytest.mark.fault("P6", "other tasks between start and resume")
def test_a_run_of_other_tasks_is_refused_whatever_is_to_be_done_about_changes(
    program_of_ours: Program,
) -> None:
    run = program_of_ours.is_killed(TWO.format(**PLAIN, changed="refuse"))
    other = TWO.replace('"second"', '"another"')
    more = TWO.replace("try:", 'wf.add_task("more", one)\ntry:')
    fewer = TWO.replace('wf.add_task("second"', '0 and wf.add_task("second"')
    needs = TWO.replace(', ["first"]', "").replace("lambda first:", "lambda first=1:")
    for body, word in [
        (other, "another"),
        (more, "had 2 tasks"),
        (fewer, "had 2 tasks"),
        (needs, "depends on"),
    ]:
        for changed in ("refuse", "continue"):
            done = program_of_ours.start(body.format(**PLAIN, changed=changed))
            assert done.returncode == 0, done.stderr
            told = json.loads(done.stdout)
            assert told[0] == "refused" and word in told[1]
    assert check(program_of_ours.state, run) == "interrupted"
