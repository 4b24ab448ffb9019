"""Workflows where an event loop runs already: a real notebook kernel, with its Ctrl-C."""

from __future__ import annotations

import time
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.children import DEADLINE_S

DECLARED = """
import asyncio, time
from dirigent import Workflow

async def fetch():
    await asyncio.sleep(0.01)
    return [3, 1, 2]

wf = Workflow("notebook")
wf.add_task("fetch", fetch)
wf.add_task("ordered", lambda fetch: sorted(fetch), dependencies=["fetch"])
wf.add_command("shown", ["echo", "done"], dependencies=["ordered"])
"""


def run(*cells: str) -> list[Any]:
    """Execute cells in a fresh kernel; give what each displayed last."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=int(DEADLINE_S), kernel_name="python3").execute()
    return [
        next((output["data"]["text/plain"] for output in reversed(cell.outputs) if "data" in output), None)
        for cell in notebook.cells
    ]


def test_a_run_waits_on_the_loop_of_the_notebook_and_beside_it() -> None:
    shown = run(
        DECLARED,
        "run = await wf.run()\n(run.ok, run['ordered'], run['shown'].stdout)",
        "run = wf.run_sync()\n(run.ok, run['ordered'], run['shown'].stdout)",
    )
    assert shown[1:] == ["(True, [1, 2, 3], 'done\\n')"] * 2


def test_what_a_task_prints_is_seen_in_the_notebook() -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "from dirigent import Workflow\n"
                "wf = Workflow('prints')\n"
                "wf.add_task('a', print, args=('seen here',))\n"
                "wf.run_sync().ok"
            )
        ]
    )
    NotebookClient(notebook, timeout=int(DEADLINE_S), kernel_name="python3").execute()
    assert "seen here" in "".join(output.get("text", "") for output in notebook.cells[0].outputs)


@pytest.mark.fault("P4", "an interrupt of a notebook's kernel")
def test_an_interrupt_ends_a_run_and_leaves_the_kernel_in_good_health() -> None:
    interrupting = """
import _thread, threading
threading.Timer(1.0, _thread.interrupt_main).start()
slow = Workflow("slow")
slow.add_command("sleeps", ["sleep", "600"])
began = time.monotonic()
try:
    slow.run_sync()
except KeyboardInterrupt:
    caught = time.monotonic() - began
"""
    shown = run(DECLARED, interrupting, "caught < 60", "wf.run_sync().ok")
    assert shown[2:] == ["True", "True"]


def test_an_error_in_a_cell_shows_the_function_that_raised_it() -> None:
    began = time.monotonic()
    with pytest.raises(CellExecutionError, match="no such file here") as raised:
        run(
            "from dirigent import Workflow\n"
            "def load():\n"
            "    raise FileNotFoundError('no such file here')\n"
            "wf = Workflow('fails')\n"
            "wf.add_task('load', load)\n"
            "wf.run_sync()['load']"
        )
    assert "def load" in str(raised.value) or "in load" in str(raised.value)
    assert time.monotonic() - began < DEADLINE_S
