"""Tasks that need not run again: what counts, what is put back, and what a person is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dirigent import Cache, UsageError, Workflow

from tests.children import DEADLINE_S


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(folder))
    return folder


class Ledger:
    """Notes which functions were really called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def taken(self) -> list[str]:
        calls, self.calls = sorted(self.calls), []
        return calls


LEDGER = Ledger()


def load(day: str) -> dict[str, object]:
    LEDGER.calls.append(f"load {day}")
    return {"day": day, "rows": [1, 2, 3]}


def double(load: dict[str, Any]) -> tuple[int, ...]:
    LEDGER.calls.append("double")
    return tuple(2 * row for row in load["rows"])


def workflow(day: str = "monday", second: Callable[..., object] = double, **cache: Any) -> Workflow:
    wf = Workflow("etl").add_task("load", load, args=(day,), cache=Cache(**cache) if cache else True)
    return wf.add_task("second", second, ["load"], cache=True).add_task(
        "after", lambda second: second, ["second"]
    )


def test_what_has_not_changed_is_not_done_again_and_gives_the_same_values() -> None:
    first = workflow().run_sync()
    assert LEDGER.taken() == ["double", "load monday"]
    again = workflow().run_sync()
    assert LEDGER.taken() == []
    assert again.ok and dict(again) == dict(first) and again["after"] == (2, 4, 6)
    assert "was reused" in again.tasks["load"].sentence or again.tasks["load"].attempts == 0


def test_arguments_code_and_values_count() -> None:
    workflow().run_sync()
    LEDGER.taken()
    workflow("tuesday").run_sync()
    assert LEDGER.taken() == ["double", "load tuesday"]

    def treble(load: dict[str, Any]) -> list[int]:
        LEDGER.calls.append("treble")
        return [3 * row for row in load["rows"]]

    assert workflow(second=treble).run_sync()["second"] == [3, 6, 9]
    assert LEDGER.taken() == ["treble"]


def test_files_and_variables_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in.csv"
    source.write_text("1")
    cache: dict[str, Any] = {"inputs": [tmp_path / "*.csv"], "env": ["MODE"]}
    workflow(**cache).run_sync()
    LEDGER.taken()
    workflow(**cache).run_sync()
    assert LEDGER.taken() == []
    source.write_text("2")
    workflow(**cache).run_sync()
    assert LEDGER.taken() == ["load monday"]
    monkeypatch.setenv("MODE", "fast")
    workflow(**cache).run_sync()
    assert LEDGER.taken() == ["load monday"]
    (tmp_path / "more.csv").write_text("3")
    workflow(**cache).run_sync()
    assert LEDGER.taken() == ["load monday"]


def test_what_was_done_too_long_ago_is_done_again() -> None:
    workflow(ttl=0.001).run_sync()
    LEDGER.taken()
    workflow(ttl=0.001).run_sync()
    assert "load monday" in LEDGER.taken()
    workflow(ttl=1000).run_sync()
    assert LEDGER.taken() == []


def test_a_failure_is_never_used_again() -> None:
    def fail() -> None:
        LEDGER.calls.append("fail")
        raise ValueError("no")

    for _ in range(2):
        Workflow("bad").add_task("bad", fail, cache=True).run_sync()
        assert LEDGER.taken() == ["fail"]


def test_files_that_a_command_wrote_are_put_back(tmp_path: Path) -> None:
    source, made, count = tmp_path / "source", tmp_path / "out" / "made", tmp_path / "count"
    source.write_text("one")
    made.parent.mkdir()

    def build() -> Any:
        wf = Workflow("build")
        line = f"cp {source} {made}; echo x >> {count}; echo told"
        wf.add_shell("make", line, cache=Cache(inputs=[source], outputs=[made]))
        return wf.add_task("read", lambda make: make.stdout, ["make"]).run_sync()

    assert build()["read"] == "told\n"
    made.write_text("altered")
    assert build()["read"] == "told\n"
    assert made.read_text() == "one" and count.read_text() == "x\n"
    made.unlink()
    build()
    assert made.read_text() == "one" and count.read_text() == "x\n"
    source.write_text("two")
    build()
    assert made.read_text() == "two" and count.read_text() == "x\nx\n"


def test_a_promised_file_that_was_not_written_makes_nothing_known(tmp_path: Path) -> None:
    count = tmp_path / "count"
    for _ in range(2):
        wf = Workflow("w").add_shell("x", f"echo x >> {count}", cache=Cache(outputs=[tmp_path / "never"]))
        assert wf.run_sync().ok
    assert count.read_text() == "x\nx\n"


def test_calls_of_a_map_are_known_each_by_itself() -> None:
    def square(number: int) -> int:
        LEDGER.calls.append(f"square {number}")
        return number * number

    def squares(numbers: list[int]) -> Any:
        return Workflow("map").add_map("squares", square, over=numbers, cache=True).run_sync()["squares"]

    assert squares([1, 2, 3]) == [1, 4, 9]
    LEDGER.taken()
    assert squares([3, 2, 4]) == [9, 4, 16]
    assert LEDGER.taken() == ["square 4"]


def test_a_value_that_has_no_hash_or_cannot_be_kept_is_made_every_time() -> None:
    for _ in range(2):
        wf = Workflow("w").add_task("lock", lambda: __import__("threading").Lock())
        wf.add_task("uses", lambda lock: LEDGER.calls.append("uses"), ["lock"], cache=True)
        assert wf.run_sync().ok
        assert LEDGER.taken() == ["uses"]


def test_a_value_whose_file_was_altered_is_made_again(state: Path) -> None:
    def big() -> str:
        LEDGER.calls.append("big")
        return "x" * 100_000

    def run() -> Any:
        return Workflow("w").add_task("big", big, cache=True).run_sync()["big"]

    assert run() == run() and LEDGER.taken() == ["big"]
    [stored] = [path for path in (state / "artifacts").rglob("*") if path.is_file()]
    stored.write_text("y" * 100_002)
    assert run() == "x" * 100_000 and LEDGER.taken() == ["big"]
    assert run() == "x" * 100_000 and LEDGER.taken() == []


def test_without_a_record_nothing_is_known() -> None:
    for _ in range(2):
        assert workflow().run_sync(durability="none").ok
        assert LEDGER.taken() == ["double", "load monday"]


def test_why_names_what_changed(tmp_path: Path) -> None:
    def why(task: str) -> list[str]:
        command = [str(Path(sys.executable).parent / "dirigent"), "why", task, "--json"]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=DEADLINE_S).stdout
        because: list[str] = json.loads(told)["because"]
        return because

    source = tmp_path / "in.csv"
    source.write_text("1")
    workflow(inputs=[source]).run_sync()
    assert "it had to run: nothing like it was recorded" in why("load")
    workflow(inputs=[source]).run_sync()
    assert why("load")[0].startswith("run ")
    source.write_text("2")
    workflow("tuesday", inputs=[source]).run_sync()
    changed = [line for line in why("load") if "changed" in line]
    assert changed == [f"it had to run: file {source} changed", "it had to run: its arguments changed"]


@pytest.mark.parametrize("wrong", [3, "yes", {"inputs": []}])
def test_what_is_no_cache_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match="True, False or a Cache"):
        Workflow("w").add_task("x", load, cache=wrong)
    with pytest.raises(UsageError, match="list"):
        Cache(inputs="one.csv")
