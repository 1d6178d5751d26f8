"""Write how runs ended: in batches, by async ORM methods, and never lose one.

While the database is away finished runs wait in memory, in order, and are written when it is back.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from typing import Any

from asgiref.sync import ThreadSensitiveContext

from async_apscheduler import codec
from async_apscheduler._database import CONNECTION_ERRORS, Lane, discard_connection
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.backoff import Backoff
from async_apscheduler.engine.runs import CALLERS, Run
from async_apscheduler.jobstores import kept_text
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Reason, Status
from async_apscheduler.signals import work_failed, work_resumed

logger = logging.getLogger(__name__)

MAX_BATCH = 1000

FEW = 20
"""Runs in a batch; after one of fewer it is worthwhile to wait for more."""

GATHER = 0.02
"""Seconds to wait then."""

MAX_FRAMES = 50


class Recorder:
    """Takes finished runs and writes them.

    `on_written` is told after each batch whether any of its runs is to be tried again.
    """

    def __init__(self, lane: Lane, on_written: Callable[[bool], None]) -> None:
        self._lane = lane
        self._on_written = on_written
        self._waiting: list[Run] = []
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def waiting(self) -> int:
        """How many finished runs are not in the database yet."""
        return len(self._waiting)

    def add(self, run: Run) -> None:
        """Take a finished run; returns at once."""
        self._waiting.append(run)
        self._empty.clear()
        self._arrived.set()

    async def wait_until_written(self) -> None:
        """Wait until no finished run is left in memory."""
        await self._empty.wait()

    async def work(self) -> None:
        """Write finished runs until cancelled."""
        backoff = Backoff()
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch = self._waiting[:MAX_BATCH]
                try:
                    await self._lane.answer(self._write_batch(batch))
                except Exception as error:
                    delay = backoff.failed()
                    work_failed.send_robust(
                        type(self), part="recorder", error=error, retry_in=delay
                    )
                    await asyncio.sleep(delay)
                else:
                    if backoff.succeeded():
                        work_resumed.send_robust(type(self), part="recorder")
                    if not self._waiting:
                        self._empty.set()
                    if len(batch) < FEW:
                        await asyncio.sleep(GATHER)

    async def _write_batch(self, batch: list[Run]) -> None:
        async with ThreadSensitiveContext(executor=self._lane):
            try:
                await self._write(batch)
            except CONNECTION_ERRORS:
                await self._lane.run(discard_connection, DjangoJobExecution.objects.db)
                raise
            except Exception:
                # Something in one of the rows; the others must not wait for it for ever.
                await self._write_one_by_one(batch)
        del self._waiting[: len(batch)]
        self._on_written(any(run.retry_at is not None for run in batch))

    async def _write(self, batch: list[Run]) -> None:
        unclaimed = [_new_row(run) for run in batch if not run.has_row]
        if unclaimed:
            await DjangoJobExecution.objects.abulk_create(unclaimed, ignore_conflicts=True)
        by_node: dict[int, list[dict[str, Any]]] = {}
        for run in batch:
            if run.has_row:
                by_node.setdefault(run.node_id, []).append(_end(run))
        survived = {run.job.id for run in batch if run.loaded.lost_runs}
        if survived:
            await DjangoJob.objects.filter(pk__in=survived).anote_survived()
        for node_id, ends in by_node.items():
            written = await DjangoJobExecution.objects.all().afinish(node_id, ends)
            if written < len(ends):
                logger.warning(
                    "%d of %d results came too late and were not recorded: another node had "
                    "ended these runs",
                    len(ends) - written,
                    len(ends),
                )

    async def _write_one_by_one(self, batch: list[Run]) -> None:
        for run in batch:
            try:
                await self._write([run])
            except CONNECTION_ERRORS:
                raise
            except Exception as error:
                run.return_value, run.traceback = None, ""
                run.context.log_lines.clear()
                run.exception = kept_text(f"The result could not be stored: {error!r}")
                await self._write([run])


def prepare(run: Run) -> None:
    """Turn what a run returned or raised into what is stored of it."""
    if run.status == Status.CANCELLED and run.reason != Reason.RAISED:
        return  # its reason says it all
    if run.error is not None:
        run.exception = kept_text(_describe(run.error))
        run.traceback = kept_text(_traceback(run.error))
    elif run.result is not None:
        run.return_value = codec.encode_result(run.result, get_settings().return_value_max_bytes)


def _describe(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception_only(error)).strip()
    except BaseException:
        return f"{type(error).__name__}: <its text cannot be read>"


def _traceback(error: BaseException) -> str:
    """Return the traceback from the job's own code on, its innermost MAX_FRAMES frames."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename in CALLERS:
        frames = frames.tb_next
    shown = frames or error.__traceback__
    try:
        text = traceback.format_exception(type(error), error, shown, limit=-MAX_FRAMES)
    except BaseException:
        text = traceback.format_tb(shown, limit=-MAX_FRAMES)
    return "".join(text)


def _end(run: Run) -> dict[str, Any]:
    """Return the columns that a finished run changes."""
    context = run.context
    retry = run.retry_at is not None
    return {
        "id": context.id,
        "attempt": context.attempt + 1 if retry else context.attempt,
        "status": Status.PENDING if retry else run.status,
        "available_at": run.retry_at,
        **_columns(run),
    }


def _new_row(run: Run) -> DjangoJobExecution:
    """Return the row of a run that was not claimed in the database."""
    return DjangoJobExecution(
        job_id=run.job.id,
        run_time=run.run_time,
        node_id=run.node_id,
        status=run.status,
        **_columns(run),
    )


def _columns(run: Run) -> dict[str, Any]:
    context = run.context
    return {
        "reason": run.reason,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "duration": run.duration,
        "exception": run.exception,
        "traceback": run.traceback,
        "return_value": run.return_value,
        "log": kept_text(run.log) if context.log_lines else "",
        "db_queries": context.db_queries,
        "db_seconds": context.db_seconds,
        "loop_blocked_seconds": context.loop_blocked_seconds,
    }
