"""Recorded runs: which there are, and one of them to be looked at."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from dirigent import _native
from dirigent._attached import AttachedRun
from dirigent._errors import UntrustedError
from dirigent._run import Run, state_folder
from dirigent._table import Table


@dataclass(frozen=True)
class RecordedRun:
    """The head of a recorded run.

    Attributes:
        id: Its id.
        workflow: The workflow's name.
        status: ``running`` (a living process carries it on), ``interrupted`` (its process is gone), or how it ended:
            ``succeeded``, ``failed``, ``cancelled``.
        created: When it was accepted, with its zone.
        ended: When it ended; ``None`` where it has not.
        tasks: How many tasks ended how; empty where it has not ended.
    """

    id: str
    workflow: str
    status: str
    created: datetime
    ended: datetime | None
    tasks: Mapping[str, int]


class RecordedRuns(list[RecordedRun]):
    """Heads of recorded runs: a list, and a table."""

    def table(self) -> Table:
        """A row a run, for pandas, polars, pyarrow and whatever else reads Arrow."""
        rows = [_row(run) for run in self]
        return Table((name, kind, [row[at] for row in rows]) for at, (name, kind) in enumerate(_COLUMNS))

    def to_pandas(self) -> Any:
        """The same as a table of pandas, which has to be installed."""
        return self.table().to_pandas()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {**self.table()._repr_mimebundle_(), "text/plain": repr(self)}


_COLUMNS = (
    ("run", "text"),
    ("workflow", "text"),
    ("status", "text"),
    ("created", "moment"),
    ("ended", "moment"),
    ("seconds", "float"),
    ("tasks", "int"),
    ("failed", "int"),
)


def _row(run: RecordedRun) -> tuple[Any, ...]:
    has_ended = run.ended is not None
    seconds = (run.ended - run.created).total_seconds() if run.ended is not None else None
    tasks = sum(run.tasks.values()) if has_ended else None
    failed = run.tasks.get("failed", 0) + run.tasks.get("timed_out", 0) if has_ended else None
    return run.id, run.workflow, run.status, _at_ms(run.created), _at_ms(run.ended), seconds, tasks, failed


def _at_ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)


def runs(
    limit: int = 20, *, workflow: str | None = None, state_dir: str | os.PathLike[str] | None = None
) -> RecordedRuns:
    """The recorded runs, the newest first.

    Args:
        limit: How many at most.
        workflow: Only runs of this workflow.
        state_dir: The state folder; by default the one that a run started here would be recorded in.
    """
    return RecordedRuns(_told(head) for head in _native.recorded_runs(_folder(state_dir), limit, workflow))


def attach(
    run_id: str = "last", *, state_dir: str | os.PathLike[str] | None = None, trust: bool = False
) -> AttachedRun:
    """A recorded run, whichever process carries it out: as it stands, and followed while it goes on.

    Values are read back when they are asked for. Those recorded by ``pickle`` run code of whoever made the run, so of a run
    that was imported they raise :class:`UntrustedError`, unless you say that you trust it.

    Args:
        run_id: Its id, the beginning of one, or ``last``.
        state_dir: As for :func:`runs`.
        trust: Whether pickles of an imported run are opened.

    Raises:
        NotFoundError: There is no such run.
        StorageError: What is recorded was altered or is damaged.
    """
    folder = _folder(state_dir)
    head = _native.find_recorded(folder, run_id)
    return AttachedRun(folder, head[0], head[1], trust)


def to_resume(workflow: str, resume: object, state_dir: str, also_through: bool = False) -> str | None:
    """The id of the run that is to go on; ``None`` where ``last`` finds nothing to go on with. ``also_through``: one that
    is through is something to go on with."""
    found = _found(workflow, resume, state_dir, also_through)
    is_trusted = isinstance(resume, AttachedRun) and resume._is_trusted
    task = None if found is None or is_trusted else _native.untrusted_task(state_dir, found)
    if task is not None:
        raise UntrustedError(
            f"run {found} was imported, and the value of its task `{task}` is a pickle: to go on runs code of whoever made "
            "it\nhint: if you trust them as you trust a program, resume `attach(…, trust=True)`",
            "value.untrusted",
        )
    return found


def _found(workflow: str, resume: object, state_dir: str, also_through: bool) -> str | None:
    if resume == "last":
        for head in _native.recorded_runs(state_dir, 1, workflow):
            return head[0] if also_through or head[2] in ("interrupted", "cancelled") else None
        return None
    if isinstance(resume, (Run, RecordedRun)):
        return resume.id
    return _native.find_recorded(state_dir, str(resume))[0]


def _folder(state_dir: str | os.PathLike[str] | None) -> str:
    return state_folder() if state_dir is None else os.path.abspath(os.fspath(state_dir))


def _told(head: tuple[str, str, str, int, int | None, str | None]) -> RecordedRun:
    run_id, workflow, status, created_ms, ended_ms, counts = head
    ended = None if ended_ms is None else _moment(ended_ms)
    return RecordedRun(run_id, workflow, status, _moment(created_ms), ended, json.loads(counts or "{}"))


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, timezone.utc).astimezone()
