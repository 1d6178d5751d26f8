"""`manage.py runasyncscheduler` as its users meet it: a process, signals, an exit code."""

from __future__ import annotations

import signal
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder

from async_apscheduler.models import DjangoJob, DjangoJobExecution, Status
from tests.acceptance.processes import running
from tests.outage import database_away
from tests.support import committed_data, wait_until
from tests.testapp import ledger, work

pytestmark = [committed_data, pytest.mark.timeout(120)]

COMMAND = "runasyncscheduler"


def starts(path: Path) -> Counter[str]:
    """Return how often each key of the ledger was started."""
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(line.split("\t")[1] for line in lines if line.startswith("start"))


def test_it_says_what_it_found_and_runs_what_is_due(tmp_path: Path) -> None:
    """One line tells the jobs and the next run; each run is logged; SIGTERM ends it with 0."""
    DjangoJob.objects.schedule(work.anote, "interval", hours=1, id="hourly")

    with running(tmp_path / "out", COMMAND, "--name", "node-1") as scheduler:
        scheduler.wait_for_output("next run: hourly")
        DjangoJob.objects.schedule(work.anote, id="now")
        scheduler.wait_for_output("now succeeded in")
        scheduler.send(signal.SIGTERM)

        assert scheduler.wait() == 0

    assert "node-1" in scheduler.output
    assert DjangoJobExecution.objects.get(job_id="now").status == Status.SUCCEEDED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_lets_runs_end_before_it_exits(tmp_path: Path, number: signal.Signals) -> None:
    """A run that has begun ends and is recorded; then the exit code is 0."""
    book = tmp_path / "ledger"

    with running(tmp_path / "out", COMMAND, TEST_LEDGER=str(book)) as scheduler:
        DjangoJob.objects.schedule(ledger.enter, args=["a", 1.5], id="a")
        wait_until(lambda: starts(book))
        scheduler.send(number)

        assert scheduler.wait() == 0

    assert DjangoJobExecution.objects.get(job_id="a").status == Status.SUCCEEDED


@pytest.mark.parametrize("function", [ledger.enter, ledger.enter_plain])
def test_the_second_signal_ends_it_at_once(tmp_path: Path, function: object) -> None:
    """Runs are cancelled and recorded as cancelled; a thread that cannot be stopped is left."""
    book = tmp_path / "ledger"

    with running(tmp_path / "out", COMMAND, TEST_LEDGER=str(book)) as scheduler:
        DjangoJob.objects.schedule(function, args=["endless", 600.0], id="endless")
        wait_until(lambda: starts(book))
        scheduler.send(signal.SIGTERM)
        scheduler.wait_for_output("Stopping: 1 run may")
        scheduler.send(signal.SIGTERM)

        assert scheduler.wait() == 0

    assert DjangoJobExecution.objects.get(job_id="endless").status == Status.CANCELLED


def test_beside_a_newer_version_it_does_not_start(tmp_path: Path) -> None:
    """Tables that a newer version has made are not touched by an older one."""
    recorder = MigrationRecorder(connection)
    recorder.record_applied("async_apscheduler", "0099_from_the_future")
    try:
        with running(tmp_path / "out", COMMAND) as scheduler:
            assert scheduler.wait() == 1
    finally:
        recorder.record_unapplied("async_apscheduler", "0099_from_the_future")

    assert "0099_from_the_future" in scheduler.output
    assert "Update the package" in scheduler.output


def test_without_migrations_it_says_so(tmp_path: Path) -> None:
    """It names the command to run, and exits with an error."""
    empty = {"TEST_RUN_ID": "not_migrated", "TEST_DATABASE": "sqlite", "TEST_DIRECTORY": ""}

    with running(
        tmp_path / "out", COMMAND, **{**empty, "TEST_DIRECTORY": str(tmp_path)}
    ) as scheduler:
        assert scheduler.wait() == 1

    assert "manage.py migrate" in scheduler.output


def test_it_waits_for_a_database_that_does_not_answer(tmp_path: Path) -> None:
    """A start during an outage says so, and goes on when the database is back."""
    outage = database_away()
    outage.__enter__()
    with running(tmp_path / "out", COMMAND) as scheduler:
        try:
            scheduler.wait_for_output("The database does not answer", timeout=40)
            assert "nothing is due" not in scheduler.output
        finally:
            outage.__exit__(None, None, None)
            connections.close_all()  # the outage ended this test's connection as well
        scheduler.wait_for_output("nothing is due", timeout=40)
        scheduler.send(signal.SIGTERM)

        assert scheduler.wait() == 0


def test_it_starts_where_the_terminal_knows_ascii_only(tmp_path: Path) -> None:
    """What cannot be printed is spelled out; nothing that is only said stops a scheduler."""
    DjangoJob.objects.schedule(ledger.enter, "interval", minutes=30, args=["key"], id="jöb 😀")

    with running(tmp_path / "out", COMMAND, PYTHONIOENCODING="ascii") as scheduler:
        scheduler.wait_for_output("next run: j\\xf6b \\U0001f600 at ")
        scheduler.send(signal.SIGTERM)

        assert scheduler.wait() == 0
    assert "in 30 minutes" in scheduler.output or "in 29 minutes" in scheduler.output


@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt"])
def test_a_task_of_a_job_cannot_end_the_process(tmp_path: Path, kind: str) -> None:
    """Asyncio lets these two through from any task; the run fails, and the scheduler goes on."""
    DjangoJob.objects.schedule(work.throw_in_a_task, args=[kind], id="exits")

    with running(tmp_path / "out", COMMAND) as scheduler:
        failed = DjangoJobExecution.objects.filter(job_id="exits", status=Status.FAILED)
        wait_until(failed.exists)
        DjangoJob.objects.schedule(work.anote, id="next")
        scheduler.wait_for_output("next succeeded")
        scheduler.send(signal.SIGTERM)

        assert scheduler.wait() == 0
    assert f"made failed: {kind}" in scheduler.output


def test_a_concurrency_of_none_is_refused(tmp_path: Path) -> None:
    """The message says what would be right."""
    with running(tmp_path / "out", COMMAND, "--concurrency", "0") as scheduler:
        assert scheduler.wait() == 2

    assert "'0' is not a number from 1 on" in scheduler.output


def test_kill_9_loses_nothing_due_and_repeats_nothing(tmp_path: Path) -> None:
    """After a kill in the middle of runs a new process does the rest; each key starts once."""
    book = tmp_path / "ledger"
    due = datetime.now(UTC)
    keys = [f"job-{number}" for number in range(40)]
    for key in keys:
        DjangoJob.objects.schedule(ledger.enter, "date", run_date=due, args=[key, 0.2], id=key)
    options = (COMMAND, "--concurrency", "5")

    with running(tmp_path / "first", *options, TEST_LEDGER=str(book)) as first:
        wait_until(lambda: len(starts(book)) >= 10)
        first.send(signal.SIGKILL)
        first.wait()
    with running(tmp_path / "second", *options, TEST_LEDGER=str(book)) as second:
        wait_until(lambda: not DjangoJob.objects.exists(), timeout=30)
        second.send(signal.SIGTERM)
        assert second.wait() == 0

    begun = starts(book)
    rows = Counter(DjangoJobExecution.objects.values_list("job_id", flat=True))
    claimed_by_the_dead = DjangoJobExecution.objects.running().count()
    assert set(rows) == set(keys)
    assert max(rows.values()) == 1
    assert max(begun.values()) == 1
    assert len(keys) - len(begun) <= claimed_by_the_dead
