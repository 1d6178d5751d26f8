"""The jobs of all workloads. They do next to nothing: what is measured is the scheduler."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

COROUTINES = "coroutines"
FUNCTIONS = "plain functions"
"""The two ways in which most workloads can be put to a side."""

NAP = 1.0
"""Seconds that a nap takes."""

LEDGER = "BENCHMARK_LEDGER"
"""Name of the environment variable with the file that sign() and asign() append to."""

ran: list[int] = []
"""The number of each run, in the order they began; a number twice is a job that ran twice."""

began_at: list[float] = []
"""The time.time() at which each stamp() and nap() began."""

scheduled_at: list[float] = []
"""When the runs of `began_at` should have begun, from a side that tells the job."""

ended_at: list[float] = []
"""The time.time() at which each nap() ended."""


def note(number: int) -> None:
    """Note the run."""
    ran.append(number)


async def anote(number: int) -> None:
    """See note()."""
    ran.append(number)


def stamp(number: int) -> None:
    """Note the run, and when it began."""
    began_at.append(time.time())
    ran.append(number)


async def astamp(number: int) -> None:
    """See stamp()."""
    stamp(number)


def nap(number: int) -> None:
    """Note the run, and when it began and ended; between them it waits."""
    stamp(number)
    time.sleep(NAP)
    ended_at.append(time.time())


async def anap(number: int) -> None:
    """See nap()."""
    stamp(number)
    await asyncio.sleep(NAP)
    ended_at.append(time.time())


def sign(number: int) -> None:
    """Note the run in a file that is the same for all processes; see ledger.py."""
    stamp(number)
    file = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND)
    os.write(file, f"{number} {os.getpid()} {began_at[-1]!r}\n".encode())
    os.close(file)


async def asign(number: int) -> None:
    """See sign()."""
    sign(number)


Work = Callable[[int], Any]

NOTE: dict[str, Work] = {COROUTINES: anote, FUNCTIONS: note}
STAMP: dict[str, Work] = {COROUTINES: astamp, FUNCTIONS: stamp}
NAPS: dict[str, Work] = {COROUTINES: anap, FUNCTIONS: nap}
SIGN: dict[str, Work] = {COROUTINES: asign, FUNCTIONS: sign}
