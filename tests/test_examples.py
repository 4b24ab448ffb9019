"""What we show works: every program in ``examples/workflows``, every block of the guide, every example in a docstring."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples" / "workflows").glob("*.py"))
GUIDES = [ROOT / "docs" / name for name in ("workflows.md", "records.md", "automation.md", "profile.md")]
MODULES = ("dirigent._workflow", "dirigent._options", "dirigent._run")

#: Seconds: an example takes less than two on a machine that does nothing else.
DEADLINE_S = 120


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which runs are recorded in the test's own folder."""
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}


def only_python(markdown: str) -> str:
    """The Python blocks of a page as one program, every line in its place, so that a traceback names the page's line."""
    kept, inside = [], False
    for line in markdown.split("\n"):
        is_fence = line.startswith("```")
        kept.append(line if inside and not is_fence else "")
        inside = not inside and line == "```python" if is_fence else inside
    return "\n".join(kept)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_it_stands_and_shows_something(
    example: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    told = subprocess.run(
        [sys.executable, example],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.strip()


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) >= 14


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_guide_does_what_it_says(guide: Path, environment: dict[str, str], tmp_path: Path) -> None:
    program = tmp_path / f"{guide.stem}.py"
    program.write_text(only_python(guide.read_text(encoding="utf-8")), encoding="utf-8")
    told = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert told.returncode == 0, told.stderr


def test_a_block_of_python_keeps_its_place_and_nothing_else_stays() -> None:
    page = "# title\n```python\na = 1\n```\nwords\n```sh\nrm x\n```\n```python\nb = 2\n```"
    assert only_python(page) == "\n\na = 1\n\n\n\n\n\n\nb = 2\n"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_what_a_guide_links_to_is_there(guide: Path) -> None:
    text = guide.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (guide.parent / target).exists(), target


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_give_what_they_show(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_class_that_everybody_starts_with_has_an_example() -> None:
    workflow = importlib.import_module("dirigent._workflow")
    tests = doctest.DocTestFinder().find(workflow.Workflow, "Workflow")
    assert any(test.examples for test in tests)
