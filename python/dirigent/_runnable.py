"""Running a workflow: here, on a loop, or in the background."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dirigent import _native
from dirigent._errors import WorkflowError

if TYPE_CHECKING:
    from dirigent._result import TaskResult
    from dirigent._run import Run, RunHandle
    from dirigent._workflow import Progress

#: How many tasks run at once where nobody says: functions in threads, coroutines alone.
_MOST_IN_THREADS = 32
_MOST_ON_LOOP = 1000


class Runnable:
    """What can be run once it is declared."""

    name: str
    timeout: float | None
    fail_fast: bool
    max_concurrency: int | None
    progress_callback: Progress | None
    _plan: _native.Plan
    _resources: list[dict[str, Any]]
    _has_threads: bool
    _has_loop: bool
    _running: RunHandle | None
    #: What its commands may get, and nothing of it may print; ``None`` where there is none.
    secrets: _native.Secrets | None = None

    def start(self, **options: Any) -> RunHandle:
        """Start a run in the background and return its handle. Options are those of :meth:`run`."""
        from dirigent._run import start

        return start(self, **options)

    async def run(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        durability: str = "process",
        resume: object = None,
        changed: str = "refuse",
    ) -> Run:
        """Run it in the running event loop, on which its coroutine functions run too.

        A failed task does not raise here: ``run.ok`` is false, and ``run.raise_for_failures()`` raises.

        Args:
            params: Not supported yet.
            durability: What the record of the run survives: ``"process"`` any end of the process, ``"power"`` a cut of
                power at any moment; ``"none"`` keeps it in memory.
            resume: A recorded run of this workflow to go on with: its id, or ``"last"``, which starts a new run where
                the last one is through. Tasks that completed keep their values; those under way are tried again.
            changed: What to do where a task that completed does something else now: ``"refuse"``; ``"continue"``, which
                keeps its value; ``"rerun"``, which starts a new run that takes over from the old one what did not change and
                needs nothing that did. With ``"rerun"`` a run that is through may be meant, too: what failed in it runs again.

        Raises:
            WorkflowChangedError: The run to go on with is of other tasks (code ``workflow.changed``).
            BusyError: Another process carries it on (code ``journal.held``).
            StorageError: The state folder cannot be written, or is damaged.
        """
        from dirigent._run import run

        return await run(self, params=params, durability=durability, resume=resume, changed=changed)

    def run_sync(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        durability: str = "process",
        resume: object = None,
        changed: str = "refuse",
    ) -> Run:
        """Run it and wait for its end: anywhere, also where an event loop is running. Options are those of :meth:`run`.

        Raises:
            KeyboardInterrupt: At once, on Ctrl-C; what runs is ended.
        """
        from dirigent._run import run_sync

        return run_sync(self, params=params, durability=durability, resume=resume, changed=changed)

    def resume(self, run_id: str = "last", *, changed: str = "refuse") -> Run:
        """Go on with a recorded run and wait for its end. See ``resume`` of :meth:`run`.

        Raises:
            NotFoundError: There is no such run, or the last one is through.
        """
        from dirigent._run import resume

        return resume(self, run_id, changed)

    def cancel(self) -> None:
        """Ask the run of this workflow that is under way to end."""
        if self._running is not None:
            self._running.cancel()

    def get_task_result(self, name: str) -> TaskResult:
        """The result of a task in the last run.

        Raises:
            WorkflowError: There was no run yet.
            KeyError: There is no such task.
        """
        return self._last().tasks[name]

    def get_summary(self) -> dict[str, Any]:
        """The last run in figures: see :meth:`Run.summary`.

        Raises:
            WorkflowError: There was no run yet.
        """
        return self._last().summary()

    def _last(self) -> Run:
        if self._running is None:
            raise WorkflowError(f"workflow `{self.name}` has not run yet", "workflow.no_run")
        return self._running._result()

    def _session(
        self,
        durability: str = "process",
        resume: str | None = None,
        changed: str = "refuse",
        takes_over: str | None = None,
    ) -> _native.Session:
        """Check the whole and prepare a run, or to go on with one."""
        from dirigent._program import program
        from dirigent._run import state_folder

        if durability != "none":
            from dirigent._fingerprint import fingerprint, of_call

            self._plan.tell_codes(fingerprint, of_call)

        most = self.max_concurrency
        if most is None:
            most = _MOST_ON_LOOP if self._has_loop and not self._has_threads else _MOST_IN_THREADS
        options = {
            "max_concurrency": most,
            "fail_fast": self.fail_fast,
            "timeout_ms": None if self.timeout is None else max(1, round(self.timeout * 1000)),
            "resources": self._resources,
            "seed": random.getrandbits(64),
            "keeps_changed": changed == "continue",
            "takes_over": takes_over,
        }
        return _native.Session(
            self._plan,
            self.name,
            program(),
            state_folder(),
            json.dumps(options),
            durability,
            resume,
            self.secrets,
        )
