"""``dirigent graph file.py:name``: draws a workflow of a Python file, or a flow up to where its body asks for a value."""

from __future__ import annotations

import argparse
import sys

from dirigent import _native
from dirigent._errors import DirigentError
from dirigent._graph import Graph
from dirigent._target import _given, _load, _read, _workflow


def main(argv: list[str]) -> int:
    """Draw what is named, and return the exit code of the command line."""
    parser = argparse.ArgumentParser(prog="dirigent graph file.py:name", add_help=False)
    parser.add_argument("file")
    parser.add_argument("name")
    parser.add_argument("--format", required=True)
    parser.add_argument("--theme", default="auto")
    parser.add_argument("--output")
    parser.add_argument("--unfold", action="append", default=[])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--param", action="append", default=[])
    parser.add_argument("--params-file")
    options = parser.parse_args(argv)
    try:
        graph = _graph(options)
        if options.format == "text":
            drawn = graph.text(unfold=options.unfold, whole=options.all)
        else:
            drawn = graph._draw((options.format, options.theme, options.unfold, options.all))
        if options.output is not None:
            _native.write_whole(options.output, drawn.encode())
        else:
            sys.stdout.buffer.write(drawn.encode())
    except DirigentError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _graph(options: argparse.Namespace) -> Graph:
    from dirigent._workflow import Workflow

    given = _given(options)
    target = _workflow(_load(options.file, options.name), given)
    if isinstance(target, Workflow):
        return target.graph()
    drawn: Graph = target.graph(**_read(target.function, given))
    return drawn


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
