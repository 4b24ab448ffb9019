"""What surrounds a function while it is a task: which attempt it is, where its output goes, what it may ask.

What a task prints and logs goes where it always goes, and to the log of its attempt as well.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dirigent._native import Masker, Session

#: The most bytes of one log.
LOG_LIMIT_BYTES = 64 << 20


class Attempt:
    """One attempt of a task, as the code around it sees it."""

    __slots__ = ("attempt", "logs", "session", "shown", "started", "task", "timeout")

    #: Writing a line is short: one lock serves all attempts.
    lock = threading.Lock()

    def __init__(self, session: Session, task: int, attempt: int, timeout: float | None = None) -> None:
        self.session = session
        self.task = task
        self.attempt = attempt
        self.timeout = timeout
        self.logs: dict[str, Any] | None = None
        self.shown: dict[str, _Masked | None] | None = None
        if timeout is not None:
            self.started = time.monotonic()

    def folder(self) -> Path:
        """The folder of the attempt, which is made with its first file."""
        from pathlib import Path

        return Path(self.session.folder, "tasks", str(self.task), str(self.attempt))

    def masker(self) -> Masker | None:
        """What keeps the secrets of the run out of a stream."""
        return self.session.secrets.masker()

    def write(self, stream: str, text: str) -> None:
        """Append to a log of this attempt."""
        data = text.encode("utf-8", "replace")
        with self.lock:
            if self.logs is None:
                self.logs = {}
            file = self.logs.get(stream)
            if file is None:
                folder = self.folder()
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
                file = os.fdopen(os.open(folder / f"{stream}.log", flags, 0o600), "ab", buffering=0)
                masker = self.masker()
                self.logs[stream] = file = file if masker is None else _Masked(file.write, masker, file.tell)
            if file.tell() < LOG_LIMIT_BYTES:
                file.write(data)

    def show(self, stream: str, text: str, inner: TextIO) -> None:
        """Write to where the output of the program goes."""
        with self.lock:
            if self.shown is None:
                self.shown = {}
            if stream not in self.shown:
                masker = self.masker()
                self.shown[stream] = None if masker is None else _Masked(_texts(inner), masker)
            shown = self.shown[stream]
        if shown is None:
            inner.write(text)
        else:
            shown.write(text.encode("utf-8", "replace"))


def _texts(inner: TextIO) -> Callable[[bytes], object]:
    return lambda data: inner.write(data.decode("utf-8", "replace"))


class _Masked:
    """A stream with ``***`` in the place of secrets."""

    def __init__(
        self, to: Callable[[bytes], object], masker: Masker, tell: Callable[[], int] = lambda: 0
    ) -> None:
        self._to = to
        self._masker = masker
        self.tell = tell

    def write(self, data: bytes) -> None:
        self._to(self._masker.push(data))

    def __del__(self) -> None:
        # Nobody writes any more: what could have been the beginning of a secret was none.
        with contextlib.suppress(OSError, ValueError):
            rest = self._masker.finish()
            if rest:
                self._to(rest)


#: The attempt that this code is a part of, or what it is made of: ``[session, task, attempt]``, and the attempt itself once
#: somebody has asked for it. Most functions print nothing, and a list is made in no time. Threads that a task starts see it
#: where they copy its context.
CURRENT: ContextVar[Attempt | list[Any] | None] = ContextVar("dirigent_attempt", default=None)


def current() -> Attempt | None:
    """The attempt that this code is a part of; ``None`` where it is a part of none."""
    around = CURRENT.get()
    if not isinstance(around, list):
        return around
    with Attempt.lock:
        if len(around) == 3:
            around.append(Attempt(*around))
    made: Attempt = around[3]
    return made


class TaskContext:
    """What a task can ask of the run it is a part of.

    A task function gets it as the parameter that is annotated with this class.

    Attributes:
        run_id: The run.
        task: The task's name.
        attempt: Which try, from 1.
        idempotency_key: The same for every attempt of this task in this run, and for no other.
    """

    def __init__(self, attempt: Attempt, name: str) -> None:
        self._attempt = attempt
        self.run_id: str = attempt.session.id
        self.task = name
        self.attempt = attempt.attempt
        self.idempotency_key = f"{attempt.session.id}-{attempt.task}"
        self._beat = 0.0

    @property
    def deadline(self) -> float | None:
        """When the attempt's time is over, on ``time.monotonic()``'s clock; ``None`` without a limit."""
        timeout = self._attempt.timeout
        return None if timeout is None else self._attempt.started + timeout

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for this attempt any more."""
        status, attempts, *_ = self._attempt.session.task(self._attempt.task)
        return status != "running" or attempts != self._attempt.attempt

    def heartbeat(self) -> None:
        """Raise :class:`TaskInterrupt` if nobody waits for this attempt any more: for long loops outside of Python.

        Raises:
            TaskInterrupt: The attempt was cancelled or its time is over.
        """
        self._beat = time.monotonic()
        if self.cancelled:
            from dirigent._errors import TaskInterrupt

            raise TaskInterrupt(f"task {self.task} is not waited for any more")

    def log(self, message: str) -> None:
        """Write a line to the log of this attempt."""
        self._attempt.write("stdout", f"{message}\n")

    @property
    def artifact_folder(self) -> Path:
        """A folder of this attempt's own, for files that it leaves."""
        folder = self._attempt.folder() / "artifacts"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


class _Tee:
    """Standard output or error, which writes to the log of the attempt it is called from as well."""

    def __init__(self, inner: TextIO, name: str) -> None:
        self._inner = inner
        self._name = name

    def write(self, text: str) -> int:
        attempt = current()
        if attempt is not None:
            _write(attempt, self._name, text)
            attempt.show(self._name, text, self._inner)
            return len(text)
        return self._inner.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __iter__(self) -> Any:
        return iter(self._inner)


class _Handler(logging.Handler):
    """Writes what a task logs to the log of its attempt."""

    def emit(self, record: logging.LogRecord) -> None:
        attempt = current()
        if attempt is not None:
            _write(attempt, "stderr", self.format(record) + "\n")
        # Where nobody set logging up, it prints warnings by itself, but not beside a handler such as this one.
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and logging.getLogger().handlers == [self]:
            last.handle(record)


def _write(attempt: Attempt, stream: str, text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk takes nothing from what is printed
        attempt.write(stream, text)


class Capture:
    """While runs go on, what their tasks print and log goes to the logs of their attempts as well."""

    _lock = threading.Lock()
    _runs = 0
    _handler: _Handler | None = None
    _tees: list[tuple[str, _Tee]] = []  # noqa: RUF012  (one for the whole process, as the streams are)

    def __enter__(self) -> Capture:
        cls = Capture
        with cls._lock:
            cls._runs += 1
            if cls._runs == 1:
                cls._handler = _Handler()
                cls._handler.setFormatter(
                    logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
                )
                logging.getLogger().addHandler(cls._handler)
                for name in ("stdout", "stderr"):
                    inner = getattr(sys, name)
                    if inner is not None:
                        tee = _Tee(inner, name)
                        setattr(sys, name, tee)
                        cls._tees.append((name, tee))
        return self

    def __exit__(self, *_: object) -> None:
        cls = Capture
        with cls._lock:
            cls._runs -= 1
            if cls._runs == 0:
                if cls._handler is not None:
                    logging.getLogger().removeHandler(cls._handler)
                for name, tee in cls._tees:
                    # Somebody may have put another one over ours meanwhile: it stays.
                    if getattr(sys, name) is tee:
                        setattr(sys, name, tee._inner)
                cls._tees.clear()
