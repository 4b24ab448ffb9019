"""Functions in processes of their own: they may crash, hang, or need a core to themselves.

A few processes are kept warm. Each is a child of the guard, so that nothing outlives the program that started it, and
talks over a socket that only this user can reach. One call at a time goes to a process; one whose caller waits no more
is ended, with all it started.
"""

from __future__ import annotations

import atexit
import itertools
import os
import pickle
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dirigent import _native
from dirigent._errors import UsageError, WorkerDiedError
from dirigent._traceback import RemoteTraceback

if TYPE_CHECKING:
    from multiprocessing.connection import Connection, Listener

    from dirigent._context import Attempt

#: How many idle processes are kept.
_MOST_IDLE = max(2, os.cpu_count() or 1)
_CONNECT_S = 60.0


class _Process:
    """One process and the line to it."""

    def __init__(self, number: int, line: Connection) -> None:
        self.number = number
        self.line = line
        #: The functions that it has, in the order in which it got them.
        self.known: OrderedDict[int, None] = OrderedDict()

    def call(self, key: int, function: bytes, call: bytes, folder: str) -> tuple[bool, bytes]:
        """Send a call and wait for the answer.

        Raises:
            EOFError, OSError: The process is gone.
        """
        packed = None if key in self.known else function
        self.line.send_bytes(pickle.dumps((key, packed, folder), 5))
        self.line.send_bytes(call)
        self.known[key] = None
        if len(self.known) > MOST_KNOWN:
            self.known.popitem(last=False)
        is_value = self.line.recv_bytes() == b"value"
        return is_value, self.line.recv_bytes()


class _Pool:
    """The warm processes of this program."""

    def __init__(self) -> None:
        from multiprocessing.connection import Listener

        from dirigent._program import program

        self.folder = tempfile.TemporaryDirectory(prefix="dirigent-")
        self.secret = os.urandom(32)
        self.listener: Listener = Listener(os.path.join(self.folder.name, "line"), "AF_UNIX", backlog=64)
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
                [sys.executable, "-m", "dirigent._worker_process", self.listener.address],
                [("DIRIGENT_WORKER_SECRET", self.secret.hex())],
            )
            line = self._accept(number, task)
        return _Process(number, line)

    def _accept(self, number: int, task: str) -> Connection:
        import socket

        # The listener's own socket: a process that dies before it comes must not hold us up for ever.
        server: socket.socket = self.listener._listener._socket  # type: ignore[attr-defined]
        server.settimeout(0.5)
        waited = 0.0
        while True:
            try:
                line = self.listener.accept()
                break
            except TimeoutError:
                waited += 0.5
                ended = self.crew.ended(number)
                if ended is not None or waited > _CONNECT_S:
                    self.crew.end(number)
                    reason = ended or "it did not answer"
                    message = f"the process of task `{task}` could not start: {reason}"
                    raise WorkerDiedError(message, task=task) from None
        if line.recv_bytes() != self.secret:
            line.close()
            message = f"something else answered in the place of the process of task `{task}`"
            raise WorkerDiedError(message, task=task)
        line.send_bytes(pickle.dumps(list(sys.path), 5))
        return line

    def give_back(self, process: _Process) -> None:
        with self.lock:
            if len(self.idle) < _MOST_IDLE:
                self.idle.append(process)
                return
        self.end(process)

    def end(self, process: _Process) -> None:
        process.line.close()
        self.crew.end(process.number)

    def close(self) -> None:
        if os.getpid() == self.pid:
            for process in self.idle:
                process.line.close()
            self.crew.close()
            self.listener.close()
            self.folder.cleanup()


_pool: _Pool | None = None
_pool_lock = threading.Lock()
#: The functions last sent, as bytes, each under a number of its own.
_packed: OrderedDict[int, tuple[Callable[..., Any], int, bytes]] = OrderedDict()
_numbers = itertools.count(1)
_MOST_PACKED = 64
#: How many functions a process keeps: it forgets those that it got first, as we forget that it has them.
MOST_KNOWN = 64


def _the_pool() -> _Pool:
    global _pool
    with _pool_lock:
        if _pool is None or _pool.pid != os.getpid():
            _pool = _Pool()
        return _pool


def _pack(function: Callable[..., Any]) -> tuple[int, bytes]:
    """The function as bytes, made once, under a number of its own."""
    with _pool_lock:
        found = _packed.get(id(function))
        if found is not None and found[0] is function:
            _packed.move_to_end(id(function))
            return found[1], found[2]
    import cloudpickle

    made = (function, next(_numbers), cloudpickle.dumps(function, 5))
    with _pool_lock:
        _packed[id(function)] = made
        forgotten = _packed.popitem(last=False) if len(_packed) > _MOST_PACKED else None
    # Whatever happens when it is thrown away happens outside of the lock.
    del forgotten
    return made[1], made[2]


def carry(around: Attempt, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function in a process of its own and return its value."""
    import cloudpickle

    try:
        key, packed = _pack(function)
        call = cloudpickle.dumps((args, kwargs), 5)
    except Exception as error:
        raise UsageError(
            f"the function or its arguments cannot be sent to another process: {error}", "task.not_sendable"
        ) from error
    pool = _the_pool()
    task = around.session.name(around.task)
    process = pool.take(task)
    around.session.on_give_up(around.task, around.attempt, lambda: pool.crew.end(process.number))
    try:
        is_value, answer = process.call(key, packed, call, str(around.folder()))
    except (EOFError, OSError):
        how = pool.crew.wait(process.number, 5.0)
        process.line.close()
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
