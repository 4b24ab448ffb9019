"""Futures: what calling a task in a flow's body hands back, and how they are found in arguments and give way to values.

How a task is declared, waited for and drawn is known elsewhere: here it is a ground to stand on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from dirigent._errors import TaskError
from dirigent._options import misused

if TYPE_CHECKING:
    from dirigent._flow_scope import Scope
    from dirigent._result import TaskStatus

T = TypeVar("T")

#: The part of a flow that this code is the body of; ``None`` outside of flows, and in the bodies of tasks.
SCOPE: ContextVar[Scope | None] = ContextVar("dirigent_flow", default=None)


class Ground(Protocol):
    """What futures stand on: the run of a flow, or a drawing of one."""

    def status(self, future: Future[Any]) -> str:
        """Where a task stands."""

    def has_ended(self, future: Future[Any]) -> bool:
        """Whether a task has ended, however."""

    def wait(self, future: Future[Any], timeout: float | None) -> bool:
        """Wait for the end of a task, and say whether it came in time."""

    def wait_until_sized(self, fan: MapFuture[Any], timeout: float | None) -> bool:
        """Wait until it is known how many calls there are, and say whether that came in time."""

    def arrival(self, future: Future[Any]) -> Awaitable[None]:
        """The same as ``wait``, for an event loop."""

    def value(self, future: Future[Any]) -> Any:
        """The value of a task that has ended, or the exception that says why there is none."""


class Future(Generic[T]):
    """The value of a task of a flow, which may not be there yet.

    Pass it to other tasks, also inside lists, tuples and dictionaries: they wait for it and get the value in its place.

    >>> from dirigent import flow, task
    >>> @task
    ... def double(x):
    ...     return 2 * x
    >>> @flow
    ... def eight():
    ...     four = double(2)
    ...     return double(four), four.result()
    >>> eight()
    (8, 4)

    Attributes:
        name: The task's name in the run.
    """

    __slots__ = ("__weakref__", "_ground", "_index", "name")

    def __init__(self, ground: Ground, index: int, name: str) -> None:
        self._ground = ground
        self._index = index
        self.name = name

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end of the task and return its value.

        Raises:
            TaskFailedError: It failed; what it raised is the cause. Its subclasses say that it ran out of time or was cancelled.
            TaskSkippedError: It was skipped, since a task that it needs did not complete.
            TimeoutError: It did not end within so many seconds; it goes on.
            UsageError: Called on the event loop of an asynchronous flow: ``await`` the future there.
        """
        if not self._ground.wait(self, timeout):
            raise _late(self.name, timeout)
        return self._value()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end of the task and return what :meth:`result` would raise; ``None`` where it completed."""
        if not self._ground.wait(self, timeout):
            raise _late(self.name, timeout)
        try:
            self._value()
        except TaskError as error:
            return error
        return None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the task, and return whether it has ended."""
        return self._ground.wait(self, timeout)

    def done(self) -> bool:
        """Whether the task has ended, however."""
        return self._ground.has_ended(self)

    @property
    def status(self) -> TaskStatus:
        """Where the task stands."""
        from dirigent._result import TaskStatus

        return TaskStatus(self._ground.status(self))

    def __await__(self) -> Generator[Any, Any, T]:
        yield from self._ground.arrival(self).__await__()
        return self.result()

    @property
    def _needs(self) -> tuple[int, ...]:
        return (self._index,)

    def _value(self) -> T:
        value: T = self._ground.value(self)
        return value

    def __bool__(self) -> bool:
        raise _no_value(self.name, "is neither true nor false")

    def __iter__(self) -> Iterator[Any]:
        raise _no_value(self.name, "cannot be gone through")

    def __reduce__(self) -> str:
        raise TypeError(f"the future of task {self.name} cannot be pickled: pass it to a task as an argument")

    def __repr__(self) -> str:
        return f"<Future of {self.name!r}>"


#: Statuses that nothing changes any more.
ENDS = ("completed", "failed", "timed_out", "cancelled", "skipped")


def _late(name: str, timeout: float | None) -> TimeoutError:
    return TimeoutError(f"task {name} has not ended within {timeout} s")


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _no_value(name: str, what: str) -> TypeError:
    return TypeError(f"the future of task {name} {what}: ask for its value with .result()")


class MapFuture(Sequence[Future[T]]):
    """The calls that a map makes: a sequence of futures, and like one future of the list of their values.

    Where the items are the value of a task, how many there are is known when that has completed: ``len``, indexing and
    iterating wait for it. Passing it to a task or mapping over it does not.

    Attributes:
        name: The map's name in the run.
    """

    __slots__ = ("_chain", "_futures", "_ground", "_index", "_is_sized", "_sizing_needs", "name")

    def __init__(self, ground: Ground, name: str, futures: list[Future[T]] | None) -> None:
        self._ground = ground
        self.name = name
        self._futures = futures
        #: Where the size was not known at once: the task that stands for the whole, what it needs, and what has to
        #: complete before the list of values is whole.
        self._index: int | None = None
        self._sizing_needs: tuple[int, ...] = ()
        self._chain: tuple[int, ...] = ()
        self._is_sized = threading.Event()
        if futures is not None:
            self._is_sized.set()

    def result(self, timeout: float | None = None) -> list[T]:
        """Wait for all calls and return the list of their values, in order.

        Raises:
            TaskFailedError, TaskSkippedError, TimeoutError, UsageError: As :meth:`Future.result`, of the first one that
                has no value.
        """
        deadline = _deadline(timeout)
        return [future.result(_left(deadline)) for future in self._all(timeout)]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of all calls, and return whether they have ended."""
        deadline = _deadline(timeout)
        try:
            futures = self._all(timeout)
        except TaskError:
            return True
        except TimeoutError:
            return False
        return all(future.wait(_left(deadline)) for future in futures)

    def done(self) -> bool:
        """Whether all calls have ended."""
        if self._futures is None:
            return self._ground.has_ended(self._whole())
        return all(future.done() for future in self._futures)

    @property
    def status(self) -> TaskStatus:
        """Where the calls stand as a whole: failed as soon as one is, completed when all are."""
        from dirigent._result import TaskStatus

        if self._futures is None:
            return TaskStatus(self._ground.status(self._whole()))
        statuses = {str(future.status) for future in self._futures}
        if not statuses <= set(ENDS):
            known = statuses & {"running", "retrying", "completed"}
            return TaskStatus.RUNNING if known else TaskStatus.PENDING
        for status in ("failed", "timed_out", "cancelled", "skipped"):
            if status in statuses:
                return TaskStatus(status)
        return TaskStatus.COMPLETED

    def __await__(self) -> Generator[Any, Any, list[T]]:
        if self._index is not None:
            yield from self._ground.arrival(self._whole()).__await__()
        for future in self._futures or ():
            yield from self._ground.arrival(future).__await__()
        return self.result()

    def __len__(self) -> int:
        return len(self._all(None))

    @overload
    def __getitem__(self, place: int) -> Future[T]: ...
    @overload
    def __getitem__(self, place: slice) -> list[Future[T]]: ...
    def __getitem__(self, place: int | slice) -> Future[T] | list[Future[T]]:
        return self._all(None)[place]

    def __iter__(self) -> Iterator[Future[T]]:
        return iter(self._all(None))

    def _all(self, timeout: float | None) -> list[Future[T]]:
        if self._futures is None:
            if not self._ground.wait_until_sized(self, timeout):
                raise TimeoutError(f"map {self.name} has not been sized within {timeout} s")
            if self._futures is None:
                self._ground.value(self._whole())
                raise AssertionError("a map that completed has a size")
        return self._futures

    def _whole(self) -> Future[list[T]]:
        assert self._index is not None
        return Future(self._ground, self._index, self.name)

    @property
    def _needs(self) -> tuple[int, ...]:
        if self._index is not None:
            return self._chain
        return tuple(future._index for future in self._futures or ())

    def _value(self) -> list[T]:
        return [future._value() for future in self._futures or ()]

    def __reduce__(self) -> str:
        raise TypeError(
            f"the futures of map {self.name} cannot be pickled: pass them to a task as an argument"
        )

    def __repr__(self) -> str:
        size = "not sized yet" if self._futures is None else f"{len(self._futures)} calls"
        return f"<MapFuture of {self.name!r}: {size}>"


class Place:
    """Where a future stood among arguments."""

    __slots__ = ("future",)

    def __init__(self, future: Future[Any] | MapFuture[Any]) -> None:
        self.future = future


def held(ground: Ground, arguments: Any) -> tuple[Any, tuple[int, ...]]:
    """Arguments as they stand now, to be given values later, and the tasks whose values they hold.

    Raises:
        UsageError: A future belongs to another run.
    """
    needs: dict[int, None] = {}

    def hold(future: Future[Any] | MapFuture[Any]) -> Place:
        if future._ground is not ground:
            raise misused(f"{future!r} belongs to another run", "pass its result()")
        needs.update(dict.fromkeys(future._needs))
        return Place(future)

    return _replaced(arguments, FUTURES, hold), tuple(needs)


def given(arguments: Any) -> Any:
    """Arguments that were held, with values in the places of futures."""
    return _replaced(arguments, (Place,), lambda place: place.future._value())


def named(arguments: Any, word: Callable[[int, str], str]) -> Any:
    """Arguments that were held, with words for their tasks, made of index and name, in the places of futures."""

    def name(place: Place) -> tuple[str, list[str]]:
        future = place.future
        tasks = [future] if future._index is not None else future._futures or []
        # Nobody has an argument like it by chance.
        return "\0what tasks gave", [
            word(task._index, task.name) for task in tasks if task._index is not None
        ]

    return _replaced(arguments, (Place,), name)


FUTURES: tuple[type, ...] = (Future, MapFuture)


def futures_in(value: Any) -> list[Future[Any] | MapFuture[Any]]:
    """The futures in a value, in order."""
    found: list[Future[Any] | MapFuture[Any]] = []

    def note(future: Any) -> Any:
        found.append(future)
        return future

    _replaced(value, FUTURES, note)
    return found


def settled(value: Any) -> Any:
    """A value with the results of futures in their places; waits for them."""
    return _replaced(value, FUTURES, lambda future: future.result())


#: Types that are common, and hold nothing.
_PLAIN = frozenset((int, str, float, bool, bytes, type(None)))


def _replaced(
    value: Any, kinds: tuple[type, ...], replace: Callable[[Any], Any], around: frozenset[int] = frozenset()
) -> Any:
    """The same with everything of some kinds replaced, in lists, tuples and dictionaries at any depth.

    What holds none of those stays the same object; so does a container that is inside itself.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind in kinds:
        return replace(value)
    is_named = isinstance(value, tuple) and hasattr(value, "_make")
    if not (kind is list or kind is dict or kind is tuple or is_named) or id(value) in around:
        return value
    around |= {id(value)}
    if kind is dict:
        pairs = {key: _replaced(inner, kinds, replace, around) for key, inner in value.items()}
        return pairs if any(pairs[key] is not inner for key, inner in value.items()) else value
    items = [_replaced(inner, kinds, replace, around) for inner in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    if kind is list:
        return items
    return value._make(items) if is_named else tuple(items)
