"""Children, guards and users that misbehave while a run is recorded: the record says so, and the run goes on by it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.children import DEADLINE_S, Ledger, kinds, started, wait_for, write_script
from tests.durable import SIGN
from tests.engines import rounds
from tests.oracle import ask, check, events_of, guards_of, signatures


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in a folder without a project."""
    monkeypatch.chdir(tmp_path)


# --- the guard is killed --------------------------------------------------------------------------

#: Twenty attempts that stay, unless they are tried again: commands that sign, and functions in processes of their own.
GUARDED = """
import os, sys, time
from dirigent import Workflow

def hold(path):
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "again"
    time.sleep(600)

wf = Workflow("guarded", max_concurrency=20)
for i in range(14):
    wf.add_shell(f"s{i}", f"{sys.argv[1]}; [ $DIRIGENT_ATTEMPT = 2 ] && exit 0; sleep 600 & exec sleep 600")
for i in range(6):
    wf.add_task(f"f{i}", hold, args=(os.path.abspath(f"f{i}"),), isolation="process")
run = wf.run_sync(resume="last")
assert run.ok, [(result.name, result.sentence) for result in run.failed]
"""


@pytest.mark.fault("E9", "kill -9 of the guards of twenty attempts, also of the engine right after")
@pytest.mark.parametrize("then", ["the engine lives", "the engine is killed"])
@pytest.mark.parametrize("who", ["scripts", "workflow"])
def test_attempts_whose_guard_is_killed_are_recorded_as_lost_and_tried_again_once(
    program: Path, tmp_path: Path, who: str, then: str
) -> None:
    state, ledger = tmp_path / "state", tmp_path / "ledger"
    sign = f"{SIGN} '{ledger}'"
    for i in range(20):
        body = f"{sign}; [ $DIRIGENT_ATTEMPT = 2 ] && exit 0; sleep 600 & exec sleep 600"
        write_script(tmp_path / "scripts" / f"{i:02}.sh", body)
    command: list[str | Path] = [program, "run", tmp_path / "scripts", "--jobs", "20", "--state-dir", state]
    if who == "workflow":
        command = [sys.executable, "-c", GUARDED, sign]
    environment = {**os.environ, "DIRIGENT_STATE_DIR": str(state)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}

    def under_way() -> int:
        signed = len(ledger.read_text().splitlines()) if ledger.exists() else 0
        return signed + len(list(tmp_path.glob("f[0-9]")))

    with started(command, env=environment, **pipes) as engine:
        wait_for("twenty attempts", lambda: under_way() == 20)
        # Processes of functions have a guard of their own.
        guards = guards_of({engine.pid})
        assert len(guards) == (2 if who == "workflow" else 1)
        for guard in guards:
            os.kill(guard, signal.SIGKILL)
        if then == "the engine is killed":
            engine.kill()
        told, _ = engine.communicate(timeout=DEADLINE_S)
    [head] = json.loads(ask(state, "runs", "--json"))
    run = head["id"]
    if then == "the engine is killed":
        assert head["status"] == "interrupted"
        again = ["resume", run, "--state-dir", str(state)]
        command = command if who == "workflow" else [program, *again]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
    else:
        assert engine.returncode == 0, told
    assert check(state, run, ledger) == "succeeded"
    events = events_of(state, run)
    ends = {
        (event["task"], event["attempt"]): event["outcome"]
        for event in events
        if event["kind"] == "attempt_ended"
    }
    tasks = {task for task, _ in ends}
    assert len(tasks) == 20
    assert [ends[task, 1] for task in tasks] == ["lost"] * 20
    assert {outcome for (_, attempt), outcome in ends.items() if attempt == 2} <= {"succeeded", "returned"}
    assert Counter(one.attempt for one in signatures(ledger, run)) in [{1: 20, 2: 20}, {1: 14, 2: 14}]


# --- children that stay ---------------------------------------------------------------------------

STAYING = """
import subprocess, sys
from dirigent import Workflow

def far(line):
    return subprocess.run(["bash", "-c", line]).returncode

wf = Workflow("staying")
for name, line in zip(sys.argv[1::2], sys.argv[2::2]):
    wf.add_command(name, ["bash", "-c", line])
    wf.add_task(f"far {name}", far, args=(line,), isolation="process")
wf.add_task("after", int, dependencies=list(wf.tasks))
assert wf.run_sync().ok
"""


@pytest.mark.fault("C4", "daemons in sessions of their own, also without their environment")
@pytest.mark.parametrize("who", ["scripts", "workflow"])
def test_children_that_leave_their_session_are_ended_with_the_attempt_or_the_run(
    program: Path, tmp_path: Path, who: str
) -> None:
    state, lines, ledgers = tmp_path / "state", {}, []
    for kind in ("background", "own_session", "daemon", "daemon_without_environment"):
        ledger = Ledger(tmp_path / kind)
        ledgers.append(ledger)
        # What they leave behind, without themselves: they end well as soon as it has signed.
        leave = kinds(ledger)[kind][0].rpartition(" & ")[0]
        lines[kind] = f"{leave} & until [ -s '{ledger.path}' ]; do sleep 0.01; done; exit 0"
        write_script(tmp_path / "scripts" / f"{kind}.sh", lines[kind])
    command: list[str | Path] = [program, "run", tmp_path / "scripts", "--state-dir", state]
    if who == "workflow":
        command = [sys.executable, "-c", STAYING, *(word for pair in lines.items() for word in pair)]
    environment = {**os.environ, "DIRIGENT_STATE_DIR": str(state)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
        [head] = json.loads(ask(state, "runs", "--json"))
        assert check(state, head["id"]) == "succeeded"
        ends = [event for event in events_of(state, head["id"]) if event["kind"] == "attempt_ended"]
        assert sum(event.get("left_behind", 0) > 0 for event in ends) == len(lines) - 1
        # One without its environment could be anybody's: it ends with the run.
        [end] = [event for event in events_of(state, head["id"]) if event["kind"] == "run_ended"]
        assert end["strays"] > 0
        for ledger in ledgers:
            assert ledger.processes()
            wait_for(f"the end of {ledger.path.name}", lambda ledger=ledger: not ledger.alive())
    finally:
        for ledger in ledgers:
            ledger.end_all()


# --- much output ----------------------------------------------------------------------------------


def peak_kib(pid: int) -> int:
    """The most memory that a process has had resident, in KiB; 0 when it is gone."""
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(row.split()[1]) for row in rows if row.startswith("VmHWM")), 0)


@pytest.mark.fault("C2", "512 MiB into each of two streams at once (10 GiB with all rounds)")
def test_a_flood_of_output_is_counted_and_costs_little_memory(program: Path, tmp_path: Path) -> None:
    state, go, ledger = tmp_path / "state", tmp_path / "go", tmp_path / "ledger"
    size = rounds(1, 20) << 29  # 10 GiB for all of it
    flood = f"head -c {size} /dev/zero | tr '\\0' x"
    os.mkfifo(go)
    write_script(
        tmp_path / "scripts" / "flood.sh",
        f"{SIGN} '{ledger}'; read line < '{go}'; {flood} >&2 & {flood}; wait",
    )
    command: list[str | Path] = [program, "run", tmp_path / "scripts", "--state-dir", state]
    with started(
        [*command, "--output-limit-mb", "4"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as engine:
        wait_for("the script", lambda: ledger.exists() and ledger.read_text().endswith("\n"))
        pids = [engine.pid, *guards_of({engine.pid})]
        before = {pid: peak_kib(pid) for pid in pids}
        peaks = dict(before)
        go.write_text("go\n")

        def ended() -> bool:
            peaks.update({pid: max(peaks[pid], peak_kib(pid)) for pid in pids})
            return engine.poll() is not None

        wait_for("the end of the flood", ended, 600)
    assert engine.returncode == 0 and min(before.values()) > 0
    assert sum(peaks.values()) - sum(before.values()) < 32 << 10, (before, peaks)
    [head] = json.loads(ask(state, "runs", "--json"))
    assert check(state, head["id"], ledger) == "succeeded"
    [end] = [event for event in events_of(state, head["id"]) if event["kind"] == "attempt_ended"]
    for stream in ("stdout", "stderr"):
        assert end[stream]["bytes"] == size
        assert len(Path(state, "runs", head["id"], "tasks/0/1", f"{stream}.log").read_bytes()) <= 4 << 20


# --- a state folder of somebody else --------------------------------------------------------------


@pytest.mark.fault("D3", "a state folder of another user")
@pytest.mark.needs("root", "setpriv")
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_the_state_folder_of_another_user_is_an_error_before_anything_runs(program: Path, mode: int) -> None:
    # The folder must be one that another user may enter.
    with tempfile.TemporaryDirectory(prefix="dirigent-test-") as name:
        folder, state = Path(name), Path(name) / "state"
        folder.chmod(0o777)
        copy = Path(shutil.copy(program.resolve(), folder / "dirigent"))
        script = write_script(folder / "only.sh", f"echo ran >> '{folder}/ran'", "/bin/sh")
        copy.chmod(0o755)
        ask(state, "run", str(script))
        (folder / "ran").unlink()
        state.chmod(mode)
        if mode == 0o755:
            for path in state.rglob("*"):
                path.chmod(0o755)
        before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
        user: list[str | Path] = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", copy]
        writing = [["run", script], ["resume"], ["gc", "--keep", "0"]]
        # Who may read them is told what there is.
        reading = [["runs"], ["show"], ["retry"], ["verify"], ["doctor"]] if mode == 0o700 else []
        for words in [*writing, *reading]:
            done = subprocess.run(
                [*user, *words, "--state-dir", state],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
            )
            assert done.returncode == 74, (words, done)
            assert done.stderr.startswith("error: ") and "hint: " in done.stderr, (words, done)
            assert str(state) in done.stderr
        assert not (folder / "ran").exists()
        assert {path: path.read_bytes() for path in state.rglob("*") if path.is_file()} == before


REMOVED = """
import shutil, sys
from dirigent import StorageError, Workflow

def remove():
    shutil.rmtree(sys.argv[1])

wf = Workflow("removed").add_task("first", remove)
wf.add_shell("stays", f"{sys.argv[2]}; exec sleep 600")
try:
    wf.run_sync()
except StorageError as error:
    print(error.code, error)
"""


@pytest.mark.fault("D3", "the state folder removed by a task")
def test_a_workflow_whose_state_folder_is_removed_ends_soon(tmp_path: Path, ledger: Ledger) -> None:
    state = tmp_path / "state"
    environment = {**os.environ, "DIRIGENT_STATE_DIR": str(state)}
    command = [sys.executable, "-c", REMOVED, str(state), ledger.sign]
    # Within 2 s, and something for a loaded machine.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith("journal.gone "), done
    assert "was removed while it was in use" in done.stdout
    wait_for("the end of the script", lambda: not ledger.alive())
