"""What is recorded, from outside: every verb about recorded runs, with what it prints, and what it leaves."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.children import DEADLINE_S, Ledger, events, only_run, started, wait_for, write_script

Done = subprocess.CompletedProcess[str]
Dirigent = Callable[..., Done]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of three scripts, one of which fails until there is a file ``ok``."""
    folder = tmp_path / "nightly"
    settings = '[run]\njobs = 1\n[scripts."load.sh"]\nneeds = ["extract.sh"]\n'
    write_script(folder / "extract.sh", "echo rows; echo 'two old rows' >&2")
    write_script(folder / "load.sh", "echo loading; [ -e ok ] || { echo 'no such table' >&2; exit 3; }")
    write_script(folder / "tidy.sh", "exit 0")
    (folder / "dirigent.toml").write_text(settings)
    return folder


@pytest.fixture
def dirigent(program: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Dirigent:
    """Types a command in the project and waits for its end."""
    monkeypatch.setenv("XDG_STATE_HOME", str(project / "user-state"))

    def run(*argv: str | Path, **options: Any) -> Done:
        options = {"capture_output": True, "text": True, "cwd": project, "timeout": DEADLINE_S, **options}
        return subprocess.run([program, *argv], **options)

    return run


@pytest.fixture
def failed(dirigent: Dirigent, project: Path) -> Path:
    """The folder of a run in which a script failed."""
    done = dirigent("run", ".", "--report", "none")
    assert done.returncode == 1, done
    return only_run(project / ".dirigent")


@contextmanager
def under_way(
    program: Path, project: Path, body: str = "sleep 600", grace: str = "1s"
) -> Iterator[subprocess.Popen[str]]:
    """A run that is under way: one script is through, the next has written and goes on, the last waits."""
    folder = project / "long"
    write_script(folder / "1.sh", "echo through")
    write_script(folder / "2.sh", f"echo begun; touch '{project}/begun'; {body}")
    write_script(folder / "3.sh", "echo last")
    command: list[str | Path] = [program, "run", folder, "--report", "none", "--grace", grace]
    with started(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as engine:
        wait_for("the second script", (project / "begun").exists)
        yield engine


def stable(text: str, project: Path) -> str:
    """What differs from run to run by words for it: ids, times, sizes, places. Runs are numbered as they occur."""
    runs: list[str] = []

    def name(found: re.Match[str]) -> str:
        if found[0] not in runs:
            runs.append(found[0])
        return f"RUN-{runs.index(found[0]) + 1}"

    text = text.replace(str(project), "PROJECT")
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", name, text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "HASH", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "WHEN", text)
    text = re.sub(r"process \d+ on \S+( since \S+)?", "PROCESS", text)
    text = re.sub(r"\d+(\.\d)? (B|[KMG]iB)", "SIZE", text)
    return re.sub(r" +\d+(\.\d+)? (s|min)( \d+ s)?\b", " TIME", text)


def check(done: Done, project: Path, expected: str, code: int = 0, errors: str = "") -> None:
    """See that a command printed just this."""
    assert stable(done.stdout, project) == expected
    assert stable(done.stderr, project) == errors
    assert done.returncode == code


# --- runs -----------------------------------------------------------------------------------------


def test_where_nothing_ran_there_is_nothing_to_tell(dirigent: Dirigent, project: Path) -> None:
    nothing = "error: no run is recorded in PROJECT/.dirigent\n"
    hint = "hint: `dirigent runs` lists those there are; `dirigent run` starts one\n"
    check(dirigent("runs"), project, "", errors="no run is recorded in PROJECT/.dirigent\n")
    assert json.loads(dirigent("runs", "--json").stdout) == []
    for verb in ("show", "logs", "resume", "retry", "cancel", "verify", "export", "report"):
        check(dirigent(verb), project, "", 3, nothing + hint)
    check(
        dirigent("doctor"),
        project,
        "nothing is recorded in PROJECT/.dirigent: nothing is wrong with it\n",
    )
    assert not (project / ".dirigent").exists(), "who asks makes nothing"


def test_runs_are_listed_with_the_newest_first(dirigent: Dirigent, project: Path, failed: Path) -> None:
    (project / "ok").touch()
    assert dirigent("run", "extract.sh", "load.sh", "--report", "none").returncode == 0
    listed = dirigent("runs")
    assert re.sub(r"(?m)^[0-9a-f]{8}-[0-9a-f]{4}(-\S+)?  ", "ID  ", stable(listed.stdout, project)) == (
        "ID  WHEN  succeeded TIME  nightly  ✓ 2\nID  WHEN  failed TIME  nightly  ✗ 1 ✓ 2\n"
    )
    assert len(dirigent("runs", "-n", "1").stdout.splitlines()) == 1
    assert dirigent("runs", "--workflow", "other").stdout == ""
    told = json.loads(dirigent("runs", "--workflow", "nightly", "--json").stdout)
    assert [run["status"] for run in told] == ["succeeded", "failed"]
    assert told[1]["id"] == failed.name and told[1]["tasks"] == {"completed": 2, "failed": 1}
    assert told[1]["ended"] >= told[1]["created"] and told[1]["elapsed_s"] >= 0
    assert told[1]["holder_pid"] is None
    # The beginning of an id that `runs` shows is enough everywhere.
    for line, run in zip(listed.stdout.splitlines(), told, strict=True):
        assert json.loads(dirigent("show", line.split()[0], "--json").stdout)["run"] == run["id"]


def test_a_run_under_way_says_so_and_one_that_was_killed_is_interrupted(
    dirigent: Dirigent, program: Path, project: Path
) -> None:
    with under_way(program, project) as engine:
        [told] = json.loads(dirigent("runs", "--json").stdout)
        assert (told["status"], told["holder_pid"], told["ended"]) == ("running", engine.pid, None)
        assert re.search(r"  running +\d+(\.\d+)? \S+  long\n", dirigent("runs").stdout)
        check(
            dirigent("show"),
            project,
            """\
long  RUN-1
running  started WHEN, TIME ago, by PROCESS
✓ TIME  long/1.sh  succeeded
▸ TIME  long/2.sh  has not ended
·            long/3.sh  has not started
3 scripts: ▸ 1 running, · 1 pending, ✓ 1 completed
PROJECT/.dirigent/runs/RUN-1
`dirigent cancel RUN-1` asks it to end
""",
        )
        engine.kill()
        engine.wait(DEADLINE_S)
    [told] = json.loads(dirigent("runs", "--json").stdout)
    assert (told["status"], told["holder_pid"]) == ("interrupted", None)
    check(
        dirigent("show"),
        project,
        """\
long  RUN-1
interrupted  started WHEN, TIME ago
✓ TIME  long/1.sh  succeeded
▸            long/2.sh  was under way when its engine went
·            long/3.sh  has not started
3 scripts: ▸ 1 cut short, · 1 pending, ✓ 1 completed
PROJECT/.dirigent/runs/RUN-1
its engine is gone: `dirigent resume RUN-1` goes on with it
""",
    )


# --- show -----------------------------------------------------------------------------------------


def test_a_run_is_shown_with_what_to_do_next(dirigent: Dirigent, project: Path, failed: Path) -> None:
    expected = """\
nightly  RUN-1
failed  started WHEN, TIME ago
✓ TIME  extract.sh  succeeded
✗ TIME  load.sh     failed with exit code 3
✓ TIME  tidy.sh     succeeded
3 scripts in TIME: ✗ 1 failed, ✓ 2 completed
PROJECT/.dirigent/runs/RUN-1
`dirigent logs RUN-1 load.sh` prints what it wrote
`dirigent retry RUN-1` runs again what failed
"""
    for name in ("last", failed.name, failed.name[:13], str(failed)):
        check(dirigent("show", name), project, expected)
    check(dirigent("show", failed, cwd="/"), project, expected)
    told = json.loads(dirigent("show", "--json").stdout)
    assert [task["status"] for task in told["tasks"]] == ["completed", "failed", "completed"]


def test_a_task_is_shown_by_name_and_by_number(dirigent: Dirigent, project: Path, failed: Path) -> None:
    expected = """\
load.sh  failed with exit code 3
  attempts  1
  started   WHEN
  ended     WHEN
  took TIME
  command   /bin/bash PROJECT/load.sh
  needs     extract.sh  succeeded
  stdout    PROJECT/.dirigent/runs/RUN-1/tasks/1/1/stdout.log
  stderr    PROJECT/.dirigent/runs/RUN-1/tasks/1/1/stderr.log
  | no such table
"""
    shown = dirigent("show", "last", "load.sh")
    check(shown, project, re.sub("/bin/bash ", shell_of(shown), expected))
    assert dirigent("show", "last", "1").stdout == shown.stdout
    told = json.loads(dirigent("show", "last", "1", "--json").stdout)
    assert (told["name"], told["exit_code"], told["reused_from"]) == ("load.sh", 3, None)
    unknown = "error: the run has no task `laod.sh`\nhint: did you mean `load.sh`?\n"
    check(dirigent("show", "last", "laod.sh"), project, "", 3, unknown)
    for name in ("7", "-1x", "", "nothing like it"):
        done = dirigent("show", "last", "--", name)
        assert (done.returncode, done.stdout) == (3, ""), done
        assert done.stderr.endswith("hint: `dirigent show` lists its tasks\n")


def shell_of(shown: Done) -> str:
    """What a shell script was started with, as far as that depends on the machine."""
    found = re.search(r"command   (.*?)/\S+load\.sh", shown.stdout)
    assert found is not None, shown
    return found[1]


def test_a_script_in_a_folder_is_found_by_its_file_name_alone(dirigent: Dirigent, project: Path) -> None:
    for name in ("a/one.sh", "a/two.sh", "b/two.sh"):
        write_script(project / "deep" / name, f"echo {name}")
    assert dirigent("run", "deep").returncode == 0
    assert dirigent("logs", "last", "one.sh").stdout == "a/one.sh\n"
    assert dirigent("logs", "last", "b/two.sh").stdout == "b/two.sh\n"
    assert dirigent("logs", "last", "two.sh").returncode == 3, "there are two of them"


# --- logs -----------------------------------------------------------------------------------------


def test_logs_are_printed_byte_for_byte(dirigent: Dirigent, project: Path) -> None:
    write_script(project / "bytes.sh", r"printf '\000\377no newline'; printf 'é\r\nerr' >&2")
    assert dirigent("run", "bytes.sh").returncode == 0
    printed = {
        stream: dirigent("logs", "last", "bytes.sh", "--stream", stream, text=False)
        for stream in ("stdout", "stderr", "both")
    }
    assert printed["stdout"].stdout == b"\0\xffno newline"
    assert printed["stderr"].stdout == "é\r\nerr".encode()
    assert printed["both"].stdout == printed["stdout"].stdout + printed["stderr"].stdout
    assert {done.stderr for done in printed.values()} == {b""}


def test_of_logs_there_are_parts(dirigent: Dirigent, project: Path, failed: Path) -> None:
    everything = "rows\ntwo old rows\nloading\nno such table\n"
    names = "== extract.sh stdout\n== extract.sh stderr\n== load.sh stdout\n== load.sh stderr\n"
    check(dirigent("logs"), project, everything, errors=names)
    assert dirigent("logs", "last", "--grep", "rows").stdout == "rows\ntwo old rows\n"
    assert dirigent("logs", "last", "--stream", "stderr").stdout == "two old rows\nno such table\n"
    check(dirigent("logs", "last", "tidy.sh"), project, "", errors="nothing was written\n")
    write_script(project / "lines.sh", "seq 100")
    assert dirigent("run", "lines.sh").returncode == 0
    assert dirigent("logs", "last", "lines.sh", "--tail", "2").stdout == "99\n100\n"
    assert dirigent("logs", "last", "--tail", "0").stdout == ""
    assert dirigent("logs", "last", "lines.sh", "--grep", "9", "--tail", "1").stdout == "99\n"
    assert dirigent("logs", "last", "lines.sh", "--attempt", "1", "--tail", "1").stdout == "100\n"
    for attempt in ("0", "2"):
        done = dirigent("logs", "last", "lines.sh", "--attempt", attempt)
        assert done.stderr == (
            f"error: task `lines.sh` has no attempt {attempt}\nhint: it had 1, counted from 1\n"
        )
        assert done.returncode == 3


def test_who_follows_gets_all_that_comes_until_the_end(
    dirigent: Dirigent, program: Path, project: Path
) -> None:
    body = f"while [ ! -e '{project}/go' ]; do sleep 0.02; done; echo more; echo warned >&2"
    with under_way(program, project, body) as engine:
        follow: list[str | Path] = [program, "logs", "last", "2.sh", "--follow"]
        with started(follow, cwd=project, stdout=subprocess.PIPE) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "begun\n"
            assert follower.poll() is None
            (project / "go").touch()
            out, _ = follower.communicate(timeout=DEADLINE_S)
            assert sorted(out.splitlines()) == ["more", "warned"] and follower.returncode == 0
        engine.communicate(timeout=DEADLINE_S)
    assert dirigent("logs", "last", "2.sh", "--follow").stdout == "begun\nmore\nwarned\n"


# --- going on -------------------------------------------------------------------------------------


def test_a_run_goes_on_after_its_engine_was_killed(
    dirigent: Dirigent, program: Path, project: Path, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with under_way(program, project, f"{ledger.sign}; [ -e '{project}/ok' ] || sleep 600") as engine:
        ledger.wait_for(1)
        held = dirigent("resume")
        assert (held.returncode, held.stdout) == (75, "")
        assert stable(held.stderr, project) == (
            "error: run RUN-1 is held by PROCESS\nhint: wait for it, or end it with `dirigent cancel`\n"
        )
        engine.kill()
        engine.wait(DEADLINE_S)
    (project / "ok").touch()
    done = dirigent("resume")
    assert done.returncode == 0, done
    lines = [re.sub(r" +", " ", line) for line in stable(done.stderr, project).splitlines()]
    assert lines[0] == "resumed RUN-1, 1 of 3 tasks have ended"
    assert "started long/2.sh (attempt 2)" in lines and "started long/3.sh" in lines
    assert not any("long/1.sh" in line for line in lines), "it is through"
    assert "3 scripts in" in done.stdout and "✓ 3 completed" in done.stdout
    assert not ledger.alive()
    run = only_run(project / ".dirigent")
    assert dirigent("logs", "last", "1.sh").stdout == "through\n"
    kinds = [event["kind"] for event in events(run)]
    assert kinds.count("run_created") == kinds.count("run_resumed") == kinds.count("run_ended") == 1
    over = "error: run RUN-1 is over: it succeeded\nhint: run what failed again with `dirigent retry`\n"
    check(dirigent("resume"), project, "", 2, over)


def test_a_run_goes_on_after_it_was_interrupted(dirigent: Dirigent, program: Path, project: Path) -> None:
    with under_way(program, project, f"[ -e '{project}/ok' ] || sleep 600") as engine:
        engine.send_signal(signal.SIGINT)
        out, _ = engine.communicate(timeout=DEADLINE_S)
        assert engine.returncode == 128 + signal.SIGINT and "2 cancelled" in out
    assert dirigent("show").stdout.splitlines()[-1].endswith("goes on with it")
    (project / "ok").touch()
    done = dirigent("resume", "--json")
    assert done.returncode == 0, done
    told = json.loads(done.stdout)
    assert [task["attempts"] for task in told["tasks"]] == [1, 2, 1]
    assert [task["status"] for task in told["tasks"]] == ["completed"] * 3


def test_what_failed_is_run_again_as_a_new_run(dirigent: Dirigent, project: Path, failed: Path) -> None:
    (project / "ok").touch()
    done = dirigent("retry")
    assert done.returncode == 0, done
    [new] = {path for path in (project / ".dirigent/runs").iterdir()} - {failed}
    assert [event["task"] for event in events(new) if event["kind"] == "attempt_started"] == [1]
    shown = dirigent("show")
    from_there = f"was reused from run {failed.name}"
    assert shown.stdout.count(from_there) == 2 and "3 completed" in shown.stdout
    assert "slowest" not in done.stdout, "one that ran is not slower than others"
    told = json.loads(dirigent("show", "--json").stdout)
    assert [task["reused_from"] for task in told["tasks"]] == [failed.name, None, failed.name]
    assert [task["name"] for task in told["slowest"]] == ["load.sh"]
    assert f"✓            tidy.sh     {from_there}\n" in shown.stdout
    assert from_there in dirigent("show", "last", "extract.sh").stdout
    assert dirigent("logs", "last", "extract.sh").stdout == "rows\ntwo old rows\n", "from where it ran"
    assert dirigent("gc", "--keep", "1").returncode == 0
    gone = dirigent("logs", "last", "extract.sh")
    assert gone.stdout == "" and f"the task was carried out in run {failed.name}" in gone.stderr
    again = dirigent("retry")
    assert again.returncode == 3 and "every task completed" in again.stderr


def test_what_has_not_ended_is_not_run_again(dirigent: Dirigent, program: Path, project: Path) -> None:
    with under_way(program, project):
        done = dirigent("retry")
    assert done.returncode == 2
    assert done.stderr.endswith("has not ended\nhint: go on with it: `dirigent resume`\n")


@pytest.mark.parametrize(
    ("trap", "extra"), [("echo asked; exit 0", []), ("", ["--now"])], ids=["politely", "now"]
)
def test_another_process_can_have_a_run_end(
    dirigent: Dirigent, program: Path, project: Path, tmp_path: Path, trap: str, extra: list[str]
) -> None:
    ledger = Ledger(tmp_path / "ledger")
    body = f"trap '{trap}' TERM; {ledger.sign}; while :; do sleep 0.02; done"
    with under_way(program, project, body, grace="600s") as engine:
        ledger.wait_for(1)
        check(dirigent("cancel", "last", *extra), project, "", errors="asked PROCESS to end run RUN-1\n")
        out, _ = engine.communicate(timeout=DEADLINE_S)
    assert engine.returncode == 128 + signal.SIGTERM
    assert "2 cancelled" in out and "1 completed" in out
    assert not ledger.alive()
    assert ("asked" in dirigent("logs", "last", "2.sh").stdout) == bool(trap)
    done = dirigent("cancel")
    assert done.returncode == 3 and done.stderr.endswith("is not running: it was cancelled\n")


def test_another_process_can_have_one_task_end(dirigent: Dirigent, program: Path, project: Path) -> None:
    with under_way(program, project) as engine:
        assert dirigent("cancel", "last", "2.sh").returncode == 0
        out, _ = engine.communicate(timeout=DEADLINE_S)
    assert "✗" not in out and "⊘ 1 cancelled, ✓ 2 completed" in out
    assert dirigent("logs", "last", "3.sh").stdout == "last\n"


# --- what is kept, and for how long ---------------------------------------------------------------


def test_a_history_that_was_altered_is_found_out(dirigent: Dirigent, project: Path, failed: Path) -> None:
    assert dirigent("run", "tidy.sh", "--report", "none").returncode == 0
    count = len(events(failed))
    well = dirigent("verify", failed.name)
    assert re.fullmatch(rf"RUN-1  {count} events in \d+ groups  HASH\n", stable(well.stdout, project))
    assert len(dirigent("verify", "--all").stdout.splitlines()) == 2
    with sqlite3.connect(project / ".dirigent/journal.db") as database:
        first = database.execute("SELECT min(place) FROM events WHERE codec = 0").fetchone()[0]
        database.execute(
            "UPDATE events SET body = CAST(replace(CAST(body AS TEXT), '\"at_ms\":1', '\"at_ms\":2') AS BLOB) "
            "WHERE place = ?",
            [first],
        )
    for argv in (
        ["verify", failed.name],
        ["verify", "--all"],
        ["show", failed.name],
        ["export", failed.name],
    ):
        done = dirigent(*argv)
        assert done.returncode == 74, done
        assert "history was altered" in done.stderr and failed.name in done.stderr
        assert "hint: run `dirigent doctor`" in done.stderr
    assert len(dirigent("verify", "--all").stdout.splitlines()) == 1, "the other one is as it was"
    doctor = dirigent("doctor")
    assert doctor.returncode == 1 and "history was altered" in doctor.stdout
    # Nobody builds on it, and the others go on.
    assert dirigent("runs").returncode == 0
    assert dirigent("show").returncode == 0


def test_a_run_travels_as_one_file(dirigent: Dirigent, project: Path, failed: Path, tmp_path: Path) -> None:
    exported = dirigent("export")
    dirigent("export", "last", "--output", "run.jsonl")
    assert (project / "run.jsonl").read_text() == exported.stdout
    elsewhere = ["--state-dir", tmp_path / "elsewhere"]
    check(dirigent("import", "run.jsonl", *elsewhere), project, "RUN-1\n")
    assert dirigent("export", "last", *elsewhere).stdout == exported.stdout
    shown, there = (stable(dirigent("show", "last", *where).stdout, project) for where in ([], elsewhere))
    assert there.splitlines()[:6] == shown.splitlines()[:6]
    assert dirigent("verify", "last", *elsewhere).returncode == 0
    twice = dirigent("import", "run.jsonl", *elsewhere)
    assert twice.returncode == 2
    assert twice.stderr == (
        f"error: run {failed.name} is there already\nhint: choose another state folder with --state-dir\n"
    )


@pytest.mark.parametrize(
    ("alter", "says"),
    [
        (lambda text: text.replace("no such table", "no such chair"), "not those that were written"),
        (lambda text: text.replace('"seq":2', '"seq":3'), "event 3 stands where 2 should"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "not those that were written"),
        (lambda text: text.replace('"dirigent_run":1', '"dirigent_run":9'), "a later version"),
        (lambda text: text[: len(text) // 2], "line"),
        (lambda text: "", "the file is empty"),
    ],
    ids=["altered", "renumbered", "shortened", "newer", "torn", "empty"],
)
def test_what_was_altered_on_the_way_is_not_taken_in(
    dirigent: Dirigent, project: Path, failed: Path, alter: Callable[[str], str], says: str
) -> None:
    (project / "altered.jsonl").write_text(alter(dirigent("export").stdout))
    done = dirigent("import", "altered.jsonl", "--state-dir", "elsewhere")
    assert (done.returncode, done.stdout) == (2, ""), done
    assert says in done.stderr and "altered.jsonl" in done.stderr
    assert "hint: export the run again" in done.stderr
    assert dirigent("runs", "--state-dir", "elsewhere").stdout == ""


def test_old_runs_are_dropped_and_none_that_is_running(
    dirigent: Dirigent, program: Path, project: Path
) -> None:
    def left() -> list[str]:
        return [run["id"] for run in json.loads(dirigent("runs", "--json").stdout)]

    unsaid = "error: what may be dropped was not said\nhint: say --keep, --older-than or --max-mb\n"
    check(dirigent("gc"), project, "", 2, unsaid)
    write_script(project / "big.sh", "head -c 3000000 /dev/zero")
    for _ in range(4):
        assert dirigent("run", "big.sh", "--report", "none").returncode == 0
    ids = left()
    dry = dirigent("gc", "--keep", "3", "--dry-run")
    check(dry, project, "RUN-1  nightly\n", errors="1 run would be dropped\n")
    assert ids[3] in dry.stdout and left() == ids
    check(dirigent("gc", "--keep", "3"), project, "dropped 1 run, SIZE\n")
    assert left() == ids[:3] and not (project / ".dirigent/runs" / ids[3]).exists()
    check(dirigent("gc", "--older-than", "1h"), project, "dropped 0 runs, SIZE\n")
    check(dirigent("gc", "--max-mb", "6"), project, "dropped 1 run, SIZE\n")
    assert left() == ids[:2]
    with under_way(program, project):
        running = left()[0]
        assert dirigent("gc", "--keep", "0").returncode == 0
        assert left() == [running]
        assert dirigent("gc", "--older-than", "1ms", "--max-mb", "0").returncode == 0
        assert left() == [running]
    check(dirigent("gc", "--keep", "0"), project, "dropped 0 runs, SIZE\n")
    assert left() == [running], "it could be resumed"
    assert dirigent("gc", "--older-than", "1ms").returncode == 0
    assert left() == [] and not list((project / ".dirigent/runs").iterdir())


def test_the_doctor_says_what_is_wrong_and_the_cure(
    dirigent: Dirigent, program: Path, project: Path, failed: Path
) -> None:
    well = "✓ 1 run in PROJECT/.dirigent, SIZE\n✓ SIZE of room\n"
    check(dirigent("doctor"), project, well)
    with under_way(program, project):
        pass
    cut = "✓ run RUN-1 was cut short\n  `dirigent resume RUN-1` goes on with it\n"
    check(
        dirigent("doctor"), project, well.replace("1 run", "2 runs").replace("✓ SIZE of", f"{cut}✓ SIZE of")
    )
    journal = project / ".dirigent/journal.db"
    for beside in project.glob(".dirigent/journal.db-*"):
        beside.unlink()
    journal.write_bytes(b"\0" * journal.stat().st_size)
    done = dirigent("doctor")
    assert done.returncode == 74, done
    assert "journal.db is damaged" in done.stdout and f"  mv {journal} " in done.stdout
    # As told: put aside, and on with a new one.
    shutil.move(journal, journal.with_name("journal.damaged.db"))
    assert dirigent("run", "tidy.sh").returncode == 0
    assert dirigent("doctor").returncode == 0
    assert (failed / "tasks/1/1/stderr.log").read_text() == "no such table\n"


def test_runs_are_for_their_owner_alone(project: Path, failed: Path) -> None:
    for path in (failed, failed.parent, project / ".dirigent"):
        assert path.stat().st_mode & 0o777 == 0o700
    assert os.access(project / ".dirigent/journal.db", os.W_OK)
