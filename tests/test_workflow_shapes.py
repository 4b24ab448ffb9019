"""Graphs of every shape and names of every kind: wide ones, circles, and names that would like to be paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dirigent import CycleError, UnknownTaskError, UsageError, Workflow
from hypothesis import example, given
from hypothesis import strategies as st

from tests.workflows import ended, same


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "state"


def one() -> int:
    return 1


# --- shapes ---------------------------------------------------------------------------------------


@pytest.mark.fault("G1", "a wide workflow")
def test_a_wide_workflow_is_carried_out() -> None:
    count = 100_000
    wf = Workflow("wide")
    for number in range(count):
        wf.add_task(f"{number}", one)
    run = wf.run_sync()
    assert run.summary()["counts"] == {"completed": count}
    assert run[f"{count - 1}"] == 1


@pytest.mark.fault("G1", "a fan-in of thousands")
def test_many_values_come_together_in_one_task() -> None:
    count = 10_000
    wf = Workflow("fan in").add_task("source", one)
    names = [f"t{number}" for number in range(count)]
    for name in names:
        wf.add_task(name, lambda source: source, ["source"])
    wf.add_task("sum", lambda **values: sum(values.values()), names)
    assert ended(wf)["sum"] == count


def test_a_map_over_many_items_keeps_their_order() -> None:
    run = ended(Workflow("map").add_map("m", lambda item: item, range(5_000)))
    assert run["m"] == list(range(5_000))


def test_parts_of_parts_of_parts_are_carried_out() -> None:
    wf = Workflow("innermost").add_task("x", one)
    for _ in range(100):
        wf = Workflow("around").add_workflow("x", wf)
    run = ended(wf)
    value = run["x"]
    while isinstance(value, dict):
        value = value["x"]
    assert value == 1 and run.summary()["counts"] == {"completed": 101}


def circle(count: int) -> Workflow:
    wf = Workflow("circle")
    for number in range(count):
        wf.add_task(f"t{number}", one, [f"t{(number + 1) % count}"])
    return wf


@pytest.mark.fault("G2", "circles of one task and of many")
@pytest.mark.parametrize("count", [1, 2, 10_000])
def test_a_circle_of_any_size_is_named_and_nothing_is_recorded(count: int, state_of_our_own: Path) -> None:
    with pytest.raises(CycleError, match="wait for each other") as caught:
        circle(count).run_sync()
    assert len(set(caught.value.cycle)) == len(caught.value.cycle) == count
    assert not state_of_our_own.exists()


def shortest_circle(needs: list[set[int]]) -> int | None:
    """How many tasks the shortest circle has; none where there is no circle."""
    lengths = []
    for start in range(len(needs)):
        reached, front, steps = {start}, {start}, 0
        while front:
            steps += 1
            front = set().union(*(needs[task] for task in front))
            if start in front:
                lengths.append(steps)
                break
            front -= reached
            reached |= front
    return min(lengths, default=None)


GRAPHS = st.integers(1, 8).flatmap(
    lambda count: st.lists(
        st.sets(st.integers(0, count - 1), max_size=3),
        min_size=count,
        max_size=count,
    )
)


@pytest.mark.fault("G2", "graphs made at random")
@same(300)
@given(GRAPHS)
def test_the_shortest_circle_is_named_or_there_is_none(needs: list[set[int]]) -> None:
    wf = Workflow("graph")
    for task, its in enumerate(needs):
        wf.add_task(f"t{task}", one, [f"t{need}" for need in its])
    length = shortest_circle(needs)
    if length is None:
        wf.validate()
        return
    with pytest.raises(CycleError) as caught:
        wf.validate()
    cycle = [int(name[1:]) for name in caught.value.cycle]
    assert len(cycle) == length == len(set(cycle))
    for task, need in zip(cycle, cycle[1:] + cycle[:1], strict=True):
        assert need in needs[task]


# --- names ----------------------------------------------------------------------------------------

HARD = [
    "",
    " ",
    ".",
    "..",
    "../x",
    "../../../../../../tmp/x",
    "/etc/passwd",
    "a/b",
    "a//b",
    "a\\b",
    "%2e%2e%2f",
    "a\0b",
    "a\nb",
    "\x1b[31mred",
    "\r",
    "x" * 300,
    "CON",
    "aux.txt",
    "😀",
    "\u202egnp.exe",
    "\ufeff",
    "é",
    "e\u0301",
    "A",
    "a",
    "ﬁ",
    "-rf",
    "--help",
    "<script>alert(1)</script>",
    '"quoted"',
    "$(reboot)",
    "`reboot`",
    "{{7*7}}",
    "${{ x }}",
    "%s%n",
    "m[0]",
    "None",
    "self",
    "\ud800",
]
NAMES = st.lists(st.sampled_from(HARD) | st.text(max_size=40), unique=True, max_size=6)


def add_what_is_not_refused(wf: Workflow, names: list[str]) -> list[str]:
    """Add a task of some kind for each name; an empty name, and one that is no text of Unicode, may be refused."""
    added: list[str] = []
    for number, name in enumerate(names):
        try:
            if number % 3 == 0:
                wf.add_task(name, lambda **needed: print("told") or needed, list(added))
            elif number % 3 == 1:
                wf.add_shell(name, "echo told", list(added))
            else:
                wf.add_map(name, str, [1], list(added))
        except UsageError:
            assert not name
            continue
        except UnicodeEncodeError:
            with pytest.raises(UnicodeEncodeError):
                name.encode()
            continue
        added.append(name)
    return added


@pytest.mark.fault("G3", "names made at random")
@same(60)
@given(NAMES)
@example(HARD[:13])
@example(HARD[13:])
def test_a_name_comes_back_as_it_was_or_is_refused(state_of_our_own: Path, names: list[str]) -> None:
    wf = Workflow("names")
    added = add_what_is_not_refused(wf, names)
    assert list(wf.tasks) == added and all(name in wf for name in added)
    run = ended(wf)
    assert run.ok, run.summary()
    assert list(run.tasks)[: len(added)] == added
    assert [run.tasks[name].name for name in added] == added
    for number, name in enumerate(added):
        assert run.tasks[name].log == state_of_our_own / "runs" / run.id / "tasks" / str(number) / "1"
        if name in run and isinstance(run[name], dict):
            assert list(run[name]) == added[:number]


@pytest.mark.fault("G3", "names that are paths")
@pytest.mark.parametrize("workflow_name", ["w", "../../w\0<b>\n"])
def test_no_name_becomes_a_path(state_of_our_own: Path, tmp_path: Path, workflow_name: str) -> None:
    wf = Workflow(workflow_name)
    names = add_what_is_not_refused(wf, HARD)
    run = ended(wf)
    assert (run.name, run.ok) == (workflow_name, True)
    tasks = state_of_our_own / "runs" / run.id / "tasks"
    printing = {str(number) for number, name in enumerate(names) if HARD.index(name) % 3 < 2}
    assert set(os.listdir(tasks)) == printing
    assert {path.name for path in tasks.glob("*/1/*")} == {"stdout.log"}
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "state"]
    assert not os.listdir(tmp_path / "elsewhere")


@pytest.mark.fault("G3", "twins by case and by normal form")
def test_names_that_look_alike_are_different_tasks() -> None:
    twins = ["a", "A", "a ", "é", "e\u0301", "ﬁ", "fi", "\u0430"]
    wf = Workflow("twins")
    for number, name in enumerate(twins):
        wf.add_task(name, lambda number=number: number)
    wf.add_task("all", lambda **values: values, twins)
    run = ended(wf)
    assert run["all"] == {name: number for number, name in enumerate(twins)}
    with pytest.raises(KeyError):
        run["E\u0301"]


@pytest.mark.fault("G2", "a need that is no task")
@same(100)
@given(st.lists(st.text(min_size=1, max_size=10), unique=True, min_size=1, max_size=6), st.text(max_size=10))
def test_a_need_that_is_no_task_is_named(names: list[str], missing: str) -> None:
    wf = Workflow("missing")
    for name in names:
        wf.add_task(name, one)
    wf.add_task("\0the last\0", one, [*names, missing])
    if missing in names:
        wf.validate()
        return
    with pytest.raises(UnknownTaskError) as caught:
        wf.validate()
    assert f"`{missing}`" in str(caught.value)
