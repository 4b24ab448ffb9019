"""A real kernel of a notebook, with everything it sends, and when."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.children import DEADLINE_S, Process, children_of


class Message:
    """What the kernel sent for a cell: its kind, its content, and when it came."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.kind: str = raw["msg_type"]
        self.content: dict[str, Any] = raw["content"]
        self.parent: str = raw["parent_header"].get("msg_id", "")
        self.size_bytes = len(json.dumps(raw, default=str).encode())
        self.at_s = time.monotonic()
        #: When the kernel made it, by its clock.
        self.made_s: float = raw["header"]["date"].timestamp()

    @property
    def display(self) -> str:
        """The display that it makes or updates; empty where it does neither."""
        return str(self.content.get("transient", {}).get("display_id", "")) if "display" in self.kind else ""

    def text(self, kind: str = "text/plain") -> str:
        """What it shows, in one of its forms."""
        return str(self.content.get("data", {}).get(kind, ""))


class Kernel:
    """A kernel, and whoever talks to it."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self._client = client
        self.status = ""

    @property
    def pid(self) -> int:
        """The process id."""
        pid = getattr(self.manager.provisioner, "pid", None)
        assert isinstance(pid, int)
        return pid

    def children(self) -> list[Process]:
        """Its living children."""
        return children_of(self.pid)

    def begin(self, code: str) -> str:
        """Have a cell carried out, and return the id of the request."""
        return str(self._client.execute(code))

    def messages(self, cell: str) -> Iterator[Message]:
        """What comes for a cell, until it is done."""
        for message in self.everything():
            if message.parent != cell:
                continue
            yield message
            if message.kind == "status" and message.content["execution_state"] == "idle":
                self.status = self._reply(cell)["status"]
                return

    def _reply(self, request: str) -> dict[str, Any]:
        """The answer to a request. A slow kernel was asked several times whether it is there, and answers all of that."""
        while True:
            reply: dict[str, Any] = self._client.get_shell_msg(timeout=DEADLINE_S)
            if reply["parent_header"].get("msg_id") == request:
                content: dict[str, Any] = reply["content"]
                return content

    def everything(self) -> Iterator[Message]:
        """What comes, whatever it belongs to."""
        while True:
            yield Message(self._client.get_iopub_msg(timeout=DEADLINE_S))

    def execute(self, code: str) -> list[Message]:
        """Carry a cell out, which has to succeed."""
        said = list(self.messages(self.begin(code)))
        assert self.status == "ok", "\n".join(
            "\n".join(m.content["traceback"]) for m in said if m.kind == "error"
        )
        return said

    def tell(self, comm: str, content: dict[str, Any]) -> None:
        """Send what the front end of a widget sends when its code calls ``model.send``."""
        session, data = self._client.session, {"method": "custom", "content": content}
        self._client.shell_channel.send(session.msg("comm_msg", {"comm_id": comm, "data": data}))

    def value(self, code: str) -> str:
        """What a cell's last line is, as text."""
        return next(m.text() for m in self.execute(code) if m.kind == "execute_result")

    def restart(self) -> None:
        """Begin anew in a new process."""
        self.manager.restart_kernel(now=True)
        self._client.wait_for_ready(timeout=DEADLINE_S)


@contextmanager
def kernel(folder: Path, **environment: str) -> Iterator[Kernel]:
    """A kernel that works in a folder, and records there."""
    manager = KernelManager(kernel_name="python3")
    named = {
        "DIRIGENT_STATE_DIR": str(folder / "state"),
        "IPYTHONDIR": str(folder / "ipython"),
        **environment,
    }
    manager.start_kernel(cwd=str(folder), env={**os.environ, **named})
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=DEADLINE_S)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
