"""`runasyncscheduler --reload`: new code is at work without a restart by hand."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.acceptance.processes import Process, running
from tests.support import wait_until

pytestmark = [pytest.mark.once, pytest.mark.timeout(120)]

SETTINGS = """
SECRET_KEY = "only for a test"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "async_apscheduler", "shop",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}
"""
JOBS = """
from async_apscheduler import scheduled_job

@scheduled_job("interval", hours=1, id="NAME")
async def job(): ...
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with one app, its database migrated."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "jobs.py").write_text(JOBS.replace("NAME", "first"))
    (tmp_path / "settings.py").write_text(SETTINGS)
    with running_in(tmp_path, "migrate") as migration:
        assert migration.wait() == 0
    return tmp_path


def running_in(project: Path, *command: str) -> AbstractContextManager[Process]:
    """Run a command of the project."""
    environment = {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(project)}
    return running(project / "output", *command, folder=project, **environment)


def saved_again(project: Path) -> bool:
    """Save the file once more: a reloader that begins to watch later sees no earlier change."""
    (project / "shop" / "jobs.py").touch()
    return True


def test_a_change_in_the_code_is_taken_over(project: Path) -> None:
    """The scheduler ends and starts again with the new declarations; Ctrl-C ends it all."""
    with running_in(project, "runasyncscheduler", "--reload") as scheduler:
        scheduler.wait_for_output("added first")

        (project / "shop" / "jobs.py").write_text(JOBS.replace("NAME", "second"))
        wait_until(lambda: saved_again(project) and "added second" in scheduler.output, 30)
        scheduler.send_to_group(signal.SIGINT)

        assert scheduler.wait() == 0


SLOW_JOB = """
import asyncio
from async_apscheduler import scheduled_job

@scheduled_job("date", id="slow")
async def job():
    print("slow job began", flush=True)
    await asyncio.sleep(SECONDS)
"""


def test_a_stop_request_lets_runs_end(project: Path) -> None:
    """The parent passes SIGTERM on, and waits for its child."""
    (project / "shop" / "jobs.py").write_text(SLOW_JOB.replace("SECONDS", "1"))
    with running_in(project, "runasyncscheduler", "--reload") as scheduler:
        scheduler.wait_for_output("slow job began")

        scheduler.send(signal.SIGTERM)

        assert scheduler.wait() == 0
        assert "1 run may go on for 30 seconds" in scheduler.output
        assert "succeeded" in scheduler.output


def test_a_second_ctrl_c_cancels_what_runs(project: Path) -> None:
    """The terminal sends Ctrl-C to parent and child, which counts once; another one cancels."""
    (project / "shop" / "jobs.py").write_text(SLOW_JOB.replace("SECONDS", "600"))
    with running_in(project, "runasyncscheduler", "--reload") as scheduler:
        scheduler.wait_for_output("slow job began")

        scheduler.send_to_group(signal.SIGINT)
        scheduler.wait_for_output("1 run may go on for 30 seconds")
        cancelled = "slow cancelled"
        wait_until(lambda: cancelled in scheduler.output or scheduler.send_to_group(signal.SIGINT))

        assert scheduler.wait() == 0
