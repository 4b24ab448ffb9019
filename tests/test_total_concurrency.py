"""One limit for all runs of a program."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import dirigent
import pytest
from dirigent import UsageError, Workflow, set_total_concurrency


@pytest.fixture(autouse=True)
def no_limit_afterwards() -> Iterator[None]:
    yield
    set_total_concurrency(None)


class Gauge:
    """How many are in at once, and the most there ever were."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = self.all = 0

    def work(self) -> None:
        with self.lock:
            self.now += 1
            self.all += 1
            self.most = max(self.most, self.now)
        time.sleep(0.005)
        with self.lock:
            self.now -= 1

    async def work_on_a_loop(self) -> None:
        self.now += 1
        self.all += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.005)
        self.now -= 1


def wide(name: str, gauge: Gauge, tasks: int = 20) -> Workflow:
    wf = Workflow(name)
    for number in range(tasks):
        wf.add_task(f"{number}", gauge.work)
    return wf


@pytest.mark.parametrize("durability", ["none", "process"])
def test_runs_share_the_limit_and_none_is_left_waiting(durability: str) -> None:
    set_total_concurrency(3)
    gauge = Gauge()
    handles = [wide(f"{n}", gauge).start(durability=durability) for n in range(4)]
    assert all(handle.wait().ok for handle in handles)
    assert gauge.all == 80
    assert gauge.most == 3


def test_a_limit_holds_for_coroutines_and_can_be_raised_while_runs_wait() -> None:
    set_total_concurrency(1)
    gauge = Gauge()
    wf = Workflow("loop")
    for number in range(30):
        wf.add_task(f"{number}", gauge.work_on_a_loop)

    async def both() -> None:
        run = asyncio.ensure_future(wf.run())
        while gauge.all < 3:
            await asyncio.sleep(0.001)
        assert gauge.most == 1
        set_total_concurrency(None)
        assert (await run).ok

    asyncio.run(both())
    assert gauge.most > 5


def test_a_cancelled_run_gives_back_what_it_had() -> None:
    set_total_concurrency(1)
    stuck = Workflow("stuck").add_command("sleep", ["sleep", "600"]).start()
    gauge = Gauge()
    other = wide("other", gauge, 3).start()
    # Its tasks are there, and none of them may start.
    assert next(event for event in other.events() if event["kind"] == "tasks_declared")
    assert gauge.all == 0 and {str(task.status) for task in other.tasks.values()} == {"pending"}
    stuck.cancel()
    assert other.wait().ok and gauge.all == 3
    assert not stuck.wait().ok


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True])
def test_what_is_no_number_of_tasks_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        dirigent.set_total_concurrency(wrong)  # type: ignore[arg-type]
