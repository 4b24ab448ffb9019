"""How a notebook shows the result of a task: plain markup, in which everything is text."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dirigent._result import TaskResult

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
    return f'<pre style="margin:.3em 0;overflow:auto;max-height:24em;white-space:pre">{_text(text)}</pre>'


def _text(text: str) -> str:
    return html.escape(as_text(text))


def as_text(text: str) -> str:
    """What could turn the text around it around, or mean something to a terminal, is seen instead."""
    return "".join(c if c in "\n\t" or c == " " or c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)
