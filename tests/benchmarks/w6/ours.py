"""w6: the raw floor, and w1 beside it."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.benchmarks.project import database_url
from tests.benchmarks.w1 import ours as w1
from tests.benchmarks.w6 import RAW

REPETITIONS = 7

TABLES = """
DROP TABLE IF EXISTS raw_run, raw_job;
CREATE TABLE raw_job (
    id varchar(255) PRIMARY KEY, next_run_time timestamptz, state bytea NOT NULL
);
CREATE INDEX ON raw_job (next_run_time);
CREATE TABLE raw_run (
    id bigserial PRIMARY KEY, job_id varchar(255) NOT NULL, run_time timestamptz NOT NULL,
    status varchar(12) NOT NULL, finished_at timestamptz, duration float8, traceback text,
    UNIQUE (job_id, run_time)
);
"""

LOCK = """
SELECT id, state FROM raw_job WHERE next_run_time <= %s
ORDER BY next_run_time FOR UPDATE SKIP LOCKED
"""
NEXT = """
UPDATE raw_job SET next_run_time = new.at FROM unnest(%s::text[], %s::timestamptz[]) new (id, at)
WHERE raw_job.id = new.id
"""
CLAIM = """
INSERT INTO raw_run (job_id, run_time, status)
SELECT new.id, new.at, 'running' FROM unnest(%s::text[], %s::timestamptz[]) new (id, at)
RETURNING id
"""
FINISH = """
UPDATE raw_run SET status = 'succeeded', finished_at = done.at, duration = done.took
FROM unnest(%s::bigint[], %s::timestamptz[], %s::float8[]) done (id, at, took)
WHERE raw_run.id = done.id
"""


def measure(variant: str, *, jobs: int) -> dict[str, float]:
    """Return the numbers of one measurement."""
    if variant != RAW:
        return w1.measure(variant, jobs=jobs)
    import psycopg  # the workload is for this database alone

    with psycopg.connect(database_url(), autocommit=True) as connection:
        return _measure(connection, jobs)


def _measure(connection: Any, jobs: int) -> dict[str, float]:
    now = datetime.now(UTC)
    connection.execute(TABLES)
    with connection.cursor() as cursor:
        rows = [(f"job-{number}", now, b"x" * 400) for number in range(jobs)]
        cursor.executemany("INSERT INTO raw_job VALUES (%s, %s, %s)", rows)
    claims, finishes = [], []
    for repetition in range(REPETITIONS):
        due = now + timedelta(seconds=repetition)
        connection.execute("UPDATE raw_job SET next_run_time = %s", (due,))
        connection.execute("TRUNCATE raw_run")
        connection.execute("VACUUM ANALYZE raw_job")
        began = time.perf_counter()
        runs = _claim(connection, due)
        claimed = time.perf_counter()
        _finish(connection, runs)
        claims.append(claimed - began)
        finishes.append(time.perf_counter() - claimed)
    claim, finish = statistics.median(claims), statistics.median(finishes)
    return {
        "runs_per_second": jobs / (claim + finish),
        "claim": 1000 * claim,
        "finish": 1000 * finish,
    }


def _claim(connection: Any, due: datetime) -> list[int]:
    with connection.transaction():
        ids = [id for id, _ in connection.execute(LOCK, (due,)).fetchall()]
        connection.execute(NEXT, (ids, [due + timedelta(hours=1)] * len(ids)))
        runs = connection.execute(CLAIM, (ids, [due] * len(ids))).fetchall()
    return [run for (run,) in runs]


def _finish(connection: Any, runs: list[int]) -> None:
    now = datetime.now(UTC)
    with connection.transaction():
        connection.execute(FINISH, (runs, [now] * len(runs), [0.01] * len(runs)))
