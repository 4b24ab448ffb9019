"""Flows drawn instead of run, and the options of flows and their tasks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dirigent import Flow, RetryPolicy, TaskContext, UsageError, flow, task

from tests.children import DEADLINE_S
from tests.flows import add, fail, later, outcome, same, told
from tests.workflows import most_at_once


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


# --- drawings -------------------------------------------------------------------------------------


def test_a_drawing_shows_what_is_called_and_runs_nothing() -> None:
    @flow
    def whole(n: int) -> Any:
        items = fail()
        calls = add.map(items)
        return same(same.map(calls)), add.map(range(n)), inner(calls)

    @flow
    def inner(x: Any) -> Any:
        return same([x, x])

    drawing = whole.graph(2)
    assert drawing.stopped_at is None
    assert drawing.tasks == ("fail", "add.map", "same.map", "same", "add", "add[1]", "inner/same")
    assert str(drawing).splitlines()[0] == "whole  7 tasks"
    assert "├─ ○ same.map    fan-out\n│  ○ same        function  ← same.map\n" in str(drawing)


@pytest.mark.parametrize(
    "ask",
    [
        lambda future: future.result(),
        lambda future: future.wait(),
        lambda future: future.done(),
        lambda future: future.status,
        lambda future: future.exception(),
        lambda future: len(add.map(future)),
        lambda future: list(add.map(future)),
    ],
)
def test_a_drawing_ends_where_a_value_is_asked_for_and_says_so(ask: Callable[[Any], Any]) -> None:
    @flow
    def asking() -> Any:
        future = add(1)
        try:
            ask(future)
        except Exception:
            return None
        return add(2)

    drawing = asking.graph()
    assert drawing.stopped_at in ("add", "add.map")
    assert drawing.tasks[0] == "add" and "add[1]" not in drawing.tasks
    assert str(drawing).endswith(f"(drawn up to where the value of {drawing.stopped_at} is asked for)")


def test_a_drawing_of_an_asynchronous_flow_needs_no_loop_and_minds_none() -> None:
    @flow
    async def asking() -> Any:
        await asyncio.sleep(0)
        await add(add(1))
        add(2)

    async def main() -> Any:
        return asking.graph()

    for drawing in (asking.graph(), asyncio.run(main())):
        assert (drawing.edges, drawing.stopped_at) == ((("add", "add[1]"),), "add[1]")


def test_what_the_body_raises_while_it_is_drawn_goes_on() -> None:
    @flow
    def broken() -> Any:
        add(1)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        broken.graph()


# --- options --------------------------------------------------------------------------------------


def test_limits_hold_for_the_tasks_of_a_flow() -> None:
    @task(pool="door")
    def pooled(x: int) -> None:
        time.sleep(0.002)

    @task(resources={"memory": 2})
    def heavy(x: int) -> None:
        time.sleep(0.002)

    @task
    def plain(x: int) -> None:
        time.sleep(0.002)

    def run_of(of: Flow[..., Any]) -> Any:
        handle = of.submit()
        handle.result(DEADLINE_S)
        return handle.run.wait(DEADLINE_S)

    @flow(resources={"door": 2, "memory": 4, "threads": 5})
    def shared() -> None:
        pooled.map(range(20)), heavy.map(range(20)), plain.map(range(40))

    run = run_of(shared)
    names = [name for name in run.tasks if name != "body"]
    assert most_at_once(run, [name for name in names if name.startswith("pooled")]) <= 2
    assert most_at_once(run, [name for name in names if name.startswith("heavy")]) <= 2
    assert most_at_once(run, names) <= 5

    @flow(max_concurrency=3)
    def narrow() -> Any:
        # The body waits, and takes no slot.
        return [same(None).result() for _ in range(2)], plain.map(range(20)).result()

    run = run_of(narrow)
    assert most_at_once(run, [name for name in run.tasks if name != "body"]) <= 3

    @flow
    def by_default() -> None:
        plain.map(range(100))

    run = run_of(by_default)
    assert most_at_once(run, [name for name in run.tasks if name != "body"]) <= 32


def test_of_tasks_that_could_start_those_of_higher_priority_go_first() -> None:
    order: list[str] = []
    gate = threading.Event()
    first = task(lambda: gate.wait(DEADLINE_S), name="first")
    low = task(priority=-1)(lambda: order.append("low"))
    high = task(priority=1)(lambda: order.append("high"))

    @flow(max_concurrency=1)
    def queued() -> None:
        first(), low(), high(), low()
        gate.set()

    outcome(queued)
    assert order == ["high", "low", "low"]


def test_a_task_may_have_a_process_of_its_own_and_know_its_attempt() -> None:
    import os

    @task(isolation="process", retries=1, retry_delay=0)
    def elsewhere(x: Any, *, y: int) -> tuple[int, Any]:
        return os.getpid(), (x, y, same(3))

    @task(name="informed", timeout=DEADLINE_S)
    def asking(x: int, context: TaskContext) -> tuple[str, int, bool]:
        return context.task, context.attempt + x, context.deadline is not None

    @flow(name="named")
    def processes() -> Any:
        return elsewhere(add(0), y=add(1)), [asking(1), asking(x=2)]

    handle = processes.submit()
    (pid, values), informed = handle.result(DEADLINE_S)
    assert pid != os.getpid()
    assert values == (1, 2, 3)
    assert informed == [("informed", 2, True), ("informed[1]", 3, True)]
    run = handle.run.wait(DEADLINE_S)
    assert run.name == "named"
    assert set(run.tasks) == {"body", "add", "add[1]", "elsewhere", "informed", "informed[1]"}


def test_names_are_counted_and_stay_apart() -> None:
    pretender = task(lambda: 1, name="add[1]")
    body = task(lambda: 2, name="body")

    @flow
    def counted() -> Any:
        return add(1), pretender(), add(2), body()

    value, statuses = told(counted)
    assert value == (2, 1, 3, 2)
    assert list(statuses) == ["body", "add", "add[1]", "add[2]", "body[1]"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cache": "yes"}, "cache is True, False or a Cache, not 'yes'"),
        ({"retries": -1}, "retries is a whole number from 0 on"),
        ({"retries": 1.5}, "retries is a whole number"),
        ({"retries": 1, "retry_policy": RetryPolicy(2)}, "either retry_policy or retries"),
        ({"retry_delay": 1}, "retry_delay says nothing without retries"),
        ({"retries": 1, "retry_delay": -1}, "a delay is not negative"),
        ({"timeout": 0}, "timeout is a number of seconds above 0"),
        ({"isolation": "proces"}, "did you mean `process`"),
    ],
)
def test_an_option_of_a_task_that_makes_no_sense_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        task(**options)(lambda: None)


def test_what_cannot_be_a_task_or_a_flow_is_refused() -> None:
    with pytest.raises(TypeError, match="retires"):
        task(retires=3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="a task is a function, not 5"):
        task(5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="a flow is a function, not 5"):
        flow(5)  # type: ignore[call-overload]
    for decorator in (task, flow):
        with pytest.raises(UsageError, match="stands below @staticmethod"):
            decorator(staticmethod(lambda: None))
    with pytest.raises(UsageError, match="coroutine function, which cannot have a process"):
        task(isolation="process")(later.function)
    with pytest.raises(UsageError, match="max_concurrency is 1 or more"):
        flow(max_concurrency=0)
    with pytest.raises(UsageError, match="the rate of `api`"):
        flow(resources={"api": "10/fortnight"})

    @flow
    def without() -> Any:
        return task(pool="api")(same.function)(1)

    with pytest.raises(UsageError, match="wants `api`, which is no resource"):
        outcome(without)
