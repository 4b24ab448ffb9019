"""Secrets and the environment of children, from outside: who gets a value, and that nothing else ever shows it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import DEADLINE_S, only_run, started, wait_for, write_script

Done = subprocess.CompletedProcess[str]
Dirigent = Callable[..., Done]

#: Looked for everywhere afterwards: it looks different in each encoding.
CANARY = 'k3ep/me+out "of& this=%7 zürich-xylophone'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose scripts get the secret ``TOKEN``, which comes from the variable ``CANARY``."""
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user-state"))
    folder = tmp_path / "nightly"
    folder.mkdir()
    settings = "secrets: {TOKEN: {env: CANARY}}\ndefault: {secrets: [TOKEN]}\nrun: {jobs: 2}\n"
    (folder / "dirigent.yaml").write_text(settings)
    return folder


@pytest.fixture
def dirigent(program: Path, project: Path) -> Dirigent:
    """Types a command in the project and waits for its end."""

    def run(*argv: str | Path, **options: Any) -> Done:
        options = {"capture_output": True, "text": True, "cwd": project, "timeout": DEADLINE_S, **options}
        return subprocess.run([program, *argv], **options)

    return run


def settle(project: Path, settings: str) -> None:
    """Give the project other settings."""
    (project / "dirigent.yaml").write_text(settings)


def forms(secret: str) -> Iterator[bytes]:
    """Pieces of every form of the secret, none of which may stand anywhere."""
    raw = secret.encode()
    texts = {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        urllib.parse.quote(secret),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        urllib.parse.quote(secret, safe="").lower(),
    }
    for text in texts:
        whole = text.encode()
        yield from (whole[at : at + 7] for at in range(len(whole) - 6))
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Without the ends, which depend on what stands beside it.
            whole = encode(b"\0" * before + raw)[4:-4]
            yield from (whole[at : at + 9] for at in range(len(whole) - 8))


FORMS = set(forms(CANARY))


def see_nothing(where: str, content: bytes) -> None:
    """See that no form of the canary stands in there, however it is broken into lines."""
    for bare in (content, content.replace(b"\n", b"").replace(b"\r", b"")):
        found = [form for form in FORMS if form in bare]
        assert not found, f"{where}: {found[:3]}"


def see_nothing_anywhere(project: Path, dirigent: Dirigent) -> None:
    """Look into every file of the state folder, and at what every verb says of every run in it."""
    looked_at = 0
    for path in (project / ".dirigent").rglob("*"):
        if path.is_file():
            see_nothing(str(path), path.read_bytes())
            looked_at += 1
    assert looked_at > 3
    runs = [run["id"] for run in json.loads(dirigent("runs", "--json").stdout)]
    for run in runs:
        tasks = json.loads(dirigent("show", run, "--json").stdout)["tasks"]
        said: list[tuple[str | Path, ...]] = [
            ("show", run),
            ("show", run, "--json"),
            ("verify", run),
            ("export", run),
        ]
        said += [("report", run, "--format", kind) for kind in ("html", "md", "junit", "json")]
        said += [("logs", run, task["name"]) for task in tasks]
        said += [("why", task["name"], run) for task in tasks]
        for argv in [("runs",), ("config",), ("config", "--json"), ("check", "."), ("list", "."), *said]:
            done = dirigent(*argv, text=False)
            assert done.returncode == 0, done
            see_nothing(f"stdout of {argv}", done.stdout)
            see_nothing(f"stderr of {argv}", done.stderr)


def has(variable: str, value: str = CANARY) -> str:
    """A line of a shell script that fails unless a variable has this value."""
    digest = hashlib.sha256(value.encode()).hexdigest()
    return f"""[ "$(printf %s "${variable}" | sha256sum | cut -d' ' -f1)" = {digest} ] || exit 9"""


def write_talkers(project: Path) -> None:
    """Scripts that tell the secret in every way they can."""
    write_script(project / "plain.sh", f'{has("TOKEN")}; echo "it is $TOKEN."; echo "$TOKEN" >&2')
    write_script(project / "fails.sh", 'echo "cannot log in with $TOKEN" >&2; printf %s "$TOKEN" >&2; exit 3')
    write_script(
        project / "grandchild.sh", "OTHER=\"x$TOKEN\" sh -c 'env | grep OTHER'; env; cat /proc/self/environ"
    )
    write_script(
        project / "given.sh",
        '[ -z "$DIRIGENT_OUTPUT" ] || printf \'{"token": "%s"}\' "$TOKEN" > "$DIRIGENT_OUTPUT"; set -x; : "$TOKEN"',
    )
    (project / "split.py").write_text(
        """
import os, sys, time
for stream in (1, 2):
    for byte in os.environb[b"TOKEN"] + b" and on":
        os.write(stream, bytes([byte]))
        time.sleep(0.003)
"""
    )
    (project / "encoded.py").write_text(
        """
import base64, json, os, textwrap, urllib.parse
token = os.environ["TOKEN"]
for before in ("", "x", "xy", "user:"):
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode((before + token + "!").encode()).decode()
        print(text, *textwrap.wrap(text, 10), sep="\\n")
for quote in (urllib.parse.quote, urllib.parse.quote_plus):
    for safe in ("", "/"):
        print(quote(token, safe=safe), quote(token, safe=safe).lower())
print(json.dumps([token]), json.dumps([token], ensure_ascii=False))
raise RuntimeError("no entry with " + token)
"""
    )


# --- nowhere --------------------------------------------------------------------------------------


def test_a_secret_is_found_nowhere(project: Path, dirigent: Dirigent) -> None:
    write_talkers(project)
    done = dirigent("run", ".", "--report", "html,md,junit,json")
    assert done.returncode == 1
    see_nothing("stdout of run", done.stdout.encode())
    see_nothing("stderr of run", done.stderr.encode())
    run = only_run(project / ".dirigent")
    summary = json.loads((run / "summary.json").read_text())
    statuses = {task["name"]: task["status"] for task in summary["tasks"]}
    assert {name for name, status in statuses.items() if status != "completed"} == {"fails.sh", "encoded.py"}
    assert dirigent("logs", "last", "plain.sh").stdout == "it is ***.\n***\n"
    assert dirigent("logs", "last", "split.py").stdout == "*** and on*** and on"
    assert "cannot log in with ***" in done.stdout + done.stderr
    assert "RuntimeError: no entry with ***" in done.stdout + done.stderr
    see_nothing_anywhere(project, dirigent)
    again = dirigent("retry", "last", "--json")
    assert again.returncode == 1
    see_nothing("stdout of retry", again.stdout.encode())
    see_nothing("stderr of retry", again.stderr.encode())
    assert dirigent("logs", "last", "fails.sh").stdout == "cannot log in with ***\n***"
    see_nothing_anywhere(project, dirigent)


def test_a_secret_is_found_nowhere_when_the_engine_is_killed_and_the_run_goes_on(
    project: Path, program: Path, dirigent: Dirigent
) -> None:
    write_talkers(project)
    write_script(
        project / "waits.sh",
        f'{has("TOKEN")}; echo "first $TOKEN"; touch begun; [ -e go ] || sleep 600; {has("TOKEN")}; echo "then $TOKEN"',
    )
    with started([program, "run", ".", "--jobs", "1"], cwd=project, stderr=subprocess.DEVNULL) as engine:
        wait_for("the script that waits", (project / "begun").exists)
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                see_nothing(str(entry), entry.read_bytes())
            except OSError:
                continue  # it has ended meanwhile
        engine.send_signal(signal.SIGKILL)
        engine.wait(DEADLINE_S)
    for path in (project / ".dirigent").rglob("*"):
        if path.is_file():
            see_nothing(str(path), path.read_bytes())
    (project / "go").touch()
    done = dirigent("resume", "--json")
    assert done.returncode == 1, done
    see_nothing("resume", (done.stdout + done.stderr).encode())
    assert dirigent("logs", "last", "waits.sh").stdout == "first ***\nthen ***\n"
    see_nothing_anywhere(project, dirigent)


# --- who gets one ---------------------------------------------------------------------------------


def test_a_script_gets_the_secrets_it_names_and_inherits_no_others(project: Path, dirigent: Dirigent) -> None:
    settle(project, "secrets: {TOKEN: {env: CANARY}}\nscripts: {with.sh: {secrets: {PASSWORD: TOKEN}}}\n")
    write_script(project / "with.sh", f'{has("PASSWORD")}; [ -z "$TOKEN$CANARY" ]')
    write_script(project / "without.sh", '[ -z "$TOKEN$PASSWORD$CANARY" ]')
    done = dirigent("run", ".")
    assert done.returncode == 0, done


def test_values_come_from_files_and_programs_too(project: Path, dirigent: Dirigent) -> None:
    key = project / "key"
    key.write_text("from a file\n\n")
    key.chmod(0o600)
    settle(
        project,
        """
secrets:
  FILE: {file: key}
  PROGRAM: {command: [sh, -c, "pwd >> calls; echo 'do not show' >&2; echo from a program"]}
  NEVER: {command: [sh, -c, "touch never"]}
default: {secrets: [FILE, PROGRAM]}
""",
    )
    for name in ("a.sh", "b.sh"):
        body = f'{has("FILE", "from a file" + chr(10))}; {has("PROGRAM", "from a program")}; echo "$PROGRAM"'
        write_script(project / name, body.replace('printf %s "$FILE"', 'printf "%s" "$FILE"'))
    done = dirigent("run", ".")
    assert done.returncode == 0, done
    assert "do not show" not in done.stderr
    assert dirigent("logs", "last", "a.sh").stdout == "***\n"
    assert (project / "calls").read_text() == f"{project}\n", "once for all, in the project's folder"
    assert not (project / "never").exists(), "nobody asked for it"
    assert "chmod 600" not in done.stderr
    key.chmod(0o644)
    warned = dirigent("run", ".")
    assert f"warning: others may read {key}, where the secret `FILE` is: `chmod 600 {key}`\n" in warned.stderr
    assert warned.returncode == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{env: NOT_SET}", "there is no secret `TOKEN`: the variable `NOT_SET` is not set"),
        ("{env: SHORT}", "secret `TOKEN` cannot be kept: it has under 4 characters"),
        ("{env: EMPTY}", "secret `TOKEN` cannot be kept: it is empty"),
        ("{file: gone}", "there is no secret `TOKEN`: cannot read "),
        ("{command: [sh, -c, 'echo hunter22; exit 7']}", "`sh` failed with exit code 7"),
        ("{command: [sh, -c, 'kill -9 $$']}", "`sh` was killed"),
        ("{command: no-such-program}", "`no-such-program` could not start"),
        ("{command: [printf, 'a\\0bcdef']}", "it contains a NUL byte"),
        ("{command: [printf, '\\377bcdef']}", "what is in its output is not UTF-8"),
        ("{command: [head, -c, '70000', /dev/zero]}", "is longer than 64 KiB"),
        ("{env: A, file: b}", "a secret has one source: `env`, `file` or `command`"),
        ("{}", "a secret has one source: `env`, `file` or `command`"),
        ("hunter22", "the value of a secret is not written here"),
        ("{enf: A}", "unknown key `enf`"),
    ],
)
def test_what_cannot_be_a_secret_is_refused_before_anything_starts(
    project: Path, dirigent: Dirigent, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.setenv("SHORT", "abc")
    monkeypatch.setenv("EMPTY", "")
    settle(project, f"secrets:\n  TOKEN: {source}\ndefault: {{secrets: [TOKEN]}}\n")
    write_script(project / "a.sh", "touch ran")
    done = dirigent("run", ".")
    assert (done.returncode, message in done.stderr) == (2, True), done
    assert "hunter22" not in done.stderr.replace("TOKEN: hunter22", ""), "an error never shows a value"
    assert not (project / "ran").exists()
    assert not (project / ".dirigent").exists()


def test_unknown_names_are_errors_with_a_place(project: Path, dirigent: Dirigent) -> None:
    settle(project, "secrets: {TOKEN: {env: CANARY}}\nscripts:\n  a.sh: {secrets: [TOKNE]}\n")
    write_script(project / "a.sh", "touch ran")
    done = dirigent("run", ".")
    assert done.returncode == 2
    assert "error: unknown secret `TOKNE`" in done.stderr
    assert "dirigent.yaml:3:" in done.stderr
    assert "hint: did you mean `TOKEN`?" in done.stderr
    settle(project, "secrets: {MY-TOKEN: {env: CANARY}}\n")
    assert "`MY-TOKEN` cannot be the name of a secret" in dirigent("check", ".").stderr


def test_a_run_whose_secret_nobody_names_any_more_is_not_resumed(project: Path, dirigent: Dirigent) -> None:
    write_script(project / "a.sh", "exit 3")
    assert dirigent("run", ".").returncode == 1
    settle(project, "")
    done = dirigent("retry")
    assert done.returncode == 2
    assert "error: nothing says where the secret `TOKEN` comes from" in done.stderr


def test_a_secret_in_an_argument_is_refused(project: Path, dirigent: Dirigent) -> None:
    write_script(project / "a.sh", "touch ran")
    done = dirigent("run", "a.sh", "--", f"--token={CANARY}")
    assert done.returncode == 2
    assert "the secret `TOKEN` stands in the arguments of task `a.sh`" in done.stderr
    assert "argument lists are public" in done.stderr
    see_nothing("the message", done.stderr.encode())
    encoded = base64.b64encode(CANARY.encode()).decode()
    assert dirigent("run", "a.sh", "--", encoded).returncode == 2
    settle(
        project,
        f"secrets: {{TOKEN: {{env: CANARY}}}}\ndefault: {{env: {{URL: {json.dumps('http://' + CANARY)}}}}}\n",
    )
    done = dirigent("run", "a.sh")
    assert (done.returncode, "stands in the variables of task `a.sh`" in done.stderr) == (2, True), done
    assert not (project / "ran").exists()


def test_config_shows_names_and_sources(project: Path, dirigent: Dirigent) -> None:
    assert 'secrets.TOKEN.env = "CANARY"' in dirigent("config").stdout


# --- the environment ------------------------------------------------------------------------------


def test_a_script_inherits_only_what_it_may(
    project: Path, dirigent: Dirigent, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIVEN", "ALSO_ONE", "ALSO_TWO", "OTHER", "LC_TIME"):
        monkeypatch.setenv(name, "C")
    settle(project, "scripts: {a.sh: {pass_env: [GIVEN, ALSO_*], env: {OWN: mine}}, b.sh: {pass_env: []}}\n")
    for name in ("a.sh", "b.sh", "c.sh"):
        write_script(project / name, "env | grep -v ^_= | cut -d= -f1 | sort | grep -v '^DIRIGENT_'")
    assert dirigent("run", ".").returncode == 0
    base = {"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"} & set(
        os.environ
    )
    own = {
        "PWD",
        "SHLVL",
        "PYTHONUNBUFFERED",
        "LC_TIME",
        *(name for name in os.environ if name.startswith("LC_")),
    }

    def inherited(name: str) -> set[str]:
        return set(dirigent("logs", "last", name).stdout.split()) - base - own - {"OLDPWD"}

    assert inherited("a.sh") == {"GIVEN", "ALSO_ONE", "ALSO_TWO", "OWN"}
    assert inherited("b.sh") == set()
    assert {"GIVEN", "OTHER", "CANARY"} <= inherited("c.sh")


def test_variables_come_from_files(project: Path, dirigent: Dirigent) -> None:
    (project / ".env").write_text("# for all\nA=one\nB='two words'\nexport C=three # really\n")
    (project / "more.env").write_text('B="from\\nmore"\nPASSWORD=hunter22xyz\n')
    settle(
        project,
        "secrets: {DB: {env: PASSWORD}}\ndefault: {env_file: [.env, more.env], env: {C: mine}}\n"
        "scripts: {b.sh: {env_file: .env}}\n",
    )
    write_script(project / "a.sh", 'printf "%s|" "$A" "$B" "$C" "$PASSWORD"')
    write_script(project / "b.sh", 'printf "%s|" "$A" "$B" "$C" "$PASSWORD"')
    done = dirigent("run", ".")
    assert done.returncode == 0, done
    assert dirigent("logs", "last", "a.sh").stdout == "one|from\nmore|mine|***|"
    assert dirigent("logs", "last", "b.sh").stdout == "one|two words|mine||"
    for path in (project / ".dirigent").rglob("*"):
        assert not path.is_file() or b"hunter22xyz" not in path.read_bytes(), "a variable that is a secret"
    (project / ".env").write_text("A=1\n\nhunter22xyz\n")
    wrong = dirigent("run", ".")
    assert wrong.returncode == 2
    assert wrong.stderr == f"error: {project}/.env:3: this is no `NAME=value`\n"


# --- workflow files -------------------------------------------------------------------------------


def test_tasks_of_a_workflow_file_get_the_secrets_they_name(
    project: Path, dirigent: Dirigent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER", "nobody asked for it")
    write_script(project / "any.sh", "exit 0")
    (project / "own").write_text("hunter22xyz\n")
    (project / "vars.env").write_text("A=one\nB=two\n")
    (project / "flow.yaml").write_text(
        """
secrets: {OWN: {command: [cat, own]}}
params: {word: {type: string, default: none}}
tasks:
  gets: {shell: 'echo "$TOKEN|$MINE|$A|$B|$OTHER|$CANARY"', secrets: {TOKEN: TOKEN, MINE: OWN}, env_file: vars.env,
         env: {B: mine}, pass_env: [NOTHING]}
  none: {shell: 'echo "[$TOKEN$OWN$CANARY]"'}
  each: {each: [1, 2], shell: 'echo "$OWN"', secrets: [OWN]}
  value: {shell: 'printf "%s" "$TOKEN"; echo "token=$OWN" > "$DIRIGENT_OUTPUT"', secrets: [TOKEN, OWN]}
  fails: {shell: 'echo "no entry with $TOKEN" >&2; [ -e ok ]', secrets: [TOKEN], needs: [gets, none, each, value]}
"""
    )
    done = dirigent("run", "flow.yaml")
    assert done.returncode == 1, done
    see_nothing("run", (done.stdout + done.stderr).encode())
    assert dirigent("logs", "last", "gets").stdout == "***|***|one|mine||\n"
    assert dirigent("logs", "last", "none").stdout == "[]\n"
    assert dirigent("logs", "last", "fails").stdout == "no entry with ***\n"
    assert dirigent("logs", "last", "each[1]").stdout == "***\n"
    (project / "ok").touch()
    again = dirigent("retry")
    assert again.returncode == 0, again
    see_nothing_anywhere(project, dirigent)
    for path in (project / ".dirigent").rglob("*"):
        assert not path.is_file() or b"hunter22xyz" not in path.read_bytes(), path


def test_what_is_wrong_with_the_secrets_of_a_workflow_file_is_refused(
    project: Path, dirigent: Dirigent
) -> None:
    write_script(project / "any.sh", "exit 0")
    flow = project / "flow.yaml"
    flow.write_text("params: {word: none}\ntasks: {a: {run: [touch, ran], secrets: [TOKNE]}}\n")
    done = dirigent("run", "flow.yaml")
    assert (done.returncode, "hint: did you mean `TOKEN`?" in done.stderr) == (2, True), done
    told = dirigent("check", "flow.yaml")
    assert (told.returncode, "flow.yaml:2:9" in told.stderr, "`TOKEN`" in told.stderr) == (2, True, True), (
        told
    )
    flow.write_text("params: {word: none}\ntasks: {a: {run: [touch, ran], secrets: [TOKEN]}}\n")
    done = dirigent("run", "flow.yaml", "--param", f"word={CANARY}")
    assert (done.returncode, "the secret `TOKEN` stands in a parameter" in done.stderr) == (2, True), done
    see_nothing("the message", done.stderr.encode())
    assert not (project / "ran").exists()
    flow.write_text("tasks: {a: {approval: sure?, secrets: [TOKEN]}}\n")
    assert "`secrets` means nothing beside `approval`" in dirigent("check", "flow.yaml").stderr
    flow.write_text(
        "tasks:\n"
        "  tells: {shell: 'echo $TOKEN', secrets: [TOKEN], output: text}\n"
        "  argues: {run: [echo, '${{ tasks.tells.value }}'], needs: [tells]}\n"
    )
    done = dirigent("run", "flow.yaml")
    assert done.returncode == 0, done
    assert dirigent("logs", "last", "argues").stdout == "***\n", "what is read from a log was masked before"
    see_nothing_anywhere(project, dirigent)
