"""Graphs as Mermaid, drawn by Mermaid itself in a real browser. Its bundle is not part of this project: name the file.

MERMAID_JS=node_modules/mermaid/dist/mermaid.min.js pytest tests/test_mermaid.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from dirigent import Workflow

from tests.browser import Page

BUNDLE = os.environ.get("MERMAID_JS")
pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.skipif(BUNDLE is None, reason="MERMAID_JS does not name mermaid.min.js"),
]
NAMES = [
    "<img src=x onerror=\"document.title='owned'\">",
    'evil "]; click <b>`x`',
    "end",
    "1. list - one",
    "- dash",
    "%% ]]> #quot; #35; `code` **bold** $$x^2$$ שלום",
    "graph TD; A-->B",
    "{{x}} @{ shape: circle }",
]


def raises() -> None:
    raise LookupError("no")


@pytest.fixture
def workflow() -> Workflow:
    inner = Workflow("inner").add_task("one", int).add_task("two", int, ["one"])
    wf = Workflow('"evil"]', fail_fast=False).add_workflow("sub <b>", inner)
    wf.add_map("map", str, over=["a", "b"], dependencies=["sub <b>"]).add_task("raises", raises)
    for name in NAMES:
        wf.add_task(name, int, dependencies=["raises" if name == "end" else "map"])
    return wf


def drawn(page: Page, text: str) -> list[dict[str, Any]]:
    """What Mermaid writes where, once it has drawn the picture into the page."""
    assert BUNDLE is not None
    page.evaluate(f"{Path(BUNDLE).read_text()};0")
    page.evaluate(
        "mermaid.initialize({ startOnLoad: false, securityLevel: 'strict' });"
        f"mermaid.render('g', {json.dumps(text)}).then(({{ svg }}) => {{ document.body.innerHTML = svg; }})"
    )
    found: list[dict[str, Any]] = page.evaluate(
        "[...document.querySelectorAll('.nodeLabel')].map(it => ({ text: it.innerText.split('\\n')[0],"
        " top: (it.closest('.node') ?? it).getBoundingClientRect().top, bottom: it.getBoundingClientRect().bottom }))"
    )
    return found


@pytest.mark.parametrize("when", ["declared", "ran"])
def test_every_name_is_written_as_it_is_and_means_nothing(page: Page, workflow: Workflow, when: str) -> None:
    graph = workflow.graph() if when == "declared" else workflow.run_sync(durability="none").graph()
    texts = [label["text"].replace("\u2060", "") for label in drawn(page, graph.mermaid())]
    for name in [*NAMES, "sub <b>", "map", "raises"]:
        assert any(name in text for text in texts), (name, texts)
    assert page.evaluate("document.querySelectorAll('img, script, .katex').length") == 0
    assert page.evaluate("document.title") != "owned"


def test_the_heading_of_a_frame_stands_above_what_is_in_it(page: Page, workflow: Workflow) -> None:
    labels = {
        label["text"]: label for label in drawn(page, workflow.run_sync(durability="none").graph().mermaid())
    }
    (heading,) = [label for text, label in labels.items() if text.startswith("✓ sub <b>")]
    assert heading["bottom"] <= labels["✓ one"]["top"]
