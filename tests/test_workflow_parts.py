"""Workflows of parts, what is refused before anything runs, and the run as a mapping of values."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dirigent import (
    CycleError,
    DuplicateTaskError,
    RetryPolicy,
    Run,
    Task,
    TaskContext,
    TaskFailedError,
    TaskSkippedError,
    TaskStatus,
    UnknownTaskError,
    UsageError,
    Workflow,
    WorkflowError,
)

from tests.children import DEADLINE_S
from tests.workflows import ended, most_at_once, statuses, wait_for_status, wait_until_begun, whole


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "state"


def one() -> int:
    return 1


def fail() -> None:
    raise LookupError("no such row")


# --- a task for each item -------------------------------------------------------------------------


def test_the_value_of_a_map_is_whole_or_not_there() -> None:
    began, gate = threading.Event(), threading.Event()

    def slow(item: int) -> int:
        began.set()
        assert item == 0 or gate.wait(DEADLINE_S)
        return item

    handle = Workflow("w").add_map("m", slow, over=[0, 1]).start()
    wait_until_begun(began)
    place = handle.tasks._place("m")
    assert handle._session.value(place) is None
    gate.set()
    assert handle.wait(DEADLINE_S)["m"] == [0, 1]


def test_a_task_that_is_named_as_a_part_of_a_map_does_not_hide_other_tasks() -> None:
    wf = Workflow("w").add_task("m[1]", lambda: "mine").add_map("m", lambda item: item, over=[5, 6, 7])
    handle = wf.start()
    handle.wait(DEADLINE_S)
    run = handle.wait(DEADLINE_S)
    assert (run["m[1]"], run["m"], run["m[0]"], run["m[2]"]) == ("mine", [5, 6, 7], 5, 7)


def test_a_function_is_called_for_each_item() -> None:
    async def later(item: int) -> int:
        await asyncio.sleep(0)
        return item * 100

    wf = (
        Workflow("map")
        .add_map("m", lambda item: item * 10, [1, 2, 3])
        .add_map("on a loop", later, iter([4, 5]))
    )
    wf.add_map("with more", lambda item, plus: item + plus, ["a", "c"], kwargs={"plus": "!"})
    wf.add_task("after", lambda m: sum(m), ["m"])
    run = ended(wf)
    assert run["m"] == [10, 20, 30]
    assert run["on a loop"] == [400, 500]
    assert run["with more"] == ["a!", "c!"]
    assert run["after"] == 60
    assert run["m[1]"] == 20


def test_the_items_may_be_the_value_of_a_task() -> None:
    wf = Workflow("map").add_task("source", lambda: {"a": 1, "b": 2}).add_task("gate", one)
    wf.add_map("m", str.upper, "source", ["gate"]).add_map("again", lambda item: item + item, "m")
    wf.add_task("nothing", lambda: []).add_map("none", fail, "nothing")
    run = ended(wf)
    assert (run["m"], run["again"], run["none"]) == (["A", "B"], ["AA", "BB"], [])
    assert run.ok


def test_a_call_that_fails_fails_the_whole_and_its_own_error_is_kept() -> None:
    wf = Workflow("map", fail_fast=False).add_map("m", lambda item: 1 / item, [1, 0, 2])
    wf.add_task("after", one, ["m"]).add_task("number", lambda: 7).add_map("no items", str, "number")
    run = ended(wf)
    how = statuses(run)
    assert (how["m"], how["after"], how["no items"]) == ("failed", "skipped", "failed")
    assert (run["m[0]"], run["m[2]"]) == (1, 0.5)
    assert isinstance(run.tasks["m[1]"].error, ZeroDivisionError)
    assert isinstance(run.tasks["no items"].error, TypeError)
    with pytest.raises(TaskFailedError):
        run["m"]


def test_each_call_has_the_time_limit_and_the_attempts() -> None:
    calls = itertools.count()

    def flaky(item: int) -> int:
        if next(calls) < 2:
            fail()
        return item

    wf = Workflow("map", max_concurrency=1)
    wf.add_map("m", flaky, [1, 2], retry_policy=RetryPolicy(3, 0, jitter=0), timeout=DEADLINE_S)
    run = ended(wf)
    assert run["m"] == [1, 2]
    assert sum(run.tasks[name].attempts for name in ("m[0]", "m[1]")) == 4
    release = threading.Event()
    run = ended(Workflow("map").add_map("m", lambda _: release.wait(), [1], timeout=0.2))
    release.set()
    assert statuses(run) == {"m": "failed", "m[0]": "timed_out"}


def test_calls_take_the_options_of_functions() -> None:
    here, calls = os.getpid(), itertools.count()
    wf = Workflow("map", fail_fast=False, resources={"door": 1})
    wf.add_map("far", lambda item: (item, os.getpid() != here), [1, 2], isolation="process")
    wf.add_map("again", lambda _: next(calls), [1], repeat_until=lambda value: value == 2, max_repeats=5)
    wf.add_map("never", str, [1], repeat_until=lambda _: False, max_repeats=2)
    wf.add_map("one at a time", lambda _: threading.Event().wait(0.001), range(5), pool="door")
    wf.add_map("left out", one, [1], condition=lambda _: False)
    run = ended(wf)
    assert (run["far"], run["again"]) == ([(1, True), (2, True)], [2])
    assert (statuses(run)["never"], statuses(run)["left out"]) == ("failed", "skipped")
    assert most_at_once(run, (f"one at a time[{number}]" for number in range(5))) == 1


def test_a_limit_holds_back_the_calls_of_one_task_alone() -> None:
    beside = threading.Barrier(3)
    wf = Workflow("map").add_map("m", lambda _: threading.Event().wait(0.001), range(12), limit=2)
    wf.add_map("free", lambda _: beside.wait(DEADLINE_S), range(3))
    run = ended(wf)
    assert run.ok
    assert most_at_once(run, (f"m[{number}]" for number in range(12))) == 2


# --- workflows as tasks ---------------------------------------------------------------------------


def part() -> Workflow:
    inner = Workflow("part").add_task("make", lambda: [1, 2, 3])
    inner.add_map("each", lambda item: item * 10, "make")
    inner.add_task("sum", lambda each: sum(each), ["each"])
    return inner.add_task("left out", one, condition=lambda _: False)


def test_a_workflow_can_be_a_task() -> None:
    wf = Workflow("whole").add_task("first", one).add_workflow("part", part(), ["first"])
    wf.add_task("last", lambda part: part["sum"], ["part"])
    run = ended(wf)
    assert run["part"] == {"make": [1, 2, 3], "each": [10, 20, 30], "sum": 60}
    assert (run["last"], run["part/sum"], run["part/make"]) == (60, 60, [1, 2, 3])
    assert statuses(run)["part/left out"] == "skipped"
    assert run.ok


def test_a_workflow_can_be_a_task_of_several_and_still_run_alone() -> None:
    inner = Workflow("inner").add_task("a", lambda: 2).add_task("b", lambda a: a + 1, ["a"])
    middle = Workflow("middle").add_workflow("x", inner).add_task("c", lambda x: x["b"] + 1, ["x"])
    wf = Workflow("outer").add_workflow("left", inner).add_workflow("right", middle, ["left"])
    assert ended(wf)["right"] == {"x": {"a": 2, "b": 3}, "c": 4}
    assert dict(ended(inner)) == {"a": 2, "b": 3}
    assert ended(wf)["left"] == {"a": 2, "b": 3}


def test_tasks_of_parts_are_named_after_all_that_they_are_part_of() -> None:
    inner = Workflow("inner").add_task("a/b", lambda: 2).add_map("m", str, [5])
    middle = Workflow("middle").add_workflow("in", inner)
    run = ended(Workflow("outer").add_workflow("left", middle).add_workflow("right", inner))
    value = {"a/b": 2, "m": ["5"]}
    assert (run["left"], run["left/in"], run["right"]) == ({"in": value}, value, value)
    assert (run["left/in/a/b"], run["left/in/m[0]"], run["right/m[0]"]) == (2, "5", "5")


def test_coroutines_of_a_part_run_on_the_loop() -> None:
    async def later() -> int:
        await asyncio.sleep(0)
        return 5

    inner = Workflow("inner").add_task("later", later).add_task("plain", lambda later: later + 1, ["later"])
    assert ended(Workflow("outer").add_workflow("part", inner))["part"] == {"later": 5, "plain": 6}


def test_a_part_that_fails_fails_as_a_task() -> None:
    inner = Workflow("inner").add_task("bad", fail).add_task("fine", one)
    wf = Workflow("outer", fail_fast=False).add_workflow("part", inner).add_task("after", one, ["part"])
    wf.add_task("instead", lambda: 2, ["part"], trigger="any_failed")
    run = ended(wf)
    assert statuses(run) == {
        "part": "failed",
        "after": "skipped",
        "instead": "completed",
        "part/bad": "failed",
        "part/fine": "completed",
    }


def test_workflows_cannot_be_tasks_of_each_other() -> None:
    first, second = Workflow("first").add_task("x", one), Workflow("second")
    with pytest.raises(UsageError, match="cannot be a task of itself"):
        ended(first.add_workflow("second", second.add_workflow("first", first)))


def test_a_part_whose_condition_does_not_hold_has_no_tasks() -> None:
    wf = Workflow("outer").add_workflow("part", part(), condition=lambda _: False)
    assert statuses(ended(wf)) == {"part": "skipped"}


# --- approvals ------------------------------------------------------------------------------------


def test_an_approval_waits_without_a_slot_until_it_is_answered() -> None:
    wf = Workflow("ask", max_concurrency=1, fail_fast=False).add_approval("ok", "Publish?")
    wf.add_approval("not ok", "Delete?").add_task("other", one)
    wf.add_task("publish", one, ["ok"]).add_task("delete", one, ["not ok"])
    handle = wf.start()
    for name, status in {"ok": "waiting", "not ok": "waiting", "other": "completed"}.items():
        wait_for_status(handle, name, status)
    assert not handle.done
    with pytest.raises(KeyError):
        handle.approve("nobody")
    with pytest.raises(WorkflowError, match="waits for no answer") as caught:
        handle.approve("publish")
    assert caught.value.code == "task.not_waiting"
    handle.approve("ok", "fine by me")
    handle.reject("not ok", "too risky")
    run = whole(handle.wait(DEADLINE_S))
    assert statuses(run) == {
        "ok": "completed",
        "not ok": "failed",
        "other": "completed",
        "publish": "completed",
        "delete": "skipped",
    }
    assert "too risky" in run.tasks["not ok"].sentence
    assert run["ok"] is None
    with pytest.raises(WorkflowError, match="waits for no answer"):
        handle.reject("ok")


def test_an_approval_can_depend_on_a_condition() -> None:
    wf = (
        Workflow("ask")
        .add_task("a", one)
        .add_approval("no", "?", ["a"], condition=lambda r: r["a"].value > 1)
    )
    assert statuses(ended(wf)) == {"a": "completed", "no": "skipped"}


def test_an_approval_that_nobody_gives_runs_out_of_time() -> None:
    run = ended(Workflow("ask").add_approval("ok", "Publish?", timeout=0.05).add_task("publish", one, ["ok"]))
    assert statuses(run) == {"ok": "timed_out", "publish": "skipped"}


# --- what is refused ------------------------------------------------------------------------------


def test_a_cycle_is_named_by_its_shortest_circle(state_of_our_own: Path) -> None:
    wf = Workflow("cycle").add_task("start", one, ["a"])
    for name, need in zip("abcde", "bcdea", strict=True):
        wf.add_task(name, one, [need])
    wf.add_task("x", one, ["c", "y"]).add_task("y", one, ["x"])
    for check in (wf.validate, wf.run_sync, wf.start, lambda: asyncio.run(wf.run())):
        with pytest.raises(CycleError, match=r"x → y → x|y → x → y") as caught:
            check()
        assert sorted(caught.value.cycle) == ["x", "y"]
        assert caught.value.code == "workflow.cycle"
    assert not state_of_our_own.exists()


def test_an_unknown_need_names_what_was_probably_meant(state_of_our_own: Path) -> None:
    wf = Workflow("unknown").add_task("extract", one).add_task("load", one, ["extrakt"])
    with pytest.raises(UnknownTaskError, match=r"`load` depends on `extrakt`.*\n.*did you mean `extract`"):
        wf.run_sync()
    wf.add_task("extrakt", one)
    assert ended(wf).ok


def test_to_wait_for_the_failure_of_nothing_is_refused(state_of_our_own: Path) -> None:
    wf = Workflow("never").add_task("a", one).add_task("undo", one, trigger="any_failed")
    for check in (wf.validate, wf.run_sync, lambda: Workflow("outer").add_workflow("inner", wf)):
        with pytest.raises(
            WorkflowError, match=r"task `undo` waits for the failure.*\nhint: name those"
        ) as caught:
            check()
        assert caught.value.code == "workflow.never_starts"
    assert not state_of_our_own.exists()


def test_a_name_can_be_given_once() -> None:
    wf = Workflow("twice").add_task("a", one)
    for again in (wf.add_task, wf.add_map):
        with pytest.raises(DuplicateTaskError, match="named `a` already") as caught:
            again("a", one, ())
    with pytest.raises(DuplicateTaskError):
        wf.add_command("a", ["true"])
    with pytest.raises(DuplicateTaskError):
        wf.add_approval("a", "?")
    assert caught.value.code == "workflow.duplicate_task"
    assert len(wf) == 1 and dict(ended(wf)) == {"a": 1}


async def later(_: object) -> bool:
    return False


def with_context(context: TaskContext) -> None:
    context.log("never")


WRONG: list[tuple[str, Callable[[Workflow], object]]] = [
    ("`retires` is no option", lambda wf: wf.add_task("x", one, retires=3)),
    ("did you mean `trigger`", lambda wf: wf.add_task("x", one, tigger="always")),
    ("did you mean `priority`", lambda wf: wf.add_command("x", ["true"], prioritt=1)),
    ("did you mean `teardown`", lambda wf: wf.add_map("x", one, [], tear_down=True)),
    ("is no option", lambda wf: wf.add_workflow("x", Workflow("y"), nonsense=1)),
    ("is no option", lambda wf: wf.add_approval("x", "?", nonsense=1)),
    ("did you mean `all_success`", lambda wf: wf.add_task("x", one, trigger="all_sucess")),
    ("did you mean `process`", lambda wf: wf.add_task("x", one, isolation="proces")),
    ("is no resource.*\n.*did you mean `cpu`", lambda wf: wf.add_task("x", one, pool="cpus")),
    ("is no resource", lambda wf: wf.add_task("x", one, resources={"disk": 1})),
    ("wants 5 of `cpu`, and there is only 4", lambda wf: wf.add_task("x", one, resources={"cpu": 5})),
    ("timeout is a number of seconds above 0", lambda wf: wf.add_task("x", one, timeout=0)),
    ("timeout is a number of seconds above 0", lambda wf: wf.add_shell("x", "true", timeout=-1)),
    ("timeout is a number of seconds above 0", lambda wf: wf.add_approval("x", "?", timeout=float("nan"))),
    ("a delay is not negative", lambda wf: wf.add_task("x", one, repeat_until=bool, repeat_delay=-1)),
    ("the command of task `x` is empty", lambda wf: wf.add_command("x", [])),
    ("cannot be a task of itself", lambda wf: wf.add_workflow("x", wf)),
    ("answers at once", lambda wf: wf.add_task("x", one, condition=later)),
    ("answers at once", lambda wf: wf.add_task("x", one, transform_result=later)),
    ("answers at once", lambda wf: wf.add_task("x", one, repeat_until=later)),
    ("answers at once", lambda wf: wf.add_task("x", one, condition=True)),
    ("a list of names", lambda wf: wf.add_task("x", one, dependencies="a")),
    ("TaskContext", lambda wf: wf.add_task("x", with_context, isolation="process")),
    ("isolation", lambda wf: wf.add_workflow("x", Workflow("y"), isolation="process")),
    ("isolation", lambda wf: wf.add_command("x", ["true"], isolation="process")),
    ("repeat_until", lambda wf: wf.add_command("x", ["true"], repeat_until=bool)),
    ("max_attempts is 1 or more", lambda _: RetryPolicy(0)),
    ("exponential_base is 1 or more", lambda _: RetryPolicy(exponential_base=0.5)),
    ("jitter is from 0 to 1", lambda _: RetryPolicy(jitter=2)),
    ("a delay is not negative", lambda _: RetryPolicy(initial_delay=-1)),
    ("max_concurrency is 1 or more", lambda _: Workflow("w", max_concurrency=0)),
    ("timeout is a number of seconds above 0", lambda _: Workflow("w", timeout=0)),
    ("more than 0 of resource `cpu`", lambda _: Workflow("w", resources={"cpu": 0})),
    ("rate of `api` is not '10'", lambda _: Workflow("w", resources={"api": "10"})),
    ("rate of `api` is not '10/x'", lambda _: Workflow("w", resources={"api": "10/x"})),
    ("durability is `none`", lambda wf: wf.run_sync(durability="nonne")),
    ("durability is `none`", lambda wf: wf.start(durability=True)),
    ("changed is `refuse`, `continue` or `rerun`", lambda wf: wf.run_sync(changed="refused")),
    ("a run that goes on is recorded", lambda wf: wf.run_sync(durability="none", resume="last")),
    ("no parameters yet", lambda wf: wf.run_sync(params={"day": 1})),
]


@pytest.mark.parametrize(("message", "wrong"), WRONG, ids=range(len(WRONG)))
def test_what_makes_no_sense_is_refused_at_once(message: str, wrong: Callable[[Workflow], object]) -> None:
    wf = Workflow("refused", resources={"cpu": 4}).add_task("a", one)
    with pytest.raises(UsageError, match=message) as caught:
        wrong(wf)
    assert caught.value.code.startswith("usage.")
    assert "x" not in wf and len(wf) == 1
    assert ended(wf).ok


def test_an_action_that_cannot_be_called_is_refused() -> None:
    for wrong in (5, "text", None):
        with pytest.raises(TypeError, match="an action is a function"):
            Workflow("w").add_task("x", wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Workflow("w", fail_fats=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Workflow("w").add_task("x", one).run_sync(durabilty="none")  # type: ignore[call-arg]


# --- what was declared ----------------------------------------------------------------------------


def test_a_workflow_shows_what_was_declared() -> None:
    wf = Workflow("shown").add_task("a", one, tags=["x", "y"], metadata={"owner": "me"})
    wf.add_command("b", ["true"], ["a"], timeout=5, tags=["x"]).add_approval("c", "?", ["a", "b"])
    assert ("a" in wf, "z" in wf, len(wf)) == (True, False, 3)
    assert repr(wf) == "Workflow('shown', 3 tasks)"
    tasks = wf.tasks
    assert [type(task) for task in tasks.values()] == [Task] * 3
    assert (tasks["a"].tags, tasks["a"].metadata, tasks["a"].action) == ({"x", "y"}, {"owner": "me"}, one)
    assert (tasks["b"].dependencies, tasks["b"].timeout, tasks["c"].dependencies) == (("a",), 5, ("a", "b"))
    wf.validate()


def test_a_workflow_without_tasks_is_through_at_once() -> None:
    run = ended(Workflow("empty"))
    assert run.ok and len(run) == 0 and run.summary()["counts"] == {}


# --- the run --------------------------------------------------------------------------------------


@pytest.fixture
def mixed() -> Run:
    """A run of which one task completed, one failed, one command failed, and one was skipped."""
    wf = Workflow("mixed", fail_fast=False).add_task("fine", lambda: None).add_task("bad", fail)
    return ended(wf.add_command("command", ["false"]).add_task("after", one, ["bad"]))


def test_a_run_maps_completed_tasks_to_their_values(mixed: Run) -> None:
    assert dict(mixed) == {"fine": None}
    assert (len(mixed), list(mixed), mixed.get("fine", 5), mixed.get("nobody", 5)) == (1, ["fine"], None, 5)
    assert ("fine" in mixed, "bad" in mixed, "after" in mixed, "nobody" in mixed) == (
        True,
        False,
        False,
        False,
    )
    with pytest.raises(KeyError):
        mixed["nobody"]
    with pytest.raises(TaskSkippedError, match="task `after` was skipped") as skipped:
        mixed["after"]
    assert (skipped.value.code, skipped.value.task) == ("task.skipped", "after")


def test_a_failed_task_is_never_a_value(mixed: Run) -> None:
    with pytest.raises(TaskFailedError, match="task `bad` raised LookupError: no such row") as failed:
        mixed["bad"]
    assert failed.value.__cause__ is mixed.tasks["bad"].error
    assert isinstance(failed.value.__cause__, LookupError)
    assert (failed.value.code, failed.value.task) == ("task.failed", "bad")
    with pytest.raises(TaskFailedError, match="task `command` failed with exit code 1"):
        mixed["command"]
    with pytest.raises(TaskFailedError, match="`bad`") as first:
        mixed.raise_for_failures()
    assert isinstance(first.value.__cause__, LookupError)


def test_the_traceback_of_a_failure_begins_in_the_function(mixed: Run) -> None:
    error = mixed.tasks["bad"].error
    assert error is not None and error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code is fail.__code__


def test_every_task_has_a_result(mixed: Run) -> None:
    assert list(mixed.tasks) == ["fine", "bad", "command", "after"] and len(mixed.tasks) == 4
    fine, bad, after = mixed.tasks["fine"], mixed.tasks["bad"], mixed.tasks["after"]
    assert (fine.success, fine.value, fine.error, fine.attempts) == (True, None, None, 1)
    assert (bad.success, bad.value, bad.attempts, bad.status) == (False, None, 1, TaskStatus.FAILED)
    assert (after.success, after.value, after.error, after.attempts) == (False, None, None, 0)
    assert (fine.execution_time > 0, after.execution_time) == (True, 0)
    assert [result.name for result in mixed.failed] == ["bad", "command"]
    with pytest.raises(KeyError):
        mixed.tasks["nobody"]


def test_a_run_can_be_summed_up(mixed: Run) -> None:
    assert (mixed.ok, mixed.verdict, mixed.name) == (False, "failed", "mixed")
    assert mixed.summary() == {
        "run": mixed.id,
        "workflow": "mixed",
        "ok": False,
        "verdict": "failed",
        "tasks": 4,
        "counts": {"completed": 1, "failed": 2, "skipped": 1},
        "failed": [
            {"task": "bad", "sentence": "raised LookupError: no such row"},
            {"task": "command", "sentence": "failed with exit code 1"},
        ],
    }
    assert repr(mixed) == "<Run of 'mixed': failed; 1 completed, 2 failed, 1 skipped>"


def test_a_workflow_knows_its_last_run() -> None:
    outcomes: list[Any] = [1, 2]
    wf = Workflow("last").add_task("a", lambda: outcomes.pop(0))
    for ask in (wf.get_summary, lambda: wf.get_task_result("a")):
        with pytest.raises(WorkflowError, match="has not run yet") as caught:
            ask()
        assert caught.value.code == "workflow.no_run"
    wf.cancel()
    first, second = ended(wf), ended(wf)
    assert first.id != second.id
    assert (first["a"], second["a"], wf.get_task_result("a").value) == (1, 2, 2)
    assert wf.get_summary() == second.summary()
    with pytest.raises(KeyError):
        wf.get_task_result("b")


def test_a_result_can_be_looked_at_while_the_run_goes_on() -> None:
    began, go_on = threading.Event(), threading.Event()
    wf = Workflow("look").add_task("a", one)
    wf.add_task("b", lambda a: began.set() or go_on.wait(DEADLINE_S), ["a"]).add_task("c", one, ["b"])
    handle = wf.start()
    wait_until_begun(began)
    stands = [handle.tasks[name].status for name in "abc"]
    assert stands == [TaskStatus.COMPLETED, TaskStatus.RUNNING, TaskStatus.PENDING]
    assert (handle.tasks["a"].value, handle.tasks["b"].value, wf.get_task_result("a").value) == (1, None, 1)
    assert wf.get_summary()["counts"] == {"pending": 1, "running": 1, "completed": 1}
    go_on.set()
    assert whole(handle.wait(DEADLINE_S)).ok
