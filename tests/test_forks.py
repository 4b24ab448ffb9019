"""Processes that were forked: what they record is not lost, or they are told why they cannot record."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.children import DEADLINE_S

START = """
import os, sys, traceback
import dirigent
from dirigent import StorageError, Workflow

def run(name, **options):
    assert Workflow(name).add_task("one", int).run_sync(**options).ok

def in_a_child(work):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    return pid

def is_refused(work):
    try:
        work()
    except StorageError as error:
        assert error.code == "journal.forked" and "spawn" in str(error), error
    else:
        raise AssertionError("it was not refused")
"""


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def carried_out(tmp_path: Path, text: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(START + text)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", program], capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == 0, done.stderr


def recorded(state: Path) -> int:
    """How many runs are recorded, told by another process, which closes the database as the last one if it may."""
    command = [sys.executable, "-m", "dirigent", "runs", "--limit", "1000", "--state-dir", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return len(done.stdout.splitlines())


def test_what_a_child_records_outlives_its_parent(state: Path, tmp_path: Path) -> None:
    """Others open and close the database meanwhile: where nobody else has it open, they take its log away."""
    carried_out(
        tmp_path,
        """
run("of the parent")
dirigent.runs()
def work():
    for number in range(100):
        run(f"child {number}")
    open("done", "x")
os.chdir(os.path.dirname(__file__))
in_a_child(work)
os._exit(0)
""",
    )
    until = time.monotonic() + DEADLINE_S
    while not (tmp_path / "done").exists():
        recorded(state)
        assert time.monotonic() < until, "the child did not come to its end"
    assert recorded(state) == 101


def test_a_child_forked_during_a_run_is_told_that_it_cannot_record(state: Path, tmp_path: Path) -> None:
    carried_out(
        tmp_path,
        """
def fork():
    def work():
        is_refused(lambda: run("of the child"))
        is_refused(dirigent.runs)
        run("not recorded", durability="none")
        os.environ["DIRIGENT_STATE_DIR"] += "-of-the-child"
        run("elsewhere")
    assert os.waitpid(in_a_child(work), 0)[1] == 0

assert Workflow("of the parent").add_task("fork", fork).run_sync().ok
assert [run.workflow for run in dirigent.runs()] == ["of the parent"]
""",
    )


def test_a_child_forked_while_a_run_is_followed_is_told_so(state: Path, tmp_path: Path) -> None:
    carried_out(
        tmp_path,
        """
run("of the parent")
attached = dirigent.attach()
assert os.waitpid(in_a_child(lambda: is_refused(lambda: run("of the child"))), 0)[1] == 0
del attached
assert os.waitpid(in_a_child(lambda: run("of the child")), 0)[1] == 0
assert len(dirigent.runs()) == 2
""",
    )


def test_a_run_that_is_kept_does_not_keep_the_database_open(state: Path, tmp_path: Path) -> None:
    carried_out(
        tmp_path,
        """
kept = Workflow("of the parent").add_task("one", int).run_sync()
assert os.waitpid(in_a_child(lambda: run("of the child")), 0)[1] == 0
assert kept["one"] == 0 and len(dirigent.runs()) == 2
""",
    )
