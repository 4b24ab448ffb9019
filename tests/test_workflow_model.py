"""Random small workflows beside a model of what has to become of each task, written from the documentation alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from dirigent import RetryPolicy, Run, Workflow
from hypothesis import given
from hypothesis import strategies as st

from tests.workflows import ended, same, statuses

TRIGGERS = ("all_success", "all_done", "any_success", "any_failed", "none_failed", "always")


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


class Given(NamedTuple):
    """A task as it is declared."""

    #: Places of the tasks it needs: any, as long as there is no circle.
    needs: tuple[int, ...]
    trigger: str
    #: Whether it returns, raises, raises at first, has a condition that does not hold, or one that raises.
    does: str
    is_coroutine: bool
    is_teardown: bool
    priority: int


# --- the model ------------------------------------------------------------------------------------

ENDS = {
    "return": "completed",
    "raise": "failed",
    "flaky": "completed",
    "hold back": "skipped",
    "ask": "failed",
}


def may_start(task: Given, needs: Sequence[str | None]) -> bool | None:
    """Whether a task may start by how its needs ended (``None`` for those that have not); ``None``: not known yet."""
    done = [status for status in needs if status is not None]
    if task.is_teardown or task.trigger in ("all_done", "always"):
        return True if len(done) == len(needs) else None
    if task.trigger == "any_success" and needs:
        known = "completed" in done or (False if len(done) == len(needs) else None)
    elif task.trigger == "any_failed":
        known = "failed" in done or (False if len(done) == len(needs) else None)
    elif task.trigger == "none_failed":
        known = "failed" not in done and (True if len(done) == len(needs) else None)
    else:
        known = all(status == "completed" for status in done) and (True if len(done) == len(needs) else None)
    return known


def predict(tasks: Sequence[Given], fail_fast: bool) -> list[str]:
    """How every task ends, where one runs at a time: the first of those that may, by priority and then by place."""
    ends: list[str | None] = [None] * len(tasks)

    def judged(place: int) -> bool | None:
        task = tasks[place]
        needs = [ends[need] for need in task.needs]
        if task.is_teardown and not needs:
            needs = [end for end, other in zip(ends, tasks, strict=True) if not other.is_teardown]
        return may_start(task, needs)

    while open_ones := [place for place, end in enumerate(ends) if end is None]:
        skipped = [place for place in open_ones if judged(place) is False]
        if not skipped and fail_fast and "failed" in ends:
            skipped = [place for place in open_ones if not waits_for_failures(tasks[place])]
        for place in skipped:
            ends[place] = "skipped"
        if skipped:
            continue
        ready = [place for place in open_ones if judged(place)]
        first = min(ready, key=lambda place: (-tasks[place].priority, place))
        ends[first] = ENDS[tasks[first].does]
    return [end for end in ends if end is not None]


def waits_for_failures(task: Given) -> bool:
    return task.is_teardown or task.trigger in ("any_failed", "all_done", "always")


def test_the_model_knows_what_it_is_for() -> None:
    def task(
        *needs: int, trigger: str = "all_success", does: str = "return", teardown: bool = False
    ) -> Given:
        return Given(needs, trigger, does, False, teardown, 0)

    tasks = [
        task(does="raise"),
        task(),
        task(0),
        task(0, trigger="any_failed"),
        task(2, trigger="none_failed"),
    ]
    assert predict(tasks, False) == ["failed", "completed", "skipped", "completed", "completed"]
    assert predict(tasks, True) == ["failed", "skipped", "skipped", "completed", "skipped"]
    last = [task(does="hold back"), task(0, trigger="any_success"), task(teardown=True)]
    assert predict(last, True) == ["skipped", "skipped", "completed"]


# --- the real thing -------------------------------------------------------------------------------


class Calls:
    """How often each task was called, and what it was given."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.of: dict[int, list[set[str]]] = {}

    def action(self, place: int, does: str, is_coroutine: bool) -> Callable[..., Any]:
        def work(**values: int) -> int:
            with self.lock:
                calls = self.of.setdefault(place, [])
                calls.append(set(values))
            if does == "raise" or (does == "flaky" and len(calls) == 1):
                raise ValueError(place)
            return place

        async def later(**values: int) -> int:
            await asyncio.sleep(0)
            return work(**values)

        return later if is_coroutine else work


def carry_out(tasks: Sequence[Given], fail_fast: bool, most: int) -> tuple[Run, Calls]:
    calls = Calls()
    wf = Workflow("model", fail_fast=fail_fast, max_concurrency=most)
    conditions = {"hold back": lambda _: False, "ask": lambda _: 1 / 0}
    for place, task in enumerate(tasks):
        wf.add_task(
            f"t{place}",
            calls.action(place, task.does, task.is_coroutine),
            [f"t{need}" for need in task.needs],
            condition=conditions.get(task.does),
            retry_policy=RetryPolicy(2, 0, jitter=0) if task.does == "flaky" else None,
            trigger=task.trigger,
            teardown=task.is_teardown,
            priority=task.priority,
        )
    return ended(wf), calls


def check(tasks: Sequence[Given], fail_fast: bool, most: int) -> None:
    """Carry tasks out and hold what became of them against the model."""
    expected = predict(tasks, fail_fast)
    run, calls = carry_out(tasks, fail_fast, most)
    assert list(statuses(run).values()) == expected
    assert run.verdict == ("failed" if "failed" in expected else "succeeded")
    for place, (task, end) in enumerate(zip(tasks, expected, strict=True)):
        attempts = {"flaky": 2, "return": 1, "raise": 1}.get(task.does, 0) if end != "skipped" else 0
        assert len(calls.of.get(place, [])) == run.tasks[f"t{place}"].attempts == attempts
        if end == "completed":
            assert run[f"t{place}"] == place
        given = {f"t{need}" for need in task.needs if expected[need] == "completed"}
        for values in calls.of.get(place, []):
            # Who starts early cannot have the values of those that still run.
            assert values == given or (values < given and task.trigger.startswith("any_"))


def tasks_that(does: Sequence[str]) -> st.SearchStrategy[list[Given]]:
    """Workflows without circles, whose tasks stand in any order."""

    @st.composite
    def made(draw: st.DrawFn) -> list[Given]:
        count = draw(st.integers(1, 9))
        # Places in an order in which they could start: each may need those before it.
        order = draw(st.permutations(range(count)))
        tasks: dict[int, Given] = {}
        for index, place in enumerate(order):
            before = [other for other in order[:index] if not tasks[other].is_teardown]
            needs = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
            tasks[place] = Given(
                tuple(needs),
                draw(st.sampled_from(TRIGGERS)) if needs else "all_success",
                draw(st.sampled_from(does)),
                draw(st.booleans()),
                draw(st.integers(0, 5)) == 0,
                draw(st.integers(-1, 1)),
            )
        return [tasks[place] for place in range(count)]

    return made()


EVERYTHING = ("return", "return", "raise", "flaky", "hold back", "ask")


@same(200)
@given(tasks_that(EVERYTHING), st.integers(1, 4))
def test_a_workflow_that_keeps_going_ends_as_the_model_says(tasks: list[Given], most: int) -> None:
    check(tasks, fail_fast=False, most=most)


@same(200)
@given(tasks_that(("return", "return", "return", "raise")))
def test_a_workflow_that_fails_fast_ends_as_the_model_says(tasks: list[Given]) -> None:
    # One at a time and nobody to be asked: otherwise it is chance what had started already.
    check(tasks, fail_fast=True, most=1)
