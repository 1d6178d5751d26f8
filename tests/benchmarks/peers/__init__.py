"""How each side is filled, started and stopped, at its best: a file and a class for each.

The workloads are written once, in these words, for all sides. Where a side has no word for
something, the workload says so in its `absent`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from typing import Protocol, cast

from tests.benchmarks.jobs import Work
from tests.benchmarks.sides import Side

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Task:
    """A job to be inserted: called with its number, first at `due` and then each `every`."""

    number: int
    due: datetime
    every: timedelta = HOUR


class Peer(Protocol):
    """A scheduler of some side, in this process."""

    def __init__(self, *, capacity: int | None = None) -> None:
        """`capacity` is how many runs have to go on at once; None leaves it at its best."""

    def insert(self, func: Work, tasks: Iterable[Task]) -> None:
        """Store these jobs instead of all that are there. Waits for the database."""

    async def start(self) -> None:
        """Begin to run what is due."""

    async def stop(self) -> None:
        """End, without waiting for what is going on."""

    @property
    def finished(self) -> int:
        """How many runs have ended and have all written that their side writes about them."""


class RunsNow(Protocol):
    """A side that can be told from another process to run something at once."""

    async def run_now(self, number: int) -> None:
        """Ask for a run of the job that was inserted with this number."""


def peer_of(side: Side, *, capacity: int | None = None) -> Peer:
    """Return a scheduler of the side; Django must be set up."""
    module = import_module(f"{__name__}.{side.module}")
    return cast(Peer, module.Scheduler(capacity=capacity))
