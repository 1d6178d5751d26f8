"""w5: jobs that wait for a second are all due at one instant; when has the last of them ended?

They wait as a job does that asks the network: the perfect scheduler needs one second. Looked at are
also the connections to the database, of all of the process, without the harness's own.
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

BY_FUNCTIONS = Contender(REFERENCE, FUNCTIONS, up_to=1000)

WORKLOAD = Workload(
    title="{jobs:,} jobs that wait a second, due at one instant",
    scales=({"jobs": 1000}, {"jobs": 10_000}),
    quick_scales=({"jobs": 100},),
    contenders=(
        Contender(OURS, COROUTINES),
        BY_FUNCTIONS,
        Contender(APSCHEDULER, COROUTINES),
        Contender(PROCRASTINATE, COROUTINES),
        Contender(APSCHEDULER_4, COROUTINES, up_to=1000),
    ),
    reference=BY_FUNCTIONS,
    less_is_better=True,
    columns=(
        Column("seconds", "until the last end, s", digits=2),
        Column("ended", "ended"),
        Column("duplicates", "run twice"),
        Column("connections", "connections at most"),
        Column("growth", "memory grown by, MB"),
    ),
    normal_durability=False,
    absent={
        CELERY_BEAT: "it sends tasks, it does not run them.",
        DJANGO_Q2: "its scheduler sends tasks; its workers, which run them, are not measured.",
    },
)
