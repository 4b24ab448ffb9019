"""What the timeline of a page tells beside its bars, in a real browser: start-up, processors, waits, and the critical path."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dirigent import Workflow

from tests.browser import Page
from tests.children import DEADLINE_S, only_run
from tests.test_page_pictures import bar, carry_out

pytestmark = pytest.mark.needs("chromium")

LEGEND = 'document.querySelector(".timeline .legend").textContent'


def dirigent(program: Path, *argv: str | Path) -> str:
    """What the program prints."""
    command = [program, *argv]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S).stdout


def events(program: Path, state: Path) -> list[dict[str, Any]]:
    """What is recorded of the last run."""
    lines = dirigent(program, "export", "last", "--state-dir", state).splitlines()
    return [json.loads(line) for line in lines[1:]]


def sides(element: str) -> str:
    """Where something begins and ends, from left to right."""
    return f"(it => [it.left, it.right])({element}.getBoundingClientRect())"


# --- start-up -------------------------------------------------------------------------------------


def test_it_is_recorded_how_long_it_took_to_start_what_has_to_be_started(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    # In a program of its own: here a process may be warm already.
    text = """
from dirigent import Workflow
flow = Workflow("started").add_command("command", ["true"]).add_task("thread", int)
assert flow.add_task("process", int, isolation="process").run_sync().ok
"""
    subprocess.run([sys.executable, "-c", text], check=True, timeout=DEADLINE_S)
    ends = [it for it in events(program, tmp_path / "state") if it["kind"] == "attempt_ended"]
    took_us = {("command", "thread", "process")[it["task"]]: it.get("start_us", 0) for it in ends}
    assert 0 < took_us["command"] < DEADLINE_S * 1e6
    assert took_us["process"] > 1_000, "an interpreter had to be started"
    assert took_us["thread"] == 0, "nothing had to be started"


def test_start_up_is_told_apart_from_the_run_of_an_attempt(program: Path, tmp_path: Path, page: Page) -> None:
    # No test can make the system slow: another record says that it was, and the page is made from that one.
    folder = carry_out(program, tmp_path, "tasks: {a: {shell: sleep 0.4}, b: {shell: sleep 0.4}}\n")
    head, *lines = map(json.loads, dirigent(program, "export", folder).splitlines())
    del head["digest"]
    head["id"] = lines[0]["run"] = "slow"
    started: dict[int, int] = {}
    for event in lines:
        if event["kind"] == "attempt_started":
            started[event["task"]] = event["at_ms"]
        elif event["kind"] == "attempt_ended":
            lasted_us = 1000 * (event["at_ms"] - started[event["task"]])
            event["start_us"] = lasted_us // 4 if event["task"] == 0 else 10 * lasted_us
    edited, elsewhere = tmp_path / "slow.jsonl", tmp_path / "elsewhere"
    edited.write_text("".join(json.dumps(line) + "\n" for line in (head, *lines)))
    dirigent(program, "import", edited, "--state-dir", elsewhere)
    dirigent(program, "report", "slow", "--state-dir", elsewhere, "--format", "html,trace")
    page.go((elsewhere / "runs/slow/report.html").as_uri())
    for name, part in (("a", 0.25), ("b", 1.0)):
        left, right = page.evaluate(sides(f"{bar(name)}.querySelector('rect')"))
        begins, ends = page.evaluate(sides(f"{bar(name)}.querySelector('.start-up')"))
        assert begins == pytest.approx(left, abs=1)
        assert (ends - begins) / (right - left) == pytest.approx(part, abs=0.03), (
            "and never longer than all of it"
        )
    assert "; start-up 1" in page.evaluate(f"{bar('a')}.querySelector('title').textContent")
    assert "start-up, then run" in page.evaluate(LEGEND)
    trace = json.loads((elsewhere / "runs/slow/trace.json").read_text())["traceEvents"]
    slices = {event["name"]: event for event in trace if event["ph"] == "X" and event["args"]["task"] == 0}
    whole, start_up = slices["a"], slices["start-up"]
    assert (start_up["tid"], start_up["ts"]) == (whole["tid"], whole["ts"]), "it lies within its attempt"
    assert start_up["dur"] == pytest.approx(whole["dur"] / 4, abs=1)


# --- processors -----------------------------------------------------------------------------------


def test_below_stands_how_many_processors_were_busy_on_average_over_each_attempt(
    program: Path, tmp_path: Path, page: Page
) -> None:
    busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
    text = f"tasks: {{busy: {{shell: '{busy}'}}, idle: {{shell: sleep 1, needs: [busy]}}}}\n"
    folder = carry_out(program, tmp_path, text)
    page.go((folder / "report.html").as_uri())
    [ended] = [
        it for it in events(program, tmp_path / "state") if it["kind"] == "attempt_ended" and it["task"] == 0
    ]
    used = ended["usage"]
    cores = (used["user_us"] + used["system_us"]) / used["wall_us"]
    area = 'document.querySelector(".load.cpu")'
    told = float(page.evaluate(f"{area}.nextElementSibling.textContent").split()[0])
    assert told == pytest.approx(cores, abs=0.15)
    assert page.evaluate(sides(area)) == page.evaluate(sides('document.querySelector(".chart")'))
    # Its right end is where the idle task ran: nothing is drawn there, and much on the left.
    high = f"""{area}.querySelector("path").getAttribute("d")"""
    path = page.evaluate(high)
    assert path.startswith("M0 100V0") or "V0" in path.split("H500")[0], path
    assert "CPU: what each attempt used, spread evenly over its time" in page.evaluate(LEGEND)


def test_where_nobody_counted_nothing_is_said_of_processors(
    program: Path, tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    assert Workflow("threads").add_task("a", int).run_sync().ok
    dirigent(program, "report", "--format", "html", "--state-dir", tmp_path / "state")
    page.go((only_run(tmp_path / "state") / "report.html").as_uri())
    assert page.evaluate('document.querySelectorAll(".load").length') <= 1
    assert page.evaluate('document.querySelector(".load.cpu")') is None


# --- the critical path ----------------------------------------------------------------------------


def test_the_critical_path_is_that_of_the_profile_with_waits_for_a_slot(
    program: Path, tmp_path: Path, page: Page
) -> None:
    text = "tasks: {a: {shell: sleep 0.2}, b: {shell: sleep 0.2}, c: {shell: sleep 0.2}}\n"
    folder = carry_out(program, tmp_path, text, "--jobs", "1")
    page.go((folder / "report.html").as_uri())
    profile = json.loads(dirigent(program, "profile", folder, "--json"))
    path = [step["task"] for step in profile["critical_path"]]
    assert sorted(path) == ["a", "b", "c"], "each waited for the slot of another"
    assert page.evaluate('document.querySelectorAll(".chart .critical").length') == len(path)
    assert f"critical path: {len(path)} tasks" in page.evaluate(LEGEND)


# --- very many ------------------------------------------------------------------------------------

MANY = """\
tasks:
  first: {{each: [{items}], shell: ":", cache: true}}
  flaky:
    shell: test -e seen || {{ touch seen; exit 1; }}
    retry: {{attempts: 3, backoff: 2s, jitter: 0}}
  second: {{each: [{items}], shell: "sleep 0.05"}}
"""


def test_of_many_tasks_waits_delays_and_reuse_are_seen_as_well(
    program: Path, tmp_path: Path, page: Page
) -> None:
    text = MANY.format(items=", ".join(map(str, range(40))))
    carry_out(program, tmp_path, text)
    (tmp_path / "seen").unlink()
    state = tmp_path / "state"
    command = [
        program,
        "run",
        tmp_path / "nightly.yaml",
        "--state-dir",
        state,
        "--report",
        "html",
        "--jobs",
        "2",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S, cwd=tmp_path)
    newest = max((state / "runs").iterdir(), key=lambda folder: folder.name)
    page.go((newest / "report.html").as_uri())
    assert page.evaluate("document.querySelector('.lanes') !== null"), "there are too many for a row each"
    assert page.evaluate('document.querySelectorAll(".chart line.delay").length') == 1
    delay = sides('document.querySelector(".chart line.delay")')
    first, again = (
        f"""[...document.querySelectorAll(".chart a")].find(it =>
        it.textContent.startsWith("flaky attempt {number}")).querySelector("rect")"""
        for number in (1, 2)
    )
    (begins, ends), (_, failed), (second, _) = map(page.evaluate, (delay, sides(first), sides(again)))
    assert (begins, ends) == (pytest.approx(failed, abs=5), pytest.approx(second, abs=3))
    heights = [page.evaluate(f"{it}.getBoundingClientRect().top") for it in (first, again)]
    assert heights[0] == heights[1], "it keeps its lane"
    marks = 'document.querySelectorAll(".chart .reused")'
    assert page.evaluate(f"{marks}.length") >= 1
    assert "40 reused" in page.evaluate(LEGEND)
    label = 'document.querySelector(".load.waiting").getAttribute("aria-label")'
    assert int(page.evaluate(label).split()[2]) >= 30, "most of them waited for a slot"
    page.click("document.querySelector('.chart .reused')")
    page.wait_for("document.querySelector('#shown').textContent.endsWith('of 83 tasks')", True)


def test_of_many_tasks_the_wait_of_the_one_that_is_selected_is_drawn(
    program: Path, tmp_path: Path, page: Page
) -> None:
    items = ", ".join(map(str, range(60)))
    folder = carry_out(
        program, tmp_path, f"tasks: {{a: {{each: [{items}], shell: sleep 0.05}}}}\n", "--jobs", "2"
    )
    page.go((folder / "report.html").as_uri())
    lines = 'document.querySelectorAll(".chart .wait").length'
    assert page.evaluate(lines) == 0
    last = """[...document.querySelectorAll(".chart a[data-ready]")].at(-1)"""
    page.click(f"{last}.querySelector('rect')")
    page.wait_for(lines, 1)
    (wait, until), (begins, _) = (
        page.evaluate(sides(it))
        for it in ("document.querySelector('.chart .wait')", f"{last}.querySelector('rect')")
    )
    assert until == pytest.approx(begins, abs=3)
    assert wait < begins - 100, "it was ready long before"
    page.press("Escape", 27)
    page.wait_for(lines, 0)
