"""Secrets of workflows declared in Python: commands get them, and nothing that is recorded or printed to a log shows them."""

from __future__ import annotations

import base64
import logging
import os
import pickle
import time
from pathlib import Path

import pytest
from dirigent import UsageError, Workflow

SECRET = 'hunter22-and"more'


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own."""
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def see_nothing(state: Path, secret: str = SECRET) -> None:
    """See that no file of the state folder shows the secret."""
    pieces = (secret.encode(), secret.replace('"', '\\"').encode(), b"hunter22")
    looked_at = 0
    for path in state.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found = [piece for piece in (*pieces, base64.b64encode(secret.encode())[:-4]) if piece in content]
            assert not found, (path, found)
            looked_at += 1
    assert looked_at > 1


def log(state: Path, task: int, stream: str = "stdout") -> str:
    """What the first attempt of a task of the only run wrote."""
    (path,) = state.glob(f"runs/*/tasks/{task}/1/{stream}.log")
    return path.read_text()


def test_commands_get_the_secrets_they_name(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", SECRET)
    workflow = Workflow("w", secrets={"TOKEN": SECRET})
    workflow.add_shell("named", 'printf "%s" "$TOKEN" | wc -c; echo "$TOKEN"', secrets=["TOKEN"])
    workflow.add_shell("renamed", 'echo "[$PASSWORD$TOKEN]"', secrets={"PASSWORD": "TOKEN"})
    workflow.add_shell("given", 'echo "[$OWN]"', env={"OWN": SECRET})
    workflow.add_shell("none", 'echo "[$TOKEN$MY_TOKEN]"')
    run = workflow.run_sync()
    assert run.ok
    assert run["named"].stdout.split() == [str(len(SECRET)), "***"]
    assert run["renamed"].stdout == run["given"].stdout == "[***]\n"
    assert run["none"].stdout == "[]\n", "not by a variable that happens to have its value either"
    see_nothing(state)
    assert SECRET not in repr(vars(workflow)) + repr(workflow.secrets)
    assert repr(workflow.secrets) == 'Secrets({"TOKEN"})'


def test_what_functions_print_log_raise_and_return_shows_no_secret(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def prints() -> None:
        print("it is", SECRET, flush=True)
        for character in SECRET:
            print(character, end="")
        logging.getLogger("mine").warning("logged %s", SECRET)
        print("", SECRET[:4], end="")

    def fails() -> None:
        raise RuntimeError(f"cannot log in with {SECRET}")

    workflow = Workflow("w", secrets={"TOKEN": SECRET}, fail_fast=False)
    workflow.add_task("prints", prints)
    workflow.add_task("fails", fails)
    workflow.add_task("returns", lambda: {"token": SECRET, "long": "x" * 10_000})
    workflow.add_task("uses", lambda returns: returns["token"] == SECRET, dependencies=["returns"])
    workflow.add_task("pickled", lambda: (SECRET, 1))
    workflow.add_task("small", lambda: [SECRET])
    workflow.add_task("harmless", lambda: ["hunter"])
    run = workflow.run_sync()
    assert [task.name for task in run.failed] == ["fails"]
    assert run["uses"] is True, "dependents get the value itself"
    assert run["small"] == [SECRET]
    assert log(state, 0) == capsys.readouterr().out == "it is ***\n*** hunt"
    assert "hunter22" not in repr(run) + str(run.summary())
    assert "WARNING mine: logged ***\n" in log(state, 0, "stderr")
    see_nothing(state)
    ended = {event["task"]: event for event in run.events() if event["kind"] == "attempt_ended"}
    assert ended[1]["message"] == "cannot log in with ***"
    for task in (2, 4, 5):
        assert ended[task]["value"] == {"kept": "not_kept", "why": "the secret `TOKEN` stands in it"}
    assert ended[6]["value"]["kept"] == "inline"


def tells(secret: str) -> str:
    print("here is", secret)
    print(secret[:9], end="", flush=True)
    time.sleep(0.01)
    print(secret[9:])
    return "done"


def test_functions_in_processes_of_their_own_show_none_either(state: Path) -> None:
    workflow = Workflow("w", secrets={"TOKEN": SECRET})
    workflow.add_task("tells", tells, args=[SECRET], isolation="process")
    assert workflow.run_sync()["tells"] == "done"
    assert log(state, 0) == "here is ***\n***\n"
    see_nothing(state)


def test_a_workflow_within_another_brings_its_secrets(state: Path) -> None:
    inner = Workflow("inner", secrets={"TOKEN": SECRET})
    inner.add_shell("echo", 'echo "[$TOKEN]"', secrets=["TOKEN"])
    inner.add_command("argues", ["echo", SECRET])
    outer = Workflow("outer", secrets={"OTHER": "something else"}, fail_fast=False).add_workflow(
        "part", inner
    )
    run = outer.run_sync()
    assert run["part/echo"].stdout == "[***]\n"
    assert "cannot hand over the secret `TOKEN` in its arguments" in str(run.tasks["part/argues"].error)
    see_nothing(state)
    with pytest.raises(UsageError, match="has another secret `TOKEN`"):
        Workflow("outer", secrets={"TOKEN": "something else"}).add_workflow("part", inner)


def test_what_cannot_be_is_refused(state: Path) -> None:
    with pytest.raises(Exception, match="secret `TOKEN` cannot be kept: it has under 4 characters"):
        Workflow("w", secrets={"TOKEN": "abc"})
    workflow = Workflow("w", secrets={"TOKEN": SECRET})
    with pytest.raises(UsageError, match=r"wants the secret `TOKNE`, which the workflow has not\n.*TOKEN"):
        workflow.add_command("a", ["true"], secrets=["TOKNE"])
    with pytest.raises(UsageError, match="a list of names, not a name"):
        workflow.add_command("a", ["true"], secrets="TOKEN")
    workflow.add_command("a", ["echo", f"--token={SECRET}"])
    with pytest.raises(Exception, match="argument lists are public") as raised:
        workflow.run_sync()
    assert SECRET not in str(raised.value)
    assert not list(state.glob("runs/*/tasks"))
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(workflow.secrets)


def test_a_run_that_goes_on_gives_the_secrets_again(state: Path, tmp_path: Path) -> None:
    def declared() -> Workflow:
        workflow = Workflow("w", secrets={"TOKEN": SECRET}, fail_fast=False)
        workflow.add_task("value", lambda: SECRET)
        workflow.add_shell(
            "shell", f'[ -e {tmp_path}/go ] && echo "$TOKEN"', secrets=["TOKEN"], dependencies=["value"]
        )
        return workflow

    first = declared().start()
    first.cancel()
    first.wait()
    (tmp_path / "go").touch()
    run = declared().run_sync(resume="last")
    assert run.ok
    assert run["shell"].stdout == "***\n"
    see_nothing(state)
    assert os.environ.get("TOKEN") is None
