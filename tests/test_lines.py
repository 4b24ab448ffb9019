"""The line to a process that serves functions: frames of any size, in both directions, whatever interrupts them."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dirigent import Workflow, _native

from tests.children import DEADLINE_S, wait_for
from tests.workflows import ended

KIB = 1 << 10
SIZES = [0, 1, 15, 16, 17, 64 * KIB - 17, 64 * KIB - 16, 64 * KIB, 64 * KIB + 1, 200 * KIB, 5 << 20]


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))


def two_ends() -> tuple[_native.Line, _native.Line]:
    here, there = socket.socketpair()
    return _native.Line(here.detach()), _native.Line(there.detach())


def test_frames_of_every_size_arrive_as_they_were_sent() -> None:
    here, there = two_ends()

    def echo() -> None:
        head, body = there.receive()
        while head != b"end":
            head, body = there.exchange(body, head)
        there.send(b"", b"")

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    for head_size in SIZES:
        for body_size in SIZES:
            head, body = b"h" * head_size, b"b" * body_size
            assert here.exchange(head, body) == (body, head)
    here.exchange(b"end", b"")
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_frames_that_come_at_once_are_taken_one_by_one() -> None:
    here, there = two_ends()
    frames = [(b"%d" % size, b"x" * size) for size in (3, 0, 500, 20_000, 7)]
    for frame in frames:
        here.send(*frame)
    assert [there.receive() for _ in frames] == frames


def test_a_frame_that_comes_in_pieces_is_put_together() -> None:
    raw, there = socket.socketpair()
    line = _native.Line(there.detach())
    frame = (3).to_bytes(8, "little") + (5).to_bytes(8, "little") + b"abc12345"

    def drip() -> None:
        for place in range(len(frame)):
            raw.send(frame[place : place + 1])
            time.sleep(0.001)

    threading.Thread(target=drip, daemon=True).start()
    assert line.receive() == (b"abc", b"12345")


@pytest.mark.parametrize("sent", [0, 7, 16, 18])
def test_a_line_that_ends_within_a_frame_is_an_error(sent: int) -> None:
    raw, there = socket.socketpair()
    raw.send(((3).to_bytes(8, "little") + (5).to_bytes(8, "little") + b"abc12345")[:sent])
    raw.close()
    with pytest.raises(OSError, match=r"end of file|whole buffer"):
        _native.Line(there.detach()).receive()


def test_closing_a_line_ends_the_wait_for_an_answer() -> None:
    here, _there = two_ends()
    problems: list[OSError] = []

    def ask() -> None:
        try:
            here.exchange(b"", b"")
        except OSError as error:
            problems.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    here.close()
    thread.join(DEADLINE_S)
    assert len(problems) == 1


def test_ctrl_c_gets_through_to_whoever_waits_for_a_frame() -> None:
    code = """
import signal, socket
from dirigent import _native

hits = []

def hit(*_):
    hits.append(1)
    if len(hits) == 1:
        raise KeyboardInterrupt

here, there = socket.socketpair()
line = _native.Line(here.detach())
try:
    signal.signal(signal.SIGINT, hit)
    print("waits", flush=True)
    line.receive()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        watchdog = threading.Timer(DEADLINE_S, program.kill)
        watchdog.start()
        assert program.stdout.readline() == "waits\n"
        # So that it mostly does wait; where it comes to that later, it is hit before.
        time.sleep(0.2)
        program.send_signal(signal.SIGINT)
        assert program.stdout.readline() == "interrupted\n"
        watchdog.cancel()


def test_values_of_every_size_go_to_a_process_and_come_back() -> None:
    wf = Workflow("sizes", max_concurrency=2)
    for size in SIZES:
        wf.add_task(f"bytes {size}", lambda data: data, args=(b"x" * size,), isolation="process")
        wf.add_task(f"list {size}", lambda data: data, args=([b"x" * size],), isolation="process")
    run = ended(wf)
    assert all(run[f"bytes {size}"] == b"x" * size for size in SIZES)
    assert all(run[f"list {size}"] == [b"x" * size] for size in SIZES)


class Word(str):
    """Not every str is one."""

    __slots__ = ()


def test_plain_values_and_others_arrive_as_what_they_are() -> None:
    values: list[Any] = [
        None,
        True,
        -(1 << 80),
        0.1,
        "ä\ud800",
        b"\0",
        (),
        [1],
        {"a": Word("w")},
        Word("own"),
        len,
    ]
    wf = Workflow("values")
    for place, value in enumerate(values):
        wf.add_task(
            f"{place}",
            lambda value, *, by: (value, by),
            args=(value,),
            kwargs={"by": value},
            isolation="process",
        )
        wf.add_task(f"alone {place}", lambda value: value, args=(value,), isolation="process")
    run = ended(wf)
    for place, value in enumerate(values):
        assert run[f"{place}"] == (value, value) and type(run[f"{place}"][0]) is type(value)
        assert run[f"alone {place}"] == value and type(run[f"alone {place}"]) is type(value)


def test_a_handler_of_a_signal_runs_while_the_process_waits_for_its_next_call(tmp_path: Path) -> None:
    told = tmp_path / "told"

    def wind_up() -> int:
        # Well after this has returned.
        signal.signal(signal.SIGALRM, lambda *_: told.write_text(str(os.getpid())))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        return os.getpid()

    run = ended(Workflow("alarm").add_task("x", wind_up, isolation="process"))
    wait_for("the handler", lambda: told.exists() and told.read_text() == str(run["x"]))
    again = ended(Workflow("again").add_task("x", os.getpid, isolation="process"))
    assert again["x"] != os.getpid()


def test_a_run_keeps_nothing_of_the_processes_that_its_attempts_were_in() -> None:
    wf = Workflow("many", max_concurrency=2)
    for number in range(50):
        wf.add_task(f"{number}", lambda: None, isolation="process")
    run = ended(wf)
    assert run.ok
    ways_to_end = [it for it in gc.get_referents(run._session) if isinstance(it, partial)]
    # That of the last attempt of each thread.
    assert len(ways_to_end) <= 8
