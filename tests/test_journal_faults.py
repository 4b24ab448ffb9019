"""Engines that are killed, two at a time, or on a disk that misbehaves: what is recorded stays true, and the run goes on."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import DEADLINE_S, Ledger, children_of, kinds, started, wait_for, write_script
from tests.engines import Engine, build_faulty_disk, rounds, spread
from tests.oracle import UNSPEAKABLE, ask, asked, check, marked


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in a folder without a project."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def faulty_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes a disk misbehave."""
    return build_faulty_disk(tmp_path_factory.mktemp("disk"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, faulty_disk: Path) -> Engine:
    """A run to which nothing happened, with each call by which it changed its disk."""
    engine = Engine(tmp_path_factory.mktemp("undisturbed"), faulty_disk)
    done = engine.carry_out(log=engine.log)
    assert done.returncode == 0, done.stderr
    assert engine.check() == ["succeeded"]
    return engine


def see_through(engine: Engine, undisturbed: Engine, lacks: str = "nothing") -> None:
    """Go on with a run that was killed, and see that it comes to what it would have come to.

    A value that found no room (`lacks` is what is told then) is not there afterwards, and says so.
    """
    before = engine.runs()
    statuses = engine.check()
    assert set(statuses) <= {"interrupted", "succeeded"}
    done = engine.carry_out("resume")
    if f"ValueNotKeptError: the value was not kept: {lacks}" in done.stderr:
        assert set(engine.check()) == {"succeeded"}
        return
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(engine.check()) == {"succeeded"}
    assert engine.told_values() == undisturbed.told_values()
    if "interrupted" in statuses:
        assert [run["id"] for run in engine.runs()] == [run["id"] for run in before]


# --- the engine dies ------------------------------------------------------------------------------


@pytest.mark.fault("E1", "kill -9 at a change of the disk, in a workflow with tasks of every kind")
@pytest.mark.needs("cc")
def test_a_run_killed_at_any_change_of_its_disk_goes_on_to_the_same_end(
    tmp_path: Path, faulty_disk: Path, undisturbed: Engine
) -> None:
    # The calls come in another order each time; whichever is hit, all that is before it was done and nothing after it.
    calls = len(undisturbed.log.read_text().splitlines())
    assert calls > 50
    for place in spread(rounds(24, calls), calls):
        print("killed at change", place)
        engine = Engine(tmp_path / str(place), faulty_disk)
        engine.carry_out(first=place)
        see_through(engine, undisturbed)
        shutil.rmtree(engine.folder)


@pytest.mark.fault("E2", "kill -9 at random times, three times a run")
@pytest.mark.needs("cc")
def test_a_run_killed_at_random_times_again_and_again_comes_to_its_end(
    tmp_path: Path, undisturbed: Engine
) -> None:
    since = time.monotonic()
    assert Engine(tmp_path / "timed").carry_out().returncode == 0
    usual_s = time.monotonic() - since
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    for number in range(rounds(12, 200)):
        engine = Engine(tmp_path / str(number))
        for word in ("new", "resume", "resume"):
            after_s = chance.uniform(0.2, 1.0) * usual_s
            with started(engine.command(word), cwd=engine.folder, env=engine.environment()) as process:
                try:
                    process.wait(after_s)
                except subprocess.TimeoutExpired:
                    process.kill()
            assert set(engine.check()) <= {"interrupted", "succeeded"}
        see_through(engine, undisturbed)
        shutil.rmtree(engine.folder)


@pytest.mark.fault("E4", "kill -9 of engine and guard at once")
def test_what_outlived_engine_and_guard_is_ended_before_the_run_goes_on(
    program: Path, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "signed")
    daemon, _ = kinds(ledger)["daemon"]
    for i in range(4):
        write_script(tmp_path / "scripts" / f"{i}.sh", f"[ $DIRIGENT_ATTEMPT = 2 ] && exit 0; {daemon}")
    state = tmp_path / "state"
    command: list[str | Path] = [program, "run", tmp_path / "scripts", "--jobs", "4", "--state-dir", state]
    try:
        with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as engine:
            ledger.wait_for(8)
            [guard] = children_of(engine.pid)
            # Stopped first: neither hears of the end of the other.
            for pid in (guard.pid, engine.pid):
                os.kill(pid, signal.SIGSTOP)
            for pid in (guard.pid, engine.pid):
                os.kill(pid, signal.SIGKILL)
            engine.wait()
        [head] = json.loads(ask(state, "runs", "--json"))
        assert (head["status"], head["holder_pid"]) == ("interrupted", None)
        # The kernel has ended the children of the guard; theirs live on.
        assert len(ledger.alive()) >= 4 and len(marked(head["id"])) >= 4
        ask(state, "resume", "last")
        assert not ledger.alive()
        assert check(state, head["id"]) == "succeeded"
    finally:
        ledger.end_all()


# --- several engines ------------------------------------------------------------------------------


HOLDER = """
import sys, time
from dirigent import BusyError, Workflow
wf = Workflow("held").add_shell("wait", "read line < '" + sys.argv[1] + "'")
handle = wf.start()
try:
    wf.start(resume=handle.id)
except BusyError as error:
    print(handle.id, error, flush=True)
handle.wait()
"""


@pytest.mark.fault("E7", "a second engine on a run, in the same process and in another")
def test_a_second_engine_on_a_run_says_who_holds_it(program: Path, tmp_path: Path) -> None:
    from dirigent import BusyError, Workflow

    pipe, state = tmp_path / "pipe", tmp_path / "state"
    os.mkfifo(pipe)
    environment = {**os.environ, "DIRIGENT_STATE_DIR": str(state)}
    with started([sys.executable, "-c", HOLDER, pipe], env=environment, stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        # The second engine of the same process.
        run, _, told = engine.stdout.readline().partition(" ")
        assert f"run {run} is held by process {engine.pid}" in told
        # The second engine of another process.
        done = asked(state, "resume", run)
        assert done.returncode == 75
        assert f"run {run} is held by process {engine.pid} on {os.uname().nodename} since 20" in done.stderr
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DIRIGENT_STATE_DIR", str(state))
            with pytest.raises(BusyError, match=f"held by process {engine.pid}"):
                Workflow("held").add_shell("wait", f"read line < '{pipe}'").run_sync(resume=run)
        assert check(state, run) == "running"
        pipe.write_text("go on\n")
        assert engine.wait(DEADLINE_S) == 0
    assert check(state, run) == "succeeded"


CROWD = """
import os, sys
from dirigent import Workflow
wf = Workflow(f"one of {os.getppid()}")
for i in range(int(sys.argv[1])):
    wf.add_task(str(i), lambda: os.getpid(), dependencies=[str(i - 7)] if i > 6 else [])
run = wf.run_sync()
assert run.ok and set(run.values()) == {os.getpid()}
print(run.id)
"""


@pytest.mark.fault("E7", "eight processes in one state folder")
def test_eight_processes_run_in_one_state_folder_at_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    environment = {**os.environ, "DIRIGENT_STATE_DIR": str(state)}
    tasks = rounds(250, 1000)
    command = [sys.executable, "-c", CROWD, str(tasks)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    engines = [subprocess.Popen(command, env=environment, **pipes) for _ in range(8)]
    try:
        ends = [engine.communicate(timeout=DEADLINE_S) for engine in engines]
    finally:
        for engine in engines:
            engine.kill()
    assert [engine.returncode for engine in engines] == [0] * 8, ends
    assert not any(told for _, told in ends)
    heads = json.loads(ask(state, "runs", "--json"))
    assert {head["id"] for head in heads} == {run.strip() for run, _ in ends}
    for head in heads:
        assert head["tasks"] == {"completed": tasks}
        assert check(state, head["id"]) == "succeeded"


# --- the disk misbehaves --------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount: list[str | Path] = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(disk: Path) -> Path:
    """Take all the room of a disk."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return filler


@pytest.mark.fault("D1", "a disk of 8 MiB that somebody else fills up")
@pytest.mark.needs("root", "mount")
def test_a_run_on_a_full_disk_waits_for_room_and_goes_on(
    program: Path, tmp_path: Path, small_disk: Path
) -> None:
    scripts, go, state = tmp_path / "scripts", tmp_path / "go", small_disk / "state"
    os.mkfifo(go)
    # One that is running while the disk fills up, and some after it.
    write_script(scripts / "0.sh", f"echo began; read line < '{go}'; echo through")
    for i in range(1, 40):
        write_script(scripts / f"{i:02}.sh", f"echo {i}")
    command: list[str | Path] = [program, "run", scripts, "--jobs", "1", "--state-dir", state]
    with started(command, stdout=subprocess.PIPE, stderr=(tmp_path / "told").open("w")) as engine:
        told = tmp_path / "told"
        wait_for("the first script", lambda: "started    0.sh" in told.read_text())
        filler = fill(small_disk)
        go.write_text("go\n")
        wait_for("why it waits", lambda: "no space" in told.read_text())
        seen = told.read_text()
        time.sleep(0.5)
        # It waits: nothing is told that is not recorded, and nothing was ended.
        assert told.read_text() == seen and engine.poll() is None
        filler.unlink()
        assert engine.wait(DEADLINE_S) == 0, told.read_text()
    [head] = json.loads(ask(state, "runs", "--json"))
    assert head["tasks"] == {"completed": 40}
    assert check(state, head["id"]) == "succeeded"


@pytest.mark.fault("D2", "EIO from the k-th sync on")
@pytest.mark.needs("cc")
@pytest.mark.parametrize("first", [1, 2, 3, 6, 9])
def test_where_the_disk_refuses_to_sync_the_engine_stops(
    program: Path, tmp_path: Path, faulty_disk: Path, first: int
) -> None:
    engine = Engine(tmp_path / "engine", faulty_disk)
    write_script(tmp_path / "scripts" / "only.sh", f"echo $$ >> '{tmp_path}/ran'")
    faulty = engine.environment(first=first, error=errno.EIO, calls=",fsync,fdatasync,")
    command: list[str | Path] = [program, "run", tmp_path / "scripts", "--state-dir", engine.state]
    done = subprocess.run(command, env=faulty, capture_output=True, text=True, timeout=DEADLINE_S)
    assert not any(word in done.stderr for word in UNSPEAKABLE), done.stderr
    if done.returncode != 0:
        assert done.returncode == 74, done.stderr
        assert "error: cannot" in done.stderr and "journal.db" in done.stderr
    if first <= 2:
        assert done.returncode == 74 and not (tmp_path / "ran").exists()
    for head in json.loads(ask(engine.state, "runs", "--json")):
        assert check(engine.state, head["id"]) == ("succeeded" if done.returncode == 0 else "interrupted")


@pytest.mark.fault("D2", "EIO, ENOSPC, EROFS at a change of the disk")
@pytest.mark.needs("cc")
@pytest.mark.parametrize(
    "error", [errno.EIO, errno.ENOSPC, errno.EROFS], ids=["refused", "full", "read-only"]
)
def test_a_disk_that_refuses_at_any_time_is_an_error_or_waited_for(
    tmp_path: Path, faulty_disk: Path, undisturbed: Engine, error: int
) -> None:
    calls = len(undisturbed.log.read_text().splitlines())
    for place in spread(rounds(10, calls), calls):
        print("refused at change", place)
        engine = Engine(tmp_path / str(place), faulty_disk)
        # A disk that is full has room again after a while.
        last = place + 2 if error == errno.ENOSPC else 0
        # A full disk takes files away as ever.
        calls = ",pwrite,write,fsync,fdatasync,ftruncate,rename,mkdir,"
        done = engine.carry_out(first=place, last=last, error=error, calls=calls)
        told = "StorageError" in done.stderr or "OSError" in done.stderr
        assert done.returncode == 0 or told, done.stderr[-3000:]
        see_through(engine, undisturbed, "there is no space left" if error == errno.ENOSPC else "nothing")
        shutil.rmtree(engine.folder)


@pytest.mark.fault("D3", "a file system that is mounted read-only")
@pytest.mark.needs("root", "mount")
def test_a_state_folder_that_cannot_be_written_is_an_error_before_anything_runs(
    program: Path, tmp_path: Path, small_disk: Path
) -> None:
    state = small_disk / "state"
    write_script(tmp_path / "scripts" / "only.sh", f"echo ran >> '{tmp_path}/ran'")
    ask(state, "run", str(tmp_path / "scripts"))
    assert (tmp_path / "ran").read_text() == "ran\n"
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for words in (
        ["run", str(tmp_path / "scripts")],
        ["runs"],
        ["show"],
        ["verify"],
        ["resume"],
        ["gc", "--keep", "0"],
    ):
        done = asked(state, *words)
        assert done.returncode == 74 or (done.returncode == 0 and words[0] != "run")
        assert done.returncode == 0 or done.stderr.startswith("error: ")
    assert (tmp_path / "ran").read_text() == "ran\n"


@pytest.mark.fault("D3", "the state folder removed while a script runs")
def test_a_state_folder_that_is_removed_ends_the_run_soon(program: Path, tmp_path: Path) -> None:
    state, ledger = tmp_path / "state", Ledger(tmp_path / "signed")
    write_script(tmp_path / "scripts" / "only.sh", f"{ledger.sign}; exec sleep 600")
    command: list[str | Path] = [program, "run", tmp_path / "scripts", "--state-dir", state]
    try:
        with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as engine:
            ledger.wait_for(1)
            shutil.rmtree(state)
            # Within 2 s, and something for a loaded machine.
            _, told = engine.communicate(timeout=20)
        assert engine.returncode == 74
        assert f"error: {state}/journal.db was removed while it was in use\nhint: " in told
        wait_for("the end of the script", lambda: not ledger.alive())
    finally:
        ledger.end_all()


# --- many readers ---------------------------------------------------------------------------------

MANY = """
import sys
from dirigent import Workflow
wf = Workflow("many").add_tasks([(f"t{i}", int, []) for i in range(int(sys.argv[1]))])
run = wf.run_sync()
assert run.ok
print(run.id)
"""

POLLER = """
import sys, dirigent
from dirigent import NotFoundError
looked = 0
while True:
    try:
        if looked % 10 == 0:
            run = dirigent.attach()
            places = run.table("events").columns["seq"]
            assert list(places) == list(range(len(places)))
        [head] = dirigent.runs()
        looked += 1
        if head.ended is not None:
            break
    except (NotFoundError, ValueError):
        pass  # it has not begun
print(looked)
"""


@pytest.mark.fault("D6", "10,000 tasks, four pollers, two command lines")
def test_many_readers_of_a_busy_journal_never_hear_that_it_is_busy(tmp_path: Path) -> None:
    state, tasks = tmp_path / "state", 10_000
    environment = {**os.environ, "DIRIGENT_STATE_DIR": str(state)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment}
    commands = [[sys.executable, "-c", MANY, str(tasks)], *[[sys.executable, "-c", POLLER]] * 4]
    processes = [subprocess.Popen(command, text=True, **pipes) for command in commands]
    try:
        while processes[0].poll() is None:
            assert asked(state, "runs", "--json").returncode == 0
            assert asked(state, "verify", "last").returncode in (0, 3)
        ends = [process.communicate(timeout=DEADLINE_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * 5, ends
    assert not any(told for _, told in ends), ends
    assert all(int(looked) > 0 for looked, _ in ends[1:])
    assert check(state, ends[0][0].strip()) == "succeeded"
