"""``python -m dirigent._call module:function``: calls a function for a task of a workflow file.

What it is called with comes as JSON from the environment; what it returns goes as JSON beside the file that
``DIRIGENT_OUTPUT`` names. What it raises is shown as Python shows it, without the frames of this file.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
import traceback
from typing import Any


def main(target: str) -> int:
    """Call what ``target`` names; the exit code says how that went: 0, 1 it raised, 2 there is no such function."""
    arguments = _arguments()
    module_name, _, function_name = target.partition(":")
    try:
        function: Any = importlib.import_module(module_name)
        for part in function_name.split("."):
            function = getattr(function, part)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        return _refuse(
            f"there is no module `{error.name}` in {os.getcwd()} or where Python looks for modules"
        )
    except AttributeError as error:
        return _refuse(f"{target}: {error}")
    if not callable(function):
        return _refuse(f"{target} cannot be called: it is a {type(function).__name__}")
    try:
        value = function(**_wanted(function, arguments))
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
    except Exception as error:
        shown = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, shown)
        return 1
    return _give(target, value)


async def _awaited(value: Any) -> Any:
    return await value


def _arguments() -> dict[str, Any]:
    file = os.environ.pop("DIRIGENT_ARGUMENTS_FILE", None)
    text = os.environ.pop("DIRIGENT_ARGUMENTS", None)
    if file is not None:
        with open(file, encoding="utf-8") as opened:
            text = opened.read()
    arguments: dict[str, Any] = json.loads(text or "{}")
    return arguments


def _wanted(function: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """What it is given by name; and of what its needs gave, what it has parameters for."""
    given: dict[str, Any] = arguments.get("with", {})
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return given
    needs = {name: value for name, value in arguments.get("needs", {}).items() if name in parameters}
    return {**needs, **given}


def _give(target: str, value: Any) -> int:
    output = os.environ.get("DIRIGENT_OUTPUT")
    if value is None or output is None:
        return 0
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return _refuse(
            f"what {target} returned cannot be handed on: {error}",
            "return what JSON has: text, numbers, lists, tables; or write a file, and return its path",
        )
    part = f"{output}.part"
    with open(part, "w", encoding="utf-8") as opened:
        opened.write(text)
    os.replace(part, f"{output}.json")
    return 0


def _refuse(message: str, hint: str | None = None) -> int:
    print(f"error: {message}" + (f"\nhint: {hint}" if hint else ""), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
