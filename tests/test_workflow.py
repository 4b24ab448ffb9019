"""Workflows as they are declared: values, triggers, conditions, trying again, order and limits."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from dirigent import RetryPolicy, TaskContext, TaskResult, Workflow

from tests.children import DEADLINE_S
from tests.workflows import ended, ends_of, most_at_once, started_in_order, statuses


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "state"


def fail() -> None:
    raise LookupError("no such row")


def never(_: object) -> bool:
    return False


NO_DELAY = {"initial_delay": 0.0, "jitter": 0.0}


# --- values ---------------------------------------------------------------------------------------


def test_values_arrive_as_the_parameters_named_after_their_tasks() -> None:
    both = ["one", "two"]
    wf = Workflow("values").add_task("one", lambda: 1).add_task("two", lambda: 2)
    wf.add_task("in any order", lambda two, one: (one, two), both)
    wf.add_task("only those wanted", lambda one: one, both)
    wf.add_task("none wanted", lambda: "none", both)
    wf.add_task("everything", lambda **values: values, both)
    wf.add_task("instead of a default", lambda one=10, three=30: (one, three), both)
    wf.add_task("unless given by name", lambda one, two: (one, two), both, kwargs={"one": 10})
    wf.add_task("unless given by place", lambda one, two: (one, two), both, args=(10,))
    wf.add_task("beside others", lambda x, *rest, two, y: (x, rest, two, y), ["two"], kwargs={"x": 0, "y": 1})

    async def later(*, two: int, **others: int) -> tuple[int, dict[str, int]]:
        await asyncio.sleep(0)
        return two, others

    wf.add_task("on a loop", later, both)
    assert dict(ended(wf)) == {
        "one": 1,
        "two": 2,
        "in any order": (1, 2),
        "only those wanted": 1,
        "none wanted": "none",
        "everything": {"one": 1, "two": 2},
        "instead of a default": (1, 30),
        "unless given by name": (10, 2),
        "unless given by place": (10, 2),
        "beside others": (0, (), 2, 1),
        "on a loop": (2, {"one": 1}),
    }


@dataclass
class Unhashable:
    by: int

    def __call__(self, one: int) -> int:
        return one + self.by


class Adder:
    """Things that can be called."""

    def __init__(self, by: int) -> None:
        self.by = by

    def __call__(self, one: int) -> int:
        return one + self.by

    def method(self, one: int) -> int:
        return one + self.by

    @staticmethod
    def static(one: int) -> int:
        return one + 3

    async def later(self, one: int) -> int:
        return one + self.by


def test_everything_that_can_be_called_is_an_action() -> None:
    @functools.wraps(fail)
    def wrapped() -> int:
        return 9

    wf = Workflow("callables").add_task("one", lambda: 1)
    needs = ["one"]
    wf.add_task("instance", Adder(1), needs)
    wf.add_task("no hash", Unhashable(1), needs).add_task("equal, but another", Unhashable(1), needs)
    wf.add_task("method", Adder(2).method, needs)
    wf.add_task("static", Adder.static, needs)
    wf.add_task("coroutine method", Adder(4).later, needs)
    wf.add_task("partial", functools.partial(lambda x, one, y: (x, one, y), 0, y=2), needs)
    wf.add_task("partial coroutine", functools.partial(Adder(5).later), needs)
    wf.add_task("class", dict, needs, kwargs={"a": 1})
    wf.add_task("built in", max, needs, args=(3, 7))
    wf.add_task("wrapped", wrapped)
    wf.add_task("returns a coroutine", lambda one: Adder(6).later(one), needs)
    assert dict(ended(wf)) == {
        "one": 1,
        "instance": 2,
        "no hash": 2,
        "equal, but another": 2,
        "method": 3,
        "static": 4,
        "coroutine method": 5,
        "partial": (0, 1, 2),
        "partial coroutine": 6,
        "class": {"a": 1},
        "built in": 7,
        "wrapped": 9,
        "returns a coroutine": 7,
    }


def test_where_a_need_has_no_value_the_default_counts() -> None:
    wf = (
        Workflow("defaults", fail_fast=False)
        .add_task("bad", fail)
        .add_task("out", lambda: 1, condition=never)
    )
    needs = ["bad", "out"]
    wf.add_task("defaults", lambda bad="none", out="left": (bad, out), needs, trigger="all_done")
    wf.add_task("everything", lambda **values: values, needs, trigger="all_done")
    wf.add_task("no default", lambda bad: bad, needs, trigger="all_done")
    run = ended(wf)
    assert (run["defaults"], run["everything"]) == (("none", "left"), {})
    assert isinstance(run.tasks["no default"].error, TypeError)


def test_many_tasks_can_be_added_at_once() -> None:
    wf = Workflow("many").add_tasks((f"{number}", lambda: 1, ()) for number in range(3))
    wf.add_tasks([("sum", lambda **values: sum(values.values()), ["0", "1", "2"])])
    assert dict(ended(wf)) == {"0": 1, "1": 1, "2": 1, "sum": 3}


def test_a_value_is_passed_on_and_not_copied() -> None:
    value = bytearray(64 << 20)
    wf = Workflow("big").add_task("make", lambda: value)
    wf.add_task("use", lambda make: make is value, ["make"])

    async def later(make: bytearray) -> bool:
        return make is value

    wf.add_task("use on a loop", later, ["make"])
    run = ended(wf)
    assert run["use"] and run["use on a loop"]
    assert run["make"] is value is run.tasks["make"].value


def test_arguments_are_taken_as_they_are_when_the_task_is_added() -> None:
    args, kwargs = [1], {"b": 2}
    wf = Workflow("arguments").add_task("x", lambda a, b: (a, b), args=args, kwargs=kwargs)
    args.append(5)
    kwargs["c"] = 6
    assert ended(wf)["x"] == (1, 2) == ended(wf)["x"]


def test_a_task_can_ask_for_its_context() -> None:
    seen: list[TaskContext] = []

    def work(one: int, context: TaskContext) -> str:
        seen.append(context)
        assert not context.cancelled
        context.heartbeat()
        context.log(f"attempt {context.attempt}")
        (context.artifact_folder / "made.txt").write_text("made")
        if context.attempt < 3:
            fail()
        return context.task

    async def later(*, anything: TaskContext) -> TaskContext:
        return anything

    wf = Workflow("context").add_task("one", lambda: 1)
    wf.add_task("work", work, ["one"], timeout=600, retry_policy=RetryPolicy(3, **NO_DELAY))
    wf.add_task("later", later)
    run = ended(wf)
    assert run["work"] == "work"
    assert [context.attempt for context in seen] == [1, 2, 3]
    assert {context.run_id for context in [*seen, run["later"]]} == {run.id}
    [key] = {context.idempotency_key for context in seen}
    assert key != run["later"].idempotency_key
    assert run["later"].deadline is None
    deadlines = [context.deadline or 0 for context in seen]
    assert deadlines == sorted(deadlines) and deadlines[0] > 0
    log = run.tasks["work"].log
    assert log is not None
    assert (log / "stdout.log").read_text() == "attempt 3\n"
    assert (log / "artifacts" / "made.txt").read_text() == "made"


def test_what_a_function_returns_can_be_made_into_something_else() -> None:
    async def later() -> int:
        return 4

    wf = Workflow("transform", fail_fast=False).add_task("x", lambda: 3, transform_result=lambda x: x * 2)
    wf.add_task("y", later, transform_result=str).add_task("sum", lambda x, y: f"{x}{y}", ["x", "y"])
    wf.add_task("bad", lambda: "a", transform_result=int)
    wf.add_task("bad later", later, transform_result=lambda _: fail())
    run = ended(wf)
    assert (run["x"], run["y"], run["sum"]) == (6, "4", "64")
    assert [type(result.error) for result in run.failed] == [ValueError, LookupError]


# --- when tasks start -----------------------------------------------------------------------------

TRIGGERS = {
    # How two needs end: completed, failed, skipped.
    "all_success": "cc",
    "all_done": "cc cf cs ff fs ss",
    "any_success": "cc cf cs",
    "any_failed": "cf ff fs",
    "none_failed": "cc cs ss",
    "always": "cc cf cs ff fs ss",
}


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_decides_by_how_the_needs_ended(trigger: str) -> None:
    wf = Workflow("triggers", fail_fast=False)
    needs = {"c": ("ok", "ok2"), "f": ("bad", "bad2"), "s": ("left out", "left out 2")}
    for name in itertools.chain(*needs.values()):
        action = fail if name.startswith("bad") else lambda: "value"
        wf.add_task(name, action, condition=never if name.startswith("left") else None)
    pairs = ["cc", "cf", "cs", "ff", "fs", "ss"]
    for first, second in pairs:
        wf.add_task(
            f"{first}{second}",
            lambda **values: len(values),
            [needs[first][0], needs[second][1]],
            trigger=trigger,
        )
    run = ended(wf)
    how = statuses(run)
    ran = [pair for pair in pairs if how[pair] == "completed"]
    assert " ".join(ran) == TRIGGERS[trigger]
    assert all(how[pair] == "skipped" for pair in pairs if pair not in ran)
    # What did not complete has no value to pass on.
    assert all(run[pair] == pair.count("c") for pair in ran)


@pytest.mark.parametrize(("trigger", "first"), [("any_success", lambda: 1), ("any_failed", fail)])
def test_a_task_that_waits_for_one_need_starts_while_the_others_run(
    trigger: str, first: Callable[[], object]
) -> None:
    went_on = threading.Event()
    wf = Workflow("early", fail_fast=False).add_task("first", first)
    wf.add_task("slow", lambda: went_on.wait(DEADLINE_S))
    wf.add_task("early", went_on.set, ["first", "slow"], trigger=trigger)
    assert ended(wf)["slow"] is True


def test_a_condition_is_asked_with_the_results_so_far() -> None:
    asked: list[tuple[str, object]] = []

    def is_big(results: Mapping[str, TaskResult]) -> bool:
        asked.append((results["a"].status.value, results["a"].value))
        return results["a"].value > 1

    wf = Workflow("conditions").add_task("a", lambda: 2)
    wf.add_task("yes", lambda a: a, ["a"], condition=is_big)
    wf.add_task("no", lambda a: a, ["a"], condition=lambda results: not is_big(results))
    wf.add_command("no command", ["false"], ["a"], condition=never)
    run = ended(wf)
    assert statuses(run) == {"a": "completed", "yes": "completed", "no": "skipped", "no command": "skipped"}
    assert asked == [("completed", 2)] * 2
    assert run.ok


def test_a_condition_that_raises_is_a_failure_of_its_task() -> None:
    called: list[int] = []
    wf = Workflow("conditions").add_task("a", lambda: called.append(1), condition=lambda _: fail())
    wf.add_task("b", lambda: 1, ["a"])
    run = ended(wf)
    assert statuses(run) == {"a": "failed", "b": "skipped"}
    assert not called
    assert "no such row" in run.tasks["a"].sentence and "condition" in run.tasks["a"].sentence
    assert not run.ok


def test_a_skip_travels_and_the_run_ends_well() -> None:
    wf = Workflow("skip").add_task("a", lambda: 1, condition=never)
    for name, need in itertools.pairwise("abcdef"):
        wf.add_task(need, lambda: 1, [name])
    wf.add_task("other", lambda: "done")
    run = ended(wf)
    assert statuses(run) == {**dict.fromkeys("abcdef", "skipped"), "other": "completed"}
    assert run.ok and run.verdict == "succeeded"
    assert run.raise_for_failures() is run
    assert dict(run) == {"other": "done"}
    assert "needs “a”" in run.tasks["b"].sentence


def test_after_a_failure_nothing_starts_but_what_waits_for_failures() -> None:
    wf = Workflow("fail fast", max_concurrency=1).add_task("bad", fail)
    wf.add_task("next", lambda: 1).add_task("fallback", lambda: 2, ["bad"], trigger="any_failed")
    wf.add_task("at last", lambda: 3, ["bad", "next"], trigger="all_done")
    wf.add_task("tidy", lambda: 4, teardown=True).add_task("after", lambda: 5, ["fallback"])
    run = ended(wf)
    assert statuses(run) == {
        "bad": "failed",
        "next": "skipped",
        "fallback": "completed",
        "at last": "completed",
        "tidy": "completed",
        "after": "skipped",
    }
    assert "bad" in run.tasks["next"].sentence
    assert run.verdict == "failed"


def test_what_runs_may_finish_after_a_failure() -> None:
    began, failed = threading.Event(), threading.Event()

    def finish() -> bool:
        began.set()
        return failed.wait(DEADLINE_S)

    def fail_later() -> None:
        assert began.wait(DEADLINE_S)
        fail()

    wf = Workflow("finish").add_task("runs", finish).add_task("bad", fail_later)
    wf.add_task("noticed", failed.set, ["bad"], trigger="any_failed").add_task("then", lambda: 1, ["runs"])
    run = ended(wf)
    assert run["runs"] is True
    assert statuses(run)["then"] == "skipped"


def test_a_workflow_can_keep_going_after_a_failure() -> None:
    wf = Workflow("keep going", fail_fast=False, max_concurrency=1).add_task("bad", fail)
    wf.add_task("next", lambda: 1).add_task("needs it", lambda: 2, ["bad"])
    run = ended(wf)
    assert statuses(run) == {"bad": "failed", "next": "completed", "needs it": "skipped"}
    assert not run.ok


def test_a_teardown_runs_last_whatever_happened() -> None:
    order: list[str] = []
    wf = Workflow("teardown", max_concurrency=1)
    wf.add_task("tidy", lambda: order.append("tidy"), teardown=True)
    wf.add_task("open", lambda: order.append("open"))
    wf.add_task("close", lambda: order.append("close"), ["open"], teardown=True)
    wf.add_task("use", lambda: order.append("use") or fail(), ["open"])
    wf.add_task("never", lambda: order.append("never"), ["use"])
    run = ended(wf)
    assert order.index("close") > order.index("open")
    assert order.index("tidy") > order.index("use")
    assert sorted(order) == ["close", "open", "tidy", "use"]
    assert run.verdict == "failed"


# --- trying again ---------------------------------------------------------------------------------


def failing(times: int, error: BaseException) -> Callable[[], int]:
    """A function that fails so many times."""
    calls = itertools.count(1)

    def work() -> int:
        if (call := next(calls)) <= times:
            raise error
        return call

    return work


def test_a_failed_task_is_tried_again_with_growing_delays() -> None:
    policy = RetryPolicy(5, initial_delay=0.01, exponential_base=3, max_delay=0.05, jitter=0)
    wf = Workflow("retry").add_task("flaky", failing(4, ValueError("not yet")), retry_policy=policy)
    run = ended(wf)
    assert (run["flaky"], run.tasks["flaky"].attempts, run.ok) == (5, 5, True)
    ends = ends_of(run, "flaky")
    assert [event["retry_at_ms"] - event["at_ms"] for event in ends[:-1]] == [10, 30, 50, 50]
    starts = [event["at_ms"] for event in run.events() if event["kind"] == "attempt_started"]
    due = [event["retry_at_ms"] for event in ends[:-1]]
    assert all(start >= at for start, at in zip(starts[1:], due, strict=True))


def test_attempts_come_to_an_end_and_the_last_error_stays() -> None:
    errors = iter([ValueError("first"), ValueError("second"), ValueError("third")])

    def work() -> None:
        raise next(errors)

    wf = Workflow("retry").add_task("x", work, retry_policy=RetryPolicy(2, **NO_DELAY))
    result = ended(wf).tasks["x"]
    assert (result.status.value, result.attempts, str(result.error)) == ("failed", 2, "second")


def test_only_the_exceptions_named_are_tried_again() -> None:
    wf = Workflow("retry on", fail_fast=False)
    on_value = RetryPolicy(3, retry_on=(ValueError, OSError), **NO_DELAY)
    wf.add_task("named", failing(1, UnicodeError("a kind of ValueError")), retry_policy=on_value)
    wf.add_task("other", failing(1, KeyError("other")), retry_policy=on_value)
    wf.add_task("no exception", failing(1, SystemExit(3)), retry_policy=RetryPolicy(3, **NO_DELAY))
    everything = RetryPolicy(3, retry_on=(BaseException,), **NO_DELAY)
    wf.add_task("everything", failing(1, SystemExit(3)), retry_policy=everything)
    run = ended(wf)
    assert {name: (result.status.value, result.attempts) for name, result in run.tasks.items()} == {
        "named": ("completed", 2),
        "other": ("failed", 1),
        "no exception": ("failed", 1),
        "everything": ("completed", 2),
    }


def test_what_waits_for_another_attempt_is_tried_again_after_a_failure_elsewhere() -> None:
    failed = threading.Event()
    calls = itertools.count(1)

    def flaky() -> int:
        if (call := next(calls)) == 1:
            failed.wait(DEADLINE_S)
            raise ValueError("not yet")
        return call

    wf = (
        Workflow("fail fast")
        .add_task("flaky", flaky, retry_policy=RetryPolicy(2, 0.01))
        .add_task("bad", fail)
    )
    wf.add_task("noticed", failed.set, ["bad"], trigger="any_failed").add_task("then", lambda: 1, ["flaky"])
    run = ended(wf)
    assert run["flaky"] == 2 and statuses(run)["then"] == "skipped"


def test_a_command_is_tried_again_after_any_failure(tmp_path: Path) -> None:
    line = f"echo x >> {tmp_path}/calls; [ $(wc -l < {tmp_path}/calls) = 3 ]"
    wf = Workflow("retry").add_shell("x", line, retry_policy=RetryPolicy(3, **NO_DELAY))
    assert ended(wf).tasks["x"].attempts == 3


def test_a_task_is_repeated_until_it_is_through() -> None:
    calls = itertools.count(1)
    wf = Workflow("repeat").add_task("poll", lambda: next(calls), repeat_until=lambda value: value == 4)

    async def later() -> int:
        return next(calls)

    wf.add_task("on a loop", later, ["poll"], repeat_until=lambda value: value == 6, repeat_delay=0.01)
    run = ended(wf)
    assert dict(run) == {"poll": 4, "on a loop": 6}
    assert (run.tasks["poll"].attempts, run.tasks["on a loop"].attempts) == (4, 2)
    [first, _] = ends_of(run, "on a loop")
    assert first["retry_at_ms"] - first["at_ms"] == 10


def test_a_task_that_is_never_through_fails_at_the_bound() -> None:
    calls: list[int] = []
    wf = Workflow("repeat").add_task("poll", lambda: calls.append(1), repeat_until=never, max_repeats=3)
    run = ended(wf.add_task("then", lambda: 1, ["poll"]))
    assert statuses(run) == {"poll": "failed", "then": "skipped"}
    assert len(calls) == 3


# --- order and limits -----------------------------------------------------------------------------


def test_what_has_priority_goes_first() -> None:
    wf = Workflow("priority", max_concurrency=1)
    for name, priority in {"a": 0, "b": -5, "c": 7, "d": 7}.items():
        wf.add_task(name, lambda: 1, priority=priority)
    wf.add_task("e", lambda: 1)
    assert started_in_order(ended(wf)) == ["c", "d", "a", "e", "b"]


def test_no_more_tasks_run_at_once_than_may() -> None:
    async def later() -> None:
        await asyncio.sleep(0.001)

    for most in (1, 3):
        wf = Workflow("at once", max_concurrency=most)
        for number in range(12):
            wf.add_task(f"{number}", later if number % 2 else lambda: threading.Event().wait(0.001))
        run = ended(wf)
        assert most_at_once(run, run.tasks) <= most


def test_as_many_tasks_run_at_once_as_may() -> None:
    threads = threading.Barrier(4)
    arrived = 0

    async def meet() -> None:
        nonlocal arrived
        arrived += 1
        while arrived < 50:
            await asyncio.sleep(0.001)

    wf = Workflow("at once", max_concurrency=54)
    for number in range(4):
        wf.add_task(f"thread {number}", lambda: threads.wait(DEADLINE_S))
    for number in range(50):
        wf.add_task(f"coroutine {number}", meet, timeout=DEADLINE_S)
    assert ended(wf).ok


def test_tasks_share_what_there_is_only_so_much_of() -> None:
    beside = threading.Barrier(2)
    wf = Workflow("resources", resources={"memory": 100, "door": 1})
    takes = {"big": 60, "big too": 60.5, "small": 40}
    wf.add_task("big", lambda: beside.wait(DEADLINE_S), resources={"memory": takes["big"]})
    wf.add_task("big too", lambda: 1, resources={"memory": takes["big too"]})
    wf.add_task("small", lambda: beside.wait(DEADLINE_S), resources={"memory": takes["small"]})
    through = [f"through {number}" for number in range(5)]
    for name in through:
        wf.add_task(name, lambda: threading.Event().wait(0.001), pool="door")
    run = ended(wf)
    assert run.ok
    assert most_at_once(run, takes, takes.__getitem__) == 100
    assert most_at_once(run, through) == 1


def test_a_rate_is_never_exceeded() -> None:
    wf = Workflow("rate", resources={"api": "2/s"})
    for number in range(5):
        wf.add_task(f"{number}", lambda: 1, pool="api")
    run = ended(wf)
    at_ms = [event["at_ms"] for event in run.events() if event["kind"] == "attempt_started"]
    assert all(third - first >= 999 for first, third in zip(at_ms, at_ms[2:], strict=False)), at_ms
