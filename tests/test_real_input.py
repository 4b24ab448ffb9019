"""Scripts that nobody here wrote: a collection of benchmarks, and the interpreter's own library."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import dirigent
import pytest

from tests.children import only_run, summary

pyperformance = pytest.importorskip("pyperformance", reason="pyperformance is not installed")

BENCHMARKS = Path(pyperformance.__file__).parent / "data-files" / "benchmarks"

#: Benchmarks that need nothing beyond the standard library and pyperf, and are quick once.
QUICK: dict[str, list[str]] = {
    "bm_generators": [],
    "bm_json_loads": [],
    "bm_logging": ["silent"],
    "bm_nqueens": [],
    "bm_pickle": ["--pure-python", "pickle_list"],
    "bm_unpack_sequence": [],
}


def test_every_benchmark_is_found(program: Path, tmp_path: Path) -> None:
    # Taken out of the folder of installed packages, which no search enters by itself.
    copy = shutil.copytree(BENCHMARKS, tmp_path / "benchmarks")
    expected = sorted(copy.glob("*/run_benchmark.py"))
    assert len(expected) > 50
    assert dirigent.discover_scripts(copy, pattern="run_benchmark.py") == expected
    command: list[str | Path] = [program, "list", copy, "--filter", "run_benchmark.py", "--json"]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert [script["path"] for script in listed] == [str(path) for path in expected]


def test_a_handful_of_benchmarks_runs_with_arguments_of_their_own(program: Path, tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks"
    rows = ["[default]", 'timeout = "60s"']
    for name, own in QUICK.items():
        shutil.copytree(BENCHMARKS / name, folder / name)
        args = ["--debug-single-value", *own]
        rows += [f'[scripts."{name}/run_benchmark.py"]', f"args = {json.dumps(args)}"]
    config = tmp_path / "dirigent.toml"
    config.write_text("\n".join(rows) + "\n")
    state = tmp_path / "state"
    command: list[str | Path] = [program, "run", folder, "--filter", "run_benchmark.py", "--config", config]
    done = subprocess.run([*command, "--state-dir", state], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    run = only_run(state)
    tasks = summary(run)["tasks"]
    assert {task["status"] for task in tasks} == {"completed"}
    assert [Path(task["script"]).parent.name for task in tasks] == sorted(QUICK)
    for task in tasks:
        assert task["command"][2:] == ["--debug-single-value", *QUICK[Path(task["script"]).parent.name]]
        told = (run / task["stdout"]["log"]).read_text()
        assert re.search(r"^\w+: [\d.]+ (ns|us|ms|sec)$", told, re.MULTILINE), told


def is_skipped(name: str, patterns: frozenset[str]) -> bool:
    """Whether one of the globs means a name."""
    return name.startswith(".") or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def has_a_program(path: str) -> bool:
    """Whether a file may be executed and says by what."""
    if not os.access(path, os.X_OK):
        return False
    with open(path, "rb") as file:
        return file.read(2) == b"#!"


def test_the_interpreters_library_is_searched_like_a_plain_walk_does_it() -> None:
    library = Path(sysconfig.get_path("stdlib"))
    assert library.is_dir() and sys.version_info >= (3, 10)
    expected = []
    for folder, folders, files in os.walk(library):
        folders[:] = [name for name in folders if name not in dirigent.SKIP_DIRS and not name.startswith(".")]
        for name in files:
            path = os.path.join(folder, name)
            if is_skipped(name, dirigent.SKIP_PATTERNS) or not os.path.isfile(path):
                continue
            if name.endswith((".py", ".sh")) or has_a_program(path):
                expected.append(path)
    found = [os.fspath(path) for path in dirigent.discover_scripts(library, max_depth=None)]
    assert len(expected) > 500
    assert set(found) ^ set(expected) == set()
    assert found == sorted(found)
