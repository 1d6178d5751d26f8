"""w4: ten jobs are due each second in a store of many; how long until the last of them has begun?

The others are due in hours. What grows with their number is what the scheduler pays for jobs that
have nothing to do.
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

BY_FUNCTIONS = Contender(REFERENCE, FUNCTIONS, up_to=100_000)

WORKLOAD = Workload(
    title="ten due each second in a store of {jobs:,}",
    scales=({"jobs": 100}, {"jobs": 10_000}, {"jobs": 100_000}),
    quick_scales=({"jobs": 10_000},),
    long_scales=({"jobs": 1_000_000},),
    contenders=(
        Contender(OURS, COROUTINES),
        BY_FUNCTIONS,
        Contender(APSCHEDULER, COROUTINES, up_to=100_000),
        Contender(PROCRASTINATE, COROUTINES, up_to=100_000),
        Contender(APSCHEDULER_4, COROUTINES, up_to=100_000),
        Contender(CELERY_BEAT, FUNCTIONS, up_to=100_000),
        Contender(DJANGO_Q2, FUNCTIONS, up_to=100_000),
    ),
    reference=BY_FUNCTIONS,
    less_is_better=True,
    columns=(
        Column("last_of_ten", "due to the last begun, ms", digits=1),
        Column("slowest", "slowest second, ms", digits=1),
        Column("pass_time", "pass that claims them, ms", digits=1),
        Column("begun", "begun"),
        Column("expected", "expected"),
    ),
    normal_durability=False,
)
