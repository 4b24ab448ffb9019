"""Graph and timeline in the page of a run, in a real browser: what they show, and that they and the table select together."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.browser import Page
from tests.children import DEADLINE_S, only_run

pytestmark = pytest.mark.needs("chromium")

WORKFLOW = """\
name: nightly
params:
  day: {type: string, default: monday}
tasks:
  fetch: {run: [sh, -c, "echo fetched"]}
  rates: {run: [sh, -c, "echo '<b>rates</b>'"]}
  clean: {run: [sh, -c, "sleep 0.2"], needs: [fetch, rates]}
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


@pytest.fixture
def report(program: Path, tmp_path: Path, page: Page) -> Page:
    """The page of a run of the workflow above, opened."""
    page.go((carry_out(program, tmp_path, WORKFLOW) / "report.html").as_uri())
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
    (tmp_path / "alone").mkdir()
    alone = carry_out(program, tmp_path / "alone", "tasks: {a: {shell: 'true'}, b: {shell: 'true'}}\n")
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
