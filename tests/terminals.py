"""A terminal in which tests and pictures run programs: a multiplexer's, so that what stands in it can be read."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

from tests.children import DEADLINE_S, wait_for


class Terminal:
    """A terminal of our own, in which a shell waits for lines."""

    def __init__(self, folder: Path, columns: int = 100, rows: int = 30) -> None:
        self.folder = folder
        self.name = f"dirigent-test-{uuid.uuid4().hex[:8]}"
        size = ["-x", str(columns), "-y", str(rows)]
        shell = ["env", "PS1=$ ", "ENV=", "HOME=/nonexistent", "bash", "--norc", "--noprofile"]
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(folder), *shell)

    def tmux(self, *argv: str) -> str:
        """Talk to the terminal multiplexer."""
        command = ["tmux", "-L", self.name, *argv]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE_S).stdout

    def type(self, line: str) -> None:
        """Type a line into the shell."""
        self.tmux("send-keys", "-l", line)
        self.press("Enter")

    def press(self, key: str) -> None:
        """Press a key, as tmux calls it."""
        self.tmux("send-keys", key)

    def screen(self, *options: str) -> str:
        """What stands in the terminal, with what scrolled out of it."""
        return self.tmux("capture-pane", "-p", "-S", "-", *options)

    def wait_for(self, text: str) -> str:
        """Wait until something stands in the terminal, and return all that does."""
        seen = ""

        def look() -> bool:
            nonlocal seen
            seen = self.screen()
            return text in seen

        try:
            wait_for(text, look)
        except AssertionError as error:
            raise AssertionError(f"{error}; the terminal shows:\n{seen}") from None
        return seen

    def resize(self, columns: int, rows: int) -> None:
        """Give it another size."""
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self) -> None:
        """Close it with all that runs in it."""
        self.tmux("kill-server")
