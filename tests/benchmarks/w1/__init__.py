"""w1: many jobs are due at one instant; how long until the last of their runs is recorded?

The jobs are in the database beforehand, the scheduler is up and idle, and each job notes its number
in a list. The clock runs from the due instant until the last run's record is committed.
"""

from tests.benchmarks.measuring import AHEAD
from tests.benchmarks.sides import OURS, REFERENCE
from tests.benchmarks.workload import Column, Contender, Workload

COROUTINES = "coroutines"
FUNCTIONS = "plain functions"

WORKLOAD = Workload(
    title="{jobs:,} jobs due at one instant: claimed, run and recorded",
    scales=({"jobs": 1000}, {"jobs": 5000}),
    quick_scales=({"jobs": 1000},),
    contenders=(
        Contender(OURS, COROUTINES),
        Contender(REFERENCE, FUNCTIONS),
        Contender(OURS, FUNCTIONS),
    ),
    columns=(
        Column("runs_per_second", "runs/s"),
        Column("recorded", "recorded"),
        Column("missed", "missed"),
        Column("duplicates", "run twice"),
        Column("longest_stop", "longest stop of the loop, ms"),
        Column("cpu_seconds", "CPU, s", digits=2),
    ),
)


def lead(jobs: int) -> float:
    """Return how many seconds ahead the due instant lies: time to insert the jobs, and to start."""
    return AHEAD + 0.5 + jobs / 3000
