"""What a task can be told beside what it does: its options, checked, in the terms of the core."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dirigent._errors import UsageError

if TYPE_CHECKING:
    from dirigent._result import TaskResult

Condition = Callable[[Mapping[str, "TaskResult"]], bool]

#: Amounts of resources are counted in thousandths.
PARTS = 1000
_UNITS_S = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
}


def set_total_concurrency(most: int | None) -> None:
    """Limit how many tasks of all runs of this program run at once, beside what each run allows.

    A task that starts a run of its own and waits for it keeps its place meanwhile: allow more than there are such tasks.

    Args:
        most: How many, 1 or more; ``None`` for no limit, as at the start.

    Raises:
        UsageError: It is no such number.
    """
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise UsageError(f"a limit is a number of tasks, 1 or more, or None, not {most!r}", "usage.invalid")
    from dirigent import _native

    _native.limit_total(most)


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how far apart a failed task is tried again.

    The delay before attempt n + 1 is ``initial_delay * exponential_base ** (n - 1)``, at most ``max_delay``, made longer
    or shorter by chance by up to the part ``jitter``.

    Attributes:
        max_attempts: Attempts in all, the first one included.
        initial_delay: Seconds before the second attempt.
        max_delay: The most seconds before any attempt.
        exponential_base: By what each delay is longer than the one before, 1 or more.
        jitter: From 0 to 1.
        retry_on: Exceptions after which a function is tried again. Commands are tried again after every failure.
    """

    max_attempts: int = 3
    initial_delay: float = 1.0
    max_delay: float = 60.0
    exponential_base: float = 2.0
    jitter: float = 0.1
    retry_on: tuple[type[BaseException], ...] = (Exception,)

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise misused(f"max_attempts is 1 or more, not {self.max_attempts}")
        if self.initial_delay < 0 or self.max_delay < 0:
            raise misused("a delay is not negative")
        if self.exponential_base < 1:
            raise misused(f"exponential_base is 1 or more, not {self.exponential_base}")
        if not 0 <= self.jitter <= 1:
            raise misused(f"jitter is from 0 to 1, not {self.jitter}")


class Task:
    """One task of a workflow as it was declared.

    Attributes:
        name: Unique in the workflow.
        action: The function, the argument vector, or what else it does.
        dependencies: The names of the tasks it waits for.
        timeout: Seconds for one attempt; ``None`` for no limit.
        retry_policy: How it is tried again, if it is.
        condition: Asked before it starts; it is skipped where the answer is no.
        transform_result: Makes its value from what the function returned.
        tags: Words to find it by.
        metadata: Whatever its author wants to keep with it.
    """

    __slots__ = (
        "action",
        "carry",
        "condition",
        "context_parameter",
        "dependencies",
        "made_of",
        "metadata",
        "name",
        "repeat_until",
        "retry_policy",
        "tags",
        "timeout",
        "transform_result",
    )

    def __init__(
        self,
        name: str,
        action: object,
        *,
        dependencies: Sequence[str] = (),
        timeout: float | None = None,
        retry_policy: RetryPolicy | None = None,
        condition: Condition | None = None,
        transform_result: Callable[[Any], object] | None = None,
        repeat_until: Callable[[Any], bool] | None = None,
        tags: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.action = action
        self.dependencies = tuple(dependencies)
        self.timeout = timeout
        self.retry_policy = retry_policy
        self.condition = answerer("condition", condition)
        self.transform_result = answerer("transform_result", transform_result)
        self.repeat_until = repeat_until
        self.tags = frozenset(tags)
        self.metadata = dict(metadata or {})
        self.context_parameter: str | None = None
        self.carry: Callable[..., Any] | None = None
        #: Of what its tasks are made, where it consists of some.
        self.made_of: object = None

    def __repr__(self) -> str:
        return f"Task({self.name!r})"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from dirigent._cell import of_task

        return {"text/plain": repr(self), "text/html": of_task(self)}

    def is_retried_on(self, error: BaseException) -> bool:
        """Whether the policy tries again after an exception."""
        if self.retry_policy is None:
            return isinstance(error, Exception)
        return isinstance(error, self.retry_policy.retry_on)


@dataclass(frozen=True)
class Cache:
    """On what it depends, beside its code, its arguments and the values it is given, whether a task has to run again.

    Attributes:
        inputs: Files that it reads, as paths or globs: what is in them counts.
        outputs: Files that it writes, as paths or globs. Where they are gone or altered, they are put back.
        env: Variables of the environment whose values count.
        ttl: For how many seconds what it did holds; ``None`` for ever.
    """

    inputs: Sequence[str | os.PathLike[str]] = ()
    outputs: Sequence[str | os.PathLike[str]] = ()
    env: Sequence[str] = ()
    ttl: float | None = None

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs", "env"):
            if isinstance(getattr(self, name), (str, os.PathLike)):
                raise misused(
                    f"{name} of a cache is a list, not one text", f"write [{getattr(self, name)!r}]"
                )


def reuse_of(cache: object) -> dict[str, Any] | None:
    """The policy that a task's ``cache`` makes."""
    if cache is False or cache is None:
        return None
    if cache is True:
        cache = Cache()
    if not isinstance(cache, Cache):
        raise misused(f"cache is True, False or a Cache, not {cache!r}")
    reuse: dict[str, Any] = {
        "inputs": [os.path.abspath(path) for path in cache.inputs],
        "outputs": [os.path.abspath(path) for path in cache.outputs],
        "env": list(cache.env),
    }
    ttl = seconds(cache.ttl, "ttl")
    return reuse if ttl is None else {**reuse, "ttl_ms": max(1, round(ttl * 1000))}


def policy_of(
    task: Task, options: dict[str, Any], claims: Mapping[int, int], more: Mapping[str, Any]
) -> dict[str, Any]:
    """Take the options that every kind of task has out of ``options``, and return the policy they make."""
    policy: dict[str, Any] = {key: value for key, value in more.items() if value is not None}
    limits: dict[str, Any] = {"grace_ms": 5000}
    for limit in ("memory_bytes", "output_bytes"):
        if limit in policy:
            limits[limit] = policy.pop(limit)
    if task.timeout is not None:
        limits["timeout_ms"] = max(1, round(task.timeout * 1000))
    if task.condition is not None:
        policy["has_condition"] = True
    if (retry := task.retry_policy) is not None:
        policy["retry"] = {
            "max_attempts": retry.max_attempts,
            "initial_delay_ms": round(retry.initial_delay * 1000),
            "max_delay_ms": round(retry.max_delay * 1000),
            "base": retry.exponential_base,
            "jitter": retry.jitter,
        }
    if "trigger" in options:
        policy["trigger"] = one_of("trigger", options.pop("trigger"), _TRIGGERS)
    if "priority" in options:
        policy["priority"] = int(options.pop("priority"))
    if "teardown" in options:
        policy["teardown"] = bool(options.pop("teardown"))
    if "repeat_until" in options:
        task.repeat_until = answerer("repeat_until", options.pop("repeat_until"))
        most = int(options.pop("max_repeats", 100))
        if most < 1:
            raise misused(f"max_repeats is 1 or more, not {most}")
        policy["repeat"] = {
            "max_times": most,
            "delay_ms": round(at_least_0(options.pop("repeat_delay", 0.0)) * 1000),
        }
    if "cache" in options:
        reuse = reuse_of(options.pop("cache"))
        if reuse is not None:
            policy["reuse"] = reuse
    if "isolation" in options:
        isolation = one_of("isolation", options.pop("isolation"), ("thread", "process"))
        if isolation == "process":
            from dirigent._isolation import carry

            if task.context_parameter is not None:
                raise misused(
                    f"task `{task.name}` wants a TaskContext, which does not go to another process",
                    "leave one of the two out",
                )
            task.carry = carry
    policy["claims"] = [{"resource": place, "amount": amount} for place, amount in sorted(claims.items())]
    return {"limits": limits, **policy}


#: What tasks of each kind can be told.
SCHEDULING = ("trigger", "teardown", "condition")
OF_COMMANDS = ("trigger", "teardown", "priority", "pool", "resources", "cache")
OF_CALLS = (
    "priority",
    "cache",
    "pool",
    "resources",
    "isolation",
    "repeat_until",
    "max_repeats",
    "repeat_delay",
)

#: What a command may leave on disk of each of its two streams.
OUTPUT_LIMIT_BYTES = 64 << 20

_TRIGGERS = ("all_success", "all_done", "any_success", "any_failed", "none_failed", "always")
_OPTIONS = (
    "trigger",
    "priority",
    "pool",
    "resources",
    "teardown",
    "isolation",
    "repeat_until",
    "max_repeats",
    "repeat_delay",
    "cache",
    "condition",
)


def misused(message: str, hint: str | None = None) -> UsageError:
    """An error of whoever calls."""
    return UsageError(f"{message}\nhint: {hint}" if hint else message, "usage.invalid")


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint where a known word is near."""
    import difflib

    near = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean `{near[0]}`?" if near else None


def answerer(option: str, function: Any) -> Any:
    """A function that answers at once."""
    from dirigent._signature import look_at

    if function is not None and (not callable(function) or look_at(function).is_async):
        raise misused(f"{option} is a function that answers at once, not {function!r}")
    return function


def only(kind: str, options: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Refuse options that a kind of task does not have."""
    for name in options:
        if name not in allowed:
            known = did_you_mean(name, allowed) or f"it takes {', '.join(allowed)}"
            raise misused(f"`{name}` is no option of {kind}", known)


def no_more(options: Mapping[str, Any]) -> None:
    """Refuse what is left of the options."""
    for name in options:
        raise misused(f"`{name}` is no option of a task", did_you_mean(name, _OPTIONS))


def one_of(option: str, value: object, known: Sequence[str]) -> str:
    """A word out of a few."""
    if value not in known:
        hint = did_you_mean(str(value), known) or f"one of {', '.join(known)}"
        raise misused(f"{option} is not {value!r}", hint)
    return str(value)


def seconds(value: Any, option: str) -> float | None:
    """Seconds from a number or a ``timedelta``; ``None`` stays."""
    if value is None:
        return None
    try:
        seconds = float(value.total_seconds()) if hasattr(value, "total_seconds") else float(value)
    except (TypeError, ValueError):
        raise misused(f"{option} is a number of seconds, not {value!r}") from None
    if not 0 < seconds < float("inf"):
        raise misused(f"{option} is a number of seconds above 0, not {value!r}", "None stands for no limit")
    return seconds


def at_least_0(value: float) -> float:
    """A delay in seconds."""
    if value < 0:
        raise misused(f"a delay is not negative, as {value!r} is")
    return float(value)


def resource(name: str, amount: float | str) -> dict[str, Any]:
    """A resource as the core knows it, from ``4`` or ``"10/s"``."""
    if not isinstance(amount, str):
        if amount <= 0:
            raise misused(f"there is more than 0 of resource `{name}`, not {amount!r}")
        return {"name": name, "capacity": round(amount * PARTS)}
    count, _, unit = amount.partition("/")
    try:
        return {
            "name": name,
            "capacity": round(float(count) * PARTS),
            "per_ms": round(_UNITS_S[unit.strip()] * 1000),
        }
    except (KeyError, ValueError):
        raise misused(
            f"the rate of `{name}` is not {amount!r}", 'write "10/s", "100/min" or "1000/h"'
        ) from None


def secret_variables(
    workflow: str, task: str, wanted: Iterable[str] | Mapping[str, str], secrets: Iterable[str] | None
) -> list[tuple[str, str]]:
    """The variables of a task that are secrets, each with the name of its secret."""
    if isinstance(wanted, str):
        raise misused(f"the secrets of task `{task}` are a list of names, not a name")
    pairs = wanted.items() if isinstance(wanted, Mapping) else [(name, name) for name in wanted]
    known = list(secrets or ())
    for _, name in pairs:
        if name not in known:
            hint = did_you_mean(name, known) or f"give it: Workflow({workflow!r}, secrets={{{name!r}: …}})"
            raise misused(f"task `{task}` wants the secret `{name}`, which the workflow has not", hint)
    return list(pairs)


def environment(env: Mapping[str, str | None] | None) -> list[tuple[str, str | None]]:
    """Changes to the environment as the core takes them."""
    return [(name, value if value is None else os.fspath(value)) for name, value in (env or {}).items()]


def interpreter(file: str) -> list[str]:
    """What runs a script: by its name, else by itself."""
    if file.endswith(".py"):
        return [sys.executable]
    if file.endswith((".sh", ".bash")) and not os.access(file, os.X_OK):
        return ["bash" if file.endswith(".bash") else "sh"]
    return []
