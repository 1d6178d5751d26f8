"""Jobs that count themselves in a file: one `write(2)` each, which no crash can tear."""

from __future__ import annotations

import asyncio
import os
import time


def _write(line: str) -> None:
    file = os.open(os.environ["TEST_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{line}\t{os.getpid()}\t{time.time_ns()}\n".encode())
    finally:
        os.close(file)


def note(kind: str, key: str) -> None:
    """Write something else about a key."""
    _write(f"{kind}\t{key}")


async def enter(key: str, seconds: float = 0.0) -> None:
    """Write when the run starts and when it ends."""
    _write(f"start\t{key}")
    await asyncio.sleep(seconds)
    _write(f"end\t{key}")


def enter_plain(key: str, seconds: float = 0.0) -> None:
    """Write when the run starts and when it ends, from a thread."""
    _write(f"start\t{key}")
    time.sleep(seconds)
    _write(f"end\t{key}")
