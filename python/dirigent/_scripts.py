"""Finding, configuring, running and reporting scripts: typed doors to the core, and no second implementation."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dirigent import _native
from dirigent._program import program

#: Names of folders that are never looked into.
SKIP_DIRS: frozenset[str] = frozenset(_native.skip_dirs())
#: Globs of files that are never scripts.
SKIP_PATTERNS: frozenset[str] = frozenset(_native.skip_patterns())


def discover_scripts(
    scripts_dir: str | os.PathLike[str],
    subdirs: Sequence[str | os.PathLike[str]] | None = None,
    pattern: str | Sequence[str] | None = None,
    max_depth: int | None = 2,
) -> list[Path]:
    """Find the scripts below a folder.

    Scripts are Python and shell files and executables that begin with ``#!``. What the project file's ``skip`` and
    ``.gitignore`` files name is left out, and so are ``SKIP_DIRS`` and ``SKIP_PATTERNS``.

    Args:
        scripts_dir: The folder.
        subdirs: Look only into these folders of it.
        pattern: Take only files that this glob, or one of these, matches.
        max_depth: How many folders further down to look; ``0`` for the folder alone, ``None`` for all.

    Returns:
        Absolute paths, sorted.

    Raises:
        NotFoundError: There is no such folder.
        ConfigError: The project file is wrong.
    """
    patterns = [] if pattern is None else [pattern] if isinstance(pattern, str) else list(pattern)
    found = _native.discover(scripts_dir, [os.fspath(sub) for sub in subdirs or ()], patterns, max_depth)
    return [Path(path) for path in found]


def load_config(scripts_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the project file that counts for a folder: ``dirigent.toml``, ``.yaml``, ``.yml`` or ``.json``, there or above.

    Args:
        scripts_dir: The folder.

    Returns:
        What the file says, checked: ``default``, ``skip``, ``timeout_override``, ``scripts`` and the rest; empty where
        there is no file.

    Raises:
        ConfigError: The file is wrong; the message shows file, line and column.
    """
    config: dict[str, Any] = _native.load_config(scripts_dir)
    return config


def get_script_config(
    script: str | os.PathLike[str], scripts_dir: str | os.PathLike[str], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Say what a configuration means for one script.

    Args:
        script: The script, by its path or its path from ``scripts_dir``.
        scripts_dir: The folder it was found in.
        config: What :func:`load_config` returned, or the like.

    Returns:
        Every setting, resolved: ``timeout`` (seconds or ``None``), ``args``, ``env``, ``cwd``,
        ``allowed_exit_codes``, ``skip``, ``skip_reason``, ``memory_limit_mb``, ``needs``, ``leave_running``,
        ``interpreter``.

    Raises:
        ConfigError: The configuration is wrong.
    """
    settings: dict[str, Any] = _native.script_config(script, scripts_dir, dict(config))
    return settings


def run_script(
    script_path: str | os.PathLike[str],
    timeout: float | None = 60,
    env: Mapping[str, str | None] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    config: Mapping[str, Any] | None = None,
    memory_limit_mb: int | None = None,
) -> dict[str, Any]:
    """Run one script and wait for it. How it ends is in the result; nothing of what it started is left.

    Args:
        script_path: The script. Python files run under this interpreter, others as their first line says.
        timeout: Seconds it may take; ``None`` for no limit. A ``timeout`` in ``config`` counts instead.
        env: Variables to set; ``None`` as a value removes one.
        cwd: Working directory; the project's root, or else the script's folder, where nothing is said.
        config: Settings of the script, as :func:`get_script_config` returns them. Other arguments come on top.
        memory_limit_mb: How much memory its processes may use, in MiB.

    Returns:
        ``script``, ``name``, ``subdirectory``, ``start_time`` and ``end_time`` (ISO 8601 with zone), ``status``
        (``passed``, ``failed``, ``timeout``, ``error`` or ``skipped``), ``exit_code`` (or ``None``),
        ``execution_time`` in seconds, ``stdout`` and ``stderr`` (undecodable bytes replaced; exact in the logs below
        ``folder``), ``error`` (a sentence or ``None``), and further figures.

    Raises:
        UsageError: An argument makes no sense.
        ConfigError: The settings or the project file are wrong.
        KeyboardInterrupt: At once, on Ctrl-C; the script's processes are asked to end, and end.
    """
    result: dict[str, Any] = _native.run_script(
        script_path,
        program(),
        sys.executable or "python3",
        None if timeout is None else float(timeout),
        dict(env or {}),
        cwd,
        None if config is None else dict(config),
        memory_limit_mb,
    )
    return result


def save_log(result: Mapping[str, Any], output_dir: str | os.PathLike[str], run_id: str) -> Path:
    """Write a result as JSON into the folder of a run, whole or not at all.

    Args:
        result: What :func:`run_script` returned.
        output_dir: The folder that holds runs; made if it is not there.
        run_id: Which run: letters, digits and dashes.

    Returns:
        The file. Its name comes from the script's, made safe; two scripts never share one.

    Raises:
        UsageError: The run id could leave the folder.
        StorageError: The disk refuses.
    """
    folder = _run_folder(output_dir, run_id)
    path = folder / f"{_file_name(str(result['script']))}.json"
    _native.write_whole(path, json.dumps(dict(result), indent=2, default=str).encode())
    return path


def generate_report(
    results: Sequence[Mapping[str, Any]], output_dir: str | os.PathLike[str], run_id: str
) -> dict[str, Any]:
    """Sum up results, and write the summary as ``summary.json`` and ``summary.md`` into the folder of a run.

    Args:
        results: What :func:`run_script` returned, for each script.
        output_dir: The folder that holds runs; made if it is not there.
        run_id: Which run: letters, digits and dashes.

    Returns:
        The summary: ``counts`` (each script counted once; skipped is not failed), ``failed``, ``slowest``, ``tasks``,
        times and more, as in ``summary.json``.

    Raises:
        UsageError: These are no results, or the run id could leave the folder.
        StorageError: The disk refuses.
    """
    folder = _run_folder(output_dir, run_id)
    text = json.dumps([dict(result) for result in results], default=str)
    summary: dict[str, Any] = _native.write_report(text, folder, run_id)
    return summary


def run_orchestrator(argv: Sequence[str] | None = None) -> int:
    """Run the command line in this process and return its exit code.

    Args:
        argv: The words after the program's name; those of this process where nothing is said.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    return _native.main(["dirigent", *words], program())


def _run_folder(output_dir: str | os.PathLike[str], run_id: str) -> Path:
    if not 1 <= len(run_id) <= 64 or not all(c.isascii() and (c.isalnum() or c in "-_") for c in run_id):
        from dirigent._errors import UsageError

        raise UsageError(
            f"a run id has 1 to 64 letters, digits and dashes, not {run_id!r}", "usage.invalid_run_id"
        )
    folder = Path(output_dir) / run_id
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _file_name(script: str) -> str:
    """A name that is safe anywhere; where something had to be replaced, a digest tells twins apart."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in script).strip("._")[
        -80:
    ]
    if safe == script:
        return safe
    from hashlib import blake2b

    return f"{safe}-{blake2b(script.encode('utf-8', 'surrogatepass'), digest_size=5).hexdigest()}"
