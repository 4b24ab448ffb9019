"""The JSON Schema of workflow files, held against a validator: an editor with it must agree with ``dirigent check``."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.workflow_files import PROGRAM

ROOT = Path(__file__).resolve().parent.parent


class Loader(yaml.SafeLoader):
    """Reads YAML 1.2, in which neither a day nor ``yes`` is anything but text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag.rpartition(":")[2] not in {"bool", "timestamp"}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))


def read(text: str) -> object:
    return yaml.load(text, Loader)


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    told = subprocess.run([PROGRAM, "check", "--schema"], capture_output=True, text=True, check=True)
    schema = json.loads(told.stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def texts() -> Iterator[str]:
    """Every workflow file that stands in examples, in the guide and in tests, right or wrong."""
    yield from (path.read_text() for path in ROOT.glob("examples/**/*.yaml"))
    yield from re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "workflow-files.md").read_text(), re.S)
    for path in sorted(ROOT.glob("tests/test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "tasks:" in node.value:
                yield textwrap.dedent(node.value)


def test_what_check_finds_right_passes(schema: Draft202012Validator, tmp_path: Path) -> None:
    found = 0
    for number, text in enumerate(texts()):
        file = tmp_path / str(number) / "flow.yaml"
        file.parent.mkdir()
        file.write_text(text)
        done = subprocess.run(
            [PROGRAM, "check", "flow.yaml"], cwd=file.parent, capture_output=True, text=True
        )
        if done.returncode == 0:
            found += 1
            assert [error.message for error in schema.iter_errors(read(text))] == [], text
    assert found > 30


@pytest.mark.parametrize(
    "text",
    [
        "tasks: {}",
        "tasks: {a: {}}",
        "tasks: {a: {run: []}}",
        "tasks: {a: {run: [echo], shell: echo}}",
        "tasks: {a: {run: [echo], each: 3}}",
        "tasks: {a: {run: [echo], needs: 3}}",
        "tasks: {a: {run: [echo], retry: often}}",
        "tasks: {a: {run: [echo], allowed_exit_codes: []}}",
        "tasks: {a: {run: [echo], allowed_exit_codes: [256]}}",
        "tasks: [run]",
        "name: no tasks",
        "tasks: {a: {run: [echo], nonsense: 1}}",
        "nonsense: 1\ntasks: {a: {run: [echo]}}",
        "params: {n: null}\ntasks: {a: {run: [echo]}}",
        "params: {n: {type: integer}}\ntasks: {a: {run: [echo]}}",
    ],
)
def test_the_form_of_a_task_is_told(schema: Draft202012Validator, text: str) -> None:
    assert not schema.is_valid(read(text))
