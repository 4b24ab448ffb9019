"""The program in a real terminal: the live picture, Ctrl-C once and twice, Ctrl-Z, other signals."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import unicodedata
from pathlib import Path

import pytest

from tests.children import (
    DEADLINE_S,
    Ledger,
    Process,
    events,
    lives,
    only_run,
    started,
    stat_of,
    summary,
    wait_for,
    write_script,
)
from tests.terminals import Terminal

pytestmark = pytest.mark.needs("tmux")


def command(program: Path, tmp_path: Path, *options: str) -> str:
    """The line that runs the scripts, and tells the exit code in words that the line itself does not hold."""
    argv = [str(program), "run", "scripts", "--state-dir", str(tmp_path / "state"), *options]
    return f"{shlex.join(argv)}; echo it exited'' with $?"


def stays(ledger: Ledger, asked: Path) -> str:
    """A script that stays until it is asked to end, and then says so."""
    return f"trap 'echo asked > {asked}; exit 1' INT\n{ledger.sign}\nwhile :; do sleep 0.05; done"


def test_the_picture_shows_the_bar_what_runs_and_failures(
    program: Path, tmp_path: Path, terminal: Terminal
) -> None:
    go_on = tmp_path / "go-on"
    write_script(tmp_path / "scripts" / "fails.sh", "echo the reason >&2; exit 5")
    for name in ("one.sh", "two.sh"):
        write_script(tmp_path / "scripts" / name, f"while ! [ -e {go_on} ]; do sleep 0.05; done")
    terminal.type(command(program, tmp_path, "--jobs", "2"))
    terminal.wait_for("▸ two.sh")
    shown = terminal.wait_for("1/3")
    assert "▸ one.sh" in shown and "1 failed" in shown
    assert "\u2573" in shown and "╌" in shown
    assert "✗ fails.sh" in shown and "│ the reason" in shown
    go_on.touch()
    shown = terminal.wait_for("it exited with 1")
    assert "▸" not in shown, "the picture is left behind"
    assert "3 scripts in" in shown and "✗ 1 failed" in shown and "✓ 2 completed" in shown


@pytest.mark.fault("E5", "Ctrl-C in a real terminal")
def test_one_ctrl_c_asks_and_starts_nothing_new(
    program: Path, tmp_path: Path, terminal: Terminal, ledger: Ledger
) -> None:
    asked = tmp_path / "asked"
    write_script(tmp_path / "scripts" / "a.sh", stays(ledger, asked))
    write_script(tmp_path / "scripts" / "b.sh", "exit 0")
    terminal.type(command(program, tmp_path, "--jobs", "1"))
    ledger.wait_for(1)
    terminal.press("C-c")
    terminal.wait_for("it exited with 130")
    assert asked.read_text() == "asked\n"
    tasks = summary(only_run(tmp_path / "state"))["tasks"]
    assert [(task["status"], task["attempts"]) for task in tasks] == [("cancelled", 1), ("cancelled", 0)]
    assert not ledger.alive()


@pytest.mark.fault("E5", "Ctrl-C twice in a real terminal")
def test_a_second_ctrl_c_ends_what_does_not_listen(
    program: Path, tmp_path: Path, terminal: Terminal, ledger: Ledger
) -> None:
    body = f'trap "" INT TERM HUP\n{ledger.sign}\nsetsid sh -c "sleep 600" &\nwhile :; do sleep 0.05; done'
    write_script(tmp_path / "scripts" / "deaf.sh", body)
    terminal.type(command(program, tmp_path, "--grace", "10m"))
    ledger.wait_for(1)
    terminal.press("C-c")
    terminal.wait_for("once more kills it")
    assert ledger.alive()
    terminal.press("C-c")
    terminal.wait_for("it exited with 130")
    assert not ledger.alive()


@pytest.mark.fault("E6", "Ctrl-Z and `fg` in a real terminal")
def test_ctrl_z_stops_everything_and_fg_goes_on(
    program: Path, tmp_path: Path, terminal: Terminal, ledger: Ledger
) -> None:
    go_on = tmp_path / "go-on"
    body = f"{ledger.sign}\nwhile ! [ -e {go_on} ]; do :; done"
    write_script(tmp_path / "scripts" / "a.sh", body)
    terminal.type(command(program, tmp_path))
    ledger.wait_for(1)
    [child] = ledger.processes()
    terminal.wait_for("▸ a.sh")
    terminal.press("C-z")
    terminal.wait_for("Stopped")
    assert stat_of(child.pid)[0] == "T"
    assert "▸" not in terminal.screen(), "the picture is left behind"
    terminal.type("fg; echo it ended'' with $?")
    terminal.wait_for("▸ a.sh")
    wait_for("the child to go on", lambda: stat_of(child.pid)[0] != "T")
    go_on.touch()
    terminal.wait_for("it ended with 0")
    happened = [event["kind"] for event in events(only_run(tmp_path / "state"))]
    assert happened.index("run_suspended") < happened.index("run_continued") < happened.index("run_ended")
    assert happened.count("attempt_started") == 1


@pytest.mark.fault("C6", "escape sequences in a real terminal")
def test_escape_sequences_never_reach_the_terminal(program: Path, tmp_path: Path, terminal: Terminal) -> None:
    evil = r"printf 'begin\033[2J\033]0;stolen\007\033[31m\033[Hend\n'; exit 1"
    write_script(tmp_path / "scripts" / "a\x1b[2J\x1b]0;stolen\x07z.sh", evil)
    terminal.type("echo it was here'' before")
    terminal.type(f"tmux -L {terminal.name} set-option -g allow-rename on; {command(program, tmp_path)}")
    shown = terminal.wait_for("it exited with 1")
    assert "it was here before" in shown
    assert "begin" in shown and "end" in shown
    assert terminal.tmux("display-message", "-p", "#{pane_title}").strip() != "stolen"


def test_a_narrow_terminal_keeps_the_picture_within_its_width(program: Path, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    waits = f"while ! [ -e {go_on} ]; do sleep 0.05; done"
    for name in (f"{'very_' * 20}long.sh", "日本語" * 15 + ".sh"):
        write_script(tmp_path / "scripts" / name, waits)
    terminal = Terminal(tmp_path, columns=40, rows=20)
    try:
        terminal.type(command(program, tmp_path, "--jobs", "2"))
        terminal.wait_for("0/2")
        # The picture has been drawn over itself a few times when the clock in it has moved.
        wait_for("a second in the picture", lambda: re.search(r"0/2.* [1-9]\d* s", terminal.screen()))
        shown = terminal.screen()
        # One bar, and a line a script: nothing wrapped and nothing was left standing.
        assert shown.count("0/2") == 1, shown
        assert len(re.findall(r"^  ▸ ", shown, re.MULTILINE)) == 2, shown
        for line in shown.splitlines():
            if "▸" in line or "0/2" in line:
                wide = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
                assert wide < 40, line
        go_on.touch()
        terminal.wait_for("it exited with 0")
    finally:
        go_on.touch()
        terminal.close()


@pytest.mark.fault("E5", "signals from elsewhere")
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_signal_from_elsewhere_asks_like_the_terminal(
    program: Path, tmp_path: Path, ledger: Ledger, number: signal.Signals, code: int
) -> None:
    body = f"{ledger.sign}\n(setsid sleep 600 &)\nexec sleep 600"
    write_script(tmp_path / "scripts" / "a.sh", body)
    argv: list[str | Path] = [program, "run", tmp_path / "scripts", "--state-dir", tmp_path / "state"]
    argv += ["--grace", "300ms"]
    with started(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as engine:
        ledger.wait_for(1)
        engine.send_signal(number)
        assert engine.wait(DEADLINE_S) == code
    run = only_run(tmp_path / "state")
    assert summary(run)["verdict"] == "cancelled"
    assert [event["kind"] for event in events(run)][-1] == "run_ended"
    assert not ledger.alive()


def test_nohup_is_respected(program: Path, tmp_path: Path, ledger: Ledger) -> None:
    go_on = tmp_path / "go-on"
    write_script(tmp_path / "scripts" / "a.sh", f"{ledger.sign}\nwhile ! [ -e {go_on} ]; do sleep 0.05; done")
    argv: list[str | Path] = ["nohup", program, "run", tmp_path / "scripts"]
    argv += ["--state-dir", tmp_path / "state"]
    with started(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as engine:
        ledger.wait_for(1)
        engine.send_signal(signal.SIGHUP)
        engine.send_signal(signal.SIGCONT)
        go_on.touch()
        assert engine.wait(DEADLINE_S) == 0


@pytest.mark.fault("E5", "a terminal that is closed")
def test_a_closed_terminal_ends_the_run_and_what_it_started(
    program: Path, tmp_path: Path, ledger: Ledger
) -> None:
    write_script(tmp_path / "scripts" / "a.sh", f"{ledger.sign}\nexec sleep 600")
    terminal = Terminal(tmp_path)
    terminal.type(command(program, tmp_path))
    ledger.wait_for(1)
    [child] = ledger.processes()
    engine = int(stat_of(int(stat_of(child.pid)[1]))[1])
    program_itself = Process(engine, stat_of(engine)[19])
    terminal.close()
    wait_for("the end of the script", lambda: not ledger.alive())
    wait_for("the end of the program", lambda: not lives(program_itself))
    assert events(only_run(tmp_path / "state"))[-1]["kind"] == "run_ended"
