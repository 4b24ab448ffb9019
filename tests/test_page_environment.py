"""What a page tells of the environment of a run, in a real browser: what was declared, and never a secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dirigent import Workflow

from tests.browser import Page
from tests.children import DEADLINE_S, only_run
from tests.test_page import FAINT

pytestmark = pytest.mark.needs("chromium")

#: Values that nobody is to read on the page, wherever they came from.
SECRET, INHERITED, CALLED_SO, IN_ADDRESS = (
    "hunter-two-22",
    "from-the-shell-33",
    "named-like-one-44",
    "pass-word-55",
)

WORKFLOW = f"""\
secrets: {{TOKEN: {{env: GH_TOKEN}}}}
params: {{day: monday, api_token: none, max_tokens: 512}}
tasks:
  push:
    shell: echo "pushing $TOKEN"
    secrets: [TOKEN]
    env: {{STAGE: "<b>test</b>", SIGNING_SECRET: {CALLED_SO}, DB: "postgres://etl:{IN_ADDRESS}@db/x"}}
  fails:
    shell: echo "it was $GITHUB_TOKEN" >&2; exit 1
    secrets: {{GITHUB_TOKEN: TOKEN}}
    env: {{STAGE: live}}
"""

#: Names and values in a part of the page, each with the remark behind it.
GIVEN = """(place => Object.fromEntries([...document.querySelectorAll(`${place} .given div`)].map(line =>
    ["dt", "code", "span"].map(it => line.querySelector(it)?.textContent ?? "")).map(([name, ...rest]) => [name, rest])))"""


@pytest.fixture
def folder(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run of the workflow above."""
    monkeypatch.setenv("GH_TOKEN", SECRET)
    monkeypatch.setenv("SOMETHING_ELSE", INHERITED)
    (tmp_path / "flow.yaml").write_text(WORKFLOW)
    state = tmp_path / "state"
    command = [program, "run", tmp_path / "flow.yaml", "--state-dir", state, "--report", "html"]
    ended = subprocess.run(
        [*command, "--param", f"api_token={CALLED_SO}"], capture_output=True, timeout=DEADLINE_S, cwd=tmp_path
    )
    assert ended.returncode == 1, ended.stderr
    return only_run(state)


def test_what_was_declared_is_told_and_secrets_by_their_names_alone(folder: Path, page: Page) -> None:
    page.go((folder / "report.html").as_uri())
    told = page.evaluate(f"{GIVEN}('#environment')")
    assert told["TOKEN"] == ["*** (secret TOKEN)", "1 of 2 commands"]
    assert told["GITHUB_TOKEN"] == ["*** (secret TOKEN)", "1 of 2 commands"]
    assert told["SIGNING_SECRET"][0] == "***", "its name says what it is"
    assert told["DB"][0] == "postgres://etl:***@db/x"
    assert told["STAGE"] == ["2 values", ""]
    assert told["Platform"][0].startswith("Linux ")
    assert "SOMETHING_ELSE" not in told, "what is inherited is nobody's business"
    given = page.evaluate(f"{GIVEN}('#parameters')")
    assert (given["day"][0], given["api_token"][0], given["max_tokens"][0]) == ("monday", "***", "512")
    for scheme in ("light", "dark"):
        page.emulate_media(prefers_color_scheme=scheme)
        page.wait_for(FAINT, [])


def test_no_secret_gets_to_the_page(folder: Path, page: Page) -> None:
    text = (folder / "report.html").read_text()
    for value in (SECRET, INHERITED, CALLED_SO, IN_ADDRESS):
        assert value not in text
    page.go((folder / "report.html").as_uri())
    for name, line in (("push", "pushing ***"), ("fails", "it was ***")):
        row = f"""[...document.querySelectorAll("#tasks tr")].find(it =>
            it.querySelector("summary")?.textContent === "{name}")"""
        assert page.evaluate(f"{row}.querySelector('pre').textContent") == line


def test_a_run_of_functions_tells_the_interpreter(
    program: Path, tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRIGENT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    assert Workflow("functions").add_task("a", int).run_sync().ok
    command = [program, "report", "--format", "html", "--state-dir", tmp_path / "state"]
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)
    page.go((only_run(tmp_path / "state") / "report.html").as_uri())
    told = page.evaluate(f"{GIVEN}('#environment')")
    version = ".".join(map(str, sys.version_info[:3]))
    assert told["Platform"][0].endswith(f", Python {version}")
    assert "Working directory" not in told, "it has no commands"
