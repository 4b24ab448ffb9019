"""The other side of ``isolation="process"``: calls the functions it is sent, one after the other, until the line ends.

Run as ``python -m dirigent._worker_process ADDRESS``. Knows nothing of runs.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

from dirigent import _native
from dirigent._carry import text_of
from dirigent._context import CURRENT, Attempt, Capture
from dirigent._isolation import packed_value
from dirigent._traceback import traceback_of


class _Folder(Attempt):
    """Stands for the attempt that a call belongs to: it has a folder, and nothing else is asked of it."""

    __slots__ = ("secrets", "where")

    def __init__(self, where: str, secrets: dict[str, str]) -> None:
        super().__init__(None, 0, 0)  # type: ignore[arg-type]
        self.where = where
        self.secrets = secrets

    def folder(self) -> Path:
        return Path(self.where)

    def masker(self) -> _native.Masker | None:
        return _native.Secrets(self.secrets).masker()


def main(address: str) -> None:
    """Serve one line."""
    line = _native.Line.to(address)
    _, path = line.exchange(bytes.fromhex(os.environ.pop("DIRIGENT_WORKER_SECRET")), b"")
    sys.path[:] = pickle.loads(path)
    functions: dict[int, Any] = {}
    with Capture(), contextlib.suppress(OSError):  # nobody is there any more
        head, call = line.receive()
        while True:
            key, packed, folder, forgets, secrets = pickle.loads(head)
            if forgets:
                functions.clear()
            kind, answer = _answer(functions, key, packed, _Folder(folder, secrets), call)
            head, call = line.exchange(kind, answer)


def _answer(
    functions: dict[int, Any], key: int, packed: bytes | None, around: _Folder, call: bytes
) -> tuple[bytes, bytes]:
    try:
        if packed is not None:
            functions[key] = pickle.loads(packed)
        args, kwargs = pickle.loads(call)
        token = CURRENT.set(around)
        try:
            value = functions[key](*args, **kwargs)
            if isinstance(value, types.CoroutineType):
                value = asyncio_run(value)
        finally:
            CURRENT.reset(token)
        try:
            return b"value", packed_value(value)
        except BaseException as error:
            from dirigent._function_child import _culprit

            raise TypeError(
                f"the result cannot be sent to another process: {_culprit(value)}: {error}"
            ) from None
    except BaseException as error:  # SystemExit and its kin are failures too: nothing was returned
        import cloudpickle

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
