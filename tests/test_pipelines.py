"""The pipelines of ``examples/pipelines`` run as they stand, and the guide of workflow files says what is true."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dirigent._program import program

ROOT = Path(__file__).resolve().parent.parent
PIPELINES = ROOT / "examples" / "pipelines"
GUIDE = ROOT / "docs" / "workflow-files.md"

#: Seconds: each takes a few on a machine that does nothing else.
DEADLINE_S = 180


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(PIPELINES, tmp_path / "pipelines")
    return tmp_path / "pipelines"


def dirigent(folder: Path, *args: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program(), *args],
        cwd=folder,
        input=input,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


def run(folder: Path, *args: str) -> dict[str, str]:
    """Run a file well; the status of each task."""
    told = dirigent(folder, "run", *args, "--state-dir", ".state", "--python", sys.executable, "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    return {task["name"]: task["status"] for task in json.loads(told.stdout)["tasks"]}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    """A file server on loopback, as the nightly pipeline wants one."""
    handler = functools.partial(Quiet, directory=str(folder / "nightly" / "data"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_nightly_job_fetches_loads_and_reports(folder: Path, server: str) -> None:
    own = folder / "nightly"
    tasks = run(own, "nightly.yaml", "--param", "day=2026-11-20", "--param", f"server={server}")
    assert set(tasks.values()) == {"completed"}
    assert "| north | 2 | 42.50 |" in (own / "out" / "report.md").read_text()
    assert (own / "out" / "alarms.txt").read_text() == "only 79.5 on 2026-11-20\n"
    assert not list((own / "out").glob("*.csv")), "what cleans up has run"


def test_the_nightly_job_tries_again_and_then_says_what_failed(folder: Path, server: str) -> None:
    own = folder / "nightly"
    args = [
        "nightly.yaml",
        "--param",
        "day=1999-01-01",
        "--param",
        f"server={server}",
        "--state-dir",
        ".state",
    ]
    told = dirigent(own, "run", *args, "--python", sys.executable, "--json")
    assert told.returncode == 1
    tasks = {task["name"]: task for task in json.loads(told.stdout)["tasks"]}
    assert (tasks["fetch[north]"]["status"], tasks["fetch[north]"]["attempts"]) == ("failed", 3)
    assert (tasks["load"]["status"], tasks["tidy"]["status"]) == ("skipped", "completed")


def test_the_release_job_tests_with_every_python_and_hashes_what_it_built(folder: Path) -> None:
    own = folder / "release"
    tasks = run(own, "release.yaml", "--param", "version=2.0")
    assert set(tasks.values()) == {"completed"}
    assert sum(name.startswith("test[") for name in tasks) >= 2
    name = (own / "dist" / "SHA256SUMS").read_text().split()[1]
    assert name == "tiny-2.0.pyz"


def test_the_words_are_counted_once(folder: Path) -> None:
    own = folder / "words"
    assert set(run(own, "words.yaml").values()) == {"completed"}
    shown = dirigent(own, "logs", "last", "show", "--state-dir", ".state").stdout
    assert "most used: the," in shown
    (own / "texts" / "fire.txt").write_text("fire fire fire\n")
    run(own, "words.yaml")
    events = dirigent(own, "export", "last", "--state-dir", ".state").stdout
    assert events.count('"kind":"task_reused"') == 2, "two of three texts are as they were"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_a_file_of_the_guide_is_well(number: int, tmp_path: Path) -> None:
    told = dirigent(tmp_path, "check", "-", input=blocks("yaml")[number])
    assert told.returncode == 0, told.stderr


def test_the_values_of_the_guide_are_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(blocks("yaml")[1])
    assert set(run(tmp_path, "values.yaml").values()) == {"completed"}
    assert dirigent(tmp_path, "logs", "last", "sum", "--state-dir", ".state").stdout.endswith("3 numbers\n")


def test_the_jobs_of_the_guide_are_listed(tmp_path: Path) -> None:
    (tmp_path / "dirigent.toml").write_text(blocks("toml")[0])
    told = dirigent(tmp_path, "list")
    assert told.returncode == 0, told.stderr
    assert "backup  job, never ran  copies the database" in told.stdout


def test_the_guide_names_every_key(tmp_path: Path) -> None:
    schema = json.loads(dirigent(tmp_path, "check", "--schema").stdout)
    guide = GUIDE.read_text(encoding="utf-8")
    keys = {*schema["properties"], *schema["$defs"]["TaskFile"]["properties"]}
    assert {
        key for key in keys if f"`{key}" not in guide and f"{key}:" not in guide and f" {key} " not in guide
    } == set()
