"""The trace of a run: a file that viewers of the Trace Event Format take, and that says what happened."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.children import DEADLINE_S, only_run

WORKFLOW = """\
tasks:
  a: {each: [1, 2, 3, 4, 5, 6], shell: sleep 0.05}
  b: {shell: "true", needs: [a]}
  flaky:
    shell: test -e seen || { touch seen; exit 1; }
    retry: {attempts: 3, backoff: 50ms, jitter: 0}
"""

#: What each kind of event has to have, and what it may have, by the description of the format.
FIELDS = {
    "X": ({"name", "cat", "ph", "ts", "dur", "pid", "tid"}, {"args"}),
    "C": ({"name", "ph", "ts", "pid", "tid", "args"}, set()),
    "M": ({"name", "ph", "pid", "tid", "args"}, set()),
    "i": ({"name", "cat", "ph", "ts", "pid", "tid", "s"}, set()),
    "s": ({"name", "cat", "ph", "id", "ts", "pid", "tid"}, set()),
    "f": ({"name", "cat", "ph", "id", "ts", "pid", "tid", "bp"}, set()),
}


@pytest.fixture(scope="module")
def events(program: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The events of the trace of a run of the workflow above."""
    folder = tmp_path_factory.mktemp("traced")
    (folder / "flow.yaml").write_text(WORKFLOW)
    for argv in (["run", folder / "flow.yaml", "--report", "none"], ["report", "last", "--format", "trace"]):
        command = [program, *argv, "--state-dir", folder / "state"]
        subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S, cwd=folder)
    trace = json.loads((only_run(folder / "state") / "trace.json").read_text())
    assert trace["displayTimeUnit"] == "ms"
    assert trace["otherData"]["workflow"] == "flow"
    found: list[dict[str, Any]] = trace["traceEvents"]
    return found


def of_kind(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["ph"] == kind]


def test_every_event_has_the_fields_of_its_kind(events: list[dict[str, Any]]) -> None:
    for event in events:
        needed, allowed = FIELDS[event["ph"]]
        assert needed <= event.keys() <= needed | allowed, event
        assert all(type(event[name]) is int for name in ("ts", "dur", "pid", "tid") if name in event), event
        assert event.get("ts", 0) >= 0 and event.get("dur", 0) >= 0, event
    kinds = {event["ph"] for event in events}
    assert kinds == {"X", "C", "M", "s", "f"}, "nothing was reused"


def test_each_attempt_is_there_and_no_two_on_a_lane_overlap(events: list[dict[str, Any]]) -> None:
    attempts = [event for event in of_kind(events, "X") if event["cat"] != "start-up"]
    names = [event["name"] for event in attempts]
    assert sorted(name for name in names if "flaky" in name) == ["flaky #1", "flaky #2"]
    assert {f"a[{number}]" for number in range(1, 7)} <= set(names)
    states = {event["name"]: event["args"]["state"] for event in attempts}
    assert (states["flaky #1"], states["flaky #2"], states["b"]) == ("failed", "completed", "completed")
    lanes: dict[int, list[dict[str, Any]]] = {}
    for event in attempts:
        lanes.setdefault(event["tid"], []).append(event)
    for on_lane in lanes.values():
        on_lane.sort(key=lambda event: event["ts"])
        for before, after in pairwise(on_lane):
            assert before["ts"] + before["dur"] <= after["ts"], (before, after)
    named = {event["tid"] for event in of_kind(events, "M") if event["name"] == "thread_name"}
    assert named == set(lanes)


def test_arrows_lead_from_within_what_is_needed_to_what_needs_it(events: list[dict[str, Any]]) -> None:
    starts = {event["id"]: event for event in of_kind(events, "s")}
    ends = {event["id"]: event for event in of_kind(events, "f")}
    assert starts.keys() == ends.keys() and starts

    def around(event: dict[str, Any]) -> set[str]:
        lane = [it for it in of_kind(events, "X") if it["tid"] == event["tid"]]
        return {it["name"] for it in lane if it["ts"] <= event["ts"] <= it["ts"] + it["dur"]}

    arrows = [(around(starts[flow]), around(ends[flow])) for flow in starts]
    assert any("b" in target for _, target in arrows)
    assert all(any(name.startswith("a") for name in source) for source, _ in arrows), arrows
    assert all(starts[flow]["ts"] <= ends[flow]["ts"] for flow in starts)


def test_the_counter_follows_the_attempts_and_ends_at_nothing(events: list[dict[str, Any]]) -> None:
    counted = [event for event in of_kind(events, "C") if event["name"] == "at once"]
    assert [event["ts"] for event in counted] == sorted(event["ts"] for event in counted)
    assert max(event["args"]["tasks"] for event in counted) >= 1
    assert counted[-1]["args"]["tasks"] == 0


def test_the_beginning_of_an_attempt_is_its_start_up_within_it(events: list[dict[str, Any]]) -> None:
    parts = [event for event in of_kind(events, "X") if event["cat"] == "start-up"]
    attempts = [event for event in of_kind(events, "X") if event["cat"] != "start-up"]
    assert parts, "each of these had to be started"
    for part in parts:
        [whole] = [it for it in attempts if (it["tid"], it["ts"]) == (part["tid"], part["ts"]) and it["dur"]]
        assert part["args"]["task"] == whole["args"]["task"] and 0 < part["dur"] <= whole["dur"]


def test_another_counter_follows_what_the_attempts_used(events: list[dict[str, Any]]) -> None:
    counted = [event for event in of_kind(events, "C") if event["name"].startswith("cores")]
    assert [event["ts"] for event in counted] == sorted(event["ts"] for event in counted)
    cores = [event["args"]["cores"] for event in counted]
    assert max(cores) > 0 and min(cores) >= 0 and cores[-1] == 0


def test_it_is_made_only_where_it_is_asked_for(program: Path, tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text("tasks: {a: {shell: 'true'}}\n")
    for argv in (["run", tmp_path / "flow.yaml"], ["report", "last"]):
        command = [program, *argv, "--state-dir", tmp_path / "state"]
        subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S, cwd=tmp_path)
    folder = only_run(tmp_path / "state")
    assert (folder / "report.html").exists()
    assert not (folder / "trace.json").exists()
