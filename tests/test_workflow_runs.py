"""Runs that are ended before they are through: by time limits, by whoever cancels; nothing is left of them."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from dirigent import (
    RetryPolicy,
    TaskCancelledError,
    TaskContext,
    TaskInterrupt,
    TaskTimeoutError,
    WorkerDiedError,
    Workflow,
    WorkflowError,
)

from tests.children import DEADLINE_S, Ledger, wait_for
from tests.workflows import (
    Endless,
    ended,
    statuses,
    threads_of_runs,
    wait_for_status,
    wait_until_begun,
    whole,
    with_time_enough,
)


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def one() -> int:
    return 1


# --- time limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_a_function_that_takes_too_long_is_interrupted(kind: str) -> None:
    def attempt(limit: float) -> bool:
        endless = Endless()
        wf = Workflow("late", fail_fast=False).add_task("x", getattr(endless, kind), timeout=limit)
        run = ended(wf.add_task("after", one, ["x"]).add_task("other", one))
        assert statuses(run) == {"x": "timed_out", "after": "skipped", "other": "completed"}
        assert isinstance(run.tasks["x"].error, TaskTimeoutError)
        assert isinstance(run.tasks["x"].error, TimeoutError)
        with pytest.raises(TaskTimeoutError, match="task `x` ran out of time after"):
            run["x"]
        if endless.began.is_set():
            wait_until_begun(endless.over)
            expected = {"thread": TaskInterrupt, "coroutine": asyncio.CancelledError}[kind]
            assert endless.ended_by == [expected]
        return endless.began.is_set()

    with_time_enough(attempt)


def test_no_run_waits_for_a_function_that_cannot_be_interrupted() -> None:
    release = threading.Event()
    wf = Workflow("stuck", fail_fast=False, max_concurrency=1)
    wf.add_task("stuck", release.wait, timeout=0.1).add_task("next", one)
    run = ended(wf)
    assert statuses(run) == {"stuck": "timed_out", "next": "completed"}
    # What it returns at last is nobody's any more.
    release.set()
    wait_for("the end of its thread", lambda: not threads_of_runs())
    assert run.tasks["stuck"].status.value == "timed_out"


def test_a_function_that_shrugs_an_interrupt_off_is_not_asked_again() -> None:
    release, hits = threading.Event(), []

    def shrug() -> str:
        while not release.is_set():
            try:
                time.sleep(0.002)
            except TaskInterrupt:
                hits.append(1)
        return "too late"

    wf = Workflow("shrug", fail_fast=False).add_task("x", shrug, timeout=0.2)
    run = ended(wf.add_task("y", lambda: hits.append(0) or time.sleep(0.05)))
    release.set()
    wait_for("the end of its thread", lambda: not threads_of_runs())
    assert statuses(run) == {"x": "timed_out", "y": "completed"}
    assert hits.count(1) <= 1


def test_an_attempt_that_took_too_long_can_be_tried_again() -> None:
    release, calls = threading.Event(), itertools.count(1)

    def work() -> int:
        if (call := next(calls)) == 1:
            release.wait(DEADLINE_S)
        return call

    # What a policy says of exceptions does not count for time that ran out.
    policy = RetryPolicy(5, 0, retry_on=(KeyError,))
    wf = Workflow("again").add_task("x", work, timeout=2, retry_policy=policy)
    run = ended(wf)
    release.set()
    assert run["x"] == run.tasks["x"].attempts >= 2


def test_a_function_in_a_process_that_takes_too_long_is_ended_with_all_it_started(ledger: Ledger) -> None:
    line = f"{ledger.sign}; exec sleep 600"

    def work() -> None:
        import subprocess
        import time

        subprocess.Popen(["setsid", "sh", "-c", line])
        time.sleep(600)

    def attempt(limit: float) -> bool:
        run = ended(Workflow("late").add_task("x", work, isolation="process", timeout=limit))
        assert statuses(run) == {"x": "timed_out"}
        wait_for("the end of what it started", lambda: not ledger.alive())
        return bool(ledger.processes())

    with_time_enough(attempt, (2, 10, 60))


def test_a_coroutine_function_can_have_a_process_of_its_own() -> None:
    here = os.getpid()

    async def later(one: int) -> tuple[int, bool]:
        await asyncio.sleep(0)
        return one, os.getpid() != here

    wf = Workflow("far").add_task("one", one).add_task("later", later, ["one"], isolation="process")
    assert ended(wf)["later"] == (1, True)


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(ledger: Ledger) -> None:
    child = f'sh -c "{ledger.sign}; exec sleep 600"'.replace("$$", "\\$\\$")
    line = f"setsid {child} & {ledger.sign}; exec sleep 600"

    def attempt(limit: float) -> bool:
        ledger.path.unlink(missing_ok=True)
        run = ended(Workflow("late").add_shell("x", line, timeout=limit))
        assert statuses(run) == {"x": "timed_out"}
        assert not ledger.alive()
        return len(ledger.processes()) == 2

    with_time_enough(attempt)


def test_a_run_that_takes_too_long_is_ended_whole(ledger: Ledger) -> None:
    def attempt(limit: float) -> bool:
        ledger.path.unlink(missing_ok=True)
        thread, coroutine, tidied = Endless(), Endless(), []
        wf = Workflow("late", timeout=limit)
        wf.add_task("thread", thread.thread).add_task("coroutine", coroutine.coroutine)
        wf.add_shell("command", f"{ledger.sign}; exec sleep 600").add_task("after", one, ["thread"])
        wf.add_approval("asked", "Go on?").add_task("tidy", lambda: tidied.append(1), teardown=True)
        run = ended(wf)
        mortal = ("thread", "coroutine", "command", "after", "asked")
        assert statuses(run) == {**dict.fromkeys(mortal, "cancelled"), "tidy": "completed"}
        assert (run.ok, run.verdict, tidied) == (False, "failed", [1])
        with pytest.raises(WorkflowError, match="longer than it may"):
            run.raise_for_failures()
        assert not ledger.alive()
        return bool(ledger.processes()) and thread.began.is_set() and coroutine.began.is_set()

    with_time_enough(attempt)


def test_limits_that_are_not_reached_change_nothing() -> None:
    wf = Workflow("early", timeout=DEADLINE_S).add_task("x", one, timeout=DEADLINE_S)
    wf.add_command("y", ["true"], timeout=DEADLINE_S)
    assert ended(wf).ok


# --- being cancelled ------------------------------------------------------------------------------


def test_a_run_can_be_cancelled_from_another_thread(ledger: Ledger) -> None:
    thread, coroutine, tidied = Endless(), Endless(), []
    wf = Workflow("cancel").add_task("thread", thread.thread).add_task("coroutine", coroutine.coroutine)
    wf.add_shell("command", f"{ledger.sign}; exec sleep 600").add_task("after", one, ["thread"])
    wf.add_task("retrying", lambda: 1 / 0, retry_policy=RetryPolicy(2, 3600, max_delay=3600))
    wf.add_task("always", lambda: tidied.append(1), ["thread"], trigger="always")
    wf.add_task("tidy", lambda: tidied.append(2), teardown=True)
    handle = wf.start()
    wait_until_begun(thread.began, coroutine.began)
    wait_for_status(handle, "retrying", "retrying")
    ledger.wait_for(1)
    with pytest.raises(TimeoutError):
        handle.wait(0.01)
    assert not handle.done
    handle.cancel()
    run = whole(handle.wait(DEADLINE_S))
    mortal = ("thread", "coroutine", "command", "after", "retrying")
    completed = ("always", "tidy")
    assert statuses(run) == {**dict.fromkeys(mortal, "cancelled"), **dict.fromkeys(completed, "completed")}
    assert (run.ok, run.verdict, tidied, handle.done) == (False, "cancelled", [1, 2], True)
    assert not ledger.alive()
    wait_until_begun(thread.over, coroutine.over)
    assert thread.ended_by == [TaskInterrupt] and coroutine.ended_by == [asyncio.CancelledError]
    with pytest.raises(TaskCancelledError, match="task `thread` was cancelled"):
        run["thread"]
    with pytest.raises(WorkflowError, match="was cancelled") as caught:
        run.raise_for_failures()
    assert caught.value.code == "run.cancelled"
    handle.cancel()


def test_a_run_can_be_looked_at_and_cancelled_as_soon_as_it_is_started() -> None:
    release = threading.Event()
    wf = Workflow("at once").add_task("a", release.wait).add_task("b", one, ["a"])
    for whole_run in (True, False) * 50:
        handle = wf.start()
        assert list(handle.tasks) == ["a", "b"] and handle.tasks["b"].status.value == "pending"
        handle.cancel(None if whole_run else "a")
        run = whole(handle.wait(DEADLINE_S))
        assert statuses(run) == {"a": "cancelled", "b": "cancelled" if whole_run else "skipped"}
        assert run.verdict == ("cancelled" if whole_run else "failed")
    release.set()


def test_a_task_can_cancel_the_run_it_is_a_part_of() -> None:
    endless = Endless()
    wf = Workflow("cancel").add_task("endless", endless.thread)
    wf.add_task("cancel", lambda: endless.began.wait(DEADLINE_S) and wf.cancel())
    assert ended(wf).verdict == "cancelled"


def test_one_task_can_be_cancelled_alone(ledger: Ledger) -> None:
    thread, go_on = Endless(), threading.Event()
    wf = Workflow("cancel one", fail_fast=False).add_task("thread", thread.thread)
    wf.add_shell("command", f"{ledger.sign}; exec sleep 600").add_approval("asked", "?")
    wf.add_task("other", lambda: go_on.wait(DEADLINE_S)).add_task("pending", one, ["other"])
    wf.add_task("after", one, ["thread"]).add_task("after other", one, ["other"])
    handle = wf.start()
    wait_until_begun(thread.began)
    ledger.wait_for(1)
    wait_for_status(handle, "asked", "waiting")
    with pytest.raises(KeyError):
        handle.cancel("nobody")
    for name in ("thread", "command", "asked", "pending"):
        handle.cancel(name)
    wait_until_begun(thread.over)
    go_on.set()
    run = whole(handle.wait(DEADLINE_S))
    assert statuses(run) == {
        **dict.fromkeys(("thread", "command", "asked", "pending"), "cancelled"),
        "other": "completed",
        "after": "skipped",
        "after other": "completed",
    }
    assert run.verdict == "failed"
    assert not ledger.alive()


def test_killing_ends_also_what_would_clean_up() -> None:
    endless, cleaning, tidied = Endless(), Endless(), []
    wf = Workflow("kill").add_task("endless", endless.thread)
    wf.add_task("cleans", cleaning.thread, ["endless"], teardown=True)
    wf.add_task("tidy", lambda: tidied.append(1), ["cleans"], teardown=True)
    handle = wf.start()
    wait_until_begun(endless.began)
    handle.cancel()
    wait_until_begun(cleaning.began)
    handle.kill()
    run = whole(handle.wait(DEADLINE_S))
    assert set(statuses(run).values()) == {"cancelled"} and not tidied
    wait_until_begun(cleaning.over)


def test_a_long_loop_can_ask_whether_anybody_still_waits() -> None:
    began, asked = threading.Event(), []

    def work(context: TaskContext) -> None:
        began.set()
        while True:
            asked.append(context.cancelled)
            context.heartbeat()

    handle = Workflow("heartbeat").add_task("x", work).start()
    wait_until_begun(began)
    handle.cancel()
    assert handle.wait(DEADLINE_S).verdict == "cancelled"
    wait_for("the end of the function", lambda: not threads_of_runs())
    assert not any(asked[:-1])


def test_nothing_is_left_of_a_run_that_is_over() -> None:
    wf = Workflow("over").add_command("c", ["true"])
    for number in range(20):
        wf.add_task(f"{number}", lambda: time.sleep(0.001))
    before = sys.stdout, list(logging.getLogger().handlers)
    ended(wf)
    wait_for("the end of its threads", lambda: not threads_of_runs())
    assert (sys.stdout, list(logging.getLogger().handlers)) == before


def test_threads_that_have_nothing_more_to_do_let_go_of_the_run_before_its_end() -> None:
    def threads_at_work() -> int:
        frames = [sys._current_frames().get(number) for number in begun]
        names = [frame.f_code.co_name for frame in frames if frame is not None]
        return len(names) - names.count("work")

    def short() -> None:
        begun.add(threading.get_ident())
        assert release.wait(DEADLINE_S)

    def long() -> int:
        begun.add(threading.get_ident())
        wait_for("others", lambda: len(begun) > 2)
        release.set()
        wait_for("the others to be through", lambda: threads_at_work() == 1)
        return len(begun)

    begun: set[int] = set()
    release = threading.Event()
    wf = Workflow("tail", max_concurrency=9).add_task("long", long)
    for number in range(8):
        wf.add_task(f"{number}", short)
    assert ended(wf)["long"] > 2
    wait_for("the end of its threads", lambda: not threads_of_runs())


@pytest.mark.parametrize("knows", ["workflow", "run", "value", "sub-workflow"])
def test_a_function_that_knows_its_workflow_or_its_run_is_let_go_with_it(knows: str) -> None:
    class Known:
        """What the function closes over."""

    def leave() -> weakref.ref[Known]:
        known: Any = Known()

        def function() -> Any:
            return known if knows == "value" else None

        wf = Workflow("w").add_task("f", function)
        if knows == "sub-workflow":
            wf = Workflow("outer").add_workflow("inner", wf)
        run = wf.run_sync()
        assert run.ok
        known.of = run if knows in ("run", "value") else wf
        return weakref.ref(known)

    reference = leave()
    gc.collect()
    assert reference() is None


def test_a_process_that_died_is_an_error_of_its_own_that_names_the_task() -> None:
    run = ended(Workflow("w").add_task("crash", lambda: os.abort(), isolation="process"))
    with pytest.raises(WorkerDiedError, match=r"the process of task `crash` ended before.*SIGABRT") as caught:
        run["crash"]
    assert (caught.value.code, caught.value.task) == ("task.process_died", "crash")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.code, again.task) == (WorkerDiedError, "task.process_died", "crash")


def test_a_ctrl_c_that_hits_between_coroutines_is_no_failure_of_a_task() -> None:
    def hit(value: object) -> None:
        raise KeyboardInterrupt

    async def short() -> None:
        await asyncio.sleep(0)

    wf = Workflow("w").add_task("short", short, transform_result=hit)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(wf.run())


def test_teardown_after_an_interrupt_does_not_wait_for_functions_that_cannot_be_interrupted() -> None:
    code = f"""
import threading, time
from dirigent import Workflow

began, tidied = threading.Barrier(5), threading.Event()

def asleep():
    if began.wait() == 0:
        print("began", flush=True)
    time.sleep({DEADLINE_S})

wf = Workflow("w", max_concurrency=5).add_task("tidy", tidied.set, ["0"], teardown=True)
for n in range(5):
    wf.add_task(str(n), asleep)
try:
    wf.run_sync()
except KeyboardInterrupt:
    print("interrupted", tidied.wait({DEADLINE_S / 2}), flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "began\n"
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=DEADLINE_S)
    assert (output, child.returncode) == ("interrupted True\n", 0)
