"""A flow's run that goes on: which of the calls that its body makes once more are recorded, and where the two differ.

A call is recorded if one of the same name with equal arguments is; of several such the first that was not made again yet.
How a call is carried out is known elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from dirigent import _native
from dirigent._errors import WorkflowChangedError

if TYPE_CHECKING:
    from dirigent._flow_scope import Call


class Recorded(NamedTuple):
    """A recorded call.

    Attributes:
        place: The index of its task.
        whole: The task of the map that made it, if one did.
        name: The task's name.
        code: What tells it from others: the fingerprint of its function, and the hash of the call.
        status: Where its task stood.
    """

    place: int
    whole: int | None
    name: str
    code: str | None
    status: str

    @property
    def key(self) -> str:
        """The hash of the call."""
        return (self.code or "").rpartition(":")[2]


class Again:
    """The recorded calls of a flow's run, and which of them its body has not made again.

    Attributes:
        names: The names of all of them.
        parts: Those that maps made, by the map's task.
    """

    def __init__(self, session: _native.Session, *, is_ordered: bool, keeps_changed: bool) -> None:
        self._native = _native.Again(session)
        self._run = session.id
        #: Whether the body makes its calls one after another, so that those recorded come first.
        self._is_ordered = is_ordered
        self._keeps_changed = keeps_changed
        self.names: set[str] = set()
        self.parts: dict[int, list[Recorded]] = {}
        self._left: dict[int, Recorded] = {}
        self._by_key: dict[str, deque[Recorded]] = {}
        for row in self._native.calls():
            recorded = Recorded(*row)
            self.names.add(recorded.name)
            if recorded.whole is not None:
                self.parts.setdefault(recorded.whole, []).append(recorded)
            else:
                self._left[recorded.place] = recorded
                self._by_key.setdefault(recorded.key, deque()).append(recorded)

    def find(self, call: Call) -> Recorded | None:
        """What is recorded of a call; ``None`` of a new one.

        Raises:
            WorkflowChangedError: It does something else now, or comes where a recorded one would have to.
        """
        same = self._by_key.get(call.code.rpartition(":")[2])
        if same:
            recorded = same.popleft()
            del self._left[recorded.place]
            self._check_code(call, recorded)
            return recorded
        if self._left and self._is_ordered and not self._keeps_changed:
            missed = next(iter(self._left.values()))
            raise self._changed(
                f"where its body called task `{missed.name}`, it calls `{call.name}` with arguments that are not recorded now"
            )
        return None

    def find_parts(self, name: str, calls: Sequence[Call], parts: Sequence[Recorded]) -> None:
        """See that the calls of a map are those recorded.

        Raises:
            WorkflowChangedError: They are not.
        """
        if len(calls) != len(parts):
            raise self._changed(f"map `{name}` made {len(parts)} calls, and makes {len(calls)} now")
        for call, part in zip(calls, parts, strict=True):
            if call.code.rpartition(":")[2] != part.key:
                raise self._changed(f"task `{part.name}` is called with other arguments now")
            self._check_code(call, part)

    def check_all_made(self) -> None:
        """See that the body, which has returned, has made all recorded calls again.

        Raises:
            WorkflowChangedError: It has not.
        """
        if self._left and not self._keeps_changed:
            missed = next(iter(self._left.values()))
            rest = f", nor {len(self._left) - 1} more" if len(self._left) > 1 else ""
            raise self._changed(f"its body has not called task `{missed.name}` with the same arguments{rest}")

    def left(self) -> list[int]:
        """The tasks of recorded calls that the body has not made again."""
        return list(self._left)

    def place(self, plan: _native.Plan, places: Sequence[int]) -> None:
        """Say of recorded calls how they are carried out, and have those that are not through carried out."""
        self._native.place(plan, list(places))

    def _check_code(self, call: Call, recorded: Recorded) -> None:
        # What has not completed is carried out by the code there is now.
        if recorded.status != "completed" or self._keeps_changed or recorded.code is None:
            return
        old, new = recorded.code.rpartition(":")[0], call.code.rpartition(":")[0]
        # Bytecode of another version of Python says nothing about the code.
        if old != new and old.partition(":")[0] == new.partition(":")[0]:
            raise self._changed(f"task `{recorded.name}` does something else now")

    def _changed(self, what: str) -> WorkflowChangedError:
        return WorkflowChangedError(
            f"run {self._run} is of another flow: {what}\n"
            'hint: pass changed="continue" to keep what completed of the calls that are made again, or start a new run',
            "workflow.changed",
        )
