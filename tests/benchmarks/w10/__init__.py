"""w10: the admin with many jobs and runs; how long does a page take, and how many queries?

The two lists as a superuser sees them first, through Django's test client: the middleware, the
queries and the template, but no server and no network.
"""

from tests.benchmarks.sides import APSCHEDULER, DJANGO_Q2, OURS, PROCRASTINATE, REFERENCE
from tests.benchmarks.workload import Column, Contender, Workload

PAGES = "its admin"
OF_REFERENCE = Contender(REFERENCE, PAGES)

WORKLOAD = Workload(
    title="the admin with {jobs:,} jobs and {runs:,} runs",
    scales=({"jobs": 10_000, "runs": 1_000_000},),
    quick_scales=({"jobs": 100, "runs": 10_000},),
    contenders=(Contender(OURS, PAGES), OF_REFERENCE),
    reference=OF_REFERENCE,
    less_is_better=True,
    columns=(
        Column("runs_page", "list of runs, ms", digits=1),
        Column("runs_queries", "its queries"),
        Column("jobs_page", "list of jobs, ms", digits=1),
        Column("jobs_queries", "its queries"),
    ),
    normal_durability=False,
    needs_admin=True,
    absent={
        APSCHEDULER: "it has no admin.",
        DJANGO_Q2: "its history is what its workers write, by default the last 250 successes.",
        PROCRASTINATE: "its admin shows a queue, whose finished jobs are its only history.",
    },
)
