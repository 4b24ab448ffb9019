"""Plugins: what installed packages want called as runs go, named under the entry points ``dirigent.plugins``.

They are looked for with the first run, never at import, and called on a thread of their own: a slow one is told later,
one that raises is reported, and neither is any of the run's business.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dirigent._run import RunHandle

GROUP = "dirigent.plugins"
HOOKS = ("before_run", "before_task", "on_retry", "after_task", "on_failure", "on_success", "after_run")

#: Seconds that plugins may go on after the end of a run.
PATIENCE_S = 10.0

_lock = threading.Lock()
_plugins: list[tuple[str, object]] | None = None


class Telling:
    """Tells the plugins of a run what happens, until it ends."""

    def __init__(self, handle: RunHandle) -> None:
        self._handle = handle
        self._is_cut = False
        self._thread: threading.Thread | None = None
        if _plugins is None or _plugins:
            self._thread = threading.Thread(target=self._tell, name="dirigent-plugins", daemon=True)

    def __enter__(self) -> None:
        if self._thread is not None:
            self._thread.start()

    def __exit__(self, kind: object, *_: object) -> None:
        if self._thread is None:
            return
        if kind is None:
            self._thread.join(PATIENCE_S)
        self._is_cut = True
        if kind is None and self._thread.is_alive():
            _report(
                f"plugins were not done {PATIENCE_S:g} s after the end of the run, and hear no more of it"
            )

    def _tell(self) -> None:
        plugins = found()
        if not plugins:
            return
        for hook, info in _calls(self._handle):
            for name, plugin in plugins:
                function = getattr(plugin, hook, None)
                if self._is_cut:
                    return
                if function is not None:
                    _call(name, hook, function, dict(info))


def _call(name: str, hook: str, function: Callable[[dict[str, Any]], object], info: dict[str, Any]) -> None:
    try:
        given = function(info)
        if hasattr(given, "__await__"):
            if hasattr(given, "close"):
                given.close()
            raise TypeError("a coroutine function is never awaited here; make it an ordinary one")
    except BaseException as error:
        _report(f"plugin `{name}`: {hook} raised {type(error).__name__}: {error}", error)


def found() -> list[tuple[str, object]]:
    """The plugins there are, by the names of their entry points; looked for once."""
    global _plugins
    with _lock:
        if _plugins is None:
            _plugins = list(_loaded()) if _is_mentioned() else []
        return _plugins


def _is_mentioned() -> bool:
    """Whether an installed package names the group at all: parsing them all takes ten times as long."""
    for folder in sys.path:
        try:
            with os.scandir(folder or os.curdir) as entries:
                places = [entry.path for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            continue
        for place in places:
            try:
                with open(os.path.join(place, "entry_points.txt"), "rb") as file:
                    if GROUP.encode() in file.read():
                        return True
            except OSError:
                continue
    return False


def _loaded() -> Iterator[tuple[str, object]]:
    import importlib.metadata

    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        try:
            plugin = point.load()
        except BaseException as error:
            _report(f"plugin `{point.name}` cannot be loaded: {type(error).__name__}: {error}", error)
            continue
        if any(callable(getattr(plugin, hook, None)) for hook in HOOKS):
            yield point.name, plugin
        else:
            _report(f"plugin `{point.name}` has no function of the names {', '.join(HOOKS)}")


def _report(message: str, error: BaseException | None = None) -> None:
    logging.getLogger("dirigent").error("%s; the run goes on", message, exc_info=error)
    # Somebody may want warnings raised, and nobody is there to catch one.
    with contextlib.suppress(RuntimeWarning):
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def _calls(handle: RunHandle) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is to be called as things happen, and with what."""
    from dirigent._run import _status_after

    session, names, began = handle._session, list[str](), time.monotonic()
    whole = {"run": handle.id, "workflow": handle._workflow.name}
    # What happened before the run was taken up was told then.
    for event in handle.events(session.recorded_events):
        kind, place, status = event["kind"], event.get("task"), _status_after(event)
        if kind in ("run_created", "run_resumed"):
            yield "before_run", {"hook": "before_run", **whole}
        elif kind == "run_ended":
            took = round(time.monotonic() - began, 6)
            counts = _counts(session.statuses())
            ended = {"verdict": event["verdict"], "counts": counts, "duration_s": took}
            yield "after_run", {"hook": "after_run", **whole, **ended}
        elif place is not None and status is not None:
            if place >= len(names):
                names += session.names(len(names))
            about = {**whole, "task": names[place], "attempt": event.get("attempt", 0), "status": status}
            if kind == "attempt_ended":
                about |= {
                    "duration_s": event["usage"]["wall_us"] / 1e6,
                    "last_lines": event.get("last_lines", ""),
                }
                about |= {"outcome": _sentence(event)}
            if status == "retrying":
                about["retry_in_s"] = max(event["retry_at_ms"] - event["at_ms"], 0) / 1e3
            for hook in _hooks(kind, status):
                yield hook, {"hook": hook, **about}


def _hooks(kind: str, status: str) -> tuple[str, ...]:
    if kind == "attempt_started":
        return ("before_task",)
    if status == "retrying":
        return ("on_retry",)
    if kind in ("task_skipped", "task_cancelled", "wait_started"):
        return ()
    if status == "completed":
        return ("after_task", "on_success")
    return ("after_task", "on_failure") if status in ("failed", "timed_out") else ("after_task",)


def _sentence(event: dict[str, Any]) -> str:
    if event["outcome"] == "raised":
        return f"raised {event['error']}: {event['message']}"
    code = event.get("exit_code")
    return str(event["outcome"]).replace("_", " ") + (f" with exit code {code}" if code else "")


def _counts(statuses: list[str]) -> dict[str, int]:
    return {status: statuses.count(status) for status in sorted(set(statuses))}
