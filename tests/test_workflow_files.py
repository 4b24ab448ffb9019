"""Workflow files as their users write them: what each kind of task does, what decides that it runs, and what it hands on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.workflow_files import Place, most_at_once


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# --- what tasks do --------------------------------------------------------------------------------


def test_every_kind_of_action_is_carried_out(place: Place) -> None:
    place.write("double.py", "def twice(x, start):\n    return {'twice': 2 * x, 'start': start}\n")
    place.write("say.sh", "#!/bin/sh\necho \"$0 $*\" | sed 's|.*/||'\n")
    place.write(
        "inner.yaml", "params: {x: 0}\ntasks: {show: {run: [echo, 'x=${{ params.x }}'], output: text}}\n"
    )
    engine = place.start("""
tasks:
  start: {run: [sh, -c, "echo $1", sh, "a b"], output: text}
  line: {shell: "echo ${{ tasks.start.value }} \\"<${{ tasks.start.value }}>\\" | tr a c", needs: start, output: text}
  file: {script: say.sh, args: ["--x", 1, "${{ tasks.start.value }}"], needs: start, output: text}
  call: {python: "double:twice", with: {x: 21}, needs: [start]}
  other: {workflow: inner.yaml, with: {x: "${{ tasks.call.value.twice }}"}, needs: call}
  ask: {approval: "Publish ${{ tasks.call.value.twice }}?", needs: [call, other]}
  tell: {signal: "Which?", needs: [ask]}
  end: {run: [echo, "${{ tasks.tell.value.n }}", "${{ tasks.other.value.show }}"], needs: [tell, other], output: text}
""")  # fmt: skip
    place.until("ask")
    place.say("approve", "last", "ask")
    place.until("tell")
    place.say("signal", "last", "tell", '{"n": 7}')
    assert engine.wait(90) == 0
    ran = place.last()
    assert set(ran.statuses.values()) == {"completed"}
    assert ran.value("line") == "c b <c b>"
    assert ran.value("file") == "say.sh --x 1 a b"
    assert ran.value("call") == {"twice": 42, "start": "a b"}
    assert ran.value("other/show") == "x=42"
    assert ran.value("end") == "7 x=42"
    assert ran.of("ask", "action_settled")[0]["prompt"] == "Publish 42?"


def test_what_a_task_hands_on_is_what_it_says(place: Place) -> None:
    ran = place.run("""
tasks:
  json: {run: [echo, '{"a": [1, 2.5, null, "x"]}'], output: json}
  text: {run: [printf, 'x\\ny \\n'], output: text}
  lines: {run: [printf, 'x\\ny\\n'], output: lines}
  nothing: {run: ["true"], output: lines}
  named: {shell: 'echo a=1 >> $DIRIGENT_OUTPUT; echo ''{"b": [2]}'' >> $DIRIGENT_OUTPUT; echo "c=x=y" >> $DIRIGENT_OUTPUT'}
""")  # fmt: skip
    assert ran.value("json") == {"a": [1, 2.5, None, "x"]}
    assert ran.value("text") == "x\ny "
    assert ran.value("lines") == ["x", "y"]
    assert ran.value("nothing") == []
    assert ran.value("named") == {"a": "1", "b": [2], "c": "x=y"}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("{run: [echo, 'no json'], output: json}", "its standard output is no JSON"),
        ("{shell: 'echo nonsense >> $DIRIGENT_OUTPUT'}", "line 1 of what it wrote to DIRIGENT_OUTPUT is neither"),
        ("{run: ['true'], outputs: [made.txt]}", "made.txt is not there"),
        ("{run: ['true'], outputs: ['*.made']}", ".made is not there"),
        ("{shell: ': > page.pdf', documents: page.pdf}", "page.pdf is empty"),
        ("{python: 'nowhere:f'}", "exit code 2"),
        ("{run: [./missing]}", "No such file"),
    ],
)  # fmt: skip
def test_success_that_is_none_is_told(place: Place, task: str, said: str) -> None:
    ran = place.run(f"tasks: {{t: {task}, after: {{run: ['true'], needs: t}}}}", code=1)
    assert ran.statuses == {"t": "failed", "after": "skipped"}
    assert said in ran.sentences["t"], ran.sentences


def test_what_was_to_be_made_and_was_is_fine(place: Place) -> None:
    ran = place.run("""
params: {name: out}
tasks:
  t: {shell: 'echo x > ${{ params.name }}.txt; echo y > deep.pdf',
      outputs: ["${{ params.name }}.txt", "*.txt"], documents: [deep.pdf]}
""")  # fmt: skip
    assert ran.statuses == {"t": "completed"}


def test_a_function_that_fails_shows_why_in_its_own_frames(place: Place) -> None:
    place.write("bad.py", "def f():\n    raise ValueError('no luck')\n\ndef g():\n    return {1, 2}\n")
    ran = place.run(
        "fail_fast: false\ntasks: {f: {python: 'bad:f'}, g: {python: 'bad:g'}, h: {python: 'bad:h'}}", code=1
    )
    assert set(ran.statuses.values()) == {"failed"}
    said = {
        name: place.say("logs", "last", name).stderr + place.say("logs", "last", name).stdout
        for name in "fgh"
    }
    assert "ValueError: no luck" in said["f"] and "_call.py" not in said["f"]
    assert "cannot be handed on" in said["g"] and "hint:" in said["g"]
    assert "has no attribute 'h'" in said["h"]


def test_environment_and_folder_are_those_that_were_said(place: Place) -> None:
    (place.folder / "sub").mkdir()
    ran = place.run("""
params: {name: sub}
env: {A: all, B: gone, N: 3, T: true}
defaults: {cwd: "."}
tasks:
  here: {shell: 'echo "$A $N $T $(basename $PWD)"', cwd: "${{ params.name }}", output: text}
  own: {shell: 'echo "$A ${B-unset} $C"', env: {A: "own ${{ params.name }}", B: null, C: "$HOME ${x}"}, output: text}
""")  # fmt: skip
    assert ran.value("here") == "all 3 true sub"
    assert ran.value("own") == "own sub unset $HOME ${x}"


# --- what decides that a task runs ----------------------------------------------------------------


def test_conditions_are_worked_out_as_early_as_can_be(place: Place) -> None:
    ran = place.run("""
params: {mode: full, n: 3}
tasks:
  count: {run: [echo, "5"], output: json}
  never: {run: [echo], when: "params.mode == 'quick'"}
  early: {run: [echo], when: "${{ params.n > 2 }}"}
  late: {run: [echo], when: "tasks.count.value > params.n", needs: count}
  late_no: {run: [echo], when: "tasks.count.value > 5 and params.n > 2", needs: count}
  behind: {run: [echo], needs: [late_no]}
""")  # fmt: skip
    skipped = {name for name, status in ran.statuses.items() if status == "skipped"}
    assert skipped == {"never", "late_no", "behind"}
    assert "its condition does not hold: params.mode == 'quick'" in ran.sentences["never"]


def test_a_condition_that_is_no_yes_or_no_fails_its_task(place: Place) -> None:
    ran = place.run(
        "tasks: {a: {run: [echo, '5'], output: json}, b: {run: [echo], when: tasks.a.value, needs: a}}",
        code=1,
    )
    assert ran.statuses["b"] == "failed"
    assert "`when` gave 5, and true or false is wanted" in ran.sentences["b"]


def test_triggers_decide_what_follows_upon_what(place: Place) -> None:
    ran = place.run(
        """
fail_fast: false
tasks:
  good: {run: ["true"]}
  bad: {run: ["false"]}
  left: {run: ["true"], skip: "not today"}
  all_success: {run: ["true"], needs: [good, bad], trigger: all_success}
  all_done: {run: ["true"], needs: [good, bad], trigger: all_done}
  any_success: {run: ["true"], needs: [good, bad], trigger: any_success}
  any_failed: {run: ["true"], needs: [good, bad], trigger: any_failed}
  none_failed: {run: ["true"], needs: [good, left], trigger: none_failed}
  none_failed_no: {run: ["true"], needs: [good, bad], trigger: none_failed}
  always: {run: ["true"], needs: [bad], trigger: always}
  tell: {run: [echo, "${{ tasks.bad.status }} ${{ tasks.bad.exit_code }}"], needs: bad, trigger: all_done, output: text}
finally:
  clean: {run: ["true"]}
""",
        code=1,
    )
    assert {name for name, status in ran.statuses.items() if status == "completed"} == {
        "good", "all_done", "any_success", "any_failed", "none_failed", "always", "tell", "clean",
    }  # fmt: skip
    assert ran.value("tell") == "failed 1"


def test_after_a_failure_nothing_new_starts_but_what_cleans_up(place: Place) -> None:
    text = """
jobs: 1
tasks:
  bad: {run: ["false"]}
  other: {run: ["true"], priority: -1}
finally:
  clean: {shell: "echo cleaned > cleaned"}
"""
    ran = place.run(text, code=1)
    assert ran.statuses == {"bad": "failed", "other": "skipped", "clean": "completed"}
    assert place.lines("cleaned") == ["cleaned"]
    assert place.run("fail_fast: false" + text, code=1).statuses["other"] == "completed"


def test_a_task_is_tried_again_and_again_until_it_holds(place: Place) -> None:
    ran = place.run("""
tasks:
  flaky: {shell: 'echo x >> tries; test $(wc -l < tries) -ge 3', retry: {attempts: 5, backoff: 10ms}}
  poll: {shell: 'echo x >> polls; wc -l < polls', output: json, repeat: {until: "value >= 4", times: 9, every: 5ms}}
  by_output: {shell: 'echo x >> outs; wc -l < outs', repeat: {until: "stdout | int == 2 and exit_code == 0", times: 5}}
""")
    assert (ran.attempts("flaky"), ran.attempts("poll"), ran.attempts("by_output")) == (3, 4, 2)
    assert ran.value("poll") == 4


def test_what_never_holds_fails_after_its_times(place: Place) -> None:
    ran = place.run(
        "tasks: {t: {run: [echo, '1'], output: json, repeat: {until: value > 1, times: 3}}}", code=1
    )
    assert (ran.statuses["t"], ran.attempts("t")) == ("failed", 3)


def test_time_limits_are_held_and_codes_allowed(place: Place) -> None:
    ran = place.run(
        """
fail_fast: false
defaults: {timeout: 400ms, grace: 100ms, allowed_exit_codes: [0, 7]}
tasks:
  slow: {run: [sleep, "600"]}
  own: {run: [sleep, "0.5"], timeout: none}
  seven: {shell: "exit 7"}
  eight: {shell: "exit 8", allowed_exit_codes: [8]}
  nought: {shell: "exit 7", allowed_exit_codes: [0]}
""",
        code=1,
    )
    assert ran.statuses == {
        "slow": "timed_out", "own": "completed", "seven": "completed", "eight": "completed", "nought": "failed",
    }  # fmt: skip


def test_a_time_limit_of_the_whole_ends_it(place: Place) -> None:
    ran = place.run("timeout: 300ms\ntasks: {a: {run: [sleep, '600'], grace: 100ms}}", code=1)
    assert ran.shown["verdict"] in ("failed", "cancelled") and ran.statuses["a"] != "completed"


# --- how much at once -----------------------------------------------------------------------------

#: A line of shell that says in the ledger when it starts and ends, with time for others to do so meanwhile.
MARK = "echo + >> $L; sleep 0.05; echo - >> $L"


def test_pools_resources_and_limits_bound_what_runs_at_once(place: Place) -> None:
    fan = "each: [1, 2, 3, 4, 5, 6, 7, 8]"
    place.run(f"""
jobs: 8
pools: {{db: 2}}
resources: {{gpu: 4}}
tasks:
  pool: {{{fan}, shell: "{MARK}", env: {{L: pool}}, pool: db}}
  share: {{{fan}, shell: "{MARK}", env: {{L: share}}, resources: {{gpu: 3}}, needs: pool}}
  limit: {{{fan}, shell: "{MARK}", env: {{L: limit}}, limit: 3, needs: share}}
  free: {{{fan}, shell: "{MARK}", env: {{L: free}}, needs: limit}}
""")
    assert most_at_once(place.lines("pool")) == 2
    assert most_at_once(place.lines("share")) == 1
    assert most_at_once(place.lines("limit")) == 3
    assert most_at_once(place.lines("free")) > 3


def test_a_pool_of_a_file_within_a_file_is_its_own(place: Place) -> None:
    place.write(
        "inner.yaml",
        f"pools: {{p: 1}}\ntasks: {{t: {{each: [1, 2, 3], shell: '{MARK}', env: {{L: ../inner}}, cwd: sub, pool: p}}}}",
    )
    (place.folder / "sub").mkdir()
    place.run(f"""
jobs: 8
pools: {{p: 3}}
tasks:
  outer: {{each: [1, 2, 3, 4, 5, 6], shell: "{MARK}", env: {{L: outer}}, pool: p}}
  a: {{workflow: inner.yaml, needs: outer}}
  b: {{workflow: inner.yaml, needs: outer}}
""")
    assert most_at_once(place.lines("outer")) == 3
    assert most_at_once(place.lines("inner")) == 1


def test_a_rate_is_kept(place: Place) -> None:
    ran = place.run("""
jobs: 8
resources: {calls: {limit: 2, per: 300ms}}
tasks: {t: {each: [1, 2, 3, 4, 5, 6], run: ["true"], resources: {calls: 1}}}
""")
    started = [event["at_ms"] for event in ran.events if event["kind"] == "attempt_started"][1:]
    assert started[-1] - started[0] >= 590


def test_what_counts_more_goes_first(place: Place) -> None:
    place.run("""
jobs: 1
tasks:
  hold: {run: [sleep, "0.1"], priority: 100}
  low: {shell: "echo low >> ledger", priority: -5}
  usual: {shell: "echo usual >> ledger"}
  high: {shell: "echo high >> ledger", priority: 5}
""")
    assert place.lines() == ["high", "usual", "low"]


# --- once for each --------------------------------------------------------------------------------


def test_a_task_runs_for_each_of_a_list_a_value_or_every_combination(place: Place) -> None:
    ran = place.run("""
params: {regions: [eu, us]}
tasks:
  shards: {run: [echo, '{"list": [{"id": 1, "of": "a"}, {"id": 2, "of": "b"}]}'], output: json}
  plain: {each: [x, 2, true], run: [echo, "${{ item }}"], output: text}
  param: {each: "${{ params.regions }}", run: [echo, "${{ item | upper }}"], output: text}
  value: {each: "${{ tasks.shards.value.list }}", run: [echo, "${{ item.id }}${{ item.of }}"], output: text, needs: shards}
  matrix: {each: {os: [lin, mac], py: ["3.10", "3.14"]}, run: [echo, "${{ item.os }}-${{ item.py }}"], output: text}
  none: {each: [], run: [echo]}
  sum: {run: [echo, "${{ tasks.value.value | join(',') }} ${{ tasks.none.value | length }}"], needs: [value, none], output: text}
""")  # fmt: skip
    assert set(ran.statuses.values()) == {"completed"}
    assert [ran.value(f"plain[{item}]") for item in ("x", "2", "true")] == ["x", "2", "true"]
    assert [ran.value(f"param[{item}]") for item in ("eu", "us")] == ["EU", "US"]
    assert [ran.value(name) for name in ran.names if name.startswith("matrix[")] == [
        "lin-3.10", "lin-3.14", "mac-3.10", "mac-3.14",
    ]  # fmt: skip
    assert ran.value("sum") == "1a,2b 0"


def test_what_is_no_list_cannot_be_fanned_out(place: Place) -> None:
    ran = place.run(
        "tasks: {a: {run: [echo, '5'], output: json}, b: {each: '${{ tasks.a.value }}', run: [echo], needs: a}}",
        code=1,
    )
    assert "a list is wanted" in ran.sentences["b"]


def test_one_that_fails_fails_the_whole_of_them(place: Place) -> None:
    ran = place.run(
        "fail_fast: false\ntasks: {t: {each: [0, 1, 2], shell: 'exit ${{ item }}'}, u: {run: [echo], needs: t}}",
        code=1,
    )
    assert ran.statuses["t"] == "failed" and ran.statuses["u"] == "skipped"
    assert [ran.statuses[f"t[{n}]"] for n in range(3)] == ["completed", "failed", "failed"]


# --- files in files -------------------------------------------------------------------------------


def test_files_stand_in_files_with_parameters_of_their_own(place: Place) -> None:
    place.write(
        "lib/leaf.yaml",
        "params: {x: {type: int}}\ntasks: {t: {run: [echo, '${{ params.x }}'], output: json}}",
    )
    place.write(
        "lib/mid.yaml",
        """
params: {x: {type: int}, name: mid}
tasks:
  one: {workflow: leaf.yaml, with: {x: "${{ params.x + 1 }}"}}
  two: {workflow: ./leaf.yaml, with: {x: "${{ tasks.one.value.t * 10 }}"}, needs: one}
  name: {run: [echo, "${{ params.name }}"], output: text}
""",
    )
    ran = place.run("""
tasks:
  both: {each: [1, 5], workflow: lib/mid.yaml, with: {x: "${{ item }}", name: "n${{ item }}"}}
  sum: {run: [echo, "${{ tasks.both.value[0].two.t }} ${{ tasks.both.value[1].name }}"], needs: both, output: text}
""")
    assert ran.value("sum") == "20 n5"
    assert ran.value("both[5]/two/t") == 60


@pytest.mark.parametrize(
    ("inner", "with_", "said"),
    [
        ("tasks: {t: {workflow: flow.yaml}}", "", "runs a workflow that it is a part of"),
        ("params: {x: 1}\ntasks: {t: {run: [a]}}", ", with: {y: 2}", "has no parameter `y`"),
        ("params: {x: {type: int}}\ntasks: {t: {run: [a]}}", "", "has no default"),
        ("tasks: {t: {rum: [a]}}", "", "unknown key `rum`"),
    ],
)
def test_files_that_do_not_fit_are_refused_before_anything_starts(
    place: Place, inner: str, with_: str, said: str
) -> None:
    place.write("inner.yaml", inner)
    told = place.refused(f"tasks: {{a: {{run: ['true']}}, s: {{workflow: inner.yaml{with_}}}}}")
    assert said in told and re.search(r"\w+\.yaml:\d+:\d+", told), told
    assert "there is no file" in place.refused("tasks: {s: {workflow: nowhere.yaml}}")
    assert "that it is a part of" in place.refused("tasks: {s: {workflow: ./flow.yaml}}")


def test_a_parameter_of_an_inner_file_that_makes_no_sense_fails_its_task(place: Place) -> None:
    place.write("inner.yaml", "params: {x: {type: int}}\ntasks: {t: {run: [echo]}}")
    ran = place.run(
        "tasks: {a: {run: [echo, x], output: text}, s: {workflow: inner.yaml, with: {x: '${{ tasks.a.value }}'}, needs: a}}",
        code=1,
    )
    assert 'parameter `x`: "x" is no whole number' in ran.sentences["s"]


# --- three ways to write it -----------------------------------------------------------------------


def test_yaml_toml_and_json_say_the_same_and_anchors_share(place: Place) -> None:
    yaml = """
x: &base {retry: {attempts: 2, backoff: 1ms}, output: text}
params: {n: 1}
tasks:
  a: {<<: *base, run: [echo, "${{ params.n }}"]}
"""
    told = place.refused(yaml)
    assert "unknown key `x`" in told
    as_yaml = place.run("""
params: {n: 1}
tasks:
  a: &a {retry: {attempts: 2, backoff: 1ms}, output: text, run: [echo, "${{ params.n }}"]}
  b: {<<: *a, needs: a}
""")
    toml = """
[params]
n = 1
[tasks.a]
retry = {attempts = 2, backoff = "1ms"}
output = "text"
run = ["echo", "${{ params.n }}"]
[tasks.b]
retry = {attempts = 2, backoff = "1ms"}
output = "text"
needs = "a"
run = ["echo", "${{ params.n }}"]
"""
    task = {"retry": {"attempts": 2, "backoff": "1ms"}, "output": "text", "run": ["echo", "${{ params.n }}"]}
    json_ = json.dumps({"params": {"n": 1}, "tasks": {"a": task, "b": {**task, "needs": "a"}}})
    declared = [event["tasks"] for event in as_yaml.events if event["kind"] == "tasks_declared"]
    for name, text in [("flow.toml", toml), ("flow.json", json_)]:
        ran = place.run(text, name=name)
        assert [event["tasks"] for event in ran.events if event["kind"] == "tasks_declared"] == declared
        assert ran.value("b") == "1"


def test_a_file_may_come_on_standard_input(place: Place) -> None:
    place.say(
        "run",
        "-",
        "--param",
        "x=5",
        stdin="params: {x: 1}\ntasks: {a: {shell: 'echo ${{ params.x }} > made'}}",
    )
    assert place.lines("made") == ["5"]
    done = place.say("run", "-", stdin="tasks: {a: {rum: [b]}}", code=2)
    assert "unknown key `rum`" in done.stderr
    assert "config.syntax" not in done.stderr
