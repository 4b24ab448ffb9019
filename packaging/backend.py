"""The build backend: maturin's own, handed the program `dirigent` to put beside the native module.

maturin builds the module and the package around it, but a wheel of its making holds either a module or a
program. This one holds both: each hook that builds a wheel first builds the program and lays it where maturin
looks for files that belong into the environment's folder of programs. It knows nothing of what is built, only
its name.

For another platform, set `CARGO_BUILD_TARGET`: it reaches both builds. `CARGO_TARGET_DIR` is respected too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import maturin

# Named as `data` in pyproject.toml. maturin wants the folder to exist, whichever hook comes first.
PROGRAMS = Path(__file__).parent / "data" / "scripts"
PROGRAMS.mkdir(parents=True, exist_ok=True)

Settings: TypeAlias = "Mapping[str, Any] | None"

prepare_metadata_for_build_wheel = maturin.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = maturin.prepare_metadata_for_build_editable
build_sdist = maturin.build_sdist


def require_cargo(config_settings: Settings = None) -> list[str]:
    """Needs no further Python package, but says what is missing before anything is downloaded."""
    if shutil.which("cargo") is None:
        raise SystemExit(
            "there is no `cargo` on PATH, and dirigent is built with Rust: install Rust 1.90 or later"
        )
    return []


get_requires_for_build_wheel = require_cargo
get_requires_for_build_editable = require_cargo
get_requires_for_build_sdist = require_cargo


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build the program and the wheel around it, optimised."""
    stage_program("release")
    made: str = maturin.build_wheel(wheel_directory, config_settings, metadata_directory)
    return made


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build both quickly and with their checks left in, for people who change the code."""
    stage_program("dev")  # the same as `editable-profile` in pyproject.toml
    made: str = maturin.build_editable(wheel_directory, config_settings, metadata_directory)
    return made


def stage_program(profile: str) -> None:
    """Build the program and copy it into the folder that maturin packs."""
    command = ["cargo", "build", "--package", "dirigent-cli", "--profile", profile]
    said = subprocess.run(
        [*command, "--message-format", "json-render-diagnostics"], stdout=subprocess.PIPE, check=True
    )
    for line in said.stdout.splitlines():
        program = json.loads(line).get("executable")
        if program is not None:
            fresh = PROGRAMS / f".{Path(program).name}.new"
            shutil.copy2(program, fresh)
            os.replace(fresh, PROGRAMS / Path(program).name)
            return
    raise SystemExit("cargo built no program: is there a [[bin]] in rust/cli/Cargo.toml?")
