"""w1: many jobs are due at one instant; how long until the last of their runs is recorded?

The jobs are in the database beforehand, the scheduler is up and idle, and each job notes its number
in a list. The clock runs from the due instant until the last run's record is committed; with
APScheduler, which keeps no records, until the last next time is.
"""

from tests.benchmarks.jobs import COROUTINES, FUNCTIONS
from tests.benchmarks.measuring import AHEAD
from tests.benchmarks.sides import (
    APSCHEDULER,
    APSCHEDULER_4,
    CELERY_BEAT,
    DJANGO_Q2,
    OURS,
    PROCRASTINATE,
    REFERENCE,
)
from tests.benchmarks.workload import Column, Contender, Workload

BY_FUNCTIONS = Contender(REFERENCE, FUNCTIONS)

WORKLOAD = Workload(
    title="{jobs:,} jobs due at one instant: claimed, run and recorded",
    scales=({"jobs": 1000}, {"jobs": 5000}),
    quick_scales=({"jobs": 1000},),
    contenders=(
        Contender(OURS, COROUTINES),
        BY_FUNCTIONS,
        Contender(OURS, FUNCTIONS),
        Contender(APSCHEDULER, COROUTINES),
        Contender(PROCRASTINATE, COROUTINES),
        Contender(APSCHEDULER_4, COROUTINES),
        Contender(CELERY_BEAT, FUNCTIONS),
        Contender(DJANGO_Q2, FUNCTIONS),
    ),
    reference=BY_FUNCTIONS,
    columns=(
        Column("runs_per_second", "runs/s"),
        Column("recorded", "recorded"),
        Column("missed", "missed"),
        Column("duplicates", "run twice"),
        Column("longest_stop", "longest stop of the loop, ms"),
        Column("cpu_seconds", "CPU, s", digits=2),
    ),
)


def lead(jobs: int) -> float:
    """Return how many seconds ahead the due instant lies: time to insert the jobs, and to start."""
    return AHEAD + 0.5 + jobs / 3000
