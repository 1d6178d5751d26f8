"""Schedulers inside a web server, as its users start it: uvicorn, with one worker and with four."""

from __future__ import annotations

import re
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from async_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerNode, Status
from tests.acceptance.processes import Process, running
from tests.support import committed_data, wait_until
from tests.testapp import ledger

pytestmark = [committed_data, pytest.mark.timeout(120)]

SERVER = ("tests.testapp.asgi:application", "--port", "0")
ADDRESS = re.compile(r"running on (http://\S+)")
WORKERS = 4
JOBS = 200


def lines(path: Path, kind: str) -> Counter[str]:
    """Return how often each key of the ledger has such a line."""
    parts = [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []
    return Counter(key for word, key, *_ in parts if word == kind)


def address_of(server: Process) -> str:
    """Return where the server listens, once it does."""
    server.wait_for_output("running on http://")
    found = ADDRESS.search(server.output)
    assert found is not None
    return found[1]


def nodes(state: SchedulerNode.State) -> int:
    """Return how many nodes are in that state."""
    return SchedulerNode.objects.filter(state=state).count()


def test_each_worker_is_a_node_and_each_run_starts_once(tmp_path: Path) -> None:
    """Four workers share the jobs, serve the web, let runs end at SIGTERM, and leave."""
    book = tmp_path / "ledger"
    options = ("--workers", f"{WORKERS}")

    with running(
        tmp_path / "out", *SERVER, *options, module="uvicorn", TEST_LEDGER=str(book)
    ) as server:
        address = address_of(server)
        wait_until(lambda: nodes(SchedulerNode.State.RUNNING) == WORKERS, timeout=40)
        due = datetime.now(UTC) + timedelta(seconds=1)
        for number in range(JOBS):
            key = f"job-{number}"
            DjangoJob.objects.schedule(ledger.enter, "date", run_date=due, args=[key], id=key)
        wait_until(lambda: len(lines(book, "end")) == JOBS, timeout=40)
        page = httpx.get(f"{address}/admin/login/", timeout=20)
        DjangoJob.objects.schedule(ledger.enter, args=["last", 1.5], id="last")
        wait_until(lambda: lines(book, "start")["last"])
        server.send(signal.SIGTERM)
        server.wait(40)

    assert page.status_code == 200
    assert set(lines(book, "start").values()) == {1}
    assert lines(book, "end")["last"] == 1
    assert nodes(SchedulerNode.State.STOPPED) == WORKERS
    states = DjangoJobExecution.objects.values_list("status", flat=True)
    assert Counter(states) == {Status.SUCCEEDED: JOBS + 1}


@pytest.mark.once
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_scheduler_that_cannot_start_ends_the_server(tmp_path: Path, workers: str) -> None:
    """Without its tables it says what to do, and the server does not stay without a scheduler."""
    empty = {
        "TEST_RUN_ID": "not_migrated",
        "TEST_DATABASE": "sqlite",
        "TEST_DIRECTORY": str(tmp_path),
    }

    with running(
        tmp_path / "out", *SERVER, "--workers", workers, module="uvicorn", **empty
    ) as server:
        code = server.wait(40)

    assert "The scheduler does not start. Migrations of async_apscheduler" in server.output
    assert "manage.py migrate" in server.output
    assert "Application startup failed" in server.output
    if workers == "1":
        assert code == 3
