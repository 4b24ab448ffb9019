"""Watching: what makes a run run again and what does not, and that nothing goes in circles or is left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.children import DEADLINE_S, Ledger, Process, kinds, started, stat_of, wait_for, write_script

ROUND = re.compile(
    r"^round (\d+) +(.*?): (?:the run|run ([\w-]+)) (.*) in [\d.]+ \w+(?:; (.*))?$", re.MULTILINE
)


class Watch:
    """A watch that is under way, and what it has told."""

    def __init__(self, process: subprocess.Popen[str], told: Path) -> None:
        self.process = process
        self.path = told

    def told(self) -> str:
        """Everything so far."""
        return self.path.read_text()

    def rounds(self) -> list[tuple[str, str]]:
        """What each run was for, and its verdict."""
        return [(why, verdict) for _, why, _, verdict, _ in ROUND.findall(self.told())]

    def wait(self, count: int) -> list[tuple[str, str]]:
        """Wait until so many runs have ended."""
        wait_for(f"{count} rounds", lambda: len(self.rounds()) >= count or self.process.poll() is not None)
        return self.rounds()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with a script, some data, and a folder that git ignores."""
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "dirigent.toml").write_text('skip = ["*.skipped"]\n[run]\nreport = []\n')
    (folder / ".gitignore").write_text("ignored/\n")
    (folder / "data.csv").write_text("1")
    (folder / "sub/more.csv").write_text("1")
    write_script(folder / "a.sh", "exit 0")
    return folder


Watching = Callable[..., "contextmanager[Watch]"]


@pytest.fixture
def watching(program: Path, tmp_path: Path, folder: Path) -> Callable[..., Iterator[Watch]]:
    """Starts a watch of the project, and waits for its first run."""

    @contextmanager
    def watch(*argv: str | Path, first: int = 1, target: Path = folder) -> Iterator[Watch]:
        told = tmp_path / "told"
        with told.open("w") as file:
            command = [program, "watch", target, "--debounce", "50ms", *argv]
            with started(command, stdout=subprocess.DEVNULL, stderr=file, cwd=folder) as process:
                watch = Watch(process, told)
                watch.wait(first)
                yield watch

    return watch  # type: ignore[return-value]


def in_place(folder: Path) -> None:
    (folder / "a.sh").write_text("#!/bin/bash\nexit 0 # in place\n")


def renamed_over(folder: Path) -> None:
    write_script(folder / ".a.sh.new", "exit 0 # renamed over")
    (folder / ".a.sh.new").rename(folder / "a.sh")


def moved_aside_first(folder: Path) -> None:
    (folder / "a.sh").rename(folder / "a.sh~")
    write_script(folder / "a.sh", "exit 0 # moved aside first")


def deleted_and_created(folder: Path) -> None:
    (folder / "a.sh").unlink()
    write_script(folder / "a.sh", "exit 0 # deleted and created")


def data(folder: Path) -> None:
    (folder / "sub/more.csv").write_text("2")


def configuration(folder: Path) -> None:
    (folder / "dirigent.toml").write_text("[run]\nreport = []\njobs = 1\n")


def new_file(folder: Path) -> None:
    (folder / "b.csv").write_text("")


def new_folders(folder: Path) -> None:
    (folder / "x/y/z").mkdir(parents=True)
    (folder / "x/y/z/c.csv").write_text("")


def gone(folder: Path) -> None:
    (folder / "data.csv").unlink()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (in_place, "a.sh changed"),
        (renamed_over, "a.sh changed"),
        (moved_aside_first, "a.sh changed"),
        (deleted_and_created, "a.sh changed"),
        (data, "sub/more.csv changed"),
        (configuration, "dirigent.toml changed"),
        (new_file, "b.csv (new) changed"),
        (new_folders, "x/y/z/c.csv (new) changed"),
        (gone, "data.csv (gone) changed"),
    ],
)
def test_a_change_runs_again_however_it_was_saved(
    watching: Watching, folder: Path, change: Callable[[Path], None], why: str
) -> None:
    with watching() as watch:
        change(folder)
        assert watch.wait(2) == [("first run", "succeeded"), (why, "succeeded")]
        (folder / "data.csv").write_text("once more")
        assert len(watch.wait(3)) == 3


def test_a_folder_may_go_away_and_come_back(watching: Watching, folder: Path) -> None:
    with watching() as watch:
        (folder / "sub").rename(folder.parent / "away")
        assert watch.wait(2)[1] == ("sub/more.csv (gone) changed", "succeeded")
        (folder.parent / "away").rename(folder / "sub")
        assert watch.wait(3)[2] == ("sub/more.csv (new) changed", "succeeded")
        data(folder)
        assert watch.wait(4)[3] == ("sub/more.csv changed", "succeeded")


def test_a_folder_that_was_away_for_a_moment_is_still_watched(watching: Watching, folder: Path) -> None:
    with watching() as watch:
        (folder / "sub").rename(folder.parent / "away")
        (folder.parent / "away").rename(folder / "sub")
        in_place(folder)
        assert watch.wait(2)[1] == ("a.sh changed", "succeeded")
        data(folder)
        assert watch.wait(3)[2] == ("sub/more.csv changed", "succeeded")


def test_the_target_itself_may_go_away_and_come_back(watching: Watching, folder: Path) -> None:
    target = folder / "sub"
    write_script(target / "b.sh", "exit 0")
    with watching(target=target) as watch:
        target.rename(folder / "away")
        assert watch.wait(2)[1][1] == "could not run (exit code 3)"
        (folder / "away").rename(target)
        assert watch.wait(3)[2][1] == "succeeded"
        data(folder)
        assert watch.wait(4)[3] == ("sub/more.csv changed", "succeeded")


def test_what_does_not_count_runs_nothing(watching: Watching, folder: Path) -> None:
    (folder / "ignored").mkdir()
    with watching() as watch:
        for name in ("ignored/x.csv", "x.skipped", "a.sh~", ".a.sh.swp", "4913", ".dirigent/x", "x.tmp"):
            (folder / name).write_text("x")
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__/a.pyc").write_text("x")
        (folder / "data.csv").touch()
        (folder / "a.sh").write_text((folder / "a.sh").read_text())
        data(folder)
        assert watch.wait(2)[1] == ("sub/more.csv changed", "succeeded")
        gone(folder)
        assert watch.wait(3)[2] == ("data.csv (gone) changed", "succeeded")


def test_what_a_run_writes_does_not_run_it_again(watching: Watching, folder: Path) -> None:
    write_script(folder / "a.sh", "date +%s%N > out.csv; date +%s%N >> data.csv")
    with watching() as watch:
        assert "; taken for its own doing: data.csv, out.csv (new)\n" in watch.told()
        for count in (2, 3):
            (folder / "sub/more.csv").write_text(str(count))
            watch.wait(count)
        assert [why for why, _ in watch.rounds()] == ["first run", *["sub/more.csv changed"] * 2]
        (folder / "out.csv").write_text("by hand")
        assert watch.wait(4)[3] == ("out.csv changed", "succeeded")


def test_a_script_that_every_run_rewrites_does_not_go_on_for_ever(watching: Watching, folder: Path) -> None:
    write_script(folder / "a.sh", 'echo "# $(date +%s%N)" > generated.py')
    with watching(first=6) as watch:
        last = ROUND.findall(watch.told())[5]
        assert last[4] == "taken for its own doing: generated.py"
        data(folder)
        assert watch.wait(7)[6] == ("sub/more.csv changed", "succeeded")


def holding(folder: Path, ledger: Ledger) -> None:
    """A script that signs, and goes on until there is a file `go`."""
    write_script(folder / "a.sh", f"{ledger.sign}; until [ -e ../go ]; do sleep 0.02; done")


def test_a_source_that_changes_meanwhile_runs_once_more_afterwards(
    watching: Watching, folder: Path, ledger: Ledger
) -> None:
    holding(folder, ledger)
    with watching(first=0) as watch:
        ledger.wait_for(1)
        for number in range(3):
            (folder / "b.py").write_text(f"pass # {number}")
            time.sleep(0.1)
        assert not watch.rounds() and len(ledger.processes()) == 1
        (folder.parent / "go").touch()
        assert watch.wait(2) == [("first run", "succeeded"), ("b.py (new) changed", "succeeded")]
        data(folder)
        assert watch.wait(3)[2] == ("sub/more.csv changed", "succeeded")


def test_a_source_that_changes_meanwhile_starts_the_run_anew_where_wanted(
    watching: Watching, folder: Path, ledger: Ledger
) -> None:
    holding(folder, ledger)
    with watching("--on-change", "restart", "--path", "sub/*.csv", first=0) as watch:
        ledger.wait_for(1)
        data(folder)
        ledger.wait_for(2)
        assert watch.rounds() == [("first run", "cancelled")]
        assert len(ledger.alive()) == 1
        (folder.parent / "go").touch()
        assert watch.wait(2)[1] == ("sub/more.csv changed", "succeeded")


@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_the_run_and_the_watch(
    watching: Watching, folder: Path, ledger: Ledger, sent: str, code: int
) -> None:
    holding(folder, ledger)
    with watching(first=0) as watch:
        ledger.wait_for(1)
        watch.process.send_signal(signal.Signals[sent])
        assert watch.process.wait(DEADLINE_S) == code
        assert watch.rounds() == [("first run", "cancelled")]
        assert ledger.alive() == []


def test_a_watch_without_a_run_under_way_ends_at_once(watching: Watching) -> None:
    with watching() as watch:
        watch.process.send_signal(signal.SIGINT)
        assert watch.process.wait(DEADLINE_S) == 130


def test_nothing_outlives_a_watch_that_is_killed(watching: Watching, folder: Path, ledger: Ledger) -> None:
    body, count = kinds(ledger)["daemon"]
    write_script(folder / "a.sh", body)
    with watching(first=0) as watch:
        ledger.wait_for(count)
        watch.process.kill()
        wait_for("the end of all that it ran", lambda: not ledger.alive())


def test_stopping_a_watch_stops_what_it_runs(watching: Watching, folder: Path, ledger: Ledger) -> None:
    holding(folder, ledger)

    def state(process: Process) -> str:
        return (stat_of(process.pid) or ["gone"])[0]

    with watching(first=0) as watch:
        ledger.wait_for(1)
        itself = Process(watch.process.pid, stat_of(watch.process.pid)[19])
        watch.process.send_signal(signal.SIGTSTP)
        wait_for("both to stop", lambda: {state(itself), state(ledger.processes()[0])} == {"T"})
        (folder.parent / "go").touch()
        watch.process.send_signal(signal.SIGCONT)
        assert watch.wait(1) == [("first run", "succeeded")]


def test_options_and_arguments_are_those_of_a_run(watching: Watching, folder: Path, tmp_path: Path) -> None:
    write_script(folder / "a.sh", 'echo "$@" >> ../arguments; exit 3')
    state = tmp_path / "state"
    with watching("--state-dir", state, "--path=data.csv", "--", "--clear", "--path") as watch:
        assert watch.rounds() == [("first run", "failed")]
        run = ROUND.findall(watch.told())[0][2]
        assert (state / "runs" / run).is_dir()
        gone(folder)
        assert watch.wait(2)[1] == ("data.csv (gone) changed", "failed")
    assert (tmp_path / "arguments").read_text() == "--clear --path\n" * 2


@pytest.mark.parametrize("target", ["flow.yaml", "flows.py:etl", "job"])
def test_workflows_and_jobs_are_watched_with_the_folder_they_lie_in(
    watching: Watching, folder: Path, target: str
) -> None:
    (folder / "flow.yaml").write_text("name: etl\ntasks: {one: {run: ['true']}}\n")
    (folder / "flows.py").write_text(
        "from dirigent import Workflow\netl = Workflow('etl')\netl.add_task('one', print)\n"
    )
    with (folder / "dirigent.toml").open("a") as file:
        file.write('[jobs.job]\nrun = ["true"]\n')
    with watching(target=Path(target)) as watch:
        data(folder)
        assert watch.wait(2) == [("first run", "succeeded"), ("sub/more.csv changed", "succeeded")]
        named = folder / {"job": "dirigent.toml"}.get(target, target.partition(":")[0])
        named.write_text(named.read_text() + "\n# changed\n")
        assert watch.wait(3)[2] == (f"{named.name} changed", "succeeded")


def test_a_script_alone_is_watched_alone(watching: Watching, folder: Path) -> None:
    with watching(target=folder / "a.sh") as watch:
        data(folder)
        in_place(folder)
        assert watch.wait(2)[1] == ("a.sh changed", "succeeded")


def test_a_change_is_a_run_soon_after_the_debounce(watching: Watching, folder: Path) -> None:
    write_script(folder / "a.sh", "date +%s%N > ../started")
    began = folder.parent / "started"
    with watching() as watch:
        took = []
        for count in range(2, 7):
            began.unlink()
            at = time.time_ns()
            (folder / "data.csv").write_text(str(count))
            watch.wait(count)
            took.append((int(began.read_text()) - at) / 1e6 - 50)
        print("ms from the end of the debounce to the first line of the script:", took)
        # Ten times what is promised, for machines that are slow.
        assert min(took) < 1000


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        ([], 2, "nothing to run was named"),
        (["nowhere"], 3, "does not exist"),
        ([".", "--path", "nowhere"], 3, "does not exist"),
        ([".", "--on-change", "resart"], 2, "restart"),
        ([".", "--debounce", "soon"], 2, "is no duration"),
        ([".", "--pth", "x"], 2, "--path"),
        (["-"], 2, "standard input cannot be read again and again"),
        (["no-such-job"], 3, "does not exist"),
    ],
)
def test_wrong_use_is_told_at_once(
    program: Path, folder: Path, argv: list[str], code: int, text: str
) -> None:
    done = subprocess.run(
        [program, "watch", *argv],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=os.environ,
    )
    assert (done.returncode, text in done.stderr) == (code, True), done.stderr
