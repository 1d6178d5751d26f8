"""``manage.py changejobs ID ...``: run and pause jobs by turns, as a web process is told to."""

from __future__ import annotations

import os
import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from async_apscheduler.models import DjangoJob, jobs
from tests.testapp import ledger


class Command(BaseCommand):
    """Notes in the ledger what it is about to do and what it has done."""

    help = "Runs and pauses jobs by turns, for the tests of faults."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("ids", nargs="+")
        parser.add_argument("--half", action="store_true", help="spoil: do it by half, and die")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it once for each job."""
        if options["half"]:
            jobs.record_change = _commit_and_die  # type: ignore[attr-defined]  # the spoil itself
        for number, job_id in enumerate(options["ids"]):
            job = DjangoJob.objects.get(pk=job_id)
            ledger.note("asked", job_id)
            job.pause() if number % 2 else job.run()
            ledger.note("done", job_id)


def _commit_and_die(*_: Any, **__: Any) -> None:
    """Keep the first half of a change, and be killed before the second."""
    connection.connection.commit()
    os.kill(os.getpid(), signal.SIGKILL)
