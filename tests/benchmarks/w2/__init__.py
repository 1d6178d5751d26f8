"""w2: some jobs are due each second; how long after its time does the first line of a run begin?

The function takes the time at its first line. How late that is counts from the second before it,
because APScheduler 3 does not tell a job when it should have run: where it comes later than a
second, or not at all, the number of runs falls short of the expected one, which is seconds times
jobs. procrastinate tells, so there it counts from the scheduled second.
"""

from tests.benchmarks.jobs import COROUTINES, FUNCTIONS
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
    title="{jobs} jobs each second for {seconds} s: lateness",
    scales=({"jobs": 50, "seconds": 20},),
    quick_scales=({"jobs": 50, "seconds": 3},),
    contenders=(
        Contender(OURS, COROUTINES),
        BY_FUNCTIONS,
        Contender(OURS, FUNCTIONS, when_quick=False),
        Contender(APSCHEDULER, COROUTINES),
        Contender(PROCRASTINATE, COROUTINES),
        Contender(APSCHEDULER_4, COROUTINES),
        Contender(CELERY_BEAT, FUNCTIONS),
        Contender(DJANGO_Q2, FUNCTIONS),
    ),
    reference=BY_FUNCTIONS,
    less_is_better=True,
    columns=(
        Column("p50", "p50, ms", digits=1),
        Column("p99", "p99, ms", digits=1),
        Column("latest", "latest, ms", digits=1),
        Column("runs", "runs"),
        Column("expected", "expected"),
        Column("cpu_seconds", "CPU, s", digits=2),
    ),
)
