"""See what becomes of runs that were asked for: they happen in another process."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta

from async_apscheduler._database import database_now
from async_apscheduler.conf import get_settings
from async_apscheduler.models import DjangoJobExecution, SchedulerNode

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
"""Seconds between two looks at the rows."""

KEYS_PER_QUERY = 500
"""Within what every database takes as parameters."""


def environments_with_a_scheduler(database: str) -> set[str]:
    """Return the environments in which a scheduler is alive and takes runs."""
    oldest = database_now(database) - timedelta(seconds=get_settings().node_timeout)
    nodes = SchedulerNode.objects.using(database).running().filter(heartbeat_at__gte=oldest)
    return set(nodes.values_list("environment", flat=True))


def wait_for_ends(
    keys: Collection[int], database: str, timeout: float
) -> dict[int, DjangoJobExecution]:
    """Wait until all these runs have ended, at most `timeout` seconds, and return those that have.

    Each look is a query of its own: a transaction held open here would hide the results, and hold
    back the database's tidying.
    """
    deadline = time.monotonic() + timeout
    ended = _ended(keys, database)
    pause = FIRST_PAUSE
    while len(ended) < len(keys) and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE)
        ended |= _ended([key for key in keys if key not in ended], database)
    return ended


def _ended(keys: Collection[int], database: str) -> dict[int, DjangoJobExecution]:
    keys = list(keys)
    runs = DjangoJobExecution.objects.using(database).finished()
    brief = runs.only("job_id", "status", "reason", "duration", "exception")
    ended: dict[int, DjangoJobExecution] = {}
    for start in range(0, len(keys), KEYS_PER_QUERY):
        ended |= brief.in_bulk(keys[start : start + KEYS_PER_QUERY])
    return ended
