"""Examples in the documentation do what they say: each is run, from the project's folder, by the installed package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language in the README."""
    text = (ROOT / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def environment(program: Path, tmp_path: Path) -> dict[str, str]:
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(code: str, environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, timeout=120)


def test_the_configuration_example_is_accepted(
    program: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    (config,) = blocks("toml")
    (tmp_path / "dirigent.toml").write_text(config)
    for name in ("extract.py", "load.py"):
        (tmp_path / "etl").mkdir(exist_ok=True)
        (tmp_path / "etl" / name).write_text("")
    told = subprocess.run([program, "check"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, ""), told.stdout


def test_commands_of_the_first_minutes_are_understood(
    program: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    scripts = tmp_path / "scripts" / "etl"
    scripts.mkdir(parents=True)
    (scripts / "one.py").write_text("print(1)")
    (tmp_path / "load.py").write_text("import sys; assert sys.argv[1:] == ['--day', 'monday']")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    commands = [line.partition("  #")[0].strip() for line in blocks("sh")[1].splitlines()]
    for command in commands:
        # The tour fails on purpose; the newest run is then the one that `last` means.
        expected = 1 if command == "dirigent run examples/scripts" else 0
        told = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert told.returncode == expected, (command, told.stdout, told.stderr)


def test_the_workflow_file_of_the_readme_is_well(
    program: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    told = subprocess.run(
        [program, "check", "-"],
        input=blocks("yaml")[0],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
