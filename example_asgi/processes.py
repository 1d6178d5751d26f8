"""Child processes that work together, end together, and never outlive their parent.

The standard input of a child is a pipe whose other end only the parent holds: however the parent
ends, even by `kill -9`, the system closes that end, and a thread of the child sees it. Each child
has a session of its own, so that Ctrl-C in the terminal reaches the parent alone, which then stops
the children one after another.
"""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
import sys
import threading
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

PATIENCE = 20.0
"""Seconds that a child may take to stop: longer than a scheduler lets its runs go on."""

WELL_ENDED = (0, -signal.SIGTERM)
"""Exit codes after a request to stop; uvicorn ends by the signal that it was sent."""


class ChildEndedError(Exception):
    """A child ended by itself, or did not end well."""


class Children:
    """Runs child processes: `async with Children() as children:` stops all of them at its end."""

    def __init__(self) -> None:
        self._running: dict[str, Process] = {}
        self._stopping: Process | None = None
        self._signalled = asyncio.Event()

    async def __aenter__(self) -> Children:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._take_signal)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ends = {}
        while self._running:  # the last one started first: it may need the others to the end
            name, self._stopping = self._running.popitem()
            ends[name] = await _stopped(self._stopping)
        for name, code in ends.items():
            if error is None and code not in WELL_ENDED:
                raise ChildEndedError(f"The {name} did not stop well: {_in_words(code)}.")

    async def start(self, name: str, *command: str, environment: Mapping[str, str]) -> None:
        """Start `python -m` with this command as a child, with more environment variables."""
        self._running[name] = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "example_asgi.processes", *command),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=PIPE,
            start_new_session=True,
        )

    async def until(self, goal: Coroutine[Any, Any, object]) -> bool:
        """Wait until `goal` is reached; return False if SIGINT, SIGTERM or SIGHUP came first.

        Raises ChildEndedError when a child ends meanwhile.
        """
        ends = {asyncio.create_task(child.wait()): name for name, child in self._running.items()}
        reached = asyncio.create_task(goal)
        signalled = asyncio.create_task(self._signalled.wait())
        tasks = {reached, signalled, *ends}
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if signalled in done:
            return False
        for end, name in ends.items():
            if end in done:
                raise ChildEndedError(f"The {name} ended by itself: {_in_words(end.result())}.")
        await reached
        return True

    def _take_signal(self) -> None:
        """Stop at the first signal; hand each further one to the child that is stopping."""
        self._signalled.set()
        if self._stopping is not None:
            _ask_to_stop(self._stopping)


async def _stopped(child: Process) -> int:
    """Stop a child, by force if it takes too long, and return its exit code."""
    _ask_to_stop(child)
    try:
        async with asyncio.timeout(PATIENCE):
            return await child.wait()
    except TimeoutError:
        child.kill()
        return await child.wait()


def _ask_to_stop(child: Process) -> None:
    try:
        child.terminate()
    except ProcessLookupError:
        pass  # it has ended


def _in_words(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def run_as_child() -> None:
    """Run the module that the arguments name, as `python -m` does, no longer than the parent."""
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    """Wait for the parent's end, then stop this process: politely, urgently, by force."""
    # Not by sys.stdin.read(), which holds a lock that Python wants to have at its exit.
    os.read(sys.stdin.fileno(), 1)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        os.kill(os.getpid(), number)
        time.sleep(PATIENCE)


if __name__ == "__main__":
    run_as_child()
