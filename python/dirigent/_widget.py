"""A run in a notebook with buttons: ended, run again, and answered from there. Needs ``anywidget``; nothing else does.

The widget looks at what is recorded, and asks as the command line does, whichever process carries the run on. A thread of its
own does both; what its buttons ask for is queued for it.
"""

from __future__ import annotations

import contextvars
import json
import os
import queue
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from dirigent import _native
from dirigent._cell import SIGNS, as_text
from dirigent._display import LINES_BYTES, MOST_DRAWN, PICTURES_BYTES, TICK_S, Shown, line_of, shortened
from dirigent._errors import DirigentError, UsageError
from dirigent._history import attach
from dirigent._program import program

if TYPE_CHECKING:
    from dirigent._workflow import Workflow

#: Seconds between two looks at a run that nobody carries on.
_REST_S = 1.0
_PROMPT_CHARS = 300
#: Seconds that a run has to begin in which something is run again.
_BEGIN_S = 60.0
#: What the plain lines of a run begin with.
_BEGUN = re.compile(r"(?:run|resumed) +([0-9a-f-]{36}),")


class RunWidget(anywidget.AnyWidget):
    """A run as it stands, live, with buttons. :meth:`Run.widget` and :meth:`RunHandle.widget` make them.

    Attributes:
        run_id: The id of the run that it shows: of the new one, once something was run again.
    """

    _esm: Any = Path(__file__).with_name("_widget.js")
    _css: Any = Path(__file__).with_name("_widget.css")
    stands = traitlets.Unicode("{}").tag(sync=True)
    picture = traitlets.Unicode("").tag(sync=True)

    def __init__(self, state_dir: str, run_id: str, workflow: Workflow | None) -> None:
        super().__init__()
        self._attendant = attendant = _Attendant(self, state_dir, run_id, workflow)
        self.on_msg(lambda _widget, content, _buffers: attendant.asked.put(content))
        attendant.begin()

    @property
    def run_id(self) -> str:
        return self._attendant.run.id

    def close(self) -> None:
        """Stop showing the run; that goes on."""
        self._attendant.asked.put(_CLOSED)
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        # What shows no widgets, and a saved notebook, have the picture.
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        html = {"text/html": self.picture} if self.picture else {}
        return {**data, "text/plain": json.loads(self.stands)["line"], **html}, metadata


#: Asks for the end of the widget.
_CLOSED = object()


class _Attendant:
    """Keeps a widget as its run stands, and carries out what its buttons ask for."""

    def __init__(self, widget: RunWidget, state_dir: str, run_id: str, workflow: Workflow | None) -> None:
        self._widget = widget
        self._state_dir = state_dir
        self._workflow = workflow
        #: What the front end asked for.
        self.asked: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._notice = ""
        self._answers = 0
        self._follow(run_id)

    def begin(self) -> None:
        self._look()
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._go,), name="dirigent-widget", daemon=True)
        thread.start()

    # --- looking ---

    def _follow(self, run_id: str) -> None:
        self.run = attach(run_id, state_dir=self._state_dir)
        self._began = time.monotonic()
        self._told: object = None
        self._urgent: object = None
        self._line = Shown(LINES_BYTES, self._send)
        self._drawn = Shown(PICTURES_BYTES, self._send)

    def _send(self, made: dict[str, str], _is_first: bool) -> None:
        for name, value in made.items():
            setattr(self._widget, name, value)

    def _look(self) -> float | None:
        """Show how it stands, and return in how many seconds to look again; ``None`` where nothing more will happen."""
        status = self.run.status
        seen = _native.glance(self.run._session)
        if (told := (seen[0], status, self._answers)) != self._told:
            askable = _native.askable(self.run._session)
            # Somebody waits for what can be asked, and for what came of it.
            urgent = (status, self._answers, [task for task in askable if task[3] is not None])
            must, self._urgent = urgent != self._urgent, urgent
            elapsed_s = time.monotonic() - self._began
            is_seen = self._line.offer(
                lambda: {"stands": self._standing(status, seen, askable)}, elapsed_s, must
            )
            if len(self.run._session) <= MOST_DRAWN:
                is_seen &= self._drawn.offer(
                    lambda: {"picture": self._picture()}, elapsed_s, status != "running"
                )
            # What came too early is offered again.
            self._told = told if is_seen else None
        if status in ("succeeded", "failed"):
            return None
        return TICK_S if status == "running" else _REST_S

    def _standing(self, status: str, seen: _native._Glance, askable: list[_native._Askable]) -> str:
        ask = {"running": "cancel", "failed": "retry", "cancelled": "retry"}.get(status)
        tasks = [
            {
                "place": place,
                "sign": SIGNS[stands],
                "name": as_text(shortened(name)),
                "status": stands,
                "prompt": None if prompt is None else as_text(shortened(prompt, _PROMPT_CHARS)),
                "wants_value": wants_value,
            }
            for place, name, stands, prompt, wants_value in askable
            # Where nobody carries it on, nothing runs that could be ended; answers count when it goes on.
            if prompt is not None or status == "running"
        ]
        line = " ".join(line_of(self.run.name, seen, status))
        notice = as_text(self._notice)
        return json.dumps(
            {"line": line, "ask": ask, "tasks": tasks, "notice": notice, "answers": self._answers}
        )

    def _picture(self) -> str:
        return self.run.graph()._draw(("cell", "auto", [], False))

    # --- asking ---

    def _go(self) -> None:
        wait_s: float | None = TICK_S
        while True:
            try:
                asked = self.asked.get(timeout=wait_s)
            except queue.Empty:
                asked = None
            if asked is _CLOSED:
                return
            try:
                if asked is not None:
                    self._notice = self._carry_out(asked)
                    self._answers += 1
                    time.sleep(TICK_S)
                wait_s = self._look()
            except Exception as error:
                # A widget that goes quiet would look like a run that stands still.
                self._notice, self._answers, wait_s = str(error), self._answers + 1, _REST_S

    def _carry_out(self, asked: object) -> str:
        """Ask for something, and say what came of it."""
        try:
            if not isinstance(asked, dict):
                raise UsageError(f"a widget asks for nothing like {asked!r}", "usage.invalid")
            kind = asked.get("ask")
            if kind == "retry":
                return self._retry()
            if kind == "cancel" and asked.get("task") is None:
                self.run.cancel()
                return "asked to end the run"
            if kind not in ("cancel", "approve", "reject", "signal"):
                raise UsageError(f"a widget asks for nothing like {asked!r}", "usage.invalid")
            name = self.run._session.name(int(asked["task"]))
            if kind == "cancel":
                self.run.cancel(name)
                return f"asked to end {name}"
            if kind == "signal":
                self.run.signal(name, _value(str(asked["value"])))
                return f"told {name} its value"
            answer = self.run.approve if kind == "approve" else self.run.reject
            answer(name, str(asked.get("comment", "")))
            return f"{kind.removesuffix('e')}ed {name}"
        except (DirigentError, KeyError, TypeError, ValueError) as error:
            return str(error)

    def _retry(self) -> str:
        """Run again what failed, in a new run, which is shown from then on."""
        old = self.run.id
        if self._workflow is not None:
            handle = self._workflow.start(resume=old, changed="rerun")
            handle._has_widget = True
            new = handle.id
        else:
            new = self._retried_elsewhere(old)
        self._follow(new)
        return f"goes on with run {old}" if new == old else f"runs again what failed in run {old}"

    def _retried_elsewhere(self, old: str) -> str:
        """Start ``dirigent retry``, which ends with the kernel, and return the id of its run."""
        engine = subprocess.Popen(
            [program(), "retry", old],
            env={**os.environ, "DIRIGENT_STATE_DIR": self._state_dir},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        begun: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        lines: list[str] = []

        def read() -> None:
            # To its end: it would wait for somebody to read on.
            with engine:
                assert engine.stderr is not None
                for line in engine.stderr:
                    if (found := _BEGUN.match(line)) is not None:
                        begun.put(found[1])
                    lines.append(line)
                    del lines[:-20]
            begun.put(None)

        threading.Thread(target=read, name="dirigent-retry", daemon=True).start()
        try:
            new = begun.get(timeout=_BEGIN_S)
        except queue.Empty:
            lines = [f"`dirigent retry` has begun no run within {_BEGIN_S:g} s"]
            new = None
        if new is None:
            raise UsageError("".join(lines).strip() or "dirigent retry began no run", "usage.invalid")
        return new


def _value(text: str) -> Any:
    """What somebody typed: JSON, or else a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
