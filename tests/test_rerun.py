"""Running again what changed: a new run takes over from an old one what does the same, and needs nothing else."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path
from typing import Any

import dirigent
import pytest
from dirigent import (
    Run,
    TaskFailedError,
    UsageError,
    Workflow,
    WorkflowChangedError,
    flow,
    task,
)

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    CALLS.clear()
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def taken() -> list[str]:
    calls = sorted(CALLS)
    CALLS.clear()
    return calls


def noting(name: str, value: Any) -> Any:
    def note(**_: object) -> Any:
        CALLS.append(name)
        return value

    return note


def diamond(left: Any = None, fails: bool = False, **more: Any) -> Workflow:
    """A task, two that need it, one that needs both; beside it a map, a sub-workflow, a command, and a teardown."""

    def right(top: Any) -> tuple[int, ...]:
        CALLS.append("right")
        if fails:
            raise LookupError("no such row")
        return (2,)

    inner = Workflow("inner").add_task("deep", noting("deep", {5}))
    wf = Workflow("diamond", fail_fast=False)
    wf.add_task("top", noting("top", (1,)))
    wf.add_task("left", left or noting("left", 1), ["top"]).add_task("right", right, ["top"])
    wf.add_task("bottom", lambda left, right: (left, *right), ["left", "right"])
    wf.add_map("squares", lambda item: (CALLS.append("square"), item**2)[1], over=more.get("items", [1, 2]))
    wf.add_task("sum", lambda squares: sum(squares), ["squares"])
    wf.add_workflow("inner", inner).add_task("of inner", lambda inner: inner["deep"], ["inner"])
    wf.add_command("tell", more.get("argv", ["echo", "one"]))
    wf.add_task("clear", noting("clear", None), teardown=True)
    return wf


def reused(run: Run) -> set[str]:
    names = list(run.tasks)
    return {names[event["task"]] for event in run.events() if event["kind"] == "task_reused"}


ALL = ["clear", "deep", "left", "right", "square", "square", "top"]
THROUGH = {"top", "left", "right", "bottom", "squares", "sum", "inner", "of inner", "tell"}


def test_what_failed_runs_again_with_what_needs_it_and_nothing_else() -> None:
    old = diamond(fails=True).run_sync()
    assert not old.ok and taken() == ALL
    new = diamond().run_sync(resume=old.id, changed="rerun")
    assert new.id != old.id and new.ok and taken() == ["clear", "right"]
    assert reused(new) == THROUGH - {"right", "bottom"}
    assert new["bottom"] == (1, 2) and new["top"] == (1,) and new["sum"] == 5
    assert new["squares"] == [1, 4] and new["inner"] == {"deep": {5}} and new["tell"].stdout == "one\n"
    assert set(run["from"] for run in new.events() if run["kind"] == "task_reused") == {old.id}
    # The old one is as it was; a third run names whoever carried a task out.
    assert dirigent.attach(old.id).verdict == "failed"
    third = diamond().run_sync(resume=new, changed="rerun")
    assert third.ok and taken() == ["clear"] and reused(third) == THROUGH
    origins = {list(third.tasks)[e["task"]]: e["from"] for e in third.events() if e["kind"] == "task_reused"}
    assert (origins["top"], origins["right"]) == (old.id, new.id)


def test_what_changed_runs_again_with_what_needs_it() -> None:
    old = diamond().run_sync()
    taken()

    def other(top: Any) -> int:
        CALLS.append("other")
        return 7

    new = diamond(left=other).run_sync(resume="last", changed="rerun")
    assert new.id != old.id and taken() == ["clear", "other"]
    assert new["bottom"] == (7, 2) and reused(new) == THROUGH - {"left", "bottom"}


def test_other_items_and_other_commands_are_changes() -> None:
    diamond().run_sync()
    taken()
    new = diamond(items=[1, 2, 3]).run_sync(resume="last", changed="rerun")
    assert new["sum"] == 14 and taken() == ["clear", "square", "square", "square"]
    new = diamond(items=[1, 2, 3], argv=["echo", "two"]).run_sync(resume="last", changed="rerun")
    assert new["tell"].stdout == "two\n" and taken() == ["clear"] and "tell" not in reused(new)


def test_tasks_may_come_and_go_and_need_others() -> None:
    Workflow("w").add_task("a", noting("a", 1)).add_task("b", noting("b", 2), ["a"]).run_sync()
    taken()
    wf = Workflow("w").add_task("new", noting("new", 0)).add_task("b", noting("b", 2), ["new"])
    wf.add_task("a", noting("a", 1))
    new = wf.run_sync(resume="last", changed="rerun")
    assert new.ok and taken() == ["b", "new"] and reused(new) == {"a"}


def arguments(*args: Any, **kwargs: Any) -> Workflow:
    return Workflow("w").add_task("a", lambda *args, **kwargs: CALLS.append("a"), args=args, kwargs=kwargs)


class Plain:
    """Something that is no plain data."""


OTHERS = [
    ((1,), (2,)),
    (("a",), ("b",)),
    (([1, (2, {"x": None})],), ([1, (2, {"x": 0})],)),
    ((date(2026, 1, 1),), (date(2026, 1, 2),)),
    (({1, 2},), ({1, 3},)),
    ((Path("a"),), (Path("b"),)),
    ((1,), (1.0,)),
    ((abs,), (1,)),
    ((b"x" * 20_000,), (b"x" * 20_001,)),
]


@pytest.mark.parametrize(("old", "new"), OTHERS, ids=range(len(OTHERS)))
def test_other_arguments_of_what_completed_are_noticed(old: tuple[Any, ...], new: tuple[Any, ...]) -> None:
    def cut_short(args: tuple[Any, ...]) -> None:
        wf = arguments(*args).add_approval("ok", "?", ["a"])
        handle = wf.start()
        for event in handle.events():
            if event["kind"] == "wait_started":
                handle.cancel()
        handle.wait()

    cut_short(old)
    changed = arguments(*new).add_approval("ok", "?", ["a"])
    with pytest.raises(WorkflowChangedError, match="`a` does something else now"):
        changed.start(resume="last")
    same = arguments(*old).add_approval("ok", "?", ["a"])
    handle = same.start(resume="last")
    for event in handle.events():
        if event["kind"] == "wait_started" and handle.tasks["ok"].status == "waiting":
            handle.approve("ok")
    assert handle.wait().ok and taken() == ["a"]


def test_what_is_no_plain_data_counts_as_its_type_alone() -> None:
    cycle: list[Any] = [Plain()]
    cycle.append(cycle)
    other: list[Any] = [Plain()]
    other.append(other)
    first = arguments(cycle, threading.Lock(), x=Plain()).run_sync()
    assert first.ok
    assert reused(arguments(other, threading.Lock(), x=Plain()).run_sync(resume="last", changed="rerun")) == {
        "a"
    }


def test_a_run_that_was_cut_short_goes_on_itself_where_nothing_changed() -> None:
    def cut() -> Workflow:
        return Workflow("w").add_task("a", noting("a", 1)).add_approval("ok", "?", ["a"])

    def seen_through(wf: Workflow) -> Run:
        handle = wf.start(resume="last", changed="rerun")
        for event in handle.events():
            if event["kind"] == "wait_started" and handle.tasks["ok"].status == "waiting":
                handle.approve("ok")
        return handle.wait()

    handle = cut().start()
    for event in handle.events():
        if event["kind"] == "wait_started":
            handle.cancel()
    old = handle.wait()
    other = Workflow("w").add_task("a", lambda: CALLS.append("other")).add_approval("ok", "?", ["a"])
    new = seen_through(other)
    assert new.ok and new.id != old.id and reused(new) == set() and taken() == ["a", "other"]
    handle = cut().start()
    for event in handle.events():
        if event["kind"] == "wait_started":
            handle.cancel()
    old = handle.wait()
    new = seen_through(cut())
    assert new.id == old.id and new.ok and taken() == ["a"]


def test_a_value_that_cannot_be_had_is_made_again(state: Path) -> None:
    def build() -> Workflow:
        wf = Workflow("w").add_task("lock", lambda: (CALLS.append("lock"), threading.Lock())[1])
        wf.add_task("uses", lambda lock: CALLS.append("uses"), ["lock"])
        return wf.add_task("large", lambda: (CALLS.append("large"), "x" * 100_000)[1])

    build().run_sync()
    taken()
    assert build().run_sync(resume="last", changed="rerun").ok and taken() == ["lock", "uses"]
    for path in (state / "artifacts").rglob("*"):
        if path.is_file():
            path.unlink()
    new = build().run_sync(resume="last", changed="rerun")
    assert new["large"] == "x" * 100_000 and taken() == ["large", "lock", "uses"]


def test_where_there_is_nothing_to_take_over_everything_runs() -> None:
    assert diamond().run_sync(resume="last", changed="rerun").ok and taken() == ALL


def test_a_flow_says_what_does_it_there() -> None:
    @task
    def one() -> int:
        return 1

    @flow
    def flowing() -> int:
        return one().result()

    with pytest.raises(UsageError, match=r"`rerun` is not for flows\nhint: .*cache=True"):
        flowing.with_options(resume="last", changed="rerun")


def test_what_is_no_way_is_refused() -> None:
    with pytest.raises(UsageError, match="changed is `refuse`, `continue` or `rerun`, not 'rerurn'"):
        diamond().run_sync(resume="last", changed="rerurn")
    with pytest.raises(TaskFailedError):
        diamond(fails=True).run_sync()["right"]
