"""Runs every check and says at the end which passed, which failed and which could not run.

A check that lacks its tool is *not run*, which is never counted as passed; so is a single test that pytest
skipped. It knows commands and exit codes, nothing of what the checks are about.

    python tests/checks.py              all of them
    python tests/checks.py ruff mypy    only these
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "target" / "checks"
LIMIT_S = 20 * 60

PASSED, FAILED, NOT_RUN = "passed", "FAILED", "not run"


@dataclass(frozen=True)
class Check:
    """One row of the table, and the command that decides it."""

    name: str
    command: tuple[str, ...]
    #: A quick command that fails where the check's tool is missing, and what to call that tool.
    probe: tuple[str, ...] = ()
    tool: str = ""
    #: The file the check is about; without it there is nothing to run.
    subject: str = ""
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How one check ended."""

    name: str
    state: str
    note: str = ""
    seconds: float = 0.0


def all_checks() -> list[Check]:
    """The checks, cheapest first."""
    # Without this, checking the bridge looks for a libpython to link.
    bridge = {"PYO3_BUILD_EXTENSION_MODULE": "1", "PYO3_PYTHON": sys.executable}
    nextest = succeeds(("cargo", "nextest", "--version"))
    rust_tests = (
        ("cargo", "nextest", "run", "--no-fail-fast", "--status-level", "fail")
        if nextest
        else ("cargo", "test", "--no-fail-fast", "--lib", "--bins", "--tests")
    )
    return [
        Check(
            "format (Rust)", ("cargo", "fmt", "--all", "--check"), ("cargo", "fmt", "--version"), "rustfmt"
        ),
        python("format (Python)", "ruff", "format", "--check", "."),
        python("ruff", "ruff", "check", "."),
        python("mypy", "mypy", "--strict", "python/dirigent"),
        python(
            "stubtest",
            "mypy.stubtest",
            "dirigent",
            "--mypy-config-file",
            "pyproject.toml",
            "--allowlist",
            "tests/stubtest.allow",
            "--ignore-unused-allowlist",
        ),
        Check(
            "clippy",
            ("cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"),
            ("cargo", "clippy", "--version"),
            "clippy",
            env=bridge,
        ),
        Check("Rust tests", (*rust_tests, "--locked"), ("cargo", "--version"), "cargo"),
        Check(
            "Rust examples",
            ("cargo", "test", "--doc", "--locked", "--quiet"),
            ("cargo", "--version"),
            "cargo",
        ),
        pytest("pytest", "tests", "--ignore=tests/test_docs.py", "--ignore=tests/test_install.py"),
        pytest("documentation", "tests/test_docs.py"),
        pytest("installation", "tests/test_install.py"),
    ]


def python(name: str, module: str, *arguments: str) -> Check:
    """A check that is a Python module of this environment."""
    return Check(
        name,
        (sys.executable, "-m", module, *arguments),
        (sys.executable, "-c", f"import {module}"),
        module,
    )


def pytest(name: str, subject: str, *arguments: str) -> Check:
    """A check that is a run of pytest, whose skipped tests become rows of their own."""
    made = python(name, "pytest", subject, f"--junitxml={record(name)}", *arguments)
    return Check(made.name, made.command, made.probe, made.tool, subject)


def record(name: str) -> Path:
    """Where pytest leaves what it did."""
    return RECORDS / f"{name}.xml"


def main(names: list[str]) -> int:
    """Run the named checks, or all, and print the table."""
    # Asked to stop, end the running check too: it is in a session of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # What is tested is what is installed beside this interpreter.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.chdir(ROOT)
    RECORDS.mkdir(parents=True, exist_ok=True)
    checks = all_checks()
    unknown = [name for name in names if not any(chosen(check, [name]) for check in checks)]
    if unknown:
        there_are = ", ".join(check.name for check in checks)
        print(f"no such check: {', '.join(unknown)}; there are: {there_are}", file=sys.stderr)
        return 2
    outcomes: list[Outcome] = []
    for check in checks:
        if not names or chosen(check, names):
            outcomes += run(check)
    print_table(outcomes)
    return int(any(outcome.state == FAILED for outcome in outcomes))


def chosen(check: Check, names: list[str]) -> bool:
    """Whether one of the names means this check."""
    return any(check.name.lower().startswith(name.lower()) for name in names)


def run(check: Check) -> list[Outcome]:
    """Carry out one check; more than one row where parts of it could not run."""
    print(f"\n=== {check.name}: {' '.join(check.command)}", flush=True)
    if check.probe and not succeeds(check.probe):
        return [Outcome(check.name, NOT_RUN, f"{check.tool} is not installed")]
    if check.subject and not (ROOT / check.subject).exists():
        return [Outcome(check.name, NOT_RUN, f"there is no {check.subject}")]
    record(check.name).unlink(missing_ok=True)
    started = time.monotonic()
    code = exit_code(check)
    seconds = time.monotonic() - started
    if code != 0:
        reason = f"over {LIMIT_S} s" if code is None else f"exit code {code}"
        return [Outcome(check.name, FAILED, reason, seconds), *skipped_tests(check)]
    ran, skipped = tests_run(check), skipped_tests(check)
    if ran == 0:
        return [Outcome(check.name, NOT_RUN, "every test was skipped", seconds), *skipped]
    return [Outcome(check.name, PASSED, "" if ran is None else f"{ran} tests", seconds), *skipped]


def exit_code(check: Check) -> int | None:
    """Run the command in a session of its own; None, and the whole of it ended, when it takes too long."""
    process = subprocess.Popen(
        check.command, env={**os.environ, **check.env}, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def succeeds(command: tuple[str, ...]) -> bool:
    """Whether a quick command can be started and ends well."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def tests_run(check: Check) -> int | None:
    """How many tests pytest really carried out; None for other checks."""
    if not record(check.name).exists():
        return None
    cases = list(ElementTree.parse(record(check.name)).iter("testcase"))
    return len([case for case in cases if case.find("skipped") is None])


def skipped_tests(check: Check) -> list[Outcome]:
    """One row for each reason why pytest left tests out."""
    if not record(check.name).exists():
        return []
    reasons: Counter[str] = Counter()
    for skipped in ElementTree.parse(record(check.name)).iter("skipped"):
        # A failure that is expected did run.
        if skipped.get("type") != "pytest.xfail":
            reasons[skipped.get("message", "no reason given")] += 1
    return [
        Outcome(f"{check.name}: {count} test{'s' * (count > 1)}", NOT_RUN, reason)
        for reason, count in sorted(reasons.items())
    ]


def print_table(outcomes: list[Outcome]) -> None:
    """Every check with its state, and the closing line that programs read."""
    width = max((len(outcome.name) for outcome in outcomes), default=0)
    print("\n=== every check")
    for outcome in outcomes:
        taken = f"{outcome.seconds:6.1f} s" if outcome.seconds else " " * 8
        print(f"{outcome.name:{width}}  {outcome.state:7}  {taken}  {outcome.note}".rstrip())
    count = Counter(outcome.state for outcome in outcomes)
    print(f"\n{count[PASSED]} passed, {count[FAILED]} failed, {count[NOT_RUN]} skipped", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
