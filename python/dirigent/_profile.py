"""Where the time of a run went: its profile, as fields, as text, and in a notebook."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from dirigent import _native

if TYPE_CHECKING:
    from dirigent._native import Session

_T = TypeVar("_T")


@dataclass(frozen=True)
class TaskProfile:
    """Where the time of a task went. What ends in ``_s`` is in seconds; ``None`` is what nobody counted.

    Attributes:
        name: Its name.
        status: Where it stands.
        attempts: How many attempts were started.
        needs_s: From the beginning of the run, or since it was declared, until it had what it needs.
        queued_s: For how long it was ready and waited for a slot or a resource.
        run_s: What its attempts took.
        failed_s: What those took of them that another one followed.
        retry_s: The delays before further attempts.
        answer_s: How long it waited for somebody's answer.
        critical_s: How much of the critical path is its own.
        cpu_s: CPU time of its processes, as the kernel counts it.
        cpu_share: ``cpu_s`` over ``run_s``: how many processors it kept busy.
        peak_memory_bytes: The most memory that one of its processes had at once.
        saved_s: What it took where it was carried out, if it was reused.
        median_s: The median of ``run_s`` in earlier runs.
    """

    name: str
    status: str
    attempts: int
    needs_s: float
    queued_s: float
    run_s: float
    failed_s: float
    retry_s: float
    answer_s: float
    critical_s: float
    cpu_s: float | None
    cpu_share: float | None
    peak_memory_bytes: int | None
    saved_s: float | None
    median_s: float | None


@dataclass(frozen=True)
class Step:
    """A part of the critical path.

    Attributes:
        task: The task.
        attempt: Its attempt; ``None`` of an answer.
        spent: What the time was spent on: ``run``, ``answer``, ``retry``, ``rate``.
        after: What it had to wait for before: ``start``, ``need``, ``parent``, ``slot``, ``resource``, ``attempt``.
        resource: The resource, where it was one.
        from_s: When it began, counted from the beginning of the run.
        seconds: How long it took.
        share: Its part of the run, from 0 to 1.
    """

    task: str
    attempt: int | None
    spent: str
    after: str
    resource: str | None
    from_s: float
    seconds: float
    share: float


@dataclass(frozen=True)
class ResourceProfile:
    """How a resource was used.

    Attributes:
        name: Its name.
        full_share: The part of the time in which no task could have got any of it; ``None`` of a rate.
        doubled_s: How long the run would have taken with twice as much; ``None`` where that cannot be told.
    """

    name: str
    full_share: float | None
    doubled_s: float | None


@dataclass(frozen=True)
class Simulations:
    """What other limits would bring, where each attempt takes as long as it did.

    Attributes:
        as_it_was_s: With the limits that the run had: how near the simulation comes to ``wall_s``.
        workers: How long with so many workers; ``None`` stands for any number.
        most_at_once: How many could run at once at most.
        bound_s: With any number of workers, and enough of every resource.
    """

    as_it_was_s: float
    workers: Mapping[int | None, float]
    most_at_once: int
    bound_s: float


@dataclass(frozen=True)
class Advice:
    """One thing to say about a run, with its numbers.

    Attributes:
        about: ``long_task``, ``workers``, ``chain``, ``resource``, ``retries`` or ``slower``.
        sentence: In words, without its end.
        task: The task, where it is about one.
        figures: The numbers that it goes by.
    """

    about: str
    sentence: str
    task: str | None
    figures: Mapping[str, float]


@dataclass(frozen=True, repr=False)
class Profile:
    """Where the time of a run went. What ends in ``_s`` is in seconds, without those in which the run was stopped.

    Attributes:
        run: The run's id.
        workflow: The name of its workflow.
        wall_s: From accepted to ended, or to the last thing known.
        run_s: What all attempts took together.
        parallelism: How many attempts ran at once, on average.
        max_concurrency: How many might run at once.
        queued_s: How long tasks were ready and waited for a slot or a resource, together.
        cpu_s: CPU time that the kernel counted; ``None`` where it counted none, as of functions in threads.
        processors: How many processors were busy on average.
        peak_memory_bytes: The most memory that one process had at once.
        reused: How many tasks need not run.
        saved_s: What those took when they ran.
        critical_path: What the run was waiting for, from its beginning to its end.
        between_s: The time between the steps of the path.
        resources: What there is only so much of.
        simulated: What other limits would bring; ``None`` where that cannot be told.
        not_simulated: Why it cannot be told.
        earlier_runs: How many earlier runs are alike.
        earlier_s: The median of what those took; ``None`` where there are none.
        advice: What there is to say.
        tasks: Every task, by name.
    """

    run: str
    workflow: str
    wall_s: float
    run_s: float
    parallelism: float
    max_concurrency: int
    queued_s: float
    cpu_s: float | None
    processors: float | None
    peak_memory_bytes: int | None
    reused: int
    saved_s: float
    critical_path: Sequence[Step]
    between_s: float
    resources: Sequence[ResourceProfile]
    simulated: Simulations | None
    not_simulated: str | None
    earlier_runs: int
    earlier_s: float | None
    advice: Sequence[Advice]
    tasks: Mapping[str, TaskProfile]
    _text: str = field(compare=False)

    def __str__(self) -> str:
        return self._text.rstrip("\n")

    def __repr__(self) -> str:
        return f"<Profile of {self.workflow!r}: {self.wall_s:.2f} s, {self.parallelism:.1f} at once>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        import html

        return {"text/plain": str(self), "text/html": f"<pre>{html.escape(str(self))}</pre>"}


def profile_of(session: Session) -> Profile:
    """The profile of a run so far."""
    told, text = _native.run_profile(session)
    plain = json.loads(told)
    earlier, simulated = plain.pop("earlier"), plain["simulated"]
    if simulated is not None:
        simulated["workers"] = {it["workers"]: it["wall_s"] for it in simulated["workers"]}
        plain["simulated"] = _made(Simulations, simulated)
    plain.update(
        critical_path=[_made(Step, it) for it in plain["critical_path"]],
        resources=[_made(ResourceProfile, it) for it in plain["resources"]],
        advice=[_made(Advice, it) for it in plain["advice"]],
        tasks={it["name"]: _made(TaskProfile, it) for it in plain["tasks"]},
        earlier_runs=0 if earlier is None else earlier["runs"],
        earlier_s=None if earlier is None else earlier["wall_s"],
        _text=text,
    )
    return _made(Profile, plain)


def _made(cls: type[_T], plain: dict[str, Any]) -> _T:
    names = {it.name for it in dataclasses.fields(cls)}  # type: ignore[arg-type]
    return cls(**{name: value for name, value in plain.items() if name in names})
