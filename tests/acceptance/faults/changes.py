"""What others do to the tables while schedulers work: edits, commands cut short, a locked table."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.db import connection, connections, transaction

from async_apscheduler.models import DjangoJob, DjangoJobExecution, Status
from async_apscheduler.models.changes import JobChange
from async_apscheduler.models.statuses import ACTIVE
from tests.acceptance.faults.fault import Outcome
from tests.acceptance.faults.outages import while_away
from tests.acceptance.faults.stage import Stage, hourly
from tests.acceptance.faults.tally import statuses_by_job
from tests.acceptance.faults.waiting import until
from tests.testapp import ledger

JOBS_OF_A_PROCESS = 20
CUT_WITHIN = 0.3
"""Seconds in which a process that gives commands is killed, at a random moment."""

TAIL = 6.0
"""Seconds for which jobs go on becoming due when all is well again."""


def edit(stage: Stage) -> Outcome:
    """Remove, replace, reschedule and pause jobs while they run, from another process."""
    number = int(stage.pick(quick=40, long=200))
    nodes = stage.start_several(2)
    begin = datetime.now(UTC) + timedelta(seconds=2)
    far = begin + timedelta(days=1000)
    keys = stage.schedule(
        [f"edited-{n}" for n in range(number)],
        ledger.enter,
        stage.pick(quick=8, long=15),
        trigger=lambda _: hourly(begin),
    )
    until(lambda: len(stage.book.starts()) == number, 30)
    for key in keys:
        _change(key, far)
    still_running = number - len(stage.book.ends())
    stage.settle(keys, 30)
    outcome = stage.count(keys)
    undone = [key for key in keys if not _is_as_changed(key, far)]
    outcome.expect(not undone, f"{len(undone)} edits were undone: {undone[:5]}")
    statuses = statuses_by_job()
    unended = [key for key in keys if statuses[key] != {Status.SUCCEEDED}]
    outcome.expect(not unended, f"{len(unended)} runs did not end well, or have no history")
    outcome.expect(still_running, "all runs had ended before they were edited")
    for node in nodes:
        outcome.expect(node.is_alive, f"{node.name} died: {node.output[-300:]}")
    outcome.seen.append(f"{still_running} of {number} went on when the last edit was made")
    return outcome


def _kind(key: str) -> int:
    return int(key.rpartition("-")[2]) % 4


def _change(key: str, far: datetime) -> None:
    job = DjangoJob.objects.get(pk=key)
    match _kind(key):
        case 0:
            job.remove()
        case 1:
            job.remove()
            DjangoJob.objects.schedule(ledger.enter, "date", run_date=far, args=[key], id=key)
        case 2:
            job.reschedule("interval", hours=1, start_date=far)
        case _:
            job.pause()


def _is_as_changed(key: str, far: datetime) -> bool:
    job = DjangoJob.objects.filter(pk=key).first()
    match _kind(key):
        case 0:
            return job is None
        case 1 | 2:
            return job is not None and job.next_run_time == far
        case _:
            return job is not None and job.status == DjangoJob.Status.PAUSED


def cut_commands(stage: Stage) -> Outcome:
    """Kill processes that run and pause jobs, in the middle of that."""
    stage.start_several(1)
    far = datetime.now(UTC) + timedelta(days=1)
    keys: list[str] = []
    for number in range(int(stage.pick(quick=5, long=50))):
        own = stage.schedule(
            [f"web-{number}-{n}" for n in range(JOBS_OF_A_PROCESS)],
            ledger.enter,
            trigger=lambda _: hourly(far),
        )
        web = stage.start_command("changejobs", *own, *(["--half"] if stage.spoil else []))
        until(lambda key=own[0]: key in _noted(stage, "asked"), 30)  # type: ignore[misc]  # bound now
        time.sleep(random.uniform(0, CUT_WITHIN))  # the random moment
        web.end()
        keys += own
    until(lambda: not DjangoJobExecution.objects.filter(status__in=ACTIVE).exists(), 30)
    outcome = _count_commands(stage, keys)
    outcome.recovery = stage.probe()
    return outcome


def _count_commands(stage: Stage, keys: list[str]) -> Outcome:
    """Count: what was said to be done is there once, and nothing is there by half."""
    asked, done = _noted(stage, "asked"), _noted(stage, "done")
    to_run, to_pause = keys[::2], keys[1::2]
    starts = stage.book.starts()
    outcome = Outcome(due=sum(key in done for key in to_run))
    outcome.lost = sum(key in done and not starts[key] for key in to_run)
    outcome.doubled = sum(max(0, starts[key] - 1) for key in to_run)
    paused = set(DjangoJob.objects.filter(pk__in=to_pause).paused().values_list("pk", flat=True))
    told = set(
        JobChange.objects.filter(job_id__in=to_pause, action="paused").values_list(
            "job_id", flat=True
        )
    )
    half = paused ^ told
    outcome.expect(not half, f"{len(half)} jobs were paused by half: {sorted(half)[:5]}")
    wrong = (done & set(to_pause)) - paused | (paused - asked)
    outcome.expect(not wrong, f"{len(wrong)} jobs were not paused, or without being asked")
    outcome.seen.append(f"{len(asked - done)} commands were cut short, {len(done)} were done")
    return outcome


def _noted(stage: Stage, kind: str) -> set[str]:
    return {entry.key for entry in stage.book.entries() if entry.kind == kind}


def lock_table(stage: Stage) -> Outcome:
    """Hold the table of jobs, as a migration of it does."""
    seconds = stage.pick(quick=12, long=30)  # longer than a call may take
    node = stage.start_several(1)[0]
    keys = stage.stream("job", seconds + TAIL, every=0.1)
    until(lambda: stage.book.started_at("job-5"), 10)
    connections.close_all()

    def away() -> None:
        with _locked(DjangoJob._meta.db_table):
            time.sleep(seconds)  # the fault itself

    return while_away(stage, node, keys, away, seconds)


@contextmanager
def _locked(table: str) -> Iterator[None]:
    name = connection.ops.quote_name(table)
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
            yield
        else:
            cursor.execute(f"LOCK TABLES {name} WRITE")
            yield
            cursor.execute("UNLOCK TABLES")
