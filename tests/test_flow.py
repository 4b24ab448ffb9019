"""Flows: ordinary functions whose calls of tasks become one run."""

from __future__ import annotations

import asyncio
import doctest
import functools
import importlib
import inspect
import pickle
import sys
import threading
from collections import namedtuple
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from dirigent import (
    Future,
    RetryPolicy,
    TaskFailedError,
    TaskSkippedError,
    UsageError,
    Workflow,
    flow,
    task,
)

from tests.children import DEADLINE_S
from tests.flows import add, fail, later, outcome, same, told, total, until_interrupted
from tests.workflows import wait_until_begun


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


# --- the example ----------------------------------------------------------------------------------


Frame = str


def test_the_example_runs_as_it_stands() -> None:
    @task(retries=3, timeout=30)
    def fetch(day: date) -> Path:
        return Path(f"{day}.csv")

    @task
    def parse(path: Path) -> Frame:
        return path.stem

    @task
    def summarise(frames: list[Frame]) -> str:
        return " ".join(frames)

    @flow
    def report(days: list[date]) -> Any:
        frames = parse.map(fetch.map(days))  # fan-out, sized at run time
        return summarise(frames)  # fan-in

    days = [date(2026, 1, 1), date(2026, 1, 2)]
    assert report(days) == "2026-01-01 2026-01-02"
    assert report([]) == ""
    assert report.submit(days).result(DEADLINE_S) == "2026-01-01 2026-01-02"
    assert report.graph(days).edges == (
        ("fetch", "parse"),
        ("fetch[1]", "parse[1]"),
        ("parse", "summarise"),
        ("parse[1]", "summarise"),
    )


@pytest.mark.parametrize("module", ["_flow", "_future"])
def test_examples_in_docstrings_run(module: str) -> None:
    results = doctest.testmod(importlib.import_module(f"dirigent.{module}"))
    assert results.attempted > 0
    assert results.failed == 0


# --- where a task is a plain function -------------------------------------------------------------


def test_outside_of_a_flow_a_task_is_its_function() -> None:
    assert add(1) == 2
    assert add(1, y=5) == 6
    assert add.map([1, 2], y=10) == [11, 12]
    assert asyncio.run(later(4)) == 4
    with pytest.raises(LookupError, match="no such row"):
        fail()


def test_inside_another_tasks_body_a_task_is_its_function() -> None:
    @task
    def outer(x: int) -> tuple[int, list[int]]:
        return add(x), add.map([x, x])

    @task
    async def outer_async(x: int) -> int:
        return add(await later(x))  # type: ignore[no-any-return]

    @flow
    def inside() -> list[Any]:
        return [outer(1), outer_async(1)]

    value, statuses = told(inside)
    assert value == [(2, [2, 2]), 2]
    assert set(statuses) == {"body", "outer", "outer_async"}


def test_a_task_keeps_the_name_the_signature_and_the_text_of_its_function() -> None:
    @task
    def documented(a: int, *, b: str = "b") -> str:
        """Says something."""
        return b * a

    assert documented.__name__ == "documented"
    assert documented.__doc__ == "Says something."
    assert list(inspect.signature(documented).parameters) == ["a", "b"]
    assert documented.__wrapped__(2) == "bb"
    assert repr(documented) == "<task documented>"
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(later)


def test_methods_partials_and_callables_can_be_tasks() -> None:
    class Adder:
        def __init__(self, n: int) -> None:
            self.n = n

        @task
        def add(self, x: int) -> int:
            return self.n + x

        @staticmethod
        @task
        def double(x: int) -> int:
            return 2 * x

        @flow
        def all(self, x: int) -> Any:
            return self.add(x), self.add.map([x, x + 1]), Adder.add(self, x), Adder.double(x)

        def __call__(self, x: int) -> int:
            return self.n * x

    assert Adder(10).add(1) == 11
    assert Adder(10).all(1) == (11, [11, 12], 11, 2)

    ten_more, times_ten = task(functools.partial(add.function, y=10)), task(Adder(10), name="times_ten")

    @flow
    def odd() -> Any:
        return ten_more(1), times_ten(3)

    assert outcome(odd) == (11, 30)


def test_tasks_of_flows_serve_workflows_too() -> None:
    run = Workflow("w").add_task("one", add, args=(0,)).add_task("two", later, args=(2,)).run_sync()
    assert dict(run) == {"one": 1, "two": 2}


# --- values ---------------------------------------------------------------------------------------


def test_futures_arrive_as_values_wherever_they_stand_in_arguments() -> None:
    Pair = namedtuple("Pair", "left right")
    untouched = {"a": [1, 2]}

    @task
    def seen(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    @flow
    def everywhere() -> Any:
        one, two = add(0), add.map([1, 2])
        return seen(one, [one, (one, {"k": [one]})], Pair(one, 5), untouched, two=two, all=[two, {"t": two}])

    args, kwargs = outcome(everywhere)
    assert args == (1, [1, (1, {"k": [1]})], (1, 5), {"a": [1, 2]})
    assert type(args[2]) is Pair
    assert args[3] is untouched
    assert kwargs == {"two": [2, 3], "all": [[2, 3], {"t": [2, 3]}]}


def test_what_the_body_returns_has_values_in_the_places_of_futures() -> None:
    @flow
    def shapes() -> Any:
        one = add(0)
        return {"one": one, "list": [one, (one, None)], "map": add.map([1, 2]), "plain": "x"}

    assert outcome(shapes) == {"one": 1, "list": [1, (1, None)], "map": [2, 3], "plain": "x"}

    @flow
    def nothing() -> None:
        add(1)

    value, statuses = told(nothing)
    assert value is None
    assert statuses == {"body": "completed", "add": "completed"}


def test_arguments_are_taken_as_they_stand_when_the_task_is_called() -> None:
    gate = threading.Event()

    @task
    def wait() -> int:
        assert gate.wait(DEADLINE_S)
        return 1

    @flow
    def changing() -> Any:
        numbers: list[Any] = [wait()]
        sum_of_one = total(numbers)
        numbers.append(add(1))
        gate.set()
        return sum_of_one, total(numbers)

    assert outcome(changing) == (1, 3)


def test_a_value_decides_what_is_called() -> None:
    @task
    def halve(x: int) -> int:
        return x // 2

    @flow
    def collatz(x: int) -> Any:
        path = []
        while x != 1:
            x = halve(x).result() if x % 2 == 0 else add(3 * x).result()
            path.append(x)
        return path, add(len(path))

    value, statuses = told(collatz, 6)
    assert value == ([3, 10, 5, 16, 8, 4, 2, 1], 9)
    assert list(statuses)[:4] == ["body", "halve", "add", "halve[1]"]


def test_a_future_tells_how_its_task_stands() -> None:
    gate, began = threading.Event(), threading.Event()
    seen: list[Any] = []

    @task
    def wait() -> int:
        began.set()
        assert gate.wait(DEADLINE_S)
        return 7

    @flow
    def asking() -> Any:
        future, after = wait(), add(0)
        assert after.result(DEADLINE_S) == 1
        wait_until_begun(began)
        seen.extend([future.name, future.done(), str(future.status), future.wait(0.01), after.exception()])
        with pytest.raises(TimeoutError, match="wait has not ended"):
            future.result(0.01)
        gate.set()
        seen.extend([future.wait(DEADLINE_S), future.done(), future.status == "completed"])
        return future

    assert outcome(asking) == 7
    assert seen == ["wait", False, "running", False, None, True, True, True]


@pytest.mark.parametrize(
    ("misuse", "text"),
    [
        (bool, "neither true nor false"),
        (list, "cannot be gone through"),
        (pickle.dumps, "cannot be pickled"),
    ],
)
def test_a_future_is_not_mistaken_for_its_value(misuse: Callable[[Any], Any], text: str) -> None:
    @flow
    def mistaken() -> Any:
        future = same(0)
        assert isinstance(future, Future)
        return misuse(future)

    with pytest.raises(TypeError, match=text):
        outcome(mistaken)


def test_a_future_of_another_run_is_refused_and_keeps_its_value() -> None:
    kept: list[Any] = []

    @flow
    def first() -> None:
        kept.append(add(1))

    @flow
    def second() -> Any:
        return add(kept[0])

    outcome(first)
    assert kept[0].result() == 2
    with pytest.raises(UsageError, match="belongs to another run\nhint: pass its result"):
        outcome(second)


# --- maps -----------------------------------------------------------------------------------------


def test_a_map_of_a_thousand_is_a_sequence_of_futures() -> None:
    @flow
    def wide() -> Any:
        calls = add.map(range(1000), y=1)
        assert len(calls) == 1000
        assert isinstance(calls[3], Future)
        assert [future.name for future in calls[:2]] == ["add", "add[1]"]
        assert calls[999].result(DEADLINE_S) == 1000
        return total(add.map(calls)), sum(future.result(DEADLINE_S) for future in calls)

    assert outcome(wide) == (501500, 500500)


def test_a_map_over_a_tasks_value_is_sized_at_run_time() -> None:
    @task
    def some(n: int) -> Any:
        yield from range(n)  # it can be gone through only once

    @flow
    def unknown(n: int) -> Any:
        items = some(n)
        calls, others = add.map(items), same.map(items)
        inner = add.map(calls, y=add(9))
        return inner, total(inner), len(calls), [future.result() for future in others]

    value, statuses = told(unknown, 3)
    assert value == ([11, 12, 13], 36, 3, [0, 1, 2])
    assert {"add.map", "add.map/2", "add.map[1]/2", "same.map/0"} <= set(statuses)
    assert set(statuses.values()) == {"completed"}
    assert outcome(unknown, 0) == ([], 0, 0, [])
    assert outcome(unknown, 1000)[1] == 510500


@pytest.mark.parametrize("is_sized", [True, False])
def test_a_call_of_a_map_over_a_map_waits_for_its_own_item_alone(is_sized: bool) -> None:
    through = threading.Event()

    @task
    def first(x: int) -> int:
        assert x == 0 or through.wait(DEADLINE_S), "item 0 never got through"
        return x

    @task
    def second(x: int) -> int:
        if x == 0:
            through.set()
        return x

    @flow
    def chain() -> Any:
        return second.map(first.map([0, 1, 2] if is_sized else same([0, 1, 2])))

    assert outcome(chain) == [0, 1, 2]


def test_items_and_common_arguments_may_be_futures() -> None:
    @flow
    def mixed() -> Any:
        calls = add.map([add(1), 5, add(2)], y=add(9))
        return calls, calls.result(DEADLINE_S), calls.done(), calls.wait(), str(calls.status), same(calls)

    value = outcome(mixed)
    assert value == ([12, 15, 13], [12, 15, 13], True, True, "completed", [12, 15, 13])


def test_what_cannot_be_gone_through_fails_the_map() -> None:
    @flow
    def wrong() -> Any:
        return total(add.map(same(5)))

    with pytest.raises(
        TaskFailedError, match=r"task `add.map` raised TypeError: 'int' object is not iterable"
    ):
        outcome(wrong)


@pytest.mark.parametrize("is_sized", [True, False])
def test_one_failed_call_of_a_map_spares_the_others_and_skips_what_wants_all(is_sized: bool) -> None:
    ran: list[Any] = []

    @task
    def picky(x: int) -> int:
        if x == 1:
            raise ValueError("one")
        return x

    @task
    def note(x: Any) -> Any:
        ran.append(x)
        return x

    @flow
    def partly() -> Any:
        calls = picky.map([0, 1, 2] if is_sized else same([0, 1, 2]))
        after = note.map(calls)
        everything = note(after)
        after.wait(DEADLINE_S)
        return [type(future.exception()).__name__ for future in after], type(everything.exception()).__name__

    assert outcome(partly) == (["NoneType", "TaskSkippedError", "NoneType"], "TaskSkippedError")
    assert sorted(ran) == [0, 2]


# --- failures -------------------------------------------------------------------------------------


def test_the_result_of_a_failed_task_raises_with_what_it_raised_as_the_cause() -> None:
    @flow
    def looked() -> Any:
        failed = fail("table")
        with pytest.raises(TaskFailedError, match="task `fail` raised LookupError: no such table") as caught:
            failed.result(DEADLINE_S)
        assert isinstance(caught.value.__cause__, LookupError)
        skipped = add(failed)
        with pytest.raises(TaskSkippedError, match="task `add` was skipped: it needs “fail”") as caught_too:
            skipped.result(DEADLINE_S)
        assert isinstance(caught_too.value.__cause__, LookupError)
        return add(1), str(failed.status), str(skipped.status)

    assert outcome(looked) == (2, "failed", "skipped")


def test_a_failure_that_nobody_looked_at_is_no_success() -> None:
    @flow
    def blind() -> str:
        fail("table")
        fail.map(["chair"])
        return "all well"

    with pytest.raises(
        TaskFailedError,
        match=r"`fail` raised LookupError: no such table, and nobody asked for its result \(and 1 more",
    ) as caught:
        blind()
    assert isinstance(caught.value.__cause__, LookupError)


@pytest.mark.parametrize(
    "look",
    [
        lambda failed: failed.exception(),
        lambda failed: failed.wait() and failed.status,
        lambda failed: add(failed).exception(),
        lambda failed: add.map([failed]).wait() and same([failed]).exception(),
    ],
)
def test_whoever_looked_at_a_failure_or_its_consequence_has_seen_it(look: Callable[[Any], Any]) -> None:
    @flow
    def seeing() -> str:
        look(fail())
        return "handled"

    assert outcome(seeing) == "handled"


def test_to_ask_whether_a_task_is_done_is_not_to_look_how() -> None:
    @flow
    def hasty() -> str:
        failed = fail()
        assert failed.wait(DEADLINE_S) and failed.done()
        return "all well"

    with pytest.raises(TaskFailedError, match="nobody asked"):
        outcome(hasty)


@pytest.mark.parametrize(
    "returned", [lambda: fail(), lambda: [{"a": fail()}], lambda: add(fail()), lambda: add.map(same(fail()))]
)
def test_a_failed_future_among_what_is_returned_raises_what_went_wrong_first(
    returned: Callable[[], Any],
) -> None:
    finished = threading.Event()

    @task
    def other() -> None:
        finished.set()

    @flow
    def returning() -> Any:
        value = returned()
        other()
        return value

    with pytest.raises(TaskFailedError, match="task `fail` raised LookupError") as caught:
        outcome(returning)
    assert isinstance(caught.value.__cause__, LookupError)
    assert finished.is_set()


def test_retries_are_counted_beside_the_first_attempt() -> None:
    attempts: dict[str, int] = {"three": 0, "none": 0, "in time": 0, "policy": 0}

    def failing(name: str, until: int = 99) -> None:
        attempts[name] += 1
        if attempts[name] < until:
            raise OSError("not yet")

    three = task(retries=3, retry_delay=0)(functools.partial(failing, "three"))
    none = task(functools.partial(failing, "none"))
    in_time = task(retries=5, retry_delay=timedelta(milliseconds=1))(functools.partial(failing, "in time", 3))
    policy = RetryPolicy(2, initial_delay=0.0, retry_on=(OSError,))
    by_policy = task(retry_policy=policy)(functools.partial(failing, "policy"))

    @flow
    def trying() -> list[str]:
        return [type(it().exception()).__name__ for it in (three, none, in_time, by_policy)]

    assert outcome(trying) == ["TaskFailedError", "TaskFailedError", "NoneType", "TaskFailedError"]
    assert attempts == {"three": 4, "none": 1, "in time": 3, "policy": 2}


def test_an_exception_of_the_body_cancels_the_rest_and_goes_on() -> None:
    began, ended, mine = threading.Event(), threading.Event(), KeyError("mine")

    @task
    def long() -> None:
        until_interrupted(began, ended)

    @flow
    def broken() -> None:
        add(long())
        wait_until_begun(began)
        raise mine

    handle = broken.submit()
    with pytest.raises(KeyError) as caught:
        handle.result(DEADLINE_S)
    assert caught.value is mine
    run = handle.run.wait(DEADLINE_S)
    assert ended.wait(DEADLINE_S)
    assert run.tasks["body"].status == "failed"
    assert run.tasks["long"].status == "cancelled"
    assert run.tasks["add"].status in ("cancelled", "skipped")
    assert not run.ok
    with pytest.raises(KeyError):
        broken()


def test_fail_fast_starts_nothing_new_after_a_failure() -> None:
    @flow(fail_fast=True)
    def fast() -> Any:
        fail().wait()
        return add(1)

    @flow
    def slow() -> Any:
        failed = fail()
        return add(1), failed.exception() is not None

    with pytest.raises(TaskFailedError, match="task `fail` raised"):
        outcome(fast)
    assert outcome(slow) == (2, True)
