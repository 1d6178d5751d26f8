"""The jobs of all workloads. They do next to nothing: what is measured is the scheduler."""

from __future__ import annotations

ran: list[int] = []
"""The number of each run, in the order they ran; a number twice is a job that ran twice."""


def note(number: int) -> None:
    """Note the run."""
    ran.append(number)


async def anote(number: int) -> None:
    """Note the run, as a coroutine."""
    ran.append(number)
