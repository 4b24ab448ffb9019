"""The other side of ``isolation="process"``: calls the functions it is sent, one after the other, until the line ends.

Run as ``python -m dirigent._worker_process ADDRESS``. Knows nothing of runs.
"""

from __future__ import annotations

import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

from dirigent._carry import text_of
from dirigent._context import CURRENT, Attempt, Capture
from dirigent._isolation import MOST_KNOWN
from dirigent._traceback import traceback_of


class _Folder(Attempt):
    """Stands for the attempt that a call belongs to: it has a folder, and nothing else is asked of it."""

    __slots__ = ("where",)

    def __init__(self, where: str) -> None:
        super().__init__(None, 0, 0)  # type: ignore[arg-type]
        self.where = where

    def folder(self) -> Path:
        return Path(self.where)


def main(address: str) -> None:
    """Serve one line."""
    from multiprocessing.connection import Client

    line: Any = Client(address, "AF_UNIX")
    line.send_bytes(bytes.fromhex(os.environ.pop("DIRIGENT_WORKER_SECRET")))
    sys.path[:] = pickle.loads(line.recv_bytes())
    functions: dict[int, Any] = {}
    with Capture():
        while True:
            try:
                key, packed, folder = pickle.loads(line.recv_bytes())
                call = line.recv_bytes()
            except EOFError:
                return
            kind, answer = _answer(functions, key, packed, folder, call)
            line.send_bytes(kind)
            line.send_bytes(answer)


def _answer(
    functions: dict[int, Any], key: int, packed: bytes | None, folder: str, call: bytes
) -> tuple[bytes, bytes]:
    import cloudpickle

    try:
        if packed is not None:
            functions[key] = pickle.loads(packed)
            if len(functions) > MOST_KNOWN:
                del functions[next(iter(functions))]
        args, kwargs = pickle.loads(call)
        token = CURRENT.set(_Folder(folder))
        try:
            value = functions[key](*args, **kwargs)
            if isinstance(value, types.CoroutineType):
                value = asyncio_run(value)
        finally:
            CURRENT.reset(token)
        try:
            return b"value", cloudpickle.dumps(value, 5)
        except BaseException as error:
            from dirigent._function_child import _culprit

            raise TypeError(
                f"the result cannot be sent to another process: {_culprit(value)}: {error}"
            ) from None
    except BaseException as error:  # SystemExit and its kin are failures too: nothing was returned
        text = traceback_of(error)
        try:
            packed_error = cloudpickle.dumps((error, text), 5)
            pickle.loads(packed_error)  # one with a constructor of its own may not come back
            return b"error", packed_error
        except BaseException:
            told = f"{type(error).__qualname__}: {text_of(error)}"
            return b"error", pickle.dumps((RuntimeError(told), text), 5)


def asyncio_run(coroutine: Any) -> Any:
    """Run a coroutine on a loop of its own."""
    import asyncio

    return asyncio.run(coroutine)


if __name__ == "__main__":
    main(sys.argv[1])
