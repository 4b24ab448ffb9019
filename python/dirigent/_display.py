"""A run in a notebook while it goes: a line on where it stands, and the picture of its graph.

Neither IPython nor marimo is ever loaded: where a program runs in a notebook, one of them is there. What is shown is looked up
four times a second at most, on a thread of its own, which the run never waits for while it goes. Plain markup only, so that
every front end shows it.
"""

from __future__ import annotations

import contextvars
import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from dirigent import _native
from dirigent._context import CURRENT
from dirigent._errors import ConfigError

if TYPE_CHECKING:
    from dirigent._run import RunHandle

    #: Shows something anew; the first time it makes a place for it.
    _Send = Callable[["Bundle", bool], None]
    #: Makes a part of what is shown, from where the run stands and whether it was broken off.
    _Part = Callable[[_native._Glance, bool], "Bundle"]

VARIABLE = "DIRIGENT_DISPLAY"

#: Seconds between two looks.
TICK_S = 0.25
#: Of more tasks there is no picture while they run: to look at all of them takes too long.
MOST_DRAWN = 5_000
#: What a run may send: in lines, and in pictures. With the last of each it stays below 1 MB.
LINES_BYTES = 350_000
PICTURES_BYTES = 450_000
#: What a message weighs beside its content.
_ENVELOPE_BYTES = 1_000
#: Seconds that the end of a run waits for its last state to be shown.
_PATIENCE_S = 5.0
#: The same where the run was broken off: whoever pressed the button waits.
_SHORT_PATIENCE_S = 0.05
#: Seconds after which nobody waits any more for the end of what was broken off.
_LONGEST_END_S = 30.0

#: How something is shown, in each of its forms.
Bundle = dict[str, str]


def kernel_shell() -> Any:
    """The shell of the kernel of a notebook that this program is; ``None`` elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell if getattr(shell, "kernel", None) is not None else None


class FrontEnd(Protocol):
    """The cell of a notebook that runs now."""

    #: Its number, where it has one: a run that it shows with its picture is not drawn again as its value.
    cell: int | None

    def thread(self, target: Callable[[], None]) -> threading.Thread:
        """A thread that may put something into the cell."""

    def outputs(self, line: _Part, picture: _Part | None) -> Sequence[tuple[Shown, _Part]]:
        """What is shown of the line and the picture, each of which may be asked for at any time."""


def front_end() -> FrontEnd | None:
    """The cell whose code called this; ``None`` outside of notebooks. To be asked in the thread that carries the cell out."""
    if "IPython" in sys.modules and (shell := kernel_shell()) is not None:
        return _Jupyter(shell)
    marimo = sys.modules.get("marimo")
    if marimo is not None and getattr(marimo, "running_in_notebook", bool)():
        return _Marimo(marimo)
    return None


class _Jupyter:
    """A kernel of IPython: Jupyter, VS Code, Colab. A line and a picture, each of them a display that is updated."""

    def __init__(self, shell: Any) -> None:
        self.cell: int | None = shell.execution_count
        # What is sent belongs to the cell that runs now: the kernel keeps that in a context variable.
        self._context = contextvars.copy_context()

    def thread(self, target: Callable[[], None]) -> threading.Thread:
        return threading.Thread(
            target=self._context.run, args=(target,), name="dirigent-display", daemon=True
        )

    def outputs(self, line: _Part, picture: _Part | None) -> Sequence[tuple[Shown, _Part]]:
        parts = [(Shown(LINES_BYTES, self._display()), line)]
        return parts if picture is None else [*parts, (Shown(PICTURES_BYTES, self._display()), picture)]

    def _display(self) -> _Send:
        name = f"dirigent-{os.urandom(8).hex()}"

        def send(made: Bundle, is_first: bool) -> None:
            output = importlib.import_module("IPython.display")
            (output.display if is_first else output.update_display)(made, raw=True, display_id=name)

        return send


class _Marimo:
    """marimo: the output of a cell is one, and is replaced as a whole; only threads of marimo's may do that."""

    cell: int | None = None

    def __init__(self, marimo: Any) -> None:
        self._marimo = marimo
        # It is bound to the cell in which it was made.
        self._thread = marimo.Thread(target=self._go, name="dirigent-display", daemon=True)
        self._target: Callable[[], object] = bool

    def _go(self) -> None:
        self._target()

    def thread(self, target: Callable[[], None]) -> threading.Thread:
        self._target = target
        thread: threading.Thread = self._thread
        return thread

    def outputs(self, line: _Part, picture: _Part | None) -> Sequence[tuple[Shown, _Part]]:
        def both(seen: _native._Glance, is_cut: bool) -> Bundle:
            parts = [part(seen, is_cut)["text/html"] for part in (line, picture) if part is not None]
            return {"text/html": "".join(parts)}

        return [(Shown(LINES_BYTES + PICTURES_BYTES, self._send), both)]

    def _send(self, made: Bundle, _is_first: bool) -> None:
        self._marimo.output.replace(self._marimo.Html(made["text/html"]))


class Showing:
    """Shows a run, until it ends, where somebody looks at a notebook; elsewhere it does nothing.

    A run within a task, and one that is kept in memory only, as ``retry`` and ``timeout`` make them, are not shown.
    """

    def __init__(self, handle: RunHandle) -> None:
        self._handle = handle
        self._ended = threading.Event()
        self._is_cut = False
        self._was_told = threading.Event()
        self._thread: threading.Thread | None = None
        front = handle._front_end
        if front is None or CURRENT.get() is not None or not handle._is_recorded:
            return
        if _is_wanted(handle):
            self._front = front
            self._thread = front.thread(self._show)

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
        outputs: Sequence[tuple[Shown, _Part]] | None = None
        told = -1
        while True:
            is_last = self._ended.wait(TICK_S)
            if outputs is None:
                if self._handle._has_widget:
                    return
                picture = self._picture if len(session) <= MOST_DRAWN else None
                outputs = self._front.outputs(partial(_line, self._handle._workflow.name), picture)
            seen = _native.glance(session)
            elapsed_s = time.monotonic() - began
            if seen[0] != told or is_last:
                are_seen = True
                for shown, make in outputs:
                    are_seen &= shown.offer(partial(make, seen, self._is_cut), elapsed_s, is_last)
                    if is_last:
                        self._was_told.set()
                # What came too early is offered again.
                told = seen[0] if are_seen else -1
                if len(outputs) > 1 and outputs[1][0].is_seen:
                    self._handle._shown_in = self._front.cell
            if is_last:
                break
        # What runs is ended behind the exception: how that went comes after it.
        until = time.monotonic() + _LONGEST_END_S
        while seen[4] is None and time.monotonic() < until:
            time.sleep(TICK_S)
            seen = _native.glance(session)
            if seen[4] is not None:
                for shown, make in outputs:
                    shown.offer(partial(make, seen, False), 0.0, True)

    def _picture(self, _seen: _native._Glance, _is_cut: bool) -> Bundle:
        from dirigent._cell import as_text

        text, markup = self._handle.graph()._cell()
        return {"text/plain": as_text(text), "text/html": markup}


class Shown:
    """Something that is shown, and what it has cost. It becomes rarer the longer it takes, and the larger it is."""

    def __init__(self, most_bytes: int, send: _Send) -> None:
        self._most = most_bytes
        self._send = send
        self._left = most_bytes
        self._size = 0
        self._next_s = 0.0
        self._last: Bundle | None = None

    @property
    def is_seen(self) -> bool:
        return self._last is not None

    def offer(self, make: Callable[[], Bundle], elapsed_s: float, must: bool) -> bool:
        """Show it, unless it is too early, too dear, or what is seen already, and return whether it is seen. ``must``: neither
        the time nor the price keeps it back."""
        # The last one has to fit in as well, and may be larger.
        if not must and (elapsed_s < self._next_s or self._left < 3 * self._size):
            return False
        made = make()
        if made == self._last:
            return True
        self._size = sum(len(text.encode()) for text in made.values()) + _ENVELOPE_BYTES
        if self._size > self._most or (not must and self._left < 2 * self._size):
            return False
        self._send(made, self._last is None)
        self._last = made
        self._left -= self._size
        # Each further one of N that there is money for waits for 8/N of the time gone by.
        self._next_s = elapsed_s + max(TICK_S / 2, elapsed_s * 8 * self._size / self._most)
        return True


def _is_wanted(handle: RunHandle) -> bool:
    value = os.environ.get(VARIABLE, "live")
    if value not in ("live", "none"):
        handle._session.abandon()
        raise ConfigError(
            f"{VARIABLE} is `live` or `none`, not {value!r}\nhint: `none` shows no runs in notebooks",
            "config.bad_variable",
        )
    return value == "live"


def line_of(name: str, seen: _native._Glance, status: str) -> tuple[str, str, str]:
    """Where a run stands in a line: a sign, its name, and the rest. ``status`` is how it stands, where it has not ended."""
    from dirigent._cell import SIGNS, as_text

    _, counts, running, failed, verdict = seen
    sign = SIGNS[{"succeeded": "completed", None: "running"}.get(verdict, verdict or "running")]
    facts = [verdict or status]
    facts += [f"{count:,} {status.replace('_', ' ')}" for status, count in counts]
    if running:
        more = dict(counts)["running"] - len(running)
        facts.append("now " + ", ".join(map(shortened, running)) + (f" and {more:,} more" if more else ""))
    if failed is not None:
        facts.append(f"{shortened(failed[0])} {shortened(failed[1], 160)}")
    return sign, as_text(shortened(name)), as_text(" · ".join(facts))


def _line(name: str, seen: _native._Glance, is_cut: bool) -> Bundle:
    import html

    status = "broken off, what runs is being ended" if is_cut else "running"
    sign, head, rest = line_of(name, seen, status)
    markup = f'<div class="dirigent-cell">{sign} <b>{html.escape(head)}</b> {html.escape(rest)}</div>'
    return {"text/plain": f"{sign} {head} {rest}", "text/html": markup}


def shortened(text: str, most: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
