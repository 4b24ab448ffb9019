"""Makes the pictures of the page of a run: two runs, three sizes, light and dark, in a Chromium without a window.

    python docs/pictures/pages.py [--whole FOLDER]

The runs are real ones of the installed program: a night of a small shop's figures that goes well, after others like it, and one
in which a file is missing. The pictures show what fits into the window, as WebP beside this file; with `--whole`, whole pages as
PNG in a folder.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from tests.browser import Browser, Page  # noqa: E402

#: Width and height of windows: a phone, a small screen, a large one.
SIZES = {"phone": (390, 844), "small": (1024, 768), "large": (1600, 1000)}
QUALITY = 82

WORKFLOW = """\
name: nightly
params:
  day: {type: string, default: "2026-11-20"}
  regions: [north, south, west]
env: {STAGE: production, DATABASE: "postgres://shop:8f2c1d@db.example/figures"}
secrets: {REPORT_TOKEN: {env: SHOP_TOKEN}}
tasks:
  orders:
    run: [sh, -c, "sleep 0.9; echo 18,204 orders of ${{ params.day }}; echo 18,204 > orders.csv"]
  customers:
    run: [sh, -c, "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; echo 6,110 customers"]
  rates:
    shell: |
      sleep 0.3
      test -e rates.ok || { touch rates.ok; echo "the rate service did not answer" >&2; exit 1; }
      echo 31 rates
    retry: {attempts: 3, backoff: 400ms, jitter: 0}
  calendar:
    run: [sh, -c, "echo no holiday"]
    cache: true
  clean:
    run: [sh, -c, "sleep 0.6; test -s orders.csv; echo 18,011 rows are clean, 193 were dropped"]
    needs: [orders, customers, calendar]
  figures:
    each: "${{ params.regions }}"
    run: [sh, -c, "echo figures of ${{ item }}; i=0; while [ $i -lt 90000 ]; do i=$((i+1)); done; sleep 0.4"]
    needs: [clean, rates]
  check:
    shell: |
      sleep 0.2
      echo comparing with the budget
      test -e budget.csv || { echo "budget.csv: no such file" >&2; exit 2; }
      echo within budget
    needs: [figures]
  publish:
    shell: "sleep 0.35; echo published with $REPORT_TOKEN"
    secrets: [REPORT_TOKEN]
    needs: [check]
  archive:
    run: [sh, -c, "sleep 0.5; echo 3 files archived"]
    needs: [clean]
"""


def carry_out(folder: Path, fails: bool) -> Path:
    """Run the workflow a few times, the last time so that it fails or not; gives the page of that run."""
    folder.mkdir()
    (folder / "nightly.yaml").write_text(WORKFLOW)
    state = folder / ".dirigent"
    command = [
        "dirigent",
        "run",
        "nightly.yaml",
        "--jobs",
        "4",
        "--report",
        "html",
        "--state-dir",
        ".dirigent",
    ]
    environment = {**os.environ, "SHOP_TOKEN": "9d1f-77aa-20c3"}
    for round in range(4):
        is_last = round == 3
        (folder / "rates.ok").unlink(missing_ok=True)
        (folder / "budget.csv").touch()
        if is_last and fails:
            (folder / "budget.csv").unlink()
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert ended.returncode == (1 if is_last and fails else 0), ended.stdout + ended.stderr
    return max((state / "runs").iterdir(), key=lambda run: run.name) / "report.html"


def show(page: Page, address: str, size: tuple[int, int], scheme: str) -> None:
    """Open a page in a window of that size."""
    page.resize(*size)
    page.emulate_media(prefers_color_scheme=scheme)
    page.go(address)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--whole", type=Path, help="put whole pages here instead, to be looked at")
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None or shutil.which("dirigent") is None:
        sys.exit("it takes Chromium and an installed dirigent to make the pictures")
    to = options.whole or HERE
    to.mkdir(parents=True, exist_ok=True)
    kind = (
        {"format": "png", "captureBeyondViewport": True}
        if options.whole
        else {"format": "webp", "quality": QUALITY}
    )
    with tempfile.TemporaryDirectory(prefix="shop-") as scratch:
        home = Path(scratch, "browser")
        home.mkdir()
        browser = Browser(chromium, home)
        try:
            for run, fails in (("succeeded", False), ("failed", True)):
                address = carry_out(Path(scratch, run), fails).as_uri()
                for name, size in SIZES.items():
                    for scheme in ("light", "dark"):
                        with browser.page() as page:
                            show(page, address, size, scheme)
                            clip = {}
                            if options.whole:
                                height = page.evaluate("document.documentElement.scrollHeight")
                                show(page, address, (size[0], height), scheme)
                                clip = {
                                    "clip": {"x": 0, "y": 0, "width": size[0], "height": height, "scale": 1}
                                }
                            data = base64.b64decode(
                                page.call("Page.captureScreenshot", **kind, **clip)["data"]
                            )
                            file = to / f"page-{run}-{name}-{scheme}.{kind['format']}"
                            file.write_bytes(data)
                            sys.stdout.write(f"{file.name}: {len(data):,} bytes\n")
        finally:
            browser.close()


if __name__ == "__main__":
    main()
