"""What a function does, as a short text that changes when its code does.

Bytecode, not source: comments and layout change nothing, and what was typed into a notebook has bytecode too.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

#: Bytecode of one version of Python says nothing about that of another.
_VERSION = f"{sys.implementation.name}-{sys.version_info[0]}.{sys.version_info[1]}"

_PLAIN = (int, float, complex, str, bytes, bool, type(None))


def fingerprint(action: Callable[..., object]) -> str:
    """The version of Python and a hash of the code of a function, and of those it calls in the same module.

    What it closes over and its defaults count where they are plain values.
    """
    seen: set[int] = set()
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(action, seen):
        digest.update(part.encode("utf-8", "backslashreplace") + b"\0")
    return f"{_VERSION}:{digest.hexdigest()}"


def _parts(action: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(action, functools.partial):
        yield from _values(action.args)
        for name, value in sorted(action.keywords.items()):
            yield name
            yield from _values([value])
    function = _function(action)
    if function is None:
        yield f"{type(action).__module__}.{type(action).__qualname__}"
        return
    if id(function) in seen:
        return
    seen.add(id(function))
    yield from _code(function.__code__)
    yield from _values(function.__defaults__ or ())
    yield from _values((function.__kwdefaults__ or {}).values())
    for cell in function.__closure__ or ():
        try:
            inner = cell.cell_contents
        except ValueError:  # not filled yet
            continue
        if _function(inner) is not None:
            yield from _parts(inner, seen)
        else:
            yield from _values([inner])
    for name in sorted(_names(function.__code__)):
        called = function.__globals__.get(name)
        inner = _function(called)
        if inner is not None and inner.__module__ == function.__module__:
            yield from _parts(inner, seen)
        elif isinstance(called, _PLAIN):
            yield f"{name}={called!r}"


def _function(action: Any) -> types.FunctionType | None:
    """The function behind what can be called, where there is one."""
    for attribute in ("__wrapped__", "func", "__func__"):
        inner = getattr(action, attribute, None)
        if callable(inner):
            action = inner
    if isinstance(action, types.FunctionType):
        return action
    call = inspect.getattr_static(type(action), "__call__", None)
    return call if isinstance(call, types.FunctionType) else None


def _code(code: types.CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield " ".join(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code(constant)
        else:
            yield repr(sorted(constant, key=repr)) if isinstance(constant, frozenset) else repr(constant)


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _values(values: Any) -> Iterator[str]:
    for value in values:
        if isinstance(value, _PLAIN):
            yield repr(value)
        elif isinstance(value, (tuple, list)):
            yield from _values(value)
        else:
            yield f"{type(value).__module__}.{type(value).__qualname__}"


def for_reuse(args: Any, kwargs: Any, extras: Any) -> tuple[Any, list[str] | None]:
    """What decides about the value of a task beside the code of its function and the values of its needs: what that is called
    with, and the fingerprints of what else makes the value. Of a call in a flow also what its needs are called."""
    options = None if extras is None else of_options(extras)
    if isinstance(args, tuple) and len(args) == 1 and type(args[0]).__module__ == "dirigent._flow_scope":
        arguments, needs = args[0].for_reuse()
        return (arguments, options), needs
    return (args, kwargs, options), None


def of_options(extras: Any) -> list[str]:
    """The fingerprints of what else decides about the value of a task."""
    functions = (extras.transform_result, extras.repeat_until)
    return [fingerprint(function) for function in functions if function is not None]


def of_call(args: Any, kwargs: Any, extras: Any) -> str:
    """A hash of what a task calls its function with, and of what else makes its value, as far as that is plain."""
    parts: list[Any] = [args, kwargs]
    if extras is not None:
        parts += [of_options(extras), extras.made_of]
    digest = hashlib.blake2b(digest_size=8)
    for part in _plainly(parts, _Room(), 0):
        digest.update(part.encode("utf-8", "backslashreplace") + b"\0")
    return digest.hexdigest()


class _Room:
    """How many values are still looked at: the rest of much data is left to its length."""

    left = 10_000


#: Modules whose values say by their text what they are.
_TELLING = frozenset(("datetime", "decimal", "fractions", "pathlib", "uuid", "zoneinfo"))
_MOST_LEVELS = 32
_MOST_LETTERS = 10_000


def _plainly(value: Any, room: _Room, level: int) -> Iterator[str]:
    """Texts that change with a value. What is no plain data counts as its type alone."""
    kind = type(value)
    yield f"{kind.__module__}.{kind.__qualname__}"
    room.left -= 1
    if room.left <= 0 or level > _MOST_LEVELS:
        return
    if isinstance(value, (str, bytes)):
        yield f"{len(value)} {value[:_MOST_LETTERS]!r}"
    elif kind in _PLAIN or kind.__module__.partition(".")[0] in _TELLING:
        yield repr(value)
    elif kind is set or kind is frozenset:
        yield from sorted("".join(_plainly(inner, room, level + 1)) for inner in value)
    elif kind is tuple or kind is list or kind is dict:
        yield str(len(value))
        for inner in value.items() if kind is dict else value:
            yield from _plainly(inner, room, level + 1)
            if room.left <= 0:
                return
    elif isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
        yield fingerprint(value)
    elif kind.__module__ == "dirigent._workflow":
        for name, task in value.tasks.items():
            yield from _plainly([name, task.dependencies, task.action, task.made_of], room, level + 1)
