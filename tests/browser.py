"""A real browser without a window, driven over Chromium's DevTools protocol; it knows nothing of the pages shown.

The protocol is JSON, each message ended by a zero byte, on a pair of file descriptors: no port, no library.
Source: <https://chromedevtools.github.io/devtools-protocol/>.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.children import DEADLINE_S, Process, lives, stat_of, wait_for

#: It stays on this machine, asks nothing of anybody on its own, and needs no graphics.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-first-run",
    "--no-default-browser-check",
    "--window-size=1200,900",
    "--remote-debugging-pipe",
)


class Browser:
    """A Chromium of our own, whose profile lies in a folder of its own."""

    def __init__(self, chromium: str, folder: Path) -> None:
        self.folder = folder
        self._pages: dict[str, Page] = {}
        self._count = 0
        self._received = b""
        self._pipe, theirs = socket.socketpair()
        self._pipe.settimeout(DEADLINE_S)
        # Chromium reads from descriptor 3 and writes to 4: one socket may be both.
        number = theirs.fileno()
        shell = ["bash", "-c", f'exec "$@" 3<&{number} 4>&{number}', "bash"]
        homes = {name: os.fspath(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
        with theirs, (folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*shell, chromium, *OPTIONS, f"--user-data-dir={folder}", "about:blank"],
                env={**os.environ, **homes},
                pass_fds=[number],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def call(self, method: str, session: str | None = None, /, **params: Any) -> dict[str, Any]:
        """Ask for something and wait for the answer; what happens meanwhile goes to the pages it happens to."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        try:
            self._pipe.sendall(json.dumps(message).encode() + b"\0")
            while (answer := self._next()).get("id") != self._count:
                if (page := self._pages.get(answer.get("sessionId", ""))) is not None:
                    page.happened(answer["method"], answer["params"])
        except OSError as error:
            log = (self.folder / "chromium.log").read_text(errors="replace")
            raise AssertionError(f"the browser does not answer {method}: {error}; it says:\n{log}") from None
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            more = self._pipe.recv(1 << 16)
            if not more:
                raise ConnectionError("it has ended")
            self._received += more
        message, _, self._received = self._received.partition(b"\0")
        read: dict[str, Any] = json.loads(message)
        return read

    @contextmanager
    def page(self) -> Iterator[Page]:
        """An empty page that remembers nothing of others; it is closed when the block is left."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._pages[session] = page = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        yield page
        del self._pages[session]
        self.call("Target.disposeBrowserContext", browserContextId=context)

    def alive(self) -> list[Process]:
        """Its processes: those of its session, and those that were given its folder."""
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            fields = stat_of(pid)
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            ours = fields and (fields[3] == str(self._process.pid) or os.fsencode(self.folder) in words)
            if ours and lives(process := Process(pid, fields[19])):
                found.append(process)
        return found

    def close(self) -> None:
        """End it, with all its processes."""
        # It ends by itself when nobody talks to it any more; whatever does not is ended.
        self._pipe.close()
        try:
            self._process.wait(10)
            wait_for("the end of the browser's helpers", lambda: not self.alive(), within_s=10)
        except (subprocess.TimeoutExpired, AssertionError):
            for process in self.alive():
                os.kill(process.pid, signal.SIGKILL)
        finally:
            self._process.kill()
            self._process.wait()
        wait_for("the end of all the browser's processes", lambda: not self.alive())


class Page:
    """One page, what it asked for and what went wrong in it."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser = browser
        self.session = session
        #: What went wrong in the page: exceptions, complaints on the console, what a policy refused.
        self.errors: list[str] = []
        #: The addresses it asked for, its own with them.
        self.requested: list[str] = []

    def call(self, method: str, /, **params: Any) -> dict[str, Any]:
        """Ask something of this page."""
        return self.browser.call(method, self.session, **params)

    def happened(self, method: str, params: dict[str, Any]) -> None:
        """Note what the browser tells of this page."""
        if method == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(told(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert", "warning"):
            self.errors.append(" ".join(str(arg.get("value", arg)) for arg in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])

    def go(self, url: str) -> None:
        """Open an address, and wait until all of it is there."""
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, f"{url}: {answer['errorText']}"
        self.wait_for("document.readyState === 'complete'", True)

    def evaluate(self, js: str) -> Any:
        """The value of an expression, or of the promise it gives."""
        answer = self.call("Runtime.evaluate", expression=js, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{js}: {told(answer['exceptionDetails'])}"
        return answer["result"].get("value")

    def wait_for(self, js: str, value: Any) -> None:
        """Wait until an expression has a value."""
        seen = None

        def look() -> bool:
            nonlocal seen
            seen = self.evaluate(js)
            return bool(seen == value)

        try:
            wait_for(js, look)
        except AssertionError:
            raise AssertionError(f"{js}\nstays  {seen!r}\nnot    {value!r}") from None

    def click(self, element: str) -> None:
        """Press the mouse on the element that an expression gives, which has to be in sight for that."""
        place = f"""(element => {{
            element.scrollIntoView({{ block: "center", behavior: "instant" }});
            const {{ x, y, width, height }} = element.getBoundingClientRect();
            const middle = [x + width / 2, y + height / 2];
            return element.contains(document.elementFromPoint(...middle)) && middle;
        }})({element})"""
        x, y = wait_for(f"{element} in sight", lambda: self.evaluate(place))
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Write into whatever has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key, by its name, its number and the text it gives."""
        for kind in ("keyDown", "keyUp"):
            key_text = {"text": text} if text and kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **key_text
            )

    def resize(self, width: int, height: int) -> None:
        """Make the window this large, in pixels; a narrow one is that of a phone."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )

    def emulate_media(self, **features: str) -> None:
        """Have the page find these features of its medium: ``prefers_color_scheme="dark"``."""
        pairs = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=pairs)


def told(exception: dict[str, Any]) -> str:
    """What an exception in a page says."""
    return str(exception.get("exception", {}).get("description") or exception["text"])
