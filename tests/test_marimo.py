"""A notebook of marimo: its own kernel carries it out, and what it exports is what it would show."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.children import DEADLINE_S

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
NOTEBOOK = f"""
import marimo
app = marimo.App()

@app.cell
def declared():
    import json, time
    import marimo as mo
    from dirigent import Workflow

    sent = []
    replace = mo.output.replace

    def noted(value):
        sent.append((time.monotonic(), value.text))
        replace(value)

    mo.output.replace = noted
    name = {HOSTILE!r}
    wf = Workflow(name)
    wf.add_task("first", time.sleep, args=(0.7,))
    wf.add_task(name, time.sleep, args=(0.7,), dependencies=["first"])
    return Workflow, json, mo, name, sent, time, wf

@app.cell
def shows_the_workflow(wf):
    wf

@app.cell
def shows_a_run_while_it_goes(wf):
    run = wf.run_sync()
    return (run,)

@app.cell
def shows_the_run(run):
    run

@app.cell
def shows_a_result(name, run):
    run.tasks[name]

@app.cell
def shows_what_was_sent(json, mo, run, sent):
    mo.plain_text("sent" + json.dumps(sent))

@app.cell
def shows_a_run_in_the_background(Workflow):
    handle = Workflow("behind").add_task("one", int).start()
    ended = handle.wait()
    return (handle,)

@app.cell
async def shows_an_awaited_run(Workflow):
    awaited = await Workflow("awaited").add_task("one", int).run()
    return (awaited,)

@app.cell
def shows_a_widget(awaited):
    awaited.widget()

if __name__ == "__main__":
    app.run()
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each cell shows, as the page has it that marimo makes of an executed notebook."""
    folder = tmp_path_factory.mktemp("marimo")
    (folder / "notebook.py").write_text(NOTEBOOK)
    export = ["-m", "marimo", "-y", "export", "html", "notebook.py", "-o", "notebook.html"]
    homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")}
    done = subprocess.run(
        [sys.executable, *export],
        cwd=folder,
        env={**os.environ, **homes, "DIRIGENT_STATE_DIR": str(folder / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    page = (folder / "notebook.html").read_text()
    session, _ = json.JSONDecoder().raw_decode(re.split(r'"session":\s*', page)[1])
    return ["".join(map(shown, cell["outputs"])) for cell in session["cells"]]


def shown(output: dict[str, Any]) -> str:
    """The markup of an output."""
    data = output["data"]
    markup = data.get("application/vnd.marimo+mimebundle", data).get("text/html", "")
    return str(markup)


def test_workflows_runs_and_results_are_pictures_in_which_names_are_text(cells: list[str]) -> None:
    _, workflow, _, run, result, *_ = cells
    for markup in (workflow, run):
        assert "<svg" in markup and "&lt;img src=x" in markup
    assert "&lt;img src=x" in result and "succeeded" in result
    assert not [markup for markup in cells if "<img" in markup]


def test_a_run_is_shown_while_it_goes_and_in_the_end_how_it_went(cells: list[str]) -> None:
    live, told = cells[2], cells[5]
    assert "succeeded · 2 completed" in live and "<svg" in live
    sent = json.loads("".join(re.findall(r"sent(\[.*\])", html.unescape(told))))
    assert "running" in sent[0][1] and "<svg" in sent[0][1] and "succeeded" in sent[-1][1]
    times = [at for at, _ in sent[:-1]]
    assert len(times) >= 2 and len(times) - 1 <= 4 * (times[-1] - times[0]) + 1


def test_a_run_in_the_background_and_an_awaited_one_are_shown_in_their_cells(cells: list[str]) -> None:
    assert "behind</b> succeeded" in cells[6] and "awaited</b> succeeded" in cells[7]


def test_a_widget_is_one_of_marimo(cells: list[str]) -> None:
    assert "<marimo-anywidget" in cells[8]
