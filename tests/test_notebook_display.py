"""A run in a notebook while it goes: what a real kernel sends, how often, how much, and for which cell."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernels import Kernel, Message, kernel

DECLARED = """
import time
from dirigent import Workflow, flow, task

def slow(seconds=0.1):
    time.sleep(seconds)

def chain(name, count, seconds=0.1):
    wf = Workflow(name)
    for i in range(count):
        wf.add_task(f"step{i}", slow, args=(seconds,), dependencies=[f"step{i - 1}"] if i else [])
    return wf
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel for all these tests."""
    with kernel(tmp_path_factory.mktemp("kernel")) as live:
        live.execute(DECLARED)
        yield live


def shown(messages: list[Message]) -> list[list[Message]]:
    """What each display showed, one after the other: the line first, then the picture."""
    displays: dict[str, list[Message]] = {}
    for message in messages:
        if message.display:
            displays.setdefault(message.display, []).append(message)
    for updates in displays.values():
        assert [m.kind for m in updates] == ["display_data"] + ["update_display_data"] * (len(updates) - 1)
    return list(displays.values())


def test_a_run_shows_where_it_stands_and_in_the_end_how_it_went(live: Kernel) -> None:
    line, picture = shown(live.execute("chain('etl', 10).run_sync();"))
    assert any("running" in m.text() and "now step" in m.text() for m in line[:-1])
    assert line[-1].text() == "✓ etl succeeded · 10 completed"
    assert "<svg" in picture[-1].text("text/html") and len(picture) > 1


def test_there_are_four_updates_a_second_at_most_and_none_where_nothing_changes(live: Kernel) -> None:
    line, _ = shown(live.execute("chain('many', 120, 0.02).run_sync();"))
    # The last one comes when the run ends, whenever that is.
    times = [m.made_s for m in line[:-1]]
    assert len(times) >= 3
    assert len(times) - 1 <= 4 * (times[-1] - times[0]) + 1
    line, picture = shown(live.execute("chain('still', 1, 2.0).run_sync();"))
    # One more where the task had not started at the first look.
    assert len(line) <= 3 and len(picture) <= 3


def test_a_flow_and_an_awaited_run_are_shown_too(live: Kernel) -> None:
    line, _ = shown(live.execute("await chain('awaited', 2, 0.01).run();"))
    assert line[-1].text() == "✓ awaited succeeded · 2 completed"
    line, _ = shown(
        live.execute(
            "@task\ndef one(x):\n    return x + 1\n@flow\ndef adds():\n    return one(one(1)).result()\nadds();"
        )
    )
    assert line[-1].text() == "✓ adds succeeded · 3 completed"


def test_a_run_in_the_background_is_shown_where_it_was_started(live: Kernel) -> None:
    started = live.begin("handle = chain('behind', 3, 0.5).start()")
    assert shown(list(live.messages(started))) == []
    waiting = live.begin("handle.wait(); later = True")
    seen = []
    for message in live.everything():
        seen.append(message)
        if message.parent == waiting and message.content.get("execution_state") == "idle":
            break
    displayed = [m for m in seen if m.display]
    assert displayed and {m.parent for m in displayed} == {started}


def test_a_failure_is_named_and_a_hostile_name_stays_text(live: Kernel) -> None:
    line, picture = shown(
        live.execute(
            "bad = Workflow('<img src=x onerror=alert(1)>\\u202e')\n"
            "bad.add_command('<img src=x onerror=alert(2)>', ['false'])\nbad.run_sync();"
        )
    )
    assert line[-1].text().endswith("1 failed · <img src=x onerror=alert(2)> failed with exit code 1")
    for message in (line[-1], picture[-1]):
        assert "<img" not in message.text("text/html") and "\u202e" not in str(message.content)


def test_the_cell_that_shows_a_run_does_not_draw_its_value_again(live: Kernel) -> None:
    messages = live.execute("run = chain('once', 2, 0.01).run_sync()\nrun")
    (result,) = [m for m in messages if m.kind == "execute_result"]
    assert set(result.content["data"]) == {"text/plain"}
    messages = live.execute("run = chain('large', 5_001, 0).run_sync()\nrun")
    (result,) = [m for m in messages if m.kind == "execute_result"]
    assert "<svg" in result.text("text/html")
    (result,) = [m for m in live.execute("run") if m.kind == "execute_result"]
    assert "<svg" in result.text("text/html")


def test_what_large_runs_send_stays_below_one_megabyte(live: Kernel) -> None:
    code = (
        "wide = Workflow('wide')\n"
        "for i in range(200):\n"
        "    needs = [f'task{i // 3}' + 'x' * 200] if i else []\n"
        "    wide.add_task(f'task{i}' + 'x' * 200, slow, args=(0.05,), dependencies=needs)\n"
        "wide.max_concurrency = 4\nwide.run_sync();"
    )
    messages = live.execute(code)
    line, picture = shown(messages)
    assert "200 completed" in line[-1].text() and "<svg" in picture[-1].text("text/html")
    assert picture[-1].text("text/html").count('class="task ') == 200
    assert sum(m.size_bytes for m in messages if m.display) < 1_000_000


def test_of_many_tasks_stages_are_shown_and_of_a_great_many_the_line(live: Kernel) -> None:
    messages = live.execute("chain('long', 201, 0.01).run_sync();")
    line, picture = shown(messages)
    assert line[-1].text() == "✓ long succeeded · 201 completed"
    first, last = (picture[at].text("text/html") for at in (0, -1))
    assert 'class="folded running"' in first and 'class="folded completed"' in last
    assert 'class="task ' not in last and "201 tasks folded into" in last
    assert sum(m.size_bytes for m in messages if m.display) < 1_000_000
    (line,) = shown(live.execute("chain('longer', 5_001, 0).run_sync();"))
    assert line[-1].text() == "✓ longer succeeded · 5,001 completed"


def test_runs_within_tasks_and_in_memory_are_not_shown(live: Kernel) -> None:
    inner = "Workflow('outer').add_task('inner', lambda: chain('inner', 2).run_sync().ok).run_sync();"
    assert len(shown(live.execute(inner))) == 2
    assert shown(live.execute("chain('memory', 2).run_sync(durability='none');")) == []


def test_it_is_switched_off_by_a_variable_whose_value_is_checked(live: Kernel) -> None:
    try:
        live.execute("%env DIRIGENT_DISPLAY=none")
        assert shown(live.execute("chain('quiet', 2, 0.3).run_sync();")) == []
        live.execute("%env DIRIGENT_DISPLAY=off")
        code = (
            "try:\n    chain('odd', 2).run_sync()\nexcept dirigent.ConfigError as e:\n    told = str(e)\ntold"
        )
        assert "DIRIGENT_DISPLAY is `live` or `none`, not 'off'" in live.value("import dirigent\n" + code)
    finally:
        live.execute("import os; del os.environ['DIRIGENT_DISPLAY']")


def test_outside_of_a_kernel_nothing_is_shown_and_nothing_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom dirigent import Workflow\nWorkflow('plain').add_task('one', int).run_sync()\n"
        "assert not {'IPython', 'html', 'dirigent._cell'} & set(sys.modules)\n"
        # A shell of IPython without a kernel is none of our business either.
        "from IPython.core.interactiveshell import InteractiveShell\nInteractiveShell.instance()\n"
        "Workflow('shell').add_task('one', int).run_sync()\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DIRIGENT_STATE_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_everything_that_a_cell_ends_with_shows_itself_and_hostile_names_stay_text(live: Kernel) -> None:
    live.execute(
        "import dirigent\nevil = '<img src=x onerror=alert(1)>\\u202e'\nall = Workflow(evil)\n"
        "all.add_task(evil, int, tags=[evil]).add_command('command', ['true', evil], dependencies=[evil])\n"
        "all.add_map('map', str, over=[evil]).add_approval('asks', evil, dependencies=['map'])\n"
        "handle = all.start()\nwhile 'waiting' not in handle._session.statuses(): time.sleep(0.01)\n"
        "handle.approve('asks')\nrun = handle.wait()"
    )
    seen = {
        "all": "<svg",
        "all.graph()": "<svg",
        "handle": "<svg",
        "dirigent.attach()": "<svg",
        "all.tasks[evil]": "function int",
        "all.tasks['command']": "command true · needs",
        "all.tasks['map']": "consists of tasks",
        "all.tasks['asks']": "approval: &lt;img",
        "run.tasks[evil]": "succeeded",
        "run.table()": "<td>command</td>",
        "run.table('events')": "run_ended",
        "dirigent.runs()": "<th>workflow</th>",
        "run.profile()": "asks",
    }
    for code, words in seen.items():
        (shown,) = [m for m in live.execute(code) if m.kind == "execute_result"]
        markup = shown.text("text/html")
        assert words in markup, code
        assert "<img" not in markup and "\u202e" not in str(shown.content), code
