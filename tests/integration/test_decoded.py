"""Schedulers keep jobs decoded: what they run is what the database says all the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from apscheduler.executors.pool import ThreadPoolExecutor
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from async_apscheduler.engine.decoded import PORTION, DecodedJobs
from async_apscheduler.engine.executor import DjangoExecutor
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.models import DjangoJob
from async_apscheduler.models.changes import JobChange
from tests.integration.conftest import Start, finished_run
from tests.support import await_until, committed_data
from tests.testapp import work

pytestmark = committed_data


async def test_a_job_added_again_under_its_id_is_not_taken_for_the_one_that_was_removed(
    start: Start,
) -> None:
    """Neither its function nor its arguments, which the scheduler has decoded."""
    await start()
    hourly = {"trigger": "interval", "hours": 1, "id": "job"}
    job = await DjangoJob.objects.aschedule(work.mark, args=["the first"], **hourly)
    await job.arun()
    await await_until(lambda: work.seen == ["the first"])
    await finished_run("job")

    await job.aremove()
    job = await DjangoJob.objects.aschedule(work.mark, args=["the second"], **hourly)
    await job.arun()

    await await_until(lambda: len(work.seen) == 2)
    assert work.seen == ["the first", "the second"]


@pytest.mark.parametrize(
    ("func", "executor"),
    [(work.use_up, "default"), (work.use_up_plain, "default"), (work.use_up_plain, "pool")],
)
async def test_a_run_that_changes_its_arguments_changes_them_for_itself_alone(
    start: Start, func: Callable[..., Any], executor: str
) -> None:
    """Whoever runs it: the next one gets what was stored."""
    await start(executors={"default": DjangoExecutor(), "pool": ThreadPoolExecutor(2)})
    stored = {"args": [[1, 2]], "kwargs": {"options": {"key": "value"}}}
    job = await DjangoJob.objects.aschedule(
        func, "interval", hours=1, id="job", executor=executor, **stored
    )

    for count in (1, 2):
        await job.arun()
        await await_until(lambda count=count: len(work.seen) == count)
        await finished_run("job")

    assert work.seen == [([1, 2], {"key": "value"})] * 2


@pytest.mark.parametrize("number", [1, 2, 3, PORTION, PORTION + 1])
def test_jobs_are_decoded_however_many_there_are(number: int) -> None:
    """Each once, though their rows are asked for in portions, and one that is gone is left out."""
    versions = {f"job-{each}": 0 for each in range(number)}
    hourly: dict[str, Any] = {"trigger": "interval", "hours": 1}
    with transaction.atomic():
        for job_id in versions:
            job = DjangoJob.objects.schedule(work.mark, **hourly, id=job_id, args=[job_id])
            versions[job_id] = job.version
    decoded = DecodedJobs(DjangoJobStore())

    loaded, errors = decoded.load(versions | {"gone": 1})
    with CaptureQueriesContext(connections["default"]) as queries:
        again, _ = decoded.load(versions)

    assert {job_id: job.job.args for job_id, job in loaded.items()} == {
        job_id: (job_id,) for job_id in versions
    }
    assert errors == []
    assert again == loaded
    assert len(queries) == 0


Edit = Callable[[DjangoJob, list[str]], Awaitable[Any]]


async def save(job: DjangoJob, args: list[str]) -> None:
    """Edit a job as every model of Django can be edited."""
    job.args = args
    await job.asave()


async def save_one_field(job: DjangoJob, args: list[str]) -> None:
    """The same, as it is recommended."""
    job.args = args
    await job.asave(update_fields=["args"])


async def update(job: DjangoJob, args: list[str]) -> None:
    """The same, of many at once."""
    await DjangoJob.objects.filter(pk=job.pk).aupdate(args=args)


async def update_in_bulk(job: DjangoJob, args: list[str]) -> None:
    """The same, of many that differ."""
    job.args = args
    await DjangoJob.objects.abulk_update([job], ["args"])


@pytest.mark.parametrize("edit", [save, save_one_field, update, update_in_bulk])
async def test_an_edit_by_the_means_of_django_counts(start: Start, edit: Edit) -> None:
    """A scheduler that has the job decoded does not go on with what it was."""
    await start()
    job = await DjangoJob.objects.aschedule(
        work.mark, "interval", hours=1, id="job", args=["as it was"]
    )
    await job.arun()
    await await_until(lambda: work.seen == ["as it was"])
    await finished_run("job")

    await edit(job, ["as it is"])
    await job.arun()

    await await_until(lambda: len(work.seen) == 2)
    assert work.seen == ["as it was", "as it is"]
    assert await JobChange.objects.acount() == 1  # the job was added; past the API nothing is noted


async def test_an_edit_of_a_stale_instance_counts(start: Start) -> None:
    """Although somebody else has edited the job since, so that both follow the same version."""
    await start()
    stale = await DjangoJob.objects.aschedule(work.mark, "interval", hours=1, id="job", args=[""])
    await update(stale, ["the first edit"])
    await stale.arun()
    await await_until(lambda: work.seen == ["the first edit"])
    await finished_run("job")

    await save(stale, ["the second edit"])
    await stale.arun()

    await await_until(lambda: len(work.seen) == 2)
    assert work.seen == ["the first edit", "the second edit"]
