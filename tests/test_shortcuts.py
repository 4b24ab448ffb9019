"""The shortcuts as their users call them: a script, a command, a function, a line, several, in a row, in a loop."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dirigent
import pytest
from dirigent import Steps, aio, step

from tests.children import DEADLINE_S, Ledger, started, wait_for, write_script

PYTHON = sys.executable


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def script(name: str, body: str) -> Path:
    """A Python script in the working directory."""
    path = Path(f"{name}.py")
    path.write_text(body)
    return path


def outcomes(results: list[dict[str, Any]]) -> list[tuple[str, int | None]]:
    """Status and exit code of each result."""
    return [(result["status"], result["exit_code"]) for result in results]


# One thing


def test_a_script_gets_arguments_environment_and_folder(tmp_path: Path) -> None:
    path = script("show", "import os, sys; print(sys.argv[1:], os.environ.get('DAY'), os.getcwd())")
    there = tmp_path / "there"
    there.mkdir()
    result = dirigent.run(path, args=["--to", "a b"], env={"DAY": "monday"}, cwd=there)
    assert (result["status"], result["stdout"]) == ("passed", f"['--to', 'a b'] monday {there}\n")
    assert result["name"] == "show.py"
    assert dirigent.run(str(path))["stdout"].startswith("[] None")


def test_a_command_gets_its_words_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GONE", "here")
    words = ["a b", "$HOME", "it's", 'a "quote"', "*", ""]
    show = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ.get('GONE')]))"
    result = dirigent.run([PYTHON, "-c", show, *words[:3]], args=words[3:], env={"GONE": None})
    assert json.loads(result["stdout"]) == [words, None]
    assert dirigent.run(["false"])["status"] == "failed"
    assert dirigent.run(["no-such-program"])["status"] == "error"
    assert dirigent.run(["sleep", "600"], timeout=0.2)["status"] == "timeout"


def test_a_function_gets_arguments_environment_and_folder(tmp_path: Path) -> None:
    before = os.environ.copy(), os.getcwd()

    def show(*args: object) -> tuple[Any, ...]:
        return args, os.environ.get("DAY"), os.environ.get("XDG_STATE_HOME"), os.getcwd()

    env = {"DAY": "monday", "XDG_STATE_HOME": None}
    result = dirigent.run(show, args=[1, [2]], env=env, cwd=tmp_path)
    assert result["result"] == ((1, [2]), "monday", None, str(tmp_path)), result
    assert result["name"].endswith("show")
    assert (os.environ.copy(), os.getcwd()) == before


def test_a_coroutine_function_runs_in_a_process_of_its_own() -> None:
    async def where() -> int:
        await asyncio.sleep(0)
        return os.getpid()

    result = dirigent.run(where)
    assert result["status"] == "passed", result
    assert result["result"] != os.getpid()


@pytest.mark.parametrize(
    ("target", "options", "told"),
    [
        ("nowhere.py", {}, "there is no script"),
        ("echo hello", {}, "shell('echo hello')"),
        ([], {}, "empty"),
        ([""], {}, "empty"),
        (["head", "-n", 3], {}, 'write "3"'),
        (3, {}, "cannot be run"),
        (b"x", {}, "cannot be run"),
        (["true"], {"timeout": 0}, "above 0"),
        (["true"], {"timeout": "5"}, "number of seconds"),
        (["true"], {"timeout": True}, "number of seconds"),
        (["true"], {"args": "abc"}, "list of words"),
        (["true"], {"env": {"A": 1}}, 'write "1"'),
        (["true"], {"env": {"A=B": "1"}}, "name of an environment variable"),
        (["true"], {"env": ["A=1"]}, "mapping"),
        (print, {"args": "abc"}, "list of values"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(
    target: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(dirigent.UsageError) as caught:
        dirigent.run(target, **options)
    assert told in str(caught.value)


def test_unknown_options_raise() -> None:
    calls: list[Callable[..., object]] = [
        functools.partial(dirigent.run, ["true"]),
        functools.partial(dirigent.shell, "true"),
        functools.partial(dirigent.pipe, ["true"]),
        functools.partial(dirigent.batch, [["true"]]),
        functools.partial(dirigent.chain_scripts, []),
        functools.partial(dirigent.retry, print),
        functools.partial(Steps("x").add, "a", "true"),
        step,
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call(timeot=3)


def test_limits_may_be_differences_of_time() -> None:
    assert dirigent.run(["true"], timeout=timedelta(minutes=5))["status"] == "passed"
    assert dirigent.shell("true", timeout=None)["status"] == "passed"


# Shell


def test_a_line_of_shell_is_one(tmp_path: Path) -> None:
    line = 'printf "%s\\n" "$WORD" one | sort | tr "\\n" "," && pwd >&2'
    result = dirigent.shell(line, env={"WORD": "two; exit 3"}, cwd=tmp_path)
    assert (result["status"], result["stdout"], result["stderr"]) == (
        "passed",
        "one,two; exit 3,",
        f"{tmp_path}\n",
    )
    assert outcomes([dirigent.shell("exit 7")]) == [("failed", 7)]


def test_a_checked_line_raises_with_the_last_that_was_said() -> None:
    assert dirigent.shell("true", check=True)["status"] == "passed"
    with pytest.raises(dirigent.TaskFailedError) as caught:
        dirigent.shell("echo the reason >&2; exit 4", check=True)
    assert str(caught.value).endswith("failed with exit code 4\nthe reason")
    assert caught.value.code == "task.failed"
    with pytest.raises(TimeoutError) as late:
        dirigent.shell("sleep 600", timeout=0.2, check=True)
    assert isinstance(late.value, dirigent.TaskTimeoutError)
    for line in ("", "  ", ["ls"]):
        with pytest.raises(dirigent.UsageError):
            dirigent.shell(line)  # type: ignore[arg-type]


# Several things


def test_a_batch_runs_what_run_takes_and_keeps_the_order() -> None:
    path = script("show", "print('script')")
    results = dirigent.batch([path, ["echo", "command"], lambda: "function", ["false"], ["no-such-program"]])
    assert [result["status"] for result in results] == ["passed", "passed", "passed", "failed", "error"]
    assert [result["stdout"] for result in results[:2]] == ["script\n", "command\n"]
    assert results[2]["result"] == "function"
    assert dirigent.batch([]) == []


def test_so_many_of_a_batch_run_at_once_and_no_more() -> None:
    # Two that wait for each other end only if both run; and never are there three.
    note = "echo + >> log; {}; echo - >> log"
    met = "touch here.{0}; until [ -e here.{1} ]; do sleep 0.01; done"
    lines = [note.format(met.format(*pair)) for pair in ((0, 1), (1, 0), (2, 3), (3, 2))]
    results = dirigent.batch([["sh", "-c", line] for line in lines], workers=2, timeout=DEADLINE_S)
    assert [result["status"] for result in results] == ["passed"] * 4
    running = most = 0
    for sign in Path("log").read_text().split():
        running += 1 if sign == "+" else -1
        most = max(most, running)
    assert most == 2


def test_a_batch_is_looked_at_before_it_starts() -> None:
    wrong: list[Any] = ["missing.py", 3, []]
    for target in wrong:
        with pytest.raises(dirigent.UsageError):
            dirigent.batch([["touch", "started"], target])
    for workers in (0, -1, True, "2"):
        with pytest.raises(dirigent.UsageError):
            dirigent.batch([["touch", "started"]], workers=workers)  # type: ignore[arg-type]
    with pytest.raises(dirigent.UsageError):
        dirigent.batch("script.py")
    assert not Path("started").exists()


def test_what_cannot_be_tried_hides_no_other_result() -> None:
    lock = threading.Lock()
    results = dirigent.batch([["echo", "fine"], lambda: lock])
    assert [result["status"] for result in results] == ["passed", "error"]
    assert "cannot be sent" in results[1]["error"]


@pytest.mark.parametrize("call", ["batch([[stay]] * 2, workers=2)", "pipe([[stay], [stay]])", "run([stay])"])
def test_an_interrupted_program_leaves_nothing(ledger: Ledger, tmp_path: Path, call: str) -> None:
    stay = write_script(tmp_path / "stay", f"{ledger.sign}; exec sleep 600")
    code = f"import sys; from dirigent import *; stay = {str(stay)!r}; {call}"
    with started([PYTHON, "-c", code], stderr=-1) as program:
        ledger.wait_for(call.count("stay"))
        program.send_signal(signal.SIGINT)
        _, told = program.communicate(timeout=DEADLINE_S)
    assert "KeyboardInterrupt" in told
    wait_for("the end of all", lambda: not ledger.alive())


# Scripts in a row


def test_a_script_gets_what_the_one_before_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRIGENT_PREVIOUS_STDOUT", "of another chain")
    body = "import os, sys; sys.stdout.buffer.write(b'\\x00\\xff'); print('DIRIGENT_PREVIOUS_STDOUT' in os.environ)"
    first = script("first", body)
    body = """
import json, os
result = json.load(open(os.environ["DIRIGENT_PREVIOUS_RESULT"]))
print(open(os.environ["DIRIGENT_PREVIOUS_STDOUT"], "rb").read(), result["status"], result["name"])
"""
    results = dirigent.chain_scripts([first, script("second", body)])
    assert [result["status"] for result in results] == ["passed", "passed"], results
    assert results[1]["stdout"] == "b'\\x00\\xffFalse\\n' passed first.py\n"
    # The record is not what was handed on: nobody writes to it.
    log = results[0]["stdout_log"]["log"]
    assert Path(results[0]["folder"], log).read_bytes() == b"\x00\xffFalse\n"


def test_without_results_nothing_is_handed_on() -> None:
    show = "import os; print([name for name in os.environ if name.startswith('DIRIGENT_PREVIOUS')])"
    results = dirigent.chain_scripts([script("a", show), script("b", show)], pass_results=False)
    assert [result["stdout"] for result in results] == ["[]\n", "[]\n"]


def test_a_chain_of_scripts_ends_with_the_first_that_fails() -> None:
    paths = [script("a", ""), script("b", "raise SystemExit(3)"), script("c", "print('went on')")]
    results = dirigent.chain_scripts(paths)
    assert outcomes(results) == [("passed", 0), ("failed", 3), ("skipped", None)]
    assert "b.py" in results[2]["error"]
    assert results[2].keys() == results[0].keys()
    results = dirigent.chain_scripts(paths, stop_on_error=False)
    assert outcomes(results) == [("passed", 0), ("failed", 3), ("passed", 0)]
    late = [script("d", "import time; time.sleep(600)"), "missing.py"]
    assert [it["status"] for it in dirigent.chain_scripts(late, timeout_per_script=0.5)] == [
        "timeout",
        "skipped",
    ]
    assert dirigent.chain_scripts(["missing.py"])[0]["status"] != "passed"
    assert dirigent.chain_scripts([]) == []
    for wrong in ("a.py", [3]):
        with pytest.raises(dirigent.UsageError):
            dirigent.chain_scripts(wrong)  # type: ignore[arg-type]


def test_results_of_shortcuts_can_be_reported(tmp_path: Path) -> None:
    results = dirigent.pipe(["exit 3", "cat"]) + dirigent.chain_scripts([script("a", "1/0"), script("b", "")])
    results += dirigent.batch([["true"]])
    summary = dirigent.generate_report(results, tmp_path / "out", "r1")
    assert (summary["counts"]["failed"], summary["counts"]["skipped"]) == (2, 2), summary
    assert dirigent.save_log(results[1], tmp_path / "out", "r1").exists()


# In a running loop


WAIT_FOR_FILE = "until [ -e {0} ]; do sleep 0.01; done; echo seen"


@pytest.mark.parametrize("name", ["run", "run a function", "shell", "pipe", "batch", "chain_scripts"])
def test_the_loop_goes_on_meanwhile(name: str) -> None:
    line = WAIT_FOR_FILE.format("made")
    waiting = script(
        "wait", "import os, time\nwhile not os.path.exists('made'): time.sleep(0.01)\nprint('seen')"
    )

    def wait() -> None:
        while not os.path.exists("made"):
            time.sleep(0.01)
        print("seen")

    async def main() -> list[dict[str, Any]]:
        calls: dict[str, Callable[[], Any]] = {
            "run": lambda: aio.run(["sh", "-c", line], timeout=DEADLINE_S),
            "run a function": lambda: aio.run(wait, timeout=DEADLINE_S),
            "shell": lambda: aio.shell(line, timeout=DEADLINE_S),
            "pipe": lambda: aio.pipe([line, ["cat"]], timeout_per_command=DEADLINE_S),
            "batch": lambda: aio.batch([["sh", "-c", line]], timeout=DEADLINE_S),
            "chain_scripts": lambda: aio.chain_scripts([waiting], timeout_per_script=DEADLINE_S),
        }
        call = asyncio.ensure_future(calls[name]())
        await asyncio.sleep(0)
        Path("made").touch()  # a loop that is held up never comes here
        results = await call
        return results if isinstance(results, list) else [results]

    results = asyncio.run(main())
    assert [result["status"] for result in results] == ["passed"] * len(results)
    assert results[-1]["stdout"] == "seen\n"


def test_errors_come_through_the_loop_as_they_are() -> None:
    with pytest.raises(dirigent.UsageError):
        asyncio.run(aio.run("missing.py"))
    with pytest.raises(dirigent.TaskFailedError):
        asyncio.run(aio.shell("exit 3", check=True))
    with pytest.raises(dirigent.UsageError):
        asyncio.run(aio.batch(["missing.py"]))
    with pytest.raises(dirigent.TaskTimeoutError):
        asyncio.run(aio.shell("sleep 600", timeout=0.2, check=True))


def test_a_cancelled_caller_goes_on_at_once_and_what_it_started_ends(ledger: Ledger) -> None:
    async def main() -> None:
        call = asyncio.ensure_future(aio.shell(f"{ledger.sign}; exec sleep 600"))
        while not ledger.processes():
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert ledger.processes()

    asyncio.run(main())
    wait_for("its end", lambda: not ledger.alive(), DEADLINE_S)
