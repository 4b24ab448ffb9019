"""What runs leave behind in a program that lives long, and in a state folder: nothing but what they recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import DEADLINE_S
from tests.engines import Engine, build_faulty_disk, rounds
from tests.oracle import ask, check, left_over

#: A program that makes many runs of every kind, and says before and after what it holds.
LONG = """
import asyncio, ctypes, gc, json, os, sys, time
from pathlib import Path
import dirigent
from dirigent import RetryPolicy, TaskFailedError, Workflow, flow, task

def good(number):
    ballast = bytes([number % 256]) * (1 << 20)
    async def later():
        await asyncio.sleep(0)
        return 1
    wf = Workflow("good").add_task("rows", lambda: [1, 2, 3]).add_task("large", lambda: ballast)
    wf.add_map("squares", lambda n: n * n, over="rows").add_task("later", later)
    wf.add_shell("line", "echo out; echo err >&2; sleep 600 &")
    wf.add_task("far", lambda: len(ballast), isolation="process")
    run = wf.run_sync()
    assert run.ok and run["far"] == 1 << 20 and run["line"].stdout == "out\\n"

def bad(number):
    wf = Workflow("bad", fail_fast=False)
    wf.add_task("raises", lambda: 1 / 0, retry_policy=RetryPolicy(2, initial_delay=0.001)).add_task("not", int, ["raises"])
    wf.add_command("exits", ["sh", "-c", "exit 3"]).add_command("missing", ["/no/such/program"])
    wf.add_task("far", lambda: os._exit(3), isolation="process")
    wf.add_shell("slow", "sleep 600", timeout=0.05)
    assert not wf.run_sync().ok

def cut(number):
    pipe = f"pipe {number}"
    os.mkfifo(pipe)
    wf = Workflow("cut").add_task("one", int).add_shell("stays", f"read line < '{pipe}'", ["one"])
    handle = wf.start()
    for event in handle.events():
        if event["kind"] == "attempt_started" and event["task"] == 1:
            handle.cancel()
    assert handle.wait().verdict == "cancelled"
    handle = wf.start(resume=handle.id)
    Path(pipe).write_text("go\\n")
    assert handle.wait().ok
    os.unlink(pipe)

@task
def double(n):
    return 2 * n

@flow
def flowing(n):
    return double.map(list(range(n)))

def others(number):
    assert flowing(3) == [0, 2, 4]
    assert dirigent.runs() and dirigent.run(["echo", "a"])["stdout"] == "a\\n"
    async def twice():
        return await Workflow("twice").add_task("one", int).run()
    assert asyncio.run(twice()).ok

class Memory(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

def used_kib():
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = Memory
    memory = library.mallinfo2()
    return (memory.uordblks + memory.hblkhd) >> 10

def held():
    for _ in range(3):
        gc.collect()
    open_files = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    files = sorted(os.readlink(path) for path in open_files if os.path.islink(path))
    threads = [Path(f"/proc/self/task/{it}/comm").read_text().strip() for it in os.listdir("/proc/self/task")]
    temporary = sorted(str(path) for path in Path(os.environ["TMPDIR"]).rglob("*"))
    return {"files": files, "threads": sorted(threads), "temporary": temporary, "used_kib": used_kib()}

kinds = [good, bad, cut, others]
for number in range(int(sys.argv[1]) + int(sys.argv[2])):
    if number == int(sys.argv[1]):
        before = held()
    kinds[number % len(kinds)](number)
time.sleep(0.3)
print(json.dumps([before, held()]))
"""


def test_a_program_that_makes_many_runs_holds_no_more_than_before(tmp_path: Path) -> None:
    temporary, state = tmp_path / "temporary", tmp_path / "state"
    temporary.mkdir()
    environment = {**os.environ, "DIRIGENT_STATE_DIR": str(state), "TMPDIR": str(temporary)}
    done = subprocess.run(
        [sys.executable, "-c", LONG, "12", str(rounds(52, 400))],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=4 * DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    before, after = json.loads(done.stdout)
    print(json.dumps([before, after], indent=1))
    assert after["files"] == before["files"]
    assert after["threads"] == before["threads"]
    assert after["temporary"] == before["temporary"]
    assert after["used_kib"] < before["used_kib"] + (2 << 10)
    # With the program goes what it needed all along.
    assert not list(temporary.iterdir())
    # Every one of them is recorded where it was to be.
    assert all(path.startswith(str(state)) for path in after["files"] if "journal.db" in path)
    heads = json.loads(ask(state, "runs", "-n", "10000", "--json"))
    assert {head["workflow"] for head in heads} >= {"good", "bad", "cut", "flowing", "twice", "echo a"}
    for head in heads[:12]:
        check(state, head["id"])
    assert left_over(state) == []


@pytest.mark.fault("E1", "kill -9 between a value and its name")
@pytest.mark.needs("cc")
def test_what_a_killed_engine_left_half_written_goes_when_room_is_made(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "engine", build_faulty_disk(tmp_path))
    # Killed with a value written, and not yet under its name.
    engine.carry_out(first=1, calls=",rename,", paths=f"^{engine.state}/artifacts/")
    assert engine.carry_out("resume").returncode == 0
    assert engine.check() == ["succeeded"]
    [part] = left_over(engine.state)
    ask(engine.state, "gc", "--keep", "10")
    # Somebody could still be writing it.
    assert left_over(engine.state) == [part]
    os.utime(engine.state / part, (0, 0))
    ask(engine.state, "gc", "--keep", "10")
    assert left_over(engine.state) == []
    assert engine.check() == ["succeeded"]
