"""w11: many jobs are stored and the scheduler starts; how long until its first pass is done?

Ten of the jobs are due already. The scheduler is a process of its own; the clock runs from where it
begins to start, with everything imported, until the tenth of them has begun.
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
    title="start with {jobs:,} stored jobs",
    scales=({"jobs": 100_000},),
    quick_scales=({"jobs": 10_000},),
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
        Column("seconds", "until the ten due have begun, s", digits=3),
        Column("begun", "begun"),
        Column("cpu_seconds", "CPU with all imports, s", digits=2),
    ),
    normal_durability=False,
)
