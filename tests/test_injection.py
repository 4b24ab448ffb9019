"""Values that look like code, through every door of a workflow file: each arrives as it is, and nothing else happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workflow_files import Place
from tests.workflows import same

#: What would do something if anybody ever read it as code: each tries to leave a file behind.
HOSTILE = [
    '"; touch pwned #',
    "'; touch pwned #",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "&& touch pwned",
    "| touch pwned",
    "> pwned",
    "\ntouch pwned\n",
    "{{7*7}}",
    "${{ 1 }}",
    "$${{ 1 }}",
    "${{ params.x }}",
    "}}",
    "{% raw %}",
    "${IFS}touch${IFS}pwned",
    "$DIRIGENT_VALUE_1",
    "--flag",
    "-n",
    "-",
    "",
    " ",
    "  two  blanks ",
    "*",
    "~",
    "a\\nb\\",
    "\t\r",
    "%s%n",
    "!important",
    "null",
    "true",
    "1e3",
    "[1, 2]",
    '{"a": 1}',
    "a=b",
    "Ünïcödé ☃ \U0001d518 \u202e\u2028",
    "\x01\x1b[31m\x7f",
    "x" * 20_000,
    "__import__('os').system('touch pwned')",
    "x[$(touch pwned)]",
]

#: Texts that an argument can be: no system takes a null character.
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE[:20]), min_size=2, max_size=3).map("".join),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30),
)

#: Writes its arguments as JSON: what arrived, to the byte.
SHOW = "import json, os, sys; print(json.dumps(sys.argv[1:] + [os.environ.get('V')]))"

FLOW = """
params: {x: {type: string}, list: {type: json}}
jobs: 4
tasks:
  argument: {run: [python, show.py, "${{ params.x }}", "--x=${{ params.x }}"], output: json}
  bare: {shell: "python3 show.py ${{ params.x }} a", output: json}
  quoted: {shell: 'python3 show.py "${{ params.x }}" "<${{ params.x }}>"', output: json}
  nested: {shell: 'printf "%s\\n" "$(python3 show.py ${{ params.x }} "b ${{ params.x }}")"', output: json}
  default: {shell: 'python3 show.py "${NONE:-${{ params.x }}}" ${NONE:-"${{ params.x }}"}', output: json}
  cases: {shell: 'printf "%s\\n" "$(case a in a) python3 show.py ${{ params.x }};; esac)"', output: json}
  env: {run: [python, show.py], env: {V: "${{ params.x }}"}, output: json}
  script: {script: show.py, args: ["${{ params.x }}"], output: json}
  call: {python: "echo:echo", with: {x: "${{ params.x }}", y: ["${{ params.x }}", {k: "-${{ params.x }}-"}]}}
  late: {run: [python, show.py, "${{ tasks.call.value[0] }}"], needs: call, output: json}
  late_shell: {shell: 'python3 show.py ${{ tasks.call.value[0] }}', needs: call, output: json}
  each: {each: "${{ params.list }}", run: [python, show.py, "${{ item }}"], output: json}
  spread: {run: [python, show.py, "${{ params.list }}"], output: json}
  inner: {workflow: inner.yaml, with: {x: "${{ params.x }}"}}
  ask: {approval: "Go on with ${{ params.x }}?", timeout: 1ms}
  named: {each: "${{ params.list }}", workflow: inner.yaml, with: {x: "${{ item }}"}}
fail_fast: false
"""

INNER = """
params: {x: {type: string}}
tasks: {show: {run: [python, show.py, "${{ params.x }}"], output: json}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.write("show.py", SHOW)
    place.write("echo.py", "def echo(x, y):\n    return [x, y]\n")
    place.write("inner.yaml", INNER)
    return place


@same(12)
@given(value=TEXTS)
def test_values_are_never_parsed_again(place: Place, value: str) -> None:
    before = sorted(path.name for path in place.folder.iterdir())
    place.write("given.json", json.dumps({"x": value, "list": [value, "plain"]}))
    ran = place.run(FLOW, "--params-file", "given.json", code=1)
    assert ran.statuses.pop("ask") == "timed_out"
    assert set(ran.statuses.values()) == {"completed"}, (value, ran.sentences)
    assert ran.value("argument") == [value, f"--x={value}", None]
    assert ran.value("bare") == [value, "a", None]
    assert ran.value("quoted") == [value, f"<{value}>", None]
    assert ran.value("nested") == [value, f"b {value}", None]
    assert ran.value("default") == [value, value, None]
    assert ran.value("cases") == [value, None]
    assert ran.value("env") == [value]
    assert ran.value("script") == [value, None]
    assert ran.value("call") == [value, [value, {"k": f"-{value}-"}]]
    assert ran.value("late") == ran.value("late_shell") == [value, None]
    items = [name for name in ran.names if name.startswith("each[")]
    assert [ran.value(name) for name in items] == [[value, None], ["plain", None]]
    assert ran.value("spread") == [value, "plain", None]
    assert ran.value("inner/show") == [value, None]
    [asked] = [
        task
        for event in ran.events
        if event["kind"] == "tasks_declared"
        for task in event["tasks"]
        if task["name"] == "ask"
    ]
    assert asked["prompt"] == f"Go on with {value}?"
    after = sorted(path.name for path in place.folder.iterdir())
    assert set(after) - set(before) <= {"flow.yaml", "given.json", "state", "__pycache__"}


@pytest.mark.parametrize("value", [value for value in HOSTILE if not value.startswith("-")])
def test_what_is_typed_arrives_as_it_is(place: Place, value: str) -> None:
    ran = place.run(
        "params: {x: {type: string}}\ntasks: {t: {run: [python, show.py, '${{ params.x }}'], output: json}}",
        "--param",
        f"x={value}",
    )
    assert ran.value("t") == [value, None]


def test_a_null_character_is_refused(place: Place) -> None:
    place.write("given.json", json.dumps({"x": "a\0b"}))
    for task in [
        "run: [echo, '${{ params.x }}']",
        "run: [echo], env: {V: '${{ params.x }}'}",
        "shell: 'echo ${{ params.x }}'",
    ]:
        told = place.refused(
            f"params: {{x: {{type: string}}}}\ntasks: {{t: {{{task}}}}}", "--params-file", "given.json"
        )
        assert "null character" in told
