"""The other side of ``pipe``: starts the commands of a pipeline, sees how each one ends, and ends the rest when one fails.

Run as ``python _pipe_child.py FOLDER`` with an ``order`` in the folder, by an interpreter that starts bare: it imports
nothing of the package. What it sees goes to the file ``seen`` line by line, so that it counts also when this is ended.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

#: How much of a command's standard error its result may hold; the log of the run has more.
_STDERR_BYTES = 4 << 20
#: How long a command that is to end may take.
_GRACE_S = 1.0


class Stage:
    """One command of the pipeline.

    Attributes:
        held: The write end of the pipe to the next command, which keeps that from seeing the end of its input.
        errors: The read end of its standard error.
    """

    def __init__(self, number: int, process: subprocess.Popen[bytes], held: int | None, errors: int) -> None:
        self.number = number
        self.process = process
        self.held = held
        self.errors = errors
        self.started = time.monotonic()
        self.has_ended = False
        self.was_stopped = False
        self.stderr_bytes = 0

    def let_go(self) -> None:
        """Let the next command see the end of its input."""
        if self.held is not None:
            os.close(self.held)
            self.held = None

    def signal(self, number: int) -> None:
        """Send a signal to it and what it started in its session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


class Pipeline:
    """The commands while they run."""

    def __init__(self, folder: str, stop_on_error: bool) -> None:
        self.folder = folder
        self.stop_on_error = stop_on_error
        self.stages: list[Stage] = []
        self.poll = select.poll()
        self.seen = open(os.path.join(folder, "seen"), "a", encoding="ascii")  # noqa: SIM115  (as long as this)
        self.has_failed = False
        self.is_stopping = False
        self.kill_at: float | None = None
        self.awake, waker = os.pipe()
        os.set_blocking(self.awake, False)
        os.set_blocking(waker, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self.poll.register(self.awake, select.POLLIN)

    def start(self, commands: list[list[str]]) -> None:
        """Start the commands, from the first one to the last."""
        stdin: int | None = None
        for number, argv in enumerate(commands):
            if self.is_stopping:
                break
            is_last = number == len(commands) - 1
            following, stdout = (None, None) if is_last else os.pipe()
            errors, stderr = os.pipe()
            try:
                process = subprocess.Popen(
                    argv, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
                )
            except (OSError, ValueError) as error:
                _close(errors, stdout)
                self.tell(number, problem=_problem(argv[0], error))
                self.failed()
            else:
                self.tell(number, started_s=time.time())
                self.stages.append(Stage(number, process, stdout, errors))
                self.poll.register(errors, select.POLLIN)
                if not self.stop_on_error:
                    self.stages[-1].let_go()
            _close(stdin, stderr)
            stdin = following
        _close(stdin)

    def see_to_the_end(self, count: int) -> None:
        """Wait until all have ended, and hand on what they say to standard error."""
        while not all(stage.has_ended for stage in self.stages):
            self.turn(self.patience_ms(), count)
        # A process that is left may hold the pipe open: what has come counts, what may come does not.
        while self.turn(0, count):
            pass

    def turn(self, at_most_ms: int | None, count: int) -> bool:
        """Wait for something, and take note of it. Returns whether there was something to read."""
        ready = {descriptor for descriptor, _ in self.poll.poll(at_most_ms)}
        if self.awake in ready:
            os.read(self.awake, 4096)
            self.reap(count)
        has_read = False
        for stage in self.stages:
            if stage.errors in ready:
                has_read |= self.read(stage)
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            self.kill_at = None
            self.signal_all(signal.SIGKILL)
        return has_read

    def patience_ms(self) -> int | None:
        if self.kill_at is None:
            return None
        return max(0, round((self.kill_at - time.monotonic()) * 1000)) + 1

    def read(self, stage: Stage) -> bool:
        data = os.read(stage.errors, 1 << 16)
        if not data:
            self.poll.unregister(stage.errors)
            return False
        room = _STDERR_BYTES - stage.stderr_bytes
        stage.stderr_bytes += len(data)
        if room > 0:
            kept = data[:room]
            if len(data) >= room:
                kept += b"\n[the rest is in the log of the run]\n"
            with open(os.path.join(self.folder, f"{stage.number}.stderr"), "ab") as file:
                file.write(kept)
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()
        return True

    def reap(self, count: int) -> None:
        """Take note of who has ended, before anything is done about it."""
        has_failed = False
        for stage in [stage for stage in self.stages if not stage.has_ended]:
            pid, status, usage = os.wait4(stage.process.pid, os.WNOHANG)
            if pid == 0:
                continue
            stage.has_ended = True
            stage.process.returncode = code = os.waitstatus_to_exitcode(status)
            self.tell(
                stage.number,
                code=code,
                was_stopped=stage.was_stopped,
                ended_s=time.time(),
                wall_s=round(time.monotonic() - stage.started, 6),
                user_time=usage.ru_utime,
                system_time=usage.ru_stime,
                peak_memory_bytes=usage.ru_maxrss * 1024,
            )
            is_cut_off = code in (-signal.SIGPIPE, 128 + signal.SIGPIPE) and stage.number < count - 1
            if code != 0 and not is_cut_off:
                has_failed = True
            elif not self.is_stopping:
                stage.let_go()
        if has_failed:
            self.failed()

    def failed(self) -> None:
        """One has failed: the others are to end, where this is wanted."""
        self.has_failed = True
        if self.stop_on_error and not self.is_stopping:
            self.is_stopping = True
            self.kill_at = time.monotonic() + _GRACE_S
            self.signal_all(signal.SIGTERM)

    def signal_all(self, number: int) -> None:
        for stage in self.stages:
            if not stage.has_ended:
                stage.was_stopped = True
                stage.signal(number)

    def tell(self, number: int, **what: Any) -> None:
        self.seen.write(json.dumps({"number": number, **what}) + "\n")
        self.seen.flush()


def _close(*descriptors: int | None) -> None:
    for descriptor in descriptors:
        if descriptor is not None:
            os.close(descriptor)


def _problem(name: str, error: OSError | ValueError) -> str:
    """Why a program could not be started, in the words of the engine."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOENT and "/" not in name:
        return f"cannot find the program {name} in PATH: {reason}"
    return f"cannot execute {name}: {reason}"


def main(folder: str) -> int:
    """Carry an order out; 1 where a command failed."""
    with open(os.path.join(folder, "order"), encoding="ascii") as file:
        order = json.load(file)
    pipeline = Pipeline(folder, order["stop_on_error"])
    pipeline.start(order["commands"])
    pipeline.see_to_the_end(len(order["commands"]))
    return 1 if pipeline.has_failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
