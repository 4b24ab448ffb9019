"""A recorded run that is looked at, and followed while another process carries it on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from dirigent import _native
from dirigent._errors import WorkflowError
from dirigent._run import Run

#: How long one wait may take, in seconds, where it cannot be interrupted.
_TICK_S = 0.5


class AttachedRun(Run):
    """A recorded run, whichever process carries it out: what it says is as of the last look.

    Every look takes in what was recorded meanwhile: :meth:`refresh`, :meth:`wait`, :meth:`events`, ``status``, ``ok``,
    ``verdict``. Looking holds nobody up; what is recorded is seen within 250 ms.
    """

    def __init__(self, state_dir: str, run_id: str, name: str, trust: bool) -> None:
        self._follower = _native.Follower(state_dir, run_id, trust)
        super().__init__(self._follower.session, name)
        self._is_trusted = trust

    def refresh(self) -> AttachedRun:
        """Take in what was recorded meanwhile, and return the run."""
        self._follower.refresh()
        return self

    @property
    def status(self) -> str:
        """``running`` (a living process carries it on), ``interrupted`` (its process is gone), or how it ended:
        ``succeeded``, ``failed``, ``cancelled``."""
        return self._follower.refresh()

    @property
    def verdict(self) -> str:
        """``succeeded``, ``failed`` or ``cancelled``; ``unfinished`` where it has not ended."""
        self._follower.refresh()
        return super().verdict

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.verdict != "unfinished"

    def wait(self, timeout: float | None = None) -> AttachedRun:
        """Wait for the end, and return the run.

        Raises:
            TimeoutError: It did not end within so many seconds; it goes on.
            WorkflowError: Its process is gone, and it has not ended (code ``run.interrupted``).
        """
        import time

        until = None if timeout is None else time.monotonic() + timeout
        while True:
            # Only the end says that there are no more events than those there could ever be.
            left = 3600.0 if until is None else max(0.0, until - time.monotonic())
            if not self._follower.wait(_NEVER, left):
                break
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"run {self.id} has not ended within {timeout} s")
        if not self.done:
            raise WorkflowError(
                f"run {self.id} of `{self.name}` was cut short: its process is gone\n"
                "hint: resume it, with the program that started it, or with `dirigent resume`",
                "run.interrupted",
            )
        return self

    def events(self, from_seq: int = 0) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Everything that happens, in order, from a place on: what is recorded, then what comes, until the run ends or
        its process is gone. It is what :meth:`RunHandle.events` is, and like that no list."""
        while self._follower.wait(from_seq, 3600.0):
            for line in self._session.events(from_seq, 0) or []:
                from_seq += 1
                yield json.loads(line)

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        import asyncio

        loop, place = asyncio.get_running_loop(), 0
        while await loop.run_in_executor(None, self._follower.wait, place, _TICK_S):
            for line in self._session.events(place, 0) or []:
                place += 1
                yield json.loads(line)

    def cancel(self, task: str | None = None) -> None:
        """Ask the run to end, or one task of it. Whoever carries it on hears of it within a second.

        Raises:
            NotFoundError: Nobody carries it on.
            KeyError: There is no such task.
        """
        self._follower.cancel(None if task is None else self._place(task), False)

    def kill(self) -> None:
        """Ask for the end of everything at once, also of what would clean up. Raises as :meth:`cancel` does."""
        self._follower.cancel(None, True)

    def approve(self, task: str, comment: str = "") -> None:
        """Let a task that waits go on. Where nobody carries the run on, it counts when that goes on.

        Raises:
            KeyError: There is no such task.
            WorkflowError: It does not wait (code ``task.not_waiting``), or waits for a value (``task.wants_value``).
        """
        self._answer(task, True, comment)

    def reject(self, task: str, comment: str = "") -> None:
        """Let a task that waits fail. Raises as :meth:`approve` does."""
        self._answer(task, False, comment)

    def signal(self, task: str, value: Any) -> None:
        """Give a task that waits for a value one, which JSON has to know.

        Raises:
            KeyError: There is no such task.
            WorkflowError: It does not wait for a value (code ``task.not_waiting``).
            TypeError: JSON does not know such a value.
        """
        self._answer(task, True, "", json.dumps(value))

    def _answer(self, task: str, approved: bool, comment: str, value: str | None = None) -> None:
        place = self._place(task)
        wants_value = self._follower.wants_value(place)
        if wants_value is None or (value is not None and not wants_value):
            what = "answer" if wants_value is None else "value, but for whether it may go on"
            raise WorkflowError(f"task `{task}` waits for no {what}", "task.not_waiting")
        if approved and wants_value and value is None:
            raise WorkflowError(
                f"task `{task}` waits for a value\nhint: give it one with signal()", "task.wants_value"
            )
        self._follower.answer(place, approved, comment, value)

    def _place(self, task: str) -> int:
        place = self.refresh()._session.find(task)
        if place is None:
            raise KeyError(task)
        return place


#: More events than there are.
_NEVER = 2**63
