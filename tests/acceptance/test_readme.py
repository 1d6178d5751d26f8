"""The README's own code, put together to a project and run."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.processes import ROOT, running
from tests.support import wait_until

pytestmark = [pytest.mark.once, pytest.mark.timeout(120)]

BLOCK = re.compile(r"^```python\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SETTINGS = """
SECRET_KEY = "only for a test"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}
ROOT_URLCONF = "shop.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["*"]
"""
MODELS = """
from django.db import models

class Order(models.Model):
    closed = models.BooleanField(default=False)
"""
URLS = """
from django.urls import path
from shop.views import remind

urlpatterns = [path("remind", remind)]
"""
USE = """
import asyncio, django
django.setup()
from django.test import AsyncClient
from async_apscheduler.models import DjangoJob
from shop import more_jobs, own_scheduler
from shop.models import Order

async def main():
    await Order.objects.acreate()
    answer = await AsyncClient().get("/remind")
    assert answer.json()["job"] == "hourly-count", answer.content
    await own_scheduler.main()
    assert (await DjangoJob.objects.aget(pk="nightly")).trigger["timezone"] == "Europe/Helsinki"
    await DjangoJob.objects.aschedule(more_jobs.check_orders, id="check")

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project made of the README's Python blocks, each in the file that its first line names."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    files = {"settings.py": SETTINGS, "shop/models.py": MODELS, "shop/urls.py": URLS}
    for name, code in BLOCK.findall((ROOT / "README.md").read_text()):
        files[name] = files.get(name, "") + code
    for name, code in files.items():
        (folder / name).write_text(code)
    django(folder, "-m", "django", "migrate", "--run-syncdb", "-v0")
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Return the variables under which the project's own settings count."""
    return {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(folder)}


def django(folder: Path, *arguments: str) -> None:
    """Run Python in the project, and fail with what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **environment(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_python_block_names_its_file() -> None:
    """A block that this test does not run would be a promise that nothing keeps."""
    readme = (ROOT / "README.md").read_text()

    assert readme.count("```python") == len(BLOCK.findall(readme)) > 5


def test_the_blocks_work_together(project: Path) -> None:
    """Views, jobs and an own scheduler of the README do what it says."""
    django(project, "-c", USE)


def test_the_command_prints_what_the_readme_shows(project: Path, tmp_path: Path) -> None:
    """The jobs of the first screen are found, declared, and told in a line."""
    command = ("runasyncscheduler", "--name", "web-1")

    with running(tmp_path / "out", *command, folder=project, **environment(project)) as scheduler:
        scheduler.wait_for_output("added count-orders, close-books; next run: ")
        scheduler.wait_for_output("check succeeded in")
        scheduler.send(signal.SIGTERM)

        assert scheduler.wait() == 0


def test_the_web_server_brings_its_scheduler(project: Path, tmp_path: Path) -> None:
    """The README's application starts under uvicorn with a scheduler, and stops with it."""
    server = ("shop.asgi:application", "--port", "0")

    with running(
        tmp_path / "out", *server, folder=project, module="uvicorn", **environment(project)
    ) as web:
        web.wait_for_output("Application startup complete")
        wait_until(lambda: "running" in states_of_nodes(project))
        web.send(signal.SIGTERM)
        web.wait()

    assert set(states_of_nodes(project)) == {"stopped"}


def states_of_nodes(project: Path) -> list[str]:
    """Return the states of all schedulers that the project has had."""
    with closing(sqlite3.connect(project / "shop.sqlite3")) as database:
        rows = database.execute("SELECT state FROM async_apscheduler_schedulernode")
        return [state for (state,) in rows]
