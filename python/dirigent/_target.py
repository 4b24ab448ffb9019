"""``dirigent run file.py:name``: runs a workflow or a flow of a Python file as the command line runs everything else."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import inspect
import json
import os
import sys
import threading
import types
import typing
from collections.abc import Iterator
from datetime import date
from typing import Any

from dirigent._errors import UsageError


def main(argv: list[str]) -> int:
    """Run what is named, show it, and return the exit code of the command line."""
    options = _options(argv)
    os.environ["DIRIGENT_STATE_DIR"] = options.state_dir
    try:
        target = _load(options.file, options.name)
        given = _given(options)
        if options.dry_run:
            return _tell(target, given)
        with _above_the_picture():
            return _see_through(_start(target, given, options), options)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dirigent run file.py:name", add_help=False)
    parser.add_argument("file")
    parser.add_argument("name")
    parser.add_argument("--state-dir", required=True)
    parser.add_argument("--config")
    parser.add_argument("--report", default="")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--param", action="append", default=[])
    parser.add_argument("--params-file")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    return parser.parse_args(argv)


def _load(file: str, name: str) -> Any:
    """What the file calls by that name. The file is imported under its own name, so that pickles of its functions work."""
    module_name = os.path.splitext(os.path.basename(file))[0]
    sys.path.insert(0, os.path.dirname(file))
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{file} has no `{name}`{_meant(name, module)}")
        found = getattr(found, part)
    return found


def _meant(name: str, module: types.ModuleType) -> str:
    from difflib import get_close_matches

    runnable = [known for known, value in vars(module).items() if _is_runnable(value)]
    near = get_close_matches(name, runnable, 1)
    if near:
        return f"\nhint: did you mean `{near[0]}`?"
    return f"\nhint: it has {', '.join(f'`{known}`' for known in runnable)}" if runnable else ""


def _is_runnable(value: object) -> bool:
    from dirigent._flow import Flow
    from dirigent._workflow import Workflow

    return isinstance(value, (Flow, Workflow))


def _given(options: argparse.Namespace) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if options.params_file:
        with open(options.params_file, encoding="utf-8") as opened:
            try:
                given.update(json.load(opened))
            except (ValueError, TypeError) as error:
                raise UsageError(
                    f"{options.params_file}: parameters of a Python file are a JSON object: {error}"
                ) from error
    for param in options.param:
        name, equals, value = param.partition("=")
        if not equals:
            raise UsageError(f"--param: `{param}` has no `=`\nhint: write `--param NAME=VALUE`")
        given[name] = _Text(value)
    return given


class _Text(str):
    """As typed: still to be read as what the function takes."""


def _read(function: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What was typed, read as the annotations of the function say."""
    signature = inspect.signature(function)
    try:
        kinds = typing.get_type_hints(function)
    except Exception:
        kinds = {}
    read: dict[str, Any] = {}
    for name, value in given.items():
        if name not in signature.parameters:
            known = ", ".join(f"`{known}`" for known in signature.parameters) or "none"
            raise UsageError(f"there is no parameter `{name}`\nhint: there are {known}")
        read[name] = _as(kinds.get(name), str(value), name) if isinstance(value, _Text) else value
    try:
        signature.bind(**read)
    except TypeError as error:
        raise UsageError(f"{error}\nhint: give it by `--param NAME=VALUE`") from error
    return read


def _as(kind: Any, text: str, name: str) -> Any:
    try:
        if kind is str:
            return text
        if kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                text.lower()
            ]
        if kind in (int, float):
            return kind(text)
        if kind is date:
            return date.today() if text == "today" else date.fromisoformat(text)
        if kind is None or kind is Any:
            try:
                return json.loads(text)
            except ValueError:
                return text
        if typing.get_origin(kind) in (list, dict, tuple) or kind in (list, dict, tuple):
            value = json.loads(text)
            return tuple(value) if kind is tuple or typing.get_origin(kind) is tuple else value
        return kind(text)
    except (ValueError, KeyError, TypeError) as error:
        shown = getattr(kind, "__name__", str(kind))
        raise UsageError(f"parameter `{name}`: {text!r} is no {shown}") from error


def _workflow(target: Any, given: dict[str, Any]) -> Any:
    """The workflow or flow itself; a plain function is called, since it may make one."""
    from dirigent._workflow import Workflow

    if inspect.isfunction(target):
        made = target(**_read(target, given))
        if not isinstance(made, Workflow):
            raise UsageError(
                f"`{target.__name__}` is neither a workflow nor a flow, and returned none\n"
                "hint: decorate it with `@flow`, or let it return a `Workflow`"
            )
        return made
    if not _is_runnable(target):
        raise UsageError(f"a {type(target).__name__} is neither a workflow nor a flow")
    if isinstance(target, Workflow) and given:
        raise UsageError("a workflow takes no parameters\nhint: write a function that makes it from them")
    return target


def _tell(target: Any, given: dict[str, Any]) -> int:
    from dirigent._workflow import Workflow

    target = _workflow(target, given)
    if not isinstance(target, Workflow):
        print(f"run   {target.name}  a flow: what it runs shows while it does")
        return 0
    target.validate()
    for name in target.tasks:
        print(f"run   {name}")
    return 0


def _start(target: Any, given: dict[str, Any], options: argparse.Namespace) -> Any:
    from dirigent._options import set_total_concurrency
    from dirigent._workflow import Workflow

    target = _workflow(target, given)
    if options.jobs is not None:
        set_total_concurrency(options.jobs)
    if isinstance(target, Workflow):
        return target.start()
    return target.submit(**_read(target.function, given))


class _Above:
    """A stream to the terminal in which the picture of a run stands: whole lines go above it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._begun: dict[int, str] = {}

    def write(self, text: str) -> int:
        from dirigent import _native

        thread = threading.get_ident()
        lines, newline, rest = (self._begun.pop(thread, "") + text).rpartition("\n")
        if rest:
            self._begun[thread] = rest
        if newline:
            _native.say(lines + newline)
        return len(text)

    def finish(self) -> None:
        """Write what no newline ended."""
        rest = "".join(self._begun.values())
        if rest:
            self._begun.clear()
            self._inner.write(rest)
            self._inner.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@contextlib.contextmanager
def _above_the_picture() -> Iterator[None]:
    """While a run is shown, what its functions print stands above the picture, where both go to the terminal."""
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    above = {}
    if before["stderr"] is not None and before["stderr"].isatty() and os.environ.get("TERM") != "dumb":
        above = {name: _Above(stream) for name, stream in before.items() if stream and stream.isatty()}
    for name, stream in above.items():
        setattr(sys, name, stream)
    try:
        yield
    finally:
        for name, stream in above.items():
            if getattr(sys, name) is stream:
                setattr(sys, name, before[name])
            stream.finish()


def _see_through(handle: Any, options: argparse.Namespace) -> int:
    """Show a run until it ends, and have others told. The first interrupt asks it to end, the second ends it at once."""
    from dirigent import _native
    from dirigent._flow import FlowHandle

    run = handle.run if isinstance(handle, FlowHandle) else handle
    display = threading.Thread(
        target=_native.show, args=(run._session,), name="dirigent-display", daemon=True
    )
    display.start()
    home = os.path.dirname(options.file)
    to_tell = (run._session, home, options.config)
    telling = threading.Thread(target=_native.tell_others, args=to_tell, name="dirigent-telling", daemon=True)
    telling.start()
    for stop in (run.cancel, run.kill, run.kill):
        try:
            run.wait()
            break
        except KeyboardInterrupt:
            stop()
    display.join()
    reports = [kind for kind in options.report.split(",") if kind]
    code = _native.conclude(run._session, reports, options.json)
    telling.join()
    if isinstance(handle, FlowHandle) and code == 0:
        try:
            handle.result()
        except Exception as error:
            print(f"error: the flow raised {type(error).__name__}: {error}", file=sys.stderr)
            return 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
