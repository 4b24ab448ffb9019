"""The demo: runs the example scripts by the installed program and checks that every outcome is the intended one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

#: What the example is made to show.
INTENDED = {
    "checks/fails.py": "failed",
    "checks/hangs.py": "timed_out",
    "checks/needs_a_printer.py": "skipped",
    "checks/no_matches.sh": "completed",
    "etl/extract.py": "completed",
    "etl/load.sh": "completed",
    "hello.py": "completed",
}


def main() -> int:
    """Run the demo; return 0 when every outcome is the intended one."""
    program = Path(sys.executable).parent / "dirigent"
    scripts = HERE / "scripts"
    print(f"$ dirigent run {scripts.relative_to(HERE.parent)}", flush=True)
    code = subprocess.run([program, "run", scripts], cwd=HERE.parent).returncode
    told = subprocess.run([program, "report", "--json"], cwd=scripts, capture_output=True, check=True)
    summary = json.loads(told.stdout)
    outcomes = {task["name"]: task["status"] for task in summary["tasks"]}
    wrong = {
        name: (outcomes.get(name), INTENDED.get(name))
        for name in sorted(outcomes.keys() | INTENDED.keys())
        if outcomes.get(name) != INTENDED.get(name)
    }
    for name, (got, intended) in wrong.items():
        print(f"{name}: {got}, and {intended} was intended", file=sys.stderr)
    if code != 1:
        print(f"the exit code is {code}, and 1 was intended: two scripts fail on purpose", file=sys.stderr)
    if wrong or code != 1:
        return 1
    print(f"demo: all {len(INTENDED)} outcomes are the intended ones (the failure and the timeout too)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
