"""Values that the journal cannot keep: they reach who needs them, the reason is recorded, and nobody waits for long."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import dirigent
import pytest
from dirigent import ValueNotKeptError, Workflow

from tests.children import DEADLINE_S
from tests.oracle import check
from tests.workflows import ended


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


class Raising:
    """Everything that may be asked of it raises."""

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("not to be pickled")

    def __repr__(self) -> NoReturn:
        raise RuntimeError("no text")

    def __eq__(self, other: object) -> NoReturn:
        raise RuntimeError("not to be compared")

    def __del__(self) -> NoReturn:
        raise RuntimeError("not to be thrown away")

    __hash__ = None  # type: ignore[assignment]


class Exiting:
    """To pickle it ends the thread."""

    def __reduce__(self) -> NoReturn:
        raise SystemExit(3)


class Mute(Exception):
    """It has no text."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("no text")


class RaisingMutely:
    """It cannot be said why it cannot be pickled."""

    def __reduce__(self) -> NoReturn:
        raise Mute


class Hanging:
    """To pickle it takes for ever."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __reduce__(self) -> NoReturn:
        self.over.wait()
        raise RuntimeError("over")


class FailingToLoad:
    """It can be pickled, and not read back."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def deep(levels: int = 100_000) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def deep_dict() -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(100_000):
        value = {"in": value}
    return value


def in_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


#: What makes a value, and how the reason begins for which it is not kept; none where it is.
VALUES: dict[str, tuple[Any, str | None]] = {
    "a lock": (threading.Lock, "it cannot be pickled: TypeError"),
    "a lambda": (lambda: lambda: 1, "it cannot be pickled: "),
    "a generator": (lambda: (n for n in range(3)), "it cannot be pickled: TypeError"),
    "of a class of nobody": (lambda: type("Local", (), {})(), "it cannot be pickled: "),
    "raising": (Raising, "it cannot be pickled: RuntimeError: not to be pickled"),
    "exiting": (Exiting, "it cannot be pickled: SystemExit: 3"),
    "mute": (RaisingMutely, "it cannot be pickled: Mute"),
    "raising deep inside": (lambda: {"a": [1, (Raising(),)]}, "it cannot be pickled: RuntimeError"),
    "a deep list": (deep, "it cannot be pickled: RecursionError"),
    "a deep dictionary": (deep_dict, "it cannot be pickled: RecursionError"),
    "large bytes": (lambda: bytes(65 << 20), "it takes 65 MiB, and 64 are kept"),
    "large text": (lambda: "x" * (65 << 20), "it takes 65 MiB, and 64 are kept"),
    "in itself": (in_itself, None),
    "not to be read back": (FailingToLoad, None),
}


def recorded(run: str) -> dict[str, Any]:
    """What is recorded of the value of each task."""
    told = dirigent.attach(run)
    names = list(told.tasks)
    ends = [event for event in told.events() if event["kind"] == "attempt_ended"]
    return {names[end["task"]]: end.get("value") for end in ends}


@pytest.mark.fault("P2", "values that cannot be recorded")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_cannot_be_kept_reaches_who_needs_it(tmp_path: Path, kind: str) -> None:
    make, why = VALUES[kind]
    seen: list[int] = []
    wf = Workflow("values").add_task("value", make)
    wf.add_task("after", lambda value: seen.append(id(value)), dependencies=["value"])
    run = ended(wf)
    assert run.ok and seen == [id(run["value"])]
    assert check(tmp_path / "state", run.id) == "succeeded"
    kept = recorded(run.id)["value"]
    if why is None:
        assert kept["kept"] == "inline"
        return
    assert kept["kept"] == "not_kept" and kept["why"].startswith(why), kept
    with pytest.raises(ValueNotKeptError, match="the value was not kept: it "):
        dirigent.attach(run.id)["value"]
    assert dirigent.attach(run.id)["after"] is None


@pytest.mark.fault("P2", "a value whose pickle never ends")
def test_a_value_that_takes_for_ever_to_pickle_holds_nobody_up(tmp_path: Path) -> None:
    made = [Hanging() for _ in range(4)]
    calls = iter(made)
    wf = Workflow("values").add_map("hanging", lambda _: next(calls), range(4))
    for i in range(20):
        wf.add_task(f"neighbour {i}", lambda: (1, 2))
    wf.add_task("after", lambda hanging: len(hanging), dependencies=["hanging"])
    since = time.monotonic()
    run = ended(wf)
    # Each is given 5 s, and they do not wait for each other.
    assert time.monotonic() - since < DEADLINE_S
    for value in made:
        value.over.set()
    assert run.ok and run["after"] == 4
    kept = recorded(run.id)
    assert [kept[f"hanging[{i}]"]["why"] for i in range(4)] == ["its pickle was not made in 5 s"] * 4
    assert kept["neighbour 3"]["kept"] == "inline"
    assert check(tmp_path / "state", run.id) == "succeeded"


@pytest.mark.fault("P2", "a value that cannot be read back")
def test_a_value_that_cannot_be_read_back_raises_for_whoever_asks(tmp_path: Path) -> None:
    run = ended(Workflow("values").add_task("value", FailingToLoad).add_task("other", lambda: 1))
    again = dirigent.attach(run.id)
    with pytest.raises(ValueError, match="no number"):
        again["value"]
    assert again["other"] == 1
