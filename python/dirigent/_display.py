"""A run in a notebook while it goes: a line on where it stands, and the picture of its graph.

IPython is never loaded: where a program runs in its kernel, it is there. What is shown is looked up four times a second at
most, on a thread of its own, which the run never waits for while it goes. Plain markup only, so that every front end shows it.
"""

from __future__ import annotations

import contextvars
import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from dirigent import _native
from dirigent._context import CURRENT
from dirigent._errors import ConfigError

if TYPE_CHECKING:
    from dirigent._run import RunHandle

VARIABLE = "DIRIGENT_DISPLAY"

#: Seconds between two looks.
_TICK_S = 0.25
#: Of more tasks there is no picture while they run: it folds them, and is asked for by ``run.graph()``.
_MOST_DRAWN = 300
#: What a run may send: in lines, and in pictures. With the last of each it stays below 1 MB.
_LINES_BYTES = 350_000
_PICTURES_BYTES = 450_000
#: What a message weighs beside its content.
_ENVELOPE_BYTES = 1_000
#: Seconds that the end of a run waits for its last state to be shown.
_PATIENCE_S = 5.0
#: The same where the run was broken off: whoever pressed the button waits.
_SHORT_PATIENCE_S = 0.05
#: Seconds after which nobody waits any more for the end of what was broken off.
_LONGEST_END_S = 30.0


def kernel_shell() -> Any:
    """The shell of the kernel of a notebook that this program is; ``None`` elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell if getattr(shell, "kernel", None) is not None else None


class Showing:
    """Shows a run, until it ends, where somebody looks at a notebook; elsewhere it does nothing.

    A run within a task, and one that is kept in memory only, as ``retry`` and ``timeout`` make them, are not shown.
    """

    def __init__(self, handle: RunHandle) -> None:
        self._handle = handle
        self._ended = threading.Event()
        self._is_cut = False
        self._was_told = threading.Event()
        self._cell = 0
        self._thread: threading.Thread | None = None
        if "IPython" not in sys.modules or CURRENT.get() is not None or not handle._is_recorded:
            return
        shell = kernel_shell()
        if shell is not None and _is_wanted(handle):
            # What is sent belongs to the cell that runs now: the kernel keeps that in a context variable.
            context = contextvars.copy_context()
            self._thread = threading.Thread(
                target=context.run, args=(self._show,), name="dirigent-display", daemon=True
            )
            self._cell = shell.execution_count

    def __enter__(self) -> None:
        if self._thread is not None:
            self._thread.start()

    def __exit__(self, kind: object, *_: object) -> None:
        if self._thread is None:
            return
        self._is_cut = kind is not None
        self._ended.set()
        if kind is None:
            self._thread.join(_PATIENCE_S)
        else:
            self._was_told.wait(_SHORT_PATIENCE_S)

    def _show(self) -> None:
        try:
            self._show_until_the_end()
        except Exception:
            logging.getLogger("dirigent").exception("the notebook does not show the run; it goes on")

    def _show_until_the_end(self) -> None:
        session, began = self._handle._session, time.monotonic()
        name = self._handle._workflow.name
        line, picture = _Shown(_LINES_BYTES), _Shown(_PICTURES_BYTES)
        told = -1
        while True:
            is_last = self._ended.wait(_TICK_S)
            seen = _native.glance(session)
            elapsed_s = time.monotonic() - began
            if seen[0] != told or is_last:
                told = seen[0]
                line.offer(partial(_line, name, seen, self._is_cut), elapsed_s, is_last)
                if is_last:
                    self._was_told.set()
                if len(session) <= _MOST_DRAWN:
                    picture.offer(self._picture, elapsed_s, is_last)
                    self._handle._shown_in = self._cell if picture.is_seen else None
            if is_last:
                break
        # What runs is ended behind the exception: how that went comes after it.
        until = time.monotonic() + _LONGEST_END_S
        while seen[4] is None and time.monotonic() < until:
            time.sleep(_TICK_S)
            seen = _native.glance(session)
            if seen[4] is not None:
                line.offer(partial(_line, name, seen, False), 0.0, True)
                if len(session) <= _MOST_DRAWN:
                    picture.offer(self._picture, 0.0, True)

    def _picture(self) -> dict[str, str]:
        from dirigent._cell import as_text

        drawn = self._handle.graph()
        return {"text/plain": as_text(str(drawn)), "text/html": drawn._draw(("cell", "auto", [], False))}


class _Shown:
    """One output of a cell, and what it has cost. It becomes rarer the longer it takes, and the larger it is."""

    def __init__(self, most_bytes: int) -> None:
        self._id = f"dirigent-{os.urandom(8).hex()}"
        self._most = most_bytes
        self._left = most_bytes
        self._size = 0
        self._next_s = 0.0
        self._last: dict[str, str] | None = None

    @property
    def is_seen(self) -> bool:
        return self._last is not None

    def offer(self, make: Callable[[], dict[str, str]], elapsed_s: float, is_last: bool) -> None:
        """Show it, unless it is too early, too dear, or what is seen already."""
        # The last one has to fit in as well, and may be larger.
        if not is_last and (elapsed_s < self._next_s or self._left < 3 * self._size):
            return
        made = make()
        if made == self._last:
            return
        self._size = sum(len(text.encode()) for text in made.values()) + _ENVELOPE_BYTES
        if self._size > self._most or (not is_last and self._left < 2 * self._size):
            return
        output = importlib.import_module("IPython.display")
        show = output.display if self._last is None else output.update_display
        show(made, raw=True, display_id=self._id)
        self._last = made
        self._left -= self._size
        # Each further one of N that there is money for waits for 8/N of the time gone by.
        self._next_s = elapsed_s + max(_TICK_S / 2, elapsed_s * 8 * self._size / self._most)


def _is_wanted(handle: RunHandle) -> bool:
    value = os.environ.get(VARIABLE, "live")
    if value not in ("live", "none"):
        handle._session.abandon()
        raise ConfigError(
            f"{VARIABLE} is `live` or `none`, not {value!r}\nhint: `none` shows no runs in notebooks",
            "config.bad_variable",
        )
    return value == "live"


def _line(name: str, seen: _native._Glance, is_cut: bool) -> dict[str, str]:
    import html

    from dirigent._cell import SIGNS, as_text

    _, counts, running, failed, verdict = seen
    sign = SIGNS[{"succeeded": "completed", None: "running"}.get(verdict, verdict or "running")]
    facts = [verdict or ("broken off, what runs is being ended" if is_cut else "running")]
    facts += [f"{count:,} {status.replace('_', ' ')}" for status, count in counts]
    if running:
        more = dict(counts)["running"] - len(running)
        facts.append("now " + ", ".join(map(_short, running)) + (f" and {more:,} more" if more else ""))
    if failed is not None:
        facts.append(f"{_short(failed[0])} {_short(failed[1], 160)}")
    head, rest = as_text(_short(name)), as_text(" · ".join(facts))
    markup = f'<div class="dirigent-cell">{sign} <b>{html.escape(head)}</b> {html.escape(rest)}</div>'
    return {"text/plain": f"{sign} {head} {rest}", "text/html": markup}


def _short(text: str, most: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
