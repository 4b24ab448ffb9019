"""A plugin: after each run it says which task took longest. `pip install ./examples/plugin` is all it takes."""

from __future__ import annotations

import sys
from typing import Any

took: dict[str, dict[str, float]] = {}


def after_task(info: dict[str, Any]) -> None:
    """Note how long a task took."""
    took.setdefault(info["run"], {})[info["task"]] = info.get("duration_s", 0.0)


def after_run(info: dict[str, Any]) -> None:
    """Say which took longest."""
    tasks = took.pop(info["run"], {})
    if tasks:
        slowest = max(tasks, key=lambda task: tasks[task])
        print(
            f"{info['workflow']} {info['verdict']}; slowest: {slowest}, {tasks[slowest]:.3f} s",
            file=sys.stderr,
        )
