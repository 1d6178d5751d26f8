"""w10, django-apscheduler: jobs that are due later, and runs of the last days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from django_apscheduler.models import (  # type: ignore[import-not-found]
    DjangoJob,
    DjangoJobExecution,
)

from tests.benchmarks import jobs as work
from tests.benchmarks.peers import HOUR, Task
from tests.benchmarks.peers.django_apscheduler import Scheduler
from tests.benchmarks.project import settle
from tests.benchmarks.w10.pages import insert, times_of_pages


def measure(variant: str, *, jobs: int, runs: int) -> dict[str, float]:
    """Return the numbers of one measurement."""
    now = datetime.now(UTC)
    Scheduler().insert(work.note, [Task(number, now + HOUR) for number in range(jobs)])
    insert(_runs(now, jobs, runs))
    settle()
    return times_of_pages(jobs=DjangoJob, runs=DjangoJobExecution)


def _runs(now: datetime, jobs: int, runs: int) -> Iterator[DjangoJobExecution]:
    for number in range(runs):
        ran_at = now - timedelta(seconds=number / 10)
        yield DjangoJobExecution(
            job_id=f"job-{number % jobs}",
            run_time=ran_at,
            status=DjangoJobExecution.SUCCESS,
            duration=0.01,
            finished=ran_at.timestamp(),
        )
