"""Every way to install gives the package and the true program: wheel, source distribution, checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

VERSION = re.compile(r'^version = "(.+)"$', re.MULTILINE)
NEWEST_MINOR = 14


def sh(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command that must end well, away from the checkout if `cwd` is; give what it printed."""
    said = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert said.returncode == 0, f"{command} ended with {said.returncode}:\n{said.stdout}"
    return said.stdout


def interpreters() -> dict[str, Path | None]:
    """Every supported CPython from 3.10 on, and where it is found: on PATH or kept by pyenv."""
    found: dict[str, Path | None] = {}
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(10, NEWEST_MINOR + 1):
        name = f"python3.{minor}"
        places = [Path(folder) / name for folder in os.environ["PATH"].split(os.pathsep)]
        places += sorted(kept.glob(f"3.{minor}.*/bin/{name}"))
        found[f"3.{minor}"] = next((place for place in places if starts(place, minor)), None)
    return found


def starts(interpreter: Path, minor: int) -> bool:
    """Whether this really is that CPython: what lies on PATH may be a stub that refuses."""
    kind = f"sys.version_info[:2] == (3, {minor}) and sys.implementation.name == 'cpython'"
    check = f"import sys, venv; sys.exit(not ({kind}))"
    return (
        interpreter.exists()
        and subprocess.run([interpreter, "-c", check], capture_output=True).returncode == 0
    )


INTERPRETERS = interpreters()


def install(
    environment: Path, interpreter: Path, *what: str | Path, env: dict[str, str] | None = None
) -> None:
    """Make an environment without anything in it and install into it with our own pip."""
    sh(interpreter, "-m", "venv", "--without-pip", environment, cwd=environment.parent)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", environment / "bin/python")
    sh(*pip, "install", "--quiet", *what, cwd=environment.parent, env=env)


def check_installed(environment: Path, root: Path) -> None:
    """The package imports, and the program beside it is a true binary of the same version."""
    declared = VERSION.search((root / "Cargo.toml").read_text(encoding="utf-8"))
    assert declared is not None
    version = declared[1]
    python, program = environment / "bin" / "python", environment / "bin" / "dirigent"
    away = environment.parent
    assert sh(python, "-c", "import dirigent; print(dirigent.__version__)", cwd=away) == f"{version}\n"
    assert sh(program, "--version", cwd=away) == f"dirigent {version}\n"
    assert sh(python, "-m", "dirigent", "--version", cwd=away) == f"dirigent {version}\n"
    assert program.read_bytes()[:4] == b"\x7fELF"


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as `pip install .` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    sh(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, root, cwd=folder)
    (made,) = folder.iterdir()
    return made


def test_one_wheel_serves_every_version_and_holds_what_it_should(wheel: Path) -> None:
    assert "-cp310-abi3-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith(".data/scripts/dirigent")]
    for name in (
        "_native.abi3.so",
        "_native.pyi",
        "py.typed",
        "__init__.py",
        "__main__.py",
        "_widget.js",
        "_widget.css",
    ):
        assert f"dirigent/{name}" in names
    inside = [name for name in names if not name.startswith(("dirigent/", "dirigent-"))]
    assert inside == []
    assert not [name for name in names if name.endswith((".pyc", "entry_points.txt"))]


@pytest.mark.parametrize("version", INTERPRETERS)
def test_the_wheel_works_on(version: str, wheel: Path, root: Path, tmp_path: Path) -> None:
    interpreter = INTERPRETERS[version]
    if interpreter is None:
        pytest.skip(f"CPython {version} is not installed")
    install(tmp_path / "env", interpreter, wheel)
    check_installed(tmp_path / "env", root)


def test_the_source_distribution_works(root: Path, tmp_path: Path) -> None:
    sh(sys.executable, "-m", "build", "--sdist", "--outdir", tmp_path / "dist", root, cwd=tmp_path)
    (made,) = (tmp_path / "dist").iterdir()
    # What others wrote is compiled once: only our own crates are built again, from the unpacked archive.
    install(tmp_path / "env", Path(sys.executable), made, env={"CARGO_TARGET_DIR": str(root / "target")})
    check_installed(tmp_path / "env", root)


def test_an_editable_installation_works(root: Path, tmp_path: Path) -> None:
    module = root / "python" / "dirigent" / "_native.abi3.so"
    was_there = module.exists()
    try:
        install(tmp_path / "env", Path(sys.executable), "--editable", root)
        check_installed(tmp_path / "env", root)
        where = sh(
            tmp_path / "env/bin/python", "-c", "import dirigent; print(dirigent.__file__)", cwd=tmp_path
        )
        assert Path(where.strip()) == root / "python" / "dirigent" / "__init__.py"
    finally:
        if not was_there:
            module.unlink(missing_ok=True)


def test_the_program_builds_without_python(root: Path) -> None:
    sh("cargo", "build", "--quiet", "--locked", "--package", "dirigent-cli", cwd=root)
    target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    program = target / "debug" / "dirigent"
    assert sh(program, "--version", cwd=root).startswith("dirigent ")
    assert "python" not in sh("ldd", program, cwd=root)
