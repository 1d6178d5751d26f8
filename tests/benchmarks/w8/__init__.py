"""w8: many jobs are due at one instant; what do several schedulers on one database achieve?

Each is a process of its own, up and idle before the instant. The jobs sign a file that is the same
for all, so who ran what, and what ran twice, does not rest on the database. The clock runs until
the last job has begun. The server's processor time is that of all its processes, if it is a Linux
process on this machine.
"""

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

ALONE = Contender(OURS, "1 node")

WORKLOAD = Workload(
    title="{jobs:,} jobs due at one instant, several schedulers on one database",
    scales=({"jobs": 20_000},),
    quick_scales=({"jobs": 2000},),
    contenders=(
        ALONE,
        Contender(OURS, "3 nodes"),
        Contender(OURS, "8 nodes", when_quick=False),
        Contender(PROCRASTINATE, "1 node"),
        Contender(PROCRASTINATE, "3 nodes"),
        Contender(PROCRASTINATE, "8 nodes", when_quick=False),
        Contender(APSCHEDULER_4, "1 node", up_to=2000),
        Contender(APSCHEDULER_4, "3 nodes", up_to=2000),
    ),
    reference=ALONE,
    columns=(
        Column("runs_per_second", "runs/s"),
        Column("begun", "begun"),
        Column("duplicates", "run twice"),
        Column("smallest", "smallest share, %", digits=1),
        Column("largest", "largest share, %", digits=1),
        Column("cpu_seconds", "CPU of all nodes, s", digits=2),
        Column("server_cpu", "CPU of the server, µs a run"),
    ),
    vendors=("postgresql",),
    absent={
        CELERY_BEAT: "two beats send each task twice.",
        DJANGO_Q2: "one of its schedulers sends all that is due, while the others wait for it.",
        REFERENCE: "several of its schedulers on one database run each job several times.",
        APSCHEDULER: "several schedulers must not share a job store; its manual says so.",
    },
)
