"""The exceptions of dirigent: one class for each kind of trouble, with a stable code for programs."""

from __future__ import annotations


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
