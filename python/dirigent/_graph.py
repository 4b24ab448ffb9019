"""Graphs of workflows, flows and runs: what waits for what, as text, as a picture, and in a notebook."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from dirigent import _native
from dirigent._errors import UsageError, WorkflowError

#: The form that the end of a file's name means.
_FORMS = {
    ".svg": "svg",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".dot": "dot",
    ".gv": "dot",
    ".txt": "text",
}


class Graph:
    """What waits for what. Printed, it is a drawing for a terminal; in a notebook, a picture.

    Of more than 300 tasks, in a notebook 200, those of a stage are drawn as one. ``unfold`` has some drawn one by one: it takes
    numbers of stages, and names of tasks that consist of tasks. ``whole`` has all of them.

    >>> from dirigent import Workflow
    >>> wf = Workflow("sum").add_task("one", int).add_task("two", int, dependencies=["one"])
    >>> print(wf.graph())
    sum  2 tasks
    ○ one  function
    ○ two  function  ← one
    """

    def _draw(self, manner: tuple[str, str, list[str], bool]) -> str:
        raise NotImplementedError

    def text(self, *, unfold: Iterable[str | int] = (), whole: bool = False) -> str:
        """Lines for a terminal of 80 columns."""
        return self._draw(("text", "auto", _names(unfold), whole))

    def svg(self, *, theme: str = "auto", unfold: Iterable[str | int] = (), whole: bool = False) -> str:
        """A picture that stands alone.

        Args:
            theme: ``light``, ``dark``, or ``auto``: as the reader's system or the page around it has it.
            unfold: Stages, and tasks that consist of tasks, that are drawn task by task.
            whole: Draw every task, however many there are.
        """
        return self._draw(("svg", theme, _names(unfold), whole))

    def mermaid(self, *, unfold: Iterable[str | int] = (), whole: bool = False) -> str:
        """Mermaid, as pages of Markdown show it."""
        return self._draw(("mermaid", "auto", _names(unfold), whole))

    def dot(self, *, unfold: Iterable[str | int] = (), whole: bool = False) -> str:
        """The language of Graphviz."""
        return self._draw(("dot", "auto", _names(unfold), whole))

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        theme: str = "auto",
        unfold: Iterable[str | int] = (),
        whole: bool = False,
    ) -> None:
        """Write it to a file, whole or not at all; the end of its name says how: ``.svg``, ``.mmd``, ``.dot``, ``.txt``.

        Raises:
            UsageError: The name ends otherwise.
        """
        end = os.path.splitext(path)[1].lower()
        if end not in _FORMS:
            hint = "let it end in .svg, .mmd, .dot or .txt"
            raise UsageError(f"`{os.fspath(path)}` does not say how to draw\nhint: {hint}", "usage.invalid")
        drawn = self._draw((_FORMS[end], theme, _names(unfold), whole))
        _native.write_whole(os.fspath(path), drawn.encode())

    def __str__(self) -> str:
        return self.text().rstrip("\n")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        text, markup = self._cell()
        return {"text/plain": text, "text/html": markup}

    def _cell(self) -> tuple[str, str]:
        """How a notebook shows it: as text, and as markup."""
        return str(self), self._draw(("cell", "auto", [], False))


class PlanGraph(Graph):
    """A workflow as declared so far."""

    def __init__(self, plan: _native.Plan, name: str) -> None:
        self._plan = plan
        self._name = name

    def _draw(self, manner: tuple[str, str, list[str], bool]) -> str:
        return _native.draw_plan(self._plan, self._name, manner)


class RunGraph(Graph):
    """A run, each time as it stands."""

    def __init__(self, session: _native.Session) -> None:
        self._session = session

    def _draw(self, manner: tuple[str, str, list[str], bool]) -> str:
        return _native.draw_run(self._session, manner)

    def _cell(self) -> tuple[str, str]:
        text, markup = _native.draw_cell(self._session)
        return text.rstrip("\n"), markup


def shown(thing: object, graph: Graph) -> dict[str, str]:
    """How a notebook shows something that has a graph. What cannot be drawn, such as a circle, is only named."""
    bundle = {"text/plain": repr(thing)}
    with contextlib.suppress(WorkflowError):
        bundle["text/html"] = graph._draw(("cell", "auto", [], False))
    return bundle


def _names(unfold: Iterable[str | int]) -> list[str]:
    if isinstance(unfold, str):
        raise UsageError(f"unfold is a list of names, not one\nhint: write [{unfold!r}]", "usage.invalid")
    return [str(name) for name in unfold]
