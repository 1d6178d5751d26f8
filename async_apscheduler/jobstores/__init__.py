"""Job stores for any APScheduler scheduler: APScheduler's contract on Django's ORM.

Under DjangoScheduler the store only keeps jobs; claiming and recording are the scheduler's own.
Under APScheduler's own schedulers (Background, Blocking and the others) the runs are recorded
through the scheduler's events.
"""

from __future__ import annotations

from async_apscheduler.jobstores._django import RELEASE_INTERVAL, DjangoJobStore
from async_apscheduler.jobstores._memory import DjangoMemoryJobStore
from async_apscheduler.jobstores._recording import kept_text

__all__ = ["RELEASE_INTERVAL", "DjangoJobStore", "DjangoMemoryJobStore", "kept_text"]
