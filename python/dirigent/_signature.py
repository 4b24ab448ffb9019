"""What a function wants to be called with, read from its code where that is enough: ``inspect`` is slow to load."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NamedTuple

_VARIABLE_KEYWORDS = 0x08
_COROUTINE = 0x80


class Looked(NamedTuple):
    """What is known of a function."""

    shown: str
    #: The parameters that can be given by name; ``None`` takes any.
    parameters: list[str] | None
    is_async: bool
    context_parameter: str | None


def look_at(action: Callable[..., Any]) -> Looked:
    """Look at a function, a method, a partial or any other callable."""
    inner: Any = action
    skipped = 0
    given: set[str] = set()
    while isinstance(inner, partial):
        skipped += len(inner.args)
        given |= set(inner.keywords)
        inner = inner.func
    if isinstance(inner, MethodType):
        skipped += 1
        inner = inner.__func__
    shown = _shown(inner)
    if not isinstance(inner, FunctionType) or hasattr(inner, "__wrapped__"):
        return _by_inspect(action, shown)
    code = inner.__code__
    named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    by_name = [
        name for name in (*named[code.co_posonlyargcount : code.co_argcount], *named[code.co_argcount :])
    ]
    taken = set(named[:skipped])
    parameters = [name for name in by_name if name not in taken and name not in given]
    context = _context_of(inner.__annotations__, parameters)
    if code.co_flags & _VARIABLE_KEYWORDS:
        return Looked(shown, None, bool(code.co_flags & _COROUTINE), context)
    if context is not None:
        parameters.remove(context)
    return Looked(shown, parameters, bool(code.co_flags & _COROUTINE), context)


def _shown(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    module = getattr(function, "__module__", None)
    return f"{module}.{name}" if module not in (None, "builtins", "__main__") else str(name)


def _context_of(annotations: dict[str, Any], parameters: list[str]) -> str | None:
    for name, annotation in annotations.items():
        text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        if text.rpartition(".")[2] == "TaskContext" and name in parameters:
            return name
    return None


def _by_inspect(action: Callable[..., Any], shown: str) -> Looked:
    import inspect

    is_async = inspect.iscoroutinefunction(action) or inspect.iscoroutinefunction(type(action).__call__)
    try:
        parameters = inspect.signature(action).parameters
    except (TypeError, ValueError):
        return Looked(shown, [], is_async, None)
    kinds = inspect.Parameter
    named = [
        name
        for name, it in parameters.items()
        if it.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    ]
    context = _context_of({name: it.annotation for name, it in parameters.items()}, named)
    if any(it.kind is kinds.VAR_KEYWORD for it in parameters.values()):
        return Looked(shown, None, is_async, context)
    return Looked(shown, [name for name in named if name != context], is_async, context)
