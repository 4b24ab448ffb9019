"""``run --dry-run`` says what would be taken over and why what might have been is not, and does nothing about it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from dirigent._program import program

FILE = """
tasks:
  copy: {run: [sh, -c, 'cat in.txt > out.txt'], cache: {inputs: [in.txt], outputs: [out.txt]}}
  count: {run: [wc, -l], needs: [copy], cache: true}
  tell: {run: [echo, "${{ tasks.count.exit_code }}"], needs: [count], cache: true}
  date: {run: [date]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flow.yaml").write_text(FILE)
    (tmp_path / "in.txt").write_text("one\n")
    return tmp_path


def run(folder: Path, *args: str) -> str:
    told = subprocess.run(
        [program(), "run", "flow.yaml", "--state-dir", ".state", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def foreseen(folder: Path) -> dict[str, list[str]]:
    """For each task what would become of it, and why."""
    lines = run(folder, "--dry-run").splitlines()
    found: dict[str, list[str]] = {}
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word == "not":
            found[list(found)[-1]].append(rest.removeprefix("reused: "))
        else:
            found[rest.split()[0]] = [word]
    return found


def test_without_a_record_everything_runs_and_none_is_made(folder: Path) -> None:
    assert foreseen(folder) == {"copy": ["run"], "count": ["run"], "tell": ["run"], "date": ["run"]}
    assert not (folder / ".state").exists()


def test_what_holds_is_taken_over_and_nothing_is_put_back_yet(folder: Path) -> None:
    run(folder)
    (folder / "out.txt").unlink()
    late = "what it does depends on what others give"
    assert foreseen(folder) == {"copy": ["reuse"], "count": ["reuse"], "tell": ["run", late], "date": ["run"]}
    assert not (folder / "out.txt").exists()


def test_what_changed_is_named(folder: Path) -> None:
    run(folder)
    (folder / "in.txt").write_text("two\n")
    after = "something that it needs runs again"
    assert foreseen(folder) == {
        "copy": ["run", f"file {folder / 'in.txt'} changed"],
        "count": ["run", after],
        "tell": ["run", after],
        "date": ["run"],
    }
