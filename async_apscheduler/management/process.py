"""A process that belongs to one scheduler: what enters its loop, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from async_apscheduler._database import closed_lanes_have_ended
from async_apscheduler.engine.runner import Runner
from async_apscheduler.signals import work_failed

LANE_PATIENCE = 0.5
"""Seconds that database connections may take to be closed at the end."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What stops a scheduler."""

COLLECTION = (10_000, 5, 10)
"""See gc.set_threshold(). A run makes some dozen objects that are there until it has ended."""


def collect_garbage_less_often() -> None:
    """Let thousands of runs begin between two visits of the garbage collector.

    Python's own thresholds suit programs that make few objects: while 10,000 runs began, it came
    over a thousand times and three times looked at everything, in which it found nothing and held
    everybody up for 0.2 seconds. A project that has set it already, or switched it off, is left
    alone.
    """
    if 0 < gc.get_threshold()[0] < COLLECTION[0]:
        gc.set_threshold(*COLLECTION)


def run_loop(runner: Runner, work: Coroutine[Any, Any, None]) -> None:
    """Do `work`, in which the runner runs, as asyncio.run() does; no job can end the loop.

    SystemExit and KeyboardInterrupt leave a loop from whichever task or callback raises them, so
    from one that a job has made, too. Whoever awaits that task gets the error all the same.
    """
    collect_garbage_less_often()
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


async def run_with_signals(runner: Runner) -> None:
    """Run the runner and let it stop at a signal; when it has ended signals do nothing any more.

    Where the database hangs the process is not gone for another half a second. Python's own
    handlers, which are back when the loop is closed, would kill it then, as if it had failed.
    """
    loop = asyncio.get_running_loop()
    # What nohup or a shell lets a process ignore stays ignored.
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heard:
        loop.add_signal_handler(number, runner.stop)
    try:
        await runner.run()
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def handlers_restored() -> Iterator[None]:
    """Give signals their handlers back, for whoever has called the command from a program."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_despite_threads(runner: Runner) -> None:
    """End the process even if a thread would keep it alive that nothing can stop.

    It is a job's, or it waits for a database that hangs.
    """
    if runner.scheduler.has_stuck_threads or not closed_lanes_have_ended(LANE_PATIENCE):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
