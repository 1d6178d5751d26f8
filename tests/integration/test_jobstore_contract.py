"""APScheduler's contract of a job store: its own memory store and ours give the same answers.

Where a store that outlives its process must differ, a test says how.
"""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.events import EVENT_JOB_ADDED, EVENT_JOB_MODIFIED, EVENT_JOB_REMOVED
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from django.conf import settings as django_settings

from async_apscheduler.exceptions import (
    InvalidJobError,
    InvalidJobIdError,
    ReferenceNotAllowedError,
    UnserializableArgumentError,
)
from async_apscheduler.jobstores import DjangoJobStore, DjangoMemoryJobStore
from async_apscheduler.models import DjangoJob
from async_apscheduler.triggers import CrontabTrigger
from tests.databases import Vendor
from tests.testapp import functions
from tests.testapp.triggers import Every, Slotted

pytestmark = pytest.mark.django_db(databases=["default", "other"])

ZONE = ZoneInfo("America/New_York")
"""The scheduler's: neither UTC nor the TIME_ZONE of any round."""

NOON = datetime(2031, 5, 17, 12, 0, 0, 123456, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

STORES: dict[str, Callable[[], BaseJobStore]] = {
    "memory of APScheduler": MemoryJobStore,
    "memory": DjangoMemoryJobStore,
    "database": DjangoJobStore,
    "database with pickle": partial(DjangoJobStore, serializer="pickle"),
}


@pytest.fixture
def scheduler() -> Iterator[BackgroundScheduler]:
    """A scheduler that is not started; it is shut down if the test starts it."""
    found = BackgroundScheduler(timezone=ZONE)
    yield found
    if found.running:
        found.shutdown()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> BaseJobStore:
    """A store of each kind, not started."""
    return STORES[request.param]()


@pytest.fixture
def started(store: BaseJobStore, scheduler: BackgroundScheduler) -> Iterator[BaseJobStore]:
    """A store of each kind, started as the scheduler would start it."""
    store.start(scheduler, "main")
    yield store
    store.shutdown()


@pytest.fixture
def database_store(scheduler: BackgroundScheduler) -> Iterator[DjangoJobStore]:
    """A started store of the kind that most tests do without."""
    found = DjangoJobStore()
    found.start(scheduler, "main")
    yield found
    found.shutdown()


@pytest.fixture
def running(store: BaseJobStore, scheduler: BackgroundScheduler) -> BackgroundScheduler:
    """A scheduler that was started with a store of each kind; being paused, it runs nothing."""
    scheduler.add_jobstore(store, "default")
    scheduler.start(paused=True)
    return scheduler


def a_job(scheduler: Any, id: str = "job", **options: Any) -> Job:
    """Return a job with all attributes that a store expects."""
    return Job(
        scheduler,
        **{
            "id": id,
            "func": functions.plain,
            "args": (),
            "kwargs": {},
            "name": f"name of {id}",
            "trigger": DateTrigger(NOON),
            "executor": "default",
            "misfire_grace_time": 1,
            "coalesce": False,
            "max_instances": 1,
            "next_run_time": NOON,
            **options,
        },
    )


def attributes(job: Job) -> dict[str, Any]:
    """Return what a job consists of; of its trigger, the words."""
    names = [name for name in job.__getstate__() if name not in ("version", "func", "trigger")]
    values = {name: getattr(job, name) for name in names}
    return {**values, "func": job.func, "args": tuple(job.args), "trigger": repr(job.trigger)}


def ids(jobs: list[Job]) -> list[str]:
    """Return the ids of jobs in their order."""
    return [job.id for job in jobs]


# One job


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"name": "naïve 🗒 \n 'quoted' \"twice\" / \\ back"},
        {"args": (1, "two", 3.0, None, True), "kwargs": {"a": [1, 2], "ß": {"b": None}}},
        {"args": ((1, 2), {3}, frozenset({4}), b"\0\xff", date(2031, 1, 2), timedelta(days=-1))},
        {"args": (NOON, NOON.astimezone(ZONE), 10**30, float("inf"), "\0", {1: "one"})},
        {"executor": "another", "coalesce": True, "max_instances": 7},
        {"misfire_grace_time": None},
        {"misfire_grace_time": 86_400},
        {"next_run_time": None},
        {"next_run_time": NOON - MICROSECOND},
        {"next_run_time": datetime(1970, 1, 1, tzinfo=UTC)},
        {"next_run_time": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)},
        {"trigger": IntervalTrigger(minutes=5, start_date=NOON, timezone=ZONE)},
    ],
    ids=str,
)
def test_every_attribute_of_a_job_comes_back(
    started: BaseJobStore, scheduler: BackgroundScheduler, options: dict[str, Any]
) -> None:
    """What was added is what lookup_job() returns, to the microsecond."""
    job = a_job(scheduler, **options)

    started.add_job(job)
    found = started.lookup_job("job")

    assert attributes(found) == attributes(job)
    assert found == job
    assert found._scheduler is scheduler


@pytest.mark.parametrize("job_id", ["nothing", "", "NUL \0", "half \ud800", "x" * 10_000, 5])
def test_what_is_not_there(started: BaseJobStore, scheduler: Any, job_id: Any) -> None:
    """Looking it up gives None; changing or removing it raises JobLookupError."""
    started.add_job(a_job(scheduler))
    stranger = a_job(scheduler)
    stranger.id = "stranger"

    found = started.lookup_job(job_id)

    assert found is None
    with pytest.raises(JobLookupError):
        started.remove_job(job_id)
    with pytest.raises(JobLookupError, match="stranger"):
        started.update_job(stranger)
    assert ids(started.get_all_jobs()) == ["job"]


def test_an_id_that_is_taken(started: BaseJobStore, scheduler: BackgroundScheduler) -> None:
    """ConflictingIdError names it, and the first job stays as it was."""
    first = a_job(scheduler, name="first")
    started.add_job(first)

    with pytest.raises(ConflictingIdError, match="job"):
        started.add_job(a_job(scheduler, name="second"))

    assert [job.name for job in started.get_all_jobs()] == ["first"]


def test_an_update_replaces_everything(
    started: BaseJobStore, scheduler: BackgroundScheduler
) -> None:
    """After update_job() nothing of the former job is left."""
    started.add_job(a_job(scheduler, args=(1,)))
    changed = a_job(
        scheduler,
        func=functions.coroutine,
        args=("other",),
        kwargs={"key": "value"},
        name="other",
        trigger=CronTrigger(hour=3, timezone=ZONE),
        executor="other",
        misfire_grace_time=None,
        coalesce=True,
        max_instances=3,
        next_run_time=NOON + timedelta(days=400),
    )

    started.update_job(changed)

    assert attributes(started.lookup_job("job")) == attributes(changed)
    assert len(started.get_all_jobs()) == 1


def test_jobs_are_removed(started: BaseJobStore, scheduler: BackgroundScheduler) -> None:
    """One by its id, which is free again then; then all of them."""
    for name in ("a", "b", "c"):
        started.add_job(a_job(scheduler, name))

    started.remove_job("b")
    left = ids(started.get_all_jobs())
    started.add_job(a_job(scheduler, "b"))
    started.remove_all_jobs()

    assert left == ["a", "c"]
    assert started.get_all_jobs() == []
    assert started.get_next_run_time() is None
    assert started.get_due_jobs(NOON) == []
    with pytest.raises(JobLookupError):
        started.remove_job("a")


# Order and time


def test_due_is_what_is_due_to_the_microsecond(
    started: BaseJobStore, scheduler: BackgroundScheduler
) -> None:
    """A job is due at its very time, not a microsecond earlier; a paused one never is."""
    started.add_job(a_job(scheduler, "due"))
    started.add_job(a_job(scheduler, "next", next_run_time=NOON + MICROSECOND))
    started.add_job(a_job(scheduler, "paused", next_run_time=None))

    before = ids(started.get_due_jobs(NOON - MICROSECOND))
    at = ids(started.get_due_jobs(NOON))
    after = ids(started.get_due_jobs((NOON + MICROSECOND).astimezone(ZONE)))

    assert (before, at, after) == ([], ["due"], ["due", "next"])


def test_due_jobs_come_in_the_order_of_their_times(
    started: BaseJobStore, scheduler: BackgroundScheduler
) -> None:
    """The earliest first, whatever zone it is told in; at one instant, by the id."""
    times = {
        "c": NOON,
        "b": NOON.astimezone(ZONE),
        "a": NOON - timedelta(seconds=1),
        "d": NOON.astimezone(ZoneInfo("Asia/Kolkata")) - MICROSECOND,
        "e": NOON - timedelta(days=3000),
    }
    for name, moment in times.items():
        started.add_job(a_job(scheduler, name, next_run_time=moment))

    due = started.get_due_jobs(NOON)

    assert ids(due) == ["e", "a", "d", "b", "c"]
    assert [job.next_run_time for job in due] == [times[job.id] for job in due]


def test_the_hour_that_comes_twice(started: BaseJobStore, scheduler: BackgroundScheduler) -> None:
    """When the clocks are set back, the same time on the wall stays two moments."""
    zone = ZoneInfo("Europe/Berlin")
    first = datetime(2030, 10, 27, 2, 30, tzinfo=zone, fold=0)
    second = datetime(2030, 10, 27, 2, 30, tzinfo=zone, fold=1)
    started.add_job(a_job(scheduler, "second", next_run_time=second))
    started.add_job(a_job(scheduler, "first", next_run_time=first))

    between = ids(started.get_due_jobs(first.astimezone(UTC) + timedelta(minutes=59)))
    later = ids(started.get_due_jobs(second.astimezone(UTC)))
    kept = started.lookup_job("second").next_run_time.astimezone(UTC)

    assert (between, later) == (["first"], ["first", "second"])
    assert kept == second.astimezone(UTC)
    assert started.get_next_run_time().astimezone(UTC) == first.astimezone(UTC)


def test_the_next_run_time_is_the_earliest(
    started: BaseJobStore, scheduler: BackgroundScheduler
) -> None:
    """None without jobs and while all are paused; it follows every change."""
    answers = [started.get_next_run_time()]

    started.add_job(a_job(scheduler, "paused", next_run_time=None))
    answers.append(started.get_next_run_time())
    started.add_job(a_job(scheduler, "late", next_run_time=NOON + timedelta(hours=1)))
    answers.append(started.get_next_run_time())
    started.add_job(a_job(scheduler, "soon", next_run_time=NOON))
    answers.append(started.get_next_run_time())
    started.update_job(a_job(scheduler, "soon", next_run_time=None))
    answers.append(started.get_next_run_time())
    started.remove_job("late")
    answers.append(started.get_next_run_time())

    later = NOON + timedelta(hours=1)
    assert answers == [None, None, later, NOON, later, None]


def test_all_jobs_come_by_time_then_id_and_paused_ones_last(
    started: BaseJobStore, scheduler: BackgroundScheduler
) -> None:
    """Ids compare by code point everywhere, not by the database's alphabet."""
    for name in ("ß", "Z", "a", "😀", "B", "~", "é"):
        started.add_job(a_job(scheduler, name))
        started.add_job(a_job(scheduler, f"{name} paused", next_run_time=None))
    started.add_job(a_job(scheduler, "zero", next_run_time=NOON - timedelta(days=1)))

    found = ids(started.get_all_jobs())

    in_order = ["B", "Z", "a", "~", "ß", "é", "😀"]
    assert found == ["zero", *in_order, *(f"{name} paused" for name in in_order)]


def test_an_update_moves_a_job_to_its_new_place(
    started: BaseJobStore, scheduler: BackgroundScheduler
) -> None:
    """Another time, a pause and its end each move the job in the order."""
    for hour, name in enumerate(("a", "b", "c")):
        started.add_job(a_job(scheduler, name, next_run_time=NOON + timedelta(hours=hour)))

    started.update_job(a_job(scheduler, "a", next_run_time=NOON + timedelta(hours=9)))
    moved = ids(started.get_all_jobs())
    started.update_job(a_job(scheduler, "b", next_run_time=None))
    paused = ids(started.get_all_jobs())
    started.update_job(a_job(scheduler, "b", next_run_time=NOON - timedelta(hours=1)))
    resumed = ids(started.get_all_jobs())

    assert moved == ["b", "c", "a"]
    assert paused == ["c", "a", "b"]
    assert resumed == ["b", "c", "a"]


def test_a_job_may_change_while_it_is_due(
    started: BaseJobStore, scheduler: BackgroundScheduler
) -> None:
    """A store takes back a due job with a new time, with more changes, or not at all."""
    for name in ("advanced", "changed", "removed", "left"):
        started.add_job(a_job(scheduler, name))
    due = {job.id: job for job in started.get_due_jobs(NOON)}
    later = NOON + timedelta(hours=1)

    due["advanced"]._modify(next_run_time=later)
    started.update_job(due["advanced"])
    due["changed"]._modify(next_run_time=later, name="new", args=(1,))
    started.update_job(due["changed"])
    started.remove_job("removed")

    assert ids(started.get_due_jobs(NOON)) == ["left"]
    assert started.lookup_job("advanced").next_run_time == later
    assert started.lookup_job("changed").name == "new"
    assert started.lookup_job("changed").args == (1,)
    with pytest.raises(JobLookupError):
        started.update_job(due["removed"])
    with pytest.raises(JobLookupError):
        started.remove_job("removed")


# What a job calls

CALLABLES: dict[str, tuple[Any, Any]] = {
    "function": (functions.plain, functions.plain),
    "coroutine function": (functions.coroutine, functions.coroutine),
    "decorated function": (functions.decorated, functions.decorated),
    "cached function": (functions.cached, functions.cached),
    "static method": (functions.Greeter.shout, functions.Greeter.shout),
    "static method in a class in a class": (
        functions.Greeter.Inner.whisper,
        functions.Greeter.Inner.whisper,
    ),
    "class method": (functions.Greeter.introduce, functions.Greeter.introduce),
    "inherited class method": (functions.Child.introduce, functions.Child.introduce),
    "method of a class": (functions.Greeter.greet, functions.Greeter.greet),
    "class": (functions.Greeter, functions.Greeter),
    "text": ("tests.testapp.functions:plain", functions.plain),
    "text for a method": ("tests.testapp.functions:Greeter.shout", functions.Greeter.shout),
    "text for an instance": (
        "tests.testapp.functions:callable_instance",
        functions.callable_instance,
    ),
}


@pytest.mark.parametrize("kind", CALLABLES)
def test_what_a_job_calls_comes_back(
    started: BaseJobStore, scheduler: BackgroundScheduler, kind: str
) -> None:
    """Whatever has a name in a module is found again, through add_job() and update_job()."""
    given, expected = CALLABLES[kind]
    needed = {"method of a class": (functions.Greeter(),), "text for a method": ("a",)}
    if isinstance(started, DjangoJobStore) and started.serializer is None:
        needed["method of a class"] = ("stands for the instance",)  # JSON has none
    args = needed.get(kind, ("a",) if "static" in kind else ())
    job = a_job(scheduler, func=given, args=args)

    started.add_job(job)
    first = started.lookup_job("job")
    started.update_job(first)
    second = started.lookup_job("job")

    assert first.func == second.func == expected
    assert first.func_ref == second.func_ref


@pytest.mark.parametrize("owner", [functions.Greeter, functions.Child])
def test_a_method_of_an_instance_needs_a_store_that_can_keep_the_instance(
    started: BaseJobStore, scheduler: BackgroundScheduler, owner: type[functions.Greeter]
) -> None:
    """Memory and pickle keep the instance; JSON refuses it by name and stores nothing."""
    greeter = owner()
    greeter.word = "goodbye"  # type: ignore[misc]  # of this instance only
    job = a_job(scheduler, func=greeter.greet, args=("all",))
    if isinstance(started, DjangoJobStore) and started.serializer is None:
        with pytest.raises(UnserializableArgumentError, match=r"(?s)'self'.*pickle"):
            started.add_job(job)
        assert started.get_all_jobs() == []
        return

    started.add_job(job)
    found = started.lookup_job("job")

    assert found.func(*found.args) == "goodbye all"


@pytest.mark.parametrize(
    "nameless",
    [
        functions.anonymous,
        functions.make_nested(),
        functions.partial_of_plain,
        functions.Callme(),
    ],
    ids=["lambda", "nested function", "partial", "instance"],
)
def test_what_has_no_name_can_only_be_kept_in_memory(
    started: BaseJobStore, scheduler: BackgroundScheduler, nameless: Any
) -> None:
    """A database refuses what no other process could find, and says what to do."""
    job = a_job(scheduler, func=nameless)
    if isinstance(started, DjangoJobStore):
        with pytest.raises(InvalidJobError, match=r"name|import"):
            started.add_job(job)
        assert started.get_all_jobs() == []
        return

    started.add_job(job)

    assert started.lookup_job("job").func is nameless


@pytest.mark.parametrize(
    "reference", ["os:getcwd", "tests.testapp.functions:OS.getcwd", "subprocess:run"]
)
def test_a_database_refuses_functions_outside_of_the_allowed_modules(
    database_store: DjangoJobStore, scheduler: BackgroundScheduler, reference: str
) -> None:
    """Also those that an allowed module has only borrowed; an update is no way around it."""
    args = (["true"],) if reference.startswith("sub") else ()
    database_store.add_job(a_job(scheduler))
    borrowed = a_job(scheduler, func=reference, args=args)

    with pytest.raises(ReferenceNotAllowedError):
        database_store.update_job(borrowed)
    borrowed.id = "another"
    with pytest.raises(ReferenceNotAllowedError):
        database_store.add_job(borrowed)

    assert [job.func for job in database_store.get_all_jobs()] == [functions.plain]


# When a job runs

BERLIN = ZoneInfo("Europe/Berlin")
TRIGGERS: dict[str, Any] = {
    "date": DateTrigger(NOON),
    "date in a zone": DateTrigger(datetime(2031, 10, 26, 2, 30, fold=1, tzinfo=BERLIN)),
    "interval": IntervalTrigger(hours=7, start_date=NOON, timezone=BERLIN),
    "interval with an end": IntervalTrigger(
        seconds=0.25, start_date=NOON, end_date=NOON + timedelta(seconds=1), timezone=ZONE
    ),
    "cron": CronTrigger(
        day="last", hour="3-9/2", minute="*/7", second="5,6", start_date=NOON, timezone=BERLIN
    ),
    "cron by weeks": CronTrigger(day_of_week="mon-fri", week="2-5", end_date="2040-01-01"),
    "crontab": CrontabTrigger("30 3 * * mon-fri", timezone="Europe/Helsinki"),
    "calendar interval": CalendarIntervalTrigger(
        months=1, days=1, hour=4, minute=30, start_date=date(2031, 1, 31), timezone=BERLIN
    ),
    "and": AndTrigger([CronTrigger(hour=3, timezone=ZONE), CronTrigger(hour="3", timezone=ZONE)]),
    "or": OrTrigger([CronTrigger(hour=3, timezone=ZONE), CronTrigger(hour=5, timezone=BERLIN)]),
    "of the user's own": Every(timedelta(hours=5), NOON),
    "of the user's own, with slots": Slotted(NOON),
}


@pytest.mark.parametrize("kind", TRIGGERS)
def test_a_trigger_fires_as_before(
    started: BaseJobStore, scheduler: BackgroundScheduler, kind: str
) -> None:
    """Each kind of trigger comes back as its class and gives the same next times."""
    trigger = TRIGGERS[kind]
    started.add_job(a_job(scheduler, trigger=trigger))

    found = started.lookup_job("job").trigger

    assert isinstance(found, type(trigger))
    assert str(found) == str(trigger) or "object at" in str(trigger)
    expected, answered = fires(trigger), fires(found)
    assert expected
    assert answered == expected
    assert [fire.utcoffset() for fire in answered] == [fire.utcoffset() for fire in expected]


def fires(trigger: Any, number: int = 20) -> list[datetime]:
    """Return the first fires of a trigger."""
    found: list[datetime] = []
    fire = trigger.get_next_fire_time(None, NOON)
    while fire is not None and len(found) < number:
        found.append(fire)
        fire = trigger.get_next_fire_time(fire, fire)
    return found


# Under a scheduler


def test_jobs_added_before_the_start_are_there_after_it(
    store: BaseJobStore, scheduler: BackgroundScheduler
) -> None:
    """Pending jobs go to their store, with the defaults of the scheduler and their first time."""
    scheduler.configure(
        timezone=ZONE, job_defaults={"max_instances": 4, "misfire_grace_time": 9, "coalesce": False}
    )
    scheduler.add_jobstore(store, "default")
    scheduler.add_job(functions.plain, "date", run_date=NOON, id="job")

    scheduler.start(paused=True)
    [job] = scheduler.get_jobs()

    assert (job.max_instances, job.misfire_grace_time, job.coalesce) == (4, 9, False)
    assert job.next_run_time == NOON
    assert job._jobstore_alias == "default"


def test_a_running_scheduler_takes_and_changes_jobs(running: BackgroundScheduler) -> None:
    """add, modify, reschedule, pause, resume and remove, each with its event."""
    events: list[int] = []
    running.add_listener(
        lambda event: events.append(event.code),
        EVENT_JOB_ADDED | EVENT_JOB_MODIFIED | EVENT_JOB_REMOVED,
    )

    running.add_job(functions.plain, "interval", hours=1, id="job", next_run_time=NOON)
    running.modify_job("job", name="renamed", max_instances=5)
    modified = attributes(running.get_job("job"))
    running.reschedule_job("job", trigger="cron", hour=3)
    rescheduled = attributes(running.get_job("job"))
    running.pause_job("job")
    paused = attributes(running.get_job("job"))
    running.resume_job("job")
    resumed = attributes(running.get_job("job"))
    running.remove_job("job")

    assert (modified["name"], modified["max_instances"]) == ("renamed", 5)
    assert modified["next_run_time"] == NOON
    assert "hour='3'" in rescheduled["trigger"]
    assert rescheduled["next_run_time"].astimezone(ZONE).hour == 3
    assert paused == {**rescheduled, "next_run_time": None}
    assert resumed == rescheduled
    assert running.get_job("job") is None
    assert events == [EVENT_JOB_ADDED, *[EVENT_JOB_MODIFIED] * 4, EVENT_JOB_REMOVED]


def test_jobs_change_themselves(running: BackgroundScheduler) -> None:
    """The methods of a job that a store returned reach that store."""
    running.add_job(functions.plain, "interval", hours=1, id="job")

    running.get_job("job").modify(name="renamed")
    running.get_job("job").pause()
    [job] = running.get_jobs("default")
    job.remove()

    assert (job.name, job.next_run_time) == ("renamed", None)
    assert running.get_jobs() == []


def test_an_id_that_a_running_scheduler_knows(running: BackgroundScheduler) -> None:
    """It is refused, unless the job is to replace the other one."""
    running.add_job(functions.plain, "interval", hours=1, id="job", name="first")

    with pytest.raises(ConflictingIdError):
        running.add_job(functions.plain, "interval", hours=2, id="job", name="second")
    before = [job.name for job in running.get_jobs()]
    running.add_job(
        functions.plain, "interval", hours=2, id="job", name="third", replace_existing=True
    )

    assert before == ["first"]
    assert [(job.name, str(job.trigger)) for job in running.get_jobs()] == [
        ("third", "interval[2:00:00]")
    ]


def test_resuming_a_job_without_a_fire_left_removes_it(running: BackgroundScheduler) -> None:
    """As upstream: what would never run again need not be kept."""
    over = datetime.now(UTC) - timedelta(days=1)
    running.add_job(
        functions.plain, "interval", hours=1, id="job", end_date=over, next_run_time=None
    )

    resumed = running.resume_job("job")

    assert resumed is None
    assert running.get_job("job") is None


def test_a_job_added_without_a_fire_left_is_kept_as_paused(running: BackgroundScheduler) -> None:
    """As upstream: it has no next run time."""
    over = datetime.now(UTC) - timedelta(days=1)

    running.add_job(functions.plain, "interval", hours=1, id="job", end_date=over)

    assert running.get_job("job").next_run_time is None


def test_all_jobs_of_a_running_scheduler(running: BackgroundScheduler) -> None:
    """They are listed, printed, and removed at once; another store's jobs are not touched."""
    running.add_jobstore(MemoryJobStore(), "other")
    for name in ("a", "b"):
        running.add_job(functions.plain, "date", run_date=NOON, id=name, name=f"name of {name}")
    running.add_job(functions.plain, "date", run_date=NOON, id="c", jobstore="other")
    printed = io.StringIO()

    listed = ids(running.get_jobs("default"))
    running.print_jobs("default", out=printed)
    running.remove_all_jobs("default")

    assert listed == ["a", "b"]
    assert "name of a (trigger: date[" in printed.getvalue()
    assert ids(running.get_jobs()) == ["c"]


def test_a_store_is_added_to_and_removed_from_a_running_scheduler(
    store: BaseJobStore, scheduler: BackgroundScheduler
) -> None:
    """It is started with its alias at once, and shut down when it is removed."""
    scheduler.start(paused=True)

    scheduler.add_jobstore(store, "late")
    scheduler.add_job(functions.plain, "date", run_date=NOON, id="job", jobstore="late")
    found = scheduler.get_job("job")
    scheduler.remove_jobstore("late")

    assert found._jobstore_alias == "late"
    assert scheduler.get_job("job") is None


# Where a database differs


def test_the_jobs_in_a_database_outlive_the_scheduler(scheduler: BackgroundScheduler) -> None:
    """A second scheduler finds what the first one stored."""
    scheduler.add_jobstore(DjangoJobStore())
    scheduler.start(paused=True)
    job = scheduler.add_job(functions.plain, "date", run_date=NOON, args=[1], id="job")
    scheduler.shutdown()
    second = BackgroundScheduler(jobstores={"default": DjangoJobStore()}, timezone="UTC")

    second.start(paused=True)
    found = second.get_job("job")
    second.shutdown()

    assert attributes(found) == attributes(job)


def test_the_store_has_its_alias_among_apschedulers(scheduler: BackgroundScheduler) -> None:
    """`add_jobstore("django")` and a configuration as a dict need no import."""
    scheduler.add_jobstore("django", "one", serializer="pickle")

    configured = BackgroundScheduler({"apscheduler.jobstores.default": {"type": "django"}})

    assert isinstance(scheduler._jobstores["one"], DjangoJobStore)
    assert scheduler._jobstores["one"].serializer == "pickle"
    assert isinstance(configured._jobstores["default"], DjangoJobStore)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"id": "x" * 256}, "256 characters"),
        ({"id": "NUL \0"}, "NUL"),
        ({"id": "half \ud800"}, "surrogate"),
        ({"name": "x" * 256}, "name of job 'job' has 256 characters"),
        ({"name": "NUL \0"}, "name of job 'job' contains a NUL"),
        ({"executor": "x" * 256}, "executor of job 'job' has 256"),
        ({"misfire_grace_time": 2**31}, "misfire_grace_time"),
        ({"max_instances": 2**31}, "max_instances"),
        ({"args": (object(),)}, r"args\[0\]|'args'"),
        ({"kwargs": {"key": object()}}, "'key'"),
        ({"args": ("x" * 9_000_000,)}, "9,0"),
        ({"next_run_time": datetime.max.replace(tzinfo=ZONE)}, "9999"),
        ({"next_run_time": datetime.min.replace(tzinfo=ZoneInfo("Asia/Tokyo"))}, "9999"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_a_database_cannot_keep_is_refused(
    database_store: DjangoJobStore,
    scheduler: BackgroundScheduler,
    options: dict[str, Any],
    complaint: str,
) -> None:
    """The error says what it is; nothing is cut, and nothing is stored."""
    with pytest.raises(InvalidJobError, match=complaint) as refusal:
        database_store.add_job(a_job(scheduler, **options))

    assert isinstance(refusal.value, InvalidJobIdError) == ("id" in options)
    assert not DjangoJob.objects.exists()


def test_an_argument_is_named_by_its_parameter(
    database_store: DjangoJobStore, scheduler: BackgroundScheduler
) -> None:
    """The reader of the error need not count positions."""
    job = a_job(scheduler, func=functions.Greeter.shout, args=(object(),))

    with pytest.raises(UnserializableArgumentError, match="argument 'name'"):
        database_store.add_job(job)


def test_a_pickle_of_somebody_else_is_never_loaded(
    scheduler: BackgroundScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    """A row whose pickle was not signed here is set aside without running a byte of it."""
    store = DjangoJobStore(serializer="pickle")
    store.start(scheduler, "main")
    store.add_job(a_job(scheduler, args=({1, 2},)))
    forged = {"$type": "pickle", "value": f"{pickle.dumps(Bomb())!r}:signature"}
    DjangoJob.objects.update(args=[forged])

    due = store.get_due_jobs(NOON)

    row = DjangoJob.objects.get()
    assert due == []
    assert row.status == DjangoJob.Status.QUARANTINED
    assert "SECRET_KEY" in row.error
    assert "Quarantined" in caplog.text
    store.shutdown()


class Bomb:
    """Its unpickling would fail the test."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("a forged pickle was loaded",)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_contract_holds_without_time_zone_support(database: Vendor, tmp_path: Path) -> None:
    """The same suite, in a child process, with USE_TZ off and a local TIME_ZONE."""
    if not django_settings.USE_TZ:
        pytest.skip("this is the child process")
    environment = {key: value for key, value in os.environ.items() if key != "TEST_TALLY"}
    environment |= {
        "TEST_DATABASE": database,
        "TEST_ROUND": "first",
        "TEST_RUN_ID": f"{os.environ['TEST_RUN_ID']}_naive",
        "TEST_DIRECTORY": str(tmp_path),
        "TEST_USE_TZ": "0",
        "TEST_TIME_ZONE": "Europe/Berlin",
    }
    here = Path(__file__)
    modules = [here, *(here.with_name(f"test_{name}.py") for name in ALSO_WITHOUT_ZONES)]

    child = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *map(str, modules)],
        cwd=here.parents[2],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )

    assert child.returncode == 0, child.stdout[-5000:]


ALSO_WITHOUT_ZONES = ("jobstore_siblings", "model_api", "declarations", "lanes")
"""Further modules whose tests must hold there."""
