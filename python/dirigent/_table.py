"""Tables: plain columns, which pandas, polars, pyarrow and whatever else reads Arrow take, none of which is needed for them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from dirigent import _native
from dirigent._errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from dirigent._native import Session

#: What a run has tables of.
OF_A_RUN = ("tasks", "attempts", "events")

#: The types of pandas that have room for what is missing.
_PANDAS = {"text": "string", "int": "Int64", "float": "float64", "moment": "datetime64[ms, UTC]"}

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Table:
    """Columns by name, with a value a row.

    It speaks Arrow's PyCapsule interface, so whatever reads Arrow takes it as it is, with the types of its columns:
    ``polars.DataFrame(table)``, ``pyarrow.table(table)``, ``pandas.DataFrame.from_arrow(table)``, a query of DuckDB. Numbers
    are 64 bits wide, texts are UTF-8, and moments are milliseconds in UTC.
    """

    def __init__(self, columns: Iterable[tuple[str, str, list[Any]]]) -> None:
        self._columns = {name: (kind, values) for name, kind, values in columns}

    @property
    def columns(self) -> dict[str, list[Any]]:
        """The columns as lists, with ``None`` where there is nothing; moments are ``datetime``s with their zone."""
        return {
            name: [_moment(at_ms) for at_ms in values] if kind == "moment" else list(values)
            for name, (kind, values) in self._columns.items()
        }

    def __len__(self) -> int:
        """How many rows it has."""
        return next((len(values) for _, values in self._columns.values()), 0)

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """A capsule with an Arrow stream of one batch. Another schema than its own, which nobody has to heed, is not."""
        return _native.arrow_stream(self._plain())

    def _plain(self) -> list[tuple[str, str, list[Any]]]:
        return [(name, kind, values) for name, (kind, values) in self._columns.items()]

    def to_pandas(self) -> Any:
        """The same as a ``pandas.DataFrame``, with types that have room for what is missing.

        Raises:
            NotFoundError: pandas is not installed.
        """
        pandas = _library("pandas")
        kinds = {name: _PANDAS[kind] for name, (kind, _) in self._columns.items()}
        return pandas.DataFrame(
            {name: pandas.Series(values, dtype=kinds[name]) for name, values in self.columns.items()}
        )

    def to_polars(self) -> Any:
        """The same as a ``polars.DataFrame``.

        Raises:
            NotFoundError: polars is not installed.
        """
        return _library("polars").DataFrame(self)

    def to_arrow(self) -> Any:
        """The same as a ``pyarrow.Table``.

        Raises:
            NotFoundError: pyarrow is not installed.
        """
        return _library("pyarrow").table(self)

    def __reduce__(self) -> Any:
        return Table, (self._plain(),)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from dirigent._cell import of_table

        return {"text/plain": repr(self), "text/html": of_table(self)}

    def __repr__(self) -> str:
        return f"<Table of {len(self)} rows: {', '.join(self._columns)}>"


def table_of(session: Session, of: str) -> Table:
    """A table of a run."""
    if of not in OF_A_RUN:
        raise UsageError(f"a run has tables of {', '.join(OF_A_RUN)}, not of {of!r}", "usage.invalid")
    return Table(_native.run_columns(session, of))


def _moment(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else _EPOCH + timedelta(milliseconds=at_ms)


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise  # it is there, and lacks something of its own
        raise NotFoundError(
            f"{name} is not installed\nhint: `pip install {name}`; `table.columns` has the columns as lists",
            "usage.not_installed",
        ) from None
