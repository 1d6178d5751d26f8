"""The rows' own words: schedule, steer, run, cancel, wait and prune, from a web process.

Each test that takes `call` runs twice: with the method, and with its twin on an event loop.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.db.models import Max, OuterRef, Subquery
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from async_apscheduler.exceptions import (
    InvalidJobError,
    InvalidJobIdError,
    InvalidTriggerError,
    ReferenceNotAllowedError,
    RunNotFinishedError,
    UnresolvableReferenceError,
    UnserializableArgumentError,
)
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    JobChange,
    Reason,
    SchedulerNode,
    Status,
)
from async_apscheduler.models.declarations import synchronise
from async_apscheduler.registry import job, registry, scheduled_job
from tests.support import committed_data, wait_until
from tests.testapp import functions, work

pytestmark = [
    pytest.mark.django_db(databases=["default", "other"]),
    pytest.mark.usefixtures("versions_from_1"),
]

NOON = datetime(2031, 5, 17, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)

Call = Callable[..., Any]


@pytest.fixture(params=["method", "twin"])
def call(request: pytest.FixtureRequest) -> Call:
    """Call a method, or its twin on an event loop: `call(row.pause, by="Ada")`."""

    def call_method(method: Any, *args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    def call_twin(method: Any, *args: Any, **kwargs: Any) -> Any:
        twin = getattr(method.__self__, f"a{method.__name__}")
        return async_to_sync(twin)(*args, **kwargs)

    return call_method if request.param == "method" else call_twin


def add(id: str = "job", **options: Any) -> DjangoJob:
    """Store a job that runs every hour, next at NOON."""
    options = {"hours": 1, "start_date": NOON, "next_run_time": NOON, **options}
    return DjangoJob.objects.schedule(functions.plain, "interval", id=id, **options)


def a_run(job_id: str = "job", **options: Any) -> DjangoJobExecution:
    """Store a run of a job."""
    options = {"run_time": datetime.now(UTC), "status": Status.PENDING, **options}
    return DjangoJobExecution.objects.create(job_id=job_id, **options)


def state(row: DjangoJob) -> tuple[str, datetime | None]:
    """Return what the database says about the schedule of a job."""
    row = DjangoJob.objects.get(pk=row.pk)
    return row.status, row.next_run_time


def test_every_twin_takes_what_its_method_takes() -> None:
    """Each public coroutine method has a sibling with the same arguments."""
    twins = {
        (kind, name)
        for kind in (DjangoJob, DjangoJobExecution, type(DjangoJob.objects))
        for name, member in vars(kind).items()
        if name.startswith("a") and inspect.iscoroutinefunction(member)
    }

    for kind, name in twins - {(type(DjangoJob.objects), "aschedule")}:
        method = inspect.signature(getattr(kind, name[1:]))
        assert inspect.signature(getattr(kind, name)).parameters == method.parameters

    assert {name for _, name in twins} >= {
        "apause",
        "aresume",
        "areschedule",
        "aremove",
        "arun",
        "acancel",
        "ajoin",
        "aschedule",
    }


# schedule()


def test_a_job_is_stored_with_all_its_options(call: Call) -> None:
    """What schedule() is given is what the row and, through it, a scheduler gets."""
    row = call(
        DjangoJob.objects.schedule,
        functions.plain,
        "interval",
        hours=2,
        start_date=NOON,
        id="job",
        args=[1, NOON, Decimal("1.10")],
        kwargs={"day": date(2031, 1, 2), "uuid": UUID(int=7), "set": {1, 2}},
        name="A name",
        executor="pool",
        coalesce=False,
        max_instances=3,
        misfire_grace_time=timedelta(minutes=1),
        next_run_time=NOON + HOUR,
        timeout=timedelta(seconds=90),
        max_attempts=5,
        retry_delay=2.5,
        retry_on_lost=True,
    )
    stored = DjangoJob.objects.get()
    job = DjangoJobStore().lookup_job("job")

    assert stored == row
    assert (stored.func, stored.name) == ("tests.testapp.functions:plain", "A name")
    assert (stored.executor, stored.coalesce, stored.max_instances) == ("pool", False, 3)
    assert (stored.misfire_grace_time, stored.timeout) == (60, 90.0)
    assert (stored.max_attempts, stored.retry_delay, stored.retry_on_lost) == (5, 2.5, True)
    assert (stored.status, stored.next_run_time) == (DjangoJob.Status.SCHEDULED, NOON + HOUR)
    assert (stored.source, stored.version) == (DjangoJob.Source.API, 1)
    assert job is not None
    assert job.args == (1, NOON, Decimal("1.10"))
    assert job.kwargs == {"day": date(2031, 1, 2), "uuid": UUID(int=7), "set": {1, 2}}
    assert str(job.trigger) == "interval[2:00:00]"


def test_a_job_without_options_has_the_defaults_of_the_settings(call: Call) -> None:
    """JOB_DEFAULTS, and under them those of the package: once, at once, under a new id."""
    defaults = {"coalesce": False, "max_instances": 2, "misfire_grace_time": 30}
    before = datetime.now(UTC)

    with override_settings(ASYNC_APSCHEDULER={"JOB_DEFAULTS": defaults, "ENVIRONMENT": "test"}):
        first = call(DjangoJob.objects.schedule, functions.plain)
        second = call(DjangoJob.objects.schedule, functions.plain)

    assert first.pk != second.pk
    assert len(first.pk) == 32
    assert (first.coalesce, first.max_instances, first.misfire_grace_time) == (False, 2, 30)
    assert (first.timeout, first.max_attempts, first.retry_delay) == (None, 1, 0.0)
    assert (first.name, first.executor, first.environment) == ("plain", "default", "test")
    assert first.trigger["type"] == "date"
    assert before <= first.next_run_time <= datetime.now(UTC)


def test_the_options_of_the_function_come_before_the_defaults(call: Call) -> None:
    """@job's go before JOB_DEFAULTS, and those of the call before @job's."""
    with registry.isolated():
        job(timeout=5, max_instances=4, name="From @job", coalesce=False)(functions.plain)

        row = call(DjangoJob.objects.schedule, functions.plain, id="job", max_instances=9)
        by_name = call(DjangoJob.objects.schedule, "tests.testapp.functions:plain")

    assert (row.timeout, row.max_instances, row.name, row.coalesce) == (5, 9, "From @job", False)
    assert (by_name.timeout, by_name.max_instances) == (5, 4)


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (("crontab", "30 3 * * mon-fri"), "crontab"),
        (("crontab", "@daily"), "crontab"),
        ((CronTrigger(hour=3, timezone=UTC),), "cron"),
        ((IntervalTrigger(minutes=5),), "interval"),
        ((OrTrigger([DateTrigger(NOON), CronTrigger(hour=3, timezone=UTC)]),), "or"),
        ((), "date"),
    ],
    ids=str,
)
def test_a_trigger_is_an_alias_a_line_or_an_object(
    call: Call, trigger: tuple[Any, ...], expected: str
) -> None:
    """The words of add_job(), with a crontab's line as the third."""
    row = call(DjangoJob.objects.schedule, functions.plain, *trigger)

    assert row.trigger["type"] == expected
    assert row.status == DjangoJob.Status.SCHEDULED
    assert row.next_run_time is not None


def test_a_function_may_be_a_coroutine_a_method_or_a_text(call: Call) -> None:
    """Whatever has a name in an allowed module."""
    given = [
        functions.coroutine,
        functions.Greeter.introduce,
        "tests.testapp.functions:Greeter.introduce",
        functions.cached,
    ]

    rows = [call(DjangoJob.objects.schedule, function) for function in given]

    assert [row.func.partition(":")[2] for row in rows] == [
        "coroutine",
        "Greeter.introduce",
        "Greeter.introduce",
        "cached",
    ]


def test_a_job_may_begin_paused(call: Call) -> None:
    """As in APScheduler `next_run_time=None` says so."""
    row = call(DjangoJob.objects.schedule, functions.plain, "interval", hours=1, next_run_time=None)

    assert state(row) == (DjangoJob.Status.PAUSED, None)


REFUSALS: list[tuple[Any, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ("os:getcwd", (), {}, ReferenceNotAllowedError, "os:getcwd"),
    ("tests.testapp.functions:OS.getcwd", (), {}, ReferenceNotAllowedError, "OS.getcwd"),
    ("tests.testapp.functions:nothing", (), {}, UnresolvableReferenceError, "nothing"),
    ("no reference", (), {}, InvalidJobError, "no reference"),
    (functions.anonymous, (), {}, InvalidJobError, "lambda"),
    (functions.partial_of_plain, (), {}, InvalidJobError, "partial"),
    (functions.Callme(), (), {}, InvalidJobError, "Callme"),
    (functions.Greeter().greet, (), {}, UnserializableArgumentError, "self"),
    (5, (), {}, InvalidJobError, "callable"),
    (functions.plain, (), {"id": ""}, InvalidJobIdError, "empty"),
    (functions.plain, (), {"id": "x" * 256}, InvalidJobIdError, "256 characters"),
    (functions.plain, (), {"id": "a\0b"}, InvalidJobIdError, "NUL"),
    (functions.plain, (), {"id": 5}, InvalidJobIdError, "5"),
    (functions.plain, (), {"args": [object()]}, UnserializableArgumentError, "object"),
    (functions.Greeter.shout, (), {"args": [object()]}, UnserializableArgumentError, "'name'"),
    (functions.Greeter.shout, (), {"args": [1, 2, 3]}, InvalidJobError, "positional arguments"),
    (functions.Greeter.shout, (), {}, InvalidJobError, "name"),
    (functions.plain, (), {"args": ["x" * 64 * 2**20]}, UnserializableArgumentError, "67,108"),
    (functions.plain, ("interval",), {"huors": 1}, InvalidTriggerError, "hours"),
    (functions.plain, ("intervall",), {"hours": 1}, InvalidTriggerError, "interval"),
    (functions.plain, ("interval",), {"seconds": 0.001}, InvalidTriggerError, "too short"),
    (functions.plain, ("cron",), {"month": 2, "day": 30}, InvalidTriggerError, "never"),
    (functions.plain, ("crontab", "not a crontab"), {}, InvalidTriggerError, "not a crontab"),
    (
        functions.plain,
        ("interval",),
        {"hours": 1, "start_date": "2001-01-01", "end_date": "2002-01-01"},
        InvalidTriggerError,
        "no fire left",
    ),
    (functions.plain, (), {"max_instances": 0}, InvalidJobError, "max_instances"),
    (functions.plain, (), {"max_instances": 2**31}, InvalidJobError, "max_instances"),
    (functions.plain, (), {"max_attempts": 2**31}, InvalidJobError, "max_attempts"),
    (functions.plain, (), {"max_attempts": "two"}, InvalidJobError, "max_attempts"),
    (functions.plain, (), {"timeout": -1}, InvalidJobError, "timeout"),
    (functions.plain, (), {"misfire_grace_time": 0.5}, InvalidJobError, "misfire_grace_time"),
    (functions.plain, (), {"coalesce": "yes"}, InvalidJobError, "coalesce"),
    (functions.plain, (), {"executor": 5}, InvalidJobError, "executor"),
    (functions.plain, (), {"name": "x" * 256}, InvalidJobError, "name"),
    (functions.plain, (), {"next_run_time": "whenever"}, InvalidJobError, "date"),
]


@pytest.mark.parametrize(
    ("func", "trigger", "options", "error", "complaint"),
    REFUSALS,
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_scheduled_is_refused(
    func: Any,
    trigger: tuple[Any, ...],
    options: dict[str, Any],
    error: type[Exception],
    complaint: str,
) -> None:
    """The error is one of ours and says what is wrong; nothing is stored."""
    with pytest.raises(error, match=complaint) as refusal:
        DjangoJob.objects.schedule(func, *trigger, **options)

    assert isinstance(refusal.value, InvalidJobError)
    assert not DjangoJob.objects.exists()
    assert not JobChange.objects.exists()


def test_a_refused_replacement_leaves_the_job_as_it_is(call: Call) -> None:
    """Nothing of the new state is stored."""
    row = add(args=["old"])

    with pytest.raises(UnserializableArgumentError):
        call(
            DjangoJob.objects.schedule,
            functions.coroutine,
            id="job",
            args=[object()],
            replace_existing=True,
        )

    stored = DjangoJob.objects.get()
    assert (stored.func, stored.args, stored.version) == (row.func, ["old"], 1)


def test_a_job_belongs_to_the_transaction_of_the_caller() -> None:
    """What a view rolls back was never scheduled, paused or run."""
    row = add("there")

    with transaction.atomic():
        add("never")
        row.pause()
        row.run()
        transaction.set_rollback(True)

    assert list(DjangoJob.objects.values_list("pk", "status", "version")) == [
        ("there", DjangoJob.Status.SCHEDULED, 1)
    ]
    assert JobChange.objects.count() == 1
    assert not DjangoJobExecution.objects.exists()


def test_a_conflict_does_not_break_the_transaction_of_the_caller() -> None:
    """PostgreSQL ends a transaction at its first error; here the caller can go on."""
    add()

    with transaction.atomic():
        with pytest.raises(ConflictingIdError, match="job"):
            add()
        add("other")

    assert set(DjangoJob.objects.values_list("pk", flat=True)) == {"job", "other"}


# schedule(replace_existing=True)


def replace(call: Call = lambda method, *a, **k: method(*a, **k), **options: Any) -> DjangoJob:
    """Schedule the job anew, without saying when it is to run next."""
    options = {"hours": 1, "start_date": NOON, "id": "job", "replace_existing": True, **options}
    row: DjangoJob = call(DjangoJob.objects.schedule, functions.coroutine, "interval", **options)
    return row


def test_a_replaced_job_has_the_new_state(call: Call) -> None:
    """What is not said again goes back to its default, and the version goes up."""
    add(args=[1], name="old", timeout=5, max_attempts=9, max_instances=7)

    row = replace(call, args=[2], minutes=1)

    stored = DjangoJob.objects.get()
    assert stored == row
    assert (stored.func, stored.args) == ("tests.testapp.functions:coroutine", [2])
    assert (stored.timeout, stored.max_attempts, stored.max_instances) == (None, 1, 1)
    assert (stored.name, stored.version) == ("coroutine", 2)


def test_a_replaced_job_that_is_not_there_is_added(call: Call) -> None:
    """As with every APScheduler store."""
    row = replace(call)

    assert (row.version, DjangoJob.objects.count()) == (1, 1)


def test_a_replaced_job_stays_paused(call: Call) -> None:
    """Also with a new trigger: who paused it has not changed their mind."""
    add().pause()

    replaced = replace(call)
    rescheduled = replace(call, minutes=5)

    assert state(replaced) == (DjangoJob.Status.PAUSED, None)
    assert state(rescheduled) == (DjangoJob.Status.PAUSED, None)


def test_a_job_that_was_paused_when_it_was_set_aside_stays_paused() -> None:
    """The quarantine keeps the pause, so its end keeps it as well."""
    row = add(next_run_time=None)
    DjangoJob.objects.quarantine(row, "no function")

    replaced = replace()

    assert state(replaced) == (DjangoJob.Status.PAUSED, None)


@pytest.mark.parametrize("quarantined", [False, True])
def test_a_replaced_job_keeps_its_pending_run(call: Call, quarantined: bool) -> None:
    """A run that was due during a deploy is not forgotten while the trigger is the same."""
    due = datetime.now(UTC) - DAY
    row = add(next_run_time=due)
    if quarantined:
        DjangoJob.objects.quarantine(row, "no function")

    replaced = replace(call)

    assert state(replaced) == (DjangoJob.Status.SCHEDULED, due)
    assert (replaced.error, replaced.held_run_time) == ("", None)


@pytest.mark.parametrize(
    ("first", "second", "is_kept"),
    [
        ({"hours": 1}, {"hours": 1}, True),
        ({"hours": 1}, {"minutes": 60}, True),
        ({"hours": 1}, {"hours": 2}, False),
        ({"hours": 1, "start_date": NOON}, {"hours": 1, "start_date": NOON}, True),
        ({"hours": 1, "start_date": NOON}, {"hours": 1, "start_date": NOON + HOUR}, False),
        ({"hours": 1}, {"hours": 1, "jitter": 3}, False),
    ],
    ids=str,
)
def test_an_interval_without_a_start_is_the_same_each_time(
    first: dict[str, Any], second: dict[str, Any], is_kept: bool
) -> None:
    """The moment at which the trigger was made does not count; a start that is given does."""
    DjangoJob.objects.schedule(functions.plain, "interval", id="job", **first)
    before = DjangoJob.objects.get()

    after = DjangoJob.objects.schedule(
        functions.plain, "interval", id="job", replace_existing=True, **second
    )

    assert (after.next_run_time == before.next_run_time) == is_kept
    assert (after.trigger == before.trigger) == is_kept


def test_intervals_inside_of_a_trigger_are_the_same_each_time() -> None:
    """Nor does the moment count of a part of an `or`."""

    def schedule() -> DjangoJob:
        trigger = OrTrigger([IntervalTrigger(hours=5), CronTrigger(year=2099, timezone=UTC)])
        return DjangoJob.objects.schedule(functions.plain, trigger, id="job", replace_existing=True)

    first, second = schedule(), schedule()

    assert first.next_run_time == second.next_run_time


def test_a_next_run_time_that_is_given_counts_more(call: Call) -> None:
    """It ends a pause, too, and None begins one."""
    add().pause()

    resumed = state(replace(call, next_run_time=NOON + DAY))
    paused = state(replace(call, next_run_time=None))

    assert resumed == (DjangoJob.Status.SCHEDULED, NOON + DAY)
    assert paused == (DjangoJob.Status.PAUSED, None)


# Steering


def test_a_job_is_paused_and_resumed(call: Call) -> None:
    """While paused it has no next run; afterwards its next fire from now on."""
    row = add(start_date=NOON - 40 * 365 * DAY)

    call(row.pause)
    paused = state(row)
    call(row.resume)
    resumed = state(row)

    assert paused == (DjangoJob.Status.PAUSED, None)
    assert resumed == (DjangoJob.Status.SCHEDULED, row.next_run_time)
    assert row.next_run_time is not None
    assert timedelta(0) < row.next_run_time - datetime.now(UTC) <= HOUR
    assert DjangoJob.objects.get().version == row.version == 3


def test_a_job_is_rescheduled(call: Call) -> None:
    """With another trigger, from which its next run follows; it is no longer paused."""
    row = add()
    call(row.pause)

    call(row.reschedule, "date", run_date=NOON + DAY)

    stored = DjangoJob.objects.get()
    assert state(row) == (DjangoJob.Status.SCHEDULED, NOON + DAY)
    assert (stored.trigger["type"], stored.version) == ("date", 3)
    assert row.describe_trigger() == stored.describe_trigger()


def test_a_job_is_rescheduled_by_a_crontab_line(call: Call) -> None:
    """In the words of schedule()."""
    row = add()

    call(row.reschedule, "crontab", "0 8 * * *")

    assert row.describe_trigger() == "at 08:00 every day"


def test_a_fire_that_is_dropped_leaves_a_row(call: Call) -> None:
    """It was due, no scheduler had taken it yet, and now none will."""
    due = datetime.now(UTC) - HOUR
    rescheduled, replaced, removed = (
        add(id, next_run_time=due) for id in ("rescheduled", "replaced", "removed")
    )

    call(rescheduled.reschedule, "interval", days=1)
    call(
        DjangoJob.objects.schedule,
        functions.plain,
        "interval",
        days=1,
        id=replaced.pk,
        replace_existing=True,
    )
    call(removed.remove)

    runs = DjangoJobExecution.objects.filter(run_time=due)
    assert {run.job_id: (run.status, run.reason) for run in runs} == {
        "rescheduled": (Status.SKIPPED, Reason.MISSED),
        "replaced": (Status.SKIPPED, Reason.MISSED),
        "removed": (Status.CANCELLED, Reason.REMOVED),
    }


def test_a_job_is_removed_and_its_history_stays(call: Call) -> None:
    """Runs that ended or go on stay as they are; one that waited is cancelled."""
    row = add()
    statuses = (Status.PENDING, Status.RUNNING, Status.SUCCEEDED)
    for number, status in enumerate(statuses):
        a_run(status=status, run_time=NOON + number * HOUR)

    call(row.remove)

    runs = DjangoJobExecution.objects.filter(job_id="job").order_by("run_time")
    assert not DjangoJob.objects.exists()
    assert [run.status for run in runs] == [Status.CANCELLED, Status.RUNNING, Status.SUCCEEDED]
    assert (runs[0].reason, runs[0].is_finished) == (Reason.REMOVED, True)
    assert runs[0].finished_at is not None
    assert row.pk == "job"


def test_history_outlives_every_way_to_remove_a_job() -> None:
    """QuerySet.delete(), Model.delete() and the job store leave the runs alone."""
    for name in ("queryset", "model", "store"):
        add(name)
        a_run(name, status=Status.SUCCEEDED)

    DjangoJob.objects.filter(pk="queryset").delete()
    DjangoJob.objects.get(pk="model").delete()
    DjangoJobStore().remove_job("store")

    assert DjangoJobExecution.objects.count() == 3
    assert not DjangoJob.objects.exists()


def test_what_is_gone_cannot_be_steered(call: Call) -> None:
    """Each word for a job that was removed raises APScheduler's JobLookupError."""
    row = add()
    DjangoJob.objects.all().delete()

    for word in (row.pause, row.resume, row.remove, row.run):
        with pytest.raises(JobLookupError, match="job"):
            call(word)
    with pytest.raises(JobLookupError):
        call(row.reschedule, "interval", hours=1)

    assert not DjangoJob.objects.exists()
    assert JobChange.objects.count() == 1
    assert not DjangoJobExecution.objects.exists()


def test_a_job_without_a_fire_left_cannot_be_resumed(call: Call) -> None:
    """The error says so, and neither the row nor the instance is half changed."""
    row = add(end_date=NOON)
    row.pause()
    over = IntervalTrigger(hours=1, start_date="2001-01-01", end_date="2002-01-01", timezone=UTC)

    with pytest.raises(InvalidJobError, match="no fire left"):
        call(row.reschedule, over)

    stored = DjangoJob.objects.get()
    assert (stored.status, stored.version) == (DjangoJob.Status.PAUSED, 2)
    assert row.trigger == stored.trigger
    assert row.trigger["end_date"].startswith("2031")
    assert (row.status, row.next_run_time) == (DjangoJob.Status.PAUSED, None)


def test_a_stale_instance_changes_only_what_it_was_asked_to(call: Call) -> None:
    """An edit made by somebody else since it was read is kept."""
    stale, other = add(), DjangoJob.objects.get()
    other.reschedule("date", run_date=NOON + DAY)
    DjangoJob.objects.update(name="renamed")

    call(stale.pause)

    stored = DjangoJob.objects.get()
    assert (stored.status, stored.name, stored.version) == (DjangoJob.Status.PAUSED, "renamed", 4)
    assert stored.trigger["type"] == stale.trigger["type"] == "date"


def test_every_change_leaves_a_line_in_the_audit_trail(call: Call) -> None:
    """Who, what, and the fields that changed, before and after."""
    row = call(
        DjangoJob.objects.schedule,
        functions.plain,
        "interval",
        hours=1,
        start_date=NOON,
        next_run_time=NOON,
        id="job",
        by="Ada",
    )
    call(row.pause, by="Grace")
    call(row.resume)
    call(row.reschedule, "date", run_date=NOON + DAY, by="Ada")
    replace(call, minutes=5, by="x" * 300)
    call(row.remove, by="Ada")

    changes = list(JobChange.objects.order_by("pk"))
    assert [(change.action, change.changed_by) for change in changes] == [
        ("added", "Ada"),
        ("paused", "Grace"),
        ("resumed", ""),
        ("changed", "Ada"),
        ("changed", "x" * 255),
        ("removed", "Ada"),
    ]
    assert changes[0].after["trigger"]["type"] == "interval"
    assert changes[1].before == {"status": "scheduled", "next_run_time": NOON.isoformat()}
    assert changes[1].after == {"status": "paused", "next_run_time": None}
    assert changes[3].before["trigger"]["type"] == "interval"
    assert changes[3].after["trigger"]["type"] == "date"
    assert changes[5].before["trigger"]["minutes"] == 5


# run(), cancel(), join()


def test_a_run_is_asked_for(call: Call) -> None:
    """The pending run is there at once; the schedule of the job is untouched."""
    row = add()

    run = call(row.run, by="Ada")

    stored = DjangoJobExecution.objects.get()
    assert stored == run
    assert (stored.job_id, stored.status, stored.attempt) == ("job", Status.PENDING, 1)
    assert (stored.requested_by, stored.node_id, stored.started_at) == ("Ada", None, None)
    assert abs(stored.run_time - datetime.now(UTC)) < timedelta(minutes=1)
    assert state(row) == (DjangoJob.Status.SCHEDULED, NOON)
    assert DjangoJob.objects.get().version == 1


def test_a_second_request_gives_the_run_that_waits(call: Call) -> None:
    """Until it has begun; then another one can be asked for. Other jobs have their own."""
    row, other = add(), add("other")

    first, second = call(row.run), call(row.run)
    elsewhere = call(other.run)
    DjangoJobExecution.objects.filter(pk=first.pk).update(status=Status.RUNNING)
    third = call(row.run)

    assert first == second
    assert len({first.pk, elsewhere.pk, third.pk}) == 3


def test_a_paused_job_can_be_run(call: Call) -> None:
    """Run now asks for one run; it does not resume the job."""
    row = add(next_run_time=None)

    run = call(row.run)

    assert run.status == Status.PENDING
    assert state(row) == (DjangoJob.Status.PAUSED, None)


def test_a_pending_run_is_cancelled_at_once(call: Call) -> None:
    """No scheduler is needed for that."""
    run = a_run()

    answer = call(run.cancel, by="Ada")

    stored = DjangoJobExecution.objects.get()
    assert answer is True
    assert (stored.status, stored.reason) == (Status.CANCELLED, Reason.REQUESTED)
    assert (stored.cancelled_by, stored.is_finished) == ("Ada", True)
    assert stored.finished_at is not None
    assert run.status == Status.CANCELLED


def test_a_running_run_is_asked_to_stop(call: Call) -> None:
    """Its node sees the request; until then it runs."""
    run = a_run(status=Status.RUNNING)

    answer = call(run.cancel, by="Ada")

    stored = DjangoJobExecution.objects.get()
    assert answer is True
    assert (stored.status, stored.cancelled_by) == (Status.RUNNING, "Ada")
    assert stored.cancel_requested_at is not None


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.LOST, Status.SKIPPED])
def test_what_has_ended_cannot_be_cancelled(call: Call, status: Status) -> None:
    """Even if the caller's copy of the row does not know that yet."""
    run = a_run(status=Status.RUNNING)
    DjangoJobExecution.objects.update(status=status)

    answer = call(run.cancel)

    stored = DjangoJobExecution.objects.get()
    assert answer is False
    assert (stored.status, stored.cancel_requested_at) == (status, None)


@pytest.mark.parametrize("timeout", [None, 0, 5])
def test_joining_a_run_that_has_ended_returns_it(call: Call, timeout: float | None) -> None:
    """Afresh: with the result that another process has written."""
    run = a_run(status=Status.RUNNING)
    DjangoJobExecution.objects.update(status=Status.SUCCEEDED, return_value=42)

    joined = call(run.join, timeout=timeout)

    assert joined is run
    assert (run.status, run.return_value) == (Status.SUCCEEDED, 42)


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_joining_gives_up(call: Call, timeout: float) -> None:
    """The error says that the run goes on, and it is a TimeoutError."""
    run = a_run(status=Status.RUNNING)

    with pytest.raises(RunNotFinishedError, match="still running") as giving_up:
        call(run.join, timeout=timeout)

    assert isinstance(giving_up.value, TimeoutError)


@committed_data
def test_joining_waits_for_the_end(call: Call) -> None:
    """Whoever writes the end, from whichever process."""
    run = a_run(status=Status.RUNNING)
    looked = threading.Event()

    def end() -> None:
        looked.wait(10)
        DjangoJobExecution.objects.update(status=Status.FAILED, exception="ValueError")
        connections.close_all()

    ending = threading.Thread(target=end)
    ending.start()
    with looking(looked):
        joined = call(run.join, timeout=20)
    ending.join()

    assert joined.status == Status.FAILED


def looking(looked: threading.Event) -> AbstractContextManager[None]:
    """Set the event at the first query of the calling thread."""

    def tell(execute: Any, *statement: Any) -> Any:
        answer = execute(*statement)
        looked.set()
        return answer

    return connections["default"].execute_wrapper(tell)


# Many at once


def at_once(number: int, work: Callable[[int], Any]) -> list[Any]:
    """Do work in so many threads at the same moment; return the results, or what was raised."""
    barrier = threading.Barrier(number)

    def one(index: int) -> Any:
        barrier.wait(20)
        try:
            return work(index)
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(one, range(number)))


@committed_data
def test_fifty_requests_at_once_are_one_run() -> None:
    """A thousand clicks make one run, on SQLite at Django's defaults too."""
    add()

    runs = at_once(50, lambda _: DjangoJob.objects.get().run())

    stored = DjangoJobExecution.objects.get()
    assert runs == [stored] * 50


@committed_data
def test_of_many_jobs_with_one_id_one_is_stored() -> None:
    """The others are told that it is taken."""
    results = at_once(10, lambda number: add(args=[number]))

    [row] = DjangoJob.objects.all()
    conflicts = [result for result in results if isinstance(result, ConflictingIdError)]
    assert [result for result in results if result not in conflicts] == [row]
    assert len(conflicts) == 9


@committed_data
@pytest.mark.parametrize("is_there", [True, False])
def test_of_many_replacements_all_succeed(is_there: bool) -> None:
    """As many web processes do it at their start: one row, and no deadlock."""
    if is_there:
        add()

    results = at_once(10, lambda number: replace(args=[number]))

    [row] = DjangoJob.objects.all()
    assert results == [row] * 10
    assert row.version == (11 if is_there else 10)


@committed_data
def test_changes_at_once_follow_each_other() -> None:
    """Each is made on the row that the one before has left: no version is lost."""
    add()

    def change(number: int) -> None:
        row = DjangoJob.objects.get()
        (row.pause, row.resume, row.run)[number % 3]()

    results = at_once(12, change)

    assert results == [None] * 12
    assert DjangoJob.objects.get().version == 1 + 8
    assert JobChange.objects.count() == 1 + 8


# Pruning


def test_old_runs_are_deleted(call: Call) -> None:
    """Those that have ended, a week after their time; what has not ended stays."""
    now = datetime.now(UTC)
    node = SchedulerNode.objects.create(name="n", started_at=now, heartbeat_at=now, capacity=1)
    old = now - WEEK - HOUR
    kept = [
        a_run("recent", status=Status.SUCCEEDED, run_time=now - WEEK + HOUR),
        a_run("pending", status=Status.PENDING, run_time=old),
        a_run("running", status=Status.RUNNING, run_time=old, node=node),
    ]
    for status in (Status.SUCCEEDED, Status.FAILED, Status.SKIPPED, Status.LOST):
        a_run(f"old {status}", status=status, run_time=old)
    a_run("of a scheduler of APScheduler that was killed", status=Status.RUNNING, run_time=old)

    deleted = call(DjangoJobExecution.objects.delete_old_job_executions)

    assert deleted == 5
    assert set(DjangoJobExecution.objects.all()) == set(kept)


@pytest.mark.parametrize("max_age", [3600, 3600.0, timedelta(hours=1)])
def test_the_age_of_what_is_deleted_can_be_chosen(call: Call, max_age: Any) -> None:
    """In seconds, as in django-apscheduler, or as a timedelta."""
    now = datetime.now(UTC)
    a_run(status=Status.SUCCEEDED, run_time=now - 2 * HOUR)
    recent = a_run(status=Status.SUCCEEDED, run_time=now - HOUR / 2)

    deleted = call(DjangoJobExecution.objects.delete_old_job_executions, max_age)

    assert deleted == 1
    assert DjangoJobExecution.objects.get() == recent


def test_many_old_runs_are_deleted_in_batches() -> None:
    """More than one statement takes; jobs are not touched."""
    add()
    began = NOON - 3000 * DAY
    DjangoJobExecution.objects.bulk_create(
        DjangoJobExecution(
            job_id="job", status=Status.SUCCEEDED, run_time=began + timedelta(seconds=number)
        )
        for number in range(2500)
    )

    deleted = DjangoJobExecution.objects.delete_old_job_executions(0)

    assert deleted == 2500
    assert not DjangoJobExecution.objects.exists()
    assert DjangoJob.objects.exists()


# Exactness


TWINS = [
    ("Job", "job"),
    ("é", "e"),
    ("a", "a "),
    ("a", " a"),
    ("ß", "ss"),
    ("é", "e\u0301"),
    ("İ", "i"),
    ("1", "\uff11"),
    ("a", "a\n"),
    ("x" * 254 + "a", "x" * 254 + "b"),
]
UNUSUAL_IDS = [
    "😀" * 255,
    "a/b\\c?d=e&f#g%20",
    "'single' \"double\" `back` --comment; DROP TABLE x",
    "line\nfeed\r\ttab\x7f\x01",
    " ",
    "%s %(id)s {0} {id}",
    "\u202eright to left\u2066",
    ".",
    "None",
    "ﷺ𓀀",
]


@pytest.mark.parametrize(("one", "other"), TWINS, ids=ascii)
def test_ids_that_look_alike_are_different_jobs(one: str, other: str) -> None:
    """On every database: MariaDB by itself would take them for one."""
    for name in (one, other):
        add(name, args=[name])
        a_run(name, run_time=NOON, status=Status.SUCCEEDED)
        DjangoJob.objects.get(pk=name).pause(by=name)

    DjangoJob.objects.get(pk=one).remove()

    assert DjangoJob.objects.get().args == [other]
    assert list(DjangoJob.objects.filter(pk__in=[one, other])) == [DjangoJob(pk=other)]
    assert [run.job_id for run in DjangoJobExecution.objects.filter(job_id=one)] == [one]
    assert DjangoJobExecution.objects.filter(job__name="plain").get().job_id == other
    assert {change.changed_by for change in JobChange.objects.filter(job_id=other)} == {"", other}


@pytest.mark.parametrize("job_id", UNUSUAL_IDS, ids=ascii)
def test_an_id_is_kept_as_it_is(call: Call, job_id: str) -> None:
    """255 characters of any kind; what one row says of it, all others do."""
    row = call(
        DjangoJob.objects.schedule, functions.plain, "interval", hours=1, id=job_id, name="x"
    )

    run = call(row.run)
    call(row.pause)

    assert DjangoJob.objects.get().pk == DjangoJob.objects.get(pk=job_id).pk == job_id
    assert DjangoJobExecution.objects.get(job_id=job_id) == run
    assert DjangoJobExecution.objects.select_related("job").get().job.pk == job_id
    assert set(JobChange.objects.values_list("job_id", flat=True)) == {job_id}
    assert DjangoJobStore().get_all_jobs()[0].id == job_id


def test_a_mebibyte_of_arguments_comes_back(call: Call) -> None:
    """As one text, as bytes, and as many small values."""
    args = ["naïve 🗒 " * (2**20 // 8), bytes(range(256)) * 1024, list(range(100_000))]

    call(DjangoJob.objects.schedule, functions.plain, id="job", args=args)
    job = DjangoJobStore().lookup_job("job")

    assert job is not None
    assert job.args == tuple(args)


@pytest.mark.parametrize(
    "moment",
    [
        NOON,
        datetime(2030, 10, 27, 0, 30, tzinfo=UTC),
        datetime(2030, 10, 27, 1, 30, 0, 1, tzinfo=UTC),
        datetime(2030, 3, 31, 1, 30, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ],
    ids=str,
)
def test_a_moment_is_the_same_whichever_way_it_is_read(moment: datetime) -> None:
    """Aware, in UTC, to the microsecond; also when clocks change in the TIME_ZONE."""
    add(next_run_time=moment)
    run = a_run(run_time=moment, status=Status.SUCCEEDED)
    inner = DjangoJobExecution.objects.filter(job_id=OuterRef("pk")).values("run_time")[:1]

    jobs = DjangoJob.objects.filter(next_run_time=moment)
    answers = [
        jobs.get().next_run_time,
        jobs.values_list("next_run_time", flat=True).get(),
        jobs.aggregate(latest=Max("next_run_time"))["latest"],
        jobs.annotate(inner=Subquery(inner)).get().inner,
        jobs.values_list(Subquery(inner), flat=True).get(),
        DjangoJobExecution.objects.select_related("job").get(pk=run.pk).job.next_run_time,
    ]

    assert answers == [moment] * 6
    assert {answer.utcoffset() for answer in answers} == {timedelta(0)}
    assert not DjangoJob.objects.filter(next_run_time__lt=moment).exists()
    assert DjangoJob.objects.due(moment).exists()
    assert not DjangoJob.objects.due(moment - timedelta(microseconds=1)).exists()


@pytest.mark.parametrize(
    "trigger",
    [
        {},
        [],
        "cron",
        {"type": "cron", "hour": "99"},
        {
            "type": "tests.testapp.triggers:Slotted",
            "state": {"$type": "pickle", "value": "forged"},
        },
    ],
    ids=str,
)
def test_a_trigger_that_cannot_be_read_is_described_all_the_same(trigger: Any) -> None:
    """With the reason, so that one bad row does not fail a whole list."""
    row = add()
    row.trigger = trigger

    with override_settings(ASYNC_APSCHEDULER={"SERIALIZER": "pickle"}):
        described = row.describe_trigger()

    assert len(described) > 10


# Another database


@pytest.fixture
def on_other_database(settings: Any) -> Any:
    """Keep the rows on the alias `other`, and make queries to `default` fail the test."""
    settings.ASYNC_APSCHEDULER = {"DATABASE": "other"}
    with CaptureQueriesContext(connections["default"]) as queries:
        yield
    assert [query["sql"] for query in queries.captured_queries] == []


def test_everything_goes_to_the_database_of_the_settings(
    call: Call, on_other_database: None
) -> None:
    """Every word of the API, and rows made by hand."""
    row = call(DjangoJob.objects.schedule, functions.plain, "interval", hours=1, id="job")
    call(row.pause)
    call(row.resume)
    call(row.reschedule, "cron", hour=3)
    with pytest.raises(ConflictingIdError):
        call(DjangoJob.objects.schedule, functions.plain, id="job")
    replace(call)
    first, second = call(row.run), a_run("by hand", run_time=NOON)
    call(first.cancel)
    call(first.join, timeout=0)
    unsaved = DjangoJobExecution(job_id="saved", run_time=NOON, status=Status.SUCCEEDED)
    unsaved.save()
    call(DjangoJobExecution.objects.delete_old_job_executions)
    call(row.remove)

    for model in (DjangoJobExecution, JobChange):
        assert model.objects.using("other").count() > 1
    assert {row._state.db, first._state.db, second._state.db, unsaved._state.db} == {"other"}
    assert DjangoJob.objects.db == JobChange.objects.all().db == "other"
    assert not DjangoJob.objects.exists()


def test_store_and_declarations_go_to_the_database_of_the_settings(on_other_database: None) -> None:
    """A store under a scheduler, and the synchronisation at its start."""
    with registry.isolated() as declared:
        scheduled_job("interval", hours=1, id="declared")(functions.plain)
        synchronise(declared.declarations())

    store = DjangoJobStore()
    jobs = store.get_all_jobs()
    store.update_job(jobs[0])
    store.remove_job("declared")
    store.add_job(jobs[0])

    assert DjangoJob.objects.using("other").get().pk == "declared"
    assert JobChange.objects.using("other").count() == 1


def test_a_row_stays_on_the_database_that_it_came_from(call: Call) -> None:
    """Also while the settings name another one."""
    manager = DjangoJob.objects.db_manager("other")
    row = call(manager.schedule, functions.plain, "interval", hours=1, id="job")

    call(row.pause)
    run = call(row.run)
    call(run.cancel)
    row.save()

    assert not DjangoJob.objects.exists()
    assert not DjangoJobExecution.objects.exists()
    assert DjangoJob.objects.using("other").get().status == DjangoJob.Status.PAUSED
    assert DjangoJobExecution.objects.using("other").get().status == Status.CANCELLED


@committed_data
async def test_a_coroutine_schedules_steers_and_waits() -> None:
    """The words of the README, from an async view; nothing is synchronous underneath."""
    row = await DjangoJob.objects.aschedule(work.mark, "interval", minutes=5, args=[7], id="mine")
    await row.apause()
    await row.aresume()
    await row.areschedule("cron", hour=8)
    run = await row.arun()
    await run.acancel()
    await run.ajoin(timeout=5)
    await row.aremove()

    assert run.status == Status.CANCELLED
    assert not await DjangoJob.objects.aexists()


@committed_data
def test_threads_of_the_tests_see_each_others_rows() -> None:
    """Otherwise the tests above with many threads would prove nothing."""
    at_once(2, lambda number: add(f"job {number}"))

    assert wait_until(DjangoJob.objects.count) == 2


def test_jobs_are_counted_by_what_a_scheduler_makes_of_them() -> None:
    """Those of another environment count as such only, whatever their status."""
    assert set(DjangoJob.objects.count_by_status("").values()) == {0}
    for environment, statuses in (
        ("", ["scheduled", "scheduled", "scheduled", "paused", "paused", "quarantined"]),
        ("staging", ["scheduled", "paused", "quarantined", "quarantined"]),
    ):
        for number, status in enumerate(statuses):
            job_id = f"{environment} {number}"
            job = DjangoJob(id=job_id, environment=environment, status=status, trigger={})
            job.save()

    assert DjangoJob.objects.count_by_status("") == {
        "ours": 6,
        "paused": 2,
        "quarantined": 1,
        "others": 4,
    }
