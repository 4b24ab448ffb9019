"""Who is told of the end of a run: when, what, how often it is tried, and that none of it hurts the run."""

from __future__ import annotations

import http.server
import json
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import DEADLINE_S, Ledger, kinds, started, write_script

Done = subprocess.CompletedProcess[str]


class Hook(http.server.ThreadingHTTPServer):
    """A web hook on this machine, which answers as it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        #: What is answered, the last again and again; `None` for nothing at all.
        self.answers: list[tuple[int, dict[str, str]] | None] = [(204, {})]
        self.posts: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.over = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Answer(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.posts.append((self.path, headers, json.loads(body)))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            self.server.over.wait(DEADLINE_S)
            return
        self.send_response(answer[0])
        for name, value in answer[1].items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    """A web hook that is there for one test."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Hook() as hook:
        yield hook
        hook.over.set()
        hook.shutdown()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a script that ends as the file `code` says."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "code").write_text("0")
    write_script(project / "a.sh", "echo said; echo why >&2; exit $(cat code)")
    return project


@pytest.fixture
def run(program: Path, project: Path) -> Callable[..., Done]:
    """Runs the project with these notifications."""

    def run(
        *notify: dict[str, Any], verb: tuple[str, ...] = ("run", "."), code: int = 0, **options: Any
    ) -> Done:
        (project / "dirigent.json").write_text(json.dumps({"run": {"report": []}, "notify": notify}))
        (project / "code").write_text(str(code))
        return subprocess.run(
            [program, *verb], cwd=project, capture_output=True, text=True, timeout=DEADLINE_S, **options
        )

    return run


def keeping(project: Path, name: str = "told", **more: Any) -> dict[str, Any]:
    """A notification that appends what it is told to a file of the project."""
    return {"command": ["sh", "-c", f"cat >> {name}"], **more}


def kept(project: Path, name: str = "told") -> list[dict[str, Any]]:
    path = project / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_each_end_is_told_to_those_who_want_to_know(run: Callable[..., Done], project: Path) -> None:
    occasions = ["failure", "recovery", "success", "always"]
    wanted = [keeping(project, on, on=on) for on in occasions]

    def told() -> list[int]:
        return [len(kept(project, on)) for on in occasions]

    assert run(*wanted).returncode == 0
    assert told() == [0, 0, 1, 1]
    assert run(*wanted, code=3).returncode == 1
    assert told() == [1, 0, 1, 2]
    assert run(*wanted).returncode == 0
    assert told() == [1, 1, 2, 3]
    assert run(*wanted).returncode == 0
    assert told() == [1, 1, 3, 4]
    assert [it["previous_verdict"] for it in kept(project, "always")] == [
        None,
        "succeeded",
        "failed",
        "succeeded",
    ]


def test_what_is_told_says_what_happened(run: Callable[..., Done], project: Path) -> None:
    done = run(keeping(project, on=["failure", "success"]), code=7)
    assert (done.returncode, done.stdout.count("1 failed")) == (1, 1)
    (told,) = kept(project)
    folder = project / ".dirigent/runs" / told["run"]
    assert folder.is_dir()
    assert 0 < told.pop("duration_s") < DEADLINE_S
    assert told == {
        "run": folder.name,
        "workflow": "project",
        "verdict": "failed",
        "previous_verdict": None,
        "first_failure": {
            "task": "a.sh",
            "status": "failed",
            "outcome": "failed with exit code 7",
            "last_lines": "why",
        },
        "counts": {"failed": 1},
        "folder": str(folder),
    }


def test_a_retry_is_told_of_too(run: Callable[..., Done], project: Path) -> None:
    run(keeping(project, on="always"), code=1)
    assert run(keeping(project, on="recovery", name="again"), verb=("retry",)).returncode == 0
    assert [it["verdict"] for it in kept(project, "again")] == ["succeeded"]


def test_runs_of_a_python_file_are_told_of_too(run: Callable[..., Done], project: Path) -> None:
    (project / "flows.py").write_text("from dirigent import flow\n@flow\ndef etl(): raise ValueError('no')\n")
    assert run(keeping(project, on="failure"), verb=("run", "flows.py:etl")).returncode == 1
    (told,) = kept(project)
    assert (told["workflow"], told["first_failure"]["task"]) == ("etl", "body")
    assert "ValueError: no" in told["first_failure"]["outcome"]


def test_a_web_hook_gets_it_posted_with_its_headers(
    run: Callable[..., Done], hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "Bearer s3cret")
    monkeypatch.setenv("HOOK_ADDRESS", f"http://{hook.address}/from/the/environment")
    headers = {"Authorization": {"env": "HOOK_TOKEN"}, "X-Team": "data"}
    done = run(
        {"on": "always", "webhook": f"http://{hook.address}/services/x?y=1", "headers": headers},
        {"on": "always", "webhook": {"env": "HOOK_ADDRESS"}},
    )
    assert (done.returncode, "notify" in done.stderr) == (0, False), done.stderr
    posts = {path: (sent, body) for path, sent, body in hook.posts}
    sent, body = posts["/services/x?y=1"]
    assert (sent["authorization"], sent["x-team"]) == ("Bearer s3cret", "data")
    assert sent["content-type"] == "application/json" and sent["user-agent"].startswith("dirigent/")
    assert body["verdict"] == "succeeded" and posts["/from/the/environment"][1] == body


def test_a_hook_that_has_trouble_is_tried_again(run: Callable[..., Done], hook: Hook) -> None:
    hook.answers = [(500, {}), (503, {}), (200, {})]
    done = run({"on": "always", "webhook": f"http://{hook.address}/"})
    assert (len(hook.posts), "notify" in done.stderr) == (3, False), done.stderr


def last_line(done: Done) -> str:
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("answers", "retries", "posts", "line"),
    [
        ([(500, {})], 1, 2, "answered 500 (2 tries)"),
        ([(404, {})], 3, 1, "answered 404"),
        (
            [(302, {"location": "ftp://127.0.0.1/x"})],
            3,
            1,
            "answered 302: it sends us elsewhere, where nothing is posted",
        ),
        (
            [(307, {"location": "/there"})],
            3,
            1,
            "answered 307: it sends us elsewhere, where nothing is posted",
        ),
        ([None], 0, 1, "did not answer in time"),
    ],
)
def test_a_hook_that_fails_is_one_line_and_changes_nothing(
    run: Callable[..., Done], hook: Hook, answers: list[Any], retries: int, posts: int, line: str
) -> None:
    hook.answers = answers
    address = f"http://{hook.address}/services/s3cret"
    done = run({"on": "always", "webhook": address, "retries": retries, "timeout": "1s"})
    assert (done.returncode, len(hook.posts)) == (0, posts)
    assert last_line(done) == f"notify     http://{hook.address} {line}"
    assert "s3cret" not in done.stderr


def test_a_hook_that_is_not_there_is_one_line(run: Callable[..., Done], hook: Hook) -> None:
    address = hook.address
    hook.shutdown()
    hook.server_close()
    done = run({"on": "always", "webhook": f"http://{address}/s3cret", "retries": 0}, code=1)
    assert done.returncode == 1
    assert (
        last_line(done).startswith(f"notify     http://{address} cannot be told: ")
        and "s3cret" not in done.stderr
    )


def test_a_variable_that_is_not_set_is_one_line(run: Callable[..., Done]) -> None:
    done = run({"on": "always", "webhook": {"env": "HOOK_ADDRESS"}})
    assert (done.returncode, last_line(done)) == (
        0,
        "notify     the web hook in `HOOK_ADDRESS` was not told: `HOOK_ADDRESS` is not set",
    )


@pytest.mark.needs("openssl")
def test_a_hook_is_believed_only_if_the_system_trusts_it(
    run: Callable[..., Done], hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    # A certificate for a server, not one that signs others.
    make += ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True, timeout=DEADLINE_S)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    hook.socket = context.wrap_socket(hook.socket, server_side=True)
    wanted = {"on": "always", "webhook": f"https://{hook.address}/", "retries": 0}
    stranger = run(wanted)
    assert (stranger.returncode, hook.posts) == (0, [])
    assert last_line(stranger).startswith(f"notify     https://{hook.address} cannot be told: ")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert "notify" not in run(wanted).stderr
    assert len(hook.posts) == 1


def test_a_command_that_fails_or_hangs_is_one_line(run: Callable[..., Done], ledger: Ledger) -> None:
    hangs, _ = kinds(ledger)["background"]
    done = run(
        {"on": "always", "command": ["sh", "-c", "exit 3"], "retries": 1},
        {"on": "always", "command": ["sh", "-c", hangs], "timeout": "3s", "retries": 0},
        {"on": "always", "command": "no-such-program", "retries": 0},
        {"on": "always", "command": ["sh", "-c", "echo talk"]},
        verb=("run", ".", "--json"),
    )
    assert done.returncode == 0 and json.loads(done.stdout)
    assert "talk\n" in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("notify")]
    assert len(told) == 3, told
    assert any(line.startswith("notify     no-such-program cannot start") for line in told), told
    assert "notify     sh ended with exit code 3 (2 tries)" in told
    assert any(line.startswith("notify     sh was ended after 3.") for line in told), told
    assert len(ledger.processes()) == 2 and ledger.alive() == []


def test_an_interrupt_does_not_wait_for_a_notification(
    program: Path, project: Path, run: Callable[..., Done], ledger: Ledger
) -> None:
    run()
    hangs = {"on": "always", "command": ["sh", "-c", f"{ledger.sign}; exec sleep 600"], "timeout": "60s"}
    (project / "dirigent.json").write_text(json.dumps({"notify": [hangs]}))
    with started(
        [program, "run", "."], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        ledger.wait_for(1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == -signal.SIGINT
        assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"on": "failure"}, "say whom to tell: `command` or `webhook`"),
        (
            {"on": "failure", "command": "x", "webhook": "https://x"},
            "either `command` or `webhook`, not both",
        ),
        ({"on": "failures", "command": "x"}, "unknown value `failures`"),
        ({"command": "x"}, "missing key `on`"),
        ({"on": "always", "webhook": "ftp://x"}, "an address begins with `https://` or `http://` and a host"),
        ({"on": "always", "webhook": "https://x/ y"}, "an address has neither spaces nor line ends"),
        ({"on": "always", "command": "x", "headers": {"A": "b"}}, "only a `webhook` has headers"),
        ({"on": "always", "webhook": "https://x", "headers": {"A b": "c"}}, "`A b` is no name of a header"),
        (
            {"on": "always", "webhook": "https://x", "headers": {"A": "b\nC: d"}},
            "the value of `A` is no plain ASCII",
        ),
        ({"on": "always", "webhook": "https://x", "timeout": "5m"}, "at most 60 s"),
        ({"on": "always", "webhook": "https://x", "retries": 11}, "11 is too large, the most is 10"),
        ({"on": "always", "webhook": "https://x", "retry": 1}, "unknown key `retry`"),
        ({"on": "always", "webhook": {"environment": "X"}}, "unknown key `environment`"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place(
    run: Callable[..., Done], wrong: dict[str, Any], message: str
) -> None:
    done = run(wrong)
    assert done.returncode == 2 and message in done.stderr and "dirigent.json:1:" in done.stderr, done.stderr
