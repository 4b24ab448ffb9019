"""The exceptions of dirigent: one class for each kind of trouble, with a stable code for programs."""

from __future__ import annotations

from collections.abc import Sequence


class DirigentError(Exception):
    """Anything that went wrong in dirigent itself, as opposed to in what it runs.

    Match on ``code``, never on the text: codes are never reworded.

    Attributes:
        message: What happened, why, and what to do.
        code: The stable name, ``area.reason``.
    """

    def __init__(self, message: str, code: str = "internal.unknown") -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message


class UsageError(DirigentError, ValueError):
    """An argument makes no sense."""


class ConfigError(DirigentError, ValueError):
    """A configuration file says something wrong; the message shows the place."""


class NotFoundError(DirigentError, LookupError):
    """There is nothing to do what was asked with."""


class BusyError(DirigentError):
    """Something else holds what is needed."""


class StorageError(DirigentError):
    """The disk or another part of the system refused."""


class InternalError(DirigentError, RuntimeError):
    """A mistake in dirigent."""


class WorkflowError(DirigentError):
    """Something is wrong with a workflow, or with a run of it."""


class CycleError(WorkflowError, ValueError):
    """Tasks wait for each other.

    Attributes:
        cycle: The names of the shortest circle: each needs the next, the last needs the first.
    """

    def __init__(self, message: str, code: str = "workflow.cycle", cycle: Sequence[str] = ()) -> None:
        super().__init__(message, code)
        self.args = (message, code, list(cycle))
        self.cycle = list(cycle)


class UnknownTaskError(WorkflowError, LookupError):
    """A name means no task of the workflow."""


class DuplicateTaskError(WorkflowError, ValueError):
    """The name of a task is taken."""


class WorkflowChangedError(WorkflowError):
    """A run cannot go on: the workflow is another one than when it was recorded."""


class ValueNotKeptError(WorkflowError, LookupError):
    """A task completed, but what it returned could not be recorded, and is gone with the process that had it."""


class UntrustedError(WorkflowError):
    """A run was brought here from elsewhere, and what is asked for could run code of whoever made it."""


class TaskError(WorkflowError):
    """A task has no value to give.

    Attributes:
        task: The task's name.
    """

    def __init__(self, message: str, code: str = "task.failed", task: str = "") -> None:
        super().__init__(message, code)
        self.args = (message, code, task)
        self.task = task


class TaskFailedError(TaskError):
    """A task failed; where it raised an exception, that is the cause."""


class TaskTimeoutError(TaskFailedError, TimeoutError):
    """A task ran longer than it may."""


class TaskCancelledError(TaskFailedError):
    """A task was cancelled."""


class WorkerDiedError(TaskFailedError):
    """The process that carried a function out ended before the function returned, or could not start."""

    def __init__(self, message: str, code: str = "task.process_died", task: str = "") -> None:
        super().__init__(message, code, task)


class TaskSkippedError(TaskError, LookupError):
    """A task was skipped."""


class ProcessLost(BaseException):
    """The process of a function is gone, and not by anything the function did: the attempt is lost, and tried again."""


class TaskInterrupt(BaseException):
    """Raised inside a function that runs in a thread when nobody waits for it any more: its time is over, or it was cancelled.

    Like ``KeyboardInterrupt`` it is no ``Exception``, so that ``except Exception`` does not hold it up.
    """
