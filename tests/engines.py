"""Engines in processes that can be killed, and a disk under them that misbehaves: what tests of the journal share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.children import DEADLINE_S
from tests.oracle import ask, check

ROOT = Path(__file__).resolve().parent.parent

#: How many rounds a test makes that could make any number; `all` for every one there is.
ROUNDS = os.environ.get("FAULT_ROUNDS", "")


def rounds(usual: int, most: int) -> int:
    """How many rounds to make: some, unless the tester wants another number."""
    return min(most, most if ROUNDS == "all" else int(ROUNDS or usual))


def spread(count: int, most: int) -> Iterator[int]:
    """So many numbers from 1 to the last, evenly spread, with both ends."""
    yield from sorted({1 + place * (most - 1) // max(1, count - 1) for place in range(count)})


def build_faulty_disk(folder: Path) -> Path:
    """Build the library that makes a disk misbehave."""
    library = folder / "faulty_disk.so"
    source = ROOT / "tests" / "faulty_disk.c"
    command: list[str | Path] = ["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True, timeout=DEADLINE_S)
    return library


class Engine:
    """The durable workflow, carried out in processes of their own with a folder for all that it leaves."""

    def __init__(self, folder: Path, faulty_disk: Path | None = None, state: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state = state or folder / "state"
        self.ledger = folder / "ledger"
        self.values = folder / "values"
        self.log = folder / "calls"
        self.faulty_disk = faulty_disk

    def environment(self, **faulty: object) -> dict[str, str]:
        """The environment of an engine whose disk misbehaves in this way, if in any."""
        environment = {**os.environ, "DIRIGENT_STATE_DIR": str(self.state)}
        if faulty:
            assert self.faulty_disk is not None
            # What the engine writes; not what its children do.
            faulty.setdefault("paths", rf"^{self.state}/(journal|artifacts|runs(/[^/]+(/lock)?)?$)")
            environment |= {f"FAULTY_{name.upper()}": str(value) for name, value in faulty.items()}
            environment["LD_PRELOAD"] = str(self.faulty_disk)
        return environment

    def command(self, *words: str) -> list[str | Path]:
        """How to start it."""
        return [sys.executable, ROOT / "tests" / "durable.py", self.ledger, self.values, *words]

    def carry_out(self, *words: str, **faulty: object) -> subprocess.CompletedProcess[str]:
        """Carry the workflow out in a process, and wait for its end."""
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(**faulty),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    def runs(self) -> list[dict[str, Any]]:
        """The recorded runs, the newest first; none where nothing was recorded."""
        heads: list[dict[str, Any]] = json.loads(ask(self.state, "runs", "--json"))
        return heads

    def check(self) -> list[str]:
        """Hold every recorded run against the oracle, and return how they stand, the newest first."""
        return [check(self.state, head["id"], self.ledger) for head in self.runs()]

    def told_values(self) -> Any:
        """What the tasks gave."""
        return json.loads(self.values.read_text())
