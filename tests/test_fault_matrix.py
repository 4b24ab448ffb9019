"""The page of faults names every test of one; and it is written only when all had their turn and none failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import DEADLINE_S
from tests.fault_matrix import CASES, PAGE, RUST, FaultMatrix, all_rows


def test_every_test_of_a_fault_is_on_the_page_and_nothing_else() -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| ") and "` in `tests/" in line]
    told = sorted(line.split(" | ")[:2] for line in lines)
    expected = sorted([f"| {row.injection}", f"`{row.test}` in `{row.file}`"] for row in all_rows())
    assert told == expected, "write it again: pytest --fault-matrix"
    assert all(f"**{case}.** {words}" in page for case, words in CASES.items())


def test_every_case_has_words_and_every_test_that_is_named_is_there(root: Path) -> None:
    assert {row.case for row in all_rows()} <= set(CASES)
    for file, tests in RUST.items():
        code = (root / file).read_text(encoding="utf-8")
        for test, (case, _) in tests.items():
            assert f"fn {test}()" in code and case in CASES


INNER = """
import pytest
from pathlib import Path
from tests import fault_matrix
from tests.fault_matrix import FaultMatrix, Row

rows = [Row("E1", "first", "test_it.py", "test_good"), Row("E1", "second", "test_it.py", "test_other")]
fault_matrix.all_rows = lambda: rows
matrix = FaultMatrix(Path("page.md"))
pytest.main(["-q", "-p", "no:cacheprovider", "test_it.py", *WORDS], plugins=[matrix])
"""

OTHER = {
    "passes": "def test_other(): pass",
    "fails": "def test_other(): assert False",
    "skips": "def test_other(): pytest.skip('no disk')",
}


@pytest.mark.parametrize(
    ("other", "words", "told"),
    [
        ("passes", [], "page.md was written"),
        ("skips", [], "page.md was written"),
        ("fails", [], "page.md was not written: 1 of its tests failed, test_other for one"),
        ("passes", ["-k", "good"], "page.md was not written: 1 of its tests had no turn, test_other for one"),
    ],
)
def test_the_page_is_written_when_all_had_their_turn(
    root: Path, tmp_path: Path, other: str, words: list[str], told: str
) -> None:
    good = "@pytest.mark.parametrize('n', [1, 2, 3])\ndef test_good(n): pass\n"
    (tmp_path / "test_it.py").write_text(f"import pytest\n{good}{OTHER[other]}\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    code = f"import sys; sys.path.insert(0, {str(root)!r}); WORDS = {words!r}\n{INNER}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert told in done.stdout, done
    page = tmp_path / "page.md"
    assert page.exists() == ("not written" not in told)
    if page.exists():
        result = "| 1 | passed |" if other == "passes" else "| 0 of 1 | not run: no disk |"
        assert "| first | `test_good` in `test_it.py` | 3 | passed |" in page.read_text()
        assert f"| second | `test_other` in `test_it.py` {result}" in page.read_text()


def test_a_result_tells_of_the_parts_that_could_not_run() -> None:
    matrix, [row, *_] = FaultMatrix(), all_rows()
    matrix.went[row.file, row.test] = ["passed", "not run: we are not root", "passed"]
    assert matrix.line(row).endswith("| 2 of 3 | passed, not run: we are not root |")
