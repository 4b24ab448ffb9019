"""``run_function``: whatever a function does, its caller gets an answer."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dirigent
import pytest

from tests.children import Ledger


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def test_a_function_gives_its_result_and_what_it_printed() -> None:
    factor = 3

    def work(x: int, *, y: int) -> dict[str, int]:
        print("working")
        return {"answer": x * y * factor}

    result = dirigent.run_function(work, (2,), {"y": 7})
    assert (result["status"], result["result"], result["error_type"]) == ("passed", {"answer": 42}, None)
    assert result["stdout"] == "working\n"
    assert result["name"].endswith("work")
    assert dirigent.run_function(lambda: factor)["result"] == 3
    assert dirigent.run_function(max, (1, 5))["result"] == 5


def test_an_exception_is_a_failure_with_its_class_and_text() -> None:
    def work() -> None:
        raise LookupError("no such row")

    result = dirigent.run_function(work)
    assert (result["status"], result["error_type"], result["result"]) == ("failed", "LookupError", None)
    assert "no such row" in result["error"]
    assert "LookupError: no such row" in result["stderr"]


def exits() -> dict[str, tuple[Callable[[], object], str | None]]:
    """Functions that end in their own ways, with the class that is told where there is one."""

    class Own(BaseException):
        pass

    def throw(error: BaseException) -> Callable[[], object]:
        def work() -> None:
            raise error

        return work

    def leave(code: int) -> Callable[[], object]:
        def work() -> None:
            os._exit(code)

        return work

    def crash() -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    return {
        "SystemExit(0)": (throw(SystemExit(0)), "SystemExit"),
        "SystemExit(text)": (throw(SystemExit("x")), "SystemExit"),
        "SystemExit()": (throw(SystemExit()), "SystemExit"),
        "KeyboardInterrupt": (throw(KeyboardInterrupt()), "KeyboardInterrupt"),
        "GeneratorExit": (throw(GeneratorExit()), "GeneratorExit"),
        "own BaseException": (throw(Own("mine")), "Own"),
        "os._exit(0)": (leave(0), None),
        "os._exit(3)": (leave(3), None),
        "SIGSEGV": (crash, None),
    }


@pytest.mark.fault("P1", "every kind of end, of `run_function`")
@pytest.mark.parametrize("way", exits())
def test_no_way_of_ending_is_a_silent_success(way: str) -> None:
    work, error_type = exits()[way]
    result = dirigent.run_function(work)
    assert (result["status"], result["result"]) == ("failed", None), result
    assert result["error_type"] == error_type
    assert result["error"]


def test_a_result_that_cannot_be_sent_names_the_part() -> None:
    def work() -> dict[str, Any]:
        import threading

        return {"rows": [1, 2, {"lock": threading.Lock()}]}

    result = dirigent.run_function(work)
    assert result["status"] == "failed"
    assert "result['rows'][2]['lock']" in result["error"]


@pytest.mark.fault("P2", "results whose own code raises, of `run_function`")
def test_results_with_code_of_their_own_that_raises_are_failures_and_no_more() -> None:
    class Unsendable:
        def __reduce__(self) -> str:
            raise RuntimeError("not me")

    class Unreadable:
        def __reduce__(self) -> tuple[Any, ...]:
            return (int, ("no number",))

    result = dirigent.run_function(lambda: [Unsendable()])
    assert result["status"] == "failed" and "result[0]" in result["error"], result["error"]
    result = dirigent.run_function(lambda: Unreadable())
    assert (result["status"], result["error_type"]) == ("failed", "ValueError")


def test_a_result_whose_text_cannot_be_made_is_still_a_result() -> None:
    class Mute:
        def __init__(self) -> None:
            self.value = 7

        def __repr__(self) -> str:
            raise RuntimeError("no text")

    result = dirigent.run_function(Mute)
    assert result["status"] == "passed"
    assert result["result"].value == 7


def test_a_result_that_hangs_when_it_is_thrown_away_holds_nothing_up() -> None:
    class Clinging:
        def __del__(self) -> None:
            import os
            import time

            # Only over there: this process shall not hang when it lets go of its copy.
            if os.getpid() == self.made_in:
                time.sleep(600)

        def __init__(self) -> None:
            import os

            self.made_in = os.getpid()

    result = dirigent.run_function(Clinging, timeout=60)
    assert result["status"] == "passed", result
    assert result["execution_time"] < 50


@pytest.mark.fault("P2", "a value that hangs while it is pickled")
def test_a_result_that_hangs_when_it_is_sent_runs_out_of_time() -> None:
    class Stuck:
        def __reduce__(self) -> str:
            import time

            time.sleep(600)
            return ""

    assert dirigent.run_function(lambda: Stuck(), timeout=2)["status"] == "timeout"


def test_a_deeply_nested_result_is_answered() -> None:
    def work() -> list[Any]:
        nested: list[Any] = []
        for _ in range(100_000):
            nested = [nested]
        return nested

    result = dirigent.run_function(work)
    assert result["status"] == "failed"
    assert "cannot be sent" in result["error"]


def test_a_big_result_arrives_whole() -> None:
    result = dirigent.run_function(lambda: bytes(48 << 20), timeout=120)
    assert result["status"] == "passed", result["error"]
    assert len(result["result"]) == 48 << 20


def test_a_function_that_hangs_is_ended_with_all_it_started(ledger: Ledger) -> None:
    line = f"{ledger.sign}; exec sleep 600"

    def work() -> None:
        import time

        subprocess.Popen(["setsid", "sh", "-c", line])
        time.sleep(600)

    # A loaded machine may need longer than the limit before the function has started anything.
    for timeout in (2, 10, 60):
        result = dirigent.run_function(work, timeout=timeout)
        assert result["status"] == "timeout"
        assert not ledger.alive()
        if ledger.processes():
            return
    raise AssertionError("nothing was ever started")


def test_what_a_function_leaves_running_is_ended(ledger: Ledger, tmp_path: Path) -> None:
    line, signed = f"{ledger.sign}; exec sleep 600", str(ledger.path)

    def work() -> str:
        import os
        import time

        subprocess.Popen(["setsid", "sh", "-c", line])
        while not (os.path.exists(signed) and os.path.getsize(signed)):
            time.sleep(0.01)
        return "done"

    result = dirigent.run_function(work)
    assert (result["status"], result["result"]) == ("passed", "done")
    assert len(ledger.processes()) == 1 and not ledger.alive()


def test_a_function_that_cannot_be_sent_is_an_error_of_the_caller() -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match="cannot be sent"):
        dirigent.run_function(lambda: lock)
    with pytest.raises(dirigent.UsageError):
        dirigent.run_function(max, (1, 2), timeout=0)
