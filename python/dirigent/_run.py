"""A run of a workflow: under way as a handle, at its end as a mapping of values."""

from __future__ import annotations

import _thread
import contextvars
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dirigent._carry import OnLoop, attend
from dirigent._context import Attempt, Capture
from dirigent._display import Showing, front_end, kernel_shell
from dirigent._errors import (
    NotFoundError,
    TaskError,
    TaskSkippedError,
    UsageError,
    WorkflowChangedError,
    WorkflowError,
)
from dirigent._plugins import Telling
from dirigent._result import CommandResult as CommandResult
from dirigent._result import Results, TaskResult, TaskStatus, task_error

if TYPE_CHECKING:
    from dirigent._graph import Graph
    from dirigent._native import Session
    from dirigent._profile import Profile
    from dirigent._runnable import Runnable
    from dirigent._table import Table
    from dirigent._widget import RunWidget
    from dirigent._workflow import Progress, Workflow


class Run(Mapping[str, Any]):
    """A run that has ended: a mapping from the names of its tasks to their values.

    Attributes:
        id: Its id.
        name: The workflow's name.
        tasks: The :class:`TaskResult` of each task, by name.
    """

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self.id: str = session.id
        self.name = name
        self.tasks: Mapping[str, TaskResult] = Results(session)
        self._shown_in: int | None = None
        self._workflow: Runnable | None = None
        self._is_recorded = True

    def __getitem__(self, name: str) -> Any:
        """The value of a task.

        Raises:
            KeyError: There is no such task.
            TaskFailedError: It did not complete; what it raised is the cause.
            TaskSkippedError: It was skipped.
        """
        result = self.tasks[name]
        if result.success:
            return result.value
        if result.status is TaskStatus.SKIPPED:
            raise TaskSkippedError(f"task `{name}` {result.sentence}", "task.skipped", name)
        raise _failure(result) from _cause(result)

    def __iter__(self) -> Iterator[str]:
        for name, status in zip(self.tasks, self._session.statuses(), strict=True):
            if status == "completed":
                yield name

    def __len__(self) -> int:
        return self._session.statuses().count("completed")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.tasks and self.tasks[name].success

    @property
    def ok(self) -> bool:
        """Whether every task completed, or was skipped by its declaration or its condition; of a flow, whether that did
        what it was for, whatever became of its tasks."""
        return self.verdict == "succeeded"

    @property
    def verdict(self) -> str:
        """``succeeded``, ``failed`` or ``cancelled``; of a recorded run that has not ended ``unfinished``."""
        return self._session.verdict() or "unfinished"

    @property
    def failed(self) -> list[TaskResult]:
        """The tasks that failed or ran out of time, in the order of declaration."""
        pairs = zip(self.tasks, self._session.statuses(), strict=True)
        return [self.tasks[name] for name, status in pairs if status in ("failed", "timed_out")]

    def raise_for_failures(self) -> Run:
        """Return the run itself where it is ok.

        Raises:
            TaskFailedError: A task failed; the first one is named, what it raised is the cause.
            WorkflowError: The run was cancelled.
        """
        if self.ok:
            return self
        failed = self.failed
        if not failed:
            if self._session.cancel_reason() == "timed_out":
                raise WorkflowError(f"the run of `{self.name}` took longer than it may", "run.timed_out")
            raise WorkflowError(f"the run of `{self.name}`, or a task of it, was cancelled", "run.cancelled")
        raise _failure(failed[0]) from _cause(failed[0])

    def summary(self) -> dict[str, Any]:
        """The run in figures: ``run``, ``workflow``, ``ok``, ``verdict``, ``tasks`` (how many), ``counts`` by status,
        ``failed`` (names and sentences)."""
        return {
            "run": self.id,
            "workflow": self.name,
            "ok": self.ok,
            "verdict": self.verdict,
            "tasks": len(self._session),
            "counts": self._counts(),
            "failed": [{"task": result.name, "sentence": result.sentence} for result in self.failed],
        }

    def _counts(self) -> dict[str, int]:
        statuses = self._session.statuses()
        counts = {status.value: statuses.count(status.value) for status in TaskStatus}
        return {status: count for status, count in counts.items() if count}

    def events(self, from_seq: int = 0) -> list[dict[str, Any]]:
        """Everything that happened, in order, from a place on."""
        return [json.loads(line) for line in self._session.events(from_seq, 0) or []]

    def table(self, of: str = "tasks") -> Table:
        """The run as a table for pandas, polars, pyarrow and whatever else reads Arrow: of its ``tasks``, a row each, of its
        ``attempts``, or of its ``events``."""
        from dirigent._table import table_of

        return table_of(self._session, of)

    def to_pandas(self, of: str = "tasks") -> Any:
        """The same as a table of pandas, which has to be installed."""
        return self.table(of).to_pandas()

    def profile(self) -> Profile:
        """Where its time went, so far: print it, or look at its fields. Compared with the median of earlier runs of the
        same workflow that are recorded in the same folder."""
        from dirigent._profile import profile_of

        return profile_of(self._session)

    def graph(self) -> Graph:
        """What waited for what, and how each task went: print it, or save it as a picture."""
        from dirigent._graph import RunGraph

        return RunGraph(self._session)

    def widget(self, workflow: Workflow | None = None) -> RunWidget:
        """The run in a notebook, live and with buttons: to end it or one of its tasks, to answer those that wait, and to run
        again what failed. ``anywidget`` has to be installed.

        Args:
            workflow: The workflow that was run: what failed in it is run again with that, in this program. By default it
                is known where this program started the run; a run without functions needs none.

        Raises:
            NotFoundError: ``anywidget`` is not installed (code ``usage.not_installed``).
            UsageError: The run is kept in memory only.
        """
        return _widget(self, self._workflow if workflow is None else workflow)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        shell = kernel_shell() if self._shown_in is not None else None
        if shell is not None and shell.execution_count == self._shown_in:
            # The cell shows its picture already.
            return {"text/plain": repr(self)}
        from dirigent._graph import shown

        return shown(self, self.graph())

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self._counts().items())
        return f"<Run of {self.name!r}: {self.verdict}; {counts}>"


def _is_own(result: TaskResult) -> bool:
    """Whether the error says by itself which task it is about."""
    return isinstance(result.error, TaskError) and result.error.task == result.name


def _failure(result: TaskResult) -> BaseException:
    if _is_own(result) and result.error is not None:
        return result.error
    return task_error(result.name, result.status.value, result.sentence)


def _cause(result: TaskResult) -> BaseException | None:
    return result.error.__cause__ if result.error is not None and _is_own(result) else result.error


class RunHandle:
    """A run under way.

    Attributes:
        id: Its id.
        tasks: The :class:`TaskResult` of each task as it stands, by name.
    """

    def __init__(self, session: Session, workflow: Runnable) -> None:
        self._session = session
        self._workflow = workflow
        self.id: str = session.id
        self.tasks: Results = Results(session)
        self._thread: threading.Thread | None = None
        self._problem: BaseException | None = None
        self._is_recorded = True
        #: The cell of a notebook in which it was started, and the number of the one that shows its picture.
        self._front_end = front_end()
        self._shown_in: int | None = None
        #: Whether a widget shows it.
        self._has_widget = False

    def wait(self, timeout: float | None = None) -> Run:
        """Wait for the end.

        Raises:
            TimeoutError: It did not end within so many seconds; it goes on.
        """
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise TimeoutError(f"run {self.id} has not ended within {timeout} s")
        if self._problem is not None:
            raise self._problem
        return self._result()

    def _result(self) -> Run:
        run = Run(self._session, self._workflow.name)
        run._shown_in = self._shown_in
        run._workflow, run._is_recorded = self._workflow, self._is_recorded
        return run

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._session.verdict() is not None

    def graph(self) -> Graph:
        """What waits for what, and how each task stands whenever it is drawn."""
        from dirigent._graph import RunGraph

        return RunGraph(self._session)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from dirigent._graph import shown

        return shown(self, self.graph())

    def widget(self) -> RunWidget:
        """The run in a notebook, live and with buttons: see :meth:`Run.widget`. It stands in for the live picture."""
        # First: to make it takes longer than the live picture waits before it is shown.
        self._has_widget = True
        try:
            return _widget(self, self._workflow)
        except BaseException:
            self._has_widget = False
            raise

    def cancel(self, task: str | None = None) -> None:
        """Ask the run to end, or one task of it."""
        if task is None:
            self._session.cancel()
        else:
            self._session.cancel_task(self.tasks._place(task))

    def kill(self) -> None:
        """End everything at once, also what would clean up."""
        self._session.kill()

    def approve(self, task: str, comment: str = "") -> None:
        """Let a task that waits go on.

        Raises:
            KeyError: There is no such task.
            WorkflowError: It does not wait (code ``task.not_waiting``).
        """
        self._answer(task, True, comment)

    def reject(self, task: str, comment: str = "") -> None:
        """Let a task that waits fail. Raises as :meth:`approve` does."""
        self._answer(task, False, comment)

    def _answer(self, task: str, approved: bool, comment: str) -> None:
        if not self._session.answer(self.tasks._place(task), approved, comment):
            raise WorkflowError(f"task `{task}` waits for no answer", "task.not_waiting")

    def events(self, from_seq: int = 0) -> Iterator[dict[str, Any]]:
        """Everything that happens, in order, from a place on, until the end of the run."""
        while (lines := self._session.events(from_seq, 0.1)) is not None:
            from_seq += len(lines)
            yield from map(json.loads, lines)

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        import asyncio

        loop, place = asyncio.get_running_loop(), 0
        while (lines := await loop.run_in_executor(None, self._session.events, place, 0.1)) is not None:
            place += len(lines)
            for line in lines:
                yield json.loads(line)


def _widget(run: Run | RunHandle, workflow: Runnable | None) -> RunWidget:
    from dirigent._workflow import Workflow

    if not run._is_recorded:
        message = 'a run that is kept in memory only has no widget\nhint: leave durability="none" out'
        raise UsageError(message, "usage.invalid")
    try:
        from dirigent._widget import RunWidget
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "dirigent":
            raise
        raise NotFoundError(
            f"a widget needs anywidget, and {error.name} is not installed\n"
            "hint: `pip install 'dirigent[widgets]'`; a notebook shows runs without it, too",
            "usage.not_installed",
        ) from None
    # What a flow is made of, only its body says.
    known = workflow if type(workflow) is Workflow else None
    return RunWidget(os.path.dirname(os.path.dirname(run._session.folder)), run.id, known)


def state_folder() -> str:
    """Where runs are recorded: see the configuration."""
    named = os.environ.get("DIRIGENT_STATE_DIR")
    if named:
        return os.path.abspath(named)
    from dirigent import _native

    return os.fspath(_native.state_folder(os.getcwd()))


def _prepared(
    workflow: Runnable,
    params: object = None,
    durability: str = "process",
    resume: object = None,
    changed: str = "refuse",
) -> RunHandle:
    if durability not in ("none", "process", "power"):
        raise UsageError(f"durability is `none`, `process` or `power`, not {durability!r}", "usage.invalid")
    if changed not in ("refuse", "continue", "rerun"):
        raise UsageError(f"changed is `refuse`, `continue` or `rerun`, not {changed!r}", "usage.invalid")
    if resume is not None and durability == "none":
        raise UsageError('a run that goes on is recorded\nhint: leave durability="none" out', "usage.invalid")
    if params is not None:
        raise UsageError(
            "a workflow has no parameters yet\nhint: pass them to its functions", "usage.not_supported"
        )
    run_id = None
    if resume is not None:
        from dirigent._history import to_resume

        run_id = to_resume(workflow.name, resume, state_folder(), also_through=changed == "rerun")
    session = None
    if changed == "rerun" and run_id is not None:
        session = _taking_over(workflow, durability, run_id)
        run_id = run_id if session is None else None
    if session is None:
        session = workflow._session(durability, run_id, changed)
    handle = RunHandle(session, workflow)
    handle._is_recorded = durability != "none"
    workflow._running = handle
    if run_id is not None:
        try:
            _tell_parts(handle._session)
        except BaseException:
            # Whoever keeps the exception keeps the session, and would hold the run.
            handle._session.abandon()
            raise
    return handle


def _taking_over(workflow: Runnable, durability: str, run_id: str) -> Session | None:
    """A new run that takes over from an old one what did not change; ``None`` where the old one goes on as it is."""
    from dirigent import _native

    if _native.find_recorded(state_folder(), run_id)[2] in ("running", "interrupted", "cancelled"):
        try:
            # It says whether it can go on, and holds the run while it is asked.
            workflow._session(durability, run_id, "refuse").abandon()
            return None
        except WorkflowChangedError:
            pass
    return workflow._session(durability, takes_over=run_id)


def _tell_parts(session: Session) -> None:
    """Have those that consist of tasks say again of which: the tasks are recorded, what they call is not."""
    told: set[int] = set()
    while fresh := [job for job in session.take_wholes() if job[0] not in told]:
        for task, attempt, function, args, kwargs, extras in fresh:
            told.add(task)
            if extras is not None and extras.carry is not None:
                extras.carry(Attempt(session, task, attempt), function, args or (), kwargs or {})


def resume(workflow: Runnable, run_id: str, changed: str) -> Run:
    """Go on with a recorded run, and with nothing else."""
    from dirigent._history import to_resume

    found = to_resume(workflow.name, run_id, state_folder(), also_through=changed == "rerun")
    if found is None:
        raise NotFoundError(
            f"no run of workflow `{workflow.name}` is to be resumed: the last one is through, or there is none",
            "run.nothing_to_resume",
        )
    return run_sync(workflow, resume=found if run_id == "last" else run_id, changed=changed)


class _Progress:
    """Calls the progress callback as things happen, on a thread of its own, until the run ends."""

    def __init__(self, handle: RunHandle, callback: Progress | None) -> None:
        self._thread: threading.Thread | None = None
        if callback is not None:
            self._thread = threading.Thread(
                target=_tell_progress, args=(handle, callback), name="dirigent-progress", daemon=True
            )

    def __enter__(self) -> None:
        if self._thread is not None:
            self._thread.start()

    def __exit__(self, kind: object, *_: object) -> None:
        if self._thread is not None and kind is None:
            self._thread.join()


def _tell_progress(handle: RunHandle, callback: Progress) -> None:
    import logging

    names: list[str] = []
    # What happened before the run was taken up was told then.
    for event in handle.events(handle._session.recorded_events):
        place, status = event.get("task"), _status_after(event)
        if place is None or status is None:
            continue
        if place >= len(names):
            names += handle._session.names(len(names))
        details = {key: value for key, value in event.items() if key not in ("task", "seq")}
        try:
            callback(names[place], status, details)
        except Exception:
            logging.getLogger("dirigent").exception("the progress callback raised; the run goes on")


def _status_after(event: Mapping[str, Any]) -> str | None:
    kind = event["kind"]
    if kind == "attempt_ended":
        if "retry_at_ms" in event:
            return "retrying"
        return {
            "succeeded": "completed",
            "returned": "completed",
            "timed_out": "timed_out",
            "cancelled": "cancelled",
        }.get(event["outcome"], "failed")
    if kind == "wait_answered":
        return "completed" if event["approved"] else "failed"
    return {
        "attempt_started": "running",
        "wait_started": "waiting",
        "wait_timed_out": "timed_out",
        "task_failed": "failed",
        "task_skipped": "skipped",
        "task_cancelled": "cancelled",
    }.get(kind)


def run_sync(workflow: Runnable, **options: Any) -> Run:
    """Run and wait: in this thread, or beside an event loop that runs in it."""
    handle = _prepared(workflow, **options)
    if workflow._has_loop:
        return _run_on_a_loop(handle)
    return _run_here(handle)


def _run_here(handle: RunHandle) -> Run:
    session, base, showing = handle._session, contextvars.copy_context(), Showing(handle)
    try:
        with showing, Capture(), _Progress(handle, handle._workflow.progress_callback), Telling(handle):
            session.begin()
            attend(session, base)
        session.finish()
    except BaseException:
        # Ctrl-C most of all: the exception goes on at once, what runs is ended behind it.
        session.abandon()
        _thread.start_new_thread(attend, (session, base))
        raise
    return handle._result()


def _run_on_a_loop(handle: RunHandle) -> Run:
    import asyncio

    if not _is_in_loop():
        asyncio.run(_drive(handle))
        return handle._result()
    # A loop runs in this thread already, and cannot run ours as well.
    problem: list[BaseException] = []
    context = contextvars.copy_context()

    def elsewhere() -> None:
        try:
            context.run(asyncio.run, _drive(handle))
        except BaseException as error:
            problem.append(error)

    thread = threading.Thread(target=elsewhere, name="dirigent-run", daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:
        handle.cancel()
        raise
    if problem:
        raise problem[0]
    return handle._result()


def _is_in_loop() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def run(workflow: Runnable, **options: Any) -> Run:
    """Run in the running loop."""
    handle = _prepared(workflow, **options)
    await _drive(handle)
    return handle._result()


async def _drive(handle: RunHandle) -> None:
    # Not the run: CPython 3.11 makes a text of what its main coroutine returned, which takes long if that is large.
    session, base, showing = handle._session, contextvars.copy_context(), Showing(handle)
    try:
        with showing, Capture(), _Progress(handle, handle._workflow.progress_callback), Telling(handle):
            await OnLoop(session, base).run()
        session.finish()
    except BaseException:
        session.abandon()
        raise


def start(workflow: Runnable, **options: Any) -> RunHandle:
    """Run in the background."""
    handle = _prepared(workflow, **options)
    context = contextvars.copy_context()
    # It has begun when the caller has the handle: what is asked of it then means something.
    handle._session.begin()

    def go() -> None:
        try:
            if workflow._has_loop:
                import asyncio

                context.run(asyncio.run, _drive(handle))
            else:
                context.run(_run_here, handle)
        except BaseException as error:
            handle._problem = error

    handle._thread = threading.Thread(target=go, name="dirigent-run", daemon=True)
    handle._thread.start()
    return handle
