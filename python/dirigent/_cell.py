"""How a notebook shows a task, its result, and tables: plain markup, in which everything is text."""

from __future__ import annotations

import html
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dirigent._options import Task
    from dirigent._result import TaskResult
    from dirigent._table import Table

#: The end of a log that is shown.
_LINES = 20
_BYTES = 8192
_VALUE_CHARS = 300
SIGNS = {
    "pending": "·",
    "waiting": "?",
    "running": "▸",
    "retrying": "↻",
    "completed": "✓",
    "failed": "✗",
    "timed_out": "⧖",
    "cancelled": "⊘",
    "skipped": "→",
}


def of_result(result: TaskResult) -> str:
    """A line on how it went, its value as far as that is here already, and the end of what it printed."""
    facts = [result.sentence or str(result.status).replace("_", " ")]
    if result.attempts:
        facts.append(f"{result.execution_time:.2f} s")
        facts.append(f"{result.attempts} attempt{'s' if result.attempts > 1 else ''}")
    head = f"{SIGNS[str(result.status)]} <b>{_text(result.name or 'task')}</b> {_text(' · '.join(facts))}"
    parts = [f'<p style="margin:.3em 0">{head}</p>']
    if "value" in vars(result) and result.value is not None:
        parts.append(_block(_shortened(result.value)))
    if result.log is not None:
        parts += [_block(end) for name in ("stdout.log", "stderr.log") if (end := _end_of(result.log / name))]
    return f'<div class="dirigent-cell">{"".join(parts)}</div>'


def of_task(task: Task) -> str:
    """A line on what it does, what it waits for, and how long and how often it may be tried."""
    action = task.action
    if isinstance(action, list):
        does = "command " + Path(str(action[0])).name  # its arguments are nobody's business
    elif task.made_of is not None:
        does = "consists of tasks"
    elif isinstance(action, str):
        does = f"script {Path(action).name}" if action.startswith("/") else f"approval: {action}"
    else:
        does = f"function {getattr(action, '__qualname__', type(action).__name__)}"
    facts = [does]
    if task.dependencies:
        facts.append("needs " + ", ".join(task.dependencies))
    if task.timeout is not None:
        facts.append(f"at most {task.timeout:g} s")
    if task.retry_policy is not None:
        facts.append(f"{task.retry_policy.max_attempts} attempts")
    facts += sorted(task.tags)
    return f'<div class="dirigent-cell">○ <b>{_text(task.name)}</b> {_text(" · ".join(facts))}</div>'


def of_table(table: Table) -> str:
    """Its first rows."""
    columns = {name: values[:_LINES] for name, values in table.columns.items()}
    head = "".join(f"<th>{_text(name)}</th>" for name in columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_text(_shown(value))}</td>' for value in row)}</tr>"
        for row in zip(*columns.values(), strict=True)
    )
    more = len(table) - _LINES
    foot = f"<p>… and {more:,} more rows</p>" if more > 0 else ""
    table_ = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="dirigent-cell" style="overflow:auto">{table_}{foot}</div>'


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    text = value.isoformat(" ", "seconds") if isinstance(value, datetime) else str(value)
    return text if len(text) <= _VALUE_CHARS else f"{text[:_VALUE_CHARS]}…"


def _shortened(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    return text if len(text) <= _VALUE_CHARS else f"{text[:_VALUE_CHARS]}…"


def _end_of(log: Path) -> str:
    """The last lines of a log; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _BYTES))
            text = file.read(_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_LINES:])


def _block(text: str) -> str:
    style = "margin:.3em 0;overflow:auto;max-height:24em;white-space:pre;font-family:monospace"
    return f'<pre style="{style}">{_text(text)}</pre>'


def _text(text: str) -> str:
    return html.escape(as_text(text))


def as_text(text: str) -> str:
    """What could turn the text around it around, or mean something to a terminal, is seen instead."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(c if c in "\n\t" or c == " " or c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)
