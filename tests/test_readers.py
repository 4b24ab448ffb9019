"""Who asks again and again: by one connection, which says what one opened anew would say."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from dirigent import StorageError, Workflow, runs


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep runs in a folder of the test's own."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def recorded(name: str) -> None:
    """Run a workflow of one task."""
    wf = Workflow(name)
    wf.add_task("one", int)
    assert wf.run_sync().ok


def told() -> list[str]:
    return [run.workflow for run in runs()]


def test_a_question_asked_again_sees_what_was_recorded_meanwhile() -> None:
    assert told() == []
    recorded("first")
    assert told() == ["first"]
    recorded("second")
    assert told() == ["second", "first"]


def test_questions_keep_one_database_open() -> None:
    for name in "abc":
        recorded(name)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        assert told() == ["c", "b", "a"]
    assert len(os.listdir("/proc/self/fd")) <= before + 3, "the database, its log and the log's index"


def test_a_folder_that_was_removed_or_replaced_is_not_answered_from_the_old_one(state: Path) -> None:
    recorded("first")
    shutil.copytree(state, state.with_name("copy"))
    recorded("second")
    assert told() == ["second", "first"]
    shutil.rmtree(state)
    assert told() == []
    state.with_name("copy").rename(state)
    assert told() == ["first"]


def test_a_format_of_a_later_version_is_noticed_by_who_asked_before(state: Path) -> None:
    recorded("first")
    assert told() == ["first"]
    with sqlite3.connect(state / "journal.db") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="99"):
        runs()
