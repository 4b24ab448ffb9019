"""Commands, lines of shell and scripts in a workflow: what they get, what they leave, how they fail."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import dirigent
import pytest
from dirigent import RetryPolicy, UsageError, Workflow

from tests.children import write_script
from tests.workflows import ended, ends_of, most_at_once


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def test_a_command_gets_its_arguments_folder_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAKEN_AWAY", "x")
    monkeypatch.setenv("INHERITED", "y")
    hard = ["a b", "$HOME", "*", "; rm -rf x", "", "--flag", "é\n"]
    tell = "import json, os, sys; print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))"
    wf = Workflow("commands")
    env = {"GIVEN": "$HOME; `x`", "TAKEN_AWAY": None}
    wf.add_command("tell", [sys.executable, "-c", tell, *hard], cwd=tmp_path, env=env)
    wf.add_task("told", lambda tell: json.loads(tell.stdout), ["tell"])
    wf.add_command("here", ["pwd"]).add_task("folder", lambda here: here.stdout.strip(), ["here"])
    declared_in = os.getcwd()
    monkeypatch.chdir(tmp_path)
    run = ended(wf)
    args, folder, environment = run["told"]
    assert (args, folder) == (hard, str(tmp_path))
    assert (environment["GIVEN"], environment["INHERITED"]) == ("$HOME; `x`", "y")
    assert "TAKEN_AWAY" not in environment
    assert run["folder"] == declared_in


def test_the_value_of_a_command_is_what_it_left() -> None:
    wf = Workflow("commands")
    wf.add_shell("say", "echo out; printf 'err\\377' >&2; exit 3", allowed_exit_codes=[0, 3]).add_shell(
        "quiet", ":"
    )
    wf.add_task(
        "look", lambda say, quiet: (say.exit_code, say.stdout, say.stderr, quiet.stdout), ["say", "quiet"]
    )
    run = ended(wf)
    assert run["look"] == (3, "out\n", "err�", "")
    # It is there as well when nothing in the run asked for it.
    assert (run["say"].exit_code, run["say"].stdout, run["quiet"].exit_code) == (3, "out\n", 0)
    assert (run["say"].folder / "stderr.log").read_bytes() == b"err\377"
    part = ended(Workflow("outer").add_workflow("part", Workflow("inner").add_shell("say", "echo in")))
    assert part["part"]["say"].stdout == "in\n"


def test_a_command_fails_with_its_exit_code() -> None:
    wf = (
        Workflow("commands", fail_fast=False)
        .add_shell("x", "echo why >&2; exit 3")
        .add_command("y", ["false"])
    )
    wf.add_shell("zero is not allowed", "exit 0", allowed_exit_codes=[1])
    run = ended(wf)
    sentences = {name: result.sentence for name, result in run.tasks.items()}
    assert sentences["x"] == "failed with exit code 3"
    assert sentences["zero is not allowed"] == "failed with exit code 0"
    with pytest.raises(dirigent.TaskFailedError, match="task `y` failed with exit code 1"):
        run["y"]
    assert ends_of(run, "x")[0]["last_lines"].strip() == "why"


def test_scripts_run_by_their_kind(tmp_path: Path) -> None:
    python = tmp_path / "tell me.py"
    python.write_text("import sys; print('python', *sys.argv[1:], sys.executable)")
    shell = tmp_path / "plain.sh"
    shell.write_text("echo shell $1")
    own = write_script(tmp_path / "own", "echo own ${BASH_VERSION:+bash}")
    wf = Workflow("scripts").add_script("python", python, args=["a b", "$c"])
    wf.add_script("shell", os.path.relpath(shell), args=["x"]).add_script("own", own)
    wf.add_task("told", lambda **results: [it.stdout for it in results.values()], ["python", "shell", "own"])
    assert ended(wf)["told"] == [f"python a b $c {sys.executable}\n", "shell x\n", "own bash\n"]
    with pytest.raises(UsageError, match=r"not there: .*missing.py"):
        wf.add_script("missing", tmp_path / "missing.py")


def test_a_command_knows_what_it_is_a_part_of(tmp_path: Path) -> None:
    names = [f"DIRIGENT_{name}" for name in ("TASK", "ATTEMPT", "RUN_ID", "IDEMPOTENCY_KEY")]
    tell = tmp_path / "tell.py"
    tell.write_text(f"import json, os; print(json.dumps([os.environ[name] for name in {names}]))")
    again = f"'{sys.executable}' '{tell}' >> '{tmp_path}/told'; [ $DIRIGENT_ATTEMPT = 2 ]"
    wf = Workflow("knows").add_shell("a task", again, retry_policy=RetryPolicy(2, 0))
    run = ended(wf.add_script("other", tell))
    first, second = map(json.loads, (tmp_path / "told").read_text().splitlines())
    other = json.loads(run["other"].stdout)
    assert first[:3] == ["a task", "1", run.id] and second[:3] == ["a task", "2", run.id]
    assert first[3] == second[3] != other[3]


def test_a_command_that_takes_too_much_memory_fails() -> None:
    eat = [sys.executable, "-c", "import time; eaten = b'x' * (400 << 20); time.sleep(60)"]
    wf = Workflow("memory", fail_fast=False).add_command("eats", eat, memory_limit_mb=100)
    run = ended(wf.add_command("modest", ["true"], memory_limit_mb=100))
    assert run["modest"].exit_code == 0
    with pytest.raises(dirigent.TaskFailedError):
        run["eats"]


def test_as_many_commands_run_at_once_as_there_are_cores_unless_told_otherwise() -> None:
    cores = os.cpu_count() or 1
    for most, expected in ((None, cores), (cores + 2, cores + 2)):
        wf = Workflow("cores", max_concurrency=most)
        for number in range(cores * 2 + 2):
            wf.add_command(f"{number}", ["sleep", "0.05"])
        run = ended(wf)
        assert run.ok and most_at_once(run, run.tasks) == expected


def test_a_line_is_no_list_of_words() -> None:
    with pytest.raises(UsageError, match="add_shell"):
        Workflow("words").add_command("x", "ls -l")
