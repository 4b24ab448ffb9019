"""How tasks of a run went: their results, as they stand when they are asked for."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dirigent._errors import (
    StorageError,
    TaskCancelledError,
    TaskError,
    TaskFailedError,
    TaskTimeoutError,
)

if TYPE_CHECKING:
    from dirigent._native import Session


class TaskStatus(str, enum.Enum):
    """Where a task stands."""

    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class TaskResult:
    """How a task went.

    Attributes:
        success: Whether it completed.
        value: What it returned; ``None`` unless it completed.
        error: What it raised, or an exception that says how it failed; ``None`` where it completed or was skipped.
        execution_time: Seconds of its last attempt.
        attempts: How many attempts were started.
        name: Its name.
        status: Where it stands.
        sentence: What happened, as the end of a sentence that begins with the task's name.
        log: The folder with what its last attempt printed; there is one only if it printed something.
    """

    success: bool
    value: Any
    error: BaseException | None
    execution_time: float
    attempts: int
    name: str = ""
    status: TaskStatus = TaskStatus.PENDING
    sentence: str = ""
    log: Path | None = None

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from dirigent._cell import of_result

        return {"text/plain": repr(self), "text/html": of_result(self)}


class _Completed(TaskResult):
    """The result of a task that completed. A recorded value is read back when it is asked for, and not before."""

    @classmethod
    def of(cls, load: Callable[[], Any], **fields: Any) -> _Completed:
        """A result that still has to load its value."""
        made = object.__new__(cls)
        vars(made).update(fields, success=True, error=None, _load=load)
        return made

    @property
    def value(self) -> Any:
        known = vars(self)
        if "value" not in known:
            known["value"] = known.pop("_load")()
        return known["value"]

    @value.setter
    def value(self, value: Any) -> None:
        vars(self)["value"] = value

    def __repr__(self) -> str:
        value = repr(self.value) if "value" in vars(self) else "…"
        return f"TaskResult(name={self.name!r}, status={str(self.status)!r}, value={value})"

    def __reduce__(self) -> Any:
        return TaskResult, tuple(getattr(self, field.name) for field in dataclasses.fields(self))


@dataclass(frozen=True)
class CommandResult:
    """What a command left.

    Attributes:
        exit_code: One of the allowed ones.
        folder: The folder with its logs.
    """

    exit_code: int
    folder: Path
    _stdout_bytes: int = field(default=0, repr=False)
    _stderr_bytes: int = field(default=0, repr=False)

    @property
    def stdout(self) -> str:
        """What it wrote to standard output, as far as the log has it; bytes that are no text are replaced.

        Raises:
            StorageError: The log is no longer there, or was cut off: by a cut of power, or by whoever made room.
        """
        return self._read("stdout.log", self._stdout_bytes)

    @property
    def stderr(self) -> str:
        """The same of standard error."""
        return self._read("stderr.log", self._stderr_bytes)

    def _read(self, name: str, least: int) -> str:
        log = self.folder / name
        read = log.read_bytes() if log.exists() else b""
        if len(read) < least:
            message = (
                f"{log} has {len(read)} of the {least} bytes that were recorded\nhint: run the task again"
            )
            raise StorageError(message, "journal.damaged")
        return read.decode("utf-8", "replace")


class Results(Mapping[str, TaskResult]):
    """The results of a run's tasks by name, as they stand when they are asked for."""

    def __init__(self, session: Session, prefix: str = "") -> None:
        self._session = session
        self._prefix = prefix

    def _place(self, name: str) -> int:
        place = self._session.find(self._prefix + name)
        if place is None:
            raise KeyError(name)
        return place

    def __getitem__(self, name: str) -> TaskResult:
        place = self._place(name)
        status, attempts, seconds, sentence, _, _, folder = self._session.task(place)
        session = self._session
        if status == "completed":

            def load() -> Any:
                kept = session.value(place)
                return kept[0] if kept is not None else None

            return _Completed.of(
                load,
                execution_time=seconds,
                attempts=attempts,
                name=name,
                status=TaskStatus.COMPLETED,
                sentence=sentence,
                log=folder,
            )
        error: BaseException | None = None
        if status in ("failed", "timed_out", "cancelled"):
            error = session.error(place) if status == "failed" else None
            if error is None:
                error = task_error(name, status, sentence)
                # What was raised is gone with its process; where it was raised is recorded.
                if lines := session.last_lines(place):
                    from dirigent._traceback import RemoteTraceback

                    error.__cause__ = RemoteTraceback(lines)
        return TaskResult(False, None, error, seconds, attempts, name, TaskStatus(status), sentence, folder)

    def __iter__(self) -> Iterator[str]:
        names, skipped = self._session.names(0), len(self._prefix)
        return (name[skipped:] for name in names if name.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self) if self._prefix else len(self._session)


def task_error(name: str, status: str, sentence: str) -> TaskError:
    """The exception that says how a task failed."""
    message = f"task `{name}` {sentence}"
    if status == "timed_out":
        return TaskTimeoutError(message, "task.timed_out", name)
    if status == "cancelled":
        return TaskCancelledError(message, "task.cancelled", name)
    return TaskFailedError(message, "task.failed", name)
