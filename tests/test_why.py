"""Asking a run why: ``dirigent why`` and ``dirigent diff``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from dirigent import RetryPolicy, Workflow

from tests.children import DEADLINE_S


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(folder))
    return folder


def told(program: Path, *words: str) -> str:
    return subprocess.run(
        [program, *words], check=True, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S
    ).stdout


def test_each_task_says_what_brought_it_where_it_stands(program: Path) -> None:
    wf = Workflow("w", fail_fast=False)
    wf.add_task("bad", lambda: 1 / 0, retry_policy=RetryPolicy(2, 0.0, jitter=0))
    wf.add_task("next", lambda bad: bad, ["bad"]).add_task("last", lambda next: next, ["next"])
    wf.add_task("never", lambda: 1, condition=lambda results: False)
    wf.add_task("good", lambda: 1).add_task("after", lambda good: good, ["good"])
    wf.run_sync()
    assert told(program, "why", "bad").splitlines()[2:] == [
        "  attempt 1 raised ZeroDivisionError: division by zero; the next one was due 0.00 s later",
        "  attempt 2 raised ZeroDivisionError: division by zero",
    ]
    because = json.loads(told(program, "why", "last", "--json"))["because"]
    assert [line.split(",")[0] for line in because] == ["it needs `next`", "it needs `bad`"]
    assert "its condition said no" in told(program, "why", "never")
    assert "after `good`, the last that it waited for, had ended" in told(program, "why", "after")


def test_a_task_after_a_failure_that_ends_the_run_names_it(program: Path) -> None:
    wf = Workflow("w", max_concurrency=1).add_task("bad", lambda: 1 / 0).add_task("other", lambda: 1)
    wf.run_sync()
    assert "the run starts nothing new after a failure, and `bad` raised" in told(program, "why", "other")


def test_two_runs_are_compared_task_by_task(program: Path) -> None:
    first = Workflow("w").add_task("same", lambda: 1).add_task("value", lambda: 1).add_task("gone", lambda: 1)
    before = first.run_sync().id
    second = Workflow("w").add_task("same", lambda: 1).add_task("value", lambda: 2)
    second.add_task("bad", lambda: 1 / 0)
    after = second.run_sync().id
    compared = json.loads(told(program, "diff", before, after, "--json"))
    assert {task["task"]: task["changes"] for task in compared["tasks"]} == {
        "value": ["its code changed", "it gave another value"],
        "bad": ["only in the second"],
        "gone": ["only in the first"],
    }
    assert compared["same"] == 1
    lines = told(program, "diff", before).splitlines()
    assert lines[0].startswith(f"- {before}  w  succeeded") and lines[1].startswith(f"+ {after}  w  failed")
