"""w12: as many jobs each second, but one after the other; what does that cost, and who is late?

Each recurs every second, at a time of its own, evenly spread over the second. How late a run is
counts from the last time before it that its job should have begun at: a run that is later than a
second makes the number of runs fall short of the expected one, which is seconds times jobs.
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
    title="{jobs} jobs spread over each second, for {seconds} s",
    scales=({"jobs": 100, "seconds": 10}, {"jobs": 400, "seconds": 10}),
    quick_scales=({"jobs": 50, "seconds": 3},),
    contenders=(
        Contender(OURS, COROUTINES),
        BY_FUNCTIONS,
        Contender(OURS, FUNCTIONS, when_quick=False),
        Contender(APSCHEDULER, COROUTINES),
        Contender(APSCHEDULER_4, COROUTINES),
    ),
    reference=BY_FUNCTIONS,
    less_is_better=True,
    columns=(
        Column("cpu", "CPU, % of a core", digits=0),
        Column("p50", "lateness p50, ms", digits=1),
        Column("p99", "p99, ms", digits=1),
        Column("latest", "latest, ms", digits=1),
        Column("runs", "runs"),
        Column("expected", "expected"),
    ),
    normal_durability=False,
    absent={
        CELERY_BEAT: "an interval counts from when it was last sent, so that nothing is late.",
        DJANGO_Q2: "it knows crons, of whole seconds.",
        PROCRASTINATE: "it knows crons, of whole seconds.",
    },
)
