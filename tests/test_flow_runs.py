"""Runs of flows: how they end, on and beside event loops, inside each other and several at once."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dirigent import (
    TaskCancelledError,
    TaskError,
    TaskFailedError,
    TaskTimeoutError,
    UsageError,
    Workflow,
    WorkflowError,
    flow,
    task,
)

from tests.children import DEADLINE_S
from tests.flows import add, fail, later, outcome, same, told, until_interrupted
from tests.workflows import wait_until_begun


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


# --- ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_a_task_that_takes_too_long_is_interrupted(is_async: bool) -> None:
    began, ended = threading.Event(), threading.Event()

    @task(timeout=timedelta(milliseconds=50))
    def long() -> None:
        until_interrupted(began, ended)

    @task(timeout=0.05)
    async def long_async() -> None:
        try:
            await asyncio.sleep(DEADLINE_S)
        finally:
            ended.set()

    @flow
    def late() -> Any:
        return (long_async if is_async else long)()

    with pytest.raises(TaskTimeoutError, match="task `long"):
        outcome(late)
    assert ended.wait(DEADLINE_S)


def test_a_flow_that_takes_too_long_ends_with_all_it_does() -> None:
    began, ended = threading.Event(), threading.Event()

    @task
    def long() -> None:
        until_interrupted(began, ended)

    @flow(timeout=0.2)
    def late() -> Any:
        return add(long().result())

    with pytest.raises(TaskTimeoutError, match=r"flow `late` took longer than 0\.2 s"):
        outcome(late)
    assert began.is_set() is ended.wait(DEADLINE_S if began.is_set() else 0)


def test_a_cancelled_flow_interrupts_its_body_and_its_tasks() -> None:
    began, ended, in_body = threading.Event(), threading.Event(), threading.Event()

    @task
    def long() -> None:
        until_interrupted(began, ended)

    @flow
    def endless() -> Any:
        try:
            return long().result()
        except BaseException:
            in_body.set()
            raise

    handle = endless.submit()
    wait_until_begun(began)
    with pytest.raises(TimeoutError):
        handle.result(0.01)
    assert not handle.done()
    handle.cancel()
    with pytest.raises(TaskCancelledError, match="flow `endless` was cancelled"):
        handle.result(DEADLINE_S)
    assert handle.done()
    assert ended.wait(DEADLINE_S) and in_body.wait(DEADLINE_S)
    assert {event["kind"] for event in handle.events()} >= {"run_created", "attempt_ended", "run_ended"}
    assert repr(handle) == f"<FlowHandle of 'endless', run {handle.run.id}>"


def test_a_flow_that_is_cancelled_at_once_never_succeeds() -> None:
    @flow
    def waiting() -> None:
        until_interrupted(threading.Event(), threading.Event())

    for _ in range(20):
        handle = waiting.submit()
        handle.cancel()
        with pytest.raises(TaskCancelledError):
            handle.result(DEADLINE_S)


def test_a_flow_whose_body_raised_has_failed() -> None:
    began = threading.Event()

    @task
    def long() -> None:
        until_interrupted(began, threading.Event())

    @flow
    def broken() -> None:
        long()
        wait_until_begun(began)
        raise KeyError("mine")

    handle = broken.submit()
    with pytest.raises(KeyError):
        handle.result(DEADLINE_S)
    run = handle.run.wait(DEADLINE_S)
    assert (run.ok, run.verdict) == (False, "failed")
    assert run.tasks["long"].status == "cancelled"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_flow_whose_body_handled_a_failure_has_succeeded(is_async: bool) -> None:
    @flow
    def careful() -> str:
        assert fail().exception() is not None
        return "handled"

    @flow
    async def careful_async() -> str:
        with pytest.raises(TaskFailedError):
            await fail()
        return "handled"

    handle = (careful_async if is_async else careful).submit()
    assert handle.result(DEADLINE_S) == "handled"
    run = handle.run.wait(DEADLINE_S)
    assert (run.ok, run.verdict) == (True, "succeeded")
    assert run.raise_for_failures() is run
    assert [failed.name for failed in run.failed] == ["fail"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_flow_in_which_nobody_looked_at_a_failure_has_failed(is_async: bool) -> None:
    gate = threading.Event()

    @task
    def fail_later() -> None:
        assert gate.wait(DEADLINE_S)
        raise LookupError("late")

    @flow
    def blind() -> str:
        fail_later()
        later(1)
        threading.Timer(0.05, gate.set).start()
        return "all well"

    @flow
    async def blind_async() -> str:
        return blind()  # type: ignore[no-any-return]

    handle = (blind_async if is_async else blind).submit()
    with pytest.raises(TaskFailedError, match="nobody asked for its result"):
        handle.result(DEADLINE_S)
    run = handle.run.wait(DEADLINE_S)
    assert (run.ok, run.verdict) == (False, "failed")
    assert run.tasks["body"].status == "failed"


def test_a_task_cancelled_alone_is_no_success_unless_somebody_looked() -> None:
    began = threading.Event()

    @task
    def long() -> None:
        until_interrupted(began, threading.Event())

    @flow
    def leaving(looks: bool) -> str:
        future = long()
        if looks:
            assert isinstance(future.exception(), TaskCancelledError)
        return "left"

    for looks in (True, False):
        began.clear()
        handle = leaving.submit(looks)
        wait_until_begun(began)
        handle.run.cancel("long")
        if looks:
            assert handle.result(DEADLINE_S) == "left"
        else:
            with pytest.raises(TaskFailedError, match="`long` was cancelled, and nobody asked"):
                handle.result(DEADLINE_S)
        assert handle.run.wait(DEADLINE_S).ok is looks


def test_an_interrupt_ends_a_flow_at_once(tmp_path: Path) -> None:
    code = """
import time
from dirigent import flow, task

@task
def long():
    print("began", flush=True)
    time.sleep(600)

@flow
def endless():
    return long().result()

try:
    endless()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "began\n"
    # Python itself may lose a Ctrl-C that falls into a finaliser: then a person presses it again, once.
    child.send_signal(signal.SIGINT)
    try:
        output, _ = child.communicate(timeout=DEADLINE_S / 3)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=DEADLINE_S)
    assert "interrupted\n" in output


def test_a_run_that_is_over_takes_no_more_tasks() -> None:
    scopes: list[Any] = []

    @flow
    def leaving() -> None:
        import contextvars

        scopes.append(contextvars.copy_context())

    outcome(leaving)
    with pytest.raises(WorkflowError, match="the run of flow `leaving` has ended"):
        scopes[0].run(add, 1)


def test_what_a_run_was_given_is_let_go_when_it_has_ended() -> None:
    class Big:
        pass

    @task
    def weigh(things: list[Any]) -> int:
        return len(things)

    @flow
    def given(big: Big) -> Any:
        return weigh([big, same(1)]), weigh.map([[big]])

    big = Big()
    reference = weakref.ref(big)
    assert outcome(given, big) == (2, [1])
    del big
    gc.collect()
    assert reference() is None


def test_many_calls_of_one_task_keep_one_function() -> None:
    from dirigent._flow_run import _carry_call

    @flow
    def wide() -> None:
        for x in range(50):
            add(x)

    handle = wide.submit()
    handle.result(DEADLINE_S)
    assert gc.get_referents(handle.run._session).count(_carry_call) == 1


# --- event loops ----------------------------------------------------------------------------------


def test_a_flow_runs_where_an_event_loop_runs_already() -> None:
    @flow
    def ordinary() -> Any:
        return add(1), later(2), add.map(same([1, 2]))

    async def main() -> Any:
        return ordinary()

    assert asyncio.run(main()) == (2, 2, [2, 3])


def test_coroutine_tasks_of_a_flow_share_one_loop_and_run_at_once() -> None:
    waiting: set[asyncio.AbstractEventLoop] = set()
    count = 0

    @task
    async def meet(x: int) -> int:
        nonlocal count
        count += 1
        waiting.add(asyncio.get_running_loop())
        while count < 100:
            await asyncio.sleep(0.001)
        return x

    @flow
    def meeting() -> Any:
        # One while another runs already, and the rest at once.
        first = meet(0)
        return add(first), meet.map(range(1, 100))

    assert outcome(meeting) == (1, list(range(1, 100)))
    assert len(waiting) == 1


def test_an_asynchronous_flow_is_awaited_and_awaits() -> None:
    loops: set[Any] = set()

    @task
    async def here(x: int) -> int:
        loops.add(asyncio.get_running_loop())
        return x

    @flow
    async def asynchronous(n: int) -> Any:
        loops.add(asyncio.get_running_loop())
        one = await here(n)
        two, three = await asyncio.gather(add(one), here(3))
        if two == n + 1:
            mapped = await here.map(range(three))
        unsized = add.map(same(mapped))
        assert await unsized == [1, 2, 3]
        assert len(unsized) == 3 and unsized[0].done()
        with pytest.raises(TaskFailedError, match="no such row"):
            await fail()
        return [one, two, three, mapped, add(10), unsized, {"x": here(5)}]

    expected = [1, 2, 3, [0, 1, 2], 11, [1, 2, 3], {"x": 5}]

    async def main() -> Any:
        loops.add(asyncio.get_running_loop())
        return await asynchronous(1)

    assert asyncio.run(main()) == expected
    assert len(loops) == 1
    assert outcome(asynchronous, 1) == expected


def test_to_wait_without_await_on_the_loop_of_the_run_is_refused() -> None:
    @flow
    async def stuck() -> Any:
        return later(1).result()

    with pytest.raises(UsageError, match=r"would stop the event loop.*\n.*await the future"):
        outcome(stuck)


def test_an_exception_of_an_asynchronous_body_cancels_the_rest() -> None:
    cancelled = threading.Event()

    @task
    async def long(began: asyncio.Event) -> None:
        began.set()
        try:
            await asyncio.sleep(DEADLINE_S)
        finally:
            cancelled.set()

    @flow
    async def broken() -> None:
        began = asyncio.Event()
        long(began)
        await began.wait()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        outcome(broken)
    assert cancelled.wait(DEADLINE_S)

    async def given_up() -> None:
        began = asyncio.Event()

        @flow
        async def endless() -> Any:
            return await long(began)

        cancelled.clear()
        running = asyncio.create_task(endless())
        await began.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(given_up())
    assert cancelled.wait(DEADLINE_S)


def test_a_coroutine_starts_while_another_goes_on() -> None:
    second_ran = threading.Event()

    async def first() -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not second_ran.is_set():
            assert time.monotonic() < deadline, "the second never started"
            await asyncio.sleep(0.001)

    async def second(function: int) -> None:
        second_ran.set()

    wf = Workflow("w").add_task("first", first).add_task("function", lambda: 1)
    assert wf.add_task("second", second, ["function"]).start().wait(DEADLINE_S).ok


# --- flows in flows, several at once --------------------------------------------------------------


def test_a_flow_in_a_flow_is_a_part_of_its_run() -> None:
    @flow(timeout=1000)
    def inner(x: Any) -> Any:
        one = add(x)
        return add(one), same.map(same([1, 2]))

    @flow
    async def inner_async(x: Any) -> Any:
        return await add(x), add(x)

    @flow
    def outer() -> Any:
        before = add(0)
        pair, mapped = inner(before)
        again, _ = inner(pair)
        asynchronous = asyncio.run(inner_async(again))
        return [before, pair, mapped, again, asynchronous, add(again)]

    value, statuses = told(outer)
    assert value == [1, 3, [1, 2], 5, (6, 6), 6]
    assert list(statuses)[:2] == ["body", "add"]
    assert set(statuses) == {
        *("body", "add", "add[1]", "inner_async/add", "inner_async/add[1]"),
        *(
            "inner/add",
            "inner/add[1]",
            "inner/same",
            "inner/same.map",
            "inner/same.map/0",
            "inner/same.map/1",
        ),
        *("inner[1]/add", "inner[1]/add[1]", "inner[1]/same", "inner[1]/same.map"),
        *("inner[1]/same.map/0", "inner[1]/same.map/1"),
    }


def test_an_exception_in_a_flow_in_a_flow_can_be_caught() -> None:
    @flow
    def inner() -> Any:
        return fail().result()

    @flow
    def outer() -> Any:
        try:
            inner()
        except TaskError:
            return add(1)

    value, statuses = told(outer)
    assert value == 2
    assert statuses == {"body": "completed", "inner/fail": "failed", "add": "completed"}


def test_a_flow_called_by_a_task_has_a_run_of_its_own() -> None:
    @flow
    def inner(x: int) -> Any:
        return add(x)

    @task
    def calling(x: int) -> Any:
        return inner(x), inner.submit(x).result(DEADLINE_S)

    @flow
    def outer() -> Any:
        return calling(1), inner.submit(5).result(DEADLINE_S)

    value, statuses = told(outer)
    assert value == ((2, 2), 6)
    assert list(statuses) == ["body", "calling"]


def test_flows_run_beside_each_other_from_several_threads() -> None:
    at_once = threading.Barrier(3, timeout=DEADLINE_S)

    @task
    def meet(x: int) -> int:
        at_once.wait()
        return x

    @flow
    def one(x: int) -> Any:
        return add(meet(x))

    values: list[Any] = []
    threads = [
        threading.Thread(target=lambda: values.append(one(1))),
        threading.Thread(target=lambda: values.append(one.submit(2).result(DEADLINE_S))),
    ]
    for thread in threads:
        thread.start()
    values.append(asyncio.run(asyncio.wait_for(asyncio.to_thread(one, 3), DEADLINE_S)))
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted(values) == [2, 3, 4]


def test_threads_of_the_body_that_have_its_context_may_call_tasks() -> None:
    @flow
    async def spread() -> Any:
        futures = await asyncio.gather(*(asyncio.to_thread(add, x) for x in range(20)))
        return sorted(await asyncio.gather(*futures))

    value, statuses = told(spread)
    assert value == list(range(1, 21))
    assert len(statuses) == 21
