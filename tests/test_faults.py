"""Faults on a real machine: engines and guards that are killed, and children that take all they can get."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.children import (
    DEADLINE_S,
    Ledger,
    children_of,
    events,
    kinds,
    lives,
    only_run,
    started,
    summary,
    wait_for,
    write_script,
)

#: Within which nothing of a killed engine may be left: two seconds, and something for a loaded machine.
GONE_WITHIN_S = 4.0

KINDS = tuple(kinds(Ledger(Path("ledger"))))


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs that belong to no project out of the tester's home folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))


def write_children(folder: Path, ledger: Ledger, names: tuple[str, ...], count: int) -> int:
    """Write so many scripts of the kinds in turn; return how many will sign."""
    bodies = kinds(ledger)
    signers = 0
    for i in range(count):
        body, signing = bodies[names[i % len(names)]]
        write_script(folder / f"{i:02}.sh", body)
        signers += signing
    return signers


@pytest.mark.fault("E4", "kill -9 of the program while children of every kind run")
@pytest.mark.parametrize(
    "names", [*((name,) for name in KINDS), KINDS], ids=lambda names: "all" if len(names) > 1 else names[0]
)
def test_nothing_outlives_an_engine_that_is_killed(
    program: Path, tmp_path: Path, ledger: Ledger, names: tuple[str, ...]
) -> None:
    count = 50 if len(names) > 1 else 10
    signers = write_children(tmp_path / "scripts", ledger, names, count)
    command: list[str | Path] = [program, "run", tmp_path / "scripts", "--jobs", str(count)]
    command += ["--state-dir", tmp_path / "state"]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as engine:
        ledger.wait_for(signers)
        assert len(ledger.alive()) == signers
        guards = children_of(engine.pid)
        assert guards
        engine.kill()
        engine.wait()
        wait_for("the end of all children", lambda: not ledger.alive(), GONE_WITHIN_S)
        wait_for("the end of the guard", lambda: not any(map(lives, guards)), GONE_WITHIN_S)


@pytest.mark.fault("E4", "kill -9 of a Python process of 500 MiB")
def test_nothing_outlives_a_big_python_process_that_is_killed(tmp_path: Path, ledger: Ledger) -> None:
    signers = write_children(tmp_path / "scripts", ledger, KINDS, 7)
    code = """
import mmap, pathlib, sys, threading
import dirigent
# Resident, in big pages where there are some: small ones take half a minute on some virtual machines.
ballast = mmap.mmap(-1, 500 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
ballast.madvise(mmap.MADV_HUGEPAGE)
for place in range(0, len(ballast), 2 << 20):
    ballast[place] = 1
for script in pathlib.Path(sys.argv[1]).iterdir():
    threading.Thread(target=dirigent.run_script, args=(script,), kwargs={"timeout": None}).start()
"""
    with started([sys.executable, "-c", code, tmp_path / "scripts"]) as host:
        ledger.wait_for(signers)
        guards = children_of(host.pid)
        host.kill()
        host.wait()
        wait_for("the end of all children", lambda: not ledger.alive(), GONE_WITHIN_S)
        wait_for("the end of the guards", lambda: not any(map(lives, guards)), GONE_WITHIN_S)


@pytest.mark.fault("E4", "an engine that ends before it has said anything")
def test_a_guard_whose_engine_is_gone_before_its_first_word_ends(program: Path) -> None:
    ours, its = socket.socketpair()
    command: list[str | Path] = [program, "__guard", str(os.getpid())]
    ours.close()
    with its, started(command, stdin=its) as guard:
        its.close()
        assert guard.wait(DEADLINE_S) == 0


@pytest.mark.fault("E9", "kill -9 of the guard of eight scripts")
def test_a_killed_guard_is_replaced_and_what_it_ran_is_tried_again(
    program: Path, tmp_path: Path, ledger: Ledger
) -> None:
    for i in range(8):
        body = f"[ $DIRIGENT_ATTEMPT = 2 ] && exit 0; setsid sleep 600 & {ledger.sign}; exec sleep 600"
        write_script(tmp_path / "scripts" / f"{i}.sh", body)
    state = tmp_path / "state"
    command: list[str | Path] = [program, "run", tmp_path / "scripts", "--jobs", "8", "--state-dir", state]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as engine:
        ledger.wait_for(8)
        [guard] = children_of(engine.pid)
        os.kill(guard.pid, signal.SIGKILL)
        told, _ = engine.communicate(timeout=DEADLINE_S)
    assert engine.returncode == 0, told
    tasks = summary(only_run(state))["tasks"]
    assert [(task["status"], task["attempts"]) for task in tasks] == [("completed", 2)] * 8
    assert not ledger.alive()


@pytest.mark.fault("C9", "64 file descriptors for 200 scripts")
@pytest.mark.needs("prlimit")
def test_few_file_descriptors_mean_fewer_at_once_and_nothing_lost(program: Path, tmp_path: Path) -> None:
    for i in range(200):
        write_script(tmp_path / "scripts" / f"{i:03}.sh", f"echo out {i}; echo err {i} >&2", "/bin/sh")
    state = tmp_path / "state"
    command: list[str | Path] = [
        "prlimit",
        "--nofile=64",
        program,
        "run",
        tmp_path / "scripts",
        "--jobs",
        "200",
    ]
    done = subprocess.run([*command, "--state-dir", state], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    run = only_run(state)
    assert summary(run)["counts"]["completed"] == 200
    for i in range(200):
        assert (run / f"tasks/{i}/1/stdout.log").read_text() == f"out {i}\n"
        assert (run / f"tasks/{i}/1/stderr.log").read_text() == f"err {i}\n"


@pytest.mark.fault("C9", "24 processes for 40 scripts")
@pytest.mark.needs("root", "setpriv", "prlimit")
def test_few_processes_mean_fewer_at_once_and_nothing_lost(program: Path) -> None:
    # The folder must be one that another user may enter.
    with tempfile.TemporaryDirectory(prefix="dirigent-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        copy = Path(shutil.copy(program.resolve(), folder / "dirigent"))
        copy.chmod(0o755)
        for i in range(40):
            write_script(folder / "scripts" / f"{i:02}.sh", "exec sleep 0.2", "/bin/sh")
        state = folder / "state"
        state.mkdir()
        # A user id that nothing else on the machine uses: the limit counts all processes of the user.
        uid = 54_321
        os.chown(state, uid, uid)
        user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "prlimit", "--nproc=24"]
        command = [
            *user,
            str(copy),
            "run",
            str(folder / "scripts"),
            "--jobs",
            "40",
            "--state-dir",
            str(state),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)
        assert done.returncode == 0, done.stderr[-3000:]
        assert summary(only_run(state))["counts"]["completed"] == 40


@pytest.fixture
def cgroup(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A control group below ours, for the controller that the test names; it is gone afterwards."""
    controller: str = request.param
    rows = [row.split(":", 2) for row in Path("/proc/self/cgroup").read_text().splitlines()]
    above = None
    for _, controllers, own in rows:
        if controller in controllers.split(","):
            above = Path("/sys/fs/cgroup") / controller / own.lstrip("/")
        elif not controllers:
            unified = Path("/sys/fs/cgroup") / own.lstrip("/")
            handed_down = unified / "cgroup.subtree_control"
            if handed_down.exists() and controller in handed_down.read_text().split():
                above = unified
    if above is None or not os.access(above, os.W_OK):
        pytest.skip(f"no control group for {controller} can be made here")
    group = above / f"dirigent-test-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group for {controller} can be made here: {error}")
    try:
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        wait_for("an empty control group", lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@pytest.mark.fault("C5", "a control group with little memory")
@pytest.mark.needs("root")
@pytest.mark.parametrize("whose", ["of the engine", "of the script"])
@pytest.mark.parametrize("cgroup", ["memory"], indirect=True)
def test_a_script_that_the_kernel_killed_for_memory_is_told_as_such(
    program: Path, tmp_path: Path, cgroup: Path, whose: str
) -> None:
    names = ("memory.limit_in_bytes", "memory.max")
    limit = next(cgroup / name for name in names if (cgroup / name).exists())
    limit.write_text(str(64 << 20))
    enter = f"echo $$ > {cgroup}/cgroup.procs; exec"
    by_script, by_engine = (enter, "exec") if whose == "of the script" else ("exec", enter)
    eat = f"{by_script} {sys.executable} -c 'x = bytearray(b\"x\") * (400 << 20)'"
    write_script(tmp_path / "scripts" / "eats.sh", eat)
    write_script(tmp_path / "scripts" / "neighbour.sh", "exit 0")
    state = tmp_path / "state"
    command: list[str | Path] = ["sh", "-c", f'{by_engine} "$@"', "sh", program, "run", tmp_path / "scripts"]
    done = subprocess.run(
        [*command, "--state-dir", state, "--jobs", "1"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stderr
    eats, neighbour = summary(only_run(state))["tasks"]
    # Version 1 of control groups forgets the group of a process that is dead: then nobody can say.
    if whose == "of the engine" or limit.name == "memory.max":
        assert eats["sentence"] == "was killed by SIGKILL: out of memory"
    else:
        assert eats["sentence"].startswith("was killed by SIGKILL")
    assert neighbour["status"] == "completed"


@pytest.mark.fault("C10", "a fork bomb in a control group")
@pytest.mark.needs("root")
@pytest.mark.parametrize("cgroup", ["pids"], indirect=True)
def test_a_fork_bomb_hurts_itself_alone(program: Path, tmp_path: Path, cgroup: Path) -> None:
    (cgroup / "pids.max").write_text("60")
    bomb = f"echo $$ > {cgroup}/cgroup.procs\nbomb() {{ bomb | bomb & }}\nbomb\nsleep 600"
    write_script(tmp_path / "scripts" / "bomb.sh", bomb)
    write_script(tmp_path / "scripts" / "neighbour.sh", "exit 0")
    state = tmp_path / "state"
    command: list[str | Path] = [program, "run", tmp_path / "scripts", "--state-dir", state]
    command += ["--timeout", "10s", "--grace", "300ms", "--output-limit-mb", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr[-2000:]
    assert not (cgroup / "cgroup.procs").read_text(), "some of it is left"
    exploded, neighbour = summary(only_run(state))["tasks"]
    assert exploded["status"] in ("failed", "timed_out")
    assert neighbour["status"] == "completed"


@pytest.mark.fault("C2", "256 MiB from one script")
def test_a_flood_of_output_costs_the_cap_on_disk_and_little_memory(program: Path, tmp_path: Path) -> None:
    flood = "head -c 268435456 /dev/zero | tr '\\0' x; echo end"
    write_script(tmp_path / "scripts" / "flood.sh", flood)
    state = tmp_path / "state"
    command: list[str | Path] = [program, "run", tmp_path / "scripts", "--state-dir", state]
    command += ["--output-limit-mb", "4"]
    peaks: dict[int, int] = {}

    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as engine:
        [guard] = wait_for("the guard", lambda: children_of(engine.pid))

        def ended() -> bool:
            for pid in (engine.pid, guard.pid):
                peaks[pid] = max(peaks.get(pid, 0), peak_kib(pid))
            return engine.poll() is not None

        wait_for("the end of the flood", ended, 120)
    assert engine.returncode == 0
    assert peaks[engine.pid] > 0
    assert sum(peaks.values()) < 64 << 10, f"{peaks} KiB"
    run = only_run(state)
    [end] = [event for event in events(run) if event["kind"] == "attempt_ended"]
    assert end["stdout"]["bytes"] == (256 << 20) + 4
    log = (run / "tasks/0/1/stdout.log").read_bytes()
    assert len(log) <= 4 << 20 and log.endswith(b"xend\n")


def peak_kib(pid: int) -> int:
    """The most memory a process has had resident, in KiB; 0 when it is gone."""
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(row.split()[1]) for row in rows if row.startswith("VmHWM")), 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True
    ).returncode:
        pytest.skip("may not mount")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.fault("D1", "a disk of 2 MiB that a log fills up")
@pytest.mark.needs("root", "mount")
@pytest.mark.parametrize(
    "others",
    [
        pytest.param(
            0,
            id="last",
        ),
        pytest.param(1, id="more"),
    ],
)
def test_on_a_full_disk_no_script_ends_and_the_run_waits_for_room(
    program: Path, tmp_path: Path, small_disk: Path, others: int
) -> None:
    went_on, ballast = tmp_path / "went-on", small_disk / "ballast"
    write_script(tmp_path / "scripts" / "a.sh", f"head -c 8000000 /dev/zero; touch {went_on}")
    for i in range(others):
        write_script(tmp_path / "scripts" / f"b{i}.sh", "exit 0")
    ballast.write_bytes(bytes(512 << 10))
    command: list[str | Path] = [
        program,
        "run",
        tmp_path / "scripts",
        "--state-dir",
        small_disk,
        "--jobs",
        "1",
    ]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as engine:
        watchdog = threading.Timer(DEADLINE_S, engine.kill)
        watchdog.start()
        assert engine.stderr is not None
        told = next((line for line in engine.stderr if line.startswith("stalled")), "nothing")
        assert "there is no space left" in told and "nothing new starts until there is room again" in told
        wait_for("the end of the script", went_on.exists)
        assert engine.poll() is None
        [one] = [event for event in events(only_run(small_disk)) if event["kind"] == "attempt_started"]
        assert one["task"] == 0, "what is not recorded is not acted upon"
        ballast.unlink()
        out, _ = engine.communicate(timeout=DEADLINE_S)
        watchdog.cancel()
    assert engine.returncode == 0 and f"{1 + others} completed" in out
    [end, *_] = [event for event in events(only_run(small_disk)) if event["kind"] == "attempt_ended"]
    assert end["stdout"]["bytes"] == 8_000_000
    assert "No space left" in end["stdout"]["error"]
