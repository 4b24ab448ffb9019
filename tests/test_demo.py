"""The tour, as somebody sees it who has just installed the package."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.children import DEADLINE_S


def test_the_tour_kills_its_engine_goes_on_and_leaves_nothing_behind(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    told = subprocess.run(
        [program, "demo"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S
    )
    assert told.returncode == 0, told.stdout
    assert "SIGKILL: the engine is gone" in told.stdout
    assert re.search(r"tasks that were not run again +6 of 9", told.stdout), told.stdout
    assert re.findall(r"(?:left behind:?) +(\d+)", told.stdout) == ["0", "0"]
    report = re.search(r"report +(\S+)", told.stdout)
    assert report is not None and Path(report[1]).read_text().startswith("<!doctype html>")
