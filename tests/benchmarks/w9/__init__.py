"""w9: run now, asked for in one process: how long until the first line of the job in another?

The scheduler's process is up and idle, the asking process is warm. Between two requests lies a
pause that is a different one each time, so that a poll is met at all its moments.
"""

from tests.benchmarks.jobs import COROUTINES
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

OF_OURS = Contender(OURS, COROUTINES)

WORKLOAD = Workload(
    title="{requests} times run now, from another process to the first line of the job",
    scales=({"requests": 30},),
    quick_scales=({"requests": 5},),
    contenders=(
        OF_OURS,
        Contender(PROCRASTINATE, COROUTINES),
        Contender(APSCHEDULER_4, COROUTINES),
    ),
    reference=OF_OURS,
    less_is_better=True,
    columns=(
        Column("p50", "p50, ms", digits=1),
        Column("slowest", "slowest, ms", digits=1),
        Column("call", "the call itself, p50, ms", digits=1),
        Column("begun", "begun"),
    ),
    normal_durability=False,
    absent={
        CELERY_BEAT: "without its worker it runs nothing.",
        DJANGO_Q2: "without its workers it runs nothing.",
        REFERENCE: "its run now starts a second scheduler inside the web process.",
        APSCHEDULER: "a scheduler notices what another process has stored only when it next wakes.",
    },
)
