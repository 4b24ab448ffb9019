"""The front end of a run's widget in a real browser: what it shows of what the kernel says, and what its buttons send.

A stand-in of a few lines takes the place of what anywidget hands to the module.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import dirigent
import pytest

from tests.browser import Page

pytestmark = pytest.mark.needs("chromium")

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
STAND_IN = """
globalThis.sent = [];
globalThis.model = {
  state: {}, heard: {},
  get(name) { return this.state[name]; },
  on(name, call) { this.heard[name] = call; },
  off(name) { delete this.heard[name]; },
  send(message) { sent.push(message); },
  tell(name, value) { this.state[name] = value; this.heard[`change:${name}`]?.(); },
};
import("data:text/javascript;base64,%s").then(async (module) => {
  model.state = %s;
  document.body.replaceChildren(Object.assign(document.createElement("div"), { id: "place" }));
  document.head.append(Object.assign(document.createElement("style"), { textContent: %s }));
  globalThis.leave = await module.default.render({ model, el: document.getElementById("place") });
})
"""
TASKS: list[dict[str, Any]] = [
    {"place": 4, "sign": "?", "name": "ok", "status": "waiting", "prompt": "Publish?", "wants_value": False},
    {"place": 5, "sign": "?", "name": HOSTILE, "status": "waiting", "prompt": HOSTILE, "wants_value": True},
    {"place": 0, "sign": "▸", "name": "load", "status": "running", "prompt": None, "wants_value": False},
]


@pytest.fixture
def page(page: Page) -> Page:
    """A page with the widget of a run."""
    folder = Path(dirigent.__file__).parent
    module = base64.b64encode((folder / "_widget.js").read_bytes()).decode()
    style = json.dumps((folder / "_widget.css").read_text())
    state = {"stands": stands(*TASKS), "picture": "<details><summary>As text</summary>one</details>"}
    page.evaluate(STAND_IN % (module, json.dumps(state), style))
    return page


def stands(*tasks: dict[str, Any], **more: Any) -> str:
    """What the kernel says of a run."""
    line = f"▸ etl {HOSTILE} running"
    return json.dumps({"line": line, "ask": "cancel", "tasks": tasks, "notice": "", "answers": 0, **more})


def button(name: str) -> str:
    """The button that is called so, for those who see it and those who hear it."""
    return (
        "[...document.querySelectorAll('button')].find(it => "
        f"(it.getAttribute('aria-label') ?? it.textContent) === {json.dumps(name)})"
    )


def tell(page: Page, **state: str) -> None:
    for name, value in state.items():
        page.evaluate(f"model.tell({json.dumps(name)}, {json.dumps(value)})")


def sent(page: Page) -> Any:
    """What was sent since somebody asked last."""
    return page.evaluate("sent.splice(0)")


def test_each_button_asks_for_what_it_says(page: Page) -> None:
    field = f"{button('Approve ok')}.parentNode.querySelector('input')"
    page.evaluate(f"{field}.focus()")
    page.type("looks good")
    page.click(button("Approve ok"))
    assert sent(page) == [{"ask": "approve", "task": 4, "comment": "looks good"}]
    # What was asked is not asked twice while the kernel has not answered.
    assert page.evaluate(f"{button('Approve ok')}.disabled && {button('Reject ok')}.disabled")
    assert "asked" in page.evaluate("document.querySelector('.dirigent-notice').textContent")
    tell(page, stands=stands(*TASKS, answers=1, notice="no"))
    page.click(button("Reject ok"))
    assert sent(page) == [{"ask": "reject", "task": 4, "comment": "looks good"}]
    page.evaluate(f"{button(f'Send {HOSTILE}')}.parentNode.querySelector('input').focus()")
    page.type('{"on": 1}')
    page.click(button(f"Send {HOSTILE}"))
    assert sent(page) == [{"ask": "signal", "task": 5, "value": '{"on": 1}'}]
    page.click(button("Cancel load"))
    page.click(button("Cancel the run"))
    assert sent(page) == [{"ask": "cancel", "task": 0}, {"ask": "cancel"}]
    tell(page, stands=stands(ask="retry", answers=2))
    page.click(button("Run again what failed"))
    assert sent(page) == [{"ask": "retry"}]
    tell(page, stands=stands(ask=None, answers=3))
    assert page.evaluate("[...document.querySelectorAll('button')].every(it => it.hidden)")


def test_names_prompts_and_messages_stay_text(page: Page) -> None:
    tell(page, stands=stands(*TASKS, notice=HOSTILE, answers=1))
    assert page.evaluate("document.querySelectorAll('img, script').length") == 0
    assert page.evaluate("document.body.innerText").count(HOSTILE) == 4
    assert page.evaluate("document.title") != "owned"


def test_what_is_being_typed_survives_what_happens_meanwhile(page: Page) -> None:
    page.evaluate(f"{button('Approve ok')}.parentNode.querySelector('input').focus()")
    page.type("half a sen")
    first = {**TASKS[0], "place": 1, "name": "earlier"}
    tell(page, stands=stands(first, *TASKS))
    tell(page, stands=stands(*TASKS[:2]))
    page.type("tence")
    page.click(button("Approve ok"))
    assert sent(page) == [{"ask": "approve", "task": 4, "comment": "half a sentence"}]
    names = "[...document.querySelectorAll('li span')].map(it => it.textContent.split(' ')[1])"
    assert page.evaluate(names) == ["ok", "<img"]


def test_the_picture_keeps_what_was_opened_and_takes_the_theme_of_the_page(page: Page) -> None:
    page.wait_for("document.querySelector('.dirigent-widget').dataset.theme", "light")
    page.click("document.querySelector('summary')")
    page.evaluate("document.body.style = 'background: #111; color: #eee'")
    tell(page, picture="<details><summary>As text</summary>two</details>")
    assert page.evaluate("document.querySelector('details').open")
    page.wait_for("document.querySelector('.dirigent-widget').dataset.theme", "dark")


def test_keys_go_to_the_field_and_not_to_the_notebook(page: Page) -> None:
    page.evaluate("document.addEventListener('keydown', () => sent.push('the notebook heard it'))")
    page.evaluate(f"{button('Approve ok')}.parentNode.querySelector('input').focus()")
    page.press("d", 68, "d")
    assert sent(page) == []
    assert page.evaluate("document.activeElement.value") == "d"


def test_what_leaves_no_longer_listens_and_nothing_was_loaded(page: Page) -> None:
    assert page.evaluate("Object.keys(model.heard)") == ["change:stands", "change:picture"]
    assert page.evaluate("leave(), Object.keys(model.heard)") == []
    # The module, which the test hands over, is all that was ever asked for.
    assert [url for url in page.requested if not url.startswith(("data:", "about:"))] == []
