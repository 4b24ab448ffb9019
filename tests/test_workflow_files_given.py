"""What a run of a workflow file is given: parameters, a part of its tasks, a job; and what it takes from runs before."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.workflow_files import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# --- parameters -----------------------------------------------------------------------------------

PARAMS = """
params:
  day: {type: date, default: "2026-01-31"}
  n: 3
  ratio: 0.5
  dry: false
  regions: [eu, us]
  what: {type: json, default: {a: [1]}}
  mode: {allowed: [full, quick], default: full, description: How much of it}
  key: {type: string}
tasks:
  t: {run: [echo, "${{ params | json }}"], output: json}
"""


def test_parameters_come_from_the_file_the_command_line_and_a_file_of_them(place: Place) -> None:
    usual = {
        "day": "2026-01-31", "n": 3, "ratio": 0.5, "dry": False, "regions": ["eu", "us"], "what": {"a": [1]},
        "mode": "full", "key": "a=b",
    }  # fmt: skip
    assert place.run(PARAMS, "--param", "key=a=b").value("t") == usual
    given = [
        "key=k",
        "n=-4",
        "ratio=2",
        "dry=yes",
        "regions=a, b",
        'what=["x"]',
        "mode=quick",
        "day=2024-02-29",
        "n=5",
    ]
    ran = place.run(PARAMS, *[word for param in given for word in ("--param", param)])
    typed = {
        "day": "2024-02-29", "n": 5, "ratio": 2.0, "dry": True, "regions": ["a", "b"], "what": ["x"],
        "mode": "quick", "key": "k",
    }  # fmt: skip
    assert ran.value("t") == typed
    place.write("given.yaml", "key: from a file\nn: 7\nregions: []\n")
    ran = place.run(PARAMS, "--params-file", "given.yaml", "--param", "n=8")
    assert ran.value("t") == {**usual, "key": "from a file", "n": 8, "regions": []}
    place.write("given.toml", "key = 'k'\nday = '2025-12-31'\n")
    assert place.run(PARAMS, "--params-file", "given.toml").value("t") == {
        **usual,
        "key": "k",
        "day": "2025-12-31",
    }


def test_mistakes_in_parameters_are_all_told_before_anything_starts(place: Place) -> None:
    told = place.refused(PARAMS, "--param", "n=three", "--param", "mode=fast", "--param", "dya=2024-01-01")
    assert 'parameter `n`: "three" is no whole number' in told
    assert 'parameter `mode`: "fast" is none of "full", "quick"' in told
    assert "parameter `key`: is not given, and has no default" in told
    assert "there is no parameter `dya`; did you mean `day`?" in told
    assert "has no `=`" in place.refused(PARAMS, "--param", "key")
    place.write("list.yaml", "[1, 2]")
    assert "is no table of parameters" in place.refused(PARAMS, "--params-file", "list.yaml")
    assert "cannot open" in place.refused(PARAMS, "--params-file", "nowhere.yaml", code=74)
    place.write("wrong.yaml", "key: k\nn: x\nnope: 1\n")
    told = place.refused(PARAMS, "--params-file", "wrong.yaml")
    assert 'parameter `n`: "x" is no whole number' in told and "no parameter `nope`" in told
    place.write("a.sh", "echo")
    assert "parameters are for workflow files" in place.say("run", "a.sh", "--param", "x=1", code=2).stderr


def test_today_is_a_day(place: Place) -> None:
    ran = place.run(
        "params: {d: {type: date, default: yesterday}, e: {type: date}}\n"
        "tasks: {t: {run: [echo, '${{ params.d }} ${{ params.e }}'], output: text}}",
        "--param",
        "e=tomorrow",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d{4}-\d\d-\d\d", ran.value("t"))


def test_a_dry_run_says_what_would_run_and_runs_nothing(place: Place) -> None:
    place.write(
        "flow.yaml",
        """
params: {n: 1}
tasks:
  a: {shell: "echo ${{ params.n }} > made"}
  b: {run: [echo, "two words", "${{ params.n }}"], needs: a}
  c: {run: [echo], skip: "not today"}
  d: {run: [echo], when: params.n > 1}
""",
    )
    done = place.say("run", "flow.yaml", "--dry-run", "--param", "n=1")
    assert "run   b  echo 'two words' 1" in done.stdout
    assert (
        "skip  c  not today" in done.stdout
        and "skip  d  its condition does not hold: params.n > 1" in done.stdout
    )
    assert not place.lines("made") and not place.runs()
    assert [
        task["name"] for task in json.loads(place.say("run", "flow.yaml", "--dry-run", "--json").stdout)
    ] == list("abcd")


@pytest.mark.parametrize(
    "words",
    [["--filter", "*"], ["--max-depth", "1"], ["--timeout", "3s"], ["--grace", "1s"], ["--", "x"]],
)
def test_options_that_mean_nothing_to_a_workflow_file_are_refused(place: Place, words: list[str]) -> None:
    told = place.refused("tasks: {a: {run: [echo]}}", *words)
    assert "error:" in told and words[0] in told


# --- parts of it ----------------------------------------------------------------------------------

PARTS = """
tasks:
  a: {run: [echo, "1"], output: json}
  b: {shell: "echo $((X + 1))", env: {X: "${{ tasks.a.value }}"}, output: json, needs: a}
  fan: {each: [1, 2], shell: "echo $((I * 10))", env: {I: "${{ item }}"}, output: json, needs: a}
  empty: {each: [], run: [echo], needs: a}
  c: {run: [echo, "${{ tasks.b.value }}-${{ tasks.fan.value | sum }}-${{ tasks.empty.value | length }}"],
      output: text, needs: [b, fan, empty]}
  d: {run: [echo, "${{ tasks.c.value }}"], needs: c, output: text}
finally:
  clean: {run: [echo]}
"""  # fmt: skip


def test_a_part_of_it_takes_what_it_needs_from_the_last_run(place: Place) -> None:
    place.write("flow.yaml", PARTS)
    done = place.say("run", "flow.yaml", "--only", "d", code=2)
    assert "task `c` is left out, is needed, and never completed" in done.stderr and not place.runs()
    place.say("run", "flow.yaml")
    for _ in range(2):
        ran = place.run(PARTS, "--only", "c")
        assert ran.value("c") == "2-30-0"
        assert ran.reused() == {"b", "fan", "empty"}
        assert ran.statuses["d"] == ran.statuses["a"] == "skipped" and ran.statuses["clean"] == "completed"
    ran = place.run(PARTS, "--from", "c")
    assert (ran.value("d"), ran.attempts("c"), ran.attempts("d")) == ("2-30-0", 1, 1)
    ran = place.run(PARTS, "--until", "fan")
    assert {name for name in "abcd" if ran.statuses[name] == "skipped"} == {"b", "c", "d"}
    assert ran.attempts("a") == 1
    ran = place.run(PARTS, "--from", "b", "--until", "c")
    assert {name for name in ("b", "c") if ran.attempts(name)} == {"b", "c"} and ran.statuses[
        "d"
    ] == "skipped"
    assert "did you mean `clean`?" in place.refused(PARTS, "--only", "claen")
    done = place.say("run", "flow.yaml", "--only", "c", "--dry-run")
    assert "reuse b  from run" in done.stdout


def test_what_comes_from_an_earlier_run_also_feeds_what_it_needs_late(place: Place) -> None:
    place.write("f.py", "def f(a, fan):\n    return [a, fan]\n")
    text = PARTS.replace("finally:", "  p: {python: 'f:f', needs: [a, fan]}\nfinally:")
    place.run(text)
    assert place.run(text, "--only", "p").value("p") == [1, [10, 20]]
    assert place.run(text, "--from", "p").value("p") == [1, [10, 20]]


# --- jobs -----------------------------------------------------------------------------------------


def test_jobs_of_a_project_run_with_what_they_need(place: Place) -> None:
    (place.folder / "sub").mkdir()
    place.write(
        "dirigent.yaml",
        """
jobs:
  build: {shell: "pwd > built", description: Makes it, cwd: sub}
  test: {run: [touch, tested], needs: build}
  other: {run: [touch, "other"]}
""",
    )
    place.say("run", "test")
    assert place.lines("sub/built") == [str(place.folder / "sub")]
    assert (place.folder / "tested").exists() and not (place.folder / "other").exists()
    assert place.last().statuses == {"build": "completed", "test": "completed"}
    assert "did you mean `test`?" in place.say("run", "tset", code=2).stderr
    place.write("dirigent.yaml", "jobs:\n  build: {shel: pwd}\n")
    assert "unknown key `shel`" in place.say("run", "build", code=2).stderr
    elsewhere = place.folder / "deep" / "er"
    elsewhere.mkdir(parents=True)
    place.write("dirigent.yaml", "jobs: {here: {shell: 'pwd > where'}}")
    place.folder = elsewhere
    place.say("run", "here")
    assert (elsewhere.parent.parent / "where").read_text().strip() == str(elsewhere.parent.parent)


# --- what need not run again ----------------------------------------------------------------------


def test_what_has_not_changed_is_not_run_again(place: Place) -> None:
    place.write("in.txt", "1")
    place.write("say.sh", "cat in.txt > out.txt\n")
    place.write("mod.py", "def f(x):\n    return x\n")
    text = """
params: {x: 1}
tasks:
  script: {script: say.sh, cache: {inputs: [in.txt], outputs: [out.txt]}}
  call: {python: "mod:f", with: {x: "${{ params.x }}"}, cache: true}
  late: {run: [echo, "${{ tasks.call.value }}"], needs: [call, script], cache: true, output: text}
  fan: {each: [1, 2], run: [echo, "${{ item }}"], cache: {env: [SEEN]}, output: json}
"""
    parts = {"fan[1]", "fan[2]"}
    assert place.run(text).reused() == set()
    assert place.run(text).reused() == {"script", "call", "late"} | parts
    (place.folder / "out.txt").unlink()
    assert place.run(text).reused() == {"script", "call", "late"} | parts
    assert place.lines("out.txt") == ["1"]
    place.write("in.txt", "2")
    ran = place.run(text)
    assert ran.reused() == {"call", "late"} | parts
    assert "in.txt" in place.say("why", "script").stdout
    assert place.lines("out.txt") == ["2"]
    place.write("say.sh", "cat in.txt > out.txt; true\n")
    assert "script" not in place.run(text).reused()
    assert "its script" in place.say("why", "script").stdout
    place.write("mod.py", "def f(x):\n    return x + 0\n")
    ran = place.run(text)
    assert "call" not in ran.reused() and "late" in ran.reused()
    assert "its module" in place.say("why", "call").stdout
    ran = place.run(text, "--param", "x=2")
    assert ran.reused() == {"script"} | parts and ran.value("late") == "2"
    place.say("run", "flow.yaml", env={"SEEN": "1"})
    assert place.last().reused() == {"script", "call", "late"}
    assert "SEEN" in place.say("why", "fan[1]").stdout
