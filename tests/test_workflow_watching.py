"""Runs watched and embedded: output, progress, events, event loops, several at once."""

from __future__ import annotations

import asyncio
import contextvars
import io
import itertools
import logging
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dirigent import RetryPolicy, Run, TaskContext, Workflow

from tests.children import DEADLINE_S, wait_for
from tests.workflows import Endless, ended, most_at_once, statuses, whole


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def one() -> int:
    return 1


# --- what tasks print and log ---------------------------------------------------------------------


def test_what_a_task_prints_and_logs_goes_to_its_log_and_where_it_always_goes(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def work() -> None:
        print("printed")
        print("more", "é", file=sys.stderr)
        sys.stdout.writelines(["a\n", "b\n"])
        logging.getLogger("of.mine").warning("logged")

    async def later() -> None:
        print("later")
        await asyncio.sleep(0.001)
        print("and later")

    def helped() -> None:
        context = contextvars.copy_context()
        helper = threading.Thread(target=context.run, args=(print, "from a thread"))
        helper.start()
        helper.join()

    wf = (
        Workflow("print", max_concurrency=1)
        .add_task("work", work)
        .add_task("later", later)
        .add_task("quiet", one)
    )
    run = ended(wf.add_task("helped", helped))
    print("after")
    logs = {name: result.log for name, result in run.tasks.items()}
    assert logs["work"] and logs["later"] and logs["quiet"] and logs["helped"]
    assert (logs["work"] / "stdout.log").read_text() == "printed\na\nb\n"
    err = (logs["work"] / "stderr.log").read_text()
    assert "more é\n" in err and "WARNING of.mine: logged\n" in err
    assert (logs["later"] / "stdout.log").read_text() == "later\nand later\n"
    assert (logs["helped"] / "stdout.log").read_text() == "from a thread\n"
    assert not logs["quiet"].exists()
    assert caplog.messages == ["logged"]
    out, err = capsys.readouterr()
    assert out == "printed\na\nb\nlater\nand later\nfrom a thread\nafter\n"
    assert "more é\n" in err


def test_each_attempt_has_a_log_of_its_own() -> None:
    def work(context: TaskContext) -> None:
        print("attempt", context.attempt)
        assert context.attempt == 2

    run = ended(Workflow("logs").add_task("x", work, retry_policy=RetryPolicy(2, 0)))
    log = run.tasks["x"].log
    assert log is not None and log.name == "2"
    for attempt in (1, 2):
        assert (log.parent / f"{attempt}" / "stdout.log").read_text() == f"attempt {attempt}\n"


def test_a_stream_that_somebody_puts_in_meanwhile_stays() -> None:
    mine, before = io.StringIO(), sys.stdout

    def work() -> None:
        sys.stdout = mine

    ended(Workflow("streams").add_task("x", work))
    there, sys.stdout = sys.stdout, before
    assert there is mine


def test_what_a_function_in_a_process_prints_goes_to_its_log() -> None:
    def work() -> int:
        import logging

        print("far away")
        logging.getLogger("far").error("logged")
        return 7

    run = ended(Workflow("logs").add_task("x", work, isolation="process"))
    log = run.tasks["x"].log
    assert run["x"] == 7 and log is not None
    assert (log / "stdout.log").read_text() == "far away\n"
    assert "ERROR far: logged" in (log / "stderr.log").read_text()


def test_variables_of_the_context_reach_the_tasks_and_do_not_come_back() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")

    def work() -> str:
        seen = variable.get()
        variable.set("of the task")
        return seen

    async def later() -> str:
        await asyncio.sleep(0)
        return work()

    wf = Workflow("context").add_task("thread", work).add_task("again", work, ["thread"])
    wf.add_task("only threads", variable.get, condition=lambda _: variable.get() == "outside")
    on_loop = Workflow("context").add_task("coroutine", later).add_task("thread", work)
    token = variable.set("outside")
    try:
        expected = {"thread": "outside", "again": "outside", "only threads": "outside"}
        assert dict(ended(wf)) == expected == dict(wf.run_sync())
        expected = {"coroutine": "outside", "thread": "outside"}
        assert (
            dict(ended(on_loop)) == expected == dict(on_loop.run_sync()) == dict(asyncio.run(on_loop.run()))
        )
        assert variable.get() == "outside"
    finally:
        variable.reset(token)


# --- progress and events --------------------------------------------------------------------------


def told_of(told: list[tuple[str, str]], name: str) -> list[str]:
    return [status for other, status in told if other == name]


def changing(workflow: Workflow) -> Workflow:
    """A workflow in which tasks go through every status."""
    wf = workflow.add_task("a", one).add_task("flaky", lambda: 1 / 0, ["a"], retry_policy=RetryPolicy(2, 0))
    wf.add_task("left out", one, condition=lambda _: False).add_task("after", one, ["flaky"])
    wf.add_approval("asked", "?", timeout=0.05)
    return wf.add_command("late", ["sleep", "600"], timeout=0.05)


@pytest.mark.parametrize("raises", [False, True])
def test_progress_is_told_in_order_and_the_run_does_not_mind_what_it_raises(
    raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str, str]] = []

    def tell(task: str, status: str, details: Mapping[str, Any]) -> None:
        assert details["kind"] and details["at_ms"] > 0
        told.append((task, status))
        if raises:
            raise RuntimeError("no more")

    run = ended(changing(Workflow("progress", fail_fast=False, progress_callback=tell)))
    assert told_of(told, "a") == ["running", "completed"]
    assert told_of(told, "flaky") == ["running", "retrying", "running", "failed"]
    assert told_of(told, "left out") == told_of(told, "after") == ["skipped"]
    assert told_of(told, "asked") == ["waiting", "timed_out"]
    assert told_of(told, "late") == ["running", "timed_out"]
    assert told.index(("a", "completed")) < told.index(("flaky", "running"))
    assert {name: told_of(told, name)[-1] for name, _ in told} == statuses(run)
    assert ("the progress callback raised" in caplog.text) == raises


def test_progress_is_told_of_tasks_that_appear_on_the_way() -> None:
    told: list[tuple[str, str]] = []
    wf = Workflow("progress", progress_callback=lambda name, status, _: told.append((name, status)))
    ended(wf.add_map("m", str, [1, 2]))
    assert told_of(told, "m[1]") == ["running", "completed"] == told_of(told, "m")
    assert told[-1] == ("m", "completed")


def test_events_come_in_order_until_the_end() -> None:
    go_on = threading.Event()
    wf = Workflow("events").add_task("a", one).add_task("b", lambda: go_on.wait(DEADLINE_S), ["a"])
    handle = wf.start()
    stream = handle.events()
    first = list(itertools.islice(stream, 5))
    assert not handle.done
    go_on.set()
    events = first + list(stream)
    run = whole(handle.wait(DEADLINE_S))
    assert [event["kind"] for event in events] == [
        "run_created",
        "tasks_declared",
        *["attempt_started", "attempt_ended"] * 2,
        "run_ended",
    ]
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert events == run.events() == list(handle.events())
    assert run.events(5) == events[5:] == list(handle.events(5))


def test_events_can_be_awaited() -> None:
    async def watch() -> tuple[list[str], Run]:
        handle = changing(Workflow("events", fail_fast=False)).start()
        kinds = [event["kind"] async for event in handle]
        return kinds, handle.wait(DEADLINE_S)

    kinds, run = asyncio.run(watch())
    assert kinds == [event["kind"] for event in run.events()]
    assert kinds[-1] == "run_ended"


# --- event loops and threads ----------------------------------------------------------------------


def mixed(value: int) -> Workflow:
    """A workflow of a function, a coroutine function and a command."""

    async def later(plain: int) -> int:
        await asyncio.sleep(0)
        return plain + 1

    wf = Workflow(f"mixed {value}").add_task("plain", lambda: value).add_task("later", later, ["plain"])
    wf.add_shell("command", f"echo {value}")
    return wf.add_task("sum", lambda later, command: later + int(command.stdout), ["later", "command"])


def test_a_run_can_be_awaited_and_the_loop_goes_on() -> None:
    async def main() -> Run:
        ticked = threading.Event()
        loops: list[object] = []

        async def where() -> None:
            loops.append(asyncio.get_running_loop())

        async def tick() -> None:
            await asyncio.sleep(0.01)
            ticked.set()

        wf = mixed(3).add_task("waits", lambda: ticked.wait(DEADLINE_S)).add_task("where", where)
        run, _ = await asyncio.gather(wf.run(), tick())
        assert run["waits"] is True
        assert loops == [asyncio.get_running_loop()]
        return run

    assert whole(asyncio.run(main()))["sum"] == 7


def test_a_run_that_nobody_awaits_any_more_is_cancelled() -> None:
    thread, coroutine = Endless(), Endless()
    wf = Workflow("await").add_task("thread", thread.thread).add_task("coroutine", coroutine.coroutine)

    async def main() -> None:
        running = asyncio.create_task(wf.run())
        while not (thread.began.is_set() and coroutine.began.is_set()):
            await asyncio.sleep(0.005)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        while not (thread.over.is_set() and coroutine.over.is_set()):
            await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))
    wait_for("the end of the run", lambda: wf.get_summary()["verdict"] == "cancelled")
    assert wf.get_summary()["counts"] == {"cancelled": 2}


def test_run_sync_works_beside_a_running_loop() -> None:
    async def main() -> tuple[Run, Run]:
        return mixed(1).run_sync(), Workflow("plain").add_task("x", one).run_sync()

    run, plain = asyncio.run(main())
    assert (whole(run)["sum"], whole(plain)["x"]) == (3, 1)


def test_runs_do_not_disturb_each_other() -> None:
    meet = threading.Barrier(4)
    runs: dict[int, Run] = {}

    def carry_out(number: int) -> None:
        wf = mixed(number).add_task("meet", lambda: meet.wait(DEADLINE_S))
        runs[number] = wf.run_sync() if number % 2 else asyncio.run(wf.run())

    threads = [threading.Thread(target=carry_out, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert {number: whole(run)["sum"] for number, run in runs.items()} == {0: 1, 1: 3, 2: 5, 3: 7}
    assert len({run.id for run in runs.values()}) == 4


def test_one_workflow_can_be_under_way_twice() -> None:
    meet = threading.Barrier(2)
    wf = Workflow("twice").add_task("meet", lambda: meet.wait(DEADLINE_S))
    first, second = wf.start(), wf.start()
    assert sorted([first.wait(DEADLINE_S)["meet"], second.wait(DEADLINE_S)["meet"]]) == [0, 1]


def test_a_task_can_carry_out_a_workflow() -> None:
    async def later() -> int:
        return mixed(5).run_sync()["sum"]

    wf = Workflow("outer").add_task("plain", lambda: mixed(2).run_sync()["sum"]).add_task("later", later)
    assert dict(ended(wf)) == {"plain": 5, "later": 11}


def test_a_workflow_of_coroutines_has_no_limit_of_threads() -> None:
    async def later() -> int:
        await asyncio.sleep(0.05)
        return 1

    wf = Workflow("many")
    for number in range(500):
        wf.add_task(f"{number}", later)
    run = ended(wf)
    assert run.ok and most_at_once(run, run.tasks) > 32
