"""Coroutine functions on an event loop: what they see of it, and that it is theirs alone no longer than for a moment."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from dirigent import Run, TaskContext, Workflow, flow, task

from tests.children import DEADLINE_S
from tests.workflows import ended, statuses, whole

Body = Callable[[], Coroutine[Any, Any, Any]]
STATE: ContextVar[str] = ContextVar("state", default="nobody's")


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))


def run_within(wf: Workflow) -> Run:
    """Carry a workflow out in a loop that is running, and see that nothing of that is altered."""

    async def main() -> Run:
        loop = asyncio.get_running_loop()
        before = dict(vars(loop))
        run = await asyncio.wait_for(wf.run(durability="none"), DEADLINE_S)
        assert vars(loop).keys() == before.keys()
        return run

    return whole(asyncio.run(main()))


def value_of(body: Body) -> Any:
    """What a coroutine function returns as a task."""
    return run_within(Workflow("one").add_task("x", body))["x"]


def test_a_coroutine_is_one_task_of_asyncio_from_its_first_line_to_its_last() -> None:
    async def body() -> tuple[bool, bool, bool]:
        first = asyncio.current_task()
        await asyncio.sleep(0)
        last = asyncio.current_task()
        return isinstance(first, asyncio.Task), first is last, first in asyncio.all_tasks()

    assert value_of(body) == (True, True, True)

    async def short() -> tuple[bool, bool]:
        running = asyncio.current_task()
        return isinstance(running, asyncio.Task), running in asyncio.all_tasks()

    assert value_of(short) == (True, True)


def test_every_coroutine_has_a_task_and_variables_of_its_own() -> None:
    seen: list[tuple[object, str]] = []

    def made(turns: int) -> Body:
        async def body() -> str:
            seen.append((asyncio.current_task(), STATE.get()))
            STATE.set(str(turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            return STATE.get()

        return body

    wf = Workflow("many", max_concurrency=3)
    for number in range(9):
        wf.add_task(f"{number}", made(number % 3))
    run = run_within(wf)
    assert [run[f"{number}"] for number in range(9)] == [str(number % 3) for number in range(9)]
    assert len({running for running, _ in seen}) == 9 and {state for _, state in seen} == {"nobody's"}


def test_what_is_cancelled_in_the_first_step_is_cancelled_at_the_first_wait() -> None:
    async def cancelled() -> str:
        running = asyncio.current_task()
        assert running is not None
        running.cancel()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "heard"
        return "not heard"

    async def limited() -> str:
        try:
            await asyncio.wait_for(asyncio.sleep(3600), 0.01)
        except asyncio.TimeoutError:
            return "over"
        return "not over"

    assert (value_of(cancelled), value_of(limited)) == ("heard", "over")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there is no such thing in asyncio yet")
def test_groups_and_time_limits_of_asyncio_work_from_the_first_line() -> None:
    async def body() -> tuple[str, list[int]]:
        async def part(x: int) -> int:
            await asyncio.sleep(0)
            return x

        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(part(x)) for x in range(3)]
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(3600)
        except TimeoutError:
            return "over", [part.result() for part in parts]
        return "not over", []

    assert value_of(body) == ("over", [0, 1, 2])


def test_a_coroutine_that_starts_others_leaves_them_to_the_loop() -> None:
    order: list[str] = []

    async def other(name: str) -> str:
        order.append(name)
        return name

    async def body() -> list[str]:
        loop = asyncio.get_running_loop()
        loop.call_soon(order.append, "called")
        others = [asyncio.ensure_future(other("first")), loop.create_task(other("second"))]
        order.append("body")
        return await asyncio.gather(*others)

    assert value_of(body) == ["first", "second"]
    assert order == ["body", "called", "first", "second"]


def frames_of(error: BaseException) -> list[str]:
    """The functions that an exception came through."""
    frames, traceback = [], error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return frames


@pytest.mark.parametrize("turns", [0, 2])
def test_what_a_coroutine_raises_is_told_wherever_it_raises(turns: int) -> None:
    async def fails() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise ValueError("mine")

    wf = Workflow("fails").add_task("x", fails)
    for run in (run_within(wf), wf.run_sync(durability="none")):
        error = run.tasks["x"].error
        assert isinstance(error, ValueError) and error.args == ("mine",)
        assert error.__context__ is None and frames_of(error) == ["fails"]


def test_the_end_of_a_program_in_a_coroutine_that_has_not_waited_is_a_failure_of_its_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def leaves() -> None:
        sys.exit("bye")

    wf = Workflow("leaves", fail_fast=False).add_task("x", leaves).add_task("other", lambda: 1)
    run = ended(wf)
    assert statuses(run) == {"x": "failed", "other": "completed"}
    assert run.tasks["x"].sentence == "raised SystemExit: bye"
    error = run.tasks["x"].error
    assert isinstance(error, SystemExit) and frames_of(error) == ["leaves"]
    del run, wf, error
    gc.collect()
    # Where asyncio itself does the first step, it says that nobody heard of this.
    assert not caplog.records or sys.version_info >= (3, 12)


async def nothing() -> None:
    """Is through at once."""


def many(count: int, body: Body) -> Workflow:
    """A workflow of independent coroutines, all of which may start at once."""
    return Workflow("many", max_concurrency=count).add_tasks((f"{i}", body, ()) for i in range(count))


def spin(seconds: float) -> None:
    """Use the processor for so long, whoever else does."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_coroutines_that_never_wait_let_others_have_the_loop() -> None:
    async def body() -> None:
        spin(0.001)

    async def main() -> int:
        turns, running = 0, asyncio.ensure_future(many(200, body).run(durability="none"))
        while not running.done():
            await asyncio.sleep(0)
            turns += 1
        assert whole(running.result()).ok
        return turns

    # 200 ms of work: a turn each few of them.
    assert asyncio.run(main()) > 10


def test_what_was_given_up_before_it_began_never_begins() -> None:
    too_late: list[bool] = []

    async def body(context: TaskContext) -> None:
        too_late.append(context.cancelled)
        spin(0.001)

    wf = Workflow("many", max_concurrency=401, fail_fast=False)
    for number in range(400):
        wf.add_task(f"{number}", body, timeout=0.05)
    # Its turn comes after all others had theirs.
    wf.add_task("last", nothing)
    counts = ended(wf).summary()["counts"]
    # Those that were about to begin when the time was over may do so: no more than fit into a turn of the loop.
    assert counts["timed_out"] > 100 and sum(too_late) < 50


def test_nothing_begins_when_nobody_waits_for_the_run_any_more() -> None:
    began: list[None] = []

    async def body() -> None:
        began.append(None)
        spin(0.001)

    async def main() -> int:
        running = asyncio.ensure_future(many(1000, body).run(durability="none"))
        while not began:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        then = len(began)
        await asyncio.sleep(0.05)
        assert len(began) == then
        return then

    assert asyncio.run(main()) < 500


def test_a_factory_of_tasks_makes_the_tasks_where_there_is_one() -> None:
    made: list[str] = []

    def factory(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        made.append(coroutine.__name__)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def mine() -> int:
        return 1

    async def main() -> Run:
        asyncio.get_running_loop().set_task_factory(factory)
        return await Workflow("w").add_task("x", mine).run(durability="none")

    assert whole(asyncio.run(main()))["x"] == 1
    # From 3.12 on tasks that begin at once are made without it.
    assert ("mine" in made) == (sys.version_info < (3, 12))


def carried_out_by(loop: asyncio.AbstractEventLoop) -> Any:
    """What a coroutine that does not wait returns on a loop."""

    async def mine() -> int:
        return 1

    try:
        run = loop.run_until_complete(Workflow("w").add_task("x", mine).run(durability="none"))
    finally:
        loop.close()
    return whole(run)["x"]


def test_a_loop_that_wants_to_see_every_step_sees_them() -> None:
    steps: list[str] = []

    class Seeing(asyncio.SelectorEventLoop):
        def call_soon(self, callback: Any, *args: Any, **options: Any) -> asyncio.Handle:
            whose = getattr(callback, "__self__", None)
            if isinstance(whose, asyncio.Task):
                steps.append(whose.get_coro().__name__)  # type: ignore[union-attr]
            return super().call_soon(callback, *args, **options)

    assert carried_out_by(Seeing()) == 1
    # From 3.12 on the first step is none of the loop's.
    assert ("mine" in steps) == (sys.version_info < (3, 12))


def test_what_others_want_of_the_loop_while_a_task_is_made_is_done() -> None:
    wanted: list[int] = []
    done: list[int] = []

    class Busy(asyncio.SelectorEventLoop):
        is_asking = False

        def get_debug(self) -> bool:
            # Every new task asks this, and so does what is called here.
            if self.is_running() and not self.is_asking:
                self.is_asking = True
                wanted.append(len(wanted))
                self.call_soon(done.append, wanted[-1])
                self.is_asking = False
            return False

    assert carried_out_by(Busy()) == 1
    # What was wanted last, the loop has no turn for any more.
    assert wanted and done == wanted[: len(done)] and len(wanted) - len(done) < 10


def test_coroutines_of_a_flow_begin_at_once_as_well() -> None:
    @task
    async def short(x: int) -> tuple[int, bool]:
        return x, asyncio.current_task() is not None

    @flow
    def plain() -> list[tuple[int, bool]]:
        return short.map(range(50)).result()

    @flow
    async def on_loop() -> list[tuple[int, bool]]:
        return await short.map(range(50))

    expected = [(x, True) for x in range(50)]
    assert plain() == expected == asyncio.run(on_loop())
