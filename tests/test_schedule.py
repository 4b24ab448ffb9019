"""Schedules as users have them: real schedulers, real runs, real signals, and a wall clock that is set."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.children import DEADLINE_S, Ledger, started, wait_for, write_script

ROOT = Path(__file__).resolve().parent.parent
HOUR_S = 3600


class Project:
    """A folder with schedules, and what happens in it."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder, self.program = folder, program
        self.log = folder / "scheduler.log"
        self.environment = dict(os.environ)
        self.stack = ExitStack()
        folder.mkdir(parents=True, exist_ok=True)

    def schedules(self, **schedules: dict[str, Any]) -> None:
        """Write the project's file; each schedule runs the script of its name, unless it says otherwise."""
        full = {name: {"run": f"{name}.sh", **rest} for name, rest in schedules.items()}
        (self.folder / "dirigent.json").write_text(json.dumps({"run": {"report": []}, "schedules": full}))

    def script(self, name: str, body: str) -> None:
        write_script(self.folder / f"{name}.sh", body, shell="/bin/sh")

    def ask(self, *words: str, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        """Carry out a command line in the project."""
        told = subprocess.run(
            [self.program, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert told.returncode in codes, (words, told.stdout, told.stderr)
        return told

    def scheduler(self) -> subprocess.Popen[str]:
        """Start a scheduler, and wait until it keeps the schedules."""
        said = self.said().count("keeping ")
        output = self.stack.enter_context(self.log.open("a"))
        process = self.stack.enter_context(
            started(
                [self.program, "schedule", "run"],
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
                stdout=output,
                stderr=output,
            )
        )
        wait_for("the scheduler", lambda: self.said().count("keeping ") > said or process.poll() is not None)
        assert process.poll() is None, self.said()
        return process

    def end(self, process: subprocess.Popen[str], how: signal.Signals = signal.SIGTERM) -> int:
        """End a scheduler and return its exit code."""
        process.send_signal(how)
        return process.wait(DEADLINE_S)

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def told(self, name: str) -> dict[str, Any]:
        """What `schedule list` says of one."""
        listed = json.loads(self.ask("schedule", "list", "--json").stdout)
        return next(told for told in listed if told["name"] == name)

    def lines(self, name: str = "ledger") -> list[str]:
        """What scripts have signed."""
        path = self.folder / name
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def wait_for_ends(self, count: int) -> None:
        wait_for(f"{count} ends", lambda: self.said().count(": ended with exit code") >= count)

    def wait_for_lines(self, count: int, name: str = "ledger") -> list[str]:
        wait_for(f"{count} lines in {name}", lambda: len(self.lines(name)) >= count)
        return self.lines(name)


@pytest.fixture
def project(tmp_path: Path, program: Path) -> Iterator[Project]:
    project = Project(tmp_path / "project", program)
    with project.stack:
        yield project


@pytest.fixture(scope="module")
def moved_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library by which a wall clock is set."""
    library = tmp_path_factory.mktemp("clock") / "moved_clock.so"
    source = ROOT / "tests" / "moved_clock.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


class Clock:
    """The wall clock of a project's processes."""

    def __init__(self, project: Project, library: Path) -> None:
        self.file = project.folder / "clock"
        self.moved_s = 0
        # Well after a full hour, and before the next one.
        self.set(1_900_000_000 // HOUR_S * HOUR_S + 900)
        project.environment |= {"LD_PRELOAD": str(library), "MOVED_CLOCK": str(self.file)}

    def set(self, to_s: float) -> None:
        self.moved_s = int(to_s - time.time())
        self.write()

    def put_forward(self, seconds: int) -> None:
        """Put it forward, or back."""
        self.moved_s += seconds
        self.write()

    def write(self) -> None:
        part = self.file.with_suffix(".part")
        part.write_text(f"{self.moved_s}\n")
        part.rename(self.file)


SIGN = 'echo "$DIRIGENT_TICK" >> ledger'


def test_ticks_come_at_their_times_and_are_recorded_with_run_exit_code_and_output(project: Project) -> None:
    project.schedules(often={"every": "1s", "timezone": "Asia/Tokyo"})
    project.script("often", f'echo "$DIRIGENT_SCHEDULE" >> names; {SIGN}; pwd >> folders; echo hello; exit 3')
    scheduler = project.scheduler()
    ticks = project.wait_for_lines(3)
    assert project.end(scheduler) == 128 + signal.SIGTERM
    moments = [time.strptime(tick[:19], "%Y-%m-%dT%H:%M:%S") for tick in ticks]
    assert all(tick.endswith("+09:00") for tick in ticks), ticks
    assert moments == sorted(set(moments)), "in order, and none twice"
    assert set(project.lines("names")) == {"often"}
    assert set(project.lines("folders")) == {str(project.folder.resolve())}
    last = project.told("often")["last"]
    assert (last["outcome"], last["exit_code"], last["tick"]) == ("ran", 1, project.lines()[-1])
    log = Path(last["log"])
    assert "often.sh" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700
    assert project.ask("show", last["run"], codes=(0, 1)).returncode in (0, 1)
    assert "hello" in project.ask("logs", last["run"]).stdout
    assert "failed (exit code 1)" in project.ask("schedule").stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_scheduler_that_is_ended_has_its_runs_end_politely_and_waits(
    project: Project, ledger: Ledger, how: signal.Signals
) -> None:
    project.schedules(long={"every": "1s"})
    project.script(
        "long",
        f"trap 'echo polite >> ended; exit 0' TERM INT HUP; {ledger.sign}; while :; do sleep 0.05; done",
    )
    scheduler = project.scheduler()
    ledger.wait_for(1)
    # As a terminal does: to all of the group. A run that got it twice would end at once.
    os.killpg(scheduler.pid, how)
    assert scheduler.wait(DEADLINE_S) == 128 + how
    assert project.lines("ended") == ["polite"]
    assert ledger.alive() == []
    last = project.told("long")["last"]
    assert last["outcome"] in ("ran", "skipped")


def test_a_second_signal_ends_what_will_not_end(project: Project, ledger: Ledger) -> None:
    project.schedules(stubborn={"run": ["stubborn.sh", "--grace", "10m"], "every": "1s"})
    project.script("stubborn", f'trap "" TERM INT; {ledger.sign}; while :; do sleep 0.05; done')
    scheduler = project.scheduler()
    ledger.wait_for(1)
    scheduler.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        scheduler.wait(1)
    assert project.end(scheduler) == 128 + signal.SIGTERM
    wait_for("the end of all", lambda: not ledger.alive())


@pytest.mark.needs("cc")
@pytest.mark.parametrize("policy", ["none", "last", "all"])
def test_what_was_missed_after_a_kill_is_made_up_by_policy(
    project: Project, moved_clock: Path, policy: str
) -> None:
    clock = Clock(project, moved_clock)
    project.schedules(hourly={"every": "1h", "catch_up": policy})
    project.script("hourly", SIGN)
    scheduler = project.scheduler()
    clock.put_forward(HOUR_S)
    scheduler.send_signal(signal.SIGCHLD)
    # The tick is a quarter of an hour old then, too old for `none`.
    if policy == "none":
        wait_for("a missed tick", lambda: project.told("hourly")["last"])
    else:
        project.wait_for_ends(1)
    scheduler.kill()
    scheduler.wait(DEADLINE_S)
    clock.put_forward(4 * HOUR_S)
    expected = {"none": 0, "last": 2, "all": 5}[policy]
    scheduler = project.scheduler()
    if policy == "none":
        wait_for("missed ticks", lambda: project.told("hourly")["last"]["missed"] == 4)
    else:
        project.wait_for_ends(expected)
    assert project.end(scheduler) == 128 + signal.SIGTERM
    ticks = project.lines()
    assert len(ticks) == expected
    assert ticks == sorted(set(ticks))


@pytest.mark.needs("cc")
def test_the_clock_is_set_by_days_both_ways_and_no_tick_comes_twice(
    project: Project, moved_clock: Path
) -> None:
    clock = Clock(project, moved_clock)
    project.schedules(hourly={"every": "1h"})
    project.script("hourly", SIGN)
    scheduler = project.scheduler()
    seen = 0
    for days, is_new in [(0, True), (3, True), (-3, False), (-2, False), (5, False)]:
        clock.put_forward(days * 24 * HOUR_S + (HOUR_S if is_new else 0))
        scheduler.send_signal(signal.SIGCHLD)
        if is_new:
            seen += 1
            # One that comes before the end of the one before it is left out.
            project.wait_for_ends(seen)
    # It goes on by the clock as it is now: what is to come comes, at an hour nobody has had.
    clock.put_forward(2 * HOUR_S)
    scheduler.send_signal(signal.SIGCHLD)
    ticks = project.wait_for_lines(seen + 1)
    assert project.end(scheduler) == 128 + signal.SIGTERM
    assert all(count == 1 for count in Counter(ticks).values()), ticks


@pytest.mark.needs("cc")
@pytest.mark.parametrize(
    ("before", "ticks"),
    [
        # The clocks of Berlin skip 02:00 to 03:00, and show it twice.
        ("2030-03-30T23:30:00Z", ["2030-03-31T03:00:00+02:00"]),
        ("2030-10-26T22:30:00Z", ["2030-10-27T02:30:00+02:00"]),
    ],
)
def test_a_wall_time_that_is_skipped_or_doubled_comes_once(
    project: Project, moved_clock: Path, before: str, ticks: list[str]
) -> None:
    clock = Clock(project, moved_clock)
    utc = subprocess.run(["date", "-d", before, "+%s"], capture_output=True, text=True, check=True).stdout
    clock.set(int(utc))
    project.schedules(nightly={"cron": "30 2 * * *", "timezone": "Europe/Berlin", "catch_up": "all"})
    project.script("nightly", SIGN)
    assert project.told("nightly")["next"][0] == ticks[0]
    scheduler = project.scheduler()
    for _ in range(8):
        clock.put_forward(HOUR_S // 2)
        scheduler.send_signal(signal.SIGCHLD)
        time.sleep(0.05)
    project.wait_for_lines(1)
    assert project.end(scheduler) == 128 + signal.SIGTERM
    assert project.lines() == ticks


def test_two_schedulers_on_one_folder_run_each_tick_once(project: Project) -> None:
    project.schedules(a={"every": "1s"}, b={"every": "1s", "overlap": "queue"})
    for name in "ab":
        project.script(name, 'echo "$DIRIGENT_SCHEDULE $DIRIGENT_TICK" >> ledger; sleep 0.2')
    one, other = project.scheduler(), project.scheduler()
    project.wait_for_lines(12)
    assert (one.poll(), other.poll()) == (None, None), project.said()
    assert (project.end(one), project.end(other)) == (143, 143)
    counts = Counter(project.lines())
    assert set(counts.values()) == {1}, counts


def test_a_pause_from_outside_is_heeded_and_what_passed_is_not_made_up(project: Project) -> None:
    project.schedules(often={"every": "1s", "catch_up": "all"}, other={"every": "1s"})
    project.script("often", SIGN)
    project.script("other", 'echo "$DIRIGENT_TICK" >> others')
    scheduler = project.scheduler()
    project.wait_for_lines(1)
    project.ask("schedule", "pause", "often")
    told = project.told("often")
    assert (told["paused"], told["next"]) == (True, [])
    assert "paused since" in project.ask("schedule").stdout
    before = len(project.lines())
    project.wait_for_lines(len(project.lines("others")) + 3, "others")
    # One may have begun just before.
    assert len(project.lines()) <= before + 1
    before = len(project.lines())
    project.ask("schedule", "resume", "often")
    project.wait_for_lines(before + 1)
    assert project.end(scheduler) == 128 + signal.SIGTERM
    ticks = [time.mktime(time.strptime(tick[:19], "%Y-%m-%dT%H:%M:%S")) for tick in project.lines()]
    assert max(later - earlier for earlier, later in itertools.pairwise(ticks)) >= 3, ticks


def test_a_tick_that_overlaps_is_left_out_queued_or_takes_the_place(project: Project, ledger: Ledger) -> None:
    project.schedules(
        skip={"every": "1s"},
        queue={"every": "1s", "overlap": "queue"},
        replace={"every": "1s", "overlap": "replace"},
    )
    project.script("skip", f"{ledger.sign}; sleep 600")
    project.script(
        "queue", 'echo "begin $DIRIGENT_TICK" >> queued; sleep 1.5; echo "end $DIRIGENT_TICK" >> queued'
    )
    project.script("replace", f'echo "begin $DIRIGENT_TICK" >> replaced; {ledger.sign}; sleep 600')
    scheduler = project.scheduler()
    project.wait_for_lines(3, "replaced")
    project.wait_for_lines(5, "queued")
    wait_for("a skipped tick", lambda: project.told("skip")["last"]["outcome"] == "skipped")
    assert project.end(scheduler) == 128 + signal.SIGTERM
    said = project.said()
    assert said.count("skip: started") == 1, said
    queued = project.lines("queued")
    begun = [line.partition(" ")[2] for line in queued[::2]]
    assert [line.partition(" ")[0] for line in queued[:4]] == ["begin", "end", "begin", "end"], queued
    seconds = [int(tick[17:19]) for tick in begun]
    assert all((later - earlier) % 60 == 1 for earlier, later in itertools.pairwise(seconds)), begun
    replaced = project.lines("replaced")
    assert len(set(replaced)) == len(replaced) >= 3
    assert "replace: ended with exit code 143" in said
    wait_for("the end of all", lambda: not ledger.alive())


def test_a_run_that_outlives_its_scheduler_is_seen_by_the_next_one(project: Project, ledger: Ledger) -> None:
    project.schedules(long={"every": "1s"})
    project.script("long", f"{SIGN}; {ledger.sign}; while [ ! -e stop ]; do sleep 0.05; done")
    first = project.scheduler()
    ledger.wait_for(1)
    first.kill()
    first.wait(DEADLINE_S)
    assert ledger.alive(), "the run goes on"
    assert project.told("long")["last"]["outcome"] in ("running", "skipped")
    second = project.scheduler()
    wait_for("a skipped tick", lambda: project.told("long")["last"]["outcome"] == "skipped")
    assert len(project.lines()) == 1
    (project.folder / "stop").touch()
    project.wait_for_lines(2)
    assert project.end(second) == 128 + signal.SIGTERM
    assert all(count == 1 for count in Counter(project.lines()).values())
    assert project.ask("verify", "--all").returncode == 0


def test_a_trigger_runs_once_now_and_says_how_it_went(project: Project, ledger: Ledger) -> None:
    project.schedules(
        nightly={"cron": "0 3 * * *"}, paused={"run": "nightly.sh", "every": "1h", "paused": True}
    )
    project.script("nightly", f"{SIGN}; exit 7")
    told = project.ask("schedule", "trigger", "nightly", codes=(1,))
    assert re.search(r"nightly: ended with exit code 1 after .*, run [0-9a-f-]{36}\n", told.stderr), (
        told.stderr
    )
    last = project.told("nightly")["last"]
    assert (last["by_hand"], last["exit_code"], last["tick"]) == (True, 1, project.lines()[0])
    project.ask("schedule", "trigger", "paused", codes=(1,))
    # One at a time, here too.
    project.script("nightly", f"{ledger.sign}; sleep 600")
    with started(
        [project.program, "schedule", "trigger", "nightly"], cwd=project.folder, env=project.environment
    ) as one:
        ledger.wait_for(1)
        second = project.ask("schedule", "trigger", "nightly", codes=(75,))
        assert "the one before it still runs" in second.stderr
        one.send_signal(signal.SIGINT)
        assert one.wait(DEADLINE_S) == 128 + signal.SIGINT
    wait_for("the end of all", lambda: not ledger.alive())


def test_the_unit_says_where_all_of_it_is(tmp_path: Path, program: Path) -> None:
    project = Project(tmp_path / 'a 100% "$project"', program)
    project.schedules(nightly={"cron": "@daily", "run": ["nightly.sh", "--grace", "2m"]})
    unit = project.ask("schedule", "unit").stdout
    values = dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"\w+=", line))
    assert values["WorkingDirectory"].replace("%%", "%") == str(project.folder)
    command = values["ExecStart"].replace("%%", "%").replace("$$", "$")
    found, *words = shlex.split(command)
    assert os.path.samefile(found, program)
    assert words == ["schedule", "run", "--state-dir", str(project.folder / ".dirigent")]
    assert int(values["TimeoutStopSec"]) > 120
    assert values["KillMode"] == "mixed"


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ({"cron": "61 * * * *"}, "`61` is no minute from 0 to 59"),
        ({"cron": "@daily", "timezone": "Europe/Berln"}, "did you mean `Europe/Berlin`?"),
        ({"cron": "@daily", "run": ["a.sh", "--jbs", "2"]}, "unexpected argument '--jbs' found"),
        ({"cron": "@daily", "run": ["--jobs", "2"]}, "it names no target"),
        ({"cron": "@daily", "run": ["a.sh", "--help"]}, "it asks for help, and runs nothing"),
        ({"cron": "@daily", "overlap": "wait"}, "unknown value `wait`"),
        ({}, "`schedules.a` does not say when"),
    ],
)
def test_a_mistake_is_told_with_its_place(project: Project, schedule: dict[str, Any], told: str) -> None:
    project.script("a", "true")
    project.schedules(a=schedule)
    for words in (["schedule", "list"], ["schedule", "run"], ["check"]):
        answer = project.ask(*words, codes=(2,))
        assert told in answer.stderr, answer.stderr
        assert "dirigent.json:1:" in answer.stderr, answer.stderr


def test_what_is_not_there_is_told(project: Project, tmp_path: Path) -> None:
    assert "no project file" in project.ask("schedule", codes=(3,)).stderr
    project.schedules()
    assert "has no schedules" in project.ask("schedule", "run", codes=(3,)).stderr
    project.schedules(nightly={"cron": "@daily"}, still={"cron": "@daily", "paused": True})
    assert "did you mean `nightly`?" in project.ask("schedule", "pause", "nigthly", codes=(3,)).stderr
    assert "take `paused` out" in project.ask("schedule", "resume", "still", codes=(2,)).stderr
    assert not (project.folder / ".dirigent" / "ticks").exists()
    user = tmp_path / "config" / "dirigent"
    user.mkdir(parents=True)
    (user / "config.yaml").write_text("schedules: {a: {run: a.sh, cron: '@daily'}}\n")
    project.environment["XDG_CONFIG_HOME"] = str(user.parent)
    assert "a schedule belongs to a project" in project.ask("schedule", codes=(2,)).stderr


def test_the_guide_is_true(project: Project) -> None:
    guide = (ROOT / "docs" / "schedules.md").read_text()
    (config,) = re.findall(r"^```yaml\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    (commands,) = re.findall(r"^```sh\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    (project.folder / "dirigent.yaml").write_text(config)
    project.script("poll", SIGN)
    write_script(project.folder / "etl" / "load.sh", "true")
    *lines, last = [line.partition("  #")[0].split() for line in commands.splitlines()]
    for line in lines:
        project.ask(*line[1:])
    assert last == ["dirigent", "schedule", "run"]
    assert project.end(project.scheduler()) == 128 + signal.SIGTERM
    assert len(project.lines()) == 1
    told = project.told("nightly")
    assert (told["catch_up"], told["overlap"], len(told["next"])) == ("last", "skip", 5)


def test_an_idle_scheduler_does_nothing(project: Project) -> None:
    project.schedules(**{f"s{number}": {"run": "s.sh", "cron": f"{number} 3 1 1 *"} for number in range(50)})
    scheduler = project.scheduler()
    status = Path(f"/proc/{scheduler.pid}/status")

    def wakes() -> int:
        return int(re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.MULTILINE)[0])

    def is_still() -> bool:
        before = wakes()
        time.sleep(0.5)
        return wakes() == before

    wait_for("sleep", is_still)
    before = wakes()
    time.sleep(2)
    assert wakes() == before
    assert project.end(scheduler) == 128 + signal.SIGTERM
