"""Runs of other processes, looked at from here: followed while they go on, asked to end, and not trusted where they come from
elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dirigent
import pytest
from dirigent import (
    NotFoundError,
    TaskFailedError,
    UntrustedError,
    Workflow,
    WorkflowError,
    flow,
    task,
)

from tests.children import DEADLINE_S, started, wait_for
from tests.workflows import ended, statuses


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


#: A workflow whose task `waits` goes on when there is a file `go`, and which cleans up after itself.
PROGRAM = """
import pathlib, sys, time
from dirigent import TaskContext, Workflow

def waits(context: TaskContext):
    while not pathlib.Path("go").exists():
        context.heartbeat()
        time.sleep(0.005)
    return (1, 2)

def boom():
    raise LookupError("no such row")

wf = Workflow("other", fail_fast=False).add_task("first", lambda: [1, 2]).add_task("waits", waits, ["first"])
wf.add_map("squares", lambda item: item**2, over="waits")
wf.add_task("boom", boom, ["waits"])
wf.add_task("cleared", lambda: pathlib.Path("cleared").touch(), teardown=True)
run = wf.run_sync(resume=sys.argv[1] if sys.argv[1:] else None)
sys.exit(0 if run.ok else 1)
"""


@contextmanager
def other(folder: Path, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """The program, at work in a process of its own: its task waits."""
    (folder / "other.py").write_text(PROGRAM)
    before = dirigent.runs(1000)
    with started([sys.executable, folder / "other.py", *argv], cwd=folder) as process:
        if argv:
            wait_for("the run to go on", lambda: dirigent.attach().status == "running")
        else:
            wait_for("a run", lambda: len(dirigent.runs(1000)) > len(before))
        wait_for("the task", lambda: statuses(dirigent.attach().refresh()).get("waits") == "running")
        yield process


# --- following ------------------------------------------------------------------------------------


def test_old_and_new_events_come_by_the_same_call_until_the_run_ends(tmp_path: Path) -> None:
    with other(tmp_path) as process:
        run = dirigent.attach()
        assert (run.status, run.verdict, run.ok, run.done) == ("running", "unfinished", False, False)
        assert run["first"] == [1, 2] and "waits" not in run
        told: list[dict[str, Any]] = []
        for event in run.events():
            told.append(event)
            if event["kind"] == "attempt_started" and event["task"] == list(run.tasks).index("waits"):
                (tmp_path / "go").touch()
        assert process.wait(DEADLINE_S) == 1
    assert told[-1]["kind"] == "run_ended"
    assert [event["seq"] for event in told] == list(range(len(told)))
    assert (
        list(run.events()) == told and list(run.events(3)) == told[3:] and run.table("events").columns["seq"]
    )
    # What there is to know came with it.
    assert (run.status, run.verdict, run.ok, run.done) == ("failed", "failed", False, True)
    assert run["waits"] == (1, 2) and run["squares"] == [1, 4] and run["squares[1]"] == 4
    assert [failed.name for failed in run.failed] == ["boom"]
    assert run.wait() is run


def test_what_is_recorded_is_seen_within_a_quarter_of_a_second(tmp_path: Path) -> None:
    def late() -> float:
        """How late the first event is told after a rest that is longer than whoever follows ever takes."""
        (tmp_path / "go").unlink(missing_ok=True)
        with other(tmp_path):
            run = dirigent.attach()
            opener = threading.Timer(1.5, (tmp_path / "go").touch)
            opener.start()
            event = next(run.events(run.table("events").columns["seq"][-1] + 1))
            seconds = time.time() - event["at_ms"] / 1000
            opener.join()
        return seconds

    # One of several, on machines that have something else to do.
    assert any(late() < 0.25 for _ in range(4))


def test_following_works_on_a_loop_which_goes_on_meanwhile(tmp_path: Path) -> None:
    with other(tmp_path):
        run = dirigent.attach()

        async def follow() -> list[str]:
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while ticks < 5:
                    ticks += 1
                    await asyncio.sleep(0.01)
                (tmp_path / "go").touch()

            ticking = asyncio.create_task(tick())
            kinds = [event["kind"] async for event in run]
            await ticking
            return kinds

        kinds = asyncio.run(asyncio.wait_for(follow(), DEADLINE_S))
    assert kinds == [event["kind"] for event in run.events()] and kinds[-1] == "run_ended"


def test_waiting_ends_with_the_run_or_its_time(tmp_path: Path) -> None:
    with other(tmp_path):
        run = dirigent.attach()
        with pytest.raises(TimeoutError, match="has not ended within"):
            run.wait(0.05)
        opener = threading.Timer(0.05, (tmp_path / "go").touch)
        opener.start()
        assert run.wait(DEADLINE_S)["waits"] == (1, 2)
        opener.join()


def test_several_may_follow_at_once_and_each_gets_everything(tmp_path: Path) -> None:
    with other(tmp_path):
        run = dirigent.attach()
        told: list[list[int]] = [[], [], []]

        def follow(into: list[int]) -> None:
            into += [event["seq"] for event in run.events()]

        threads = [threading.Thread(target=follow, args=(into,), daemon=True) for into in told]
        for thread in threads:
            thread.start()
        (tmp_path / "go").touch()
        for thread in threads:
            thread.join(DEADLINE_S)
    assert told[0] == told[1] == told[2] == list(range(len(told[0]))) and told[0]


def test_a_run_of_this_process_is_followed_as_any_other() -> None:
    go = threading.Event()
    handle = Workflow("here").add_task("waits", lambda: go.wait(DEADLINE_S)).start()
    run = dirigent.attach(handle.id)
    kinds = []
    for event in run.events():
        kinds.append(event["kind"])
        if event["kind"] == "attempt_started":
            go.set()
    assert kinds == [event["kind"] for event in handle.wait().events()] and run["waits"] is True


def test_a_run_that_is_cut_short_is_followed_to_there(tmp_path: Path) -> None:
    with other(tmp_path) as process:
        run = dirigent.attach()
        killer = threading.Timer(0.1, process.kill)
        killer.start()
        kinds = [event["kind"] for event in run.events()]
        killer.join()
    assert kinds[-1] == "attempt_started" and run.status == "interrupted" and not run.done
    with pytest.raises(WorkflowError, match="cut short") as caught:
        run.wait()
    assert caught.value.code == "run.interrupted"
    # The same object goes on with the run, wherever that goes on.
    (tmp_path / "go").touch()
    (tmp_path / "other.py").write_text(PROGRAM)
    assert (
        subprocess.run([sys.executable, "other.py", "last"], cwd=tmp_path, timeout=DEADLINE_S).returncode == 1
    )
    assert run.wait()["squares"] == [1, 4]
    assert [event["kind"] for event in run.events()].count("run_resumed") == 1


# --- asking it to end -----------------------------------------------------------------------------


def test_a_run_of_another_process_is_cancelled_from_here_and_cleans_up(tmp_path: Path) -> None:
    with other(tmp_path) as process:
        run = dirigent.attach()
        run.cancel()
        assert run.wait(DEADLINE_S).verdict == "cancelled"
        assert process.wait(DEADLINE_S) == 1
    assert (tmp_path / "cleared").exists() and run.tasks["waits"].status == "cancelled"
    with pytest.raises(NotFoundError, match="is not running: it was cancelled"):
        run.cancel()


def test_one_task_is_cancelled_and_the_rest_goes_on(tmp_path: Path) -> None:
    with other(tmp_path):
        run = dirigent.attach()
        with pytest.raises(KeyError):
            run.cancel("nobody")
        run.cancel("waits")
        run.wait(DEADLINE_S)
    assert run.tasks["waits"].status == "cancelled" and run.tasks["cleared"].status == "completed"


def test_a_run_of_another_process_is_killed_from_here(tmp_path: Path) -> None:
    with other(tmp_path):
        run = dirigent.attach()
        run.kill()
        assert run.wait(DEADLINE_S).verdict == "cancelled"
    assert not (tmp_path / "cleared").exists()


def test_tasks_that_wait_in_another_process_are_answered_from_here(program: Path, tmp_path: Path) -> None:
    (tmp_path / "ask.yaml").write_text(
        "name: asks\ntasks:\n  ok: {approval: 'Well?'}\n  no: {approval: 'Really?'}\n  day: {signal: 'Which?'}\n"
        '  told: {run: [echo, "${{ tasks.day.value }}"], needs: [ok, day]}\n'
    )
    with started(
        [program, "run", "ask.yaml", "--keep-going"], cwd=tmp_path, stderr=subprocess.DEVNULL
    ) as process:
        wait_for("the run", lambda: len(dirigent.runs()))
        run = dirigent.attach()
        wait_for("the questions", lambda: run.refresh()._session.statuses().count("waiting") == 3)
        for call, code in (
            (lambda: run.approve("day"), "task.wants_value"),
            (lambda: run.signal("ok", 1), "task.not_waiting"),
            (lambda: run.approve("told"), "task.not_waiting"),
        ):
            with pytest.raises(WorkflowError) as refused:
                call()
            assert refused.value.code == code
        with pytest.raises(KeyError):
            run.approve("nobody")
        with pytest.raises(TypeError):
            run.signal("day", object())
        run.approve("ok", "fine")
        run.reject("no", "not so")
        run.signal("day", "monday")
        assert process.wait(DEADLINE_S) == 1
    assert run.wait(DEADLINE_S)["told"].stdout == "monday\n"
    assert run.tasks["no"].sentence == "was rejected: not so"
    told = [event for event in run.events() if event["kind"] == "wait_answered"]
    assert sorted(event.get("comment", "") for event in told) == ["", "fine", "not so"]


def test_a_cancelled_run_that_goes_on_is_under_way_again_and_survives_another_end(
    program: Path, tmp_path: Path
) -> None:
    with other(tmp_path):
        run = dirigent.attach()
        run.cancel()
        run.wait(DEADLINE_S)
    with other(tmp_path, "last") as process:
        head = dirigent.runs()[0]
        assert (head.id, head.status, head.ended) == (run.id, "running", None)
        assert run.status == "running" and dirigent.attach().status == "running"
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE_S)
    assert subprocess.run([program, "verify", "--all"], stdout=subprocess.DEVNULL).returncode == 0
    assert dirigent.runs()[0].status == "interrupted"
    (tmp_path / "go").touch()
    assert subprocess.run([sys.executable, "other.py", "last"], timeout=DEADLINE_S).returncode == 1
    assert run.wait()["squares"] == [1, 4]


# --- where a function raised ----------------------------------------------------------------------


def deeper(depth: int) -> None:
    if depth:
        deeper(depth - 1)
    raise LookupError("no such row")


def through() -> None:
    try:
        deeper(1)
    except LookupError as error:
        raise ValueError("no such table") from error


async def coroutine() -> None:
    await asyncio.sleep(0)
    deeper(0)


def endless() -> None:
    endless()


def talkative() -> None:
    raise ValueError("x" * 100_000 + " the end")


@task
def in_flow() -> None:
    deeper(0)


def traces(run: dirigent.Run) -> dict[str, str]:
    """What is recorded of where each task raised."""
    names = list(run.tasks)
    ends = [event for event in run.events() if event["kind"] == "attempt_ended"]
    return {names[event["task"]]: event.get("last_lines", "") for event in ends}


def test_where_a_function_raised_is_recorded_with_frames_of_the_user_alone() -> None:
    wf = Workflow("w", fail_fast=False)
    wf.add_task("thread", lambda: deeper(2)).add_task("chain", through).add_task("loop", coroutine)
    wf.add_task("isolated", through, isolation="process").add_task("fine", lambda: 1)
    wf.add_map("map", deeper, over=[0])
    wf.add_task("repeated", lambda: 1, repeat_until=lambda value: deeper(0))
    here = ended(wf)
    told = traces(here)
    assert told["fine"] == ""
    for name in ("thread", "chain", "loop", "isolated", "map[0]", "repeated"):
        text = told[name]
        assert text.startswith("Traceback (most recent call last):\n"), (name, text)
        assert os.path.dirname(dirigent.__file__) not in text and "asyncio" not in text, (name, text)
        assert __file__ in text and "in deeper" in text and not text.endswith("\n"), (name, text)
        assert "LookupError: no such row" in text
    assert told["thread"].count("in deeper") == 3
    for name in ("chain", "isolated"):
        assert "direct cause" in told[name] and told[name].endswith("ValueError: no such table")
    # Whoever reads the run back is told, and whoever carried it out has the exception itself.
    there = dirigent.attach()
    with pytest.raises(TaskFailedError, match="raised LookupError: no such row") as caught:
        there["thread"]
    assert told["thread"] in str(caught.value.__cause__)
    error = there.tasks["chain"].error
    assert error is not None and told["chain"] in str(error.__cause__)
    assert isinstance(here.tasks["chain"].error, ValueError)
    with pytest.raises(TaskFailedError) as again:
        there.raise_for_failures()
    assert again.value.__cause__ is not None


def test_where_a_call_of_a_flow_raised_is_recorded() -> None:
    @flow
    def careless() -> None:
        in_flow().result()

    with pytest.raises(TaskFailedError):
        careless()
    text = traces(dirigent.attach())["in_flow"]
    assert "in deeper" in text and os.path.dirname(dirigent.__file__) not in text


def test_a_traceback_is_bounded() -> None:
    wf = Workflow("w", fail_fast=False).add_task("endless", endless).add_task("talkative", talkative)
    told = traces(ended(wf))
    assert "RecursionError" in told["endless"] and "in endless" in told["endless"]
    assert told["talkative"].endswith("the end")
    for text in told.values():
        assert len(text.encode()) <= 8192


class Silent(Exception):
    """One that cannot even be looked at."""

    def __str__(self) -> str:
        raise SystemExit("no")


def silent() -> None:
    raise Silent


def test_an_exception_that_does_not_want_to_be_told_fails_as_any_other() -> None:
    run = ended(Workflow("w").add_task("silent", silent))
    assert statuses(run) == {"silent": "failed"}


def test_the_program_shows_where_it_raised(program: Path, tmp_path: Path) -> None:
    def speaks() -> None:
        print("before")
        deeper(0)

    run = ended(Workflow("w").add_task("speaks", speaks))
    text = traces(run)["speaks"]

    def ask(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *argv], capture_output=True, text=True, timeout=DEADLINE_S)

    assert "".join(f"  | {line}\n" for line in text.splitlines()) in ask("show", "last", "speaks").stdout
    logs = ask("logs", "last", "speaks")
    assert logs.stdout == "before\n", "data is what it wrote, and nothing else"
    assert text in logs.stderr
    assert text in ask("logs", "last").stderr
    # Of one attempt of several, and of one stream, nothing is told that is not of it.
    assert text not in ask("logs", "last", "speaks", "--stream", "stdout").stderr


# --- from elsewhere -------------------------------------------------------------------------------


def carried(program: Path, into: Path) -> str:
    """Carry the last run to another state folder, and return its id."""
    command = [str(program), "export", "--output", "run.jsonl"]
    subprocess.run(command, check=True, timeout=DEADLINE_S)
    command = [str(program), "import", "run.jsonl", "--state-dir", str(into)]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=DEADLINE_S
    ).stdout.strip()


def test_pickles_of_an_imported_run_are_opened_only_where_it_is_trusted(
    program: Path, tmp_path: Path
) -> None:
    wf = Workflow("w").add_task("plain", lambda: [1]).add_task("pickle", lambda: (1, 2))
    wf.add_task("large", lambda: b"x" * 10_000).add_map("map", lambda item: {item}, over=[1])
    here = ended(wf)
    assert dirigent.attach()["pickle"] == (1, 2), "one of our own is trusted"
    elsewhere = tmp_path / "elsewhere"
    run_id = carried(program, elsewhere)
    run = dirigent.attach(run_id, state_dir=elsewhere)
    assert run["plain"] == [1] and run.ok and len(run.tasks) == len(here.tasks)
    for name in ("pickle", "large", "map", "map[0]"):
        with pytest.raises(UntrustedError, match=r"hint: .*trust=True") as caught:
            run[name]
        assert caught.value.code == "value.untrusted"
    with pytest.raises(UntrustedError, match="task `pickle`"):
        run["pickle"]
    trusted = dirigent.attach(run_id, state_dir=elsewhere, trust=True)
    assert trusted["pickle"] == (1, 2) and trusted["large"] == b"x" * 10_000 and trusted["map"] == [{1}]
    # That it came from elsewhere goes with it when it is carried on.
    again = tmp_path / "again"
    subprocess.run([program, "export", "--state-dir", elsewhere, "--output", "run.jsonl"], check=True)
    subprocess.run([program, "import", "run.jsonl", "--state-dir", again], check=True)
    with pytest.raises(UntrustedError):
        dirigent.attach(state_dir=again)["pickle"]
    # And goes when the run does.
    assert subprocess.run([program, "gc", "--keep", "0", "--state-dir", again]).returncode == 0
    assert dirigent.runs(state_dir=again) == []


def test_an_imported_run_goes_on_only_where_it_is_trusted(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wf = Workflow("w").add_task("pickle", lambda: (1, 2)).add_approval("ok", "?", ["pickle"])
    wf.add_task("total", lambda pickle: sum(pickle), ["pickle", "ok"])
    handle = wf.start()
    for event in handle.events():
        if event["kind"] == "wait_started":
            handle.cancel()
    handle.wait()
    run_id = carried(program, tmp_path / "elsewhere")
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "elsewhere"))
    for resume in ("last", run_id, dirigent.runs()[0], dirigent.attach()):
        with pytest.raises(UntrustedError, match="`pickle`"):
            wf.run_sync(resume=resume)
    with pytest.raises(UntrustedError):
        wf.resume()
    handle = wf.start(resume=dirigent.attach(trust=True))
    for event in handle.events():
        if event["kind"] == "wait_started" and handle.tasks["ok"].status == "waiting":
            handle.approve("ok")
    assert handle.wait()["total"] == 3


def test_a_run_that_is_made_up_gets_no_pickle_into_a_run_of_ours(program: Path, tmp_path: Path) -> None:
    """Running again what failed takes values over; those of commands are no pickles, whatever an import claims."""
    ended(Workflow("w").add_command("good", ["true"]).add_command("bad", ["false"], dependencies=["good"]))
    exported = subprocess.run([program, "export"], check=True, capture_output=True, text=True).stdout
    evil = json.dumps({"kept": "inline", "encoding": "pickle", "text": "gASMAnBsLg=="})
    lines = [line for line in exported.splitlines() if line]
    head = json.loads(lines[0])
    head.pop("digest")
    lines[0] = json.dumps(head)
    at = next(n for n, line in enumerate(lines) if '"outcome":"succeeded"' in line)
    lines[at] = lines[at][:-1] + f',"value":{evil}}}'
    (tmp_path / "made.jsonl").write_text("\n".join(lines) + "\n")
    where = ["--state-dir", str(tmp_path / "elsewhere")]
    subprocess.run([program, "import", "made.jsonl", *where], check=True)
    assert subprocess.run([program, "retry", "last", *where]).returncode == 1
    run = dirigent.attach(state_dir=tmp_path / "elsewhere")
    ends = [event for event in run.events() if event["kind"] == "task_reused"]
    assert ends and "value" not in ends[0]


# --- what to type next ----------------------------------------------------------------------------


def test_how_to_go_on_is_proposed_as_it_works(program: Path, tmp_path: Path) -> None:
    """Functions live in the program that declared them: nothing that the command line could not do is proposed."""

    def ask(*argv: str) -> str:
        done = subprocess.run([program, *argv], capture_output=True, text=True, timeout=DEADLINE_S)
        return done.stdout + done.stderr

    with other(tmp_path) as process:
        process.kill()
    run_id = dirigent.runs()[0].id
    way = f'`Workflow.resume("{run_id}")` goes on with it, in the program that declared it'
    for verb in (["show"], ["doctor"], ["resume"], ["why", "squares", "last"], ["cancel"]):
        told = ask(*verb)
        assert way in told and "`dirigent resume" not in told, (verb, told)
    (tmp_path / "go").touch()
    subprocess.run([sys.executable, "other.py", "last"], timeout=DEADLINE_S)
    way = f'`Workflow.run_sync(resume="{run_id}", changed="rerun")` runs again what failed'
    for verb in (["show"], ["retry"]):
        assert way in ask(*verb) and "`dirigent retry" not in ask(*verb), verb

    @flow
    def failing() -> None:
        in_flow().result()

    with pytest.raises(TaskFailedError):
        failing()
    assert "`dirigent retry" not in ask("show") and "Workflow" not in ask("show")
    body = "import os\nfrom dirigent import flow, task\n@task\ndef dies(): os._exit(1)\n@flow\ndef f(): dies()\nf()\n"
    subprocess.run([sys.executable, "-c", body], timeout=DEADLINE_S)
    assert f'`with_options(resume="{dirigent.runs()[0].id}")` goes on with it' in ask("doctor")
