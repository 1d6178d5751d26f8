"""w13: many jobs are declared in code and the scheduler starts; how long until it runs?

A process of its own declares them, recurring at fifty different intervals, and starts: once on an
empty database, and once more with the same code, as each start after that is. The clock runs
from the first declaration, with everything imported, until the scheduler has started. The memory is
that of the later start.
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

OF_REFERENCE = Contender(REFERENCE, FUNCTIONS, up_to=1000)
"""It reads and writes each job by itself: 100,000 would take some minutes."""

WORKLOAD = Workload(
    title="start with {jobs:,} declared jobs",
    scales=({"jobs": 1000}, {"jobs": 100_000}),
    quick_scales=({"jobs": 1000},),
    contenders=(Contender(OURS, COROUTINES), OF_REFERENCE),
    reference=OF_REFERENCE,
    less_is_better=True,
    columns=(
        Column("again", "with the same code again, s", digits=2),
        Column("first", "for the first time, s", digits=2),
        Column("stored", "stored"),
    ),
    normal_durability=False,
    absent={
        APSCHEDULER: "its jobs are added as those of django-apscheduler, which is measured.",
        APSCHEDULER_4: "its jobs are added one by one, as those of django-apscheduler.",
        CELERY_BEAT: "what its settings can declare is not measured.",
        DJANGO_Q2: "its schedules are rows, which code adds by itself.",
        PROCRASTINATE: "what is declared is not stored, but deferred when it is due.",
    },
)
