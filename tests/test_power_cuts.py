"""Cuts of power: whatever was not synced may be gone, in any order, and all that was promised is there when it is back."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import DEADLINE_S, started, wait_for
from tests.engines import Engine, build_faulty_disk, rounds, spread
from tests.oracle import check
from tests.power import Change, cuts, read_trace

#: Events that are on the disk itself before anybody hears of them, with all before them, whatever the durability.
PROMISED = ("run_created", "wait_answered", "run_resumed", "run_ended")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in a folder without a project."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def faulty_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that sees each change of a disk."""
    return build_faulty_disk(tmp_path_factory.mktemp("disk"))


def promised(told: str, durability: str) -> list[str]:
    """Of the events that a reader was told, those that no cut of power may take back."""
    lines = [line for line in told.splitlines() if line.endswith("}")]
    if durability == "power":
        return lines
    last = [place for place, line in enumerate(lines, 1) if json.loads(line)["kind"] in PROMISED]
    return lines[: last[-1] if last else 0]


def bring_back(
    engine: Engine, left: dict[Path, bytes] | None, papers: dict[Path, str], durability: str
) -> None:
    """Put a state folder where the engine had it, as the cut has left it (or let it be), with what was promised."""
    if left is not None:
        shutil.rmtree(engine.state, ignore_errors=True)
        for path, content in left.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for old in engine.folder.glob("ledger*"):
        if old.suffix != ".sh":
            old.unlink()
    for path, text in papers.items():
        if path != engine.ledger:
            path.write_text("".join(f"{line}\n" for line in promised(text, durability)))
        # What was not recorded for good can be carried out again, with the same number.
        elif durability == "power":
            path.write_text(text)


def see_promises_kept(engine: Engine) -> list[str]:
    """See that whatever was promised of a run is recorded, and return how the runs stand."""
    told = {path.name.partition(".")[2] for path in engine.folder.glob("ledger.*-*") if path.read_text()}
    heads = [head["id"] for head in engine.runs()]
    assert told <= set(heads), "a run that was accepted is not there"
    statuses = [check(engine.state, run, engine.ledger) for run in heads]
    assert set(statuses) <= {"interrupted", "succeeded"}
    return statuses


def witnesses(changes: Iterable[Change]) -> dict[Path, str]:
    """What signers and readers have written down: on paper, which no cut of power takes away."""
    papers: dict[Path, str] = {}
    for change in changes:
        if change.call == "write":
            papers[change.path] = papers.get(change.path, "") + change.content.decode()
    return papers


@pytest.mark.fault("E3", "a disk rebuilt from a trace: what was not synced is gone, or there in pieces")
@pytest.mark.needs("cc")
@pytest.mark.parametrize("durability", ["process", "power"])
def test_what_was_promised_is_there_after_a_cut_of_power_at_any_change(
    tmp_path: Path, faulty_disk: Path, durability: str
) -> None:
    engine = Engine(tmp_path / "engine", faulty_disk)
    trace, words = tmp_path / "trace", ["power"] if durability == "power" else []
    faulty = {"trace": trace, "paths": rf"^({engine.state}/|{engine.ledger}(\.[^.]*-[^.]*)?$)"}
    # A run that is killed on the way and goes on, so that what the second engine promises is tried as well.
    engine.carry_out(*words, first=90, calls=",pwrite,", **faulty)
    done = engine.carry_out("resume", *words, **faulty)
    assert done.returncode == 0, done.stderr[-3000:]
    values = engine.told_values()
    changes = read_trace(trace)
    on_disk = {place for place, one in enumerate(changes) if one.path.is_relative_to(engine.state)}
    assert len(on_disk) > 100
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance, seen = random.Random(seed), set()
    for place, disk in cuts(changes, spread(rounds(12, len(changes)), len(changes))):
        papers = witnesses(one for number, one in enumerate(changes[:place]) if number not in on_disk)
        # All that is not sure is gone; some of it is there, in pieces.
        for share in (0.0, 0.5):
            print("cut after change", place, "of", len(changes), "with a share of", share)
            left = {path: content for path, content in disk.cut(chance, share).items() if path not in papers}
            bring_back(engine, left, papers, durability)
            seen |= set(see_promises_kept(engine))
            if place == len(changes) or chance.random() < 0.3:
                goes_on(engine, values, durability)
    assert seen == {"interrupted", "succeeded"}


def goes_on(engine: Engine, values: dict[str, Any], durability: str) -> None:
    """Go on with a run after a cut, and see that it comes to what it would have come to."""
    done = engine.carry_out("resume", *(["power"] if durability == "power" else []))
    assert done.returncode == 0, done.stderr[-3000:]
    told = engine.told_values()
    lines, written = told.pop("lines"), values["lines"]
    assert told == {name: value for name, value in values.items() if name != "lines"}
    # A log is on the disk itself only where every event is; one that is lost is told as lost, and never as empty.
    assert all(
        line == right or (line is None and durability == "process")
        for line, right in zip(lines, written, strict=True)
    )


# --- a real file system ---------------------------------------------------------------------------

#: Ends a file system where it stands, without what it has not yet written: `EXT4_IOC_SHUTDOWN`, and "do not flush the log".
SHUTDOWN, NO_FLUSH = 0x8004587D, 2


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Path]:
    """A file system in a file, mounted."""
    file, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    file.touch()
    os.truncate(file, 64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", file], check=True, timeout=DEADLINE_S)
    if not mount(file, folder):
        pytest.skip("no image of a disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], timeout=DEADLINE_S)


def mount(file: Path, folder: Path) -> bool:
    command: list[str | Path] = ["mount", "-t", "ext4", "-o", "loop", file, folder]
    return subprocess.run(command, capture_output=True, timeout=DEADLINE_S).returncode == 0


@pytest.mark.fault("E3", "an ext4 image that is shut down without its log, and mounted again")
@pytest.mark.needs("root", "mount", "mkfs.ext4")
@pytest.mark.parametrize("durability", ["process", "power"])
def test_what_was_promised_is_there_after_the_end_of_a_real_file_system(
    tmp_path: Path, image: Path, durability: str
) -> None:
    words = ["power"] if durability == "power" else []
    undisturbed = Engine(tmp_path / "undisturbed")
    assert undisturbed.carry_out().returncode == 0
    values = undisturbed.told_values()
    for number in range(rounds(4, 100)):
        engine = Engine(tmp_path / str(number), state=image / str(number))
        # At another event each time.
        events = 2 + number * 29 % 90
        with started(engine.command(*words), cwd=engine.folder, env=engine.environment()) as process:

            def told(engine: Engine = engine) -> int:
                return sum(path.read_text().count("\n") for path in engine.folder.glob("ledger.*-*"))

            while told() < events and process.poll() is None:
                time.sleep(0.002)
            papers = {
                path: path.read_text() for path in engine.folder.glob("ledger*") if path.suffix != ".sh"
            }
            disk = os.open(image, os.O_RDONLY)
            fcntl.ioctl(disk, SHUTDOWN, struct.pack("I", NO_FLUSH))
            os.close(disk)
            process.kill()
            process.wait()
        wait_for("the end of who holds the disk", lambda: subprocess.run(["umount", image]).returncode == 0)
        assert mount(tmp_path / "image", image)
        bring_back(engine, None, papers, durability)
        see_promises_kept(engine)
        goes_on(engine, values, durability)
