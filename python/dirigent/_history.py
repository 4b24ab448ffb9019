"""Recorded runs: which there are, and one of them to be looked at."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from dirigent import _native
from dirigent._run import Run, state_folder


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


def runs(
    limit: int = 20, *, workflow: str | None = None, state_dir: str | os.PathLike[str] | None = None
) -> list[RecordedRun]:
    """The recorded runs, the newest first.

    Args:
        limit: How many at most.
        workflow: Only runs of this workflow.
        state_dir: The state folder; by default the one that a run started here would be recorded in.
    """
    return [_told(head) for head in _native.recorded_runs(_folder(state_dir), limit, workflow)]


def attach(run_id: str = "last", *, state_dir: str | os.PathLike[str] | None = None) -> Run:
    """A recorded run as it stands, whichever process carried it out.

    Values are read back when they are asked for; those recorded by ``pickle`` run code of their classes, so attach only
    runs of your own.

    Args:
        run_id: Its id, the beginning of one, or ``last``.
        state_dir: As for :func:`runs`.

    Raises:
        NotFoundError: There is no such run.
        StorageError: What is recorded was altered or is damaged.
    """
    folder = _folder(state_dir)
    head = _native.find_recorded(folder, run_id)
    return Run(_native.Session.recorded(folder, head[0]), head[1])


def to_resume(workflow: str, resume: object, state_dir: str) -> str | None:
    """The id of the run that is to go on; ``None`` where ``last`` finds nothing to go on with."""
    if resume == "last":
        for head in _native.recorded_runs(state_dir, 1, workflow):
            return head[0] if head[2] in ("interrupted", "cancelled") else None
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
