"""The management command of django-apscheduler's users works with its imports changed."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings

from async_apscheduler.models import DjangoJob, DjangoJobExecution, Status
from tests.acceptance.processes import running
from tests.support import committed_data, wait_until
from tests.testapp.management.commands.runapscheduler import clean_up
from tests.testapp.models import Note

pytestmark = [committed_data, pytest.mark.timeout(120)]

COMMAND = "runapscheduler"


def greetings() -> list[DjangoJobExecution]:
    """Return the runs of the job that fires every two seconds and have succeeded."""
    runs = DjangoJobExecution.objects.filter(job_id="greet", status=Status.SUCCEEDED)
    return list(runs.order_by("run_time"))


def is_quiet() -> bool:
    """Return True between two fires of the job that fires at even seconds.

    APScheduler takes a Ctrl-C that comes while it hands a run to its threads for an error of that
    run, logs it and goes on; its users press the keys once more.
    """
    return datetime.now(UTC).second % 2 == 1


def run_until_it_has_greeted(output: Path, times: int) -> str:
    """Run the command until there are so many greetings, end it as Ctrl-C does; return its text."""
    with running(output, COMMAND) as scheduler:
        wait_until(lambda: len(greetings()) >= times and is_quiet(), timeout=40)
        scheduler.send(signal.SIGINT)

        assert scheduler.wait() == 0, scheduler.output
    return scheduler.output


def test_its_runs_are_in_the_history(tmp_path: Path) -> None:
    """A cron job runs at its times, with a row for each run; Ctrl-C ends the command with 0."""
    output = run_until_it_has_greeted(tmp_path / "out", times=2)

    runs = greetings()
    assert all(run.run_time.second % 2 == run.run_time.microsecond == 0 for run in runs)
    assert all(run.started_at and run.finished_at and run.duration is not None for run in runs)
    assert {run.return_value for run in runs} == {"hello from the predecessor's command"}
    assert Note.objects.count() == len(runs)
    assert not DjangoJobExecution.objects.running().exists()
    assert output.endswith("The scheduler has stopped.\n")
    assert "Traceback" not in output


def test_a_second_start_replaces_its_jobs(tmp_path: Path) -> None:
    """`replace_existing` leaves one row for each job, and the history grows on."""
    run_until_it_has_greeted(tmp_path / "first", times=1)
    before = greetings()

    run_until_it_has_greeted(tmp_path / "second", times=len(before) + 1)

    assert set(DjangoJob.objects.values_list("pk", flat=True)) == {"greet", "clean_up"}
    assert greetings()[: len(before)] == before


def test_a_row_that_was_there_before_takes_what_the_command_says(tmp_path: Path) -> None:
    """A job of an older version of the code gets the function and the trigger of the new one."""
    DjangoJob.objects.schedule(
        "tests.testapp.work:note", "interval", hours=1, id="greet", args=["from older code"]
    )

    run_until_it_has_greeted(tmp_path / "out", times=1)

    job = DjangoJob.objects.get(pk="greet")
    assert job.func == "tests.testapp.management.commands.runapscheduler:greet"
    assert (job.args, job.trigger["type"]) == ([], "cron")


def test_the_weekly_clean_up_is_scheduled_and_keeps_a_week(tmp_path: Path) -> None:
    """It waits for Monday's midnight; called, it deletes what is older than seven days."""
    run_until_it_has_greeted(tmp_path / "out", times=1)
    now = datetime.now(UTC)
    for age in (timedelta(days=8), timedelta(days=6)):
        DjangoJobExecution.objects.create(job_id="old", run_time=now - age, status=Status.SUCCEEDED)

    clean_up()

    job = DjangoJob.objects.get(pk="clean_up")
    moment = job.next_run_time.astimezone(ZoneInfo(settings.TIME_ZONE))
    assert f"{moment:%a %H:%M:%S}" == "Mon 00:00:00"
    assert now < moment <= now + timedelta(days=7, hours=1)  # a night may have 25 hours
    [kept] = DjangoJobExecution.objects.filter(job_id="old")
    assert kept.run_time == now - timedelta(days=6)
    assert greetings()
