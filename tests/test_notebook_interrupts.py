"""The interrupt and the restart of a notebook's kernel: what is raised, what is left, and how a run goes on."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from tests.children import DEADLINE_S, Process, children_of, lives, wait_for
from tests.kernels import Kernel, Message, kernel

DECLARED = """
import pathlib, time
import dirigent
from dirigent import Workflow

def first():
    with open("firsts", "a") as file:
        file.write("x")
    return 7

def sleeps(first):
    while not pathlib.Path("go").exists():
        time.sleep(0.05)
    return first + 1

wf = Workflow("slow")
wf.add_task("first", first)
wf.add_command("command", ["sh", "-c", "test -e go || { sleep 600 & exec sleep 600; }"], dependencies=["first"])
wf.add_task("sleeps", sleeps, dependencies=["first"])
"""

#: What runs a workflow in a cell.
RUNS = {"run_sync": "run = wf.run_sync()", "await": "run = await wf.run()", "flow": "whole()"}
FLOW = """
@dirigent.task
def one():
    return dirigent.run(["sleep", "600"])

@dirigent.flow
def whole():
    other = one()
    sleeps(1)
"""


def descendants(pid: int) -> list[Process]:
    """Everything that came out of a process and lives."""
    found = []
    for child in children_of(pid):
        found += [child, *descendants(child.pid)]
    return found


def sleeping(live: Kernel) -> list[Process]:
    """What sleeps beneath the kernel."""
    found = []
    for process in descendants(live.pid):
        try:
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"600" in words and lives(process):
            found.append(process)
    return found


def interrupted(live: Kernel, code: str) -> tuple[list[Message], float]:
    """Interrupt a cell once something sleeps in it; what it sent, and how many seconds the interrupt took."""
    cell = live.begin(code)
    wait_for("the sleeping command", lambda: sleeping(live))
    began = time.monotonic()
    live.manager.interrupt_kernel()
    messages = list(live.messages(cell))
    return messages, next(m.at_s for m in messages if m.kind == "error") - began


@pytest.mark.fault("P4", "an interrupt of a notebook's kernel, by its front end")
@pytest.mark.parametrize("way", RUNS)
def test_an_interrupt_raises_at_once_leaves_no_process_and_a_run_that_goes_on(
    tmp_path: Path, way: str
) -> None:
    with kernel(tmp_path) as live:
        live.execute(DECLARED + FLOW)
        messages, took_s = interrupted(live, RUNS[way])
        (error,) = [m for m in messages if m.kind == "error"]
        # What an interrupt raises in an await is the kernel's business.
        assert error.content["ename"] == ("CancelledError" if way == "await" else "KeyboardInterrupt")
        # 200 ms where nobody else keeps the machine busy: bench/notebook.py has the figure.
        assert took_s < DEADLINE_S / 10
        # On a slow machine it comes when the cell is done already.
        told = itertools.chain(messages, live.everything())
        next(m for m in told if m.display and ("broken off" in m.text() or "cancelled" in m.text()))
        wait_for("the end of all that ran", lambda: not sleeping(live))
        wait_for("the record of the end", lambda: "cancelled" in live.value("dirigent.runs()[0].status"))
        if way == "flow":
            return
        (tmp_path / "go").touch()
        assert live.value("run = wf.resume()\n(run.ok, run['sleeps'])") == "(True, 8)"
        assert (tmp_path / "firsts").read_text() == "x"


def test_after_a_restart_the_last_run_is_shown_and_goes_on(tmp_path: Path) -> None:
    with kernel(tmp_path) as live:
        live.execute(DECLARED)
        live.begin("wf.run_sync()")
        wait_for("the sleeping command", lambda: sleeping(live))
        left = descendants(live.pid)
        live.restart()
        wait_for("the end of all that ran", lambda: not any(map(lives, left)))
        live.execute("import dirigent\nlast = dirigent.attach('last')")
        assert live.value("last.status") == "'interrupted'"
        (shown,) = [m for m in live.execute("last") if m.kind == "execute_result"]
        assert "unfinished" in shown.text() and "<svg" in shown.text("text/html")
        (tmp_path / "go").touch()
        live.execute(DECLARED)
        assert (
            live.value("run = wf.resume()\n(run.ok, run.id == last.id, run['sleeps'])") == "(True, True, 8)"
        )
        assert (tmp_path / "firsts").read_text() == "x"
