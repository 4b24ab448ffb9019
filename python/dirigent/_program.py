"""Where the program ``dirigent`` is: it is the guard of everything that this package runs."""

from __future__ import annotations

import os
import sys

_found: str | None = None


def program() -> str:
    """Return the path of the program that was installed with this package.

    Raises:
        InternalError: It is nowhere (code ``package.program_missing``).
    """
    global _found
    if _found is None:
        _found = next((path for path in _places() if os.access(path, os.X_OK)), None)
    if _found is None:
        from dirigent._errors import InternalError

        raise InternalError(
            "the program dirigent, which is part of this package, is not where packages put programs\n"
            "hint: install the package again with pip",
            "package.program_missing",
        )
    return _found


def _places() -> list[str]:
    """Beside the interpreter first; the record of the installation, which is slow to ask, last."""
    places = [
        os.path.join(os.path.dirname(sys.executable or ""), "dirigent"),
        os.path.join(sys.prefix, "bin", "dirigent"),
    ]
    if not any(os.access(path, os.X_OK) for path in places):
        import importlib.metadata

        try:
            files = importlib.metadata.files("dirigent") or []
        except importlib.metadata.PackageNotFoundError:
            files = []
        places += [str(file.locate()) for file in files if file.name == "dirigent"]
    return places
