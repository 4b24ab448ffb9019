"""Types of the Rust core. Written by hand, checked against the built module by ``mypy.stubtest``."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

__all__ = [
    "discover",
    "load_config",
    "main",
    "run_command",
    "run_script",
    "script_config",
    "skip_dirs",
    "skip_patterns",
    "version",
    "write_report",
    "write_whole",
]

_Path = str | PathLike[str]

def version() -> str: ...
def main(args: Sequence[str]) -> int: ...
def discover(
    folder: _Path, subdirs: Sequence[_Path], patterns: Sequence[str], max_depth: int | None
) -> list[_Path]: ...
def skip_dirs() -> list[str]: ...
def skip_patterns() -> list[str]: ...
def load_config(folder: _Path) -> dict[str, Any]: ...
def script_config(script: _Path, folder: _Path, config: Mapping[str, Any]) -> dict[str, Any]: ...
def run_script(
    script: _Path,
    guard: _Path,
    python: _Path,
    timeout: float | None,
    env: Mapping[str, str | None],
    cwd: _Path | None,
    config: Mapping[str, Any] | None,
    memory_limit_mb: int | None,
) -> dict[str, Any]: ...
def run_command(
    name: str,
    argv: Sequence[str],
    guard: _Path,
    timeout: float | None,
    env: Mapping[str, str | None],
    cwd: _Path | None,
    memory_limit_mb: int | None,
) -> dict[str, Any]: ...
def write_report(results: str, folder: _Path, run_id: str) -> dict[str, Any]: ...
def write_whole(path: _Path, bytes: bytes) -> None: ...
