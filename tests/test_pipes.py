"""Pipelines: what flows, who failed, and that nothing is left."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dirigent
import pytest

from tests.children import DEADLINE_S, Ledger, kinds, wait_for, write_script

PYTHON = sys.executable


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def outcomes(results: list[dict[str, Any]]) -> list[tuple[str, int | None]]:
    """Status and exit code of each result."""
    return [(result["status"], result["exit_code"]) for result in results]


def test_what_one_writes_the_next_reads() -> None:
    count = [PYTHON, "-c", "import sys; print(len(sys.stdin.buffer.read()))"]
    write = [PYTHON, "-c", "import sys; sys.stdout.buffer.write(b'\\x00\\xff\\n' * 1_000_000)"]
    results = dirigent.pipe([write, "cat", count])
    assert outcomes(results) == [("passed", 0)] * 3
    assert [result["stdout"] for result in results] == ["", "", "3000000\n"]
    assert results[0].keys() == dirigent.run(["true"]).keys()
    assert all(result["start_time"] and result["end_time"] for result in results)


def test_words_are_no_shell_and_lines_are() -> None:
    results = dirigent.pipe([["printf", "%s\\n", "$HOME", "a b'c\"d", ";|"], "sed 's/^/> /'"])
    assert results[-1]["stdout"] == "> $HOME\n> a b'c\"d\n> ;|\n"


def test_the_first_reads_nothing_and_one_command_is_a_pipeline() -> None:
    assert dirigent.pipe(["wc -c"], stop_on_error=False)[0]["stdout"].strip() == "0"


def test_all_run_at_once() -> None:
    # Each waits for a word of the other: the first one writes only when the second one is there.
    first = "until [ -e second ]; do sleep 0.01; done; echo word"
    results = dirigent.pipe([first, "touch second; cat"], timeout_per_command=DEADLINE_S)
    assert results[-1]["stdout"] == "word\n"


def test_each_has_its_own_standard_error_and_the_record_has_all() -> None:
    results = dirigent.pipe(["echo one >&2", "cat; echo two >&2", "cat; echo three >&2"])
    assert [result["stderr"] for result in results] == ["one\n", "two\n", "three\n"]
    log = Path(results[0]["folder"], "tasks/0/1/stderr.log").read_text()
    assert sorted(log.split()) == ["one", "three", "two"]


@pytest.mark.fault("C2", "a flood of errors in a pipeline")
def test_a_flood_of_errors_is_cut_off_and_holds_nobody_up() -> None:
    flood = [PYTHON, "-c", "import sys; sys.stderr.write('x' * 9_000_000); print('done')"]
    first, last = dirigent.pipe([flood, "cat"], timeout_per_command=DEADLINE_S)
    assert (first["status"], last["stdout"]) == ("passed", "done\n")
    assert len(first["stderr"]) < 6_000_000
    assert first["stderr"].endswith("log of the run]\n")


@pytest.mark.parametrize("failing", [["sh", "-c", "echo part; exit 3"], "echo part; kill -9 $$"])
def test_nobody_takes_what_a_failed_command_left_for_complete(failing: Any) -> None:
    results = dirigent.pipe([failing, "cat; touch complete", "cat"], timeout_per_command=DEADLINE_S)
    assert [result["status"] for result in results] == ["failed", "skipped", "skipped"]
    assert "because command 1" in results[1]["error"]
    assert not Path("complete").exists()


def test_without_stopping_all_run_to_their_ends_as_in_a_shell() -> None:
    results = dirigent.pipe(["echo part; exit 3", "cat; touch complete", "exit 4"], stop_on_error=False)
    assert outcomes(results)[::2] == [("failed", 3), ("failed", 4)]
    assert Path("complete").exists()


@pytest.mark.fault("C7", "a missing command in a pipeline")
def test_a_command_that_cannot_start_is_an_error_and_ends_the_others(ledger: Ledger) -> None:
    stay = f"{ledger.sign}; exec sleep 600"
    results = dirigent.pipe([stay, ["no-such-program"], stay], timeout_per_command=DEADLINE_S)
    assert [result["status"] for result in results] == ["skipped", "error", "skipped"]
    assert "no-such-program" in results[1]["error"]
    assert (results[2]["attempts"], results[2]["start_time"]) == (0, None)
    wait_for("the end of all", lambda: not ledger.alive())


def test_whom_nobody_listens_to_any_more_has_passed() -> None:
    results = dirigent.pipe([["yes"], "head -n 1"], timeout_per_command=DEADLINE_S)
    assert [result["status"] for result in results] == ["passed", "passed"]
    assert results[-1]["stdout"] == "y\n"
    # Unless whoever listened has failed: then it was not done.
    results = dirigent.pipe([["yes"], "read line; exit 5"], timeout_per_command=DEADLINE_S)
    assert [result["status"] for result in results] == ["skipped", "failed"]


def test_those_that_still_run_when_the_time_is_over_have_timed_out() -> None:
    for limit in (1, 4, 16, 64):  # as long as the machine needs for the first command
        results = dirigent.pipe(
            ["echo said >&2; echo word", "cat; exec sleep 600"], timeout_per_command=limit
        )
        assert results[1]["status"] == "timeout"
        if results[0]["status"] == "passed" and results[1]["stdout"]:
            break
    assert [result["status"] for result in results] == ["passed", "timeout"]
    assert (results[0]["stderr"], results[1]["stdout"]) == ("said\n", "word\n")


@pytest.mark.parametrize("kind", sorted(kinds(Ledger(Path("x")))))
@pytest.mark.parametrize("way", ["timeout", "failure"])
def test_nothing_of_a_pipeline_is_left(ledger: Ledger, tmp_path: Path, kind: str, way: str) -> None:
    body, count = kinds(ledger)[kind]
    stay = [str(write_script(tmp_path / "stay", body))]
    # The failure comes when all have signed, so that there is something to end.
    signed = f"[ $(wc -l < '{ledger.path}' || echo 0) -ge {2 * count} ] 2>/dev/null"
    last = f"until {signed}; do sleep 0.02; done; exit 3" if way == "failure" else "exec sleep 600"
    limit = DEADLINE_S if way == "failure" else 2.0
    results = dirigent.pipe([stay, stay, last], timeout_per_command=limit)
    expected = ["skipped", "skipped", "failed"] if way == "failure" else ["timeout"] * 3
    assert [result["status"] for result in results] == expected
    wait_for("the end of all", lambda: not ledger.alive())


def test_what_is_no_pipeline_is_refused() -> None:
    commands: list[Any] = [[], "ls | wc", [""], [[]], [3], [["echo", 3]]]
    for wrong in commands:
        with pytest.raises(dirigent.UsageError):
            dirigent.pipe(wrong)
    with pytest.raises(dirigent.UsageError):
        dirigent.pipe(["true"], timeout_per_command=-1)
