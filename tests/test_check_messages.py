"""What is said of each mistake in a workflow file: all in one file, `check_messages.txt`, for a person to read in one go.

A case there is its name behind `===`, the workflow file, and behind `→` what is said. Whoever adds a case or words an
answer anew has the answers written down again, and reads them: `REGENERATE=1 pytest tests/test_check_messages.py`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.children import DEADLINE_S
from tests.workflow_files import PROGRAM

MESSAGES = Path(__file__).with_name("check_messages.txt")


class Case(NamedTuple):
    """A wrong file, and what is said of it."""

    name: str
    text: str
    message: str


def cases() -> list[Case]:
    """The cases, as they are written down."""
    found = []
    for part in MESSAGES.read_text().split("=== ")[1:]:
        name, _, rest = part.partition("\n")
        text, _, message = rest.partition("→\n")
        found.append(Case(name, text, message))
    return found


def said(folder: Path, text: str) -> str:
    """What is said of a file; it is refused, and nothing goes wrong on the way."""
    (folder / "flow.yaml").write_text(text)
    done = subprocess.run(
        [PROGRAM, "run", "flow.yaml", "--dry-run", "--state-dir", folder / "state"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 2 and not done.stdout, (text, done)
    assert not (folder / "state").exists()
    return done.stderr.replace(f"{folder}/", "").strip()


def test_every_mistake_is_told_as_it_is_written_down(tmp_path: Path) -> None:
    known = cases()
    now = [Case(case.name, case.text, f"{said(tmp_path, case.text)}\n\n") for case in known]
    if os.environ.get("REGENERATE"):
        MESSAGES.write_text("".join(f"=== {case.name}\n{case.text}→\n{case.message}" for case in now))
        return
    assert len({case.name for case in known}) == len(known) > 100
    different = [(case, before) for case, before in zip(now, known, strict=True) if case != before]
    assert not different, different[0]


def test_every_mistake_has_a_place_and_says_what_to_do() -> None:
    for case in cases():
        assert case.message.startswith("error: "), case
        assert "flow.yaml:" in case.message or "not given" in case.message, case
