"""Flows that go on: killed at any moment, interrupted, changed. What completed is not carried out again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import dirigent
import pytest
from dirigent import (
    Flow,
    TaskCancelledError,
    TaskFailedError,
    UsageError,
    WorkflowChangedError,
    flow,
    task,
)
from dirigent._flow import TaskFunction

from tests.children import DEADLINE_S
from tests.durable_flows import FLOWS, raising
from tests.flows import until_interrupted

PROGRAM = Path(__file__).with_name("durable_flows.py")


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


class Program:
    """The program of durable flows, with a ledger and a state folder of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        folder.mkdir()
        self.name = name
        self.ledger, self.state, self.value = folder / "ledger", folder / "state", folder / "value"

    def carry_out(self, *words: str, kill_at: int = 0, by: int = signal.SIGKILL) -> int:
        """Run it, and return how it ended."""
        env = {**os.environ, "DIRIGENT_STATE_DIR": str(self.state)}
        env |= {"KILL_AT": str(kill_at), "KILL_BY": str(int(by))}
        argv = [sys.executable, PROGRAM, self.name, self.ledger, self.value, *words]
        done = subprocess.run(argv, env=env, stderr=subprocess.PIPE, timeout=DEADLINE_S)
        assert done.returncode in (0, -by), done.stderr.decode()
        return done.returncode

    def signatures(self) -> Counter[str]:
        """How often each task and attempt has signed."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return Counter(line for line in lines if line != "body")

    def run(self) -> dirigent.Run:
        """Its one run, as it is recorded."""
        (head,) = dirigent.runs(state_dir=self.state)
        return dirigent.attach(head.id, state_dir=self.state)


def ends(run: dirigent.Run) -> dict[str, tuple[str, int]]:
    """How each task stands, and after how many attempts."""
    told: dict[int, tuple[str, int]] = {}
    for event in run.events():
        if event["kind"] == "attempt_ended":
            told[event["task"]] = (event["outcome"], event["attempt"])
    return {name: told.get(index, ("open", 0)) for index, name in enumerate(run.tasks)}


def whole(name: str, folder: Path) -> tuple[Program, object, int]:
    """The program carried out without a break: with what it gives, and how many sign."""
    program = Program(name, folder / "whole")
    assert program.carry_out() == 0
    return program, json.loads(program.value.read_text()), len(program.ledger.read_text().splitlines())


def is_made_again(flow: str, task: str) -> bool:
    """Whether what a task gives cannot be recorded."""
    return flow == "lost values" and task == "load_once"


def check_nothing_is_made_twice(program: Program, before: dict[str, tuple[str, int]]) -> None:
    after = ends(program.run())
    for name, end in before.items():
        if end[0] == "returned" and not is_made_again(program.name, name):
            assert after[name] == end, name
    # Of a coroutine the beginning and the end sign.
    most = 2 if program.name in ("mixed", "asynchronous") else 1
    assert max(program.signatures().values()) <= most


@pytest.mark.fault("E1", "kill -9 at any place of a flow")
@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_that_is_killed_anywhere_goes_on_and_makes_nothing_twice(name: str, tmp_path: Path) -> None:
    unbroken, value, count = whole(name, tmp_path)
    for kill_at in range(1, count + 1):
        killed = Program(name, tmp_path / str(kill_at))
        assert killed.carry_out(kill_at=kill_at) == -signal.SIGKILL
        before = ends(killed.run())
        assert killed.carry_out("resume") == 0, kill_at
        assert json.loads(killed.value.read_text()) == value, kill_at
        assert killed.run().ok and sorted(ends(unbroken.run())) == sorted(ends(killed.run())), kill_at
        check_nothing_is_made_twice(killed, before)


@pytest.mark.fault("E2", "kill -9 of a flow, again and again")
@pytest.mark.parametrize("name", ["maps", "asynchronous", "nested"])
def test_a_flow_that_is_killed_again_and_again_gets_through(name: str, tmp_path: Path) -> None:
    unbroken, value, count = whole(name, tmp_path)
    chance = random.Random(7)
    for number in range(4):
        killed = Program(name, tmp_path / str(number))
        words, before = [], {}
        for _ in range(3):
            killed.carry_out(*words, kill_at=chance.randint(1, count))
            words, before = ["resume"], ends(killed.run())
            check_nothing_is_made_twice(killed, before)
        assert killed.run().verdict != "unfinished" or killed.carry_out("resume") == 0
        assert json.loads(killed.value.read_text()) == value
        assert sorted(ends(unbroken.run())) == sorted(ends(killed.run()))


@pytest.mark.parametrize("name", ["loop", "maps", "mixed", "asynchronous"])
def test_a_flow_goes_on_after_ctrl_c(name: str, tmp_path: Path) -> None:
    unbroken, value, count = whole(name, tmp_path)
    for stop_at in range(1, count + 1, 3):
        stopped = Program(name, tmp_path / str(stop_at))
        assert stopped.carry_out(kill_at=stop_at, by=signal.SIGINT) == -signal.SIGINT
        before = ends(stopped.run())
        assert stopped.carry_out("resume") == 0, stop_at
        assert json.loads(stopped.value.read_text()) == value, stop_at
        assert stopped.run().ok and sorted(ends(unbroken.run())) == sorted(ends(stopped.run())), stop_at
        check_nothing_is_made_twice(stopped, before)


def test_a_body_that_had_raised_when_it_was_killed_is_not_carried_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program("raising", tmp_path / "raising")
    assert program.carry_out() == -signal.SIGKILL
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(program.state))
    with pytest.raises(TaskFailedError, match="raised LookupError: no such 1"):
        raising.with_options(resume="last")(1)
    run = program.run()
    assert (run.verdict, run.tasks["slow"].status) == ("failed", "cancelled")


# --- in this process ----------------------------------------------------------------------------


class Halt:
    """Tasks that note what they are called with; at one argument the run is cancelled, as if by Ctrl-C."""

    def __init__(self, at: Any) -> None:
        self.at = at
        self.seen: list[Any] = []
        self.reached = threading.Event()

    def __call__(self, x: Any) -> Any:
        self.seen.append(x)
        if x == self.at:
            self.at = None
            self.reached.set()
            until_interrupted(threading.Event(), threading.Event())
        return x

    def halt(self, flow: Flow[..., Any], *args: Any) -> str:
        """Start a flow, cancel it at that argument, and return the id of its run."""
        handle = flow.submit(*args)
        assert self.reached.wait(DEADLINE_S)
        handle.cancel()
        with pytest.raises(TaskCancelledError):
            handle.result(DEADLINE_S)
        return handle.run.id


def noting(halt: Halt) -> TaskFunction:
    @task
    def note(x: Any) -> Any:
        return halt(x)

    return note


def test_other_arguments_are_reported_before_anything_is_carried_out() -> None:
    halt = Halt(at=2)
    note = noting(halt)

    @flow
    def changing(values: list[int]) -> list[int]:
        return [note(value).result() for value in values]

    halt.halt(changing, [1, 2, 3])
    again = changing.with_options(resume="last")
    with pytest.raises(
        WorkflowChangedError, match=r"called task `note\[1\]`, it calls `note\[1\]` with"
    ) as told:
        again([1, 4, 3])
    assert told.value.code == "workflow.changed" and halt.seen == [1, 2]
    # Nothing is lost: it goes on with the right ones.
    assert again([1, 2, 3]) == [1, 2, 3] and halt.seen == [1, 2, 2, 3]


def test_a_body_that_calls_less_is_reported_when_it_returns() -> None:
    halt = Halt(at=2)
    note = noting(halt)

    @flow
    def changing(values: list[int]) -> list[int]:
        return [note(value).result() for value in values]

    halt.halt(changing, [1, 2])
    with pytest.raises(
        WorkflowChangedError, match=r"has not called task `note\[1\]` with the same arguments"
    ):
        changing.with_options(resume="last")([1])
    assert changing.with_options(resume="last")([1, 2]) == [1, 2] and halt.seen == [1, 2, 2]


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_changed_body_does_not_call_is_forgotten_where_that_is_wanted(is_async: bool) -> None:
    halt = Halt(at=2)
    note = noting(halt)

    @flow
    def plain(values: list[int]) -> list[int]:
        return [note(value).result() for value in values]

    @flow
    async def asynchronous(values: list[int]) -> list[int]:
        return [await note(value) for value in values]

    changing: Flow[..., Any] = asynchronous if is_async else plain
    halt.halt(changing, [1, 2, 3])
    handle = changing.with_options(resume="last", changed="continue").submit([5, 1, 6])
    assert handle.result(DEADLINE_S) == [5, 1, 6] and halt.seen == [1, 2, 5, 6]
    run = handle.run.wait(DEADLINE_S)
    assert run.ok and run.tasks["note[1]"].status == "cancelled"


def test_a_coroutine_body_that_calls_something_else_is_reported_when_it_returns() -> None:
    halt = Halt(at=2)
    note = noting(halt)

    @flow
    async def changing(values: list[int]) -> list[int]:
        return [await note(value) for value in values]

    halt.halt(changing, [1, 2])
    with pytest.raises(WorkflowChangedError, match=r"has not called task `note\[1\]`"):
        changing.with_options(resume="last").submit([1]).result(DEADLINE_S)
    assert changing.with_options(resume="last").submit([1, 2]).result(DEADLINE_S) == [1, 2]
    assert halt.seen == [1, 2, 2]


@pytest.mark.fault("P6", "a flow's tasks edited between start and resume")
@pytest.mark.parametrize(("at", "is_refused"), [(3, True), (2, False)])
def test_what_completed_may_not_do_something_else_now(at: int, is_refused: bool) -> None:
    halt = Halt(at)

    def version(offset: int) -> Flow[..., Any]:
        @task
        def first(x: int) -> int:
            return halt(x)  # type: ignore[no-any-return]

        @task
        def second(x: int) -> int:
            return halt(x) + offset  # type: ignore[no-any-return]

        @flow
        def versioned() -> int:
            return first(1).result() + second(2).result() + first(3).result()  # type: ignore[no-any-return]

        return versioned

    halt.halt(version(0))
    if not is_refused:
        assert version(10).with_options(resume="last")() == 16
        return
    with pytest.raises(WorkflowChangedError, match="task `second` does something else now"):
        version(10).with_options(resume="last")()
    assert version(10).with_options(resume="last", changed="continue")() == 6
    assert halt.seen == [1, 2, 3, 3]


def test_a_map_whose_items_are_made_again_has_to_have_the_same_calls() -> None:
    halt = Halt(at=2)
    note, sizes = noting(halt), iter([3, 4, 3])

    @task
    def counted() -> Any:
        return (number for number in range(next(sizes)))  # which cannot be recorded

    @flow
    def mapping() -> list[int]:
        return note.map(counted()).result()  # type: ignore[no-any-return]

    halt.halt(mapping)
    assert sorted(halt.seen) == [0, 1, 2]
    with pytest.raises(WorkflowChangedError, match="made 3 calls, and makes 4 now"):
        mapping.with_options(resume="last")()
    assert mapping.with_options(resume="last")() == [0, 1, 2]
    assert sorted(halt.seen) == [0, 1, 2, 2]


def test_a_failure_that_the_body_looked_at_stays_one() -> None:
    halt = Halt(at=1)
    note = noting(halt)

    @task
    def fail() -> None:
        halt.seen.append("failed")
        raise LookupError("no such row")

    @flow
    def careful() -> Any:
        try:
            fail().result()
        except TaskFailedError as error:
            assert "raised LookupError: no such row" in str(error)
        return note(1)

    halt.halt(careful)
    assert careful.with_options(resume="last")() == 1
    assert halt.seen == ["failed", 1, 1]


def test_with_one_place_a_call_that_is_not_made_again_keeps_no_other_waiting() -> None:
    halt = Halt(at=1)
    note = noting(halt)

    @flow(max_concurrency=1)
    def narrow(values: list[int]) -> list[int]:
        return [note(value).result() for value in values]

    halt.halt(narrow, [1])
    assert narrow.with_options(resume="last", changed="continue")([2, 3]) == [2, 3]


def test_the_last_run_is_not_gone_on_with_where_it_is_through() -> None:
    halt = Halt(at=None)
    note = noting(halt)

    @flow
    def through(x: int) -> int:
        return note(x).result()  # type: ignore[no-any-return]

    handle = through.with_options(resume="last").submit(1)
    assert handle.result(DEADLINE_S) == 1
    assert through.with_options(resume="last")(2) == 2 and halt.seen == [1, 2]
    with pytest.raises(UsageError, match="is over: it succeeded"):
        through.with_options(resume=handle.run.id)(1)


def test_a_method_goes_on_with_its_object() -> None:
    halt = Halt(at=2)

    class Report:
        def __init__(self, title: str) -> None:
            self.title = title

        @task
        def line(self, x: int) -> str:
            return f"{self.title} {halt(x)}"

        @flow
        def lines(self, count: int) -> list[str]:
            return [self.line(number).result() for number in range(1, count + 1)]

    halt.halt(Report("a").lines, 3)
    with pytest.raises(WorkflowChangedError):
        Report("b").lines.with_options(resume="last")(3)
    assert Report("a").lines.with_options(resume="last")(3) == ["a 1", "a 2", "a 3"]
    assert halt.seen == [1, 2, 2, 3]


def test_options_that_make_no_sense_are_named() -> None:
    @flow
    def inner() -> int:
        return 1

    @flow
    def outer() -> int:
        return inner.with_options(resume="last")()

    with pytest.raises(UsageError, match="`refuse` or `continue`"):
        inner.with_options(changed="maybe")
    with pytest.raises(UsageError, match="is part of another one here"):
        outer()
