"""The program as it is typed: exit codes, data and talk, reports, settings and where they come from."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.children import DEADLINE_S, events, only_run, summary, write_script

Done = subprocess.CompletedProcess[str]
Dirigent = Callable[..., Done]


@pytest.fixture
def dirigent(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dirigent:
    """Types a command in a fresh folder and waits for its end."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user-config"))

    def run(*argv: str | Path, env: Mapping[str, str] | None = None, **options: Any) -> Done:
        environment = {**os.environ, **(env or {})}
        options = {"capture_output": True, "cwd": tmp_path, "timeout": DEADLINE_S, **options}
        command = [program, *argv]
        return subprocess.run(command, text=True, errors="surrogateescape", env=environment, **options)

    return run


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A folder for scripts, whose runs are recorded in it."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "dirigent.toml").write_text("")
    return folder


def statuses(folder: Path) -> dict[str, str]:
    """How each script of a run went."""
    return {task["name"]: task["status"] for task in summary(folder)["tasks"]}


def started_in_order(folder: Path) -> list[int]:
    """The scripts of a run by their places, in the order in which they started."""
    return [event["task"] for event in events(folder) if event["kind"] == "attempt_started"]


def test_the_examples_end_as_they_are_meant_to(dirigent: Dirigent, root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "examples"
    shutil.copytree(root / "examples/scripts", copy, ignore=shutil.ignore_patterns(".dirigent"))
    done = dirigent("run", copy, env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 1, done.stderr
    run = only_run(copy / ".dirigent")
    assert statuses(run) == {
        "checks/fails.py": "failed",
        "checks/hangs.py": "timed_out",
        "checks/needs_a_printer.py": "skipped",
        "checks/no_matches.sh": "completed",
        "etl/extract.py": "completed",
        "etl/load.sh": "completed",
        "hello.py": "completed",
    }
    assert (run / "tasks/6/1/stdout.log").read_text() == "good evening from hello.py\n"
    assert "7 scripts in" in done.stdout and "1 timed out" in done.stdout
    assert str(run / "report.html") in done.stdout
    assert str(run / "tasks/0/1/stderr.log") in done.stdout
    assert "2 of 10 numbers are odd" in done.stderr

    written = {path.name for path in run.iterdir()}
    assert written == {"report.html", "summary.md", "junit.xml", "summary.json", "results", "tasks", "lock"}
    results = [json.loads((run / f"results/{i}.json").read_text()) for i in range(7)]
    assert [result["status"] for result in results] == [
        "failed",
        "timeout",
        "skipped",
        "passed",
        "passed",
        "passed",
        "passed",
    ]
    suite = ET.parse(run / "junit.xml").getroot()
    cases = list(suite.iter("testcase"))
    assert len(cases) == 7
    assert sum(case.find("skipped") is not None for case in cases) == 1
    assert sum(case.find("failure") is not None or case.find("error") is not None for case in cases) == 2

    state = copy / ".dirigent"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert (state / ".gitignore").read_text() == "*\n"
    assert "https://" not in re.sub(r"https?://www\.w3\.org\S*", "", (run / "report.html").read_text())

    # The reports of the recorded run are the same, byte for byte.
    before = {name: (run / name).read_bytes() for name in ("report.html", "summary.md", "junit.xml")}
    again = dirigent("report", run)
    assert again.returncode == 0, again.stderr
    assert {name: (run / name).read_bytes() for name in before} == before
    assert dirigent("report", "last", "--state-dir", state, "--format", "md").returncode == 0
    data = dirigent("report", run, "--json")
    assert json.loads(data.stdout) == summary(run)


# Exit codes


def test_each_kind_of_end_has_its_exit_code(dirigent: Dirigent, scripts: Path, tmp_path: Path) -> None:
    good = write_script(scripts / "good.sh", "exit 0")
    bad = write_script(scripts / "bad.sh", "exit 9")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").write_text("")

    def check(code: int, *argv: str | Path, says: str = "") -> None:
        done = dirigent(*argv)
        assert done.returncode == code, (argv, done)
        assert says in done.stderr
        assert "panicked" not in done.stderr

    check(0, "run", good)
    check(1, "run", scripts)
    check(1, "run", bad, good)
    check(2, "run", says="nothing to run was named")
    check(2, "run", scripts, "--jobs", "many", says="--jobs")
    check(2, "run", scripts, "--jobs", "0", says="--jobs")
    check(2, "run", scripts, "--timeout", "-3")
    check(2, "run", scripts, "--timeout", "0s", says="a limit is more than 0")
    check(1, "run", scripts, "--grace", "0s")
    check(2, "run", scripts, "--report", "pdf", says="html, md, junit, json")
    check(2, "no-such-verb")
    check(3, "run", tmp_path / "nowhere")
    check(3, "run", tmp_path / "empty")
    check(3, "list", scripts, "--filter", "*.rb")
    check(3, "report", "no-such-run")
    check(74, "run", good, "--state-dir", tmp_path / "a file", says="hint: a part of this path is a file")
    check(74, "run", good, "--state-dir", "/proc/nowhere", says="error: cannot")
    check(74, "hash", tmp_path / "missing", says="No such file")


def test_a_script_that_was_skipped_did_not_fail(dirigent: Dirigent, scripts: Path) -> None:
    write_script(scripts / "a.sh", "exit 1")
    (scripts / "dirigent.toml").write_text('[scripts."a.sh"]\nskip = true\nskip_reason = "not today"\n')
    done = dirigent("run", scripts)
    assert done.returncode == 0
    assert "not today" in done.stderr
    assert statuses(only_run(scripts / ".dirigent")) == {"a.sh": "skipped"}


# What is run, and in which order


def test_a_dry_run_runs_nothing_and_records_nothing(
    dirigent: Dirigent, scripts: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "it ran"
    write_script(scripts / "a.sh", f"touch '{trace}'")
    done = dirigent("run", scripts, "--dry-run", "--", "two words")
    assert done.returncode == 0
    assert done.stdout.startswith("run   a.sh  ") and done.stdout.endswith("'two words'\n")
    told = json.loads(dirigent("run", scripts, "--dry-run", "--json", "--", "x").stdout)
    assert [task["name"] for task in told] == ["a.sh"]
    assert told[0]["argv"][-1] == "x"
    assert not trace.exists() and not (scripts / ".dirigent").exists()


def test_one_at_a_time_goes_in_the_order_of_paths(dirigent: Dirigent, scripts: Path) -> None:
    for name in ("b/2.sh", "a/9.sh", "c.sh", "a/10.sh", "0.sh"):
        write_script(scripts / name, "exit 0")
    assert dirigent("run", scripts, "--jobs", "1").returncode == 0
    run = only_run(scripts / ".dirigent")
    assert started_in_order(run) == [0, 1, 2, 3, 4]
    assert list(statuses(run)) == sorted(statuses(run))


def test_after_a_failure_nothing_new_starts_where_that_is_wanted(dirigent: Dirigent, scripts: Path) -> None:
    for i, code in enumerate((0, 7, 0, 0)):
        write_script(scripts / f"{i}.sh", f"exit {code}")
    done = dirigent("run", scripts, "--jobs", "1", "--fail-fast")
    assert done.returncode == 1
    run = only_run(scripts / ".dirigent")
    assert list(statuses(run).values()) == ["completed", "failed", "skipped", "skipped"]
    assert "1.sh failed" in done.stderr
    shutil.rmtree(scripts / ".dirigent")
    assert dirigent("run", scripts, "--jobs", "1", "--fail-fast", "--keep-going").returncode == 1
    assert list(statuses(only_run(scripts / ".dirigent")).values()).count("completed") == 3


def test_needs_order_scripts_and_a_skip_travels_down(dirigent: Dirigent, scripts: Path) -> None:
    write_script(scripts / "a.sh", "[ -e made ] && echo found")
    write_script(scripts / "z.sh", "touch made")
    write_script(scripts / "fails.sh", "exit 1")
    write_script(scripts / "first.sh", "exit 0")
    write_script(scripts / "second.sh", "exit 0")
    config = """
[scripts]
"a.sh" = { needs = ["z.sh"] }
"first.sh" = { needs = ["fails.sh"] }
"second.sh" = { needs = ["first.sh"] }
"""
    (scripts / "dirigent.toml").write_text(config)
    done = dirigent("run", scripts, "--jobs", "4")
    assert done.returncode == 1
    run = only_run(scripts / ".dirigent")
    assert statuses(run) == {
        "a.sh": "completed",
        "fails.sh": "failed",
        "first.sh": "skipped",
        "second.sh": "skipped",
        "z.sh": "completed",
    }
    assert "it needs fails.sh, which did not complete" in done.stderr
    (scripts / "dirigent.toml").write_text('[scripts."a.sh"]\nneeds = ["y.sh"]\n')
    done = dirigent("run", scripts)
    assert done.returncode == 2
    assert "`a.sh` needs `y.sh`" in done.stderr and "did you mean" in done.stderr
    (scripts / "dirigent.toml").write_text(
        '[scripts]\n"a.sh" = {needs=["z.sh"]}\n"z.sh" = {needs=["a.sh"]}\n'
    )
    assert dirigent("run", scripts).returncode == 2


def test_arguments_and_surroundings_reach_the_script(dirigent: Dirigent, scripts: Path) -> None:
    (scripts / "src").mkdir()
    (scripts / "src" / "own_module.py").write_text("here = True\n")
    (scripts / "dirigent.toml").write_text('skip = ["src/"]\n[scripts."tell.py"]\nargs = ["own", "a b"]\n')
    told = "json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()])"
    body = f"import json, os, sys\nimport own_module\nprint({told})"
    (scripts / "tell.py").write_text(body)
    evil = ["--flag", "", '"; rm -rf /', "$(id)", "a\nb"]
    done = dirigent("run", scripts, "--", *evil, env={"PYTHONPATH": "/somewhere"})
    assert done.returncode == 0, done.stderr
    run = only_run(scripts / ".dirigent")
    argv, environment, cwd = json.loads((run / "tasks/0/1/stdout.log").read_text())
    assert argv == ["own", "a b", *evil]
    assert cwd == str(scripts)
    assert environment["DIRIGENT_RUN_ID"] == run.name
    assert environment["DIRIGENT_TASK"] == "tell.py"
    assert environment["DIRIGENT_ATTEMPT"] == "1"
    assert environment["DIRIGENT_IDEMPOTENCY_KEY"]
    assert environment["PYTHONPATH"] == f"{scripts / 'src'}:/somewhere"
    assert environment["PYTHONUNBUFFERED"] == "1"


def test_a_killed_script_has_shown_what_it_printed(dirigent: Dirigent, scripts: Path) -> None:
    (scripts / "hangs.py").write_text("import time\nprint('so far')\ntime.sleep(600)\n")
    done = dirigent("run", scripts, "--timeout", "5s", "--grace", "100ms")
    assert done.returncode == 1
    assert (only_run(scripts / ".dirigent") / "tasks/0/1/stdout.log").read_text() == "so far\n"
    assert "| so far" in done.stderr


def test_no_two_runs_share_a_folder(program: Path, scripts: Path) -> None:
    write_script(scripts / "a.sh", "echo $DIRIGENT_RUN_ID")
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    runs = [subprocess.Popen([program, "run", scripts, "--report", "none"], **quiet) for _ in range(6)]
    assert [run.wait(DEADLINE_S) for run in runs] == [0] * 6
    folders = list((scripts / ".dirigent/runs").iterdir())
    assert len(folders) == 6
    for folder in folders:
        assert (folder / "tasks/0/1/stdout.log").read_text() == f"{folder.name}\n"
        assert not (folder / "report.html").exists()


# Data on stdout, talk on stderr


def test_json_is_all_there_is_on_stdout(dirigent: Dirigent, scripts: Path) -> None:
    write_script(scripts / "a.sh", "echo noise; echo noise >&2")
    told = json.loads(dirigent("run", scripts, "--json").stdout)
    run = only_run(scripts / ".dirigent")
    assert told == summary(run)
    assert told["counts"]["completed"] == 1
    [listed] = json.loads(dirigent("list", scripts, "--json").stdout)
    assert (listed["name"], listed["path"]) == ("a.sh", str(scripts / "a.sh"))
    assert isinstance(json.loads(dirigent("config", scripts, "--json").stdout), list)
    assert json.loads(dirigent("hash", scripts / "a.sh", "--json").stdout)
    json.loads(dirigent("check", scripts, "--json").stdout)


def test_a_reader_that_goes_away_is_no_trouble(program: Path, scripts: Path) -> None:
    for i in range(400):
        write_script(scripts / f"{i:03}_{'long' * 40}.sh", "exit 0")
    line = 'set -o pipefail; "$0" list "$1" | head -1'
    done = subprocess.run(["bash", "-c", line, program, scripts], capture_output=True, text=True)
    assert not re.search("(?i)error|broken|panicked", done.stderr), done.stderr
    assert done.stdout.startswith("000_") and done.returncode in (0, 141)


def test_without_a_terminal_there_are_plain_lines(dirigent: Dirigent, scripts: Path) -> None:
    write_script(scripts / "a\x1b[31m.sh", "printf 'out\\033[2Jput\\n'; exit 1")
    done = dirigent("run", scripts)
    assert "\x1b" not in done.stdout + done.stderr
    assert "started" in done.stderr and "output" in done.stderr


# Configuration


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "dirigent.toml",
            '[run]\ntimout = "3s"\n',
            """\
error: unknown key `timout` in `run`
 --> FILE:2:1
  |
2 | timout = "3s"
  | ^^^^^^
hint: did you mean `timeout`?
""",
        ),
        (
            "dirigent.yaml",
            "default:\n  timeot: 3\n",
            """\
error: unknown key `timeot` in `default`
 --> FILE:2:3
  |
2 |   timeot: 3
  |   ^^^^^^
hint: did you mean `timeout`?
""",
        ),
        (
            "dirigent.json",
            '{\n  "defualt": {}\n}\n',
            """\
error: unknown key `defualt`
 --> FILE:2:3
  |
2 |   "defualt": {}
  |   ^^^^^^^^^
hint: did you mean `default`?
""",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["run", "list", "check", "config"])
def test_a_misspelt_key_is_shown_where_it_stands(
    dirigent: Dirigent, tmp_path: Path, verb: str, name: str, text: str, expected: str
) -> None:
    write_script(tmp_path / "scripts" / "a.sh", "exit 0")
    file = tmp_path / "scripts" / name
    file.write_text(text)
    done = dirigent(verb, tmp_path / "scripts")
    assert done.returncode == 2
    assert done.stderr == expected.replace("FILE", str(file))
    assert done.stdout == ""


def test_a_misspelt_option_or_variable_is_an_error_that_knows_better(
    dirigent: Dirigent, scripts: Path
) -> None:
    write_script(scripts / "a.sh", "exit 0")
    done = dirigent("run", scripts, "--jbos", "3")
    assert done.returncode == 2 and "--jobs" in done.stderr
    done = dirigent("run", scripts, env={"DIRIGENT_JOSB": "3"})
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: unknown environment variable `DIRIGENT_JOSB`\nhint: did you mean `DIRIGENT_JOBS`?\n"
    )
    done = dirigent("run", scripts, env={"DIRIGENT_JOBS": "many"})
    assert done.returncode == 2 and "DIRIGENT_JOBS" in done.stderr
    assert not (scripts / ".dirigent").exists()


def test_each_layer_wins_over_the_ones_below(dirigent: Dirigent, scripts: Path, tmp_path: Path) -> None:
    write_script(scripts / "a.sh", "exit 0")

    def check(expected: Any, kind: str, env: Mapping[str, str] | None = None) -> None:
        rows = json.loads(dirigent("config", scripts, "--json", env=env).stdout)
        [row] = [row for row in rows if row["key"] == "run.jobs"]
        assert (row["value"], row["origin"]["kind"].startswith(kind)) == (expected, True), row

    def check_run(expected: int, *argv: str, env: Mapping[str, str] | None = None) -> None:
        done = dirigent("run", scripts, "--report", "none", *argv, env=env)
        assert f", {expected} at a time" in done.stderr

    check(None, "default")
    (tmp_path / "user-config/dirigent").mkdir(parents=True)
    (tmp_path / "user-config/dirigent/config.toml").write_text("[run]\njobs = 3\n")
    check(3, "")
    check_run(3)
    (scripts / "dirigent.toml").write_text("[run]\njobs = 4\n")
    check(4, "")
    check_run(4)
    check(5, "env", {"DIRIGENT_JOBS": "5"})
    check_run(5, env={"DIRIGENT_JOBS": "5"})
    check_run(6, "--jobs", "6", env={"DIRIGENT_JOBS": "5"})
    told = dirigent("config", scripts).stdout
    assert "dirigent.toml" in told and "jobs" in told


def test_another_configuration_file_can_be_named(dirigent: Dirigent, scripts: Path, tmp_path: Path) -> None:
    write_script(scripts / "a.sh", 'echo "$@"')
    (tmp_path / "other.toml").write_text('[scripts."a.sh"]\nargs = ["from the other"]\n')
    command: list[str | Path] = ["run", scripts, "--config", tmp_path / "other.toml"]
    done = dirigent(*command, "--state-dir", tmp_path / "state")
    assert done.returncode == 0, done.stderr
    assert (only_run(tmp_path / "state") / "tasks/0/1/stdout.log").read_text() == "from the other\n"


def test_checking_tells_of_what_a_run_would_stumble_over(dirigent: Dirigent, scripts: Path) -> None:
    write_script(scripts / "a.sh", "exit 0")
    assert dirigent("check", scripts).returncode == 0
    (scripts / "dirigent.toml").write_text('[scripts."b.sh"]\ntimeout = "3s"\n')
    done = dirigent("check", scripts)
    assert "b.sh" in done.stdout + done.stderr
    (scripts / "dirigent.toml").write_text("[run]\njobs = 1\njobs = 2\n")
    done = dirigent("check", scripts)
    assert done.returncode == 2 and ":3:1" in done.stderr


def test_settings_that_mean_no_script_are_told_where_all_scripts_are_looked_at(
    dirigent: Dirigent, scripts: Path
) -> None:
    for name in ("load.sh", "clean.sh"):
        write_script(scripts / name, "exit 0")
    (scripts / "dirigent.toml").write_text('[scripts]\n"laod.sh" = {}\n"claen.sh" = {}\n"clean.sh" = {}\n')
    done = dirigent("run", scripts)
    assert done.returncode == 0
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert ["`laod.sh`" in warnings[0], "`claen.sh`" in warnings[1], len(warnings)] == [True, True, 2]
    assert done.stderr.splitlines().count("hint: did you mean `load.sh`?") == 1
    # Of a part nothing follows.
    for part in ([scripts / "load.sh"], [scripts, "--filter", "load*"], [scripts, "--ext", "sh"]):
        assert "warning" not in dirigent("run", *part).stderr


# The small verbs


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "sha512"])
def test_digests_are_the_ones_everybody_computes(dirigent: Dirigent, tmp_path: Path, algorithm: str) -> None:
    for name, content in (("empty", b""), ("big", bytes(range(256)) * 5000)):
        (tmp_path / name).write_bytes(content)
        digest = hashlib.new(algorithm, content).hexdigest()
        assert dirigent("hash", "--algorithm", algorithm, name).stdout == f"{digest}  {name}\n"
        with (tmp_path / name).open() as file:
            assert dirigent("hash", "-a", algorithm, "-", stdin=file).stdout == f"{digest}  -\n"


def test_blake3_of_nothing_is_the_published_one(dirigent: Dirigent, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    digest = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert dirigent("hash", "-a", "blake3", "empty").stdout == f"{digest}  empty\n"


def test_a_new_project_runs_and_is_never_overwritten(dirigent: Dirigent, tmp_path: Path) -> None:
    assert dirigent("init", "new").returncode == 0
    done = dirigent("run", "new/scripts")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new/.dirigent").is_dir()
    (tmp_path / "new/dirigent.toml").write_text("# mine\n")
    again = dirigent("init", "new")
    assert (tmp_path / "new/dirigent.toml").read_text() == "# mine\n"
    assert again.returncode in (0, 2) and again.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete_what_is_typed(dirigent: Dirigent, tmp_path: Path, shell: str) -> None:
    done = dirigent("completions", shell)
    assert done.returncode == 0
    assert "dirigent" in done.stdout and "fail-fast" in done.stdout
    if shutil.which(shell):
        (tmp_path / "completion").write_text(done.stdout)
        assert subprocess.run([shell, "-n", tmp_path / "completion"]).returncode == 0


# Reports of evil runs


class Tags(HTMLParser):
    """The elements of a page and their text, outside of styles and scripts of the page itself."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_and_output_stay_text_in_every_report(dirigent: Dirigent, scripts: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    write_script(scripts / f"{evil}.sh", f"echo '{evil}</script><script>alert(2)</script>'; exit 1")
    write_script(
        scripts / "a\x1b[31m|b`c`\nd.sh",
        "printf '\\033]0;title\\007\\033[2J```\\n]]>\\0\\377&amp;\\n'; exit 1",
    )
    write_script(scripts / "plain.sh", "exit 0")
    assert dirigent("run", scripts).returncode == 1
    run = only_run(scripts / ".dirigent")
    written = [path for path in run.rglob("*") if path.is_file() and path.suffix != ".log"]
    assert len(written) >= 8
    for path in written:
        assert b"\x1b" not in path.read_bytes(), path.name
        assert b"\x07" not in path.read_bytes(), path.name
    page = Tags()
    page.feed((run / "report.html").read_text())
    assert not [tag for tag, _ in page.seen if tag in ("img", "iframe", "object", "embed")]
    assert not [key for _, attrs in page.seen for key in attrs if key.startswith("on")]
    write_script(scripts / "other" / "plain.sh", "exit 1")
    assert dirigent("run", scripts / "other").returncode == 1
    plain = Tags()
    plain.feed((newest(scripts) / "report.html").read_text())
    count = [sum(tag == "script" for tag, _ in tags.seen) for tags in (page, plain)]
    assert count[0] == count[1], "the output brought a script element of its own"
    assert evil in page.text
    assert ET.parse(run / "junit.xml").getroot() is not None
    fences = r"(?ms)^ *(`{3,})[^`\n]*\n.*?^ *\1`* *$"
    outside = re.sub(r"`[^`\n]*`", "", re.sub(fences, "", (run / "summary.md").read_text()))
    assert not re.search(r"(?<!\\)<(img|script)", outside), outside


def newest(scripts: Path) -> Path:
    """The folder of the last run of a project."""
    return max((scripts / ".dirigent/runs").iterdir())
