"""What APScheduler 3 stores for a job, without the cost of adding it by add_job()."""

from __future__ import annotations

import pickle
from datetime import UTC

from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.interval import IntervalTrigger

from tests.benchmarks.jobs import Work
from tests.benchmarks.peers import Task


def pickled_job(scheduler: BaseScheduler, func: Work, task: Task) -> tuple[str, bytes]:
    """Return the id and the state of a job.

    Its misfire_grace_time is None, because with APScheduler's default of one second whatever is
    not reached in that time does not run at all.
    """
    name = f"job-{task.number}"
    trigger = IntervalTrigger(seconds=task.every.total_seconds(), start_date=task.due, timezone=UTC)
    job = Job(
        scheduler,
        id=name,
        name=name,
        func=func,
        args=(task.number,),
        kwargs={},
        trigger=trigger,
        executor="default",
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
        next_run_time=task.due,
    )
    return name, pickle.dumps(job.__getstate__(), pickle.HIGHEST_PROTOCOL)
