"""Functions in processes of their own: they may crash, hang, or need a core to themselves.

A few processes are kept warm. Each is a child of the guard, so that nothing outlives the program that started it, and
talks over a socket that only this user can reach. One call at a time goes to a process, a frame there and a frame back; one
whose caller waits no more is ended, with all it started.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import pickle
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from dirigent import _native
from dirigent._errors import ProcessLost, UsageError, WorkerDiedError
from dirigent._traceback import RemoteTraceback

if TYPE_CHECKING:
    from dirigent._context import Attempt

#: How many idle processes are kept.
_MOST_IDLE = max(2, os.cpu_count() or 1)
#: How many functions a process knows before it forgets them.
_MOST_KNOWN = 64
_CONNECT_S = 60.0


class _Process:
    """One process and the line to it."""

    def __init__(self, number: int, line: _native.Line, crew: _native.Crew) -> None:
        self.number = number
        self.line = line
        #: Ends it, with all it started, at once.
        self.kill = partial(crew.end, number)
        self.known: set[int] = set()

    def call(
        self, key: int, function: bytes, call: bytes, folder: str, secrets: dict[str, str]
    ) -> tuple[bool, bytes]:
        """Send a call and wait for the answer.

        Raises:
            OSError: The process is gone.
        """
        packed = None if key in self.known else function
        forgets = packed is not None and len(self.known) >= _MOST_KNOWN
        if forgets:
            self.known.clear()
        head = pickle.dumps((key, packed, folder, forgets, secrets), 5)
        kind, answer = self.line.exchange(head, call)
        self.known.add(key)
        return kind == b"value", answer


class _Pool:
    """The warm processes of this program."""

    def __init__(self) -> None:
        import socket

        from dirigent._program import program

        self.folder = tempfile.TemporaryDirectory(prefix="dirigent-")
        self.secret = os.urandom(32)
        self.address = os.path.join(self.folder.name, "line")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.address)
        self.listener.listen(64)
        # A process that dies before it comes must not hold us up for ever.
        self.listener.settimeout(0.5)
        self.crew = _native.Crew(program(), self.folder.name)
        self.lock = threading.Lock()
        self.starting = threading.Lock()
        self.idle: list[_Process] = []
        self.pid = os.getpid()
        atexit.register(self.close)

    def take(self, task: str) -> _Process:
        """A process that does nothing, for this task: one that is warm, else a new one."""
        with self.lock:
            if self.idle:
                return self.idle.pop()
        with self.starting:
            number = self.crew.start(
                [sys.executable, "-m", "dirigent._worker_process", self.address],
                [("DIRIGENT_WORKER_SECRET", self.secret.hex())],
            )
            line = self._accept(number, task)
        return _Process(number, line, self.crew)

    def _accept(self, number: int, task: str) -> _native.Line:
        waited = 0.0
        while True:
            try:
                line = _native.Line(self.listener.accept()[0].detach())
                break
            except TimeoutError:
                waited += 0.5
                ended = self.crew.ended(number)
                if ended is not None or waited > _CONNECT_S:
                    self.crew.end(number)
                    reason = ended or "it did not answer"
                    message = f"the process of task `{task}` could not start: {reason}"
                    raise WorkerDiedError(message, task=task) from None
        if line.receive()[0] != self.secret:
            line.close()
            message = f"something else answered in the place of the process of task `{task}`"
            raise WorkerDiedError(message, task=task)
        line.send(b"path", pickle.dumps(list(sys.path), 5))
        return line

    def give_back(self, process: _Process) -> None:
        with self.lock:
            if len(self.idle) < _MOST_IDLE:
                self.idle.append(process)
                return
        self.end(process)

    def forget(self) -> None:
        """Keep none of the idle processes: they were lost as well."""
        with self.lock:
            idle, self.idle = self.idle, []
        for process in idle:
            self.end(process)

    def end(self, process: _Process) -> None:
        process.line.close()
        process.kill()

    def close(self) -> None:
        if os.getpid() == self.pid:
            for process in self.idle:
                process.line.close()
            self.crew.close()
            self.listener.close()
            self.folder.cleanup()


_pool: _Pool | None = None
_pool_lock = threading.Lock()
#: Functions as bytes, for as long as they live.
_packed: dict[int, tuple[weakref.ref[Any], int, bytes]] = {}
_numbers = itertools.count(1)


def _the_pool() -> _Pool:
    global _pool
    with _pool_lock:
        if _pool is None or _pool.pid != os.getpid():
            _pool = _Pool()
        return _pool


def _pack(function: Callable[..., Any]) -> tuple[int, bytes]:
    """The function as bytes, made once where that can be known, under a number of its own."""
    place = id(function)
    found = _packed.get(place)
    if found is not None and found[0]() is function:
        return found[1], found[2]
    import cloudpickle

    number, packed = next(_numbers), cloudpickle.dumps(function, 5)
    with contextlib.suppress(TypeError):  # not all that can be called can be watched
        _packed[place] = (weakref.ref(function, lambda _: _packed.pop(place, None)), number, packed)
    return number, packed


#: Of values of these types alone ``pickle`` makes the same as ``cloudpickle``, in a tenth of the time.
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})


def packed_value(value: object) -> bytes:
    """A value as bytes."""
    if type(value) in _PLAIN:
        return pickle.dumps(value, 5)
    import cloudpickle

    made: bytes = cloudpickle.dumps(value, 5)
    return made


def _packed_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    if all(type(value) in _PLAIN for value in (*args, *kwargs.values())):
        return pickle.dumps((args, kwargs), 5)
    return packed_value((args, kwargs))


def carry(around: Attempt, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function in a process of its own and return its value."""
    try:
        key, packed = _pack(function)
        call = _packed_call(args, kwargs)
    except Exception as error:
        raise UsageError(
            f"the function or its arguments cannot be sent to another process: {error}", "task.not_sendable"
        ) from error
    pool = _the_pool()
    task, folder, secrets = _native.surroundings(around.session, around.task, around.attempt)
    process = pool.take(task)
    around.session.on_give_up(around.task, around.attempt, process.kill)
    try:
        is_value, answer = process.call(key, packed, call, folder, secrets)
    except OSError:
        how = pool.crew.wait(process.number, 5.0)
        process.line.close()
        if how.startswith("was lost: "):
            pool.forget()
            raise ProcessLost(how.removeprefix("was lost: ")) from None
        message = f"the process of task `{task}` ended before the function returned: it {how}"
        raise WorkerDiedError(message, task=task) from None
    except BaseException:
        pool.end(process)
        raise
    pool.give_back(process)
    if is_value:
        return pickle.loads(answer)
    raised, text = pickle.loads(answer)
    raised.__cause__ = RemoteTraceback(text)
    raise raised
