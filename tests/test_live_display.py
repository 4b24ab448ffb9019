"""The picture of a run in a terminal: fan-outs, the time left, other sizes, and that nothing of it is ever left behind."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import termios
import time
from functools import partial
from pathlib import Path

import pytest

from tests.children import DEADLINE_S, children_of, started, wait_for
from tests.terminals import Terminal

#: What stands in a row of the picture and nowhere else.
BAR = re.compile(r"[━\u2573╌]{4}|^ +[▸↻?] ", re.MULTILINE)
WHOLE = re.compile(r"^.*\d+/\d+.*$", re.MULTILINE)
COLOURED = re.compile(r"\x1b\[[0-9;]*3[0-9]m")

needs_tmux = pytest.mark.needs("tmux")


def waits(go_on: Path) -> str:
    """A line of shell that stays until it may go on."""
    return f"while ! [ -e {go_on} ]; do sleep 0.05; done"


def command(program: Path, folder: Path, text: str, *options: str) -> str:
    """Write a workflow file; the line that runs it, and tells the exit code in words that it does not hold itself."""
    (folder / "flow.yaml").write_text(text)
    argv = [str(program), "run", "flow.yaml", "--state-dir", "state", "--report", "none", *options]
    return f"clear; {shlex.join(argv)}; echo it exited'' with $?"


def columns(line: str) -> int:
    """How wide it is: nothing here is wider than a column."""
    return len(line.rstrip())


@needs_tmux
def test_a_fan_out_is_one_row_and_what_failed_is_told_by_sign_and_word(
    program: Path, tmp_path: Path, terminal: Terminal
) -> None:
    go_on = tmp_path / "go-on"
    shell = f'case "${{{{ item }}}}" in 1|2|3) exit 0;; 4|5) exit 1;; esac; {waits(go_on)}'
    text = f"tasks: {{shards: {{each: [1, 2, 3, 4, 5, 6, 7, 8, 9], shell: '{shell.replace(chr(39), chr(34))}'}}}}"
    terminal.type(command(program, tmp_path, text, "--jobs", "3", "--keep-going"))
    shown = terminal.wait_for("5/9")
    [row] = [line for line in shown.splitlines() if line.startswith("  ▸ ")]
    assert re.search(r"▸ shards +\d+ s  [━\u2573╌]{12} 5/9  ✗ 2 failed · ▸ 3 running", row), row
    assert re.search(r"5/10 .*✗ 2 failed · ▸ 3 running · ✓ 3 completed", shown), shown
    assert "✗ shards[4]  failed with exit code 1" in shown
    go_on.touch()
    shown = terminal.wait_for("it exited with 1")
    assert not BAR.search(shown), shown


@needs_tmux
def test_parts_of_a_workflow_in_a_workflow_stand_below_it(
    program: Path, tmp_path: Path, terminal: Terminal
) -> None:
    go_on = tmp_path / "go-on"
    (tmp_path / "inner.yaml").write_text(
        f"tasks: {{first: {{shell: '{waits(go_on)}'}}, second: {{run: [echo], needs: [first]}}}}"
    )
    text = f"tasks: {{inner: {{workflow: inner.yaml}}, beside: {{shell: '{waits(go_on)}'}}}}"
    terminal.type(command(program, tmp_path, text, "--jobs", "2"))
    wait_for("both rows", lambda: all(name in terminal.screen() for name in ("▸ first", "▸ beside")))
    rows = [line.split()[:2] for line in terminal.screen().splitlines() if re.match(r" +▸ ", line)]
    assert rows == [["▸", "inner"], ["▸", "first"], ["▸", "beside"]]
    assert re.search(r"^  ▸ inner .* 0/2  ▸ 1 running$\n^    ▸ first ", terminal.screen(), re.MULTILINE)
    go_on.touch()
    assert not BAR.search(terminal.wait_for("it exited with 0"))


@needs_tmux
def test_what_functions_print_stands_above_the_picture(
    program: Path, tmp_path: Path, terminal: Terminal
) -> None:
    go_on = tmp_path / "go-on"
    (tmp_path / "flows.py").write_text(f"""
import os, sys, time
from dirigent import Workflow

def talks(n):
    while not os.path.exists({str(go_on)!r}):
        print("item", n, "is worked on", file=sys.stderr if n % 2 else sys.stdout)
        time.sleep(0.2)
    print("not ended", end="")

wf = Workflow("talking")
for n in range(3):
    wf.add_task(f"t{{n}}", talks, args=(n,))
""")
    terminal.type(f"clear; {program} run flows.py:wf --state-dir state --jobs 3; echo it exited'' with $?")
    terminal.wait_for(" 3 s")
    shown = terminal.screen()
    assert len(WHOLE.findall(shown)) == 1, shown
    assert len(re.findall(r"^  ▸ t\d ", shown, re.MULTILINE)) == 3, shown
    lines = [line for line in shown.splitlines() if "worked" in line and "▸" not in line]
    assert len(lines) > 20 and all(re.fullmatch(r"item \d is worked on", line) for line in lines), shown
    go_on.touch()
    shown = terminal.wait_for("it exited with 0")
    assert not BAR.search(shown) and shown.count("not ended") == 3, shown


@needs_tmux
def test_the_time_left_is_told_from_history_and_not_without(
    program: Path, tmp_path: Path, terminal: Terminal
) -> None:
    text = "tasks: {a: {shell: 'sleep $LASTS'}, b: {shell: 'sleep $LASTS'}}"
    line = command(program, tmp_path, text, "--jobs", "2")
    terminal.type(f"export LASTS=6; {line}")
    terminal.wait_for("3 s")
    terminal.wait_for("4 s")
    assert " left" not in terminal.screen()
    terminal.wait_for("it exited with 0")
    # One after the other takes twice as long.
    terminal.type(f"export LASTS=600; {line.replace('--jobs 2', '--jobs 1')}")
    terminal.wait_for(" left")
    shown = WHOLE.findall(terminal.screen())[-1]
    told = re.search(r" (\d+) s  about (\d+) s left$", shown)
    assert told, shown
    elapsed_s, left_s = int(told[1]), int(told[2])
    assert abs(elapsed_s + left_s - 12) <= 2, shown
    terminal.press("C-c")
    terminal.wait_for("it exited with 130")


def is_drawn(terminal: Terminal, size: tuple[int, int], seen: set[str]) -> bool:
    """Whether six tasks and their whole fill their rows, and a second later again, since it is drawn over itself then."""
    shown = terminal.screen()
    rows = [line for line in shown.splitlines() if BAR.search(line) or "more" in line]
    if len(rows) == min(7, size[1] - 3) and max(map(columns, rows)) < size[0]:
        seen |= set(re.findall(r"0/6 .*?(\d+) s", shown))
    return len(seen) > 1


@needs_tmux
def test_another_size_in_the_middle_leaves_nothing_behind(
    program: Path, tmp_path: Path, terminal: Terminal
) -> None:
    go_on = tmp_path / "go-on"
    names = [f"a_task_with_a_name_that_is_rather_long_{n}" for n in range(6)]
    lines = [f"  {name}: {{shell: 'echo {'words ' * 20}; {waits(go_on)}'}}\n" for name in names]
    line = command(program, tmp_path, "tasks:\n" + "".join(lines), "--jobs", "6")
    # At the end of a full screen: where there is nothing below it, tmux moves what it breaks anew out of everybody's reach.
    terminal.type(line.replace("clear;", "clear; seq 60;"))
    for size in [(100, 30), (44, 30), (160, 40), (61, 40), (61, 12), (61, 8), (100, 30)]:
        terminal.resize(*size)

        seen: set[str] = set()
        try:
            wait_for(f"a picture of {size}", partial(is_drawn, terminal, size, seen), within_s=30)
        except AssertionError as error:
            raise AssertionError(f"{error}; the terminal shows:\n{terminal.screen()}") from None
        assert len(WHOLE.findall(terminal.screen())) == 1, terminal.screen()
    go_on.touch()
    assert not BAR.search(terminal.wait_for("it exited with 0"))


@needs_tmux
def test_more_tasks_than_rows_are_counted(program: Path, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    lines = [f"  t{n}: {{shell: '{waits(go_on)}'}}\n" for n in range(50)]
    terminal = Terminal(tmp_path, columns=40, rows=12)
    try:
        terminal.type(command(program, tmp_path, "tasks:\n" + "".join(lines), "--jobs", "50"))
        shown = terminal.wait_for("… and 43 more")
        assert len(re.findall(r"^  ▸ t\d+ ", shown, re.MULTILINE)) == 7, shown
    finally:
        go_on.touch()
        terminal.close()


@needs_tmux
@pytest.mark.parametrize("setting", ["NO_COLOR=1", "LC_ALL=C", "TERM=linux"])
def test_colours_and_signs_are_only_for_those_who_have_them(
    program: Path, tmp_path: Path, terminal: Terminal, setting: str
) -> None:
    go_on = tmp_path / "go-on"
    text = f"tasks: {{bad: {{shell: 'exit 1'}}, good: {{shell: '{waits(go_on)}'}}}}"
    terminal.type(f"export {setting}; {command(program, tmp_path, text, '--jobs', '2', '--keep-going')}")
    terminal.wait_for("1/2")
    shown = terminal.screen("-e")
    assert bool(COLOURED.search(shown)) == (setting != "NO_COLOR=1")
    plain = terminal.screen()
    if setting == "NO_COLOR=1":
        assert "✗ 1 failed · ▸ 1 running" in plain and "▸ good" in plain
    else:
        assert plain.isascii(), plain
        assert "x 1 failed , > 1 running" in plain and "> good" in plain
    go_on.touch()
    terminal.wait_for("it exited with 1")


@needs_tmux
def test_a_killed_program_leaves_the_terminal_as_it_was(
    program: Path, tmp_path: Path, terminal: Terminal
) -> None:
    flags = "#{cursor_flag} #{alternate_on} #{wrap_flag} #{insert_flag}"
    before = terminal.tmux("display-message", "-p", flags)
    terminal.type("stty -a > before")
    terminal.type(command(program, tmp_path, "tasks: {a: {shell: 'sleep 600'}}"))
    terminal.wait_for("▸ a")
    [engine] = children_of(int(terminal.tmux("display-message", "-p", "#{pane_pid}")))
    os.kill(engine.pid, signal.SIGKILL)
    terminal.wait_for("it exited with 137")
    terminal.type("stty -a > after; echo it is'' over")
    terminal.wait_for("it is over")
    assert terminal.tmux("display-message", "-p", flags) == before
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


def test_little_is_written_where_little_happens(program: Path, tmp_path: Path) -> None:
    """Straight from a terminal: whole frames, one a second where nothing but the clocks moves, and only what differs."""
    (tmp_path / "flow.yaml").write_text("tasks: {quite_a_long_name: {shell: 'sleep 600'}}")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    argv = [program, "run", "flow.yaml", "--state-dir", "state", "--report", "none"]
    environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    with started(argv, cwd=tmp_path, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        written, deadline = "", time.monotonic() + DEADLINE_S
        while not re.search(r" 4 s", written):
            assert time.monotonic() < deadline, written
            written += os.read(ours, 1 << 16).decode(errors="replace")
    os.close(ours)
    frames = re.findall(r"\x1b\[\?2026h.*?\x1b\[\?2026l", written, re.DOTALL)
    assert "".join(frames) == written[: sum(map(len, frames))]
    # Four seconds, and what happened at the beginning.
    assert 3 <= len(frames) <= 7, frames
    assert all(len(frame) < 400 for frame in frames), frames
