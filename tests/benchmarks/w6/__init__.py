"""w6: what part of what the database can do at all does a run reach?

The floor is the least durable work that runs need, by psycopg alone and in few statements: read the
due jobs under a lock, write their next times, insert their runs, write how these ended; two
transactions for all of them. Ours is w1: with the jobs, the loop, and all that a scheduler looks
after.
"""

from tests.benchmarks.jobs import COROUTINES
from tests.benchmarks.sides import OURS
from tests.benchmarks.workload import Column, Contender, Workload

RAW = "raw psycopg"
FLOOR = Contender(OURS, RAW)

WORKLOAD = Workload(
    title="{jobs:,} runs, and the same rows written by psycopg alone",
    scales=({"jobs": 1000}, {"jobs": 5000}),
    quick_scales=({"jobs": 1000},),
    contenders=(Contender(OURS, COROUTINES), FLOOR),
    reference=FLOOR,
    columns=(
        Column("runs_per_second", "runs/s"),
        Column("claim", "claim, ms", digits=1),
        Column("finish", "finish, ms", digits=1),
    ),
    vendors=("postgresql",),
)
