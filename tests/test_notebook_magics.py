"""``%load_ext dirigent`` in a real kernel: looking at recorded runs, and cells as tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernels import Kernel, kernel

BEGUN = "%load_ext dirigent\nfrom dirigent import Workflow\n"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Kernel]:
    with kernel(tmp_path, DIRIGENT_DISPLAY="none") as live:
        live.execute(BEGUN)
        yield live


def printed(live: Kernel, code: str) -> str:
    return "".join(m.content["text"] for m in live.execute(code) if m.kind == "stream")


def refused(live: Kernel, code: str) -> str:
    """What a cell says that fails."""
    messages = list(live.messages(live.begin(code)))
    assert live.status == "error"
    (error,) = [m for m in messages if m.kind == "error"]
    is_ours = error.content["ename"] == "UsageError"
    assert not is_ours or "_magics.py" not in "".join(error.content["traceback"])
    return f"{error.content['ename']}: {error.content['evalue']}"


def test_cells_become_tasks_that_get_the_values_of_their_needs(live: Kernel) -> None:
    live.execute("wf = Workflow('cells')\nfactor = 10")
    live.execute("%%task numbers\nimport math\nfound = [3, 1, 2]\nsorted(found)")
    live.execute("%%task scaled --needs numbers --workflow wf\n[number * factor for number in numbers]")
    live.execute("%%task waited --needs scaled\nimport asyncio\nawait asyncio.sleep(0)\nsum(scaled)")
    # Names are looked up when the task is called; what a cell assigns is its own.
    live.execute("factor = 100")
    assert live.value("run = await wf.run()\n(run['scaled'], run['waited'])") == "([100, 200, 300], 600)"
    assert live.value("'found' in globals() or 'math' in globals()") == "False"


def test_a_cell_that_is_run_again_changes_its_task(live: Kernel) -> None:
    live.execute("wf = Workflow('again')")
    live.execute("%%task one\n1")
    live.execute("%%task one\n2")
    assert live.value("wf.run_sync()['one']") == "2"
    assert "other needs" in refused(live, "%%task one --needs two\n2")
    # A workflow that is declared again has none of it.
    live.execute("wf = Workflow('again')")
    live.execute("%%task one --needs two\n3")
    live.execute("%%task two\n2")
    assert live.value("wf.run_sync()['one']") == "3"


def test_a_task_that_raises_names_the_line_of_its_cell(live: Kernel) -> None:
    live.execute("wf = Workflow('raises')")
    live.execute("%%task bad\nnothing = 0\n1 / nothing")
    messages = list(live.messages(live.begin("wf.run_sync().raise_for_failures()")))
    (error,) = [m for m in messages if m.kind == "error"]
    assert error.content["ename"] == "TaskFailedError" or "ZeroDivisionError" in error.content["ename"]
    assert "nothing" in "\n".join(error.content["traceback"])


def test_recorded_runs_are_looked_at_in_the_state_folder_of_the_notebook(live: Kernel) -> None:
    live.execute(
        "wf = Workflow('<b>seen</b>')\nwf.add_command('tells', ['echo', 'it was here'])\nwf.run_sync();"
    )
    assert "seen" in printed(live, "%dirigent runs")
    assert "tells" in printed(live, "%dirigent show last")
    assert "it was here" in printed(live, "%dirigent logs last tells")
    assert "tells" in printed(live, "%dirigent why tells")
    (picture,) = [m for m in live.execute("%dirigent graph last") if m.display or "display" in m.kind]
    assert "<svg" in picture.text("text/html") and "<b>" not in picture.text("text/html")
    assert "tells" in printed(live, "%dirigent graph last --format text")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("%dirigent", "name one of runs, show"),
        ("%dirigent gc", "`gc` is nothing that %dirigent does"),
        ("%dirigent show 'open", "cannot be split"),
        ("%dirigent show nosuchrun", "nosuchrun"),
        ("%dirigent runs --lmit 3", "--lmit"),
        ("%%task\n1", "%%task NAME"),
        ("%%task one --neds two\n1", "--neds"),
        ("%%task one\n1", "has no workflow"),
        (
            "a = Workflow('a')\nb = Workflow('b')\nget_ipython().run_cell_magic('task', 'one', '1')",
            "workflows a, b",
        ),
        ("%%task one --workflow gone\n1", "`gone` is no workflow"),
        ("w = Workflow('w')\nget_ipython().run_cell_magic('task', 'one', 'if')", "SyntaxError"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_do(live: Kernel, code: str, said: str) -> None:
    assert said in refused(live, code)


def test_the_cells_of_the_documentation_run_as_they_stand(live: Kernel) -> None:
    text = (Path(__file__).parent.parent / "docs" / "notebooks.md").read_text()
    cells = re.findall(r"^```ipython\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    live.execute("%reset -f")
    live.execute("import os\ndel os.environ['DIRIGENT_DISPLAY']")
    said = [live.execute(cell) for cell in cells]
    shown = [
        "".join(m.text() or m.content.get("text", "") for m in cell if m.kind != "status") for cell in said
    ]
    assert "✓ etl succeeded · 2 completed" in shown[0]
    assert "'succeeded'" in shown[1] and "etl" in shown[2] and "[10, 20, 30]" in shown[-1]
