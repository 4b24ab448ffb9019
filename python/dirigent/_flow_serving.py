"""An event loop beside a flow whose body is an ordinary function, for the tasks of it that are coroutine functions."""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING

from dirigent import _native
from dirigent._carry import OnLoop

if TYPE_CHECKING:
    import asyncio


def arrive(future: asyncio.Future[None]) -> None:
    """Say that what a future stands for has come."""
    if not future.done():
        future.set_result(None)


class Serving:
    """An event loop in a thread of its own, for the coroutines of a flow whose body is an ordinary function."""

    def __init__(self, session: _native.Session, base: contextvars.Context) -> None:
        import asyncio

        self._session = session
        self._base = base
        self.loop = asyncio.new_event_loop()
        self._ended: asyncio.Future[None] = self.loop.create_future()
        self._thread = threading.Thread(target=self._serve, name="dirigent-loop", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        import asyncio

        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._carry_out())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

    async def _carry_out(self) -> None:
        import asyncio

        on_loop = OnLoop(self._session, self._base)
        descriptor = self._session.wake_descriptor()
        self.loop.add_reader(descriptor, on_loop.wake)
        try:
            on_loop.begin()
            await self._ended
        finally:
            self.loop.remove_reader(descriptor)
            running = on_loop.end()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def close(self, patience_s: float) -> None:
        """End the loop, and wait so long for it: a coroutine that does not let itself be cancelled goes on in its thread."""
        try:
            self.loop.call_soon_threadsafe(arrive, self._ended)
        except RuntimeError:
            return
        self._thread.join(patience_s)
