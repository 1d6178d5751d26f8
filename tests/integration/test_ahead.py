"""Runs are claimed a moment before their time; what is done to their jobs in that moment counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from async_apscheduler.engine import claims, held, nodes, passes
from async_apscheduler.engine.runs import Run
from async_apscheduler.engine.second_look import still_wanted
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Reason, Status
from async_apscheduler.schedulers import DjangoScheduler
from tests.integration.conftest import Start, finished_run, runs_of
from tests.support import await_until, committed_data
from tests.testapp import work

pytestmark = committed_data

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def long_moment(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Make the moment long enough to do something in it, and let new jobs be found at once."""
    settings.ASYNC_APSCHEDULER = {"POLL_INTERVAL": 0.05}
    monkeypatch.setattr(claims, "LEAD", timedelta(seconds=1.5))
    for module in (claims, held):
        monkeypatch.setattr(module, "LONGEST_LEAD", timedelta(seconds=1.5))
    monkeypatch.setattr(held, "LOOK_BEFORE", timedelta(seconds=0.3))


async def claimed_ahead(start: Start, **options: Any) -> tuple[DjangoJob, datetime]:
    """Return a job whose next run is claimed and has not begun, and the time of that run."""
    await start()
    soon = datetime.now(UTC) + timedelta(seconds=2)
    job = await DjangoJob.objects.aschedule(
        work.mark, "interval", hours=1, id="job", args=["as it was"], next_run_time=soon, **options
    )

    async def is_claimed() -> bool:
        return await DjangoJobExecution.objects.running().aexists()

    await await_until(is_claimed)
    assert datetime.now(UTC) < soon
    assert work.seen == []
    await job.arefresh_from_db()
    return job, soon


async def no_run_is_left() -> bool:
    """Return True if what was claimed has been given back."""
    return not await DjangoJobExecution.objects.aexists()


async def none_is_running() -> bool:
    """Return True if the end of each run that was claimed has been written."""
    return not await DjangoJobExecution.objects.running().aexists()


async def test_a_run_that_was_claimed_ahead_starts_at_its_time(start: Start) -> None:
    """Neither before, nor after the time that a claim takes."""
    _, soon = await claimed_ahead(start)

    run = await finished_run("job")

    assert (run.status, run.run_time) == (Status.SUCCEEDED, soon)
    assert run.started_at >= soon
    assert work.seen == ["as it was"]


async def test_a_job_that_is_paused_in_that_moment_does_not_run(start: Start) -> None:
    """The claim is given back, and the job stays as the pause has left it."""
    job, _ = await claimed_ahead(start)

    await job.apause()

    await await_until(no_run_is_left)
    await job.arefresh_from_db()
    assert (job.status, job.next_run_time) == (DjangoJob.Status.PAUSED, None)
    assert work.seen == []


async def test_a_job_that_is_removed_in_that_moment_does_not_run(start: Start) -> None:
    """Neither the job nor its run comes back."""
    job, _ = await claimed_ahead(start)

    await job.aremove()

    await await_until(no_run_is_left)
    assert not await DjangoJob.objects.aexists()
    assert work.seen == []


async def test_a_job_that_is_rescheduled_in_that_moment_runs_when_it_is_told(start: Start) -> None:
    """The old time is forgotten, the new one counts."""
    job, _ = await claimed_ahead(start)

    await job.areschedule("interval", hours=3)

    await await_until(no_run_is_left)
    await job.arefresh_from_db()
    assert job.next_run_time > datetime.now(UTC) + 2 * HOUR
    assert work.seen == []


async def test_a_job_that_is_edited_in_that_moment_runs_as_it_is_then(start: Start) -> None:
    """The time stays, the arguments are the new ones."""
    job, soon = await claimed_ahead(start)

    job.args = ["as it is"]
    await job.asave()

    await await_until(lambda: work.seen)
    assert work.seen == ["as it is"]
    [run] = await runs_of("job")
    assert run.run_time == soon


async def test_a_run_can_be_cancelled_in_that_moment(start: Start) -> None:
    """It never begins, and its row says that somebody asked for that."""
    await claimed_ahead(start)

    run = await DjangoJobExecution.objects.aget()
    await run.acancel(by="the boss")

    run = await finished_run("job")
    assert (run.status, run.reason) == (Status.CANCELLED, Reason.REQUESTED)
    assert work.seen == []


async def test_a_job_that_does_not_fire_again_is_left_for_its_time(start: Start) -> None:
    """Its row would be gone, and with it the place where somebody could still remove it."""
    await start()
    soon = datetime.now(UTC) + timedelta(seconds=2)
    await DjangoJob.objects.aschedule(work.mark, "date", run_date=soon, id="once")
    await DjangoJob.objects.aschedule(
        work.mark, "interval", hours=1, id="job", next_run_time=soon, args=["again and again"]
    )

    async def is_claimed() -> bool:
        return await DjangoJobExecution.objects.running().aexists()

    await await_until(is_claimed)
    assert await DjangoJob.objects.filter(pk="once").aexists()
    await await_until(lambda: len(work.seen) == 2)


async def test_a_job_that_fires_again_in_that_moment_is_left_for_its_time(start: Start) -> None:
    """Else the claim of each fire would make the one before it look as if somebody had edited it.

    A job that fired more often than that moment is long, and whose runs may overlap, lost nearly
    all of them, without a trace.
    """
    await start()
    soon = datetime.now(UTC) + timedelta(seconds=2)

    await DjangoJob.objects.aschedule(
        work.mark,
        "interval",
        seconds=0.05,
        start_date=soon,
        end_date=soon + timedelta(seconds=1),
        id="job",
        args=["again"],
        max_instances=100,
        coalesce=False,
        misfire_grace_time=None,
    )

    async def is_over() -> bool:
        return not await DjangoJob.objects.aexists()

    await await_until(is_over)
    await await_until(none_is_running)
    statuses = [run.status for run in await runs_of("job")]
    assert statuses == [Status.SUCCEEDED] * 21
    assert len(work.seen) == 21


@pytest.fixture
def second_looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note at how many runs was looked again at a time."""
    seen: list[int] = []

    def note(runs: list[Run]) -> list[Run]:
        seen.append(len(runs))
        return still_wanted(runs)

    monkeypatch.setattr(held, "still_wanted", note)
    return seen


async def test_what_several_claims_took_for_one_time_is_looked_at_together(
    start: Start, monkeypatch: pytest.MonkeyPatch, second_looks: list[int]
) -> None:
    """And what was done to some of the jobs counts for those alone."""
    monkeypatch.setattr(claims, "MAX_BATCH", 2)
    await start()
    soon = datetime.now(UTC) + timedelta(seconds=2)
    jobs = [
        await DjangoJob.objects.aschedule(
            work.mark,
            "interval",
            hours=hours,
            id=f"job {number}",
            args=[number],
            next_run_time=soon,
        )
        for number, hours in enumerate([1, 1, 1, 1, 2])
    ]

    async def are_claimed() -> bool:
        return await DjangoJobExecution.objects.running().acount() == len(jobs)

    await await_until(are_claimed)
    await jobs[1].apause()
    await jobs[2].aremove()
    await jobs[3].arefresh_from_db()
    jobs[3].args = [33]
    await jobs[3].asave()

    await await_until(lambda: len(work.seen) == 3)
    assert sorted(work.seen) == [0, 4, 33]
    assert second_looks[0] == 5
    assert await DjangoJobExecution.objects.acount() == 3


async def test_what_is_due_one_after_the_other_is_claimed_and_looked_at_together(
    start: Start, monkeypatch: pytest.MonkeyPatch, second_looks: list[int]
) -> None:
    """And each run starts at its own time all the same."""
    monkeypatch.setattr(held, "TOGETHER", timedelta(seconds=1))
    await start()
    soon = datetime.now(UTC) + timedelta(seconds=2)
    times = [soon + timedelta(milliseconds=100 * number) for number in range(5)]
    for number, moment in enumerate(times):
        await DjangoJob.objects.aschedule(
            work.mark, "interval", hours=1, id=f"job {number}", args=[number], next_run_time=moment
        )

    await await_until(lambda: len(work.seen) == 5)

    await await_until(none_is_running)
    assert work.seen == [0, 1, 2, 3, 4]
    assert sum(second_looks) == 5
    assert len(second_looks) < 5
    async for run in DjangoJobExecution.objects.all():
        assert run.started_at >= run.run_time


async def test_an_earlier_run_may_still_end_in_that_moment(start: Start) -> None:
    """A job whose run goes on is not claimed ahead, or the next would count as an overlap."""
    work.gates["gate"] = asyncio.Event()
    scheduler = await start()
    soon = datetime.now(UTC) + timedelta(seconds=2)
    job = await DjangoJob.objects.aschedule(
        work.wait_for_gate, "interval", hours=1, id="job", args=["gate"], next_run_time=soon
    )
    await job.arun()
    await await_until(lambda: work.seen == ["gate began"])
    await await_until(lambda: scheduler.node.now() > soon - timedelta(seconds=0.6))

    work.gates["gate"].set()

    await await_until(lambda: len(work.seen) == 2)
    statuses = [run.status for run in await runs_of("job")]
    assert Status.SKIPPED not in statuses


async def test_a_clock_that_jumps_back_in_that_moment_holds_nothing_for_an_hour(
    start: Start,
) -> None:
    """What was claimed is started as soon as it would have been."""
    scheduler = await start()
    an_hour_ahead = scheduler.node.now() + HOUR

    await asyncio.wait_for(scheduler._staff.work._held._sleep_until(an_hour_ahead), 10)


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> Callable[[DjangoScheduler, timedelta], None]:
    """Return a function that sets a scheduler's clock back at the end of each pass from now on."""
    look = passes.Pass.work

    def let_jump(scheduler: DjangoScheduler, back: timedelta) -> None:
        clock = scheduler.node._clock

        def look_and_jump(*args: Any, **kwargs: Any) -> Any:
            result = look(*args, **kwargs)
            clock._time -= back
            return result

        monkeypatch.setattr(passes.Pass, "work", look_and_jump)

    return let_jump


@pytest.mark.parametrize("trigger", [{}, {"trigger": "interval", "hours": 1}])
async def test_what_a_clock_set_back_makes_look_ahead_is_not_given_back(
    start: Start,
    settings: Any,
    jumping: Callable[[DjangoScheduler, timedelta], None],
    trigger: dict[str, Any],
) -> None:
    """Neither the only run of a one-off job, nor one that somebody asked for."""
    settings.ASYNC_APSCHEDULER = {"POLL_INTERVAL": 0.05, "HEARTBEAT_INTERVAL": 0.2}
    scheduler = await start()
    jumping(scheduler, timedelta(seconds=5))

    job = await DjangoJob.objects.aschedule(work.mark, id="job", **trigger)
    if trigger:
        await job.arun()
    run = await finished_run("job")

    assert run.status == Status.SUCCEEDED
    assert len(work.seen) == 1


async def test_a_clock_that_jumps_back_during_a_pass_delays_no_further_pass(
    start: Start, jumping: Callable[[DjangoScheduler, timedelta], None]
) -> None:
    """The pause after it is not longer by the hour that the clock lost."""
    scheduler = await start()
    await scheduler.aadd_job(work.mark, "interval", seconds=60, id="job")
    jumping(scheduler, HOUR)

    pause = await scheduler._staff.work._one_pass()

    assert pause <= 60


async def test_a_clock_that_jumps_ahead_wakes_an_idle_scheduler(
    start: Start, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sleeps until the next run time, but the clock may come to it sooner."""
    settings.ASYNC_APSCHEDULER = {"POLL_INTERVAL": 0.05, "HEARTBEAT_INTERVAL": 0.2}
    real = nodes.database_now
    scheduler = await start()
    await scheduler.aadd_job(work.mark, "interval", hours=1, id="job")
    await await_until(lambda: scheduler._staff.work._django._outlook.next_run_time)

    monkeypatch.setattr(nodes, "database_now", lambda alias: real(alias) + HOUR)

    assert (await finished_run("job")).status == Status.SUCCEEDED
