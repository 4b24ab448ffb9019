"""State folders of earlier versions: this one reads all of them, and goes on with what was cut short."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import dirigent
import pytest
from dirigent import TaskFailedError, ValueNotKeptError

from tests.children import DEADLINE_S

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.iterdir() if (path / "journal.db").exists())


@pytest.fixture(params=VERSIONS)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    shutil.copytree(GOLDEN / request.param, folder)
    return folder


def ids(state: Path) -> dict[str, str]:
    return {run.workflow: run.id for run in dirigent.runs(state_dir=state)}


def test_there_is_one_of_this_version() -> None:
    assert dirigent.__version__ in VERSIONS


@pytest.mark.fault("E8", "state folders of every release")
def test_every_run_is_listed_and_its_history_is_whole(program: Path, state: Path) -> None:
    told = {run.workflow: run.status for run in dirigent.runs(state_dir=state)}
    assert told == {"good": "succeeded", "bad": "failed", "cut": "interrupted"}
    command = [str(program), "verify", "--all", "--state-dir", str(state)]
    assert subprocess.run(command, timeout=DEADLINE_S).returncode == 0


def test_values_and_logs_are_what_they_were(state: Path) -> None:
    run = dirigent.attach(ids(state)["good"], state_dir=state)
    assert run["json"] == {"text": "é", "numbers": [1, 2.5, None, True]}
    assert run["pickle"] == (1, "a", "é")
    assert run["large"] == "x" * 5000
    assert run["squares"] == [1, 4, 9]
    assert (run["say"].stdout, run["say"].stderr) == ("hello\n", "oops\n")
    with pytest.raises(ValueNotKeptError):
        run["not kept"]


def test_failures_are_what_they_were(state: Path) -> None:
    run = dirigent.attach(ids(state)["bad"], state_dir=state)
    assert {name: str(result.status) for name, result in run.tasks.items()} == {
        "fails": "failed",
        "skipped": "skipped",
        "exits": "failed",
    }
    with pytest.raises(TaskFailedError, match="ZeroDivisionError: division by zero"):
        run["fails"]


@pytest.mark.fault("E8", "a run that was cut short under an earlier release")
def test_what_was_cut_short_goes_on(program: Path, state: Path) -> None:
    cut = ids(state)["cut"]
    command = [str(program), "resume", cut, "--state-dir", str(state)]
    assert subprocess.run(command, timeout=DEADLINE_S).returncode == 0
    run = dirigent.attach(cut, state_dir=state)
    assert run.ok
    assert {name: result.attempts for name, result in run.tasks.items()} == {
        "done": 1,
        "under way": 2,
        "to come": 1,
    }
