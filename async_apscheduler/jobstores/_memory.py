"""Jobs in memory, runs in the database."""

from __future__ import annotations

from datetime import datetime

from apscheduler.job import Job
from apscheduler.jobstores.memory import MemoryJobStore

from async_apscheduler.jobstores._recording import RecordsRunsMixin


class DjangoMemoryJobStore(RecordsRunsMixin, MemoryJobStore):  # type: ignore[misc]  # untyped
    """Keeps jobs in memory, for code that sets them up at each start; runs are recorded."""

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return the jobs due at `now`, oldest first."""
        self._note_look()
        jobs: list[Job] = super().get_due_jobs(now)
        return jobs
