"""A disk as a cut of power leaves it, rebuilt from a trace of every change that ``faulty_disk.c`` saw.

What was synced is there. Of the rest, anything may be: each piece of 512 bytes reached the disk or did not, in any order. Names
come and go in the order in which that was asked for in their folder, and are there for sure once the folder is synced, or a file
of it after it got its name. It knows nothing of what the bytes mean.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

#: What a disk writes whole or not at all.
SECTOR = 512


class Change(NamedTuple):
    """One change of the disk, as it was traced."""

    call: str
    thread: int
    at: int
    path: Path
    content: bytes


def read_trace(file: Path) -> list[Change]:
    """Every change, in the order in which they were made. Those of a file precede the sync that secures them."""
    trace, place, changes = file.read_bytes(), 0, []
    while place < len(trace):
        end = trace.index(b"\n", place)
        call, thread, at, length, path = trace[place:end].decode().split(" ", 4)
        place = end + 1 + int(length)
        changes.append(Change(call, int(thread), int(at), Path(path), trace[end + 1 : place]))
    return changes


class File:
    """What a file holds for sure, and what was written into it since."""

    def __init__(self) -> None:
        self.secured = bytearray()
        self.pending: list[Change] = []

    def left(self, chance: random.Random, share: float) -> bytes:
        """What it holds where a share of what is not sure got to the disk."""
        content = bytearray(self.secured)
        for change in self.pending:
            apply(content, change, lambda: chance.random() < share)
        return bytes(content)


def apply(content: bytearray, change: Change, arrives: Callable[[], bool]) -> None:
    """Change what a file holds by those sectors of a write that arrive."""
    if change.call == "truncate":
        if arrives():
            content[:] = content[: change.at].ljust(change.at, b"\0")
        return
    at, end = change.at, change.at + len(change.content)
    while at < end:
        until = min(end, (at // SECTOR + 1) * SECTOR)
        if arrives():
            if len(content) < at:
                content.extend(bytes(at - len(content)))
            content[at:until] = change.content[at - change.at : until - change.at]
        at = until


class Naming(NamedTuple):
    """A name that was given to a file, or taken away."""

    name: str
    file: File | None


class Folder:
    """The names that a folder has for sure, and how they were changed since."""

    def __init__(self) -> None:
        self.secured: dict[str, File] = {}
        self.pending: list[Naming] = []

    def left(self, count: int) -> dict[str, File]:
        """The names after so many of the changes that are not sure."""
        names = dict(self.secured)
        for name, file in self.pending[:count]:
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        return names


class Disk:
    """A disk to which changes happen, and whose power can be cut after any of them."""

    def __init__(self) -> None:
        self.files: dict[Path, File] = {}
        self.folders: dict[Path, Folder] = {}
        #: By thread: what the sync that it is waiting for will have secured.
        self.syncing: dict[int, tuple[list[Change], list[Naming]]] = {}

    def happen(self, change: Change) -> None:
        """Make one change."""
        if change.call == "syncing":
            self.syncing[change.thread] = self.pending(change.path)
        elif change.call == "synced":
            self.secure(change.path, *self.syncing.pop(change.thread))
        elif change.call == "rename":
            self.name(Path(change.content.decode()), self.files[change.path])
            self.name(change.path, None)
        elif change.call == "unlink":
            self.name(change.path, None)
        else:
            if change.path not in self.files:
                self.name(change.path, File())
            self.files[change.path].pending.append(change)

    def folder(self, path: Path) -> Folder:
        return self.folders.setdefault(path, Folder())

    def name(self, path: Path, file: File | None) -> None:
        """Give a file a name, or take the name away."""
        self.folder(path.parent).pending.append(Naming(path.name, file))
        if file is None:
            self.files.pop(path, None)
        else:
            self.files[path] = file

    def pending(self, path: Path) -> tuple[list[Change], list[Naming]]:
        """What a sync of this path secures that begins now: of its content, and of names."""
        if path in self.files:
            return [*self.files[path].pending], [*self.folder(path.parent).pending]
        return [], [*self.folder(path).pending]

    def secure(self, path: Path, changes: list[Change], names: list[Naming]) -> None:
        """Take it that these changes have reached the disk, as far as they have not yet."""
        file = self.files.get(path)
        while file is not None and file.pending and any(file.pending[0] is change for change in changes):
            apply(file.secured, file.pending.pop(0), lambda: True)
        folder = self.folder(path.parent if file is not None else path)
        count = sum(any(done is naming for done in names) for naming in folder.pending)
        folder.secured = folder.left(count)
        del folder.pending[:count]

    def cut(self, chance: random.Random, share: float) -> dict[Path, bytes]:
        """The files that are there when the power is back, where a share of what is not sure got to the disk."""
        left = {}
        for path, folder in self.folders.items():
            count = sum(chance.random() < share for _ in folder.pending)
            left |= {path / name: file.left(chance, share) for name, file in folder.left(count).items()}
        return left


def cuts(changes: list[Change], places: Iterator[int]) -> Iterator[tuple[int, Disk]]:
    """The disk after so many changes, for each of the places."""
    disk, made = Disk(), 0
    for place in places:
        for change in changes[made:place]:
            disk.happen(change)
        made = place
        yield place, disk
