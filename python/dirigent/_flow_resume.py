"""The run of a flow that goes on: its body is carried out once more, and what it calls takes the places of what is recorded.

Which recorded call is which is known to ``_flow_again``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dirigent import _native
from dirigent._errors import WorkflowChangedError
from dirigent._flow_again import Again, Recorded
from dirigent._flow_run import FlowRun
from dirigent._flow_scope import Call, Fan
from dirigent._future import ENDS, Future, MapFuture

if TYPE_CHECKING:
    from dirigent._flow import Flow
    from dirigent._workflow import Workflow


class ResumedFlowRun(FlowRun):
    """One run of a flow from where it was cut short to its outcome."""

    def __init__(
        self, flow: Flow[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], run_id: str
    ) -> None:
        self._run_id = run_id
        super().__init__(flow, args, kwargs)
        keeps_changed = flow.changed == "continue"
        self._again = Again(self._session, is_ordered=not flow.is_async, keeps_changed=keeps_changed)

    def _opened(self, workflow: Workflow) -> _native.Session:
        return workflow._session(resume=self._run_id, changed=self.flow.changed)

    def __enter__(self) -> FlowRun:
        self._session.begin()
        if self._session.task(0)[0] in ENDS:
            # Its body has nothing more to say: what it called is only in the way of the end.
            self._session.cancel()
        return self

    def declare(self, calls: Sequence[Call]) -> Sequence[int]:
        """Take calls as tasks of the run, and return their indices. Those recorded get the names that they had."""
        self._sign(calls)
        with self.lock:
            if self._is_closed:
                raise self._ended_already()
            with self._changes_end_it():
                found = [(call, self._again.find(call)) for call in calls]
            again = [(call, it) for call, it in found if it is not None]
            if again:
                self._place([call for call, _ in again], [it for _, it in again])
            new = [call for call, it in found if it is None]
            for call in new:
                self._name_apart(call)
            indices = iter(self._declare(new, self._session.declare) if new else ())
            return [next(indices) if it is None else it.place for _, it in found]

    def _name_apart(self, call: Call) -> None:
        """Give a new call another name where it has that of a recorded one."""
        number = 0
        while call.name in self._again.names:
            number += 1
            name = f"{call.own}[{number}]"
            if name not in self.names:
                call.name = name
        self.names.add(call.name)
        if call.fan is not None:
            call.fan.whole.name = call.name

    def _place(self, calls: Sequence[Call], recorded: Sequence[Recorded]) -> None:
        """Let calls take the places of recorded ones."""
        for call, it in zip(calls, recorded, strict=True):
            call.name = it.name
            self.names.add(it.name)
        places = [it.place for it in recorded]
        plan = self._planned(calls)
        self._note(calls, places)
        fans = [(call.fan, it) for call, it in zip(calls, recorded, strict=True) if call.fan is not None]
        for fan, it in fans:
            fan.whole.name, fan.whole._index = it.name, it.place
            self._size_again(fan)
        self._again.place(plan, places)

    def _size_again(self, fan: Fan) -> None:
        """Give a map the calls that are recorded of it. How they are carried out is known when its items are."""
        assert fan.whole._index is not None
        parts = self._again.parts.get(fan.whole._index)
        if parts is None:
            if self._session.task(fan.whole._index)[0] == "completed":
                fan.whole._futures = []
                fan.whole._is_sized.set()
            return
        fan.whole._futures = [Future(self, part.place, part.name) for part in parts]
        fan.whole._is_sized.set()
        if self._has_items(fan.source):
            self._place_parts(fan, parts)
        else:
            # What it goes over is carried out again, since its value is gone.
            arguments = (fan, parts)
            threading.Thread(
                target=self._place_parts_later, args=arguments, name="dirigent-map", daemon=True
            ).start()

    def _has_items(self, source: Future[Any] | MapFuture[Any]) -> bool:
        if isinstance(source, MapFuture):
            return source._futures is not None
        return self._ended(source._index) == "completed"

    def _place_parts(self, fan: Fan, parts: Sequence[Recorded]) -> None:
        source = fan.source
        items = self.sized(source) if isinstance(source, MapFuture) else self.items(source)
        with self.lock, self._changes_end_it():
            calls = fan.calls(self, items)
            self._sign(calls)
            self._again.find_parts(fan.whole.name, calls, parts)
            self._place(calls, parts)

    def _place_parts_later(self, fan: Fan, parts: Sequence[Recorded]) -> None:
        assert fan.whole._index is not None
        try:
            if not isinstance(fan.source, MapFuture):
                self.wait(fan.source, None)
            self._place_parts(fan, parts)
        except WorkflowChangedError:
            pass  # the run has heard of it
        except Exception:
            # Without items there is nothing to carry out.
            self._session.cancel_task(fan.whole._index)

    @contextlib.contextmanager
    def _changes_end_it(self) -> Iterator[None]:
        """End the run where its body is another one than recorded, so that it can still go on with the right one."""
        try:
            yield
        except WorkflowChangedError as error:
            self._raised = error
            self._session.cancel()
            raise

    def check_all_made(self) -> None:
        """See what the body, which has returned, has not called again.

        Raises:
            WorkflowChangedError: There is something, and it was not asked to be passed over.
        """
        with self.lock, self._changes_end_it():
            self._again.check_all_made()
            for index in self._again.left():
                self._seen.add(index)
                self._seen.update(part.place for part in self._again.parts.get(index, ()))
                if self._ended(index) is None:
                    self._session.cancel_task(index)
