"""A page about a folder of scripts, from their docstrings and argument parsers read as source. Nothing is run."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

from dirigent import _native
from dirigent._scripts import discover_scripts


def generate_script_documentation(
    scripts_dir: str | os.PathLike[str], output_file: str | os.PathLike[str]
) -> Path:
    """Write a Markdown page that says what each script of a folder is for and what arguments it takes.

    Python scripts are read as source: the docstring and every ``add_argument`` call. Other scripts give the comment
    at their top. A script that cannot be read or parsed is listed with the reason.

    Args:
        scripts_dir: The folder.
        output_file: The page, written whole or not at all.

    Returns:
        The page's path.

    Raises:
        NotFoundError: There is no such folder.
        StorageError: The disk refuses.
    """
    folder = Path(scripts_dir).absolute()
    parts = [f"# Scripts in {_escaped(folder.name)}\n"]
    for script in discover_scripts(folder, max_depth=None):
        parts.append(_section(script, script.relative_to(folder).as_posix()))
    output = Path(output_file)
    _native.write_whole(output, "\n".join(parts).encode("utf-8", "replace"))
    return output


def _section(script: Path, name: str) -> str:
    lines = [f"## {_escaped(name)}", ""]
    try:
        source = script.read_bytes()
        described, arguments = _python(source) if script.suffix == ".py" else (_comment(source), [])
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        return "\n".join([*lines, f"*Cannot be read: {_escaped(str(error))}*", ""])
    lines += [described or "*Says nothing about itself.*", ""]
    if arguments:
        lines += ["| argument | meaning |", "| --- | --- |"]
        lines += [f"| {_cell(names)} | {_cell(meaning)} |" for names, meaning in arguments]
        lines.append("")
    return "\n".join(lines)


def _python(source: bytes) -> tuple[str, list[tuple[str, str]]]:
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls = [call for call in calls if getattr(call.func, "attr", None) == "add_argument"]
    return ast.get_docstring(tree) or "", [_argument(call) for call in calls if call.args]


def _argument(call: ast.Call) -> tuple[str, str]:
    """The names of an argument and what is said of it: help, choices, default, whether it must be given."""
    options = {keyword.arg: keyword.value for keyword in call.keywords}
    names = ", ".join(f"`{_shown(name)}`" for name in call.args)
    said = [_shown(options["help"])] if "help" in options else []
    if "choices" in options:
        said.append(f"one of {_shown(options['choices'])}")
    if "default" in options:
        said.append(f"default {_shown(options['default'])}")
    if isinstance(required := options.get("required"), ast.Constant) and required.value:
        said.append("required")
    return names, "; ".join(said)


def _shown(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def _comment(source: bytes) -> str:
    """The comment at the top of a script, without the line that names its interpreter."""
    lines = source.decode("utf-8", "replace").splitlines()
    lines = lines[1:] if lines and lines[0].startswith("#!") else lines
    comment: list[str] = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("#").strip())
    return "\n".join(comment).strip()


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
