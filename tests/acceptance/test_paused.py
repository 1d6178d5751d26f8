"""`manage.py runasyncscheduler --paused`: a look at a copy of somebody's database."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from async_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    JobChange,
    SchedulerNode,
    Status,
)
from tests.acceptance.processes import ROOT, running
from tests.integration.admin_support import act, told
from tests.support import committed_data, wait_until
from tests.testapp import work

pytestmark = [committed_data, pytest.mark.timeout(120)]

SETTINGS = """
from tests.settings import *
ASYNC_APSCHEDULER = {"HEARTBEAT_INTERVAL": 0.3, "NODE_TIMEOUT": 2, "RETENTION": 60}
"""


@pytest.fixture
def hasty(tmp_path: Path) -> dict[str, str]:
    """Return the environment of processes that rescue, prune and tidy as soon as they may."""
    (tmp_path / "hasty_settings.py").write_text(SETTINGS)
    return {"DJANGO_SETTINGS_MODULE": "hasty_settings", "PYTHONPATH": f"{tmp_path}:{ROOT}"}


@pytest.fixture
def copied_rows(transactional_db: None) -> None:
    """Insert what a scheduler would run, remove, release, rescue, tidy away and prune."""
    now = datetime.now(UTC)
    long_ago = now - timedelta(hours=1)
    schedule = DjangoJob.objects.schedule
    schedule(work.anote, "date", run_date=now, id="due")
    schedule(work.anote, "interval", hours=1, id="asked").run()
    schedule(work.anote, "interval", hours=1, id="declared-once")
    DjangoJob.objects.filter(pk="declared-once").update(source="declared")
    DjangoJob.objects.quarantine(schedule(work.anote, "cron", hour=3, id="readable"), "gone")
    schedule(work.anote, "cron", hour=3, id="exhausted")
    DjangoJob.objects.filter(pk="exhausted").update(next_run_time=None)
    node = SchedulerNode.objects.create(
        name="of the original", started_at=long_ago, heartbeat_at=long_ago, capacity=9
    )
    add = DjangoJobExecution.objects.create
    add(job_id="readable", run_time=now, status=Status.RUNNING, node=node)
    add(job_id="removed", run_time=now, status=Status.PENDING)
    add(job_id="asked", run_time=long_ago, status=Status.SUCCEEDED, finished_at=long_ago)


def everything_but(node_name: str) -> list[Any]:
    """Return all rows but that of one node."""
    return [
        *DjangoJob.objects.order_by("pk").values(),
        *DjangoJobExecution.objects.order_by("pk").values(),
        *JobChange.objects.order_by("pk").values(),
        *SchedulerNode.objects.exclude(name=node_name).order_by("pk").values(),
    ]


def beats(node_name: str) -> datetime:
    """Return the last sign of life of a node."""
    moment: datetime = SchedulerNode.objects.get(name=node_name).heartbeat_at
    return moment


def test_a_paused_scheduler_writes_nothing_but_its_node(
    tmp_path: Path, hasty: dict[str, str], copied_rows: None, admin_client: Client
) -> None:
    """It says so in its first line and lives on, and the admin knows that it runs nothing."""
    before = everything_but("looker-on")

    command = ("runasyncscheduler", "--paused", "--name", "looker-on")
    with running(tmp_path / "out", *command, **hasty) as scheduler:
        scheduler.wait_for_output("PAUSED")
        joined = beats("looker-on")
        wait_until(lambda: beats("looker-on") > joined + timedelta(seconds=2))
        page = act(admin_client, "djangojob", "run_now", "asked")
        nodes = admin_client.get("/admin/async_apscheduler/schedulernode/").content.decode()
        scheduler.send(signal.SIGTERM)
        assert scheduler.wait() == 0

    said = [line for line in scheduler.output.splitlines() if "looker-on" in line]
    assert "PAUSED: it runs nothing and changes nothing until it is started without" in said[0]
    assert "5 jobs" in said[0]
    assert "due since" in said[0]
    assert everything_but("looker-on") == before
    assert "No scheduler is running" in told(page)[0]
    assert "It was started with --paused." in nodes


def test_started_without_the_option_it_does_all_of_that(
    tmp_path: Path, hasty: dict[str, str], copied_rows: None
) -> None:
    """So the rows of this test are such as a scheduler would change, each of them."""
    runs, jobs = DjangoJobExecution.objects, DjangoJob.objects
    left = [("asked", "scheduled"), ("readable", "scheduled")]

    with running(tmp_path / "out", "runasyncscheduler", "--name", "worker", **hasty) as scheduler:
        scheduler.wait_for_output("due since")
        wait_until(lambda: SchedulerNode.objects.get(name="of the original").state == "lost")
        wait_until(lambda: not runs.filter(status=Status.PENDING).exists())
        wait_until(lambda: not runs.finished().filter(job_id="asked", duration=None).exists())
        wait_until(lambda: list(jobs.order_by("pk").values_list("pk", "status")) == left)
        scheduler.send(signal.SIGTERM)
        assert scheduler.wait() == 0

    assert runs.get(job_id="due", node__name="worker").status == Status.SUCCEEDED
