"""Graphs of workflows and runs as users get them: typed, from Python, in a browser and in a notebook."""

from __future__ import annotations

import json
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from dirigent import UsageError, Workflow, flow, task
from dirigent._graph import Graph
from nbclient import NotebookClient

from tests.browser import Page
from tests.children import DEADLINE_S, write_script
from tests.conftest import find_tool

Done = subprocess.CompletedProcess[str]
Dirigent = Callable[..., Done]

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "</text><script>alert(1)</script>\"'`#]; %% \u202e\x01\n]]> &amp; \uffff שלום"
WORKFLOW = """
name: nightly
tasks:
  extract: {run: [echo, hi]}
  clean: {run: [echo, hi], needs: [extract]}
  shards: {each: [1, 2, 3], run: [echo, "${{ item }}"], needs: [clean]}
  publish: {shell: "echo the door is shut >&2; exit 3", needs: [shards]}
  report: {shell: "true", needs: [clean]}
"""


@pytest.fixture
def dirigent(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dirigent:
    """Types a command in a fresh folder with a workflow file and waits for its end."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user-config"))
    (tmp_path / "dirigent.toml").write_text("")
    (tmp_path / "etl.yaml").write_text(WORKFLOW)

    def run(*argv: str | Path) -> Done:
        return subprocess.run(
            [program, *argv], capture_output=True, cwd=tmp_path, timeout=DEADLINE_S, text=True
        )

    return run


def labels(svg: str) -> list[str]:
    """What is written on the nodes of a picture, which a parser of XML has to accept."""
    return [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text") if text.get("class") == "label"]


# --- typed ----------------------------------------------------------------------------------------


def test_a_workflow_is_drawn_before_it_runs(dirigent: Dirigent) -> None:
    done = dirigent("graph", "etl.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == [
        "nightly",
        "○ extract",
        "○ clean",
        "├─ ○ shards",
        "│",
        "└─ ○ report",
    ]


FANS = """
name: fans
params: {days: {type: list, default: [mon, tue]}}
tasks:
  list: {run: [echo, "[1]"], output: json}
  known: {each: [a, b, c], run: [echo, "${{ item }}"]}
  product: {each: {x: [1, 2], y: [1, 2, 3]}, run: [echo, "${{ item.x }}"]}
  days: {each: "${{ params.days }}", run: [echo, "${{ item }}"]}
  later: {each: "${{ tasks.list.value }}", run: [echo, "${{ item }}"], needs: [list]}
  inner: {workflow: etl.yaml}
"""


def test_a_fan_out_is_drawn_as_one_before_it_is_there(dirigent: Dirigent, tmp_path: Path) -> None:
    (tmp_path / "fans.yaml").write_text(FANS)
    drawn = json.loads(dirigent("graph", "fans.yaml", "--json").stdout)
    assert {node["label"]: (node["kind"], node["note"]) for node in drawn["nodes"]} == {
        "list": ("task", "command echo"),
        "known": ("coming", "fan-out of 3"),
        "product": ("coming", "fan-out of 6"),
        "days": ("coming", "fan-out of 2"),
        "later": ("coming", "fan-out"),
        "inner": ("coming", "workflow"),
    }
    assert "{{" in dirigent("graph", "fans.yaml", "--format", "mermaid").stdout
    assert "shape=hexagon" in dirigent("graph", "fans.yaml", "--format", "dot").stdout
    svg = dirigent("graph", "fans.yaml", "--format", "svg").stdout
    assert svg.count('class="coming declared"') == 5


def test_fan_outs_of_python_are_drawn_as_such_until_they_are_there() -> None:
    wf = Workflow("maps").add_task("items", lambda: [1, 2]).add_map("known", str, over=["a", "b"])
    wf.add_map("later", str, over="items").add_workflow(
        "inner", Workflow("i").add_task("one", int), ["later"]
    )

    def nodes(graph: Graph) -> dict[str, tuple[str, str]]:
        drawn = json.loads(graph._draw(("json", "auto", [], False)))
        return {node["label"]: (node["kind"], node["note"]) for node in drawn["nodes"]}

    assert nodes(wf.graph()) == {
        "items": ("task", "function"),
        "known": ("coming", "fan-out of 2"),
        "later": ("coming", "fan-out"),
        "inner": ("coming", "workflow"),
    }
    kinds = nodes(wf.run_sync().graph())
    assert kinds["known"][0] == "whole" and kinds["later[1]"][0] == "task"


@task
def doubled(x: int) -> int:
    return 2 * x


@flow
def spread(x: int) -> Any:
    return doubled.map(doubled.map(doubled(x)))


def test_a_map_of_a_flow_is_drawn_as_a_fan_out() -> None:
    assert str(spread.graph(1)).splitlines()[1:] == [
        "○ doubled         function",
        "○ doubled.map     fan-out   ← doubled",
        "○ doubled.map[1]  fan-out   ← doubled.map",
    ]


def test_a_run_is_drawn_with_what_became_of_it(dirigent: Dirigent, tmp_path: Path) -> None:
    assert dirigent("run", "etl.yaml").returncode == 1
    done = dirigent("graph", "last")
    assert "✗ publish" in done.stdout and "┆ ✓ shards[2]" in done.stdout
    assert dirigent("graph", "last", "--format", "svg", "-o", "run.svg").stdout == ""
    picture = (tmp_path / "run.svg").read_text()
    assert sorted(labels(picture)) == sorted(
        ["extract", "clean", "shards", "shards[1]", "shards[2]", "shards[3]", "publish", "report"]
    )
    titles = [title.text or "" for title in ET.fromstring(picture).iter(f"{SVG}title")]
    assert any(
        title.startswith("publish\nfailed with exit code 3") and title.endswith("the door is shut")
        for title in titles
    )
    drawn = json.loads(dirigent("graph", "last", "--json").stdout)
    assert {node["label"]: node["status"] for node in drawn["nodes"]}["publish"] == "failed"
    folder = next((tmp_path / ".dirigent" / "runs").iterdir())
    assert dirigent("graph", folder).stdout == done.stdout
    assert dirigent("graph", folder.name[:12]).stdout == done.stdout


def test_scripts_are_drawn_with_their_needs(dirigent: Dirigent, tmp_path: Path) -> None:
    for name in ("a.sh", "b.sh"):
        write_script(tmp_path / "scripts" / name, "exit 0")
    (tmp_path / "dirigent.toml").write_text('[scripts."scripts/b.sh"]\nneeds = ["scripts/a.sh"]\n')
    drawn = json.loads(dirigent("graph", "scripts", "--json").stdout)
    assert [node["label"] for node in drawn["nodes"]] == ["scripts/a.sh", "scripts/b.sh"]
    assert drawn["edges"] == [[0, 1]]


def test_a_workflow_and_a_flow_of_a_python_file_are_drawn(dirigent: Dirigent, tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(
        "from dirigent import Workflow, flow, task\n"
        "etl = Workflow('etl').add_task('a', int).add_task('b', int, dependencies=['a'])\n"
        "@task\ndef load(x): return x\n"
        "@flow\ndef both(n: int): return load(load(n)).result()\n"
    )
    done = dirigent("graph", "flows.py:etl")
    assert (done.stdout, done.stderr) == ("etl  2 tasks\n○ a  function\n○ b  function  ← a\n", "")
    done = dirigent("graph", "flows.py:both", "--param", "n=1")
    assert done.stdout.splitlines()[1:] == [
        "○ load     function",
        "○ load[1]  function  ← load",
        "(drawn up to where the value of load[1] is asked for)",
    ]
    assert json.loads(dirigent("graph", "flows.py:etl", "--json").stdout)["edges"] == [[0, 1]]
    assert dirigent("graph", "flows.py:etl", "-f", "svg", "-o", "etl.svg").stdout == ""
    assert labels((tmp_path / "etl.svg").read_text()) == ["a", "b"]
    done = dirigent("graph", "flows.py:both")
    assert (done.returncode, done.stdout) == (2, "") and "--param NAME=VALUE" in done.stderr


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["last"], 3, "no run is recorded"),
        (["nosuch"], 3, "nosuch does not exist"),
        (["etl.yaml", "--unfold", "x"], 2, "hint: leave it out: every task is drawn already"),
        (["etl.yaml", "--theme", "dark"], 2, "hint: add `--format svg`, or leave it out"),
        (["etl.yaml", "--format", "png"], 2, "[possible values: text, svg, mermaid, dot]"),
        (["etl.yaml", "--colour"], 2, "unexpected argument"),
        (["flows.py:etl"], 3, "flows.py does not exist"),
    ],
)
def test_what_cannot_be_drawn_is_said(dirigent: Dirigent, argv: list[str], code: int, words: str) -> None:
    done = dirigent("graph", *argv)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


def test_of_very_many_tasks_stages_are_drawn_and_unfolded(dirigent: Dirigent, tmp_path: Path) -> None:
    lines = ["name: big", "tasks:", "  start: {shell: 'true'}"]
    lines += [f"  load {i}: {{shell: 'true', needs: [start]}}" for i in range(400)]
    (tmp_path / "big.yaml").write_text("\n".join(lines))
    done = dirigent("graph", "big.yaml")
    assert done.stdout.splitlines()[1:] == [
        "○ start      command sh",
        "○ 1. load …  400 tasks   ← start",
        "400 tasks folded into 1 node",
    ]
    assert "--unfold 1" in done.stderr
    assert len(dirigent("graph", "big.yaml", "--unfold", "1").stdout.splitlines()) == 403
    assert len(dirigent("graph", "big.yaml", "--all").stdout.splitlines()) == 402
    assert "name some of `1`" in dirigent("graph", "big.yaml", "--unfold", "7").stderr


# --- from Python ----------------------------------------------------------------------------------


def hostile() -> Workflow:
    """Names as somebody would choose them who means harm, or does not care."""
    return (
        Workflow(EVIL).add_task(EVIL, int).add_task("long " * 60, int, dependencies=[EVIL]).add_task("-", int)
    )


def test_names_stay_text_in_every_form() -> None:
    run = hostile().run_sync(durability="none")
    for graph in (hostile().graph(), run.graph()):
        root = ET.fromstring(graph.svg())
        assert {element.tag for element in root.iter()} <= {
            SVG + tag for tag in ("svg", "style", "rect", "text", "g", "path", "title")
        }
        assert "\\u{202e}\\u{1}\\n" in "".join(root.itertext())
        for text in (graph.svg(), graph.text(), graph.mermaid(), graph.dot()):
            assert "\u202e" not in text and "\x01" not in text
        assert "<script" not in graph._repr_mimebundle_()["text/html"]
        assert max(map(len, graph.text().splitlines())) <= 80


@pytest.mark.needs("dot")
def test_graphviz_reads_what_is_written_for_it() -> None:
    inner = Workflow("inner").add_task("x", int).add_task("y", int, dependencies=["x"])
    wf = Workflow("outer").add_task('a "quoted"\\N', int).add_workflow("inner", inner, ['a "quoted"\\N'])
    run = wf.add_task("end", int, dependencies=["inner"]).run_sync(durability="none")
    dot = find_tool("dot")
    for graph in (run.graph(), hostile().graph()):
        done = subprocess.run([str(dot), "-Tsvg"], input=graph.dot(), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run([str(dot), "-Tplain"], input=run.graph().dot(), capture_output=True, text=True)
    assert sum(line.startswith("edge") for line in done.stdout.splitlines()) == 3


def test_a_graph_is_saved_as_the_name_of_the_file_says(tmp_path: Path) -> None:
    graph = Workflow("one").add_task("a", int).graph()
    for end, begin in (
        (".svg", "<svg "),
        (".mmd", "flowchart LR"),
        (".dot", "digraph "),
        (".txt", "one  1 task"),
    ):
        graph.save(tmp_path / f"graph{end}")
        assert (tmp_path / f"graph{end}").read_text().startswith(begin)
    with pytest.raises(UsageError, match=r"\.svg, \.mmd, \.dot or \.txt"):
        graph.save(tmp_path / "graph.png")
    with pytest.raises(UsageError, match="auto, light, dark"):
        graph.svg(theme="blue")
    with pytest.raises(UsageError, match="every task is drawn already"):
        graph.text(unfold=[3])
    assert sorted(os.listdir(tmp_path)) == ["graph.dot", "graph.mmd", "graph.svg", "graph.txt"]


def test_a_flow_has_the_same_pictures() -> None:
    @task
    def load(x: int) -> int:
        return x

    @flow
    def both(n: int) -> Any:
        return load(load(n))

    assert both.graph(1).text() == "both  2 tasks\n○ load     function\n○ load[1]  function  ← load\n"
    assert labels(both.graph(1).svg()) == ["load", "load[1]"]


def test_no_picture_holds_a_secret() -> None:
    def careless() -> None:
        print("canary-4711")
        raise ValueError("canary-4711")

    wf = Workflow("careful", secrets={"TOKEN": "canary-4711"}).add_task("careless", careless)
    command = ["sh", "-c", "echo it is $TOKEN >&2; exit 3"]
    wf.add_command("leaky", command, secrets=["TOKEN"])
    wf.fail_fast = False
    run = wf.run_sync()
    bundles = [thing._repr_mimebundle_() for thing in (wf, run, run.graph(), *run.tasks.values())]
    assert "it is ***" in bundles[1]["text/html"] and "it is ***" in bundles[4]["text/html"]
    forms = (run.graph().svg(), run.graph().dot(), run.graph().mermaid(), run.graph().text())
    assert "canary" not in "".join(forms)
    assert "canary" not in "".join(bundle["text/html"] for bundle in bundles)


def test_a_circle_is_no_reason_not_to_show_a_workflow() -> None:
    wf = Workflow("round").add_task("a", int, dependencies=["b"]).add_task("b", int, dependencies=["a"])
    assert wf._repr_mimebundle_() == {"text/plain": "Workflow('round', 2 tasks)"}


# --- in a browser ---------------------------------------------------------------------------------


LIGHT, DARK = "rgb(250, 249, 247)", "rgb(21, 25, 29)"
PAPERS = "[...document.querySelectorAll('.paper')].map(paper => getComputedStyle(paper).fill)"


def drawn_workflow() -> Workflow:
    """A small one with a fan-out, which fails in the end."""
    wf = Workflow("drawn").add_task("numbers", lambda: [1, 2, 3])
    wf.add_map("squares", lambda n: n * n, "numbers")
    return wf.add_task("broken", lambda: 1 // 0, dependencies=["squares"])


@pytest.mark.needs("chromium")
def test_a_picture_is_light_or_dark_as_the_reader_or_the_page_wants(page: Page, tmp_path: Path) -> None:
    graph = drawn_workflow().graph()
    pictures = "".join(graph.svg(theme=theme) for theme in ("auto", "light", "dark"))
    # Rules of one picture reach the others that stand on the same page: they have to agree.
    (tmp_path / "page.html").write_text(f"<!doctype html><meta charset=utf-8><body>{graph.svg()}")
    page.emulate_media(prefers_color_scheme="light")
    page.go(f"file://{tmp_path}/page.html")
    assert page.evaluate(PAPERS) == [LIGHT]
    page.emulate_media(prefers_color_scheme="dark")
    assert page.evaluate(PAPERS) == [DARK]
    page.evaluate("document.body.dataset.jpThemeLight = 'true'")
    assert page.evaluate(PAPERS) == [LIGHT]
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    page.emulate_media(prefers_color_scheme="light")
    assert page.evaluate(PAPERS) == [DARK]
    (tmp_path / "three.html").write_text(f"<!doctype html><meta charset=utf-8><body>{pictures}")
    page.go(f"file://{tmp_path}/three.html")
    assert page.evaluate(PAPERS) == [LIGHT, LIGHT, DARK]
    assert page.evaluate("document.querySelectorAll('[id]').length") == 0


@pytest.mark.needs("chromium")
def test_what_is_written_on_a_node_stays_on_it(page: Page, tmp_path: Path) -> None:
    wf = Workflow("wide")
    for name in (
        "MMMMMMMMMM WWWWWWWW",
        "a name of a task that is rather long, and then longer",
        "漢字" * 20,
        "ok",
    ):
        wf.add_task(name, int)
    graph = wf.run_sync(durability="none").graph()
    graph.save(tmp_path / "wide.svg")
    page.go(f"file://{tmp_path}/wide.svg")
    overflowing = page.evaluate("""[...document.querySelectorAll(".task")].filter(node => {
        const [card, text] = ["rect", ".label"].map(part => node.querySelector(part).getBoundingClientRect());
        return text.left < card.left || text.right > card.right;
    }).map(node => node.textContent)""")
    assert overflowing == []


# --- in a notebook --------------------------------------------------------------------------------

CELLS = [
    """
from dirigent import Workflow
wf = Workflow("drawn").add_task("numbers", lambda: [1, 2, 3])
wf = wf.add_map("squares", lambda n: n * n, "numbers")
wf = wf.add_command("broken", ["sh", "-c", "echo '<b>the door</b> is shut' >&2; exit 3"], dependencies=["squares"])
wf
""",
    "run = wf.run_sync()\nrun",
    "run.tasks['broken']",
    "run.graph()",
    "big = Workflow('big').add_task('start', int)\n"
    "big.add_tasks((f'load {i}', int, ['start']) for i in range(400))\nbig.run_sync(durability='none')",
]


def test_a_notebook_shows_pictures_with_the_same_as_text_beside() -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, timeout=int(DEADLINE_S), kernel_name="python3").execute()
    bundles = [cell.outputs[-1]["data"] for cell in notebook.cells]
    texts = [bundle["text/plain"] for bundle in bundles]
    # The cell that runs a workflow shows its picture meanwhile, and not once more as its value.
    assert set(bundles[1]) == {"text/plain"}
    bundles[1] = notebook.cells[1].outputs[-2]["data"]
    declared, ran, result, graph, big = (bundle["text/html"] for bundle in bundles)
    assert texts[0] == "Workflow('drawn', 3 tasks)"
    assert texts[1].startswith("<Run of 'drawn': failed; ")
    assert texts[3].splitlines()[0] == "drawn  failed: 1 of 6 tasks did not complete"
    for markup in (declared, ran, graph, big):
        assert markup.count("<svg ") == 1 and "As text" in markup
        assert (
            "<script" not in markup and " id=" not in markup and " on" not in markup.partition("<style>")[0]
        )
    for markup in (ran, result):
        assert "&lt;b&gt;the door&lt;/b&gt; is shut" in markup and "<b>the door" not in markup
    assert "400 tasks" in big and "<li>✓ load 7 succeeded" in big and "… and 300 more" in big
    # A saved notebook has no place for anything that Jupyter could not keep.
    nbformat.validate(nbformat.reads(nbformat.writes(notebook), as_version=4))
