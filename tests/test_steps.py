"""What is said in one breath: retries, limits, steps, chains, and what runs side by side."""

from __future__ import annotations

import asyncio
import doctest
import functools
import importlib
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dirigent
import pytest
from dirigent import Steps, TaskContext, aio, step

from tests.children import DEADLINE_S


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def raising(times: int, error: type[BaseException] = RuntimeError) -> tuple[Callable[[], int], list[int]]:
    """A function that raises so often and then says in which call it is, and the list of its calls."""
    calls: list[int] = []

    def action() -> int:
        calls.append(len(calls) + 1)
        if len(calls) <= times:
            raise error(f"call {len(calls)}")
        return len(calls)

    return action, calls


@pytest.mark.parametrize("module", ["_shortcuts", "_guarded", "_pipe", "_steps", "aio"])
def test_the_examples_do_what_they_say(module: str) -> None:
    told = doctest.testmod(importlib.import_module(f"dirigent.{module}"))
    assert (told.failed, told.attempted > 0) == (0, True)


# Retries and limits


def test_a_function_is_tried_again_until_it_returns() -> None:
    action, calls = raising(2)
    assert dirigent.retry(action, delay=0)() == 3
    assert calls == [1, 2, 3]


def test_the_last_error_is_raised_as_it_was() -> None:
    action, calls = raising(9, LookupError)
    with pytest.raises(LookupError, match="call 2") as caught:
        dirigent.retry(action, max_attempts=2, delay=0)()
    assert calls == [1, 2]
    assert caught.traceback[-1].name == "action"


def test_arguments_name_and_documentation_go_through() -> None:
    def scale(values: list[int], *, by: int = 2) -> list[int]:
        """Scale."""
        return [value * by for value in values]

    made = dirigent.retry(scale)
    assert (made([1, 2]), made(values=[1], by=5)) == ([2, 4], [5])
    assert (made.__name__, made.__doc__) == ("scale", "Scale.")


def test_delays_grow_as_it_is_said() -> None:
    times: list[float] = []

    def action() -> None:
        times.append(time.monotonic())
        raise RuntimeError

    with pytest.raises(RuntimeError):
        dirigent.retry(action, max_attempts=3, delay=0.05, backoff=4)()
    first, second = times[1] - times[0], times[2] - times[1]
    assert (first > 0.045, second > 0.195) == (True, True), times


def test_a_coroutine_function_stays_one() -> None:
    async def main() -> list[Any]:
        calls: list[int] = []

        async def action(value: str) -> str:
            calls.append(1)
            await asyncio.sleep(0)
            if len(calls) < 3:
                raise OSError("busy")
            return value

        return [await dirigent.retry(action, delay=0)("x"), await dirigent.timeout(60)(action)("y")]

    assert asyncio.run(main()) == ["x", "y"]


def test_a_function_runs_out_of_time_and_is_interrupted() -> None:
    interrupted = threading.Event()

    @dirigent.timeout(0.2)
    def spin(forever: bool) -> str:
        try:
            while forever:
                pass
        except dirigent.TaskInterrupt:
            interrupted.set()
            raise
        return "through"

    with pytest.raises(TimeoutError) as caught:
        spin(True)
    assert isinstance(caught.value, dirigent.TaskTimeoutError)
    assert caught.value.task == "spin"
    assert interrupted.wait(DEADLINE_S)


def test_what_is_in_time_is_untouched() -> None:
    @dirigent.timeout(timedelta(minutes=5))
    def divide(a: int, b: int) -> float:
        return a / b

    assert divide(6, b=3) == 2
    with pytest.raises(ZeroDivisionError):
        divide(1, 0)

    async def late() -> None:
        await asyncio.sleep(600)

    with pytest.raises(TimeoutError):
        asyncio.run(dirigent.timeout(0.1)(late)())


def test_guards_go_together_and_into_tasks() -> None:
    action, calls = raising(1)
    wf = dirigent.Workflow("x").add_task("a", dirigent.timeout(60)(dirigent.retry(action, delay=0)))
    assert wf.run_sync()["a"] == 2
    assert calls == [1, 2]


def test_retries_and_limits_that_make_no_sense_are_refused() -> None:
    wrong: list[Callable[[], object]] = [
        lambda: dirigent.retry(print, max_attempts=0),
        lambda: dirigent.retry(print, max_attempts=2.5),  # type: ignore[arg-type]
        lambda: dirigent.retry(print, delay=-1),
        lambda: dirigent.retry(print, backoff=float("inf")),
        lambda: dirigent.retry(print, backoff=0.5),
        lambda: dirigent.retry(print, delay="1"),  # type: ignore[arg-type]
        lambda: dirigent.retry(["ls"]),  # type: ignore[arg-type]
        lambda: dirigent.timeout(0),
        lambda: dirigent.timeout(None),  # type: ignore[arg-type]
        lambda: dirigent.timeout(print),  # type: ignore[arg-type]
        lambda: step(retry=0),
        lambda: step(retry=True),
        lambda: step(timeout=-1),
    ]
    for call in wrong:
        with pytest.raises(dirigent.UsageError):
            call()


# Steps


def test_a_step_follows_the_ones_before() -> None:
    steps = (
        Steps("order")
        .add("a", lambda: 1)
        .add_parallel([("b", lambda a: a + 1), ("c", lambda a: a + 2)])
        .add("d", lambda b, c: b * c)
        .add("alone", lambda: "alone", depends_on=[])
        .add("e", lambda a: a, depends_on="a")
        .add("f", lambda e, d: (e, d), depends_on=["e", "d"])
    )
    needs = {name: set(task.dependencies) for name, task in steps.workflow.tasks.items()}
    assert needs == {
        "a": set(),
        "b": {"a"},
        "c": {"a"},
        "d": {"b", "c"},
        "alone": set(),
        "e": {"a"},
        "f": {"e", "d"},
    }
    run = steps.run_sync()
    assert (run.ok, run["f"], len(steps)) == (True, (1, 6), 7)
    assert asyncio.run(steps.run())["f"] == (1, 6)


def test_steps_are_functions_commands_and_lines() -> None:
    run = (
        Steps("kinds")
        .add("command", ["sh", "-c", "echo $1 > out", "sh", "a b"])
        .add("line", "echo more >> out")
        .add("function", lambda: Path("out").read_text())
        .run_sync()
    )
    assert run["function"] == "a b\nmore\n"


def test_a_step_that_fails_skips_what_follows_and_is_tried_again_where_it_is_said() -> None:
    (action, calls), after = raising(9), []
    run = Steps("x").add("a", action, retry=2).add("b", lambda: after.append(1)).run_sync()
    assert (run.ok, calls, after) == (False, [1, 2], [])
    assert [str(result.status) for result in run.tasks.values()] == ["failed", "skipped"]
    run = Steps("x").add("late", "sleep 600", timeout=0.2).run_sync()
    assert str(run.tasks["late"].status) == "timed_out"


def test_a_marked_function_brings_its_name_and_options() -> None:
    action, calls = raising(1)
    marked = step(name="fetch", timeout=50, retry=2)(action)

    @step
    def plain() -> str:
        return "plain"

    def unmarked() -> str:
        return "unmarked"

    steps = Steps("x").add(marked).add_parallel([plain, unmarked]).add("again", marked, timeout=70)
    tasks = steps.workflow.tasks
    assert list(tasks) == ["fetch", "plain", "unmarked", "again"]
    assert (tasks["fetch"].timeout, tasks["again"].timeout) == (50, 70)
    run = steps.run_sync()
    assert (run["fetch"], run["plain"], calls) == (2, "plain", [1, 2, 3])
    assert plain() == "plain"


def test_steps_that_make_no_sense_are_refused() -> None:
    def named() -> None: ...

    wrong: list[Callable[[Steps], object]] = [
        lambda steps: steps.add("a"),
        lambda steps: steps.add("", named),
        lambda steps: steps.add("a", []),
        lambda steps: steps.add("a", " "),
        lambda steps: steps.add("a", 3),  # type: ignore[arg-type]
        lambda steps: steps.add(named, named),
        lambda steps: steps.add("a", named, retry=0),
        lambda steps: steps.add("a", named, timeout=0),
        lambda steps: steps.add_parallel([]),
        lambda steps: steps.add_parallel([("a",)]),  # type: ignore[list-item]
        lambda steps: steps.add_parallel(named),  # type: ignore[arg-type]
    ]
    for add in wrong:
        with pytest.raises(dirigent.UsageError):
            add(Steps("x"))
    with pytest.raises(dirigent.DuplicateTaskError):
        Steps("x").add("a", named).add("a", named)
    with pytest.raises(dirigent.UnknownTaskError):
        Steps("x").add("a", named, depends_on="b").run_sync()


# Chains and what runs side by side


def test_a_chain_passes_values_on_to_who_takes_one() -> None:
    seen = []

    def first() -> list[int]:
        return [3, 1]

    def aside() -> str:
        seen.append("aside")
        return "value"

    async def shout(text: str, mark: str = "!") -> str:
        return text.upper() + mark

    wf = dirigent.chain(first, sorted, lambda first: first[0], aside, shout)
    assert list(wf.tasks) == ["first", "sorted", "lambda", "aside", "shout"]
    assert seen == []
    run = wf.run_sync()
    assert dict(run) == {"first": [3, 1], "sorted": [1, 3], "lambda": 1, "aside": "value", "shout": "VALUE!"}


def test_a_failure_in_a_chain_stops_it() -> None:
    action, _ = raising(9)
    run = dirigent.chain(lambda: 1, lambda value: action(), str, names=["a", "b", "c"]).run_sync()
    assert [str(result.status) for result in run.tasks.values()] == ["completed", "failed", "skipped"]


def test_names_that_are_alike_are_told_apart() -> None:
    def work(value: int = 0) -> int:
        return value + 1

    def work_2(value: int) -> int:
        return value * 10

    wf = dirigent.chain(work, work, work_2, functools.partial(work))
    assert list(wf.tasks) == ["work", "work_3", "work_2", "work_4"]
    assert wf.run_sync()["work_4"] == 21
    for names in (["a"], "ab", ["a", "b", "c"]):
        with pytest.raises(dirigent.UsageError):
            dirigent.chain(work, work, names=names if names != "ab" else "ab")
    with pytest.raises(dirigent.DuplicateTaskError):
        dirigent.parallel(work, work, names=["a", "a"])


def test_what_is_parallel_runs_at_once() -> None:
    meeting = threading.Barrier(3, timeout=DEADLINE_S)
    run = dirigent.parallel(*[meeting.wait] * 3).run_sync()
    assert run.ok
    assert sorted(run.values()) == [0, 1, 2]


def test_what_spreads_out_comes_together_in_order() -> None:
    def number() -> int:
        return 5

    async def double(value: int) -> int:
        await asyncio.sleep(0.05)
        return value * 2

    def constant() -> str:
        return "c"

    def final(values: list[Any]) -> list[Any]:
        return values

    wf = dirigent.fan_out_fan_in(number, [double, str, constant, double], final)
    assert list(wf.tasks) == ["number", "double", "str", "constant", "double_2", "final"]
    assert wf.run_sync()["final"] == [10, "5", "c", 10]
    assert dirigent.fan_out_fan_in(number, [double], lambda: "done").run_sync()["lambda"] == "done"


def test_actions_of_a_chain_may_ask_for_their_context() -> None:
    def first(context: TaskContext) -> str:
        return context.task

    def second(value: str, context: TaskContext) -> list[str]:
        return [value, context.task]

    async def third(value: list[str], *, context: TaskContext) -> list[str]:
        return [*value, context.task]

    assert dirigent.chain(first, second, third).run_sync()["third"] == ["first", "second", "third"]


def test_functions_that_cannot_be_called_so_are_refused_at_once() -> None:
    wrong: list[Callable[[], object]] = [
        lambda: dirigent.chain(),
        lambda: dirigent.chain("ls"),  # type: ignore[arg-type]
        lambda: dirigent.chain(lambda value: value),
        lambda: dirigent.chain(dict, lambda a, b: a),
        lambda: dirigent.chain(dict, lambda a, *, key: a),
        lambda: dirigent.parallel(lambda value: value),
        lambda: dirigent.fan_out_fan_in(dict, [], len),
        lambda: dirigent.fan_out_fan_in(dict, len, len),  # type: ignore[arg-type]
    ]
    for call in wrong:
        with pytest.raises(dirigent.UsageError):
            call()


# In a running loop


def test_a_function_is_guarded_beside_the_loop() -> None:
    action, calls = raising(1)
    released = threading.Event()

    async def main() -> tuple[int, bool]:
        waiting = asyncio.ensure_future(aio.timeout(DEADLINE_S)(released.wait)())
        await asyncio.sleep(0)
        released.set()
        return await aio.retry(action, delay=0)(), await waiting

    assert asyncio.run(main()) == (2, True)
    assert calls == [1, 2]

    @aio.timeout(0.1)
    async def late() -> None:
        await asyncio.sleep(600)

    with pytest.raises(dirigent.TaskTimeoutError):
        asyncio.run(late())


def test_what_makes_workflows_is_the_same_for_the_loop() -> None:
    async def main() -> list[Any]:
        run = await aio.Steps("x").add("a", lambda: 1).run()
        chained = await aio.chain(lambda: 2, str, names=["a", "b"]).run()
        beside = await aio.parallel(lambda: 3, names=["a"]).run()
        return [run["a"], chained["b"], beside["a"]]

    assert asyncio.run(main()) == [1, "2", 3]
    assert aio is importlib.import_module("dirigent").aio
