"""Where the time of real runs went: what a profile says of them in Python and on the command line."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dirigent
import pytest
from dirigent import Cache, Profile, RetryPolicy, Workflow, flow, task

from tests.children import DEADLINE_S
from tests.workflows import ended

Typed = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


@pytest.fixture
def typed(program: Path) -> Typed:
    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *argv], capture_output=True, text=True, timeout=DEADLINE_S)

    return run


def sleeping(seconds: float = 0.4) -> None:
    time.sleep(seconds)


def wide() -> Workflow:
    """Four tasks that sleep, two at once, and one that needs them."""
    wf = Workflow("wide", max_concurrency=2)
    for name in "abcd":
        wf.add_task(name, sleeping)
    return wf.add_task("end", sleeping, list("abcd"))


def test_the_path_the_workers_and_what_more_of_them_would_bring() -> None:
    profile = ended(wide()).profile()
    assert profile.workflow == "wide" and profile.max_concurrency == 2
    assert [step.after for step in profile.critical_path] == ["start", "slot", "need"]
    assert profile.critical_path[-1].task == "end"
    assert profile.run_s >= 2.0 and profile.wall_s >= 1.2
    assert profile.parallelism == pytest.approx(profile.run_s / profile.wall_s, abs=1e-5)
    on_path = sum(step.seconds for step in profile.critical_path)
    assert on_path + profile.between_s == pytest.approx(profile.wall_s, abs=1e-5)
    simulated = profile.simulated
    assert simulated is not None and profile.not_simulated is None
    assert 0.6 * profile.wall_s <= simulated.as_it_was_s <= 1.1 * profile.wall_s
    assert list(simulated.workers) == [1, 2, 4, 8, 16, None]
    assert simulated.workers[1] >= 2.0 > simulated.bound_s
    assert simulated.workers[2] == simulated.as_it_was_s > simulated.workers[4] == simulated.workers[None]
    assert simulated.bound_s == simulated.workers[None] >= 0.8 and simulated.most_at_once == 4
    advice = {it.about: it for it in profile.advice}
    assert advice["workers"].figures["workers"] == 4
    assert advice["workers"].sentence.startswith("4 workers instead of 2 would take ")
    # Two of the four waited for a slot.
    assert sorted(it.queued_s >= 0.3 for it in profile.tasks.values()) == [False, False, False, True, True]


def test_what_a_process_used_is_what_the_kernel_counted() -> None:
    busy = "import time; held = bytearray(64 << 20); held[::4096] = bytes(1 << 14)\nwhile time.process_time() < 0.3: pass"
    wf = Workflow("used").add_command("busy", [sys.executable, "-c", busy]).add_task("thread", sleeping)
    wf.add_command("idle", ["sleep", "0.3"])
    profile = ended(wf).profile()
    busy_one, thread, idle = (profile.tasks[name] for name in ("busy", "thread", "idle"))
    assert busy_one.cpu_s is not None and busy_one.cpu_s >= 0.3
    assert busy_one.cpu_share == pytest.approx(busy_one.cpu_s / busy_one.run_s, abs=1e-5)
    assert busy_one.peak_memory_bytes is not None and busy_one.peak_memory_bytes >= 64 << 20
    assert idle.cpu_s is not None and idle.cpu_s < 0.3
    assert (thread.cpu_s, thread.cpu_share, thread.peak_memory_bytes) == (None, None, None)
    assert profile.peak_memory_bytes == busy_one.peak_memory_bytes
    assert profile.cpu_s == pytest.approx(busy_one.cpu_s + idle.cpu_s, abs=1e-5)


def test_attempts_that_came_to_nothing_and_delays_are_counted() -> None:
    calls: list[int] = []

    def flaky() -> None:
        time.sleep(0.2)
        calls.append(1)
        if len(calls) < 3:
            raise OSError("not yet")

    wf = Workflow("flaky").add_task("fetch", flaky, retry_policy=RetryPolicy(3, initial_delay=0.3, jitter=0))
    profile = ended(wf).profile()
    fetch = profile.tasks["fetch"]
    assert fetch.attempts == 3 and fetch.failed_s >= 0.4 and fetch.run_s >= 0.6 and fetch.retry_s >= 0.8
    assert [step.spent for step in profile.critical_path] == ["run", "retry", "run", "retry", "run"]
    assert [it.task for it in profile.advice if it.about == "retries"] == ["fetch"]


def test_a_pool_that_is_full_is_named_with_what_twice_as_much_would_bring() -> None:
    wf = Workflow("pools", resources={"db": 1, "idle": 5}, max_concurrency=8)
    for name in "abc":
        wf.add_task(name, sleeping, pool="db")
    profile = ended(wf).profile()
    assert [it.name for it in profile.resources] == ["db"]
    (db,) = profile.resources
    assert db.full_share is not None and db.full_share > 0.5
    assert profile.simulated is not None and db.doubled_s is not None
    assert db.doubled_s < profile.simulated.as_it_was_s
    assert [step.resource for step in profile.critical_path] == [None, "db", "db"]
    assert any(it.about == "resource" and it.sentence.startswith("`db` was full") for it in profile.advice)


def test_more_workers_are_more_commands_as_well() -> None:
    wf = Workflow("commands", max_concurrency=1)
    for name in "abcd":
        wf.add_command(name, ["sleep", "0.3"])
    profile = ended(wf).profile()
    assert profile.simulated is not None
    assert profile.simulated.workers[4] < profile.simulated.workers[2] < profile.simulated.as_it_was_s
    assert [it.name for it in profile.resources] == ["(commands)"]
    assert profile.resources[0].doubled_s == profile.simulated.as_it_was_s


def test_maps_are_simulated_and_flows_are_not() -> None:
    wf = Workflow("maps", max_concurrency=2).add_task("items", lambda: [0.3] * 4)
    wf.add_map("each", lambda item: time.sleep(item), over="items").add_task("end", sleeping, ["each"])
    profile = ended(wf).profile()
    assert [step.task for step in profile.critical_path][-1] == "end"
    assert profile.simulated is not None
    assert 0.6 * profile.wall_s <= profile.simulated.as_it_was_s <= 1.1 * profile.wall_s
    assert profile.simulated.workers[4] < profile.simulated.workers[2] < profile.simulated.workers[1]

    @task
    def one() -> int:
        return 1

    @flow
    def body() -> int:
        return one().result() + one().result()

    assert body() == 2
    profile = dirigent.attach().profile()
    assert profile.simulated is None and profile.not_simulated is not None
    assert profile.not_simulated.startswith("its program declared tasks while it went on")
    assert profile.advice is not None and profile.wall_s > 0


def test_what_was_reused_is_told_with_what_it_saved() -> None:
    wf = Workflow("reused").add_task("slow", sleeping, cache=Cache()).add_task("after", sleeping, ["slow"])
    first = ended(wf).profile()
    second = ended(wf).profile()
    assert first.reused == 0 and first.tasks["slow"].saved_s is None
    assert second.reused == 1 and second.saved_s >= 0.3
    assert second.tasks["slow"].saved_s == second.saved_s and second.tasks["slow"].run_s == 0
    # The first carried out more: it is nothing to compare with.
    assert second.earlier_runs == 0 and second.earlier_s is None


def test_a_task_that_has_become_slower_is_named() -> None:
    took = [0.05]
    wf = (
        Workflow("nightly")
        .add_task("load", lambda: None)
        .add_task("clean", lambda: sleeping(took[0]), ["load"])
    )
    for _ in range(3):
        assert not [it for it in ended(wf).profile().advice if it.about == "slower"]
    took[0] = 3.0
    profile = ended(wf).profile()
    assert profile.earlier_runs == 3 and profile.earlier_s is not None
    (slower,) = (it for it in profile.advice if it.about == "slower")
    assert slower.task == "clean" and slower.figures["runs"] == 3
    assert slower.figures["task_s"] >= 3 > slower.figures["task_median_s"] == profile.tasks["clean"].median_s
    assert "slower than the median of 3 earlier runs by " in slower.sentence


def test_a_run_in_memory_and_one_that_goes_on_have_profiles() -> None:
    profile = wide().run_sync(durability="none").profile()
    assert profile.simulated is not None and profile.earlier_runs == 0
    wf = Workflow("asks").add_task("first", sleeping).add_approval("ok", "Well?", dependencies=["first"])
    handle = wf.start()
    for event in handle.events():
        if event["kind"] == "wait_started":
            profile = dirigent.attach().profile()
            assert profile.not_simulated == "the run did not come to its own end"
            assert profile.tasks["first"].run_s >= 0.3
            handle.approve("ok")
    profile = handle.wait().profile()
    assert [step.spent for step in profile.critical_path] == ["run", "answer"]
    assert profile.simulated is not None


def test_every_field_is_what_the_program_prints_and_a_notebook_shows_the_text(typed: Typed) -> None:
    run = ended(wide())
    profile = run.profile()
    assert dirigent.attach().profile() == profile and isinstance(profile, Profile)
    told = typed("profile", "--json")
    assert (told.returncode, told.stderr) == (0, "")
    printed: dict[str, Any] = json.loads(told.stdout)
    earlier, simulated = printed.pop("earlier"), printed["simulated"]
    assert earlier is None and profile.earlier_runs == 0
    workers = {it["workers"]: it["wall_s"] for it in simulated["workers"]}
    fields = dataclasses.asdict(profile)
    for ours in ("earlier_runs", "earlier_s", "_text"):
        del fields[ours]
    fields["tasks"] = list(fields["tasks"].values())
    assert fields == {**printed, "simulated": {**simulated, "workers": workers}}
    bundle = profile._repr_mimebundle_()
    assert bundle["text/plain"] == str(profile) and bundle["text/html"].startswith("<pre>wide")
    assert repr(profile).startswith("<Profile of 'wide': ")


def test_the_command_line_says_it_in_eighty_columns(typed: Typed) -> None:
    run = ended(wide())
    told = typed("profile", run.id[:13])
    assert (told.returncode, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert lines[0] == f"wide  {run.id}" and max(map(len, lines)) <= 80
    for part in (
        "critical path",
        "with other limits",
        "got a slot after that",
        "4 workers instead of 2",
        "█",
    ):
        assert part in told.stdout
    wrong = typed("profile", "nothing-like-it")
    assert wrong.returncode == 3 and "there is no run `nothing-like-it`" in wrong.stderr
    assert typed("profile", "--jason").returncode == 2
