"""Where a function raised, as text for the record: frames of the user alone, and not more than can be read.

It knows how tracebacks are laid out, and nothing of runs.
"""

from __future__ import annotations

import os
import traceback
from typing import Any

#: The most bytes of a text: the end is what says what happened.
MOST_BYTES = 8 << 10
#: The most frames that are looked at, from where it was raised.
_MOST_FRAMES = 200

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
#: Calls a coroutine function where there is no loop.
_OF_LOOPS = os.sep + "asyncio" + os.sep


class RemoteTraceback(Exception):
    """The traceback of another process, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


def traceback_of(error: BaseException) -> str:
    """The traceback of an exception, with those of its causes; empty where none can be made."""
    if isinstance(error.__cause__, RemoteTraceback):
        return error.__cause__.text
    try:
        told = traceback.TracebackException(
            type(error), error, error.__traceback__, limit=-_MOST_FRAMES, compact=True
        )
        _keep_users(told, set())
        return bounded("".join(told.format()).rstrip("\n"))
    except BaseException:  # the exception is somebody else's, and so is what it does when it is looked at
        return ""


def bounded(text: str) -> str:
    """The last of a text that is too long, from the beginning of a line on."""
    data = text.encode("utf-8", "replace")
    if len(data) <= MOST_BYTES:
        return data.decode("utf-8", "replace")
    end = data[-(MOST_BYTES - 4) :].decode("utf-8", "ignore")
    return "…\n" + (end.partition("\n")[2] or end)


def _keep_users(told: Any, seen: set[int]) -> None:
    """Drop the frames that are ours, and those of a loop that we started."""
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    frames = [frame for frame in told.stack if not frame.filename.startswith(_OURS)]
    while frames and _OF_LOOPS in frames[0].filename:
        del frames[0]
    told.stack[:] = frames
    _keep_users(told.__cause__, seen)
    _keep_users(told.__context__, seen)
    for one in getattr(told, "exceptions", None) or ():
        _keep_users(one, seen)
