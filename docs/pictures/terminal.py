"""Makes the pictures of the terminal: a run in terminals of three sizes, as tmux has it on its screen, as SVG.

    python docs/pictures/terminal.py [--program PATH]

It needs tmux, takes a minute, and writes `live-*.svg`, `show-*.svg` and `graph-*.svg` beside itself.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from tests.children import wait_for  # noqa: E402
from tests.terminals import Terminal  # noqa: E402

SIZES = ((40, 12), (80, 24), (160, 45))

FLOW = """\
name: nightly
tasks:
  extract:  {shell: "echo read 48,211 orders"}
  prices:   {shell: "sleep 1; test $DIRIGENT_ATTEMPT = 3", retry: {attempts: 3, backoff: 4s}, needs: [extract]}
  shards:   {each: ITEMS, limit: 3, needs: [extract], run: [./load.sh, "${{ item }}"]}
  features: {workflow: features.yaml, needs: [extract]}
  orders/clean.py: {needs: [extract], run: [./clean.sh]}
  train:    {needs: [features], shell: "sleep 9"}
  publish:  {needs: [train, orders/clean.py], shell: "sleep 2"}
""".replace("ITEMS", str(list(range(1, 41))))  # fmt: skip
LOAD = """\
sleep 0.6
case "$1" in 4|9) echo "no such partition: $1" >&2; exit 3;; esac
"""
CLEAN = """\
for n in $(seq 40); do echo "cleaned $((n * 1200)) of 48,000 orders"; sleep 0.3; done
"""
FEATURES = """\
tasks:
  scale: {shell: "for n in $(seq 60); do echo column $n of 60; sleep 0.15; done"}
  embed: {shell: "for n in $(seq 30); do echo batch $n of 30, loss 0.$((90 - n)); sleep 0.3; done"}
  join:  {run: [sleep, "1"], needs: [scale, embed]}
"""

HOURLY = """\
name: hourly
tasks:
  extract: {run: [sleep, "0.3"]}
  load: {each: [north, south, east], run: [./load.sh, "${{ item }}"], needs: [extract]}
  clean: {run: [sleep, "0.4"], needs: [extract]}
  report: {run: [sleep, "0.2"], needs: [load, clean]}
"""
LOAD_HOUR = """\
sleep 0.2
test "$1" != east || { echo "no such partition: $1" >&2; exit 3; }
"""

#: Colours by their numbers: for light and for dark paper.
COLOURS = {
    "paper": ("#fbfaf8", "#16191d"),
    "line": ("#d8d4cc", "#353b42"),
    "ink": ("#1f262c", "#e4e6e8"),
    "dim": ("#6f7a83", "#8b959e"),
    "c31": ("#b42f24", "#ff8b7f"),
    "c32": ("#1f7a3f", "#6fce8b"),
    "c33": ("#8a5a00", "#e5b35a"),
    "c34": ("#1f5fa8", "#7ab8ff"),
}
CELL, ROW, MARGIN = 8.4, 18, 14


class Look:
    """How text is marked from here on."""

    def __init__(self) -> None:
        self.colour, self.bold, self.dim = "ink", False, False

    def change(self, codes: str) -> None:
        """Follow a sequence that selects how text looks."""
        for code in codes.split(";"):
            number = int(code or 0)
            if number == 0:
                self.__init__()  # type: ignore[misc]
            elif number in (1, 2, 22):
                self.bold, self.dim = number == 1, number == 2
            elif number == 39:
                self.colour = "ink"
            elif f"c{number}" in COLOURS:
                self.colour = f"c{number}"

    def classes(self) -> str:
        """As classes of the style sheet."""
        colour = "dim" if self.dim and self.colour == "ink" else self.colour
        return colour + (" bold" if self.bold else "")


def cells(character: str) -> int:
    """How many columns it takes."""
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def runs(line: str, look: Look) -> Iterator[tuple[int, int, str, str]]:
    """Pieces of a line that look the same and have no gap: from which column, how many, the classes, the text."""
    column = 0
    for part in re.split(r"(\x1b\[[0-9;]*m|\s{2,})", line):
        if part.startswith("\x1b"):
            look.change(part[2:-1])
            continue
        width = sum(map(cells, part))
        if part.strip():
            yield column, width, look.classes(), part
        column += width


def svg(screen: str, columns: int, rows: int, words: str) -> str:
    """A screen as a picture, down to its last line, on light or dark paper as its reader has it."""
    lines = screen.rstrip("\n").splitlines()[:rows]
    width, height = columns * CELL + 2 * MARGIN, len(lines) * ROW + 2 * MARGIN
    variables = [";".join(f"--{name}:{both[theme]}" for name, both in COLOURS.items()) for theme in (0, 1)]
    rules = "".join(f".{name}{{fill:var(--{name})}}" for name in COLOURS if name not in ("paper", "line"))
    style = (
        f"svg{{{variables[0]}}}@media(prefers-color-scheme:dark){{svg{{{variables[1]}}}}}"
        f"rect{{fill:var(--paper);stroke:var(--line)}}text{{white-space:pre}}.bold{{font-weight:700}}{rules}"
    )
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(words)}" '
        f'width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}" font-size="14" '
        "font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\">",
        f"<style>{style}</style>",
        f'<rect x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1}" rx="8"/>',
    ]
    look = Look()
    for number, line in enumerate(lines):
        y = MARGIN + number * ROW + 14
        for column, count, classes, text in runs(line, look):
            out.append(
                f'<text class="{classes}" x="{MARGIN + column * CELL:.1f}" y="{y}" '
                f'textLength="{count * CELL:.1f}" lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
            )
    return "\n".join([*out, "</svg>", ""])


def prompt(terminal: Terminal, least: int = 0) -> None:
    """Wait until the shell waits, below so many lines."""

    def waits() -> bool:
        lines = terminal.screen().rstrip("\n").splitlines()
        return len(lines) > least and lines[-1].rstrip() == "$"

    wait_for("a prompt", waits)


def keep(terminal: Terminal, name: str, size: tuple[int, int], words: str) -> None:
    """Write what stands in a terminal now."""
    screen = terminal.tmux("capture-pane", "-p", "-e")
    columns, rows = size
    path = HERE / f"{name}-{columns}x{rows}.svg"
    path.write_text(svg(screen, columns, rows, f"{words}, in {columns} columns and {rows} rows"))


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--program", type=Path, default=Path(sys.executable).parent / "dirigent")
    program = parser.parse_args().program.resolve()
    os.environ["LC_ALL"] = "C.UTF-8"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bin").mkdir()
        (folder / "bin" / "dirigent").symlink_to(program)
        (folder / "nightly.yaml").write_text(FLOW)
        (folder / "features.yaml").write_text(FEATURES)
        scripts = {"load.sh": LOAD, "clean.sh": CLEAN, "hourly/load.sh": LOAD_HOUR}
        (folder / "hourly").mkdir()
        (folder / "hourly" / "hourly.yaml").write_text(HOURLY)
        for script, body in scripts.items():
            (folder / script).write_text(f"#!/bin/sh\n{body}")
            (folder / script).chmod(0o755)
        (folder / "dirigent.toml").write_text("")
        for number, size in enumerate(((80, 24), *SIZES)):
            terminal = Terminal(folder, *size)
            try:
                terminal.type(f"export PATH={shlex.quote(str(folder / 'bin'))}:$PATH; clear")
                prompt(terminal)
                terminal.type("dirigent run nightly.yaml --jobs 8 --keep-going --report none")
                if number == 0:
                    # The first run is the history of the others.
                    terminal.wait_for("tasks in")
                    continue
                terminal.wait_for("attempt 2 failed" if size[0] > 60 else "14/50")
                terminal.wait_for(" left" if size[0] > 60 else "~")
                keep(terminal, "live", size, "A run that goes on")
                terminal.press("C-c")
                terminal.wait_for("tasks in")
                terminal.type("clear; dirigent run hourly/hourly.yaml --jobs 4 --keep-going > after")
                wait_for("the end", lambda: (folder / "after").exists() and (folder / "after").read_text())
                for verb, words in (("show", "A run that is over"), ("graph", "The graph of a run")):
                    terminal.type("clear")
                    prompt(terminal)
                    terminal.type(f"dirigent {verb}" + (" last" if verb == "graph" else ""))
                    prompt(terminal, least=6)
                    keep(terminal, verb, size, words)
                (folder / "after").unlink()
            finally:
                terminal.close()


if __name__ == "__main__":
    main()
