"""State folders whose files were altered: what is told of them is true, or it is an error that names the file."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import dirigent
import pytest
from dirigent import StorageError, Workflow

from tests.children import DEADLINE_S
from tests.engines import rounds
from tests.oracle import ask, asked, check

PAGE = 4096

#: Three runs that are through and one that was cut short, with tables that take more than a page, and a log beside them.
HISTORY = """
import os, signal
from dirigent import Workflow

def make(number):
    if cut and number == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return [os.urandom(40).hex() for _ in range(size)]

for cut, size in [(False, 1), (False, 40), (False, 1), (True, 40)]:
    wf = Workflow(f"of size {size}", max_concurrency=1)
    for number in range(60):
        wf.add_task(f"t{number}", make, args=(number,))
    wf.run_sync()
"""


def write_history(state: Path) -> list[str]:
    """Make a state folder and return the ids of its runs, the newest first."""
    environment = {**os.environ, "DIRIGENT_STATE_DIR": str(state)}
    subprocess.run([sys.executable, "-c", HISTORY], env=environment, timeout=DEADLINE_S)
    heads = json.loads(ask(state, "runs", "--json"))
    assert [head["status"] for head in heads] == ["interrupted"] + ["succeeded"] * 3
    return [head["id"] for head in heads]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A state folder as it should be, and its runs."""
    state = tmp_path_factory.mktemp("history") / "state"
    runs = write_history(state)
    # All of it in one file.
    database = sqlite3.connect(state / "journal.db")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return state, runs


def answers(state: Path, runs: list[str]) -> dict[tuple[str, ...], tuple[int, str]]:
    """What the program says of a state folder. Where it is an error, it says what is wrong, and what to do."""
    questions: list[tuple[str, ...]] = [("runs", "--json"), ("doctor",)]
    questions += [("verify", run) for run in runs] + [("export", runs[0]), ("show", runs[2], "--json")]
    said: dict[tuple[str, ...], tuple[int, str]] = {}
    for question in questions:
        done = asked(state, *question)
        if question == ("doctor",):
            said[question] = (done.returncode, "")
            assert done.returncode in (0, 1, 74)
            continue
        assert done.returncode in (0, 74), (question, done)
        if done.returncode == 74:
            assert done.stderr.startswith("error: ") and "hint: " in done.stderr
            assert done.stdout == ""
        said[question] = (done.returncode, done.stdout.replace(str(state), "STATE"))
    return said


def spots(kind: str, database: bytes, chance: random.Random) -> int:
    """A byte of one class: of the first page, of what leads a page, or of what is stored."""
    pages = len(database) // PAGE
    if kind == "first page":
        return chance.randrange(PAGE)
    if kind == "heads of pages":
        return chance.randrange(pages) * PAGE + chance.randrange(16)
    # The tables of runs come first; the rest is events.
    page = chance.randrange(1, 8) if chance.random() < 0.5 else chance.randrange(pages)
    return page * PAGE + chance.randrange(PAGE)


@pytest.mark.fault("D4", "a flipped bit in three classes of pages")
@pytest.mark.parametrize("kind", ["first page", "heads of pages", "content"])
def test_no_altered_byte_of_a_database_makes_it_say_something_else(
    tmp_path: Path, history: tuple[Path, list[str]], kind: str
) -> None:
    good, runs = history
    expected = answers(good, runs)
    assert {code for code, _ in expected.values()} == {0}
    database = (good / "journal.db").read_bytes()
    state, noticed = tmp_path / "state", 0
    for seed in range(rounds(16, 300)):
        print("seed", seed)
        chance = random.Random(f"{kind} {seed}")
        altered = bytearray(database)
        altered[spots(kind, database, chance)] ^= 1 << chance.randrange(8)
        state.mkdir()
        (state / "journal.db").write_bytes(altered)
        for question, said in answers(state, runs).items():
            noticed += said[0] != 0
            assert said[0] != 0 or said == expected[question], question
        shutil.rmtree(state)
    assert noticed


@pytest.mark.fault("D4", "a table that is declared otherwise")
def test_a_database_whose_tables_mean_something_else_is_not_read(
    tmp_path: Path, history: tuple[Path, list[str]]
) -> None:
    good, runs = history
    place = b"place INTEGER PRIMARY KEY"
    database = (good / "journal.db").read_bytes()
    assert database.count(place) == 1
    state = tmp_path / "state"
    state.mkdir()
    # Then the number of a row would no longer be its place, and every run would be empty.
    (state / "journal.db").write_bytes(database.replace(place, place.replace(b"I", b"J", 1)))
    assert {code for code, _ in answers(state, runs).values()} == {74}


@pytest.mark.fault("D4", "each field of the table of runs altered")
def test_each_altered_field_of_the_table_of_runs_is_noticed(
    tmp_path: Path, history: tuple[Path, list[str]]
) -> None:
    good, runs = history
    state = tmp_path / "state"
    changes = {
        "workflow": "'another'",
        "created_at_ms": "created_at_ms + 1000",
        "ended_at_ms": "ended_at_ms + 1000",
        "verdict": "'failed'",
        "events": "events + 1",
        "counts": "'{}'",
        "hash": "NULL",
    }
    for field, change in changes.items():
        state.mkdir()
        shutil.copy(good / "journal.db", state)
        database = sqlite3.connect(state / "journal.db")
        database.execute(f"UPDATE runs SET {field} = {change} WHERE id = ?", [runs[1]])
        database.commit()
        database.close()
        for words in (["runs"], ["show", runs[1]], ["verify", runs[1]], ["resume", runs[1]]):
            done = asked(state, *words)
            assert done.returncode == 74, (field, words)
            assert done.stderr.startswith(f"error: {state}/journal.db is damaged: a row of its table `runs`")
        assert asked(state, "doctor").returncode == 74
        shutil.rmtree(state)


@pytest.mark.fault("D4", "the database's log cut off or altered at each sixteenth")
def test_a_log_that_was_cut_off_or_altered_loses_its_end_and_nothing_else(tmp_path: Path) -> None:
    original = tmp_path / "original"
    # The last run was killed, and has left its events in the log beside the database.
    environment = {**os.environ, "DIRIGENT_STATE_DIR": str(original)}
    script = HISTORY.replace("(False, 1), (False, 40), (False, 1), ", "")
    subprocess.run([sys.executable, "-c", script], env=environment, timeout=DEADLINE_S)
    log = (original / "journal.db-wal").read_bytes()
    assert len(log) > 20 * PAGE
    whole: list[str] | None = None
    for part in range(16, -1, -1):
        state = tmp_path / f"{part}"
        state.mkdir()
        shutil.copy(original / "journal.db", state)
        altered = bytearray(log[: len(log) * part // 16])
        if part % 2 and part < 16:
            altered[len(altered) // 2] ^= 1
        (state / "journal.db-wal").write_bytes(altered)
        heads = asked(state, "runs", "--json")
        assert heads.returncode == 0, heads
        if not json.loads(heads.stdout):
            continue
        [head] = json.loads(heads.stdout)
        assert check(state, head["id"]) == "interrupted"
        lines = ask(state, "export", head["id"]).splitlines()[1:]
        events = [line for line in lines if '"seq"' in line]
        whole = whole or events
        assert events == whole[: len(events)]
    assert whole is not None


def large() -> str:
    return "x" * 100_000


def run_large(state: Path) -> tuple[str, Path]:
    """A run whose value lies in a file of its own, with that."""
    run = Workflow("large").add_task("large", large).run_sync()
    assert run["large"] == large()
    [artifact] = [path for path in (state / "artifacts").rglob("*") if path.is_file()]
    return run.id, artifact


@pytest.mark.fault("D5", "a value's file removed, altered, cut off")
@pytest.mark.parametrize("how", ["removed", "altered", "cut off"])
def test_a_value_whose_file_is_not_what_was_written_raises_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    run, artifact = run_large(tmp_path / "state")
    assert dirigent.attach(run)["large"] == large()
    damage(artifact, how)
    with pytest.raises(StorageError, match=artifact.name):
        dirigent.attach(run)["large"]
    # Asked again, it says so again: the wrong bytes were put aside, and not taken for right.
    with pytest.raises(StorageError, match=artifact.name):
        dirigent.attach(run)["large"]
    assert asked(tmp_path / "state", "export", run).returncode == 74


def damage(artifact: Path, how: str) -> None:
    content = bytearray(artifact.read_bytes())
    content[500] ^= 1
    artifact.chmod(0o600)
    if how == "removed":
        artifact.unlink()
    else:
        artifact.write_bytes(content if how == "altered" else content[:400])


CUT_SHORT = """
import json, os, signal, sys
from pathlib import Path
from dirigent import Workflow

ledger, fuse = Path(sys.argv[1]), Path(sys.argv[2])

def large():
    with ledger.open("a") as file:
        file.write("large\\n")
    return "x" * 100_000

def after(large):
    with ledger.open("a") as file:
        file.write("after\\n")
    if fuse.exists():
        fuse.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return len(large)

wf = Workflow("cut short").add_task("large", large).add_task("after", after, dependencies=["large"])
run = wf.run_sync(resume="last")
print(json.dumps([run["after"], run.tasks["large"].attempts, run.tasks["after"].attempts]))
"""


@pytest.mark.fault("D5", "the same, and the run goes on")
@pytest.mark.parametrize("how", ["whole", "removed", "altered", "cut off"])
def test_a_task_whose_value_is_lost_runs_again_where_it_is_needed(tmp_path: Path, how: str) -> None:
    state, ledger, fuse = tmp_path / "state", tmp_path / "ledger", tmp_path / "fuse"
    fuse.touch()
    options: dict[str, Any] = {"env": {**os.environ, "DIRIGENT_STATE_DIR": str(state)}, "timeout": DEADLINE_S}
    command: list[str | Path] = [sys.executable, "-c", CUT_SHORT, ledger, fuse]
    assert subprocess.run(command, **options).returncode == -9
    if how != "whole":
        [artifact] = [path for path in (state / "artifacts").rglob("*") if path.is_file()]
        damage(artifact, how)
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    again = 0 if how == "whole" else 1
    assert json.loads(done.stdout) == [100_000, 1 + again, 2]
    assert ledger.read_text().split() == ["large", "after", *["large"] * again, "after"]
    [head] = json.loads(ask(state, "runs", "--json"))
    assert check(state, head["id"]) == "succeeded"


@pytest.mark.fault("D5", "a log removed or cut off")
@pytest.mark.parametrize("how", ["removed", "cut off"])
def test_a_log_that_is_not_whole_is_never_taken_for_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(state))
    run = Workflow("logs").add_shell("say", "echo 12345").add_shell("quiet", "true").run_sync()
    log = state / "runs" / run.id / "tasks/0/1/stdout.log"
    assert ask(state, "logs", run.id, "say") == "12345\n"
    if how == "removed":
        log.unlink()
    else:
        log.write_text("12")
    again = dirigent.attach(run.id)
    assert (again["quiet"].stdout, again["say"].stderr, again["say"].exit_code) == ("", "", 0)
    there = 0 if how == "removed" else 2
    told = f"{log} has {there} of the 6 bytes that were recorded"
    with pytest.raises(StorageError, match=told):
        again["say"].stdout  # noqa: B018
    done = asked(state, "logs", run.id, "say")
    assert done.returncode == 3 and told in done.stderr
