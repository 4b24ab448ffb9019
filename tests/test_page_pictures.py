"""Graph, timeline and runs before in the page of a run, in a real browser; graph, timeline and table select together."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.browser import Page
from tests.children import DEADLINE_S, only_run
from tests.test_page import FAINT

pytestmark = pytest.mark.needs("chromium")

WORKFLOW = """\
name: nightly
params:
  day: {type: string, default: monday}
tasks:
  fetch: {run: [sh, -c, "echo fetched"]}
  rates: {run: [sh, -c, "echo '<b>rates</b>'"]}
  clean: {run: [sh, -c, "sleep 1"], needs: [fetch, rates]}
  flaky:
    shell: test -e seen || { touch seen; sleep 0.1; exit 1; }
    retry: {attempts: 3, backoff: 100ms, jitter: 0}
  load: {run: [sh, -c, "echo ${{ params.day }}"], needs: [clean, flaky]}
"""

#: What is selected, in each place: the words there.
SELECTED = """[".graph a .label", ".chart a title", ".names a", "#tasks tr summary"].map(place =>
    [...document.querySelectorAll(place)].filter(it => it.closest("[aria-current]")).map(it => it.textContent.split(" ")[0]))"""
NAMES = """[...document.querySelectorAll("#tasks tbody tr")].map(row => row.querySelector("summary").textContent)"""


def carry_out(program: Path, folder: Path, text: str, *argv: str) -> Path:
    """Run a workflow file with the page of it; gives the folder of the run."""
    (folder / "nightly.yaml").write_text(text)
    state = folder / "state"
    command = [program, "run", folder / "nightly.yaml", "--state-dir", state, "--report", "html", *argv]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, cwd=folder)
    assert ended.returncode in (0, 1), ended.stderr
    return only_run(state)


@pytest.fixture(scope="module")
def folder(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the workflow above."""
    return carry_out(program, tmp_path_factory.mktemp("nightly"), WORKFLOW)


@pytest.fixture
def report(folder: Path, page: Page) -> Page:
    """The page of that run, opened."""
    page.go((folder / "report.html").as_uri())
    return page


def node(name: str) -> str:
    """A node of the graph."""
    return f"""[...document.querySelectorAll(".graph a")].find(it => it.textContent.includes("{name}"))"""


def bar(name: str) -> str:
    """The last bar of a task in the timeline."""
    return (
        f"""[...document.querySelectorAll(".chart a")].findLast(it => it.textContent.startsWith("{name} "))"""
    )


def selected(name: str) -> list[list[str]]:
    """What is to be selected, of a task with one bar."""
    return [[name]] * 4


def test_the_graph_has_a_node_for_each_task_and_none_is_drawn_without_needs(
    program: Path, tmp_path: Path, report: Page
) -> None:
    labels = """[...document.querySelectorAll(".graph .label")].map(it => it.textContent).sort()"""
    assert report.evaluate(labels) == ["clean", "fetch", "flaky", "load", "rates"]
    assert report.evaluate("getComputedStyle(document.querySelector('.graph .edges')).fill") == "none"
    alone = carry_out(program, tmp_path, "tasks: {a: {shell: 'true'}, b: {shell: 'true'}}\n")
    report.go((alone / "report.html").as_uri())
    assert report.evaluate("document.querySelector('.graph')") is None
    assert report.evaluate("document.querySelectorAll('.chart a').length") == 2


def test_a_task_is_selected_in_graph_timeline_and_table_wherever_it_was_pressed(report: Page) -> None:
    assert report.evaluate(SELECTED) == [[]] * 4
    report.click(node("clean"))
    report.wait_for(SELECTED, selected("clean"))
    report.click(bar("fetch"))
    report.wait_for(SELECTED, selected("fetch"))
    report.click("""[...document.querySelectorAll("#tasks summary")].find(it => it.textContent === "load")""")
    report.wait_for(SELECTED, selected("load"))
    strip = 'document.querySelector("#selection b").textContent'
    assert report.evaluate(strip) == "load"
    report.press("Escape", 27)
    report.wait_for(SELECTED, [[]] * 4)
    assert report.evaluate('document.querySelector("#selection").hidden')


def test_keys_go_from_task_to_task_in_graph_and_timeline(report: Page) -> None:
    reached = "document.querySelectorAll(\".graph a[tabindex='0']\").length"
    assert report.evaluate(reached) == 1, "the key Tab stops once"
    report.evaluate(f"{node('clean')}.focus()")
    report.press("ArrowRight", 39)
    report.wait_for(SELECTED, selected("load"))
    assert report.evaluate(reached) == 1
    report.evaluate(f"{bar('rates')}.focus()")
    report.press("Enter", 13, "\r")
    report.wait_for(SELECTED, selected("rates"))


def test_a_selected_task_is_one_button_away_in_the_table(report: Page) -> None:
    report.click(node("rates"))
    report.click("""[...document.querySelectorAll("#selection button")].at(-1)""")
    opened = "[...document.querySelectorAll('#tasks details[open] pre')].map(it => it.innerText)"
    report.wait_for(opened, ["<b>rates</b>"])


def test_a_stage_of_very_many_shows_its_tasks_in_the_table(program: Path, tmp_path: Path, page: Page) -> None:
    items = ", ".join(map(str, range(200)))
    text = f"""\
tasks:
  part: {{each: [{items}], shell: ":"}}
  next: {{each: [{items}], shell: ":", needs: [part]}}
"""
    page.go((carry_out(program, tmp_path, text) / "report.html").as_uri())
    shown = 'document.querySelector("#shown").textContent'
    everything = page.evaluate(shown)
    page.click('document.querySelector(".graph a[data-tasks]")')
    page.wait_for(f"{shown} !== {everything!r}", True)
    names = page.evaluate(NAMES)
    assert len({name.partition("[")[0] for name in names}) == 1, names
    page.press("Escape", 27)
    page.wait_for(shown, everything)


PARTS = """\
tasks:
  a: {shell: sleep 0.1}
  b: {each: [1, 2], shell: sleep 0.2, needs: [a]}
  c: {shell: sleep 0.1, needs: [b]}
  d: {shell: sleep 0.1, needs: [c]}
  e: {shell: sleep 0.1, needs: [d]}
"""


def test_the_critical_path_leads_through_what_consists_of_tasks(
    program: Path, tmp_path: Path, page: Page
) -> None:
    page.go((carry_out(program, tmp_path, PARTS) / "report.html").as_uri())
    edges = "document.querySelector('.edges.critical').getAttribute('d').split('M').length - 1"
    assert page.evaluate(edges) == 4, "into it, out of it, and on"


def test_a_graph_that_is_a_little_too_wide_is_made_smaller(program: Path, tmp_path: Path, page: Page) -> None:
    page.go((carry_out(program, tmp_path, PARTS) / "report.html").as_uri())
    widths = """[...document.querySelectorAll(".graph")].map(it => [it.clientWidth, it.scrollWidth])[0]"""
    declared = int(page.evaluate("document.querySelector('.graph svg').getAttribute('width')"))
    page.resize(1000, 800)
    inside, needed = page.evaluate(widths)
    assert declared > inside, "else it would fit as it is"
    assert needed == inside, "nothing has to be scrolled"
    page.resize(390, 800)
    inside, needed = page.evaluate(widths)
    assert needed > declared, "where it could not be read it is scrolled"


def test_no_time_counts_twice_where_a_task_consists_of_others(program: Path, tmp_path: Path) -> None:
    folder = carry_out(program, tmp_path, PARTS, "--jobs", "1")
    summary = json.loads(subprocess.check_output([program, "report", folder, "--json"], timeout=DEADLINE_S))
    assert summary["work_s"] <= summary["elapsed_s"], "one at a time"
    assert "b" not in [task["name"] for task in summary["slowest"]]


# --- the timeline ---------------------------------------------------------------------------------


def test_each_attempt_is_a_bar_and_the_delay_between_them_is_seen(report: Page) -> None:
    titles = """[...document.querySelectorAll(".chart a title")].map(it => it.textContent)
        .filter(it => it.startsWith("flaky")).map(it => it.split(";")[0])"""
    assert report.evaluate(titles) == [
        "flaky attempt 2 of 2 completed",
        "flaky attempt 1 of 2 failed",
    ], "what failed is drawn last, over its neighbours"
    places = """[".chart a rect.failed", ".chart line.delay", ".chart a rect.completed"].map(place => {
        const row = document.querySelector(".chart line.delay").getBoundingClientRect().top;
        const all = [...document.querySelectorAll(place)].map(it => it.getBoundingClientRect());
        const { left, right } = all.find(it => it.top - 1 <= row && row <= it.bottom + 1);
        return [left, right];
    })"""
    (_, failed_end), (delay_start, delay_end), (completed_start, _) = report.evaluate(places)
    assert failed_end == pytest.approx(delay_start, abs=3)
    assert delay_end == pytest.approx(completed_start, abs=3)
    assert delay_start < delay_end


def test_the_critical_path_is_marked_in_graph_and_timeline(report: Page) -> None:
    assert report.evaluate('document.querySelectorAll(".chart .critical").length') == 3
    assert (
        report.evaluate("document.querySelector('.edges.critical').getAttribute('d').split('M').length - 1")
        == 2
    )
    legend = 'document.querySelector(".timeline .legend").textContent'
    assert "critical path: 3 tasks, 1." in report.evaluate(legend)


def test_below_the_timeline_stands_how_many_ran_at_once(report: Page) -> None:
    label = 'document.querySelector(".load").getAttribute("aria-label")'
    most = int(report.evaluate(label).split()[2])
    assert 1 <= most <= 3
    sides = """[".chart", ".load"].map(it => document.querySelector(it).getBoundingClientRect())
        .map(it => [it.left, it.right])"""
    chart, load = report.evaluate(sides)
    assert chart == load, "they share an axis"


def test_a_reused_task_is_seen_where_that_was_known(program: Path, tmp_path: Path, page: Page) -> None:
    text = "tasks: {a: {shell: 'true', cache: true}, b: {shell: 'true', needs: [a]}}\n"
    carry_out(program, tmp_path, text)
    state = tmp_path / "state"
    command = [program, "run", tmp_path / "nightly.yaml", "--state-dir", state, "--report", "html"]
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S, cwd=tmp_path)
    newest = max((state / "runs").iterdir(), key=lambda folder: folder.name)
    page.go((newest / "report.html").as_uri())
    assert page.evaluate('document.querySelectorAll(".chart .reused").length') == 1
    page.click('document.querySelector(".chart .reused")')
    page.wait_for(SELECTED, selected("a"))
    assert "1 reused" in page.evaluate('document.querySelector(".timeline .legend").textContent')


# --- what it was given, and the runs before -------------------------------------------------------


def test_the_parameters_and_the_file_are_told(program: Path, tmp_path: Path, page: Page) -> None:
    text = "params: {day: {type: string, default: monday}, n: [1, 2]}\ntasks: {a: {shell: 'true'}}\n"
    folder = carry_out(program, tmp_path, text, "--param", "day=<b>tuesday</b>")
    page.go((folder / "report.html").as_uri())
    given = """[...document.querySelectorAll("#parameters .given div")].map(it =>
        [it.querySelector("dt").textContent, it.querySelector("code").textContent])"""
    assert page.evaluate(given) == [
        ["Workflow file", str(tmp_path / "nightly.yaml")],
        ["day", "<b>tuesday</b>"],
        ["n", "[1,2]"],
    ]


def test_the_runs_before_are_compared_with(program: Path, tmp_path: Path, page: Page) -> None:
    text = "params: {s: 0}\ntasks: {a: {shell: 'sleep ${{ params.s }}'}, b: {shell: 'true'}}\n"
    first = carry_out(program, tmp_path, text)
    page.go((first / "report.html").as_uri())
    assert page.evaluate("document.querySelector('#past')") is None, "there was none before"
    for seconds in ("0", "3"):
        command = [program, "run", tmp_path / "nightly.yaml", "--state-dir", tmp_path / "state"]
        argv = [*command, "--report", "html", "--param", f"s={seconds}"]
        subprocess.run(argv, check=True, capture_output=True, timeout=DEADLINE_S, cwd=tmp_path)
    newest = max((tmp_path / "state/runs").iterdir(), key=lambda folder: folder.name)
    page.go((newest / "report.html").as_uri())
    heights = """[...document.querySelectorAll(".spark rect")].map(it => it.getBoundingClientRect().height)"""
    bars = page.evaluate(heights)
    assert len(bars) == 3 and bars[2] == max(bars) > 30
    assert "times as long: the median of 2 runs before is" in page.evaluate(
        "document.querySelector('.past p').textContent"
    )
    changed = "document.querySelector('#past .also li').textContent"
    assert page.evaluate(changed).startswith("a 3."), "what changed most comes first"
    command = [program, "report", first, "--format", "html", "--state-dir", tmp_path / "state"]
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S, cwd=tmp_path)
    page.go((first / "report.html").as_uri())
    assert page.evaluate("document.querySelector('#past')") is None, "later runs were not before it"


def test_all_text_of_it_stands_out(report: Page) -> None:
    for scheme in ("light", "dark"):
        report.emulate_media(prefers_color_scheme=scheme)
        report.wait_for(FAINT, [])
