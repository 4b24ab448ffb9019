"""The Python package as its users call it: discovery, settings, scripts, functions, reports, errors."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import dirigent
import pytest

from tests.children import DEADLINE_S, Ledger, started, wait_for, write_script


@pytest.fixture(autouse=True)
def state_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep runs out of the tester's home folder, and work in a folder without a project."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """An empty folder for scripts."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    return folder


def write(path: Path, text: str = "") -> Path:
    """A file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def names(found: list[Path], folder: Path) -> list[str]:
    """Paths below a folder, as text."""
    return [os.fspath(path.relative_to(folder)) for path in found]


# Discovery


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["a/b/two.py", "a/one.sh", "top.py"]),
        ({"max_depth": 0}, ["top.py"]),
        ({"max_depth": 1}, ["a/one.sh", "top.py"]),
        ({"max_depth": None}, ["a/b/c/three.py", "a/b/two.py", "a/one.sh", "top.py"]),
        ({"pattern": "*.sh"}, ["a/one.sh"]),
        ({"pattern": ["t*.py", "one*"]}, ["a/b/two.py", "a/one.sh", "top.py"]),
        ({"subdirs": ["a"]}, ["a/b/c/three.py", "a/b/two.py", "a/one.sh"]),
        ({"subdirs": ["a/b"], "max_depth": 0}, ["a/b/two.py"]),
    ],
)
def test_scripts_are_found_by_depth_pattern_and_subfolder_in_order(
    scripts: Path, options: dict[str, Any], expected: list[str]
) -> None:
    for name in ("top.py", "a/one.sh", "a/b/two.py", "a/b/c/three.py", "notes.txt", "a/data.csv"):
        write(scripts / name)
    assert names(dirigent.discover_scripts(scripts, **options), scripts) == expected


def test_what_is_ignored_skipped_hidden_or_a_tools_is_not_found(scripts: Path) -> None:
    write(scripts / ".gitignore", "drafts/\n*_old.py\n!keep_old.py\n")
    write(scripts / "dirigent.toml", 'skip = ["legacy/", "tmp_*.py"]\n')
    (scripts / ".git").mkdir()
    gone = ["drafts/a.py", "x_old.py", "legacy/a.py", "tmp_1.py", ".hidden.py", "__init__.py", "b.py~"]
    gone += [f"{folder}/in.py" for folder in sorted(dirigent.SKIP_DIRS)]
    for name in [*gone, "keep_old.py", "a.py", "sub/kept.py"]:
        write(scripts / name)
    assert names(dirigent.discover_scripts(scripts), scripts) == ["a.py", "keep_old.py", "sub/kept.py"]
    assert {"__pycache__", "node_modules", ".git"} <= dirigent.SKIP_DIRS
    assert "__init__.py" in dirigent.SKIP_PATTERNS


def test_executables_are_scripts_by_their_first_line(scripts: Path) -> None:
    write_script(scripts / "tool", "exit 0", "/bin/sh")
    write(scripts / "README", "#!/bin/sh\n")
    (scripts / "binary").write_bytes(b"\x7fELF")
    (scripts / "binary").chmod(0o755)
    assert names(dirigent.discover_scripts(scripts), scripts) == ["tool"]


def test_odd_names_are_found_and_run(scripts: Path) -> None:
    odd = [
        b"new\nline.py",
        b"b\xff\xfe.py",
        b"-rf.py",
        b"sp ace.py",
        b"q'uo\"te.py",
        b"$(id).py",
        b"\xf0\x9f\xa6\x80.py",
    ]
    paths = [Path(os.fsdecode(os.fsencode(scripts) + b"/" + name)) for name in odd]
    for path in paths:
        write(path, "print('ran')\n")
    found = dirigent.discover_scripts(scripts)
    assert sorted(map(os.fsencode, found)) == sorted(map(os.fsencode, paths))
    for path in found:
        result = dirigent.run_script(path)
        assert (result["status"], result["stdout"]) == ("passed", "ran\n"), path


def test_a_loop_of_links_ends(scripts: Path) -> None:
    write(scripts / "sub" / "a.py")
    (scripts / "sub" / "up").symlink_to(scripts, target_is_directory=True)
    (scripts / "self.py").symlink_to("self.py")
    found = names(dirigent.discover_scripts(scripts, max_depth=None), scripts)
    assert found.count("sub/a.py") == 1
    assert len(found) == len(set(found)) <= 2


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(dirigent.NotFoundError) as caught:
        dirigent.discover_scripts(tmp_path / "nowhere")
    assert caught.value.code
    assert "nowhere" in str(caught.value)


# Configuration

SAME = {
    "dirigent.toml": """
skip = ["old/"]
timeout_override = { "fast/*" = 5 }
[default]
timeout = 30
[scripts."a.py"]
args = ["--day", "monday"]
env = { LEVEL = "3" }
allowed_exit_codes = [0, 2]
""",
    "dirigent.yaml": """
skip: [old/]
timeout_override: {"fast/*": 5}
default: {timeout: 30}
scripts:
  a.py:
    args: ["--day", monday]
    env: {LEVEL: "3"}
    allowed_exit_codes: [0, 2]
""",
    "dirigent.json": """
{"skip": ["old/"], "timeout_override": {"fast/*": 5}, "default": {"timeout": 30},
 "scripts": {"a.py": {"args": ["--day", "monday"], "env": {"LEVEL": "3"}, "allowed_exit_codes": [0, 2]}}}
""",
}


def test_a_configuration_says_the_same_in_toml_yaml_and_json(scripts: Path) -> None:
    said = []
    for name, text in SAME.items():
        path = write(scripts / name, text)
        config = dirigent.load_config(scripts)
        said.append((config, dirigent.get_script_config("a.py", scripts, config)))
        path.unlink()
    assert said[0] == said[1] == said[2]
    config, settings = said[0]
    assert config["skip"] == ["old/"]
    assert settings["args"] == ["--day", "monday"]
    assert settings["env"] == {"LEVEL": "3"}
    assert settings["allowed_exit_codes"] == [0, 2]
    assert settings["timeout"] == 30
    assert settings["skip"] is False
    assert {"cwd", "skip_reason", "memory_limit_mb", "needs", "leave_running", "interpreter"} <= set(settings)


def test_no_configuration_is_an_empty_one(scripts: Path) -> None:
    assert dirigent.load_config(scripts) == {}
    settings = dirigent.get_script_config(scripts / "a.py", scripts, {})
    assert (settings["args"], settings["allowed_exit_codes"], settings["skip"]) == ([], [0], False)


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("dirigent.toml", '[scripts."a.py"]\ntimeuot = 3\n', ":2:1"),
        ("dirigent.yaml", "scripts:\n  a.py:\n    timeuot: 3\n", ":3:5"),
        ("dirigent.json", '{"scripts":\n {"a.py": {"timeuot": 3}}}\n', ":2:12"),
    ],
)
def test_a_misspelt_key_is_an_error_with_its_place_and_what_was_meant(
    scripts: Path, name: str, text: str, place: str
) -> None:
    path = write(scripts / name, text)
    with pytest.raises(dirigent.ConfigError) as caught:
        dirigent.load_config(scripts)
    message = str(caught.value)
    assert caught.value.code == "config.unknown_key"
    assert f"{path}{place}" in message
    assert "timeuot" in message.splitlines()[0]
    assert "did you mean `timeout`?" in message


def test_later_patterns_win_key_by_key_and_an_exact_path_wins_over_all(scripts: Path) -> None:
    text = """
default: {timeout: 1, args: [default]}
scripts:
  etl/load.py: {args: [exact]}
  "etl/*.py": {timeout: 2, args: [first], memory_limit_mb: 100}
  "**/load.*": {timeout: 3, args: [second]}
"""
    write(scripts / "dirigent.yaml", text)
    for name in ("etl/load.py", "etl/other.py", "x/load.sh", "top.py"):
        write(scripts / name)
    config = dirigent.load_config(scripts)

    def check(script: str, expected: tuple[float, list[str], int | None]) -> None:
        settings = dirigent.get_script_config(script, scripts, config)
        assert (settings["timeout"], settings["args"], settings["memory_limit_mb"]) == expected, script

    check("etl/load.py", (3, ["exact"], 100))
    check("etl/other.py", (2, ["first"], 100))
    check("x/load.sh", (3, ["second"], None))
    check("top.py", (1, ["default"], None))


def test_an_overriding_time_limit_wins_over_every_other(scripts: Path) -> None:
    write(scripts / "slow/a.py")
    config: dict[str, Any] = {"timeout_override": {"slow/*": 9}, "scripts": {"slow/a.py": {"timeout": 1}}}
    assert dirigent.get_script_config("slow/a.py", scripts, config)["timeout"] == 9
    assert dirigent.get_script_config("a.py", scripts, {**config, "timeout_override": 7})["timeout"] == 7


def test_a_script_that_is_not_there_yet_is_meant_from_the_folder_of_scripts(scripts: Path) -> None:
    config = {"scripts": {"etl/*.py": {"timeout": 2}}}
    assert dirigent.get_script_config("etl/load.py", scripts, config)["timeout"] == 2


def test_a_configuration_given_as_a_mapping_is_checked_too(scripts: Path) -> None:
    with pytest.raises(dirigent.ConfigError) as caught:
        dirigent.get_script_config("a.py", scripts, {"scripst": {}})
    assert "did you mean `scripts`?" in str(caught.value)


# Scripts

KEYS: dict[str, tuple[type, ...]] = {
    "script": (str,),
    "name": (str,),
    "subdirectory": (str,),
    "start_time": (str,),
    "end_time": (str,),
    "status": (str,),
    "exit_code": (int, type(None)),
    "execution_time": (float,),
    "stdout": (str,),
    "stderr": (str,),
    "error": (str, type(None)),
    "folder": (str,),
}


@pytest.mark.parametrize(
    ("body", "options", "status", "exit_code"),
    [
        ("exit 0", {}, "passed", 0),
        ("exit 3", {}, "failed", 3),
        ("exit 3", {"config": {"allowed_exit_codes": [3]}}, "passed", 3),
        ("kill -SEGV $$", {}, "failed", None),
        ("sleep 600", {"timeout": 0.3}, "timeout", None),
        ("sleep 600", {"timeout": 60, "config": {"timeout": 0.3}}, "timeout", None),
        ("exit 0", {"cwd": "/no/such/folder"}, "error", None),
        ("exit 1", {"config": {"skip": True, "skip_reason": "not today"}}, "skipped", None),
    ],
)
def test_a_result_says_how_a_script_ended(
    scripts: Path, body: str, options: dict[str, Any], status: str, exit_code: int | None
) -> None:
    result = dirigent.run_script(write_script(scripts / "sub" / "a.sh", body, "/bin/sh"), **options)
    assert (result["status"], result["exit_code"]) == (status, exit_code), result
    assert (result["error"] is None) == (status == "passed")
    missing = (type(None),) if status in ("skipped", "error") else ()
    for key, types in KEYS.items():
        assert isinstance(result[key], (*types, *(missing if key.endswith("_time") else ()))), key
    if status == "skipped":
        assert result["error"] is not None and "not today" in result["error"]


def test_times_have_a_zone_and_agree_with_the_wall_time(scripts: Path) -> None:
    from datetime import datetime

    result = dirigent.run_script(write_script(scripts / "a.sh", "sleep 0.3"))
    began, ended = (datetime.fromisoformat(result[key]) for key in ("start_time", "end_time"))
    assert began.tzinfo is not None
    assert 0.3 <= result["execution_time"] < 20
    assert (ended - began).total_seconds() >= 0.29


def test_a_script_that_is_not_there_is_an_error_of_its_own(scripts: Path) -> None:
    result = dirigent.run_script(scripts / "missing.sh")
    assert result["status"] == "error"
    assert "No such file" in str(result["error"])
    # The interpreter starts, and says so itself.
    assert dirigent.run_script(scripts / "missing.py")["status"] in ("error", "failed")


def test_the_environment_the_folder_and_the_arguments_reach_a_script(
    scripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNWANTED", "here")
    monkeypatch.setenv("KEPT", "kept")
    told = "json.dumps([dict(os.environ), os.getcwd(), sys.argv[1:], sys.executable])"
    body = f"import os, sys, json\nprint({told})"
    script = write(scripts / "tell.py", body)
    hard = ["two words", "", "$(id)", "--flag", "a\nb"]
    result = dirigent.run_script(
        script,
        env={"UNWANTED": None, "WANTED": "a=b\nc"},
        cwd=tmp_path,
        config={"args": hard, "env": {"FROM_CONFIG": "1", "WANTED": "loses"}},
    )
    assert result["status"] == "passed", result
    environment, cwd, argv, interpreter = json.loads(result["stdout"])
    assert "UNWANTED" not in environment
    assert (environment["KEPT"], environment["WANTED"], environment["FROM_CONFIG"]) == ("kept", "a=b\nc", "1")
    assert (cwd, argv) == (str(tmp_path), hard)
    assert os.path.samefile(interpreter, sys.executable)


def test_output_is_exact_in_the_log_and_readable_in_the_result(scripts: Path) -> None:
    result = dirigent.run_script(
        write_script(scripts / "a.sh", r"printf 'a\r\n\0\377\303\251'; printf 'e\377' >&2")
    )
    [log] = Path(result["folder"]).rglob("stdout.log")
    assert log.read_bytes() == b"a\r\n\0\xff\xc3\xa9"
    assert result["stdout"] == "a\r\n\0�é"
    assert result["stderr"] == "e�"


def test_a_memory_limit_ends_what_wants_more(scripts: Path) -> None:
    script = write(scripts / "eat.py", "x = bytearray(500 << 20)\n")
    result = dirigent.run_script(script, memory_limit_mb=150)
    assert result["status"] == "failed"
    assert "MemoryError" in result["stderr"] or "memory" in str(result["error"])


@pytest.mark.parametrize(
    "options", [{"timeout": 0}, {"timeout": -1}, {"timeout": float("nan")}, {"memory_limit_mb": 0}]
)
def test_an_argument_that_makes_no_sense_is_an_error(scripts: Path, options: dict[str, Any]) -> None:
    with pytest.raises(dirigent.UsageError):
        dirigent.run_script(write_script(scripts / "a.sh", "exit 0"), **options)


def test_an_unknown_argument_or_setting_is_an_error(scripts: Path) -> None:
    script = write_script(scripts / "a.sh", "exit 0")
    unknown: dict[str, Any] = {"timout": 3}
    with pytest.raises(TypeError):
        dirigent.run_script(script, **unknown)
    with pytest.raises(dirigent.ConfigError):
        dirigent.run_script(script, config=unknown)


def test_scripts_run_from_threads_at_once(scripts: Path) -> None:
    both = scripts / "both"
    # Each waits for the other: one after the other they would hang.
    bodies = [f"touch {both}{i}; while ! [ -e {both}{1 - i} ]; do sleep 0.02; done" for i in (0, 1)]
    paths = [write_script(scripts / f"{i}.sh", body) for i, body in enumerate(bodies)]
    results: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda p=path: results.append(dirigent.run_script(p))) for path in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert [result["status"] for result in results] == ["passed", "passed"]
    assert results[0]["folder"] != results[1]["folder"]


def test_threads_share_a_state_folder_that_is_new(
    scripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = write_script(scripts / "a.sh", "exit 0")
    at_once = 12
    for i in range(5):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / f"new-{i}"))
        barrier = threading.Barrier(at_once)
        ended: list[str] = []

        def work(barrier: threading.Barrier = barrier, ended: list[str] = ended) -> None:
            barrier.wait()
            try:
                ended.append(str(dirigent.run_script(script)["status"]))
            except dirigent.DirigentError as error:
                ended.append(str(error))

        threads = [threading.Thread(target=work) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert ended == ["passed"] * at_once


@pytest.mark.fault("P4", "SIGINT while scripts run")
def test_ctrl_c_is_answered_at_once_and_the_processes_end(scripts: Path, ledger: Ledger) -> None:
    body = f'setsid sh -c "{ledger.sign.replace("$$", chr(92) + "$" + chr(92) + "$")}; exec sleep 600" &\n'
    script = write_script(scripts / "stay.sh", f"{body}{ledger.sign}; exec sleep 600")
    code = """
import sys, time, dirigent
try:
    dirigent.run_script(sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.read()
"""
    argv: list[str | Path] = [sys.executable, "-c", code, script]
    with started(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as python:
        ledger.wait_for(2)
        python.send_signal(signal.SIGINT)
        assert python.stdout is not None
        assert python.stdout.readline() == "interrupted\n"
        # The interpreter lives on: the processes end without its help.
        wait_for("the end of the processes", lambda: not ledger.alive())
        assert python.poll() is None
        python.communicate("", timeout=DEADLINE_S)
        assert python.returncode == 0


# Reports


def results(scripts: Path) -> list[dict[str, Any]]:
    """One result of each kind."""
    made = [
        dirigent.run_script(write_script(scripts / "good.sh", "echo fine")),
        dirigent.run_script(write_script(scripts / "bad.sh", "echo '<script>alert(1)</script>'; exit 4")),
        dirigent.run_script(scripts / "bad.sh", config={"skip": True, "skip_reason": "later"}),
        dirigent.run_script(write_script(scripts / "slow.sh", "sleep 600"), timeout=0.2),
    ]
    made[2] = {**made[2], "script": "left out.sh", "name": "left out.sh"}
    return made


def test_a_report_counts_each_script_once_and_a_skip_is_no_failure(scripts: Path, tmp_path: Path) -> None:
    summary = dirigent.generate_report(results(scripts), tmp_path / "out", "nightly-1")
    counts = summary["counts"]
    expected = {"total": 4, "completed": 1, "failed": 1, "timed_out": 1, "skipped": 1}
    assert {key: counts[key] for key in expected} == expected
    assert [Path(task["name"]).name for task in summary["failed"]] == ["bad.sh", "slow.sh"]
    assert json.loads((tmp_path / "out/nightly-1/summary.json").read_text()) == summary
    page = (tmp_path / "out/nightly-1/summary.md").read_text()
    assert "bad.sh" in page


def test_a_report_of_nothing_and_of_skips_alone_is_no_failure(scripts: Path, tmp_path: Path) -> None:
    skipped = results(scripts)[2]
    assert dirigent.generate_report([], tmp_path, "empty")["counts"]["total"] == 0
    summary = dirigent.generate_report([skipped], tmp_path, "skips")
    assert (summary["verdict"], summary["counts"]["failed"]) == ("succeeded", 0)


def test_something_else_than_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(dirigent.UsageError):
        dirigent.generate_report([{"status": "passed"}], tmp_path, "run")


@pytest.mark.parametrize("run_id", ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "a\nb", "x" * 65, "é"])
def test_a_run_id_cannot_leave_the_folder(tmp_path: Path, run_id: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(dirigent.UsageError):
        dirigent.save_log({"script": "a.py"}, out, run_id)
    with pytest.raises(dirigent.UsageError):
        dirigent.generate_report([], out, run_id)
    assert not out.exists()


@pytest.mark.fault("G3", "logs with evil names")
def test_logs_of_evil_names_stay_in_the_folder_and_twins_do_not_meet(tmp_path: Path) -> None:
    evil = [
        "../../x.py",
        "a/b.py",
        "a_b.py",
        "a b.py",
        "..",
        "x" * 500,
        "\ud800.py",
        "<b>.py",
        "a\nb.py",
        "-rf",
        "",
    ]
    paths = [dirigent.save_log({"script": name, "stdout": name}, tmp_path, "run") for name in evil]
    assert len(set(paths)) == len(evil)
    for path, name in zip(paths, evil, strict=True):
        assert path.parent == tmp_path / "run"
        assert json.loads(path.read_text())["stdout"] == name
    assert sorted(os.listdir(tmp_path / "run")) == sorted(path.name for path in paths)


def test_documentation_is_read_from_source_and_nothing_is_run(scripts: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it ran"
    source = f'''"""Loads the <b>day</b>."""
import argparse, pathlib
pathlib.Path({str(trace)!r}).touch()
parser = argparse.ArgumentParser()
parser.add_argument("--day", required=True, help="the day to load")
'''
    write(scripts / "load.py", source)
    write(scripts / "broken.py", "def (:\n")
    write(scripts / "tool.sh", "#!/bin/sh\n# Copies things about.\n")
    page = dirigent.generate_script_documentation(scripts, tmp_path / "scripts.md")
    text = page.read_text()
    assert not trace.exists()
    assert "load.py" in text and "Loads the" in text and "--day" in text and "the day to load" in text
    assert "Copies things about" in text
    assert "Cannot be read" in text


# The package itself


@pytest.mark.parametrize(
    "name", ["BusyError", "ConfigError", "InternalError", "NotFoundError", "StorageError", "UsageError"]
)
def test_exceptions_survive_pickling(name: str) -> None:
    error = getattr(dirigent, name)("what happened", "area.reason")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.code, copy.message) == (type(error), "area.reason", "what happened")
    assert isinstance(copy, dirigent.DirigentError)
    assert str(copy) == "what happened"


def test_the_import_brings_no_event_loop_and_nothing_of_others() -> None:
    code = """
import sys
before = set(sys.modules)
import dirigent
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names) - {"dirigent"}), "asyncio" in sys.modules)
import signal
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "[] False\nTrue\n"


def test_every_public_name_is_there_documented_and_listed() -> None:
    assert sorted(dirigent.__all__) == dir(dirigent)
    for name in dirigent.__all__:
        value = getattr(dirigent, name)
        if callable(value):
            assert inspect.getdoc(value), name
    missing = "no_such_name"
    with pytest.raises(AttributeError, match=missing):
        getattr(dirigent, missing)


def test_python_m_runs_things(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text("print('hello')")
    words = ["-m", "dirigent", "run", "hello.py", "--state-dir", ".state", "--report", "none"]
    told = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert (told.returncode, told.stdout.splitlines()[-1][:8]) == (0, "1 script"), told.stderr


def test_python_m_is_the_same_program(program: Path) -> None:
    for argv in (["--version"], ["run"]):
        here, there = (
            subprocess.run([*start, *argv], capture_output=True, text=True)
            for start in ([sys.executable, "-m", "dirigent"], [program])
        )
        assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)
    assert (
        dirigent.__version__ in subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    )
