"""What a deploy does to the rows of declared jobs, and what it leaves alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections
from django.test import modify_settings, override_settings
from django.test.utils import CaptureQueriesContext

from async_apscheduler.engine.runner import Runner
from async_apscheduler.exceptions import (
    InvalidJobError,
    InvalidJobIdError,
    InvalidTriggerError,
    ReferenceNotAllowedError,
    UnserializableArgumentError,
)
from async_apscheduler.models import DjangoJob, DjangoJobExecution, JobChange, Reason, Status
from async_apscheduler.models import declarations as declarations_module
from async_apscheduler.models.declarations import CODE, Synchronised, synchronise
from async_apscheduler.registry import Declaration, Registry, job, registry, scheduled_job
from tests.databases import Vendor
from tests.integration.conftest import Start, finished_run
from tests.support import await_until, committed_data, wait_until
from tests.testapp import functions
from tests.testapp.triggers import Slotted

pytestmark = [
    pytest.mark.django_db(databases=["default", "other"]),
    pytest.mark.usefixtures("versions_from_1"),
]

NOON = datetime(2031, 5, 17, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEEK = timedelta(weeks=1)
NOTHING = Synchronised()

Code = Callable[[], object]


@pytest.fixture(autouse=True)
def code() -> Iterator[Registry]:
    """Begin without declarations."""
    with registry.isolated() as declared:
        yield declared


def deploy(*code: Code) -> Synchronised:
    """Start the program with this code: what was declared before is forgotten."""
    return synchronise(declarations(*code))


def declarations(*code: Code) -> list[Declaration]:
    """Return what this code declares, and nothing else."""
    registry.clear()
    for declare in code:
        declare()
    return registry.declarations()


def hourly(id: str = "job", **options: Any) -> Code:
    """Return code that declares a job for every hour."""
    return lambda: scheduled_job("interval", id=id, **{"hours": 1, **options})(functions.plain)


def declared(trigger: Any, *args: Any, id: str = "job", **options: Any) -> Code:
    """Return code that declares a job with any trigger."""
    return lambda: scheduled_job(trigger, *args, id=id, **options)(functions.plain)


def row(job_id: str = "job") -> DjangoJob:
    """Return the row of a job."""
    found: DjangoJob = DjangoJob.objects.get(pk=job_id)
    return found


# Added


OPTIONS: dict[str, Any] = {
    "name": "Every hour",
    "executor": "other",
    "coalesce": False,
    "max_instances": 2,
    "misfire_grace_time": 3,
    "timeout": 4.5,
    "max_attempts": 5,
    "retry_delay": 6.5,
    "retry_on_lost": True,
}
"""Each option that a column keeps as it is."""


def test_a_new_declaration_becomes_a_job() -> None:
    """With what the code says, scheduled from now on, and a line in the audit trail."""
    done = deploy(hourly(args=[1], kwargs={"key": 2}, **OPTIONS))

    added = row()
    assert done == Synchronised(added=["job"])
    assert (added.source, added.status, added.version) == ("declared", "scheduled", 1)
    assert (added.func, added.args, added.kwargs) == (
        "tests.testapp.functions:plain",
        [1],
        {"key": 2},
    )
    assert {name: getattr(added, name) for name in OPTIONS} == OPTIONS
    assert added.next_run_time is not None
    assert timedelta(0) < added.next_run_time - datetime.now(UTC) <= HOUR
    change = JobChange.objects.get()
    assert (change.job_id, change.action, change.changed_by) == ("job", "added", CODE)


def test_a_declaration_may_begin_paused_or_at_a_time() -> None:
    """`next_run_time` says so for the first time only."""
    code = [hourly("paused", next_run_time=None), hourly("later", next_run_time=NOON)]
    deploy(*code)
    began = [row("paused").status, row("later").status]
    row("paused").resume()
    resumed = row("paused").next_run_time

    done = deploy(*code)

    assert began == ["paused", "scheduled"]
    assert done == NOTHING
    assert row("paused").next_run_time == resumed
    assert row("later").next_run_time == NOON


def test_the_options_of_job_count_where_the_declaration_gives_none() -> None:
    """And JOB_DEFAULTS where @job gives none either."""

    def both() -> None:
        job(timeout=7, max_instances=2)(functions.coroutine)
        scheduled_job("interval", hours=1, id="job", max_instances=4)(functions.coroutine)

    with override_settings(ASYNC_APSCHEDULER={"JOB_DEFAULTS": {"misfire_grace_time": 9}}):
        deploy(both)

    added = row()
    assert (added.timeout, added.max_instances, added.misfire_grace_time) == (7.0, 4, 9)


def test_a_job_carries_the_environment_of_the_settings() -> None:
    """So that only nodes of that environment run it."""
    with override_settings(ASYNC_APSCHEDULER={"ENVIRONMENT": "staging"}):
        deploy(hourly())

    assert row().environment == "staging"


# Unchanged

SAME_EACH_TIME: dict[str, Callable[[], Code]] = {
    "interval": lambda: declared("interval", hours=1),
    "interval with a zone": lambda: declared("interval", hours=1, timezone=ZoneInfo("Asia/Tokyo")),
    "interval with a start": lambda: declared("interval", hours=1, start_date=NOON),
    "interval object": lambda: declared(IntervalTrigger(hours=1)),
    "calendar interval": lambda: declared("calendarinterval", days=2),
    "calendar interval object": lambda: declared(CalendarIntervalTrigger(days=2)),
    "cron": lambda: declared("cron", hour=3, timezone=ZoneInfo("Europe/Helsinki")),
    "crontab": lambda: declared("crontab", "30 3 * * mon-fri", timezone="Europe/Helsinki"),
    "or": lambda: declared(
        "or", triggers=[IntervalTrigger(hours=1), CronTrigger(hour=3, timezone="UTC")]
    ),
    "or object": lambda: declared(
        OrTrigger([IntervalTrigger(hours=1), CronTrigger(hour=3, timezone="UTC")])
    ),
}


@pytest.mark.parametrize("kind", SAME_EACH_TIME)
def test_a_start_with_the_same_code_changes_nothing(kind: str) -> None:
    """An interval without a start is not put off at each start; nothing is written."""
    deploy(SAME_EACH_TIME[kind]())
    DjangoJob.objects.update(next_run_time=datetime.now(UTC) - HOUR)
    before = DjangoJob.objects.values().get()

    done = deploy(SAME_EACH_TIME[kind]())

    assert done == NOTHING
    assert DjangoJob.objects.values().get() == before
    assert JobChange.objects.count() == 1


def a_week_older(trigger: dict[str, Any]) -> dict[str, Any]:
    """Return a trigger as the program would have written it a week ago."""
    if "triggers" in trigger:
        return {**trigger, "triggers": [a_week_older(part) for part in trigger["triggers"]]}
    if "start_date" not in trigger:
        return trigger
    kind = datetime if trigger["type"] == "interval" else date
    start = kind.fromisoformat(trigger["start_date"]) - WEEK
    return {**trigger, "start_date": start.isoformat()}


@pytest.mark.parametrize(
    "kind",
    [
        "interval",
        "interval object",
        "calendar interval",
        "calendar interval object",
        "or",
        "or object",
    ],
)
def test_a_start_that_the_code_does_not_give_stays_that_of_the_first_deploy(kind: str) -> None:
    """However long ago that was."""
    deploy(SAME_EACH_TIME[kind]())
    aged = row()
    aged.trigger = a_week_older(aged.trigger)
    aged.declaration["trigger"] = a_week_older(aged.declaration["trigger"])
    aged.declaration_digest = ""
    aged.save()

    done = deploy(SAME_EACH_TIME[kind]())

    assert done == NOTHING
    assert row().trigger == aged.trigger
    assert row().next_run_time == aged.next_run_time


def test_two_hundred_unchanged_jobs_cost_one_query() -> None:
    """Which reads."""
    code = [hourly(f"job-{number}") for number in range(200)]
    deploy(*code)

    with CaptureQueriesContext(connections["default"]) as queries:
        done = deploy(*code)

    assert done == NOTHING
    assert [query["sql"].split()[0] for query in queries] == ["SELECT"]


def test_unchanged_jobs_are_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the words are those of last time is enough; 100,000 jobs would take ten seconds."""
    code = [hourly("one", args=[1]), hourly("two", timeout=5), declared("crontab", "0 3 * * *")]
    deploy(*code)
    monkeypatch.setattr(declarations_module, "DeclaredJob", None)

    assert deploy(*code) == NOTHING


def stored_digests() -> dict[str, str]:
    """Return the digest of each job."""
    return dict(DjangoJob.objects.values_list("pk", "declaration_digest"))


def test_a_digest_of_other_rules_is_replaced_and_nothing_else() -> None:
    """As after an upgrade: the words mean the same, but that had to be found out."""
    code = [hourly(f"job-{number}") for number in range(3)]
    deploy(*code)
    before = list(DjangoJob.objects.order_by("pk").values())
    DjangoJob.objects.exclude(pk="job-1").update(declaration_digest="of another version")

    done = deploy(*code)

    assert done == NOTHING
    assert list(DjangoJob.objects.order_by("pk").values()) == before
    assert JobChange.objects.count() == 3


def test_a_digest_is_not_given_to_what_other_code_has_changed_meanwhile() -> None:
    """Else this code would later take the other one's words for its own."""
    code = [hourly("mine"), hourly("theirs")]
    deploy(*code)
    DjangoJob.objects.update(declaration_digest="")
    theirs = DjangoJob.objects.filter(pk="theirs")
    changed: list[int] = []

    def change_after_the_look(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("UPDATE") and not changed:
            changed.append(0)
            changed[0] = theirs.update(declaration={}, declaration_digest="theirs")
        return execute(sql, *args)

    with connections["default"].execute_wrapper(change_after_the_look):
        done = deploy(*code)

    assert (done, changed) == (NOTHING, [1])
    assert len(stored_digests()["mine"]) == 32
    assert stored_digests()["theirs"] == "theirs"


def test_what_has_no_digest_is_compared_each_time() -> None:
    """A trigger object may hide anything; so may a moment, or an argument of a class."""
    deploy(declared(CronTrigger(hour=3, timezone="UTC")))
    assert stored_digests() == {"job": ""}

    assert deploy(declared(CronTrigger(hour=3, timezone="UTC"))) == NOTHING
    assert deploy(declared(CronTrigger(hour=4, timezone="UTC"))) == Synchronised(changed=["job"])
    assert deploy(declared("cron", hour=4, timezone="UTC")) == NOTHING
    assert len(stored_digests()["job"]) == 32


def test_a_fire_that_passes_while_many_jobs_are_added_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the declaration means is then found out twice, before and after it."""
    monkeypatch.setattr(declarations_module, "MAX_KEPT", 0)
    soon = datetime.now(UTC) + timedelta(seconds=1)

    def wait_before_the_write(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("UPDATE"):
            wait_until(lambda: datetime.now(UTC) > soon)
        return execute(sql, *args)

    with connections["default"].execute_wrapper(wait_before_the_write):
        done = deploy(declared("date", run_date=soon))

    assert done == Synchronised(added=["job"])
    assert row().next_run_time == soon


def test_a_process_of_the_former_version_can_still_add_jobs() -> None:
    """While a deploy goes on: it does not know that jobs have a digest."""
    deploy(hourly())
    quote = connections["default"].ops.quote_name
    columns = [
        quote(field.column)
        for field in DjangoJob._meta.concrete_fields
        if field.name not in ("id", "declaration_digest")
    ]
    names = ", ".join(columns)

    with connections["default"].cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {quote(TABLE)} (id, {names}) SELECT 'theirs', {names} FROM {quote(TABLE)}"
        )

    assert stored_digests()["theirs"] == ""


def test_many_jobs_are_added_changed_and_removed_part_by_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many there are, and whatever part of them is in memory."""
    for name, limit in {"PAGE": 5, "BATCH": 2, "MAX_KEPT": 3}.items():
        monkeypatch.setattr(declarations_module, name, limit)
    before = [hourly(f"job-{number:02}") for number in range(16)]
    after = [
        *(hourly(f"job-{number:02}") for number in range(4, 10)),
        *(hourly(f"job-{number:02}", args=[number]) for number in range(10, 16)),
        *(hourly(f"job-{number:02}") for number in range(16, 22)),
    ]

    first, second, third = deploy(*before), deploy(*after), deploy(*after)

    ids = [f"job-{number:02}" for number in range(22)]
    assert first == Synchronised(added=ids[:16])
    assert second == Synchronised(added=ids[16:], changed=ids[10:16], removed=ids[:4])
    assert third == NOTHING
    assert list(DjangoJob.objects.order_by("pk").values_list("pk", flat=True)) == ids[4:]
    assert JobChange.objects.count() == 16 + 6 + 6 + 4
    assert [row(job_id).args for job_id in ids[9:17]] == [[], *([n] for n in range(10, 16)), []]


def test_a_set_as_an_argument_is_no_change() -> None:
    """Its members may come in another order in each process."""
    one, other = [0, 8, 16], [16, 8, 0]
    assert list(set(one)) != list(set(other))

    deploy(hourly(kwargs={"numbers": set(one)}))
    done = deploy(hourly(kwargs={"numbers": set(other)}))

    assert done == NOTHING


def test_a_pause_and_a_pending_run_survive_a_deploy() -> None:
    """Who paused a job has not changed their mind; a run that was due is still due."""
    due = datetime.now(UTC) - HOUR
    deploy(hourly("paused"), hourly("due"))
    row("paused").pause()
    DjangoJob.objects.filter(pk="due").update(next_run_time=due)

    changed = {**OPTIONS, "args": [1], "kwargs": {"key": 2}}
    done = deploy(hourly("paused", **changed), hourly("due", **changed))

    assert sorted(done.changed) == ["due", "paused"]
    assert (row("paused").status, row("paused").next_run_time) == ("paused", None)
    assert (row("due").status, row("due").next_run_time) == ("scheduled", due)
    assert row("paused").args == row("due").args == [1]


# Changed


def test_only_what_changed_in_the_code_is_written() -> None:
    """An edit made elsewhere, of something else, survives."""
    deploy(hourly(name="By the code", args=[1]))
    DjangoJob.objects.update(name="By the admin", max_instances=7)

    done = deploy(hourly(name="By the code", args=[2]))

    changed = row()
    assert done == Synchronised(changed=["job"])
    assert (changed.args, changed.name, changed.max_instances) == ([2], "By the admin", 7)
    assert changed.version == 3
    change = JobChange.objects.latest("pk")
    assert (change.action, change.changed_by) == ("changed", CODE)
    assert (change.before, change.after) == ({"args": [1]}, {"args": [2]})


def test_an_edit_of_the_trigger_survives_until_the_code_changes_it() -> None:
    """Then the code counts again, as for all else."""
    deploy(hourly())
    row().reschedule("cron", hour=3)

    deploy(hourly(args=[1]))
    kept = row().trigger
    deploy(hourly(args=[1], hours=2))

    assert kept["type"] == "cron"
    assert row().trigger["hours"] == 2


def test_a_new_trigger_gives_a_new_next_run_time() -> None:
    """But a paused job stays paused, with the new trigger for the day that it is resumed."""
    deploy(hourly("running"), hourly("paused"))
    row("paused").pause()

    done = deploy(
        declared("date", run_date=NOON, id="running"), declared("date", run_date=NOON, id="paused")
    )

    assert sorted(done.changed) == ["paused", "running"]
    assert row("running").next_run_time == NOON
    assert (row("paused").status, row("paused").next_run_time) == ("paused", None)
    assert row("paused").trigger["type"] == "date"


def test_a_run_that_was_due_is_still_due_under_a_new_trigger() -> None:
    """What a deploy has made late is not forgotten because the deploy changes when it is next."""
    due = datetime.now(UTC) - HOUR / 4
    deploy(hourly())
    DjangoJob.objects.update(next_run_time=due)

    deploy(hourly(hours=2))

    assert row().trigger["hours"] == 2
    assert row().next_run_time == due


def test_another_start_of_an_interval_is_a_change() -> None:
    """A start that is given counts, unlike one that is not."""
    deploy(hourly(start_date=NOON))

    done = deploy(hourly(start_date=NOON + HOUR))

    assert done == Synchronised(changed=["job"])
    assert row().next_run_time == NOON + HOUR


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            IntervalTrigger(hours=1, start_date=NOON, timezone=UTC),
            IntervalTrigger(hours=1, start_date=NOON + HOUR, timezone=UTC),
        ),
        (
            CalendarIntervalTrigger(days=2, start_date=NOON.date(), timezone=UTC),
            CalendarIntervalTrigger(days=2, start_date=(NOON + WEEK).date(), timezone=UTC),
        ),
        (
            OrTrigger([IntervalTrigger(hours=1, start_date=NOON, timezone=UTC)]),
            OrTrigger([IntervalTrigger(hours=1, start_date=NOON + HOUR, timezone=UTC)]),
        ),
    ],
    ids=["interval", "calendarinterval", "or"],
)
def test_another_start_of_a_trigger_object_is_a_change(old: Any, new: Any) -> None:
    """Although the object does not tell whether it was given one."""
    deploy(declared(old))
    before = row().next_run_time

    done = deploy(declared(new))

    assert done == Synchronised(changed=["job"])
    assert row().next_run_time > before


def test_what_somebody_has_edited_to_what_the_code_says_now_is_no_change() -> None:
    """The next run stays, too: whoever rescheduled the job got it right."""
    deploy(hourly(max_instances=1))
    row().reschedule("interval", hours=2)
    DjangoJob.objects.update(max_instances=3)
    edited = DjangoJob.objects.values("trigger", "next_run_time", "version").get()
    deployment = hourly(hours=2, max_instances=3)

    done = deploy(deployment)
    kept = DjangoJob.objects.values("trigger", "next_run_time", "version").get()
    DjangoJob.objects.update(max_instances=4)
    again = deploy(deployment)

    assert (done, again) == (NOTHING, NOTHING)
    assert kept == edited
    assert row().max_instances == 4
    assert [change.action for change in JobChange.objects.order_by("pk")] == ["added", "changed"]


def test_an_option_that_left_the_code_goes_back_to_its_default() -> None:
    """What the code does not say any more is not in force any more."""
    deploy(hourly(timeout=5, max_attempts=3, misfire_grace_time=60, name="A name"))

    deploy(hourly())

    changed = row()
    assert (changed.timeout, changed.max_attempts) == (None, 1)
    assert (changed.misfire_grace_time, changed.name) == (None, "plain")


def test_a_default_of_the_settings_that_changed_reaches_the_jobs() -> None:
    """The settings are code, too."""
    deploy(hourly())

    with override_settings(ASYNC_APSCHEDULER={"JOB_DEFAULTS": {"max_instances": 3}}):
        done = deploy(hourly())

    assert done == Synchronised(changed=["job"])
    assert row().max_instances == 3


def test_another_time_zone_in_the_settings_reaches_the_triggers_that_name_none() -> None:
    """Three in the morning is another moment there."""
    deploy(declared("cron", hour=3))
    before = row().next_run_time

    with override_settings(ASYNC_APSCHEDULER={"TIME_ZONE": "Asia/Tokyo"}):
        done = deploy(declared("cron", hour=3))

    assert done == Synchronised(changed=["job"])
    assert row().trigger["timezone"] == "Asia/Tokyo"
    assert row().next_run_time != before


def test_another_function_under_the_same_id_is_a_change() -> None:
    """The job, its schedule and its history go on with the new function."""
    deploy(hourly())
    before = row().next_run_time

    deploy(lambda: scheduled_job("interval", hours=1, id="job")(functions.coroutine))

    assert row().func == "tests.testapp.functions:coroutine"
    assert row().next_run_time == before


def test_a_function_that_moved_gives_a_job_that_was_set_aside_another_try() -> None:
    """The code names it where it is now."""
    deploy(hourly())
    lost = row()
    lost.func = lost.declaration["func"] = "tests.testapp.functions:moved_away"
    lost.declaration_digest = ""
    lost.save()
    DjangoJob.objects.quarantine(lost, "its function is gone")

    done = deploy(hourly())

    assert done == Synchronised(changed=["job"])
    assert (row().status, row().func) == ("scheduled", "tests.testapp.functions:plain")


def test_a_job_that_was_set_aside_stays_so_without_a_change() -> None:
    """Its error is for people to see; the schedulers look after it."""
    deploy(hourly())
    DjangoJob.objects.quarantine(row(), "its function is gone")

    done = deploy(hourly())

    assert done == NOTHING
    assert (row().status, row().error) == ("quarantined", "its function is gone")


def test_a_change_gives_a_job_that_was_set_aside_another_try() -> None:
    """With the next run time that it was set aside with, or paused if it was paused."""
    deploy(hourly("due"), hourly("paused"))
    row("paused").pause()
    due = row("due").next_run_time
    for name in ("due", "paused"):
        DjangoJob.objects.quarantine(row(name), "its function is gone")

    deploy(hourly("due", args=[1]), hourly("paused", args=[1]))

    assert (row("due").status, row("due").next_run_time) == ("scheduled", due)
    assert (row("paused").status, row("paused").next_run_time) == ("paused", None)
    assert (row("due").error, row("due").held_run_time) == ("", None)


# Over

SOON = timedelta(seconds=1)
"""Longer than a deploy may take on a busy machine, for a moment that must still lie ahead."""


def test_a_date_that_has_passed_gets_no_row() -> None:
    """Nobody can tell whether it ran before its row went, and a repeated run may do harm."""
    done = deploy(declared("date", run_date=datetime.now(UTC) - HOUR))

    assert done == Synchronised(over=["job"])
    assert not DjangoJob.objects.exists()
    assert not JobChange.objects.exists()


def test_a_date_that_passed_during_the_deploy_is_still_due() -> None:
    """Its row says that it has not run; one whose row has gone with its run is not repeated."""
    soon = datetime.now(UTC) + SOON
    code = declared("date", run_date=soon)
    deploy(code)
    wait_until(lambda: datetime.now(UTC) > soon)

    during = deploy(code)
    still_due = row().next_run_time
    DjangoJob.objects.all().delete()
    after = deploy(code)

    assert (during, still_due) == (NOTHING, soon)
    assert after == Synchronised(over=["job"])


@pytest.mark.parametrize(
    "code",
    [
        hourly(start_date="2001-01-01", end_date="2002-01-01"),
        hourly(end_date="2002-01-01"),
        hourly(end_date="2002-01-01", next_run_time=None),
        hourly(end_date="2002-01-01", next_run_time=datetime(2001, 1, 1, tzinfo=UTC)),
        declared("cron", year=2020),
        declared("cron", hour=3, end_date="2002-01-01"),
        declared("crontab", "30 3 * * *", end_date="2002-01-01"),
        declared("calendarinterval", days=1, end_date=date(2002, 1, 1)),
        declared(Slotted(datetime(2001, 1, 1, tzinfo=UTC))),
        declared(OrTrigger([CronTrigger(year=2020), DateTrigger(datetime(2021, 1, 1))])),
        declared("and", triggers=[CronTrigger(year=2020, hour=3), CronTrigger(hour=3)]),
    ],
    ids=[
        "interval",
        "interval without a start",
        "paused",
        "begun",
        "cron",
        "cron with an end",
        "crontab",
        "calendarinterval",
        "own class",
        "or",
        "and",
    ],
)
def test_a_declaration_without_a_fire_left_adds_nothing(code: Code) -> None:
    """An end that has passed is no mistake in code that ran for years, and no paused job."""
    done = deploy(code)

    assert done == Synchronised(over=["job"])
    assert not DjangoJob.objects.exists()


def test_dates_that_have_passed_are_left_out_of_those_that_come() -> None:
    """A job that also fires later begins with its first fire ahead."""
    passed, cron = DateTrigger(datetime(2021, 1, 1, tzinfo=UTC)), CronTrigger(hour=3)

    done = deploy(declared("or", triggers=[passed, cron]))

    assert done == Synchronised(added=["job"])
    assert row().next_run_time > datetime.now(UTC)


def test_a_date_without_a_time_is_due_at_each_start() -> None:
    """Once: while its row is there it waits, and after its run the next start adds it again."""
    first = deploy(declared("date"))
    added = row()
    second = deploy(declared("date"))
    kept = row()
    kept.delete()
    third = deploy(declared("date"))

    assert (first, second, third) == (
        Synchronised(added=["job"]),
        NOTHING,
        Synchronised(added=["job"]),
    )
    assert kept.next_run_time == added.next_run_time <= datetime.now(UTC)


def test_the_last_run_stays_due_while_something_else_changes() -> None:
    """The end of an interval may pass while no scheduler is there."""
    end = datetime.now(UTC) + SOON
    words: dict[str, Any] = {"seconds": 0.9, "hours": 0, "end_date": end}
    deploy(hourly(**words))
    due = row().next_run_time
    wait_until(lambda: datetime.now(UTC) > end)

    done = deploy(hourly(max_instances=2, **words))

    assert done == Synchronised(changed=["job"])
    assert (row().status, row().next_run_time, row().max_instances) == ("scheduled", due, 2)


@committed_data
async def test_a_date_is_not_repeated_after_its_history_was_pruned(start: Start) -> None:
    """Its row went with its run; nothing else need tell that it ran."""
    code = declared("date", run_date=datetime.now(UTC) + SOON)
    await sync_to_async(deploy)(code)
    await start()
    await finished_run("job")

    async def has_gone() -> bool:
        return not await DjangoJob.objects.aexists()

    await await_until(has_gone)
    await DjangoJobExecution.objects.all().adelete()
    done = await sync_to_async(deploy)(code)

    assert done == Synchronised(over=["job"])
    assert await has_gone()


@committed_data
async def test_the_scheduler_says_which_declarations_are_over() -> None:
    """In the line of its start, since nothing in the admin does."""
    declarations(declared("cron", year=2020, id="once upon a time"))
    lines: list[str] = []
    runner = Runner(lines.append)

    running = asyncio.create_task(runner.run())
    await await_until(lambda: lines)
    runner.stop()
    await running

    assert "over: once upon a time" in lines[0]


def test_a_paused_job_outlives_a_trigger_without_a_fire_left() -> None:
    """Somebody has paused it, and may wait for the trigger to come."""
    deploy(hourly())
    row().pause()

    done = deploy(declared("cron", year=2020))

    assert done == Synchronised(changed=["job"])
    assert (row().status, row().trigger["type"]) == ("paused", "cron")


def test_a_new_trigger_without_a_fire_left_ends_the_job() -> None:
    """As if it had left the code; its history stays."""
    deploy(hourly())
    DjangoJobExecution.objects.create(job_id="job", run_time=NOON, status=Status.SUCCEEDED)

    done = deploy(declared("cron", year=2020))

    assert done == Synchronised(over=["job"])
    assert not DjangoJob.objects.exists()
    assert DjangoJobExecution.objects.exists()
    assert JobChange.objects.latest("pk").action == "removed"


# Removed, and not ours


def test_a_job_that_left_the_code_goes_and_its_history_stays() -> None:
    """With a line in the audit trail; the other jobs are not touched."""
    deploy(hourly("gone"), hourly("stays"))
    DjangoJobExecution.objects.create(job_id="gone", run_time=NOON, status=Status.SUCCEEDED)

    done = deploy(hourly("stays"))

    assert done == Synchronised(removed=["gone"])
    assert DjangoJob.objects.get().pk == "stays"
    assert DjangoJobExecution.objects.get().job_id == "gone"
    change = JobChange.objects.latest("pk")
    assert (change.job_id, change.action, change.changed_by) == ("gone", "removed", CODE)
    assert change.before["trigger"]["hours"] == 1


def test_a_run_that_waits_goes_with_its_job() -> None:
    """A job that comes back under the same id must not inherit it."""
    deploy(hourly())
    run = row().run()

    deploy()

    run.refresh_from_db()
    assert (run.status, run.reason) == (Status.CANCELLED, Reason.REMOVED)


def test_a_run_that_was_due_leaves_a_row_when_its_job_leaves_the_code() -> None:
    """The history says why it was none; a job that is paused or not yet due leaves nothing."""
    due = datetime.now(UTC) - HOUR
    deploy(hourly("due"), hourly("later"), hourly("paused"))
    DjangoJob.objects.filter(pk="due").update(next_run_time=due)
    row("paused").pause()

    deploy()

    run = DjangoJobExecution.objects.get()
    assert (run.job_id, run.run_time) == ("due", due)
    assert (run.status, run.reason) == (Status.CANCELLED, Reason.REMOVED)


def test_jobs_of_other_sources_are_never_touched() -> None:
    """Neither when the code declares nothing, nor when it declares their id."""
    for source in (DjangoJob.Source.API, DjangoJob.Source.ADMIN):
        DjangoJob.objects.schedule(functions.coroutine, "interval", hours=5, id=source)
        DjangoJob.objects.filter(pk=source).update(source=source)
    before = list(DjangoJob.objects.values())

    nothing = deploy()
    conflicting = deploy(hourly("api"), hourly("admin"), hourly("mine"))

    assert nothing == NOTHING
    assert sorted(conflicting.conflicting) == ["admin", "api"]
    assert (conflicting.added, conflicting.changed, conflicting.removed) == (["mine"], [], [])
    assert list(DjangoJob.objects.exclude(pk="mine").values()) == before


def test_jobs_of_another_environment_are_never_touched() -> None:
    """A copied production database stays what it is, whatever the staging code declares."""
    with override_settings(ASYNC_APSCHEDULER={"ENVIRONMENT": "production"}):
        deploy(hourly("job"), hourly("other"))
    before = list(DjangoJob.objects.values())

    with override_settings(ASYNC_APSCHEDULER={"ENVIRONMENT": "staging"}):
        done = deploy(hourly("job", hours=2))

    assert done == Synchronised(conflicting=["job"])
    assert list(DjangoJob.objects.values()) == before


# Refused


@pytest.mark.parametrize(
    ("bad", "error", "complaint"),
    [
        (hourly("bad", args=[object()]), UnserializableArgumentError, "object"),
        (hourly("bad", seconds=0.001, hours=0), InvalidTriggerError, "too short"),
        (declared("cron", id="bad", month=2, day=30), InvalidTriggerError, "never fire"),
        (declared("intervall", id="bad", hours=1), InvalidTriggerError, "'interval'"),
        (hourly("bad", huors=1), InvalidTriggerError, "hours"),
        (declared("date", id="bad", run_date="soon"), InvalidTriggerError, "date"),
        (
            lambda: scheduled_job("interval", hours=1, id="bad", args=["x"])(textwrap.dedent),
            ReferenceNotAllowedError,
            "ALLOWED_MODULES",
        ),
        (hourly("x" * 256), InvalidJobIdError, "256 characters"),
        (hourly("bad", max_instances=2**31), InvalidJobError, "max_instances"),
        (
            lambda: scheduled_job("interval", hours=1, id="bad")(functions.Greeter.shout),
            InvalidJobError,
            "name",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_declaration_changes_nothing(
    bad: Code, error: type[Exception], complaint: str
) -> None:
    """The error names the job and its function; good declarations beside it wait as well."""
    deploy(hourly("changed"), hourly("removed"))
    before = list(DjangoJob.objects.order_by("pk").values())

    with pytest.raises(error, match=complaint) as refusal:
        deploy(hourly("added"), hourly("changed", args=[1]), bad)

    assert "declared for " in str(refusal.value)
    assert list(DjangoJob.objects.order_by("pk").values()) == before
    assert JobChange.objects.count() == 2


# Many at once


TABLE = DjangoJob._meta.db_table


def at_once(*code: list[Declaration]) -> list[Synchronised]:
    """Synchronise each list in a thread of its own; all have looked before the first one writes."""
    barrier = threading.Barrier(len(code))

    def one(declared: list[Declaration]) -> Synchronised:
        looks: list[str] = []

        def wait_after_the_first_look(execute: Any, sql: str, *args: Any) -> Any:
            answer = execute(sql, *args)
            if TABLE in sql and not looks:
                looks.append(sql)
                barrier.wait(20)
            return answer

        try:
            with connections["default"].execute_wrapper(wait_after_the_first_look):
                return synchronise(declared)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(code)) as threads:
        return list(threads.map(one, code))


@committed_data
def test_nodes_that_start_together_agree() -> None:
    """Each succeeds, on SQLite at Django's defaults too; one of them does each thing, once."""
    deploy(hourly("gone"), hourly("changed"), hourly("same"))
    new = declarations(hourly("changed", args=[1]), hourly("same"))

    results = at_once(*[new] * 6)

    done = [result for result in results if result != NOTHING]
    assert [name for result in done for name in result.changed] == ["changed"]
    assert [name for result in done for name in result.removed] == ["gone"]
    assert sorted(DjangoJob.objects.values_list("pk", "version")) == [
        ("changed", 2),
        ("same", 1),
    ]
    assert JobChange.objects.count() == 3 + 2


@committed_data
def test_nodes_that_start_together_for_the_first_time_agree() -> None:
    """Then there is no row yet that one could lock against the other."""
    code = [hourly(f"job-{number}") for number in range(600)]
    first, second = declarations(*code), declarations(*reversed(code))

    results = at_once(first, second, first, second)

    added = [name for result in results for name in result.added]
    assert sorted(added) == sorted(declaration.id for declaration in first)
    assert DjangoJob.objects.count() == JobChange.objects.count() == 600


@committed_data
def test_nodes_with_old_and_new_code_keep_what_both_declare() -> None:
    """Whoever comes last has the last word on the rest; the common rows are never made anew."""
    both = [hourly(f"both-{number}") for number in range(5)]
    old = declarations(hourly("an old one"), *both, hourly("other", args=[1]))
    new = declarations(hourly("other", args=[2]), *both, hourly("the new one"))
    synchronise(old)
    row("both-3").pause()

    for _ in range(5):
        at_once(old, new, old, new)

    common = DjangoJob.objects.filter(pk__startswith="both-").order_by("pk")
    assert [kept.version for kept in common] == [1, 1, 1, 2, 1]
    assert row("both-3").status == "paused"
    assert JobChange.objects.filter(job_id__startswith="both-").count() == 5 + 1
    assert DjangoJob.objects.count() in (7, 8)
    assert not JobChange.objects.filter(job_id="other").exclude(action__in=["added", "changed"])


@committed_data
def test_a_job_that_somebody_adds_at_that_moment_is_theirs(database: Vendor) -> None:
    """Between the look and the write a row with the same id may come; the rest is done all the
    same."""
    if database == "sqlite":
        pytest.skip("it has one writer at a time")
    table = connections["default"].ops.quote_name(TABLE)
    theirs: list[DjangoJob] = []

    def add_theirs() -> None:
        theirs.append(DjangoJob.objects.schedule(functions.coroutine, "cron", hour=3, id="job"))
        connections.close_all()

    def be_quicker(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith(f"INSERT INTO {table} ") and not theirs:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(add_theirs).result()
        return execute(sql, *args)

    with connections["default"].execute_wrapper(be_quicker):
        done = deploy(hourly("job"), hourly("mine"))

    assert len(theirs) == 1
    assert done == Synchronised(added=["mine"], conflicting=["job"])
    assert (row().source, row().func) == ("api", "tests.testapp.functions:coroutine")


SYNCHRONISE = """
import sys
import django

django.setup()

from async_apscheduler.models.declarations import synchronise
from async_apscheduler.registry import registry, scheduled_job
from tests.testapp import functions

for number in range(20):
    scheduled_job("interval", hours=1, id=f"job-{number}")(functions.plain)
print("ready", flush=True)
sys.stdin.readline()
print(len(synchronise(registry.declarations()).added))
"""


@committed_data
def test_processes_that_start_together_agree() -> None:
    """Two real processes with one code leave one row for each job."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SYNCHRONISE],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    are_ready = [child.stdout is not None and child.stdout.readline() for child in children]

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda child: child.communicate("go\n", 30)[0], children))

    assert are_ready == ["ready\n"] * 2
    assert [child.returncode for child in children] == [0, 0]
    assert sum(map(int, answers)) == 20
    assert DjangoJob.objects.count() == JobChange.objects.count() == 20


# Found in the apps


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an installed app, whose name is `deployed_app`."""
    folder = tmp_path / "deployed_app"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with modify_settings(INSTALLED_APPS={"append": "deployed_app"}):
        yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "deployed_app"]:
        del sys.modules[name]


def test_the_jobs_of_an_installed_app_are_found(app: Path) -> None:
    """Its jobs.py is all that is needed; installed apps are allowed modules."""
    (app / "jobs.py").write_text(
        "from async_apscheduler import scheduled_job\n"
        "@scheduled_job('crontab', '30 3 * * *')\n"
        "async def nightly(): ...\n"
    )

    registry.autodiscover()
    done = synchronise(registry.declarations())

    assert done == Synchronised(added=["deployed_app.jobs:nightly"])
    assert row("deployed_app.jobs:nightly").func == "deployed_app.jobs:nightly"


def test_a_scheduler_does_not_start_with_half_of_its_jobs(app: Path) -> None:
    """An import that fails in a jobs.py is told, before anything is stored or removed."""
    deploy(hourly())
    (app / "jobs.py").write_text("import nothing_of_that_name\n")
    lines: list[str] = []

    async def start() -> None:
        await Runner(lines.append).run()

    with pytest.raises(ImportError, match="nothing_of_that_name"):
        async_to_sync(start)()

    assert lines == []
    assert DjangoJob.objects.get().pk == "job"
