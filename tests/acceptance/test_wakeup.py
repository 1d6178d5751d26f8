"""How soon a scheduler process notices what another process asks for."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from statistics import median

import pytest
from django.db import connection

from async_apscheduler.models import DjangoJob, DjangoJobExecution, Status
from tests.acceptance.processes import running
from tests.support import committed_data, wait_until
from tests.testapp import ledger

pytestmark = [committed_data, pytest.mark.timeout(120)]

COMMAND = "runasyncscheduler"
ROUNDS = 30
AT_ONCE = 0.1
"""Seconds from noticing that a run is asked for to the first line of the job, at the median."""
POLL_INTERVAL = 1.0
"""Seconds, as it is by default."""


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """The ledger of the jobs, and the job that writes into it."""
    DjangoJob.objects.schedule(ledger.enter, "interval", hours=1, args=["key"], id="job")
    return tmp_path / "ledger"


def starts(book: Path) -> list[float]:
    """Return when the job has started, each time, in seconds since the epoch."""
    lines = book.read_text().splitlines() if book.exists() else []
    fields = [line.split("\t") for line in lines if line.startswith("start")]
    return [int(moment) / 1e9 for *_, moment in fields]


def seconds_to_start(book: Path) -> float:
    """Run the job now, and return how long that took to its first line."""
    before = len(starts(book))
    asked_at = time.time()
    DjangoJob.objects.get(pk="job").run()
    wait_until(lambda: len(starts(book)) > before)
    return starts(book)[-1] - asked_at


def wait_for_the_end_of_all_runs() -> None:
    """Wait until the scheduler has written how they ended, so that it has nothing left to do."""
    wait_until(lambda: not DjangoJobExecution.objects.exclude(status=Status.SUCCEEDED).exists())


def listener() -> int | None:
    """Return the process id of the server's side of the connection that listens, if there is one.

    On other databases there is none.
    """
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'LISTEN%%'"
        )
        row = cursor.fetchone()
    return row[0] if row else None


@pytest.mark.slow
def test_run_now_starts_at_once(tmp_path: Path, book: Path, database: str) -> None:
    """Within 100 ms at the median on PostgreSQL; elsewhere as soon after POLL_INTERVAL."""
    hears = database == "postgresql"
    rounds, limit = (ROUNDS, AT_ONCE) if hears else (5, POLL_INTERVAL + AT_ONCE)

    with running(tmp_path / "out", COMMAND, TEST_LEDGER=str(book)) as scheduler:
        scheduler.wait_for_output("next run: job")
        if hears:
            wait_until(listener)
        seconds_to_start(book)  # the first one also decodes the job
        taken = []
        for _ in range(rounds):
            wait_for_the_end_of_all_runs()
            taken.append(seconds_to_start(book))
        scheduler.send(signal.SIGTERM)
        assert scheduler.wait() == 0

    print(
        f"From run() to the first line of the job on {database}, {rounds} times: "
        f"median {median(taken) * 1000:.1f} ms, longest {max(taken) * 1000:.1f} ms"
    )
    assert median(taken) < limit


def test_a_killed_listener_comes_back(tmp_path: Path, book: Path, database: str) -> None:
    """Runs that are asked for in between begin all the same, once each."""
    if database != "postgresql":
        pytest.skip("Only PostgreSQL passes on notices")
    killed = []

    with running(tmp_path / "out", COMMAND, TEST_LEDGER=str(book)) as scheduler:
        scheduler.wait_for_output("next run: job")
        for _ in range(5):
            pid = wait_until(lambda: (pid := listener()) not in killed and pid)
            killed.append(pid)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
            seconds_to_start(book)
            wait_for_the_end_of_all_runs()
        pid = wait_until(lambda: (pid := listener()) not in killed and pid)
        scheduler.wait_for_output("The listener works again")
        scheduler.send(signal.SIGTERM)
        assert scheduler.wait() == 0

    assert len(starts(book)) == len(killed) == 5
    assert listener() is None
