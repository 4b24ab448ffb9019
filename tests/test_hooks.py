"""Hooks: what they are told and when, in which order, and that neither slow nor broken ones hurt the run."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.children import DEADLINE_S, Ledger, only_run, started, wait_for, write_script

Done = subprocess.CompletedProcess[str]

MOMENTS = ("before_run", "after_run", "before_task", "after_task", "on_failure", "on_success", "on_retry")

#: Writes a line: what is said by variables, then what is said by JSON.
KEEP = [
    "sh",
    "-c",
    'printf "%s %s %s " "$DIRIGENT_HOOK" "${DIRIGENT_TASK-}" "$DIRIGENT_RUN_ID" >> told; cat >> told',
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    write_script(project / "a.sh", "echo why >&2; exit 3")
    write_script(project / "b.sh", "exit 0")
    return project


def configure(project: Path, **hooks: Any) -> None:
    settings = {"run": {"report": [], "jobs": 1}, "hooks": hooks}
    (project / "dirigent.json").write_text(json.dumps(settings))


@pytest.fixture
def run(program: Path, project: Path) -> Callable[..., Done]:
    """Runs the project with these hooks."""

    def run(*verb: str, **hooks: Any) -> Done:
        configure(project, **hooks)
        command = [program, *(verb or ("run", "."))]
        return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=DEADLINE_S)

    return run


def told(project: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """Hook, task and JSON of each call, in order."""
    path = project / "told"
    lines = path.read_text().splitlines() if path.exists() else []
    calls = []
    for line in lines:
        hook, task, run, info = line.split(" ", 3)
        known = json.loads(info)
        assert (known["hook"], known.get("task", ""), known["run"]) == (hook, task, run)
        calls.append((hook, task, known))
    return calls


def test_hooks_are_told_what_happens_as_it_happens(run: Callable[..., Done], project: Path) -> None:
    done = run(**{moment: [KEEP] for moment in MOMENTS})
    assert (done.returncode, "hook" in done.stderr) == (1, False), done.stderr
    calls = told(project)
    assert [(hook, task) for hook, task, _ in calls] == [
        ("before_run", ""),
        ("before_task", "a.sh"),
        ("after_task", "a.sh"),
        ("on_failure", "a.sh"),
        ("before_task", "b.sh"),
        ("after_task", "b.sh"),
        ("on_success", "b.sh"),
        ("after_run", ""),
    ]
    failure, end = calls[3][2], calls[7][2]
    assert (failure["status"], failure["outcome"], failure["last_lines"], failure["attempt"]) == (
        "failed",
        "failed with exit code 3",
        "why",
        1,
    )
    assert (end["verdict"], end["counts"], end["workflow"]) == (
        "failed",
        {"completed": 1, "failed": 1},
        "project",
    )
    assert Path(end["folder"]).name == end["run"]


def test_another_attempt_is_told_of(run: Callable[..., Done], project: Path) -> None:
    # Its parent is the guard: an attempt that is lost with that is tried again.
    write_script(project / "a.sh", "[ -e once ] || { touch once; kill -9 $PPID; sleep 60; }")
    assert run(before_task=[KEEP], on_retry=[KEEP], on_success=[KEEP]).returncode == 0
    calls = [(hook, info["attempt"]) for hook, task, info in told(project) if task == "a.sh"]
    assert calls == [("before_task", 1), ("on_retry", 1), ("before_task", 2), ("on_success", 2)]
    assert [info["retry_in_s"] >= 0 for hook, _, info in told(project) if hook == "on_retry"] == [True]


def test_hooks_of_a_moment_go_one_after_another_in_the_files_order(
    run: Callable[..., Done], project: Path
) -> None:
    slow = {"command": ["sh", "-c", "sleep 0.2; echo first >> order"], "timeout": "20s"}
    assert run(after_run=[slow, ["sh", "-c", "echo second >> order"]]).returncode == 1
    assert (project / "order").read_text() == "first\nsecond\n"


def test_what_hooks_print_lies_beside_the_run(run: Callable[..., Done], project: Path) -> None:
    done = run("run", ".", "--json", after_run=[["sh", "-c", "echo out; echo err >&2"]])
    assert json.loads(done.stdout)
    assert (only_run(project / ".dirigent") / "hooks.log").read_text() == "out\nerr\n"


def test_a_hook_that_fails_is_reported_and_hurts_nothing(run: Callable[..., Done], ledger: Ledger) -> None:
    hangs = {"command": ["sh", "-c", f"{ledger.sign}; exec sleep 600"], "timeout": "500ms"}
    done = run(before_run=[hangs], on_success=[["false"], ["no-such-program"], ["true"]])
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("hook")]
    assert lines[0].startswith("hook       before_run: sh was ended after 0."), lines
    assert lines[1] == "hook       on_success of b.sh: false ended with exit code 1"
    assert lines[2].startswith(
        "hook       on_success of b.sh: no-such-program cannot start `no-such-program`: "
    )
    assert len(lines) == 3
    assert ledger.alive() == []


def test_a_slow_hook_does_not_hold_the_run_up(program: Path, project: Path, ledger: Ledger) -> None:
    names = [f"{letter}.sh" for letter in "abcde"]
    for name in names:
        write_script(project / name, ledger.sign)
    waits = {"command": ["sh", "-c", "until [ -e go ]; do sleep 0.02; done"], "timeout": "60s"}
    configure(project, before_task=[waits, KEEP])
    with started(
        [program, "run", "."], cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        ledger.wait_for(5)
        assert told(project) == [] and process.poll() is None
        (project / "go").touch()
        assert process.wait(DEADLINE_S) == 0
    assert [task for _, task, _ in told(project)] == names


def test_hooks_get_a_bounded_time_after_the_end(
    run: Callable[..., Done], project: Path, ledger: Ledger
) -> None:
    hangs = {"command": ["sh", "-c", f"{ledger.sign}; exec sleep 600"], "timeout": "60s"}
    done = run(before_run=[hangs], after_task=[KEEP], patience="300ms")
    assert done.returncode == 1
    assert "hook       before_run: sh was ended after " in done.stderr
    assert "hook       2 calls not made: the run ended too long ago\n" in done.stderr
    assert (told(project), ledger.alive()) == ([], [])


def test_a_hook_does_not_outlive_a_program_that_is_killed(
    program: Path, project: Path, ledger: Ledger
) -> None:
    configure(project, before_run=[["sh", "-c", f"{ledger.sign}; exec sleep 600"]])
    with started(
        [program, "run", "."], cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        ledger.wait_for(1)
        process.kill()
        wait_for("the end of the hook", lambda: not ledger.alive())


def test_a_resumed_run_is_told_from_there_on(run: Callable[..., Done], project: Path) -> None:
    write_script(
        project / "b.sh", "[ -e twice ] || { touch twice; kill -9 $(ps -o ppid= -p $PPID); sleep 60; }"
    )
    assert run().returncode == -9
    assert run("resume", before_run=[KEEP], after_task=[KEEP]).returncode == 1
    assert [(hook, task) for hook, task, _ in told(project)] == [("before_run", ""), ("after_task", "b.sh")]


def test_a_watch_tells_what_changed(program: Path, project: Path, tmp_path: Path) -> None:
    configure(project, on_change=[["sh", "-c", "cat > ../changes"]])
    with (tmp_path / "talk").open("w") as talk:
        command = [program, "watch", ".", "--debounce", "20ms"]
        with started(command, cwd=project, stdout=subprocess.DEVNULL, stderr=talk):
            wait_for("the first run", lambda: "round 1" in (tmp_path / "talk").read_text())
            (project / "b.sh").write_text("#!/bin/sh\n")
            changes = tmp_path / "changes"
            wait_for("the hook", lambda: changes.exists() and changes.read_text().endswith("\n"))
    info = json.loads(changes.read_text())
    assert info["hook"] == "on_change"
    assert info["changes"] == [{"path": str(project / "b.sh"), "became": "changed"}]


def test_runs_of_a_python_file_and_of_a_workflow_file_are_told_of_too(
    run: Callable[..., Done], project: Path
) -> None:
    (project / "flows.py").write_text(
        "from dirigent import Workflow\netl = Workflow('etl')\netl.add_task('one', lambda: 1)\n"
    )
    (project / "flow.yaml").write_text("name: etl\ntasks: {one: {run: ['true']}}\n")
    for target in ("flows.py:etl", "flow.yaml"):
        done = run("run", target, after_task=[KEEP], after_run=[KEEP])
        assert (done.returncode, "hook" in done.stderr) == (0, False), done.stderr
        assert [(hook, task) for hook, task, _ in told(project)] == [("after_task", "one"), ("after_run", "")]
        (project / "told").unlink()


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ({"before_runs": [["x"]]}, "did you mean `before_run`?"),
        ({"before_run": [[]]}, "this names no program"),
        ({"before_run": ["x"]}, "a list of a program and its arguments, or `{command: …, timeout: …}`"),
        ({"before_run": [{"command": ["x"], "time": "1s"}]}, "unknown key `time`"),
        ({"before_run": [{"command": ["x"], "timeout": "2m"}]}, "at most 60 s"),
        ({"patience": "long"}, "is no duration"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place(
    run: Callable[..., Done], hooks: dict[str, Any], message: str
) -> None:
    done = run(**hooks)
    assert done.returncode == 2 and message in done.stderr and "dirigent.json:1:" in done.stderr, done.stderr


def test_a_hook_may_use_the_program_itself(run: Callable[..., Done], program: Path, project: Path) -> None:
    listing = ["sh", "-c", f"'{os.fspath(program)}' runs --json > listed"]
    assert "hook" not in run(after_run=[listing]).stderr
    assert len(json.loads((project / "listed").read_text())) == 1
