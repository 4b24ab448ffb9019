"""A flow's tasks as a picture: its body is called on a ground where nothing runs, up to where it asks for a value."""

from __future__ import annotations

import threading
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dirigent import _native
from dirigent._flow_scope import Call
from dirigent._future import Future, MapFuture
from dirigent._graph import Graph


@dataclass(frozen=True)
class FlowGraph(Graph):
    """The tasks of a flow and what they wait for, as far as its body says without a value.

    Attributes:
        tasks: Their names, in the order in which the body declares them.
        edges: Pairs of names: the second task waits for the first.
        stopped_at: The task for whose value the body asked, where the drawing ends; ``None`` where it is whole.
        name: The flow's name.
        fans: The names of those that stand for as many calls as there will be items.
    """

    tasks: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    stopped_at: str | None

    name: str = "flow"
    fans: frozenset[str] = frozenset()

    def _draw(self, manner: tuple[str, str, list[str], bool]) -> str:
        places = {name: place for place, name in enumerate(self.tasks)}
        needs: dict[str, list[int]] = {name: [] for name in self.tasks}
        for earlier, later in self.edges:
            if places[earlier] not in needs[later]:
                needs[later].append(places[earlier])
        tasks = [(name, before, name in self.fans) for name, before in needs.items()]
        return _native.draw_tasks(self.name, tasks, manner)

    def text(self, *, unfold: Iterable[str | int] = (), whole: bool = False) -> str:
        """Lines for a terminal; the last one says where the body stopped, if it did."""
        drawn = super().text(unfold=unfold, whole=whole)
        if self.stopped_at is None:
            return drawn
        return f"{drawn}(drawn up to where the value of {self.stopped_at} is asked for)\n"


class Unknown(BaseException):
    """The body of a flow that is drawn wants to know what only a run can tell."""


class Drawing:
    """A ground on which nothing runs."""

    draws = True

    def __init__(self, name: str) -> None:
        self._name = name
        self.lock = threading.RLock()
        self.names: set[str] = set()
        self._tasks: list[str] = []
        self._fans: set[str] = set()
        self._edges: list[tuple[str, str]] = []
        self._stopped_at: str | None = None

    def declare(self, calls: Sequence[Call]) -> Sequence[int]:
        with self.lock:
            first = len(self._tasks)
            for call in calls:
                self._edges += [(self._tasks[need], call.name) for need in call.needs]
                self._tasks.append(call.name)
                if call.fan is not None:
                    self._fans.add(call.name)
        return range(first, first + len(calls))

    def graph(self) -> FlowGraph:
        tasks, edges = tuple(self._tasks), tuple(self._edges)
        return FlowGraph(tasks, edges, self._stopped_at, self._name, frozenset(self._fans))

    def _stop(self, name: str) -> Unknown:
        if self._stopped_at is None:
            self._stopped_at = name
        return Unknown(name)

    def status(self, future: Future[Any]) -> str:
        raise self._stop(future.name)

    def has_ended(self, future: Future[Any]) -> bool:
        raise self._stop(future.name)

    def wait(self, future: Future[Any], timeout: float | None) -> bool:
        raise self._stop(future.name)

    def wait_until_sized(self, fan: MapFuture[Any], timeout: float | None) -> bool:
        raise self._stop(fan.name)

    def arrival(self, future: Future[Any]) -> Coroutine[Any, Any, None]:
        raise self._stop(future.name)

    def value(self, future: Future[Any]) -> Any:
        raise self._stop(future.name)
