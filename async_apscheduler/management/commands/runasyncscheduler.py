"""``manage.py runasyncscheduler``: run a scheduler in this process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import autoreload

from async_apscheduler._database import closed_lanes_have_ended
from async_apscheduler.engine.runner import Runner
from async_apscheduler.exceptions import AsyncAPSchedulerError

LANE_PATIENCE = 0.5
"""Seconds that database connections may take to be closed at the end."""

RELOAD_PATIENCE = 5.0
"""Seconds that a scheduler may take to stop before its code is loaded again."""


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
            self._run(runner, _run_with_signals(runner))
            _exit_despite_threads(runner)

    def _runner(self, options: dict[str, Any]) -> Runner:
        return Runner(
            self._announce,
            name=options["name"],
            capacity=options["concurrency"],
            paused=options["paused"],
        )

    def _run(self, runner: Runner, work: Any) -> None:
        try:
            asyncio.run(work)
        except AsyncAPSchedulerError as error:
            raise CommandError(str(error)) from error

    def _run_with_reload(self, options: dict[str, Any]) -> None:
        """Run under Django's reloader, which keeps the main thread to itself."""
        runners: list[Runner] = []
        ended = threading.Event()

        def work() -> None:
            runner = self._runner(options)
            runners.append(runner)
            try:
                self._run(runner, runner.run())
            except CommandError as error:
                self.stderr.write(str(error))
            finally:
                ended.set()

        def stop(**_: Any) -> None:
            for runner in runners:
                runner.stop_from_thread(hurry=True)
                ended.wait(RELOAD_PATIENCE)

        autoreload.file_changed.connect(stop)
        try:
            autoreload.run_with_reloader(work)
        finally:
            stop()

    def _announce(self, line: str) -> None:
        try:
            self.stdout.write(line)
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


async def _run_with_signals(runner: Runner) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and shells set it
            loop.add_signal_handler(number, runner.stop)
    await runner.run()


def _exit_despite_threads(runner: Runner) -> None:
    """End the process even if a thread would keep it alive that nothing can stop.

    It is a job's, or it waits for a database that hangs.
    """
    if runner.scheduler.has_stuck_threads or not closed_lanes_have_ended(LANE_PATIENCE):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
