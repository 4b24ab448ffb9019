"""Which faults are tried, how each is brought about, and how that went: gathered from a run of the tests into a page.

A test says what it tries with ``@pytest.mark.fault("E1", "kill -9 at every change of the disk")``. ``pytest --fault-matrix``
writes ``docs/faults.md`` when every such test had its turn and none failed.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "faults.md"

GROUPS = {
    "E": "The engine dies",
    "D": "The disk misbehaves",
    "C": "Children misbehave",
    "P": "Python misbehaves",
    "G": "Graphs and names",
}

#: What goes wrong, and what must be true then.
CASES = {
    "E1": "The engine is killed at any place. The run goes on to the result it would have had.",
    "E2": "The engine is killed at any time, again and again. As above.",
    "E3": "The power is cut. What was promised to be on the disk itself is there, and the run goes on.",
    "E4": "The engine is killed while children run. Within two seconds, or at the next start, all are ended.",
    "E5": "Interrupted, terminated, hung up. Nothing new starts, children get their grace, the run can go on.",
    "E6": "Stopped and continued. So are the children; the time in between counts against no limit.",
    "E7": "Two engines. On one run the second is told who holds it; on runs of their own they do not meet.",
    "E8": "A state folder of another version. An older one is taken over whole, a newer one left as it is.",
    "E9": "The guard process alone is killed. Its attempts are lost, and tried again under a new one.",
    "D1": "The disk is full. What runs goes on, nothing new starts until there is room.",
    "D2": "The disk refuses to sync or to write. Nothing is told that is not recorded, and the engine stops.",
    "D3": "The state folder is read-only, somebody else's, or gone. An error before anything runs, or soon.",
    "D4": "The database is damaged. That is noticed, and nothing else than what was recorded is ever told.",
    "D5": "A file with a value or a log is lost or altered. That is noticed; a task whose value is needed runs again.",
    "D6": "Many readers of a busy journal. None hears that it is busy.",
    "C1": "A child ignores being asked to end. It is killed after its grace.",
    "C2": "Output without end. All of it is counted, the log has a cap, memory stays small.",
    "C3": "A child ends and a grandchild keeps its pipe. The attempt ends at once, and the grandchild is ended.",
    "C4": "Children that leave their session and their parents. They are found and ended.",
    "C5": "Out of memory, a crash, a signal. The outcome says so, and the neighbours are unhurt.",
    "C6": "Bytes that are no text. Exact on disk, replaced in text, no escape sequence reaches a terminal.",
    "C7": "A command that cannot start. The outcome has the system's reason.",
    "C8": "A child that asks on the terminal. There is none: it fails, and does not hang.",
    "C9": "File descriptors or processes run out. Fewer run at once, and nothing is lost.",
    "C10": "A fork bomb. The child fails, the engine lives.",
    "P1": "A function ends in an unusual way. It has failed, and the run goes on.",
    "P2": "A value that cannot be kept, sent or shown. It reaches who needs it, or the failure names the part.",
    "P3": "A function holds the interpreter. In a process its time limit ends it; in a thread the rest goes on.",
    "P4": "Ctrl-C while Rust waits. It is heard at once, and nothing is left.",
    "P5": "Much depth: chains, nested data. Nothing recurses.",
    "P6": "The code has changed when a run goes on. That is noticed.",
    "G1": "Very large graphs. They are planned and carried out.",
    "G2": "Cycles and missing needs. The shortest cycle is named, and nothing is recorded.",
    "G3": "Names like paths, of any characters, of any length. No name becomes a path.",
}

#: Tests of the crates, which pytest does not see.
RUST = {
    "rust/cli/tests/children.rs": {
        "a_child_that_ignores_the_request_to_end_is_killed_after_its_grace": ("C1", "a trap for SIGTERM"),
        "a_hundred_megabytes_cost_the_cap_and_no_more": ("C2", "100 MB through the guard"),
        "a_grandchild_that_keeps_the_pipe_holds_nothing_up_and_is_ended": ("C3", "`sleep 600 & exit 0`"),
        "daemons_are_found_and_ended": ("C4", "daemons under the guard"),
        "a_death_by_signal_is_told_as_one": ("C5", "signals"),
        "memory_has_a_limit_for_each_process_and_for_the_tree": ("C5", "more memory than the limit"),
        "output_is_exact_on_disk_and_usage_is_known": ("C6", "carriage returns, NUL, bytes that are no text"),
        "what_cannot_start_says_why_in_the_systems_words": (
            "C7",
            "missing, not executable, a folder that is gone",
        ),
        "there_is_no_terminal_and_nothing_to_read": ("C8", "`cat`, and the terminal opened by its name"),
        "a_killed_guard_loses_attempts_which_are_tried_again_under_a_new_one": ("E9", "kill -9 of the guard"),
        "stopped_time_counts_against_no_limit": ("E6", "a clock that stands still"),
    }
}


class Row(NamedTuple):
    """A fault, how it is brought about, and the test that does so."""

    case: str
    injection: str
    file: str
    test: str


def rows_in(file: Path) -> Iterator[Row]:
    """What the tests of a file say that they try, read without importing it."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                case, injection = (ast.literal_eval(word) for word in mark.args)
                yield Row(case, injection, f"tests/{file.name}", node.name)  # type: ignore[union-attr]


def all_rows() -> list[Row]:
    """Everything that is tried by pytest, in order."""
    files = sorted((ROOT / "tests").glob("test_*.py"))
    return sorted((row for file in files for row in rows_in(file)), key=order)


def order(row: Row) -> tuple[int, int, str, str, str]:
    """Groups as they are listed, then numbers, then words."""
    return (list(GROUPS).index(row.case[0]), int(row.case[1:]), row.injection, row.file, row.test)


class FaultMatrix:
    """A plugin that writes down how the tests went, and makes the page of it."""

    def __init__(self, page: Path = PAGE) -> None:
        self.page = page
        self.went: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.problem = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and not report.failed and not report.skipped:
            return
        path, _, name = report.nodeid.partition("::")
        went: str = report.outcome
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            went = f"not run: {reason.removeprefix('Skipped: ')}"
        self.went[path, name.partition("[")[0]].append(went)

    def pytest_sessionfinish(self) -> None:
        rows = all_rows()
        missing = [row.test for row in rows if not self.went[row.file, row.test]]
        failed = [row.test for row in rows if "failed" in self.went[row.file, row.test]]
        if missing:
            self.problem = f"{len(missing)} of its tests had no turn, {missing[0]} for one"
        elif failed:
            self.problem = f"{len(failed)} of its tests failed, {failed[0]} for one"
        else:
            self.page.write_text(self.text(rows), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        end = f"was not written: {self.problem}" if self.problem else "was written"
        terminalreporter.write_line(f"{self.page.name} {end}")

    def text(self, rows: list[Row]) -> str:
        """The page."""
        lines = [HEAD]
        for letter, title in GROUPS.items():
            lines.append(f"\n## {title}\n")
            for case, words in CASES.items():
                if case[0] != letter:
                    continue
                lines += [f"\n**{case}.** {words}\n", "| brought about by | test | cases | result |"]
                lines.append("| --- | --- | --- | --- |")
                tried = [self.line(row) for row in rows if row.case == case]
                for file, tests in RUST.items():
                    tried += [
                        f"| {injection} | `{test}` in `{file}` | 1 | by `cargo test` |"
                        for test, (of, injection) in tests.items()
                        if of == case
                    ]
                lines += tried or ["| | there is no test yet | | not tried |"]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"

    def line(self, row: Row) -> str:
        """One line of a table."""
        went = self.went[row.file, row.test]
        passed = went.count("passed")
        reasons = sorted({one for one in went if one.startswith("not run")})
        result = ", ".join([*(["passed"] if passed else []), *reasons])
        count = str(passed) if passed == len(went) else f"{passed} of {len(went)}"
        return f"| {row.injection} | `{row.test}` in `{row.file}` | {count} | {result} |"


HEAD = """# Faults

What is made to go wrong, how, and whether it was survived. The tests write this page when all of them have had their turn:

```sh
.venv/bin/python -m pytest -m fault --fault-matrix
```

Faults that could hit anywhere are tried at some places each time; with `FAULT_ROUNDS=all` at every one there is. After a fault,
[tests/oracle.py](../tests/oracle.py) asks whether the database is sound and its history whole; whether everything is recorded
that anybody was told; whether what runs is recorded as running, and nothing else is; whether anything was carried out twice;
whether tables and events agree; and whether anything was left half-written. A result that says
*not run* is no success."""
