"""Waiting that answers instead of failing: in a fault, too late is a finding like any other."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE = 0.05
"""Seconds between two looks: what is measured here counts in seconds."""


def until(predicate: Callable[[], object], limit: float) -> bool:
    """Wait up to `limit` seconds for a true answer; return whether it came."""
    deadline = time.monotonic() + limit
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


def seconds_until(predicate: Callable[[], object], limit: float) -> float | None:
    """Wait up to `limit` seconds for a true answer; return how long it took, or None."""
    began = time.monotonic()
    return time.monotonic() - began if until(predicate, limit) else None
