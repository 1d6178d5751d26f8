"""w7: many jobs are stored and none is due; what does waiting cost?

A query is what the driver is asked to execute, BEGIN and COMMIT not counted; waiting for a
notification is none.
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
    title="idle for {seconds} s with {jobs:,} jobs, none due",
    scales=({"jobs": 10_000, "seconds": 30},),
    quick_scales=({"jobs": 10_000, "seconds": 5},),
    contenders=(
        Contender(OURS, COROUTINES),
        BY_FUNCTIONS,
        Contender(APSCHEDULER, COROUTINES),
        Contender(PROCRASTINATE, COROUTINES),
        Contender(APSCHEDULER_4, COROUTINES),
        Contender(CELERY_BEAT, FUNCTIONS),
        Contender(DJANGO_Q2, FUNCTIONS),
    ),
    reference=BY_FUNCTIONS,
    less_is_better=True,
    columns=(
        Column("cpu", "CPU, % of a core", digits=3),
        Column("queries", "queries a minute", digits=0),
    ),
    normal_durability=False,
)
