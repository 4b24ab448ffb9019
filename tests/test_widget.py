"""The widget of a run: a real kernel, told what a front end tells it when somebody presses a button."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import DEADLINE_S, Process, lives, stat_of, wait_for
from tests.kernels import Kernel, Message, kernel

HOSTILE = "<img src=x onerror=alert(1)>\u202e"
DECLARED = f"""
import dirigent, pathlib, time
from dirigent import Workflow, WorkflowError

HOSTILE = {HOSTILE!r}

def once():
    with open("onces", "a") as file:
        file.write("x")
    return 7

def until_there(once):
    if not pathlib.Path("there").exists():
        raise LookupError("not there")
    return once + 1
"""
SLEEPS = "test -e go || {{ echo $$ > {0}.pid; sleep 600; }}"


class Widget:
    """A widget in a kernel, as its front end has it: what it was sent so far, and what it sends."""

    def __init__(self, live: Kernel, code: str) -> None:
        self._live = live
        self.messages = live.execute(code)
        opened = next(m for m in self.messages if m.kind == "comm_open" and "_esm" in str(m.content))
        self.comm = str(opened.content["comm_id"])
        self.state: dict[str, Any] = {}
        for message in self.messages:
            self._take(message)

    def _take(self, message: Message) -> None:
        if message.content.get("comm_id") == self.comm:
            self.state.update(message.content["data"].get("state", {}))

    @property
    def stands(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.state["stands"])
        return found

    def press(self, **asked: Any) -> None:
        """What a button sends."""
        self._live.tell(self.comm, asked)

    def wait_for(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait for the widget to stand so."""
        messages = self._live.everything()
        while not condition(self.stands):
            message = next(messages)
            self.messages.append(message)
            self._take(message)
        return self.stands

    def place(self, name: str) -> int:
        """The place of a task of which something may be asked."""
        stands = self.wait_for(lambda stands: any(task["name"] == name for task in stands["tasks"]))
        return int(next(task["place"] for task in stands["tasks"] if task["name"] == name))


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Kernel]:
    with kernel(tmp_path) as live:
        live.execute(DECLARED)
        yield live


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the kernel records, for programs that are started beside it."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def sleeper(file: Path) -> Process:
    """The process that wrote its id into a file, and sleeps."""
    pid = int(wait_for(f"{file.name}", lambda: file.exists() and file.read_text().strip()))
    return Process(pid, stat_of(pid)[19])


def has_ended(verdict: str) -> Callable[[dict[str, Any]], bool]:
    return lambda stands: f" {verdict} · " in stands["line"]


def test_cancel_ends_the_run_of_this_kernel_and_its_processes(live: Kernel, tmp_path: Path) -> None:
    widget = Widget(
        live,
        f"wf = Workflow('slow').add_shell('sleeps', {SLEEPS.format('a')!r})\n"
        "handle = wf.start()\nwidget = handle.widget()\nwidget",
    )
    process = sleeper(tmp_path / "a.pid")
    assert widget.stands["ask"] == "cancel"
    widget.press(ask="cancel")
    stands = widget.wait_for(has_ended("cancelled"))
    assert (stands["notice"], stands["ask"], stands["tasks"]) == ("asked to end the run", "retry", [])
    wait_for("the end of the process", lambda: not lives(process))
    assert live.value("(handle.wait().verdict, dirigent.runs()[0].status)") == "('cancelled', 'cancelled')"
    # The widget stands in for the live picture.
    assert not [m for m in widget.messages if m.display]


def test_one_task_is_ended_and_the_others_go_on(live: Kernel, tmp_path: Path) -> None:
    widget = Widget(
        live,
        f"wf = Workflow('two', fail_fast=False).add_shell('one', {SLEEPS.format('one')!r})\n"
        f"wf.add_shell('other', {SLEEPS.format('other')!r})\nhandle = wf.start()\nhandle.widget()",
    )
    one, other = sleeper(tmp_path / "one.pid"), sleeper(tmp_path / "other.pid")
    widget.press(ask="cancel", task=widget.place("one"))
    widget.wait_for(lambda stands: [task["name"] for task in stands["tasks"]] == ["other"])
    wait_for("the end of the process", lambda: not lives(one))
    assert lives(other)
    widget.press(ask="cancel")
    widget.wait_for(lambda stands: stands["ask"] == "retry")
    wait_for("the end of the process", lambda: not lives(other))


def test_a_task_that_waits_is_approved_or_rejected_and_its_name_stays_text(live: Kernel) -> None:
    widget = Widget(
        live,
        "wf = Workflow(HOSTILE, fail_fast=False).add_approval('first', 'Publish ' + HOSTILE)\n"
        "wf.add_approval(HOSTILE, 'Well?')\nwf.add_task('published', int, dependencies=['first'])\n"
        "handle = wf.start()\nhandle.widget()",
    )
    first, second = widget.place("first"), widget.place(HOSTILE.replace("\u202e", "\\u{202e}"))
    asked = {task["place"]: task for task in widget.stands["tasks"]}
    assert asked[first]["prompt"].startswith("Publish <img") and "\u202e" not in str(widget.state)
    widget.press(ask="approve", task=first, comment="looks good")
    widget.wait_for(lambda stands: stands["notice"] == "approved first")
    widget.press(ask="reject", task=second, comment="not this one")
    widget.wait_for(has_ended("failed"))
    assert "<img" not in widget.state["picture"] and "&lt;img" in widget.state["picture"]
    assert live.value("sorted(handle.wait())") == "['first', 'published']"
    events = "[e['comment'] for e in handle.wait().events() if e['kind'] == 'wait_answered']"
    assert live.value(events) == "['looks good', 'not this one']"


def test_a_run_of_another_process_is_answered_with_a_value_and_ended(
    live: Kernel, program: Path, state: Path, tmp_path: Path
) -> None:
    (tmp_path / "ask.yaml").write_text(
        "name: asks\ntasks:\n  day: {signal: 'Which day?'}\n"
        '  told: {run: [echo, "${{ tasks.day.value.on }}"], needs: [day]}\n'
        f"  sleeps: {{shell: '{SLEEPS.format('b')}', needs: [told]}}\n"
    )
    other = subprocess.Popen([program, "run", "ask.yaml"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_for("a run", lambda: live.value("[run.status for run in dirigent.runs()]") == "['running']")
    widget = Widget(live, "dirigent.attach().widget()")
    day = widget.place("day")
    assert next(task for task in widget.stands["tasks"])["wants_value"]
    widget.press(ask="approve", task=day)
    widget.wait_for(lambda stands: "waits for a value" in stands["notice"])
    widget.press(ask="signal", task=day, value='{"on": "monday"}')
    widget.wait_for(lambda stands: stands["notice"] == "told day its value")
    process = sleeper(tmp_path / "b.pid")
    assert live.value("dirigent.attach()['told'].stdout") == "'monday\\n'"
    widget.place("sleeps")
    widget.press(ask="cancel")
    widget.wait_for(has_ended("cancelled"))
    assert other.wait(DEADLINE_S) != 0 and not lives(process)


def test_what_failed_is_run_again_with_the_functions_of_this_kernel(live: Kernel, tmp_path: Path) -> None:
    code = (
        "wf = Workflow('again').add_task('once', once)\n"
        "wf.add_task('until_there', until_there, dependencies=['once'])\n"
        "run = wf.run_sync()\nwidget = run.widget()\nwidget"
    )
    widget = Widget(live, code)
    assert widget.stands["ask"] == "retry" and "failed" in widget.stands["line"]
    old = live.value("run.id")
    (tmp_path / "there").touch()
    widget.press(ask="retry")
    widget.wait_for(has_ended("succeeded"))
    assert widget.stands["notice"] == f"runs again what failed in run {old[1:-1]}"
    assert widget.stands["ask"] is None
    assert (tmp_path / "onces").read_text() == "x"
    assert (
        live.value("new = dirigent.attach()\n(new.id == widget.run_id, new.id != run.id)") == "(True, True)"
    )
    assert live.value("[e['from'] == run.id for e in new.events() if e['kind'] == 'task_reused']") == "[True]"


def test_what_failed_is_run_again_by_the_program_where_no_function_is_needed(
    live: Kernel, program: Path, state: Path, tmp_path: Path
) -> None:
    (tmp_path / "file.yaml").write_text(
        "name: file\ntasks:\n  first: {shell: 'echo x >> onces'}\n"
        f"  second: {{shell: 'test -e there || exit 3; {SLEEPS.format('c')}', needs: [first]}}\n"
    )
    assert (
        subprocess.run([program, "run", "file.yaml"], cwd=tmp_path, stderr=subprocess.DEVNULL).returncode == 1
    )
    widget = Widget(live, "widget = dirigent.attach().widget()\nwidget")
    assert widget.stands["ask"] == "retry"
    (tmp_path / "there").touch()
    widget.press(ask="retry")
    widget.place("second")
    process = sleeper(tmp_path / "c.pid")
    assert (tmp_path / "onces").read_text() == "x\n"
    # It ends with the kernel, as all that was started there.
    engine = live.children()
    live.restart()
    wait_for("the end of all that ran", lambda: not any(map(lives, [process, *engine])))


def test_what_cannot_be_is_said_and_the_widget_goes_on(live: Kernel) -> None:
    code = (
        "@dirigent.flow\ndef fails():\n    raise ValueError('no')\n"
        "handle = fails.submit()\nrun = handle.run.wait()\nrun.widget()"
    )
    widget = Widget(live, code)
    refused: dict[str, dict[str, Any]] = {
        "Python function": {"ask": "retry"},
        "is not running": {"ask": "cancel"},
        "waits for no answer": {"ask": "approve", "task": 0},
        "nothing like": {"ask": "gc"},
        "'task'": {"ask": "reject"},
    }
    for said, asked in refused.items():
        widget.press(**asked)
        widget.wait_for(lambda stands, said=said: said in stands["notice"])  # type: ignore[misc]


def test_a_widget_sends_little_and_a_front_end_without_widgets_has_the_picture(live: Kernel) -> None:
    code = (
        "wf = Workflow('many')\nfor i in range(120):\n"
        "    wf.add_task(f'step{i}', time.sleep, args=(0.02,), dependencies=[f'step{i - 1}'] if i else [])\n"
        "handle = wf.start()\nwidget = handle.widget()"
    )
    widget = Widget(live, code)
    widget.wait_for(has_ended("succeeded"))
    updates = [m for m in widget.messages if m.content.get("comm_id") == widget.comm and m.kind == "comm_msg"]
    times = [m.made_s for m in updates if "stands" in m.content["data"]["state"]][:-1]
    assert len(times) >= 3 and len(times) - 1 <= 4 * (times[-1] - times[0]) + 1
    assert sum(m.size_bytes for m in updates) < 1_000_000
    (shown,) = [m for m in live.execute("widget") if m.kind == "execute_result"]
    assert shown.text() == "✓ many succeeded · 120 completed" and "<svg" in shown.text("text/html")
    assert "application/vnd.jupyter.widget-view+json" in shown.content["data"]


def test_a_closed_widget_leaves_no_thread_and_the_run_goes_on(live: Kernel, tmp_path: Path) -> None:
    Widget(
        live,
        f"import threading\nhandle = Workflow('on').add_shell('a', {SLEEPS.format('d')!r}).start()\n"
        "widget = handle.widget()",
    )
    process = sleeper(tmp_path / "d.pid")
    live.execute("widget.close()")
    threads = "any(thread.name == 'dirigent-widget' for thread in threading.enumerate())"
    wait_for("the end of the thread", lambda: live.value(threads) == "False")
    assert lives(process)
    live.execute("handle.kill(); handle.wait()")


def test_a_run_in_memory_has_no_widget(live: Kernel) -> None:
    code = (
        "handle = Workflow('memory').add_task('one', int).start(durability='none')\nsaid = []\n"
        "for run in (handle, handle.wait()):\n    try:\n        run.widget()\n"
        "    except dirigent.UsageError as error:\n        said.append(str(error))\nsaid"
    )
    assert live.value(code).count("kept in memory only has no widget") == 2


@pytest.mark.parametrize("lacks", ["anywidget", "ipywidgets"])
def test_without_anywidget_asking_for_a_widget_says_what_to_install(tmp_path: Path, lacks: str) -> None:
    code = (
        f"import sys\nsys.modules[{lacks!r}] = None\nimport dirigent\n"
        "run = dirigent.Workflow('plain').add_task('one', int).run_sync()\nassert run.ok\n"
        "assert not {'anywidget', 'traitlets'} & (set(sys.modules) - {'anywidget'})\n"
        "try:\n    run.widget()\nexcept dirigent.NotFoundError as error:\n    print(error.code, error)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DIRIGENT_STATE_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
    )
    assert told.stderr == ""
    assert told.stdout.startswith(
        f"usage.not_installed a widget needs anywidget, and {lacks} is not installed"
    )
    assert "pip install 'dirigent[widgets]'" in told.stdout
