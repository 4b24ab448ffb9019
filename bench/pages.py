"""Measures the page of a run: its size, the time to make it, and the time until Chromium shows something of it.

    python bench/pages.py [--rounds N] [--tasks N …]

Made-up runs of 100 and 10,000 tasks, and one more of 10,000 in which most fail, each with lines of its own. A page is made by an
optimised build (which this makes with cargo), in a process of its own each time. What is timed in the browser is the page's own:
from the start of its navigation to its first content (`first-contentful-paint`), and until it is parsed and loaded, its script
included. Cold: the first page that a browser shows which has just been started; that start is not in it, the one of a process for
the page is. Warm: the same page once more, in a new tab.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser import Browser, Page  # noqa: E402

#: What is said of each, in milliseconds, and the goals: bytes, to make, to first content.
GOALS = {100: (200_000, 50, 300), 10_000: (5_000_000, 1000, 1000)}

#: The moments of a page, in milliseconds since its navigation began; the first content may come after the script.
MOMENTS = """(() => {
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    const page = performance.getEntriesByType("navigation")[0];
    return paint && page.loadEventEnd > 0 && [paint.startTime, page.domInteractive, page.loadEventEnd];
})()"""


#: What it takes to search, for the first time right after the page was opened and once more, and to sort, laid out each time.
USE = """(() => {
    const timed = act => {
        const began = performance.now();
        act();
        return document.body.offsetHeight && performance.now() - began;
    };
    const find = text => () => {
        const field = document.querySelector("#search");
        field.value = text;
        field.dispatchEvent(new Event("input"));
    };
    return [find("clean"), find("render"), () => document.querySelector("#tasks th button").click()].map(timed);
})()"""


class Moments(NamedTuple):
    """When something happened to a page, in milliseconds since its navigation began."""

    first_content: float
    parsed: float
    loaded: float


def build() -> Path:
    """The program that makes pages of made-up runs."""
    command = ["cargo", "build", "-q", "--release", "-p", "dirigent-report", "--example", "sample"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "examples" / "sample"


def make(program: Path, folder: Path, words: list[str]) -> tuple[int, float]:
    """Make a page; gives its bytes and the milliseconds that it took."""
    said = subprocess.check_output([program, folder, *words], text=True)
    found = re.search(r"report\.html:\s+(\d+) bytes in ([\d.]+)(µs|ms|s)\n", said)
    assert found is not None, said
    return int(found[1]), float(found[2]) * {"µs": 1e-3, "ms": 1.0, "s": 1e3}[found[3]]


def shown(page: Page, address: str) -> Moments:
    """Open a page and wait until all of it is there."""
    page.go(address)
    page.wait_for(f"!!{MOMENTS}", True)
    return Moments(*page.evaluate(MOMENTS))


def opened(chromium: str, address: str) -> tuple[Moments, Moments, list[float]]:
    """A page in a browser that has shown nothing yet, again in a new tab of it, and what it takes to use that."""
    with tempfile.TemporaryDirectory(prefix="dirigent-pages-") as folder:
        browser = Browser(chromium, Path(folder))
        try:
            with browser.page() as page:
                cold = shown(page, address)
            with browser.page() as page:
                return cold, shown(page, address), page.evaluate(USE)
        finally:
            browser.close()


def median(times: tuple[Moments, ...]) -> str:
    """The medians, first content first, with the range of that."""
    first, parsed, loaded = (statistics.median(values) for values in zip(*times, strict=True))
    firsts = [time.first_content for time in times]
    return (
        f"{first:>6.0f} ({min(firsts):.0f} - {max(firsts):.0f}), parsed {parsed:.0f}, loaded {loaded:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, nargs="*", default=list(GOALS))
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.stdout.write("Chromium is not installed: only size and the time to make are measured\n")
    program = build()
    with tempfile.TemporaryDirectory(prefix="dirigent-pages-") as scratch:
        for tasks in options.tasks:
            for words in [[str(tasks)], *([[str(tasks), "failing"]] if tasks >= 10_000 else [])]:
                folder = Path(scratch, "-".join(words))
                made = [make(program, folder, words) for _ in range(options.rounds)]
                made_ms = statistics.median(ms for _, ms in made)
                most_bytes, most_ms, most_shown_ms = GOALS.get(tasks, (0, 0, 0))
                sys.stdout.write(
                    f"{' '.join(words)} tasks\n  size {made[0][0]:,} bytes (goal {most_bytes:,})\n"
                    f"  made in {made_ms:.1f} ms (goal {most_ms})\n"
                )
                if chromium is None:
                    continue
                address = (folder / "report.html").as_uri()
                times = [opened(chromium, address) for _ in range(options.rounds)]
                cold, warm, use = zip(*times, strict=True)
                searched, again, ordered = (statistics.median(values) for values in zip(*use, strict=True))
                sys.stdout.write(
                    f"  first content, cold: {median(cold)}\n  first content, warm: {median(warm)}\n"
                    f"  (goal {most_shown_ms})\n  first search {searched:.0f} ms, another {again:.0f}, sort {ordered:.0f}\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
