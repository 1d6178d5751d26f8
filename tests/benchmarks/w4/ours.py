"""w4, ours: as all sides, and how long the passes take that claim something."""

from __future__ import annotations

import statistics
import time
from typing import Any

from async_apscheduler.engine.passes import Pass, PassResult
from tests.benchmarks.sides import OURS, SIDES
from tests.benchmarks.w4 import measuring


def measure(variant: str, *, jobs: int) -> dict[str, float]:
    """Return the numbers of one measurement."""
    claiming: list[float] = []
    work = Pass.work

    def timed_work(self: Pass, *args: Any, **options: Any) -> PassResult:
        begun = time.perf_counter()
        result = work(self, *args, **options)
        if result.claimed.runs:
            claiming.append(1000 * (time.perf_counter() - begun))
        return result

    Pass.work = timed_work  # type: ignore[method-assign]  # this process does nothing else
    numbers = measuring.measure(SIDES[OURS], variant, jobs=jobs)
    return {**numbers, "pass_time": statistics.median(claiming)}
