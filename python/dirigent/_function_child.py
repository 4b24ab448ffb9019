"""The other side of ``run_function``: calls one function, leaves one answer, and ends without ceremony.

Run as ``python -m dirigent._function_child CALL ANSWER``. Knows nothing of runs.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import Any, NoReturn

#: How deep and how long to look for the part of a value that cannot be sent.
_MOST_DEPTH = 20
_MOST_STEPS = 2000


def main(call: str, answer: str) -> NoReturn:
    """Carry out the call in one file, write the answer to the other, and end the process."""
    try:
        with open(call, "rb") as file:
            sys.path[:] = pickle.load(file)
            func, args, kwargs = pickle.load(file)
        value = func(*args, **kwargs)
    except BaseException as error:  # SystemExit and its kin are failures too: nothing was returned
        traceback.print_exception(error)
        _end(_leave(answer, "error", (type(error).__name__, _told(error))))
    try:
        code = _leave(answer, "value", value)
    except BaseException as error:
        place = _culprit(value)
        reason = (
            f"the result cannot be sent to another process: {place}: {type(error).__name__}: {_told(error)}"
        )
        sys.stderr.write(f"{reason}\n")
        code = _leave(answer, "error", (type(error).__name__, reason))
    _end(code)  # while `value` is still held: what happens when it is thrown away is no part of the answer


def _end(code: int) -> NoReturn:
    """End at once: finalisers of the user's objects may hang or raise, and the answer is written."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _leave(answer: str, kind: str, content: Any) -> int:
    """Write an answer whole or not at all."""
    part = f"{answer}.part"
    with open(part, "wb") as file:
        pickle.dump(kind, file, protocol=5)
        if kind == "value":
            import cloudpickle

            cloudpickle.dump(content, file, protocol=5)
        else:
            pickle.dump(content, file, protocol=5)
    os.replace(part, answer)
    return 0 if kind == "value" else 1


def _told(error: BaseException) -> str:
    """The text of an exception, whose own ``__str__`` may raise."""
    try:
        return str(error) or type(error).__name__
    except BaseException:
        return type(error).__name__


def _culprit(value: object) -> str:
    """The path of the smallest part of a value that cannot be sent, such as ``result['rows'][3].lock``."""
    path, steps = "result", 0
    for _ in range(_MOST_DEPTH):
        for place, part in _parts(value):
            steps += 1
            if steps > _MOST_STEPS:
                return path
            if not _can_be_sent(part):
                path, value = path + place, part
                break
        else:
            return path
    return path


def _parts(value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", part) for key, part in list(value.items())]
    if isinstance(value, (list, tuple)):
        return [(f"[{place}]", part) for place, part in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return [("{…}", part) for part in value]
    return [(f".{name}", part) for name, part in list(getattr(value, "__dict__", {}).items())]


def _can_be_sent(value: object) -> bool:
    import cloudpickle

    try:
        cloudpickle.dumps(value, protocol=5)
    except BaseException:
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
