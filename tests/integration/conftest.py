"""A running scheduler for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from async_apscheduler import signals
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Status
from async_apscheduler.schedulers import DjangoScheduler
from tests.databases import Vendor
from tests.support import await_until
from tests.testapp import work

Start = Callable[..., Awaitable[DjangoScheduler]]


@pytest.fixture(autouse=True)
def clean_jobs() -> Iterator[None]:
    """Forget what jobs of an earlier test left in this process."""
    work.seen.clear()
    work.gates.clear()
    work.thread_gate.clear()
    yield
    work.thread_gate.set()


@pytest.fixture
def versions_from_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the version of a new job be 1, so that it tells how often the job was edited."""
    field = DjangoJob._meta.get_field("version")
    monkeypatch.setattr(field, "_get_default", lambda: 1)
    monkeypatch.setattr("async_apscheduler.models.jobs.new_version", lambda: 1)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start schedulers: `scheduler = await start(**options)`; they are stopped after the test."""
    started: list[DjangoScheduler] = []

    async def start_one(*, paused: bool = False, **options: Any) -> DjangoScheduler:
        scheduler = DjangoScheduler(**options)
        started.append(scheduler)
        await scheduler.astart(paused)
        return scheduler

    yield start_one
    for scheduler in started:
        if scheduler.running:
            await scheduler.ashutdown(wait=False)


@pytest.fixture
def failures() -> Iterator[list[str]]:
    """Collect which parts of the scheduler say that they have failed."""
    seen: list[str] = []

    def remember(part: str, **_: Any) -> None:
        seen.append(part)

    signals.work_failed.connect(remember)
    yield seen
    signals.work_failed.disconnect(remember)


@pytest.fixture
def locks_rows(database: Vendor) -> None:
    """Skip where a lock is always one of the whole database."""
    if database == "sqlite":
        pytest.skip("SQLite locks no single rows")


async def runs_of(job_id: str, *statuses: Status) -> list[DjangoJobExecution]:
    """Return the rows of a job's runs, oldest first."""
    runs = DjangoJobExecution.objects.filter(job_id=job_id).order_by("run_time")
    if statuses:
        runs = runs.filter(status__in=statuses)
    return [run async for run in runs]


async def finished_run(job_id: str, timeout: float = 10) -> DjangoJobExecution:
    """Wait until the job has a finished run and return its row."""

    async def first() -> DjangoJobExecution | None:
        runs = DjangoJobExecution.objects.finished().filter(job_id=job_id)
        run: DjangoJobExecution | None = await runs.order_by("run_time").afirst()
        return run

    run = await await_until(first, timeout)
    assert run is not None
    return run
