"""Makes the pictures of notebooks: three sizes, light and dark, in a Chromium without a window.

    python docs/pictures/notebooks.py [--whole FOLDER]

A real kernel executes two notebooks. In one a run fails; in the other one a run goes on and waits for an approval, with its
widget: its own code, what its kernel sent, and a stand-in for the rest of the front end. The pictures show what fits into the
window, as WebP beside this file; with `--whole`, whole pages as PNG in a folder.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import dirigent
import nbformat
from nbclient import NotebookClient
from nbconvert.exporters.html import HTMLExporter

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from tests.browser import Browser, Page  # noqa: E402

#: Width and height of windows: a phone, a small screen, a large one.
SIZES = {"phone": (390, 844), "small": (1024, 768), "large": (1600, 1000)}
QUALITY = 82

DECLARED = """\
from dirigent import Workflow
from shop import load, clean, figures, check

wf = Workflow("nightly")
wf.add_command("orders", ["sh", "-c", "sleep 0.4; echo 18,204 orders"])
wf.add_task("customers", load, args=["customers"])
wf.add_task("clean", clean, dependencies=["orders", "customers"])
wf.add_map("figures", figures, over=["north", "south", "west"], dependencies=["clean"])
"""
FAILED = [
    DECLARED + 'wf.add_task("check", check, dependencies=["figures"])\n'
    'wf.add_command("publish", ["publish", "figures.csv"], dependencies=["check"])\nwf',
    "run = wf.run_sync()",
    'run.tasks["check"]',
]
WIDGET = [
    DECLARED + 'wf.add_approval("ok", "Publish the figures of Friday?", dependencies=["figures"])\n'
    'wf.add_command("archive", ["sleep", "600"], dependencies=["clean"])\n'
    'wf.add_command("publish", ["publish", "figures.csv"], dependencies=["ok"])',
    "handle = wf.start()\nhandle.widget()",
]
#: Not shown: what the widget came to.
TELL = """
import time
while "waiting" not in handle._session.statuses() or "archive" not in _.stands: time.sleep(0.05)
time.sleep(1)
print(_.stands, _.picture, sep="\\x00")
handle.kill()
"""
SHOP = """
import time

def load(what):
    time.sleep(0.7)
    return 6110

def clean(customers):
    time.sleep(0.5)
    return 18011

def figures(region):
    time.sleep(0.4 + len(region) / 20)
    return {"north": 512.5, "south": 498.0, "west": 731.25}[region]

def check(figures):
    print("comparing with the budget of Friday")
    raise FileNotFoundError("budget.csv: no such file")
"""
RENDER = """
import("data:text/javascript;base64,%s").then((module) => {
  const state = %s;
  const place = [...document.querySelectorAll(".dirigent-cell")].at(-1).parentNode;
  place.replaceChildren();
  document.head.append(Object.assign(document.createElement("style"), { textContent: %s }));
  module.default.render({ el: place, model: { get: (name) => state[name], on() {}, off() {}, send() {} } });
})
"""


def executed(cells: list[str], folder: Path) -> Any:
    """A notebook with these cells, executed."""
    (folder / "shop.py").write_text(SHOP)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    os.environ["DIRIGENT_STATE_DIR"] = str(folder / "state")
    os.environ["IPYTHONDIR"] = str(folder / "ipython")
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(folder))
    return notebook


def page_of(notebook: Any, scheme: str, path: Path) -> str:
    """The page that a notebook makes, in one of the two themes of its front end."""
    html, _ = HTMLExporter(template_name="lab", theme=scheme).from_notebook_node(notebook)
    path.write_text(html)
    return path.as_uri()


def show(page: Page, address: str, size: tuple[int, int], scheme: str, widget: str | None) -> None:
    """Open a page in a window of that size, and put the widget into it."""
    page.resize(*size)
    page.emulate_media(prefers_color_scheme=scheme)
    page.go(address)
    if widget is not None:
        page.evaluate(widget)


def rendered(state: list[str]) -> str:
    """What puts the widget into the page."""
    folder = Path(dirigent.__file__).parent
    module = base64.b64encode((folder / "_widget.js").read_bytes()).decode()
    style = json.dumps((folder / "_widget.css").read_text())
    return RENDER % (module, json.dumps({"stands": state[0], "picture": state[1]}), style)


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--whole", type=Path, help="put whole pages here instead, to be looked at")
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("it takes Chromium to make the pictures")
    to = options.whole or HERE
    to.mkdir(parents=True, exist_ok=True)
    kind = (
        {"format": "png", "captureBeyondViewport": True}
        if options.whole
        else {"format": "webp", "quality": QUALITY}
    )
    with tempfile.TemporaryDirectory(prefix="shop-") as scratch:
        folder = Path(scratch)
        failed, widget = executed(FAILED, folder), executed([*WIDGET, TELL], folder)
        state = widget.cells.pop().outputs[0]["text"].split("\0")
        widget.metadata.pop("widgets", None)
        for output in widget.cells[1].outputs:
            output["data"].pop("application/vnd.jupyter.widget-view+json", None)
        browser = Browser(chromium, folder)
        try:
            for name, notebook, code in (("failed", failed, None), ("widget", widget, rendered(state))):
                for scheme in ("light", "dark"):
                    address = page_of(notebook, scheme, folder / f"{name}-{scheme}.html")
                    for size_name, size in SIZES.items():
                        with browser.page() as page:
                            show(page, address, size, scheme, code)
                            if options.whole:
                                height = page.evaluate("document.querySelector('main').scrollHeight")
                                show(page, address, (size[0], int(height) + 40), scheme, code)
                            page.evaluate("new Promise(done => setTimeout(done, 300))")
                            data = base64.b64decode(page.call("Page.captureScreenshot", **kind)["data"])
                        file = to / f"notebook-{name}-{size_name}-{scheme}.{kind['format']}"
                        file.write_bytes(data)
                        sys.stdout.write(f"{file.name}: {len(data):,} bytes\n")
        finally:
            browser.close()


if __name__ == "__main__":
    main()
