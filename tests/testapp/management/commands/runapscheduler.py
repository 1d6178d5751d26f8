"""The command that projects have which come from django-apscheduler, with our imports."""

from __future__ import annotations

from typing import Any

from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.cron import CronTrigger
from django.conf import settings
from django.core.management.base import BaseCommand

from async_apscheduler import util
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.models import DjangoJobExecution
from tests.testapp.models import Note

A_WEEK = 604_800


def greet() -> str:
    """Leave a note, and return its text."""
    return Note.objects.create(text="hello from the predecessor's command").text


@util.close_old_connections
def clean_up(max_age: int = A_WEEK) -> None:
    """Delete runs older than `max_age` seconds from the history."""
    DjangoJobExecution.objects.delete_old_job_executions(max_age)


class Command(BaseCommand):
    """Runs the scheduler until Ctrl-C."""

    help = "Runs APScheduler."

    def handle(self, *args: Any, **options: Any) -> None:
        """Add the jobs and work."""
        scheduler = BlockingScheduler(timezone=settings.TIME_ZONE)
        scheduler.add_jobstore(DjangoJobStore(), "default")
        scheduler.add_job(
            greet,
            trigger=CronTrigger(second="*/2"),
            id="greet",
            max_instances=1,
            replace_existing=True,
        )
        scheduler.add_job(
            clean_up,
            trigger=CronTrigger(day_of_week="mon", hour="00", minute="00"),
            id="clean_up",
            max_instances=1,
            replace_existing=True,
        )
        self.stdout.write("Starting the scheduler.")
        try:
            scheduler.start()
        except KeyboardInterrupt:
            self.stdout.write("Stopping the scheduler.")
            scheduler.shutdown()
            self.stdout.write("The scheduler has stopped.")
