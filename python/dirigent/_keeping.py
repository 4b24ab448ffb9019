"""Values that are no JSON, on their way into the journal and back."""

from __future__ import annotations

import json
import pickle
import queue
import threading
from typing import Any

from dirigent._errors import UntrustedError, ValueNotKeptError

#: How long the making of a pickle may take, in seconds.
PATIENCE_S = 5.0

#: How long a thread that makes pickles waits for the next one, in seconds.
_IDLE_S = 0.5


class _Pickler:
    """A thread that makes pickles, so that one that never ends holds nobody up. It goes when nobody wants it."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[tuple[Any, queue.SimpleQueue[bytes | str]]] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._serve, name="dirigent-pickler", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                value, answer = self.jobs.get(timeout=_IDLE_S)
            except queue.Empty:
                with _lock:
                    if self in _idle:
                        _idle.remove(self)
                        return
                continue  # somebody has taken it, and its job is on the way
            answer.put(_pickle(value))
            del value, answer


_idle: list[_Pickler] = []
_lock = threading.Lock()


def pickled(value: Any, most_bytes: int, is_plain: bool) -> bytes | str:
    """The pickle of a value, or why there is none: it cannot be made, takes too long, or is too large.

    One that is plain, made of Python's own types alone, calls nothing that could take for ever.
    """
    if isinstance(value, (bytes, bytearray)) and len(value) > most_bytes:
        return f"it takes {len(value) >> 20} MiB, and {most_bytes >> 20} are kept"
    if is_plain:
        return _pickle(value)
    with _lock:
        pickler = _idle.pop() if _idle else _Pickler()
    answer: queue.SimpleQueue[bytes | str] = queue.SimpleQueue()
    pickler.jobs.put((value, answer))
    try:
        made = answer.get(timeout=PATIENCE_S)
    except queue.Empty:
        # Whoever is stuck stays so; the next one gets another thread.
        return f"its pickle was not made in {PATIENCE_S:g} s"
    with _lock:
        _idle.append(pickler)
    return made


def _pickle(value: Any) -> bytes | str:
    try:
        return pickle.dumps(value, protocol=5)
    except BaseException as error:
        try:
            text = str(error)
        except BaseException:
            text = ""
        return f"it cannot be pickled: {type(error).__name__}" + (f": {text}" if text else "")


def from_json(text: str | bytes) -> Any:
    """The value of a JSON text."""
    return json.loads(text)


def from_pickle(data: bytes) -> Any:
    """The value of a pickle of ours."""
    return pickle.loads(data)


def from_base64(text: str) -> Any:
    """The value of a pickle in base 64."""
    import base64

    return from_pickle(base64.b64decode(text))


def not_kept(why: str) -> ValueNotKeptError:
    """The exception that says why a value cannot be had."""
    return ValueNotKeptError(f"the value was not kept: {why}", "value.not_kept")


def untrusted(task: str) -> UntrustedError:
    """The exception that says why a value is not read back."""
    return UntrustedError(
        f"the value of task `{task}` is a pickle of an imported run: to read it runs code of whoever made that run\n"
        "hint: if you trust them as you trust a program, `attach(…, trust=True)` reads it",
        "value.untrusted",
    )


def tell_stall(why: str) -> None:
    """Say once what holds a run up."""
    import logging

    logging.getLogger("dirigent").warning("%s: nothing new starts until there is room again", why)
