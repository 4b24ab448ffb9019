"""State folders of other versions: an older one is taken over whole or not at all, a newer one is refused and left as it is."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import dirigent
import pytest
from dirigent import StorageError, Workflow

from tests.children import DEADLINE_S
from tests.engines import Engine, build_faulty_disk, rounds, spread
from tests.oracle import UNSPEAKABLE, ask, asked

GOLDEN = Path(__file__).parent / "golden"

#: How the database was made in formats that no release had: the texts as SQLite keeps them, blanks included.
MADE = {int(path.stem): path for path in (GOLDEN / "formats").glob("*.sql")}

#: `DIRG`.
APPLICATION = 0x4449_5247


def format_of(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True)) as opened:
        found: int = opened.execute("PRAGMA user_version").fetchone()[0]
        return found


def released() -> dict[int, Path]:
    """A state folder of a release for each format."""
    folders = sorted(path.parent for path in GOLDEN.glob("*/journal.db"))
    return {format_of(folder / "journal.db"): folder for folder in folders}


def write_folder(format: int, folder: Path) -> Path:
    """Make a state folder in a format."""
    if format in released():
        shutil.copytree(released()[format], folder)
        return folder
    shutil.copytree(released()[min(released())], folder)
    database = folder / "journal.db"
    later = database.rename(folder / "later.db")
    with closing(sqlite3.connect(database, isolation_level=None)) as made:
        made.executescript(MADE[format].read_text())
        made.execute("ATTACH ? AS later", [str(later)])
        tables = "SELECT name FROM {}.sqlite_schema WHERE type = 'table'"
        shared = f"{tables.format('main')} INTERSECT {tables.format('later')}"
        for (table,) in made.execute(shared).fetchall():
            columns = ", ".join(f'"{row[1]}"' for row in made.execute(f"PRAGMA main.table_info({table})"))
            made.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM later.{table}")
        made.execute(f"PRAGMA application_id = {APPLICATION}")
        made.execute(f"PRAGMA user_version = {format}")
    later.unlink()
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, with what it holds."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def present(tmp_path: Path) -> int:
    """The format that is written now."""
    Workflow("now").add_task("one", int).run_sync()
    return format_of(tmp_path / "state" / "journal.db")


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The state folder of this test, in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


OLDER = sorted({*MADE, *released()})


def answers(state: Path) -> list[str]:
    """What is told of the runs of a state folder, as far as no format changes it."""
    heads = json.loads(ask(state, "runs", "--json"))
    assert sorted(head["status"] for head in heads) == ["failed", "interrupted", "succeeded"]
    ask(state, "verify", "--all")
    return [ask(state, "runs", "--json"), *(ask(state, "export", head["id"]) for head in heads)]


def test_there_is_a_folder_of_every_format(present: int) -> None:
    assert set(range(1, present)) <= set(OLDER) and max(OLDER) <= present


@pytest.mark.fault("E8", "state folders of every earlier format")
@pytest.mark.parametrize("format", OLDER)
def test_an_older_folder_is_taken_over_and_its_copy_can_be_put_back(
    tmp_path: Path, present: int, format: int
) -> None:
    state = write_folder(format, tmp_path / "older")
    told = answers(state)
    assert format_of(state / "journal.db") == present
    copy = state / f"journal.format-{format}.db"
    assert copy.exists() == (format < present)
    if copy.exists():
        assert format_of(copy) == format
        shutil.move(copy, state / "journal.db")
        assert answers(state) == told
        assert format_of(state / "journal.db") == present


@pytest.mark.fault("E8", "kill -9 at a change of the disk while a format is taken over")
@pytest.mark.needs("cc")
@pytest.mark.parametrize("format", OLDER)
def test_a_takeover_that_is_killed_leaves_the_old_format_or_the_new(
    program: Path, tmp_path: Path, present: int, format: int
) -> None:
    library = build_faulty_disk(tmp_path)
    original = write_folder(format, tmp_path / "original")
    told = answers(write_folder(format, tmp_path / "undisturbed"))
    engine = Engine(tmp_path / "engine", library)
    command: list[str | Path] = [
        program,
        "verify",
        "--all",
        "--state-dir",
        engine.state,
    ]

    def take_over(**faulty: object) -> int:
        shutil.rmtree(engine.state, ignore_errors=True)
        shutil.copytree(original, engine.state)
        environment = engine.environment(paths=f"^{engine.state}", **faulty)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
        assert not any(word in done.stderr for word in UNSPEAKABLE), done.stderr
        return done.returncode

    assert take_over(log=engine.log) == 0
    changes = len(engine.log.read_text().splitlines())
    assert format == present or changes > 20
    for place in spread(rounds(40, changes), changes):
        print("killed at change", place, "of", changes)
        assert take_over(first=place) == -9
        copy = engine.state / f"journal.format-{format}.db"
        if format < present and format_of(engine.state / "journal.db") == present:
            assert copy.exists()
        assert answers(engine.state) == told
        assert format_of(engine.state / "journal.db") == present
        assert not list(engine.state.glob("*.part*"))
        # What was kept is whole.
        if format < present:
            assert format_of(copy) == format
            shutil.move(copy, engine.state / "journal.db")
            assert answers(engine.state) == told


#: Every verb that takes a state folder, with words that would do something there.
VERBS = {
    "run": ["only.sh"],
    "runs": [],
    "show": ["last"],
    "logs": ["last"],
    "why": ["json", "last"],
    "diff": ["good", "bad"],
    "resume": ["last"],
    "retry": ["last"],
    "cancel": ["last"],
    "graph": ["last"],
    "profile": ["last"],
    "approve": ["last"],
    "reject": ["last"],
    "signal": ["last", "task", "value"],
    "report": ["last"],
    "verify": ["--all"],
    "export": ["last"],
    "import": ["exported"],
    "gc": ["--keep", "0"],
    "doctor": [],
}


def test_every_verb_with_a_state_folder_is_tried(program: Path) -> None:
    def help_of(*words: str) -> str:
        return subprocess.run([program, *words, "--help"], capture_output=True, text=True).stdout

    verbs = re.findall(r"^  ([a-z]+) ", help_of(), re.MULTILINE)
    # What watches starts `run`; schedules have a project file, and tests of their own.
    others = {"watch", "schedule"}
    assert {verb for verb in verbs if "--state-dir" in help_of(verb)} - others == set(VERBS)


@pytest.mark.fault("E8", "a later format, or the database of another program, under every verb")
@pytest.mark.parametrize("whose", ["newer", "foreign"])
def test_a_folder_of_a_newer_version_or_of_another_program_is_refused_and_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: Path, present: int, whose: str
) -> None:
    shutil.copytree(released()[max(released())], tmp_path / "other")
    other = tmp_path / "other"
    (other / ".gitignore").write_text("*\n")
    with closing(sqlite3.connect(other / "journal.db")) as database:
        if whose == "newer":
            database.execute(f"PRAGMA user_version = {present + 1}")
            database.execute("CREATE TABLE later (x)")
        else:
            database.execute("PRAGMA application_id = 7")
    (tmp_path / "only.sh").write_text(f"#!/bin/sh\necho ran >> '{tmp_path}/ran'\n")
    (tmp_path / "only.sh").chmod(0o755)
    (tmp_path / "exported").write_text(ask(state, "export", "last"))
    before = files(other)
    sentence = "was written by a later version" if whose == "newer" else "is a database of another program"
    for verb, words in VERBS.items():
        done = asked(other, verb, *words)
        assert done.returncode == 74, (verb, done)
        # The doctor says it among what else it found.
        told = done.stderr + done.stdout
        assert f"{other}/journal.db" in told and sentence in told, (verb, told)
        assert "hint: " in told or verb == "doctor", (verb, told)
        assert files(other) == before, verb
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(other))
    for call in (Workflow("later").add_task("one", int).run_sync, dirigent.runs, dirigent.attach):
        with pytest.raises(StorageError, match=sentence):
            call()
    assert files(other) == before
    assert not (tmp_path / "ran").exists()
