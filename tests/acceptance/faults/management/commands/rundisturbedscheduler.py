"""``manage.py rundisturbedscheduler``: `runasyncscheduler`, with something going wrong.

With `--disturb upstream` it is APScheduler's own scheduler on our job store, which has no claims:
what everybody gets who starts the stock stack twice.
"""

from __future__ import annotations

import asyncio
import os
import signal
from argparse import ArgumentParser
from datetime import UTC
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.management.commands import runasyncscheduler
from tests.acceptance.faults.disturbances import DISTURBANCES, UPSTREAM, disturb


class Command(runasyncscheduler.Command):
    """Starts a scheduler that is worse than ours."""

    help = "Runs a scheduler that lacks a protection, for the tests of faults."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        super().add_arguments(parser)
        parser.add_argument(
            "--disturb", action="append", default=[], choices=[*DISTURBANCES, UPSTREAM]
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until stopped."""
        if UPSTREAM in options["disturb"]:
            os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # it calls its store on the loop
            asyncio.run(self._run_upstream(options["name"]))
            return
        for name in options["disturb"]:
            disturb(name)
        super().handle(*args, **options)

    async def _run_upstream(self, name: str) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        scheduler = AsyncIOScheduler(
            timezone=UTC,
            jobstores={"default": DjangoJobStore()},
            job_defaults={"misfire_grace_time": None},
        )
        scheduler.start()
        self.stdout.write(f"{name} (#upstream)")
        self.stdout.flush()
        await stop.wait()
        scheduler.shutdown(wait=True)
