"""What a flow's body calls, on its way to becoming tasks: names, arguments, maps. Knows nothing of how they are run or drawn."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from dirigent._future import Future, Ground, MapFuture, given, held, named

if TYPE_CHECKING:
    from dirigent._flow import TaskFunction


#: What tells a name from others that are the same in their flow.
_NUMBER = re.compile(r"(\[\d+\]|/\d+\+*)$")


class Call:
    """One call of a task: what becomes a task of the run."""

    __slots__ = ("args", "code", "fan", "kwargs", "name", "needs", "own", "task")

    def __init__(
        self,
        name: str,
        own: str,
        task: TaskFunction,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        needs: tuple[int, ...],
        fan: Fan | None = None,
    ) -> None:
        self.name = name
        #: The name without the number that tells it from others of the same name.
        self.own = own
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self.needs = needs
        #: Set where this is no call, but stands for as many as there will be.
        self.fan = fan
        #: What tells it from other calls in a record, once somebody asked.
        self.code = ""

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, with values in the places of futures."""
        return given((self.args, self.kwargs))  # type: ignore[no-any-return]

    def for_reuse(self) -> tuple[Any, list[str]]:
        """What it is called with, with words in the places of futures, and these words, one for each need.

        A word says the same in every run: which task it is of, and of several of one name which of the arguments.
        """
        words: dict[int, str] = {}
        counts: dict[str, int] = {}

        def word(index: int, name: str) -> str:
            if index not in words:
                own = _NUMBER.sub("", name)
                counts[own] = counts.get(own, 0) + 1
                words[index] = own if counts[own] == 1 else f"{own} ({counts[own]})"
            return words[index]

        arguments = named((self.args, self.kwargs), word)
        return arguments, [words[need] for need in self.needs]

    def forget(self) -> None:
        """Let go of everything: the native side keeps the call itself as long as the run."""
        self.args, self.kwargs, self.fan = (), {}, None


class CallGround(Ground, Protocol):
    """A ground on which calls can be put."""

    #: Whether nothing is run on it.
    draws: bool
    lock: threading.RLock
    names: set[str]

    def declare(self, calls: Sequence[Call]) -> Sequence[int]:
        """Take calls as tasks, and return their indices. They may get other names."""


class Scope:
    """A body on its ground: the flow's own, or that of a flow called in it."""

    __slots__ = ("_counts", "_ground", "_prefix")

    def __init__(self, ground: CallGround, prefix: str = "") -> None:
        self._ground = ground
        self._prefix = prefix
        self._counts: dict[str, int] = {}

    def call(self, task: TaskFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        """Make a call a task of the run."""
        (args, kwargs), needs = held(self._ground, (args, kwargs))
        call = Call(self.name(task.name), self._prefix + task.name, task, args, kwargs, needs)
        (index,) = self._ground.declare([call])
        return Future(self._ground, index, call.name)

    def map(
        self, task: TaskFunction, items: Any, bound: tuple[Any, ...], common: dict[str, Any]
    ) -> MapFuture[Any]:
        """Make a call for each item a task of the run."""
        (bound, common), needs = held(self._ground, (bound, common))
        if isinstance(items, Future) or (isinstance(items, MapFuture) and items._index is not None):
            return self._map_later(task, items, bound, common, needs)
        calls, own = [], self._prefix + task.name
        for item in items:
            item, more = held(self._ground, item)
            both = tuple(dict.fromkeys((*needs, *more)))
            calls.append(Call(self.name(task.name), own, task, (*bound, item), common, both))
        indices = self._ground.declare(calls) if calls else ()
        made = zip(indices, calls, strict=True)
        futures = [Future[Any](self._ground, index, call.name) for index, call in made]
        return MapFuture(self._ground, calls[0].name if calls else task.name, futures)

    def _map_later(
        self,
        task: TaskFunction,
        source: Future[Any] | MapFuture[Any],
        bound: tuple[Any, ...],
        common: dict[str, Any],
        needs: tuple[int, ...],
    ) -> MapFuture[Any]:
        if source._ground is not self._ground:
            held(self._ground, source)
        own = f"{task.name}.map"
        whole = MapFuture[Any](self._ground, self.name(own), None)
        fan = Fan(whole, task, source, bound, common, needs)
        draws = self._ground.draws
        # It is sized as soon as what it goes over has a size: the calls themselves wait one by one.
        sizing = source._sizing_needs if isinstance(source, MapFuture) and not draws else source._needs
        whole._sizing_needs = tuple(dict.fromkeys((*sizing, *needs)))
        call = Call(whole.name, self._prefix + own, task, (), {}, whole._sizing_needs, fan)
        (whole._index,) = self._ground.declare([call])
        whole.name = call.name
        chain = source._chain if isinstance(source, MapFuture) and not draws else ()
        whole._chain = (whole._index, *chain)
        return whole

    def name(self, own: str) -> str:
        """The name of the next call of this name: ``own``, ``own[1]``, ``own[2]`` and so on."""
        with self._ground.lock:
            while True:
                count = self._counts[own] = self._counts.get(own, -1) + 1
                name = f"{self._prefix}{own}[{count}]" if count else f"{self._prefix}{own}"
                if name not in self._ground.names:
                    self._ground.names.add(name)
                    return name

    def within(self, flow: str) -> Scope:
        """The scope of a flow that is called in this one."""
        return Scope(self._ground, f"{self.name(flow)}/")


class Fan:
    """What makes the calls of a map once it is known how many there are."""

    __slots__ = ("bound", "common", "needs", "source", "task", "whole")

    def __init__(
        self,
        whole: MapFuture[Any],
        task: TaskFunction,
        source: Future[Any] | MapFuture[Any],
        bound: tuple[Any, ...],
        common: dict[str, Any],
        needs: tuple[int, ...],
    ) -> None:
        self.whole = whole
        self.task = task
        self.source = source
        self.bound = bound
        self.common = common
        self.needs = needs

    def calls(self, ground: CallGround, items: Sequence[Any]) -> list[Call]:
        """The calls, one for each item, which may be futures."""
        calls = []
        for number, item in enumerate(items):
            if isinstance(item, Future):
                item, more = held(ground, item)
                needs = tuple(dict.fromkeys((*self.needs, *more)))
            else:
                needs = self.needs
            name = f"{self.whole.name}/{number}"
            while name in ground.names:
                name += "+"  # somebody named a task so
            ground.names.add(name)
            calls.append(Call(name, str(number), self.task, (*self.bound, item), self.common, needs))
        return calls
