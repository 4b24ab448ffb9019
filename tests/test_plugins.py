"""Plugins of installed packages: what they are called with, and that neither slow nor broken ones hurt a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.children import DEADLINE_S

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Done = subprocess.CompletedProcess[str]

#: Keeps what it is called with.
KEEPER = """
import json
def _keep(info):
    with open("calls", "a") as file:
        file.write(json.dumps(info) + "\\n")
before_run = after_run = before_task = after_task = on_failure = on_success = on_retry = _keep
"""

PROGRAM = """
from dirigent import RetryPolicy, Workflow
seen = []
def shaky():
    seen.append(1)
    if len(seen) < 2:
        raise ValueError("not yet")
def broken():
    raise KeyError("x")
wf = Workflow("etl", fail_fast=False, max_concurrency=1)
wf.add_task("shaky", shaky, retry_policy=RetryPolicy(max_attempts=2, initial_delay=0.01))
wf.add_task("broken", broken, dependencies=["shaky"])
run = wf.run_sync()
print(run.verdict)
"""


def install(folder: Path, points: dict[str, str], **modules: str) -> None:
    """Put a package there as an installer does: its modules, and what they are beside them."""
    folder.mkdir(exist_ok=True)
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
    about = folder / "some_plugins-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: some-plugins\nVersion: 1.0\n")
    lines = "".join(f"{name} = {place}\n" for name, place in points.items())
    (about / "entry_points.txt").write_text(f"[console_scripts]\nx = y:z\n\n[dirigent.plugins]\n{lines}")


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., Done]:
    """Runs a program beside which the packages in ``installed`` are installed."""

    def run(code: str, *options: str) -> Done:
        environment = {
            **os.environ,
            "PYTHONPATH": str(tmp_path / "installed"),
            "DIRIGENT_STATE_DIR": str(tmp_path / "state"),
        }
        command = [sys.executable, *options, "-c", code]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=DEADLINE_S
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


def test_a_plugin_is_called_as_things_happen(python: Callable[..., Done], tmp_path: Path) -> None:
    install(tmp_path / "installed", {"keeper": "keeper"}, keeper=KEEPER)
    assert python(PROGRAM).stdout == "failed\n"
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert [(call["hook"], call.get("task"), call.get("attempt")) for call in calls] == [
        ("before_run", None, None),
        ("before_task", "shaky", 1),
        ("on_retry", "shaky", 1),
        ("before_task", "shaky", 2),
        ("after_task", "shaky", 2),
        ("on_success", "shaky", 2),
        ("before_task", "broken", 1),
        ("after_task", "broken", 1),
        ("on_failure", "broken", 1),
        ("after_run", None, None),
    ]
    assert {(call["workflow"], len(call["run"])) for call in calls} == {("etl", 36)}
    assert calls[2]["outcome"] == "raised ValueError: not yet" and calls[2]["retry_in_s"] >= 0
    assert (calls[-1]["verdict"], calls[-1]["counts"]) == ("failed", {"completed": 1, "failed": 1})


def test_a_flow_and_a_workflow_on_a_loop_are_told_of_too(python: Callable[..., Done], tmp_path: Path) -> None:
    install(tmp_path / "installed", {"keeper": "keeper"}, keeper=KEEPER)
    python(
        "from dirigent import Workflow, flow, task\n"
        "@task\ndef one(): return 1\n"
        "@flow\ndef two(): return one()\n"
        "two()\n"
        "async def three(): pass\n"
        "wf = Workflow('three'); wf.add_task('three', three); wf.run_sync()\n"
    )
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    ended = [call["task"] for call in calls if call["hook"] == "on_success"]
    assert ended == ["one", "body", "three"]


def test_a_plugin_that_fails_is_reported_and_hurts_nothing(
    python: Callable[..., Done], tmp_path: Path
) -> None:
    modules = {
        "a_raiser": "def after_task(info): raise SystemExit('no')\n",
        "b_coroutine": "async def after_run(info): pass\n",
        "c_empty": "def after_tasks(info): pass\n",
        "d_broken": "1 / 0\n",
        "keeper": KEEPER,
    }
    points = {name: name for name in modules} | {"e_missing": "nowhere:plugin"}
    install(tmp_path / "installed", points, **modules)
    for options in ((), ("-W", "error")):
        done = python("import logging; logging.basicConfig()\n" + PROGRAM, *options)
        assert done.stdout == "failed\n"
        for message in (
            "plugin `a_raiser`: after_task raised SystemExit: no",
            "plugin `b_coroutine`: after_run raised TypeError: a coroutine function is never awaited here",
            "plugin `c_empty` has no function of the names before_run,",
            "plugin `d_broken` cannot be loaded: ZeroDivisionError: division by zero",
            "plugin `e_missing` cannot be loaded: ModuleNotFoundError",
        ):
            assert f"ERROR:dirigent:{message}" in done.stderr
            assert options or f"RuntimeWarning: {message}" in done.stderr
    assert len((tmp_path / "calls").read_text().splitlines()) == 20


def test_a_slow_plugin_holds_up_no_task_and_is_cut_in_the_end(
    python: Callable[..., Done], tmp_path: Path
) -> None:
    slow = "import threading\ndef before_run(info): threading.Event().wait()\n"
    install(tmp_path / "installed", {"slow": "slow"}, slow=slow)
    began = time.monotonic()
    done = python("import dirigent._plugins as p; p.PATIENCE_S = 0.2\n" + PROGRAM)
    assert done.stdout == "failed\n" and time.monotonic() - began < DEADLINE_S / 2
    assert "RuntimeWarning: plugins were not done 0.2 s after the end of the run" in done.stderr


def test_importing_looks_for_no_plugin(python: Callable[..., Done], tmp_path: Path) -> None:
    install(tmp_path / "installed", {"keeper": "keeper"}, keeper=KEEPER)
    look = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda name, args: opened.append(str(args[0])) if name == 'open' else None)\n"
        "import dirigent, dirigent._run, dirigent._workflow\n"
        "from dirigent import Workflow, flow, task\n"
        "Workflow('x').add_task('y', print).validate()\n"
        "assert not any('entry_points' in path for path in opened), opened\n"
        "assert 'importlib.metadata' not in sys.modules and 'keeper' not in sys.modules\n"
    )
    python(look)
    # The same eyes see it where it happens.
    seen = look.replace("assert not any", "Workflow('x').run_sync()\nassert any").partition(
        "assert 'importlib"
    )[0]
    python(seen)


def test_without_plugins_a_run_has_no_thread_for_them(python: Callable[..., Done]) -> None:
    python(
        "import threading, dirigent._plugins as plugins\n"
        "from dirigent import Workflow\n"
        "plugins._is_mentioned = lambda: False\n"
        "assert Workflow('x').run_sync().ok and plugins._plugins == []\n"
        "def look(): assert 'dirigent-plugins' not in [it.name for it in threading.enumerate()]\n"
        "wf = Workflow('x'); wf.add_task('look', look); wf.run_sync().raise_for_failures()\n"
    )


def test_the_example_is_a_plugin(python: Callable[..., Done], root: Path, tmp_path: Path) -> None:
    example = root / "examples/plugin"
    points = tomllib.loads((example / "pyproject.toml").read_text())["project"]["entry-points"][
        "dirigent.plugins"
    ]
    module = "dirigent_slowest"
    install(tmp_path / "installed", points, **{module: (example / f"{module}.py").read_text()})
    told = python(
        "from dirigent import Workflow\nimport time\n"
        "wf = Workflow('etl'); wf.add_task('a', print); wf.add_task('b', lambda: time.sleep(0.3))\n"
        "wf.run_sync()"
    ).stderr
    assert told.startswith("etl succeeded; slowest: b, 0.") and told.endswith(" s\n")
