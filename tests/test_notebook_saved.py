"""A saved notebook: its last state, as a page in a real browser, with nothing in it that means something or is secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert.exporters.html import HTMLExporter

from tests.browser import Browser, Page
from tests.children import DEADLINE_S

SECRET = "s3cr3t-in-a-notebook"

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
CELL = f"""
import os, time
from dirigent import Workflow
name = {HOSTILE!r}
wf = Workflow(name, secrets={{"TOKEN": os.environ["HIDDEN"]}})
wf.add_task("first", time.sleep, args=(0.6,))
wf.add_command(name, ["sh", "-c", "echo $TOKEN '</pre><script>document.title=1</script>'; exit 3"],
    dependencies=["first"], secrets=["TOKEN"])
run = wf.run_sync()
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A notebook that was executed and saved, as text."""
    folder = tmp_path_factory.mktemp("saved")
    cells = [CELL, "run", "run.tasks[name]", "run.graph()"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIDDEN", SECRET)
        patch.setenv("DIRIGENT_STATE_DIR", str(folder / "state"))
        NotebookClient(notebook, timeout=int(DEADLINE_S), kernel_name="python3").execute(cwd=str(folder))
    return notebook


def test_a_saved_notebook_has_the_last_state_once_and_no_secret(saved: Any) -> None:
    line, picture = saved.cells[0].outputs
    assert "failed · 1 failed · 1 completed" in line["data"]["text/plain"]
    assert "running" not in line["data"]["text/plain"] and "<svg" in picture["data"]["text/html"]
    text = nbformat.writes(saved)
    assert SECRET not in text
    # It was printed, and is masked where the end of the output is shown.
    assert "***" in picture["data"]["text/html"]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """One in which something may go wrong: what nbconvert makes asks others for scripts, and nobody is there."""
    with browser.page() as page:
        yield page


@pytest.mark.needs("chromium")
def test_in_a_browser_hostile_names_stay_text(saved: Any, page: Page, tmp_path: Path) -> None:
    html, _ = HTMLExporter(template_name="lab").from_notebook_node(saved)  # type: ignore[no-untyped-call]
    (tmp_path / "page.html").write_text(html)
    page.go(f"file://{tmp_path}/page.html")
    cells = "[...document.querySelectorAll('.dirigent-cell')]"
    assert page.evaluate(f"{cells}.length") >= 4
    assert page.evaluate(f"{cells}.flatMap(cell => [...cell.querySelectorAll('img, script')]).length") == 0
    assert page.evaluate("document.title") not in ("owned", "1")
    assert HOSTILE in page.evaluate(f"{cells}[0].textContent")
    assert page.evaluate("document.querySelectorAll('.dirigent-cell svg').length") >= 2
    # What the page of the exporter itself wants from elsewhere is none of ours.
    assert not [url for url in page.requested if url.startswith(f"file://{tmp_path}/x")]


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("around", ["", "vscode-light", "vscode-dark"])
def test_each_output_is_whole_in_a_frame_of_its_own_that_runs_no_scripts(
    saved: Any, page: Page, around: str
) -> None:
    # Colab has a frame for each cell, VS Code one for all, whose body has a class.
    outputs = [output["data"] for cell in saved.cells for output in cell.outputs if "data" in output]
    shown = [data["text/html"] for data in outputs if "text/html" in data]
    assert len(shown) == 5 and all(data["text/plain"] for data in outputs)
    frames = [f"<body class='{around}'>{markup}" for markup in shown]
    page.evaluate(
        f"Promise.all({json.dumps(frames)}.map(srcdoc => new Promise(onload => document.body.append(Object.assign("
        "document.createElement('iframe'), {srcdoc, onload, sandbox: 'allow-same-origin'})))))"
    )
    bodies = "[...document.querySelectorAll('iframe')].map(it => it.contentDocument.body)"
    assert all(HOSTILE in text for text in page.evaluate(f"{bodies}.map(it => it.textContent)"))
    paper = "getComputedStyle(it.querySelector('svg .paper')).fill"
    papers = page.evaluate(f"{bodies}.filter(it => it.querySelector('svg')).map(it => {paper})")
    assert set(papers) == {"rgb(21, 25, 29)" if around == "vscode-dark" else "rgb(250, 249, 247)"}
    assert page.evaluate(f"{bodies}.every(it => it.scrollHeight > 20)")
    assert page.evaluate(f"{bodies}.flatMap(it => [...it.querySelectorAll('img, script, link')]).length") == 0
    assert [url for url in page.requested if not url.startswith("about:")] == []
