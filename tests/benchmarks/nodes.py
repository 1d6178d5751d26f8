"""Schedulers in processes of their own, and the file that all of their jobs sign."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.environments import ROOT
from tests.benchmarks.jobs import LEDGER
from tests.benchmarks.sides import Side

START_LIMIT = 60.0
"""Seconds that a process may take until its scheduler has started."""

STOP_LIMIT = 30.0


@dataclass(frozen=True, slots=True)
class Signature:
    """A run, as its job noted it."""

    number: int
    pid: int
    at: float
    """time.time() at the job's first line."""


class Ledger:
    """What the jobs of all processes wrote, independent of the database."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def signatures(self) -> list[Signature]:
        """Return all of them, in the order in which they were written."""
        lines = (line.split() for line in self._path.read_text().splitlines())
        return [Signature(int(number), int(pid), float(at)) for number, pid, at in lines]

    def __len__(self) -> int:
        return self._path.read_bytes().count(b"\n")


@contextmanager
def opened_ledger() -> Iterator[Ledger]:
    """Let the jobs of this process and of those that it starts sign in a new file."""
    with tempfile.NamedTemporaryFile(prefix="async_apscheduler_ledger_") as file:
        os.environ[LEDGER] = file.name
        yield Ledger(Path(file.name))


class Node:
    """A scheduler's process."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self.took: dict[str, float] = {}
        """`peak_rss` in megabytes and `cpu_seconds`, at the end."""

    async def start(self) -> None:
        """Return when the scheduler has started. Raises TimeoutError or RuntimeError."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.benchmarks.node", self._side.name),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(START_LIMIT):
            self.starting_at = (await self._hear())["starting_at"]
            self.pid = int((await self._hear())["pid"])

    async def stop(self) -> None:
        """End it; `took` then says what it took."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_LIMIT):
                self.took = await self._hear()
                await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()

    async def _hear(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("The process of a node has ended; its last lines say why.")
        return dict(json.loads(line))


@asynccontextmanager
async def running_nodes(side: Side, count: int) -> AsyncIterator[list[Node]]:
    """Start so many nodes at once, and end those that are still there."""
    nodes = [Node(side) for _ in range(count)]
    await asyncio.gather(*(node.start() for node in nodes))
    try:
        yield nodes
    finally:
        await asyncio.gather(*(node.stop() for node in nodes))
