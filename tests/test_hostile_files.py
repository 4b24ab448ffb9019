"""Workflow files that mean no good are refused: soon, with a place, and without ever taking much memory."""

from __future__ import annotations

from pathlib import Path

from tests.children import DEADLINE_S
from tests.hostile_files import FOLDER, Read, kept, made, read
from tests.oracle import UNSPEAKABLE

#: What the program itself takes, and then what a file may cost: builds without optimisation and slow machines are slower
#: by this than the 100 ms that `bench/files.py` holds the program to.
SLOWER = 100
MOST_MIB = 160


def is_refused(path: Path, seen: Read) -> None:
    assert seen.code == 2, (path.name, seen.code, seen.message[:500])
    assert seen.message.startswith("error: ") and len(seen.message) < 200_000, (path.name, seen.message[:500])
    is_placed = f"{path.name}:" in seen.message or "MiB" in seen.message
    assert is_placed, (path.name, seen.message[:500])
    assert not any(word in seen.message for word in UNSPEAKABLE), path.name
    raw = [c for c in seen.message if c != "\n" and (ord(c) < 32 or c in "\x7f\u202e\u2066")]
    assert not raw, (path.name, raw)
    assert seen.cpu_s < 0.1 * SLOWER and seen.peak_mib < MOST_MIB, (path.name, seen.cpu_s, seen.peak_mib)


def test_every_hostile_file_is_refused(program: Path, tmp_path: Path) -> None:
    assert len(kept()) > 50
    for path in kept():
        is_refused(path, read(program, path, tmp_path, DEADLINE_S))
    assert not list(tmp_path.iterdir()) and not [path for path in FOLDER.iterdir() if path.name == "pwned"]


def test_every_huge_file_is_refused(program: Path, tmp_path: Path) -> None:
    for path in made(tmp_path):
        is_refused(path, read(program, path, tmp_path, DEADLINE_S))
