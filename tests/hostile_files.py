"""Files that mean no good: those of `tests/hostile/`, those too large to keep there, and what reading one costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).with_name("hostile")


class Read(NamedTuple):
    """How reading a file ended, and what it cost."""

    code: int
    cpu_s: float
    peak_mib: float
    message: str


#: Starts a program and tells what it cost. A process counts the memory of whoever started it as its own until it begins.
MEASURE = """
import json, resource, subprocess, sys
within_s, folder, *command = sys.argv[1:]
try:
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=float(within_s))
    code, said = done.returncode, done.stdout + done.stderr
except subprocess.TimeoutExpired:
    code, said = -9, b""
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said.decode(errors="replace")]))
"""


def read(program: Path, path: Path, folder: Path, within_s: float) -> Read:
    """Have the program read a file, and run nothing of it; a code below 0 where it hangs or crashes."""
    command = [program, "run", path, "--dry-run", "--state-dir", folder / "state"]
    measure: list[str | Path] = [sys.executable, "-ISc", MEASURE, str(within_s), folder, *command]
    done = subprocess.run(measure, capture_output=True, text=True, check=True)
    return Read(*json.loads(done.stdout))


def kept() -> list[Path]:
    """The files that lie there."""
    return sorted(path for path in FOLDER.iterdir() if path.suffix in (".yaml", ".toml", ".json"))


def made(folder: Path) -> Iterator[Path]:
    """Files that are too large to keep."""
    deep = 100_000
    many = 16 << 20
    texts = {
        "deep_lists.yaml": "[" * deep,
        "deep_tables.yaml": "{a: " * deep,
        "deep_blocks.yaml": "- " * deep,
        "deep.json": '{"tasks":' * deep,
        "deep.toml": f"a = {'[' * deep}{']' * deep}",
        "deep_keys.toml": f"a{'.a' * deep} = 1",
        "huge_scalar.yaml": f"tasks: {{a: {{rum: '{'x' * (many - 100)}'}}}}",
        "huge_scalar.json": f'{{"tasks": {{"a": {{"rum": "{"x" * (many - 100)}"}}}}}}',
        "huge_key.yaml": f"tasks: {{{'k' * 1_000_000}: {{rum: 1}}}}",
        "huge_expression.yaml": f"tasks: {{a: {{run: [echo, '${{{{ {'(' * 1_000_000} }}}}']}}}}",
        "too_large.yaml": "# " + "x" * many,
        "blank.yaml": "\n" * (many - 1),
        "comments.yaml": "#\n" * (many // 2 - 1),
        "one_line.json": "[" + "1," * 200_000 + "1]",
        "unknown_keys.yaml": "".join(f"k{number}: {number}\n" for number in range(20_000)),
        "unknown_keys_of_a_task.yaml": "tasks:\n  a:\n" + "".join(f"    k{number}: 1\n" for number in range(20_000)),
        "wrong_tasks.yaml": "tasks:\n" + "".join(f"  t{number}: {{rum: 1}}\n" for number in range(20_000)),
        "unknown_needs.yaml": "tasks:\n" + "".join(f"  task_{n}: {{run: [a], needs: task{n}}}\n" for n in range(5_000)),
        "unknown_values.yaml": "tasks:\n" + "".join(f"  task_{n}: {{run: ['${{{{ task{n} }}}}']}}\n" for n in range(5_000)),
        "anchors.yaml": "".join(f"k{number}: &a{number} 1\n" for number in range(20_000)),
        "aliases.yaml": "x: &x [1, 2, 3]\ny: [" + "*x, " * 50_000 + "]\n",
        "merges.yaml": "x: &x {a: 1, b: 2}\ny:\n" + "  - {<<: *x}\n" * 50_000,
        "duplicates.toml": "".join(f"k{number} = 1\n" for number in range(20_000)) + "k0 = 1\n",
        "pools.yaml": "pools: {" + ", ".join(f"p{n}: 1" for n in range(5_000)) + "}\n"
        "tasks: {a: {run: [b], pool: [" + ", ".join(f"q{n}" for n in range(5_000)) + "]}}\n",
        "matrix.yaml": "tasks: {a: {run: [b], rum: 1, each: {" + ", ".join(f"k{n}: [1, 2]" for n in range(5_000)) + "}}}",
    }  # fmt: skip
    for name, text in texts.items():
        path = folder / name
        path.write_text(text)
        yield path
        path.unlink()
