"""What ``%load_ext dirigent`` adds to a notebook: ``%dirigent`` looks at recorded runs, ``%%task`` makes a cell a task.

IPython loads this file itself; nothing else does.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import keyword
import os
import shlex
import subprocess
import sys
from types import CodeType, FunctionType
from typing import Any, NoReturn

from dirigent._errors import UsageError
from dirigent._program import program
from dirigent._run import state_folder
from dirigent._workflow import Workflow

#: What only looks, and may be asked for in a notebook.
_VERBS = ("runs", "show", "logs", "why", "graph")
#: Options that say themselves how a graph is to be had.
_FORMS = ("-f", "--format", "-o", "--output", "--json", "-h", "--help")


def load_ipython_extension(shell: Any) -> None:
    """Add the commands to a shell of IPython."""
    commands = _Commands(shell)
    shell.register_magic_function(commands.look, "line", "dirigent")
    shell.register_magic_function(commands.task, "cell", "task")


class _Commands:
    def __init__(self, shell: Any) -> None:
        self._shell = shell
        #: The functions of cells by the plan of their workflow: a cell that is run again changes its own.
        self._made: dict[tuple[int, str], _Cell] = {}

    def look(self, line: str) -> None:
        """Look at recorded runs: ``%dirigent runs|show|logs|why|graph ARGS``, as the command line does."""
        words = _words(line)
        if not words or words[0] not in _VERBS:
            said = f"`{words[0]}` is nothing that" if words else "nothing is said that"
            raise _refusal(
                f"{said} %dirigent does", f"name one of {', '.join(_VERBS)}; the rest is `!dirigent`"
            )
        is_picture = words[0] == "graph" and not any(word.partition("=")[0] in _FORMS for word in words)
        told = subprocess.run(
            [program(), *words, *(["--format", "svg"] if is_picture else [])],
            env={**os.environ, "DIRIGENT_STATE_DIR": state_folder(), "COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if is_picture and told.returncode == 0:
            markup = f'<div class="dirigent-cell" style="overflow:auto">{told.stdout}</div>'
            bundle = {"text/plain": f"dirigent {line}", "text/html": markup}
            importlib.import_module("IPython.display").display(bundle, raw=True)
        else:
            sys.stdout.write(told.stdout)
        if told.returncode != 0:
            raise _refusal(
                told.stderr.strip() or f"dirigent {words[0]} ended with exit code {told.returncode}"
            )
        sys.stderr.write(told.stderr)

    def task(self, line: str, cell: str) -> None:
        """Make the cell a task: ``%%task NAME [--needs a,b] [--workflow wf]``."""
        parser = _Parser(prog="%%task", add_help=False, allow_abbrev=False)
        parser.add_argument("name")
        parser.add_argument("--needs", default="")
        parser.add_argument("--workflow")
        wanted = parser.parse_args(_words(line))
        needs = tuple(need.strip() for need in wanted.needs.split(",") if need.strip())
        workflow = self._workflow(wanted.workflow)
        function = self._function(wanted.name, needs, cell)
        known = self._made.get((id(workflow._plan), wanted.name))
        if known is None:
            workflow.add_task(wanted.name, function, dependencies=needs)
            self._made[id(workflow._plan), wanted.name] = _Cell(workflow, needs, function)
        elif known.needs != needs or inspect.iscoroutinefunction(
            known.function
        ) != inspect.iscoroutinefunction(function):
            raise _refusal(
                f"task `{wanted.name}` was declared with other needs, or is a coroutine only now or no longer",
                "declare the workflow and its tasks again",
            )
        else:
            known.function.__code__ = function.__code__

    def _workflow(self, name: str | None) -> Workflow:
        names = self._shell.user_ns
        if name is not None:
            if not isinstance(names.get(name), Workflow):
                raise _refusal(
                    f"`{name}` is no workflow of this notebook", f'write {name} = Workflow("{name}")'
                )
            return names[name]  # type: ignore[no-any-return]
        found = {
            key: value
            for key, value in names.items()
            if isinstance(value, Workflow) and not key.startswith("_")
        }
        if len({id(value) for value in found.values()}) != 1:
            have = f"has the workflows {', '.join(found)}" if found else "has no workflow"
            raise _refusal(
                f"the notebook {have}",
                "say which with --workflow" if found else 'write wf = Workflow("wf") in a cell above',
            )
        return next(iter(found.values()))

    def _function(self, name: str, needs: tuple[str, ...], cell: str) -> FunctionType:
        """A function whose body the cell is, whose parameters its needs, whose value the last line's."""
        source = self._shell.transform_cell(cell)
        file = self._shell.compile.cache(source)
        body = ast.parse(source, file).body
        if body and isinstance(body[-1], ast.Expr):
            body[-1] = ast.copy_location(ast.Return(body[-1].value), body[-1])
        given = [need for need in needs if need.isidentifier() and not keyword.iskeyword(need)]
        shown = name if name.isidentifier() and not keyword.iskeyword(name) else "cell"
        head = "async def" if _awaits(body) else "def"
        module = ast.parse(f"{head} {shown}({'*, ' if given else ''}{', '.join(given)}): pass", file)
        declared = module.body[0]
        assert isinstance(declared, (ast.FunctionDef, ast.AsyncFunctionDef))
        declared.body = body or declared.body
        code = compile(module, file, "exec")
        (inner,) = (const for const in code.co_consts if isinstance(const, CodeType))
        function = FunctionType(inner, self._shell.user_ns, shown)
        function.__module__ = "__main__"
        return function


class _Cell:
    """A task that a cell made. It holds the workflow, so that no other one gets its id."""

    def __init__(self, workflow: Workflow, needs: tuple[str, ...], function: FunctionType) -> None:
        self.workflow = workflow
        self.needs = needs
        self.function = function


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _refusal(f"%%task: {message}", "write %%task NAME [--needs a,b] [--workflow wf]")


def _awaits(body: list[ast.stmt]) -> bool:
    """Whether statements wait themselves, and not only a function that they define."""
    left: list[ast.AST] = [*body]
    while left:
        node = left.pop()
        if isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith)):
            return True
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            left += ast.iter_child_nodes(node)
    return False


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise _refusal(f"`{line}` cannot be split into words: {error}") from None


def _refusal(message: str, hint: str | None = None) -> UsageError:
    text = message if hint is None else f"{message}\nhint: {hint}"
    error = UsageError(text, "usage.invalid")
    # IPython shows what this gives: where in here it was raised says nothing.
    setattr(error, "_render_traceback_", lambda: [f"UsageError: {text}"])  # noqa: B010
    return error
