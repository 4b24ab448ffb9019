"""Tasks of flows that need not run again: what counts, and that nothing else does."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from dirigent import Cache, UsageError, flow, task

from tests.children import DEADLINE_S

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    CALLS.clear()
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def taken() -> list[str]:
    """Which functions were really called since somebody asked."""
    calls = sorted(CALLS)
    CALLS.clear()
    return calls


@task(cache=True)
def load(day: date) -> list[int]:
    CALLS.append(f"load {day.day}")
    return [day.day, 1]


@task(cache=True)
def minus(left: list[int], right: list[int]) -> int:
    CALLS.append("minus")
    return sum(left) - sum(right)


@task(cache=True)
def total(numbers: list[Any]) -> int:
    CALLS.append("total")
    return sum(numbers)


@task
def plain(day: int) -> list[int]:
    CALLS.append("plain")
    return [day]


def days(*numbers: int) -> list[date]:
    return [date(2026, 1, number) for number in numbers]


def test_what_has_not_changed_is_not_done_again_and_gives_the_same_values() -> None:
    @flow
    def difference(first: date, second: date) -> tuple[int, list[int]]:
        return minus(load(first), load(second)).result(), load(first).result()

    assert difference(*days(5, 3)) == (2, [5, 1])
    # The second call for the fifth may find what the first has just done.
    assert set(taken()) == {"load 5", "load 3", "minus"}
    assert difference(*days(5, 3)) == (2, [5, 1]) and taken() == []
    assert difference(*days(5, 4)) == (1, [5, 1]) and taken() == ["load 4", "minus"]
    assert difference(*days(4, 5)) == (-1, [4, 1]) and taken() == ["minus"], "which argument is which counts"


def test_other_names_in_the_run_make_no_difference() -> None:
    @flow
    def one(number: int) -> int:
        return total(load(days(number)[0])).result()

    @flow
    def after_others(number: int) -> int:
        for day in days(7, 8):
            load(day)
        return total(load(days(number)[0])).result()

    assert one(2) == 3 and taken() == ["load 2", "total"]
    assert after_others(2) == 3 and taken() == ["load 7", "load 8"]


def test_calls_of_a_map_are_known_each_by_itself_and_so_is_what_comes_of_them() -> None:
    @flow
    def mapped(numbers: list[int]) -> list[int]:
        loaded = load.map(days(*numbers))
        return total.map(loaded).result()

    @flow
    def sized_later(count: int) -> list[int]:
        return total.map(of_counts.map(counts(count))).result()

    assert mapped([1, 2, 3]) == [2, 3, 4]
    assert taken() == ["load 1", "load 2", "load 3", "total", "total", "total"]
    assert mapped([3, 2, 4]) == [4, 3, 5] and taken() == ["load 4", "total"]
    assert sized_later(2) == [0, 1] and taken() == ["counts", "of 0", "of 1", "total", "total"]
    assert sized_later(3) == [0, 1, 2] and taken() == ["counts", "of 2", "total"]


@task
def counts(count: int) -> list[int]:
    CALLS.append("counts")
    return list(range(count))


@task(cache=True)
def of_counts(count: int) -> list[int]:
    CALLS.append(f"of {count}")
    return [count]


def test_a_value_that_changed_counts_and_one_that_came_out_the_same_does_not() -> None:
    @flow
    def through(number: int) -> int:
        return total(plain(number)).result()

    assert through(3) == 3 and taken() == ["plain", "total"]
    assert through(3) == 3 and taken() == ["plain"]
    assert through(4) == 4 and taken() == ["plain", "total"]


def test_the_code_of_a_task_counts() -> None:
    def run(make: Any) -> int:
        @flow
        def flowing() -> int:
            return task(make, name="make", cache=True)(5).result()  # type: ignore[no-any-return]

        return flowing()

    def double(x: int) -> int:
        CALLS.append("double")
        return 2 * x

    def treble(x: int) -> int:
        CALLS.append("treble")
        return 3 * x

    assert (run(double), run(treble), run(double)) == (10, 15, 10)
    assert taken() == ["double", "treble"]


def test_files_variables_and_age_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, made = tmp_path / "in.csv", tmp_path / "made"
    source.write_text("1")

    @task(cache=Cache(inputs=[source], outputs=[made], env=["MODE"]))
    def build() -> str:
        CALLS.append("build")
        made.write_text(source.read_text())
        return source.read_text()

    @task(cache=Cache(ttl=0.001))
    def brief() -> None:
        CALLS.append("brief")

    @flow
    def both() -> str:
        brief()
        return build().result()

    assert both() == "1" and taken() == ["brief", "build"]
    made.unlink()
    assert both() == "1" and taken() == ["brief"] and made.read_text() == "1"
    source.write_text("2")
    assert both() == "2" and taken() == ["brief", "build"]
    monkeypatch.setenv("MODE", "fast")
    assert both() == "2" and taken() == ["brief", "build"]


def test_coroutine_functions_and_processes_of_their_own_are_known_too(tmp_path: Path) -> None:
    @task(cache=True)
    async def later(x: int) -> int:
        CALLS.append("later")
        return x

    ledger = tmp_path / "ledger"

    @task(cache=True, isolation="process")
    def isolated(x: int) -> int:
        with ledger.open("a") as file:
            file.write("isolated\n")
        return x + 1

    @flow
    async def whole() -> int:
        return await isolated(await later(1))  # type: ignore[no-any-return]

    assert [asyncio.run(whole()) for _ in range(3)] == [2, 2, 2]
    assert taken() == ["later"] and ledger.read_text() == "isolated\n"


def test_what_has_no_hash_runs_every_time() -> None:
    @task(cache=True)
    def uses(it: object) -> int:
        CALLS.append("uses")
        return 1

    @flow
    def locked() -> int:
        import threading

        return uses(threading.Lock()).result()

    assert locked() == locked() == 1 and taken() == ["uses", "uses"]


def test_why_names_what_changed() -> None:
    @flow
    def difference(first: date, second: date) -> int:
        return minus(load(first), load(second)).result()

    def why(name: str) -> list[str]:
        command = [str(Path(sys.executable).parent / "dirigent"), "why", name, "--json"]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=DEADLINE_S).stdout
        because: list[str] = json.loads(told)["because"]
        return because

    difference(*days(5, 3))
    difference(*days(5, 4))
    assert [line for line in why("minus") if "changed" in line] == [
        "it had to run: what `load (2)` gave changed"
    ]
    assert [line for line in why("load[1]") if "changed" in line] == ["it had to run: its arguments changed"]


@pytest.mark.parametrize("wrong", [3, "yes", {"inputs": []}])
def test_what_is_no_cache_is_refused_where_it_is_declared(wrong: Any) -> None:
    with pytest.raises(UsageError, match="True, False or a Cache"):
        task(cache=wrong)(lambda: 1)
    with pytest.raises(UsageError, match="ttl is a number of seconds above 0"):
        task(cache=Cache(ttl=-1))(lambda: 1)
