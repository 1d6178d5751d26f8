"""django-apscheduler: ``add_job(replace_existing=True)`` at each start, as its README has it."""

from __future__ import annotations

from datetime import UTC

from apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.jobstores import DjangoJobStore  # type: ignore[import-not-found]
from django_apscheduler.models import DjangoJob  # type: ignore[import-not-found]

from tests.benchmarks.jobs import note


def start(jobs: int) -> None:
    """Declare and start."""
    scheduler = BackgroundScheduler(timezone=UTC, jobstores={"default": DjangoJobStore()})
    for number in range(jobs):
        scheduler.add_job(
            note,
            "interval",
            hours=1 + number % 50,
            id=f"job-{number}",
            args=[number],
            replace_existing=True,
        )
    scheduler.start()


def count() -> int:
    """Return how many jobs are stored."""
    return int(DjangoJob.objects.count())
