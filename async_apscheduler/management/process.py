"""A process that belongs to one scheduler: what enters its loop, and how it ends."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

from async_apscheduler._database import closed_lanes_have_ended
from async_apscheduler.engine.runner import Runner
from async_apscheduler.signals import work_failed

LANE_PATIENCE = 0.5
"""Seconds that database connections may take to be closed at the end."""


def run_loop(runner: Runner, work: Coroutine[Any, Any, None]) -> None:
    """Do `work`, in which the runner runs, as asyncio.run() does; no job can end the loop.

    SystemExit and KeyboardInterrupt leave a loop from whichever task or callback raises them, so
    from one that a job has made, too. Whoever awaits that task gets the error all the same.
    """
    with asyncio.Runner() as asyncio_runner:
        loop = asyncio_runner.get_loop()
        task = loop.create_task(work)
        while not task.done():
            try:
                loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as error:
                if task.done() or not runner.works.is_set():
                    raise
                part = "task or callback that a job has made"
                work_failed.send_robust(type(runner), part=part, error=error, retry_in=None)


def exit_despite_threads(runner: Runner) -> None:
    """End the process even if a thread would keep it alive that nothing can stop.

    It is a job's, or it waits for a database that hangs.
    """
    if runner.scheduler.has_stuck_threads or not closed_lanes_have_ended(LANE_PATIENCE):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
