"""Runs as tables: what the columns say, and that pandas, polars and pyarrow take them as they are."""

from __future__ import annotations

import gc
import json
import pickle
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dirigent
import pytest
from dirigent import NotFoundError, RetryPolicy, Table, UsageError, Workflow

from tests.workflows import ended

LIBRARIES = ("pandas", "polars", "pyarrow")


def library(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed")


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def boom() -> None:
    raise LookupError("no such row: é")


@pytest.fixture
def run() -> dirigent.Run:
    """A run with a value, a command that fails, a function that is tried twice, a skip, and a map."""
    wf = Workflow("etl", fail_fast=False)
    wf.add_task("rows", lambda: [1, 2])
    wf.add_command("exits", ["sh", "-c", "exit 3"])
    wf.add_task("boom", boom, ["rows"], retry_policy=RetryPolicy(2, initial_delay=0.001, jitter=0))
    wf.add_task("after", boom, ["boom"])
    wf.add_map("squares", lambda item: item**2, over="rows")
    return ended(wf)


def test_tasks_are_rows_with_what_is_known_of_them(run: dirigent.Run) -> None:
    table = run.table()
    columns = table.columns
    assert columns["task"] == list(run.tasks) and len(table) == len(run.tasks)
    rows = {row[0]: dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)}
    for name, result in run.tasks.items():
        assert rows[name]["status"] == result.status
        assert rows[name]["attempts"] == result.attempts
        assert rows[name]["sentence"] == result.sentence
        assert rows[name]["seconds"] == (result.execution_time if result.attempts else None)
    assert rows["exits"]["exit_code"] == 3 and rows["rows"]["exit_code"] is None
    assert rows["squares[1]"]["part_of"] == "squares" and rows["rows"]["part_of"] is None
    assert rows["after"]["started"] is None and rows["after"]["seconds"] is None
    began, over = rows["boom"]["started"], rows["boom"]["ended"]
    assert began.tzinfo is timezone.utc and began <= over
    assert abs((datetime.now(timezone.utc) - over).total_seconds()) < 600


def test_every_attempt_is_a_row(run: dirigent.Run) -> None:
    columns = run.table("attempts").columns
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    of_boom = [row for row in rows if row["task"] == "boom"]
    assert [(row["attempt"], row["outcome"], row["error"], row["message"]) for row in of_boom] == [
        (1, "raised", "LookupError", "no such row: é"),
        (2, "raised", "LookupError", "no such row: é"),
    ]
    [exits] = [row for row in rows if row["task"] == "exits"]
    assert (exits["outcome"], exits["exit_code"]) == ("failed", 3) and exits["peak_memory_bytes"] > 0
    assert of_boom[0]["peak_memory_bytes"] is None, "a thread has no memory of its own"
    assert len(rows) == sum(result.attempts for result in run.tasks.values())


def test_every_event_is_a_row_with_the_whole_of_it(run: dirigent.Run) -> None:
    columns = run.table("events").columns
    assert [json.loads(line) for line in columns["event"]] == run.events()
    assert columns["seq"] == list(range(len(run.events())))
    assert columns["kind"] == [event["kind"] for event in run.events()]
    assert dirigent.attach().table("events").columns == columns


def test_a_run_has_no_other_tables(run: dirigent.Run) -> None:
    with pytest.raises(UsageError, match="a run has tables of tasks, attempts, events, not of 'task'"):
        run.table("task")


def test_runs_are_rows(run: dirigent.Run) -> None:
    ended(Workflow("second").add_task("a", lambda: 1))
    columns = dirigent.runs().table().columns
    assert columns["workflow"] == ["second", "etl"] and columns["run"][1] == run.id
    assert columns["status"] == ["succeeded", "failed"]
    assert (columns["tasks"], columns["failed"]) == ([1, 7], [0, 2])
    assert columns["created"] == [head.created for head in dirigent.runs()]
    assert dirigent.runs(workflow="none").table().columns["run"] == []


@pytest.mark.parametrize("of", ["tasks", "attempts", "events"])
def test_polars_and_pyarrow_take_the_table_itself_with_its_types(run: dirigent.Run, of: str) -> None:
    polars, pyarrow = library("polars"), library("pyarrow")
    table = run.table(of)
    arrow, frame = pyarrow.table(table), polars.DataFrame(table)
    arrow.validate(full=True)
    assert arrow.to_pydict() == frame.to_dict(as_series=False) == table.columns
    assert table.to_arrow().equals(arrow) and table.to_polars().equals(frame)
    for name in table.columns:
        assert str(frame.schema[name]) != "Null", "also a column with nothing in it has a type"


def test_pandas_gets_types_with_room_for_what_is_missing(run: dirigent.Run) -> None:
    pandas = library("pandas")
    frame = run.to_pandas()
    assert list(frame["task"]) == list(run.tasks)
    assert str(frame["exit_code"].dtype) == "Int64" and str(frame["started"].dtype) == "datetime64[ms, UTC]"
    assert frame.set_index("task").loc["exits", "exit_code"] == 3
    assert frame["part_of"].isna().sum() == 5
    assert run.to_pandas("attempts")["attempt"].max() == 2
    assert list(pandas.DataFrame(run.table().columns)["task"]) == list(run.tasks)
    assert dirigent.runs().to_pandas()["tasks"].sum() == 7


def test_an_empty_table_has_types_and_texts_may_be_anything() -> None:
    pyarrow = library("pyarrow")
    columns = [("n", "int", []), ("x", "float", []), ("s", "text", []), ("at", "moment", [])]
    assert [str(field.type) for field in pyarrow.table(Table(columns)).schema] == [
        "int64",
        "double",
        "large_string",
        "timestamp[ms, tz=UTC]",
    ]
    odd = Table([("s", "text", ["", None, "\ud800", "é\0"]), ("n", "int", [-(2**63), 2**63 - 1, None, 0])])
    assert pyarrow.table(odd).to_pydict() == {"s": ["", None, "���", "é\0"], "n": odd.columns["n"]}
    many = Table([("n", "int", [None if n % 3 else n for n in range(1000)])])
    assert pyarrow.table(many).to_pydict() == many.columns
    with pytest.raises(ValueError, match="as many rows"):
        pyarrow.table(Table([("a", "int", [1]), ("b", "int", [])]))


def test_what_arrow_takes_over_outlives_the_table_and_what_it_leaves_is_given_back() -> None:
    pyarrow = library("pyarrow")
    table: Table | None = Table([("s", "text", ["x" * 1000] * 1000)])
    taken = pyarrow.table(table).slice(500, 2)
    # A stream that nobody reads, and one of which only the schema is asked.
    assert table is not None
    table.__arrow_c_stream__()
    reader = pyarrow.RecordBatchReader.from_stream(table)
    assert reader.schema.names == ["s"]
    copy = pickle.loads(pickle.dumps(table))
    assert copy.columns == table.columns
    del table, reader
    gc.collect()
    assert taken.to_pydict() == {"s": ["x" * 1000] * 2}


def test_without_these_libraries_it_says_which_one_to_install(tmp_path: Path) -> None:
    # None of them is asked for by anything else.
    program = (
        "import sys\n"
        f"for name in {LIBRARIES!r}: sys.modules[name] = None\n"
        "import dirigent\n"
        "table = dirigent.Table([('n', 'int', [1])])\n"
        "for make in (table.to_pandas, table.to_polars, table.to_arrow):\n"
        "    try: make()\n"
        "    except dirigent.NotFoundError as error: print(error.code, str(error).splitlines()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "".join(f"usage.not_installed {name} is not installed\n" for name in LIBRARIES), (
        done
    )


def test_the_error_names_the_library_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(NotFoundError, match="pip install polars"):
        Table([]).to_polars()
