"""Our job stores under APScheduler's own schedulers, and what a row may do to them: nothing."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_SUBMITTED
from apscheduler.events import JobExecutionEvent as Executed
from apscheduler.events import JobSubmissionEvent as Submitted
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import BaseJobStore
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from django.db import OperationalError, connections, transaction
from django.db.models import JSONField, Value

from async_apscheduler.exceptions import UnreadableJobError
from async_apscheduler.jobstores import RELEASE_INTERVAL, DjangoJobStore, DjangoMemoryJobStore
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Reason, Status
from tests.databases import Vendor
from tests.integration.conftest import finished_run
from tests.support import await_until, committed_data, wait_until
from tests.testapp import functions, work
from tests.testapp.models import Note

pytestmark = committed_data

NOW = datetime(2031, 5, 17, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEFAULTS = {"misfire_grace_time": None}

Start = Callable[..., BackgroundScheduler]


@pytest.fixture(params=[BackgroundScheduler, BlockingScheduler])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start a scheduler of each kind with a store: `scheduler = start(DjangoJobStore())`."""
    started: list[tuple[Any, threading.Thread | None]] = []

    def start_one(store: BaseJobStore, **options: Any) -> Any:
        options = {"timezone": "UTC", "job_defaults": DEFAULTS, **options}
        scheduler = request.param(jobstores={"default": store}, **options)
        thread = None
        if request.param is BlockingScheduler:
            thread = threading.Thread(target=scheduler.start)
            thread.start()
            wait_until(lambda: scheduler.running)
        else:
            scheduler.start()
        started.append((scheduler, thread))
        return scheduler

    yield start_one
    work.thread_gate.set()
    for scheduler, thread in started:
        if scheduler.running:
            scheduler.pause()
            with scheduler._jobstores_lock:
                pass  # APScheduler's loop fails when it is shut down while it removes a job
            scheduler.shutdown()
        if thread is not None:
            thread.join()


@pytest.fixture
def store() -> Iterator[DjangoJobStore]:
    """A store that was started, of a scheduler that was not: the test plays the scheduler."""
    found = DjangoJobStore()
    found.start(BackgroundScheduler(timezone="UTC"), "default")
    yield found
    found.shutdown()


def run_of(job_id: str, *statuses: Status) -> DjangoJobExecution:
    """Wait for the first run of a job, with one of the statuses, and return it."""
    runs = DjangoJobExecution.objects.filter(job_id=job_id).order_by("run_time")
    if statuses:
        runs = runs.filter(status__in=statuses)
    run: DjangoJobExecution = wait_until(runs.first)
    return run


def add(id: str = "job", **options: Any) -> DjangoJob:
    """Store a job that is due at NOW and every hour from then on."""
    options = {"hours": 1, "start_date": NOW, "next_run_time": NOW, **options}
    return DjangoJob.objects.schedule(functions.plain, "interval", id=id, **options)


def ids(jobs: list[Any]) -> list[str]:
    """Return the ids of jobs in their order."""
    return [job.id for job in jobs]


# Runs become rows


def test_a_run_is_recorded_from_its_start_to_its_end(start: Start) -> None:
    """While it runs there is a running row; at its end the row says how it went."""
    scheduler = start(DjangoJobStore())

    scheduler.add_job(work.wait_in_thread, id="job")
    begun = run_of("job", Status.RUNNING)
    work.thread_gate.set()
    ended = run_of("job", Status.SUCCEEDED)

    assert begun.pk == ended.pk
    assert begun.started_at is not None
    assert begun.started_at >= begun.run_time
    assert ended.finished_at is not None
    assert ended.duration == (ended.finished_at - begun.started_at).total_seconds()
    assert DjangoJobExecution.objects.count() == 1


def test_what_a_run_returned_or_raised_is_recorded(start: Start) -> None:
    """A value, an exception with its traceback; and the scheduler goes on."""
    scheduler = start(DjangoJobStore())

    scheduler.add_job(work.fall_in_thread, id="bad")
    bad = run_of("bad", Status.FAILED)
    scheduler.add_job(functions.Greeter.shout, args=["hello"], id="good")
    good = run_of("good", Status.SUCCEEDED)

    assert bad.exception == "ValueError: the ladder broke in a thread"
    assert "tests/testapp/work.py" in bad.traceback
    assert (good.return_value, good.exception) == ("HELLO", "")
    assert None not in (good.started_at, good.duration, bad.started_at, bad.duration)


@pytest.mark.parametrize("kind", work.RAISED)
def test_whatever_a_run_raises_is_recorded(start: Start, kind: str) -> None:
    """Also what has no text, too much of it, or characters that no database takes."""
    scheduler = start(DjangoJobStore())

    scheduler.add_job(work.throw_in_thread, args=[kind], id="bad")
    bad = run_of("bad", Status.FAILED)

    assert type(work.RAISED[kind]()).__name__ in bad.exception


def test_a_missed_run_says_so(start: Start) -> None:
    """A fire later than its grace time leaves a row that never started."""
    late = datetime.now(UTC) - HOUR
    scheduler = start(DjangoJobStore())

    scheduler.add_job(
        work.mark_plain, "date", run_date=late, misfire_grace_time=1, id="late", executor="default"
    )
    run = run_of("late", Status.SKIPPED)

    assert (run.reason, run.run_time) == (Reason.MISSED, late)
    assert (run.started_at, run.duration) == (None, None)
    assert run.finished_at is not None
    assert work.seen == []


def test_a_fire_during_a_run_says_so(start: Start) -> None:
    """With max_instances reached a fire is skipped, with a row; the run is not disturbed."""
    scheduler = start(DjangoJobStore())

    scheduler.add_job(work.wait_in_thread, "interval", seconds=0.1, id="job")
    skipped = run_of("job", Status.SKIPPED)
    work.thread_gate.set()
    ended = run_of("job", Status.SUCCEEDED)

    assert skipped.reason == Reason.OVERLAP
    assert skipped.started_at is None
    assert ended.run_time < skipped.run_time


def test_each_fire_of_a_job_without_coalescing_has_its_row(start: Start) -> None:
    """Three missed fires that run one after the other are three runs."""
    began = datetime.now(UTC) - 2 * HOUR
    scheduler = start(DjangoJobStore())

    scheduler.add_job(
        work.mark_plain,
        "interval",
        hours=1,
        start_date=began,
        next_run_time=began,
        coalesce=False,
        id="job",
    )
    wait_until(lambda: DjangoJobExecution.objects.filter(status=Status.SUCCEEDED).count() == 3)

    times = DjangoJobExecution.objects.order_by("run_time").values_list("run_time", flat=True)
    assert list(times) == [began, began + HOUR, began + 2 * HOUR]


def test_a_year_of_missed_seconds_is_one_run_and_one_row(start: Start) -> None:
    """A coalescing job is not stepped through 31 million fires; the folded ones are counted."""
    began = datetime.now(UTC) - timedelta(days=365)
    DjangoJob.objects.schedule(
        work.mark_plain, "interval", seconds=1, id="job", start_date=began, next_run_time=began
    )

    scheduler = start(DjangoJobStore())
    ran = run_of("job", Status.SUCCEEDED)
    scheduler.pause()

    skipped = run_of("job", Status.SKIPPED)
    assert (skipped.run_time, skipped.reason) == (began, Reason.COALESCED)
    assert (ran.run_time - began) == timedelta(seconds=skipped.fires)
    assert skipped.fires >= 365 * 86_400


def test_a_year_of_missed_hours_without_coalescing_is_a_hundred_runs(start: Start) -> None:
    """The latest fires become runs, all others one row that counts them as missed."""
    began = datetime.now(UTC) - timedelta(days=365)
    DjangoJob.objects.schedule(
        work.mark_plain,
        "interval",
        seconds=3600,
        id="job",
        coalesce=False,
        start_date=began,
        next_run_time=began,
    )

    start(DjangoJobStore())
    wait_until(lambda: DjangoJobExecution.objects.filter(status=Status.SUCCEEDED).count() == 100)

    skipped = run_of("job", Status.SKIPPED)
    assert (skipped.run_time, skipped.reason) == (began, Reason.MISSED)
    assert skipped.fires == 365 * 24 + 1 - 100


def test_an_end_that_is_told_before_the_start(store: DjangoJobStore) -> None:
    """A short run ends, in another thread, before its start is told: one row, complete."""
    scheduler = store._scheduler
    ended = Executed(EVENT_JOB_EXECUTED, "job", "default", NOW, retval=7)
    begun = Submitted(EVENT_JOB_SUBMITTED, "job", "default", [NOW])

    store.get_due_jobs(NOW)
    scheduler._dispatch_event(ended)
    scheduler._dispatch_event(begun)

    run = DjangoJobExecution.objects.get()
    assert (run.status, run.return_value) == (Status.SUCCEEDED, 7)
    assert run.started_at is not None
    assert run.finished_at is not None
    assert run.started_at <= run.finished_at
    assert run.duration is not None
    assert store._open == store._ended == set()


def test_the_memory_store_records_too(start: Start) -> None:
    """DjangoMemoryJobStore keeps no job in the database, but each run."""
    scheduler = start(DjangoMemoryJobStore())

    scheduler.add_job(work.mark_plain, args=[1], id="good")
    scheduler.add_job(work.fall_in_thread, id="bad")
    good, bad = run_of("good", Status.SUCCEEDED), run_of("bad", Status.FAILED)

    assert "the ladder broke" in bad.exception
    assert None not in (good.started_at, good.duration)
    assert not DjangoJob.objects.exists()


def test_runs_of_another_store_are_not_ours(start: Start) -> None:
    """Beside our store one of APScheduler's goes on unrecorded, as without us."""
    scheduler = start(DjangoJobStore())
    scheduler.add_jobstore(MemoryJobStore(), "theirs")

    scheduler.add_job(work.mark_plain, args=["theirs"], id="theirs", jobstore="theirs")
    wait_until(lambda: work.seen)
    scheduler.add_job(work.mark_plain, args=["ours"], id="ours")
    run_of("ours", Status.SUCCEEDED)

    assert not DjangoJobExecution.objects.filter(job_id="theirs").exists()


def test_a_finished_job_goes_and_its_history_stays(start: Start) -> None:
    """As with every APScheduler store a one-off job is removed; its run is remembered."""
    scheduler = start(DjangoJobStore())

    scheduler.add_job(work.mark_plain, "date", id="once")
    run_of("once", Status.SUCCEEDED)
    wait_until(lambda: not DjangoJob.objects.exists())

    assert scheduler.get_job("once") is None
    assert DjangoJobExecution.objects.count() == 1


def test_runs_that_shutdown_does_not_wait_for_do_not_stay_running(start: Start) -> None:
    """With wait=False nobody will tell their end, so they are marked."""
    scheduler = start(DjangoJobStore())
    scheduler.add_job(work.wait_in_thread, id="job")
    run_of("job", Status.RUNNING)

    scheduler.shutdown(wait=False)
    run = run_of("job", Status.CANCELLED)

    assert run.reason == Reason.SHUTDOWN
    assert run.finished_at is not None


def test_what_is_due_at_the_shutdown_is_not_lost() -> None:
    """APScheduler's loop looks once more after its end; then our store hands out nothing."""
    scheduler = BackgroundScheduler(jobstores={"default": DjangoJobStore()}, timezone="UTC")
    scheduler.start(paused=True)
    past = datetime.now(UTC) - HOUR
    scheduler.add_job(work.mark_plain, "interval", hours=3, next_run_time=past, id="job")

    scheduler.shutdown()

    assert DjangoJob.objects.get().next_run_time == past


# On an event loop


@pytest.fixture
async def loop_scheduler() -> Any:
    """A plain AsyncIOScheduler with our store."""
    scheduler = AsyncIOScheduler(
        jobstores={"default": DjangoJobStore(), "memory": DjangoMemoryJobStore()},
        timezone="UTC",
        job_defaults=DEFAULTS,
    )
    scheduler.start()
    yield scheduler
    if scheduler.running:
        scheduler.shutdown()
        await await_until(lambda: not scheduler.running)


LOOP_WAITS = pytest.mark.may_block("APScheduler calls its stores on the loop, which waits for them")


@LOOP_WAITS
async def test_coroutine_jobs_run_on_the_loop_of_apschedulers_scheduler(
    loop_scheduler: AsyncIOScheduler,
) -> None:
    """`async def` jobs with the async ORM run and are recorded; the store waits in its thread."""
    loop_scheduler.add_job(work.anote, args=["from a coroutine"], id="good")
    loop_scheduler.add_job(work.fall, id="bad")
    loop_scheduler.add_job(work.mark, args=["memory"], id="memory", jobstore="memory")

    good, bad, memory = [await finished_run(name) for name in ("good", "bad", "memory")]

    assert (good.status, good.return_value) == (Status.SUCCEEDED, "from a coroutine")
    assert (bad.status, bad.exception) == (Status.FAILED, "ValueError: the ladder broke")
    assert memory.status == Status.SUCCEEDED
    assert await Note.objects.filter(text="from a coroutine").aexists()


@LOOP_WAITS
async def test_the_whole_interface_works_on_the_loop(loop_scheduler: AsyncIOScheduler) -> None:
    """add, look up, modify, list, pause and remove raise no SynchronousOnlyOperation."""
    loop_scheduler.add_job(work.mark, "interval", hours=1, id="job")

    loop_scheduler.modify_job("job", name="renamed")
    loop_scheduler.pause_job("job")
    [job] = loop_scheduler.get_jobs()
    loop_scheduler.resume_job("job")
    loop_scheduler.remove_job("job")

    assert (job.name, job.next_run_time) == ("renamed", None)
    assert not await DjangoJob.objects.aexists()


@LOOP_WAITS
async def test_runs_that_apschedulers_scheduler_cancels_are_recorded(
    loop_scheduler: AsyncIOScheduler,
) -> None:
    """Its shutdown cancels coroutines without an event; their rows do not stay running."""
    work.gates["gate"] = asyncio.Event()
    loop_scheduler.add_job(work.wait_for_gate, args=["gate"], id="job")
    await await_until(lambda: work.seen)

    loop_scheduler.shutdown()
    run = await finished_run("job")

    assert (run.status, run.reason) == (Status.CANCELLED, Reason.SHUTDOWN)


# Edits made elsewhere while a scheduler deals with due jobs


def test_a_pause_during_a_pass_counts(store: DjangoJobStore) -> None:
    """The scheduler writes the next time of a job that was paused a moment ago: it stays so."""
    row = add()
    [job] = store.get_due_jobs(NOW)

    row.pause()
    job._modify(next_run_time=NOW + HOUR)
    store.update_job(job)

    row.refresh_from_db()
    assert (row.status, row.next_run_time) == (DjangoJob.Status.PAUSED, None)


def test_a_new_trigger_during_a_pass_counts(store: DjangoJobStore) -> None:
    """Neither the next time nor the removal of a finished job undoes a reschedule."""
    recurring, once = add("recurring"), add("once")
    jobs = {job.id: job for job in store.get_due_jobs(NOW)}

    recurring.reschedule("date", run_date=NOW + 5 * HOUR)
    once.reschedule("date", run_date=NOW + 6 * HOUR)
    jobs["recurring"]._modify(next_run_time=NOW + HOUR)
    store.update_job(jobs["recurring"])
    store.remove_job("once")

    times = dict(DjangoJob.objects.values_list("id", "next_run_time"))
    assert times == {"recurring": NOW + 5 * HOUR, "once": NOW + 6 * HOUR}


def test_another_edit_during_a_pass_counts_as_well(store: DjangoJobStore) -> None:
    """The job moves on, and keeps the name that it was given meanwhile."""
    add()
    [job] = store.get_due_jobs(NOW)

    DjangoJob.objects.update(name="renamed", version=2)
    job._modify(next_run_time=NOW + HOUR)
    store.update_job(job)

    row = DjangoJob.objects.get()
    assert (row.name, row.next_run_time, row.version) == ("renamed", NOW + HOUR, 2)


def test_a_removal_during_a_pass_does_not_end_the_scheduler(start: Start) -> None:
    """APScheduler's loop has no catch for a job that is gone when it is written."""

    class Removing(ThreadPoolExecutor):  # type: ignore[misc]  # untyped
        def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
            if job.id.startswith("gone"):
                DjangoJob.objects.filter(pk=job.id).delete()
                connections.close_all()
            super()._do_submit_job(job, run_times)

    scheduler = start(DjangoJobStore(), executors={"default": Removing()})

    scheduler.add_job(
        work.mark_plain, "interval", hours=1, id="gone", next_run_time=datetime.now(UTC)
    )
    scheduler.add_job(work.mark_plain, "date", id="gone once")
    run_of("gone", Status.SUCCEEDED)
    run_of("gone once", Status.SUCCEEDED)
    scheduler.add_job(work.mark_plain, id="after")

    assert run_of("after", Status.SUCCEEDED)


def test_a_job_is_added_in_the_transaction_of_the_caller(store: DjangoJobStore) -> None:
    """What a view does with the store is undone with everything else."""
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone="UTC")
    scheduler.start(paused=True)

    with transaction.atomic():
        scheduler.add_job(functions.plain, "interval", hours=1, id="job")
        inside = scheduler.get_job("job")
        transaction.set_rollback(True)
    outside = scheduler.get_job("job")
    scheduler.shutdown()

    assert inside is not None
    assert outside is None


# Jobs that cannot be loaded


def test_a_job_whose_function_is_gone_is_set_aside(
    store: DjangoJobStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its row is kept with the error, it is left out everywhere, and the other jobs are not."""
    lost = add("lost", args=[1])
    add("other", next_run_time=NOW + HOUR)
    DjangoJob.objects.filter(pk="other").update(func="tests.testapp.functions:coroutine")
    monkeypatch.delattr(functions, "plain")

    due = [store.get_due_jobs(NOW + timedelta(seconds=n)) for n in range(30)]
    everything = ids(store.get_all_jobs())
    next_run_time = store.get_next_run_time()

    lost.refresh_from_db()
    assert due == [[]] * 30
    assert everything == ["other"]
    assert next_run_time == NOW + HOUR
    assert (lost.status, lost.next_run_time) == (DjangoJob.Status.QUARANTINED, None)
    assert lost.held_run_time == NOW
    assert "'tests.testapp.functions:plain' leads nowhere" in lost.error
    assert (lost.args, lost.trigger["hours"]) == ([1], 1)
    lines = [record for record in caplog.records if "Quarantined" in record.message]
    assert len(lines) == 1
    assert "'lost'" in lines[0].message
    with pytest.raises(UnreadableJobError, match="leads nowhere"):
        store.lookup_job("lost")


def test_it_comes_back_by_itself(
    store: DjangoJobStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A minute after it can be loaded again it is due at the time that it was set aside with."""
    caplog.set_level(logging.INFO, "async_apscheduler")
    row = add()
    with monkeypatch.context() as patch:
        patch.delattr(functions, "plain")
        store.get_due_jobs(NOW)
        still_gone = store.get_due_jobs(NOW + RELEASE_INTERVAL)

    soon = store.get_due_jobs(NOW + RELEASE_INTERVAL + timedelta(seconds=59))
    later = store.get_due_jobs(NOW + 2 * RELEASE_INTERVAL)

    row.refresh_from_db()
    assert still_gone == soon == []
    assert [(job.id, job.next_run_time) for job in later] == [("job", NOW)]
    assert (row.status, row.error) == (DjangoJob.Status.SCHEDULED, "")
    assert (row.next_run_time, row.held_run_time) == (NOW, None)
    assert any("Released" in record.message for record in caplog.records)


def test_a_paused_job_comes_back_paused(
    store: DjangoJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing all jobs sets a paused one aside too; its pause outlives that."""
    row = add(next_run_time=None)
    with monkeypatch.context() as patch:
        patch.delattr(functions, "plain")
        listed = store.get_all_jobs()
        row.refresh_from_db()
        status = row.status

    store.release_readable()

    row.refresh_from_db()
    assert (listed, status) == ([], DjangoJob.Status.QUARANTINED)
    assert (row.status, row.next_run_time) == (DjangoJob.Status.PAUSED, None)


def test_looking_up_a_job_that_loads_again_releases_it(
    store: DjangoJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise changing its name would store it as paused."""
    add()
    with monkeypatch.context() as patch:
        patch.delattr(functions, "plain")
        store.get_due_jobs(NOW)

    job = store.lookup_job("job")
    assert job is not None
    job._modify(name="renamed")
    store.update_job(job)

    row = DjangoJob.objects.get()
    assert (row.name, row.status, row.next_run_time) == (
        "renamed",
        DjangoJob.Status.SCHEDULED,
        NOW,
    )


def test_a_job_set_aside_can_be_removed_and_replaced(
    store: DjangoJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the scheduler, whose methods ask the store first whether the job is there."""
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone="UTC")
    scheduler.start(paused=True)
    add("removed")
    add("replaced")
    monkeypatch.delattr(functions, "plain")
    store.get_due_jobs(NOW)

    scheduler.remove_job("removed")
    scheduler.add_job(
        functions.coroutine, "interval", hours=1, id="replaced", replace_existing=True
    )
    scheduler.shutdown()

    row = DjangoJob.objects.get()
    assert (row.pk, row.status, row.error) == ("replaced", DjangoJob.Status.SCHEDULED, "")
    assert row.held_run_time is None


def test_an_edit_wins_over_the_quarantine(store: DjangoJobStore) -> None:
    """A row that was mended between reading and setting aside is not set aside."""
    add()
    stale = DjangoJob.objects.get()
    stale.func = "tests.testapp.functions:nothing"
    DjangoJob.objects.update(version=2)

    job = store.restore_or_quarantine(stale)

    assert job is None
    assert DjangoJob.objects.get().status == DjangoJob.Status.SCHEDULED


TRIGGERS_GONE_WRONG: list[Any] = [
    {},
    [],
    "interval",
    5,
    None,
    {"type": None},
    {"type": "interval"},
    {"type": "interval", "hours": "1"},
    {"type": "interval", "seconds": 1e-300, "start_date": "2031-05-17T12:00:00+00:00"},
    {"type": "interval", "days": 999_999_999, "start_date": "2031-05-17T12:00:00+00:00"},
    {"type": "interval", "days": 10**30},
    {"type": "interval", "hours": 1, "start_date": "9999-12-31T23:59:59.999999+00:00"},
    {"type": "interval", "hours": 1, "start_date": "0001-01-01T00:00:00+14:00"},
    {"type": "interval", "hours": 1, "timezone": "Nowhere/Nothing"},
    {"type": "interval", "hours": 1, "unknown": 1},
    {"type": "date", "run_date": "yesterday"},
    {"type": "date", "run_date": "9999-12-31T23:59:59.999999-12:00"},
    {"type": "date", "run_date": "9999-12-31T23:59:59.999999", "timezone": "Pacific/Apia"},
    {"type": "cron", "hour": "99"},
    {"type": "cron", "month": "feb", "day": 30},
    {"type": "crontab", "expression": "not a crontab at all"},
    {"type": "crontab", "expression": "0 0 30 2 *"},
    {"type": "calendarinterval", "months": -1, "start_date": "2031-01-01"},
    {"type": "and", "triggers": []},
    {"type": "or", "triggers": [{"type": "or", "triggers": [{}]}]},
    {"type": "os:system", "state": None},
    {"type": "tests.testapp.triggers:NotATrigger", "state": {}},
    {"type": "tests.testapp.triggers:Slotted", "state": {"wrong": 1}},
    {"type": "tests.testapp.triggers:Broken", "state": None},
    {"type": "tests.testapp.triggers:Stuck", "state": None},
    {"type": "tests.testapp.triggers:Every", "state": {"period": 0, "anchor": 0}},
]
FUNCTIONS_GONE_WRONG = [
    "",
    ":",
    "no colon",
    "os:system",
    "tests.testapp.nothing:here",
    "tests.testapp.functions:nothing",
    "tests.testapp.functions:NOT_CALLABLE",
    "tests.testapp.functions:__builtins__.eval",
    "tests.testapp.functions:OS.system",
    "x" * 500,
]
ARGUMENTS_GONE_WRONG: list[Any] = [
    {},
    "text",
    5,
    None,
    [{"$type": "datetime", "value": "never"}],
    [{"$type": "decimal", "value": "one"}],
    [{"$type": "uuid", "value": 1}],
    [{"$type": "nothing", "value": 1}],
    [{"$type": "pickle", "value": "gASVBQAAAA=="}],
    [{"$type": "set", "value": [[]]}],
    [{"$type": "json", "value": "["}],
    [{"$type": ["datetime"], "value": 1}],
]
FAR_TIMES = [
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1000, 1, 1, tzinfo=UTC),
    NOW,
]


def ruin(number: int) -> DjangoJob:
    """Store a job with something wrong in it, chosen by the number."""
    choose = random.Random(number)
    row = DjangoJob(
        id=f"ruin-{number:03}",
        name="",
        func="tests.testapp.functions:plain",
        args=[],
        kwargs={},
        trigger={"type": "interval", "hours": 1, "start_date": NOW.isoformat()},
        next_run_time=choose.choice(FAR_TIMES),
    )
    spoilt = choose.sample(["trigger", "func", "args", "kwargs"], choose.randint(1, 4))
    if "trigger" in spoilt:
        row.trigger = choose.choice(TRIGGERS_GONE_WRONG)
    if "func" in spoilt:
        row.func = choose.choice(FUNCTIONS_GONE_WRONG)
    if "args" in spoilt:
        row.args = choose.choice(ARGUMENTS_GONE_WRONG)
    if "kwargs" in spoilt:
        row.kwargs = choose.choice([[], "text", 7, None, {"a": {"$type": "date", "value": ""}}])
    for name in ("trigger", "args", "kwargs"):
        if getattr(row, name) is None:  # the null of JSON, not of SQL
            setattr(row, name, Value(None, JSONField()))
    row.save(force_insert=True)
    return row


def test_whatever_a_row_holds_the_store_goes_on(store: DjangoJobStore) -> None:
    """Ruined rows raise out of no method, none is deleted, and the good ones are found."""
    ruined = {ruin(number).pk for number in range(120)}
    for number, trigger in enumerate(TRIGGERS_GONE_WRONG):
        row = ruin(number + 1000)
        ruined.add(row.pk)
        row.func, row.args, row.kwargs = "tests.testapp.functions:plain", [], {}
        row.trigger = Value(None, JSONField()) if trigger is None else trigger
        row.next_run_time = NOW
        row.save()
    add("good", start_date=NOW)

    due = ids(store.get_due_jobs(NOW))
    everything = ids(store.get_all_jobs())
    next_run_time = store.get_next_run_time()

    assert "good" in due
    assert "good" in everything
    assert next_run_time is not None
    set_aside = set(DjangoJob.objects.quarantined().values_list("pk", flat=True))
    assert len(set_aside) > 100
    assert set_aside.isdisjoint([*due, *everything])
    assert set(DjangoJob.objects.values_list("pk", flat=True)) == ruined | {"good"}
    assert not DjangoJob.objects.quarantined().filter(error="").exists()
    for job_id in sorted(ruined):
        store.remove_job(job_id)
    assert ids(store.get_all_jobs()) == ["good"]


def test_whatever_a_row_holds_the_scheduler_goes_on(start: Start) -> None:
    """APScheduler's loop, which has no catch for a raising trigger, survives ruined rows."""
    for number in range(40):
        ruin(number)
    for number, trigger in enumerate(TRIGGERS_GONE_WRONG):
        if trigger is not None:
            add(f"trigger {number}", next_run_time=datetime(2020, 1, 1, tzinfo=UTC))
            DjangoJob.objects.filter(pk=f"trigger {number}").update(trigger=trigger)
    scheduler = start(DjangoJobStore())

    scheduler.add_job(work.mark_plain, id="first")
    run_of("first", Status.SUCCEEDED)
    scheduler.add_job(work.mark_plain, id="second")

    assert run_of("second", Status.SUCCEEDED)
    assert DjangoJob.objects.quarantined().count() > 30


# A database that goes away


def kill(vendor: Vendor, key: int) -> None:
    """Let the server end a connection."""
    statement = "SELECT pg_terminate_backend(%s)" if vendor == "postgresql" else "KILL %s"
    with connections["other"].cursor() as cursor:
        cursor.execute(statement, [key])


def key_of_connection(vendor: Vendor) -> int:
    """Return what the server calls the connection of the calling thread."""
    with connections["default"].cursor() as cursor:
        name = "pg_backend_pid" if vendor == "postgresql" else "CONNECTION_ID"
        cursor.execute(f"SELECT {name}()")
        return int(cursor.fetchone()[0])


@pytest.fixture
def server(database: Vendor) -> Vendor:
    """The database, if it is one whose connections can die."""
    if database == "sqlite":
        pytest.skip("SQLite lives in this process: there is no connection that could die")
    return database


OPERATIONS: dict[str, Callable[[DjangoJobStore], Any]] = {
    "lookup_job": lambda store: store.lookup_job("job"),
    "get_due_jobs": lambda store: store.get_due_jobs(NOW),
    "get_next_run_time": lambda store: store.get_next_run_time(),
    "get_all_jobs": lambda store: store.get_all_jobs(),
    "update_job": lambda store: store.update_job(LOADED["job"]),
    "remove_job": lambda store: store.remove_job("job"),
    "remove_all_jobs": lambda store: store.remove_all_jobs(),
}
LOADED: dict[str, Any] = {}


@pytest.mark.parametrize("in_own_thread", [True, False])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_dead_connection_is_replaced_once(
    store: DjangoJobStore, server: Vendor, name: str, in_own_thread: bool
) -> None:
    """Each method of the store works on a connection that the server has ended."""
    used = store if in_own_thread else DjangoJobStore()
    add()
    LOADED["job"] = used.lookup_job("job")
    if in_own_thread:
        assert store._lane is not None
        kill(server, store._lane.submit(key_of_connection, server).result())
    else:
        kill(server, key_of_connection(server))

    OPERATIONS[name](used)

    assert DjangoJob.objects.count() == (0 if name.startswith("remove") else 1)


def test_a_job_is_added_once_on_a_dead_connection(store: DjangoJobStore, server: Vendor) -> None:
    """The second try inserts what the first could not."""
    add()
    job = store.lookup_job("job")
    assert job is not None
    job.id = "second"
    assert store._lane is not None
    kill(server, store._lane.submit(key_of_connection, server).result())

    store.add_job(job)

    assert ids(store.get_all_jobs()) == ["job", "second"]


def test_a_run_is_recorded_on_a_dead_connection(store: DjangoJobStore, server: Vendor) -> None:
    """Also the connection that events are written on is replaced."""
    assert store._lane is not None
    kill(server, store._lane.submit(key_of_connection, server).result())

    store._scheduler._dispatch_event(Submitted(EVENT_JOB_SUBMITTED, "job", "default", [NOW]))

    assert DjangoJobExecution.objects.get().status == Status.RUNNING


def test_a_transaction_is_not_retried(server: Vendor) -> None:
    """What the caller did before in it is gone, so the caller has to start over."""
    add()
    store = DjangoJobStore()

    with pytest.raises(OperationalError):
        list_after_death(store, server)

    assert ids(store.get_all_jobs()) == ["job"]


def list_after_death(store: DjangoJobStore, server: Vendor) -> None:
    """List all jobs in a transaction whose connection has died."""
    with transaction.atomic():
        kill(server, key_of_connection(server))
        store.get_all_jobs()


def test_a_database_that_cannot_be_reached_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's own error comes through, also where there has been no connection yet."""

    def connect_in_vain() -> None:
        raise OperationalError("nobody listens")

    connection = connections["default"]
    connection.close()
    monkeypatch.setattr(connection, "connect", connect_in_vain)

    with pytest.raises(OperationalError, match="nobody listens"):
        DjangoJobStore().get_all_jobs()
    monkeypatch.undo()


def test_runs_wait_in_memory_while_the_database_is_away(store: DjangoJobStore) -> None:
    """What could not be written is written, in order, when the scheduler looks the next time."""
    assert store._lane is not None
    away = threading.Event()
    away.set()

    def refuse(execute: Any, *statement: Any) -> Any:
        if away.is_set():
            raise OperationalError("the database is away")
        return execute(*statement)

    store._lane.submit(lambda: connections["default"].execute_wrappers.append(refuse)).result()
    later = NOW + HOUR
    scheduler = store._scheduler

    scheduler._dispatch_event(Submitted(EVENT_JOB_SUBMITTED, "job", "default", [NOW, later]))
    scheduler._dispatch_event(Executed(EVENT_JOB_EXECUTED, "job", "default", NOW, retval="kept"))
    while_away = DjangoJobExecution.objects.count()
    away.clear()
    store.get_due_jobs(NOW)

    runs = DjangoJobExecution.objects.order_by("run_time").values_list("status", "return_value")
    assert while_away == 0
    assert list(runs) == [(Status.SUCCEEDED, "kept"), (Status.RUNNING, None)]


def test_a_run_that_no_database_takes_does_not_hold_up_the_others(store: DjangoJobStore) -> None:
    """It is told in the log once; the next one is written."""
    scheduler = store._scheduler
    too_long = Submitted(EVENT_JOB_SUBMITTED, "half \ud800", "default", [NOW])

    scheduler._dispatch_event(too_long)
    scheduler._dispatch_event(Submitted(EVENT_JOB_SUBMITTED, "job", "default", [NOW]))

    assert DjangoJobExecution.objects.get().job_id == "job"
