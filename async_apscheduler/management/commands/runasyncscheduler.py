"""``manage.py runasyncscheduler``: run a scheduler in this process."""

from __future__ import annotations

import logging
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import autoreload

from async_apscheduler.engine.runner import Runner
from async_apscheduler.exceptions import AsyncAPSchedulerError
from async_apscheduler.management import reloading
from async_apscheduler.management.process import (
    exit_despite_threads,
    handlers_restored,
    run_loop,
    run_with_signals,
)


class Command(BaseCommand):
    """Starts a scheduler; any number of them may run on one database."""

    help = (
        "Runs scheduled jobs until it is stopped. SIGTERM or Ctrl-C let the running jobs end; a "
        "second one cancels them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--name", help="name of this node (default: host and process id)")
        parser.add_argument(
            "--concurrency",
            type=_positive,
            metavar="N",
            help="runs at one time (default: ASYNC_APSCHEDULER['MAX_CONCURRENT_RUNS'])",
        )
        parser.add_argument(
            "--paused",
            action="store_true",
            help="run nothing and change nothing: to look at a copy of a production database",
        )
        parser.add_argument(
            "--reload",
            action="store_true",
            help="start again when the code changes (for development)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until stopped."""
        self._set_up_logging(options["verbosity"])
        if options["reload"]:
            self._run_with_reload(options)
        else:
            runner = self._runner(options)
            with handlers_restored():
                self._run(runner, run_with_signals(runner))
                exit_despite_threads(runner)

    def _runner(self, options: dict[str, Any]) -> Runner:
        return Runner(
            self._announce,
            name=options["name"],
            capacity=options["concurrency"],
            paused=options["paused"],
        )

    def _run(self, runner: Runner, work: Any) -> None:
        try:
            run_loop(runner, work)
        except AsyncAPSchedulerError as error:
            raise CommandError(str(error)) from error

    def _run_with_reload(self, options: dict[str, Any]) -> None:
        if os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) == "true":
            reloading.work(lambda: self._runner(options), self._run_reported)
        else:
            reloading.supervise()

    def _run_reported(self, runner: Runner) -> None:
        """Run, and leave the message of an error for the next change of the code to mend."""
        try:
            self._run(runner, runner.run())
        except CommandError as error:
            self.stderr.write(str(error))

    def _announce(self, line: str) -> None:
        # A terminal may know fewer characters than an id or a moment has.
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        try:
            self.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding))
            self.stdout.flush()
        except OSError:
            pass  # whoever read it is gone, for example a closed terminal; the runs still count

    @staticmethod
    def _set_up_logging(verbosity: int) -> None:
        """Show our log on the terminal, unless the project's LOGGING sends it somewhere."""
        logger = logging.getLogger("async_apscheduler")
        if logger.hasHandlers():
            return
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        levels = {0: logging.ERROR, 1: logging.INFO}
        logger.setLevel(levels.get(verbosity, logging.DEBUG))


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return number
