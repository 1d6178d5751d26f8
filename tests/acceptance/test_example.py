"""The example as its visitors meet it: one command, a page with buttons, the admin, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.acceptance.processes import ROOT, Process
from tests.support import wait_until

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.timeout(180)]

PATIENCE = 60
"""Seconds for what takes ten on a machine that does nothing else."""

RUNS = "SELECT job_id, status FROM async_apscheduler_djangojobexecution"
JOBS = "SELECT id FROM async_apscheduler_djangojob"


def environment_for(database: Path) -> dict[str, str]:
    """Return what makes a process one of the example, on this SQLite file."""
    return {
        "DJANGO_SETTINGS_MODULE": "example_asgi.settings",
        "EXAMPLE_DATABASE": str(database),
    }


class Demo(Process):
    """The example's command `demo` on a database of its own, with a visitor's browser."""

    def __init__(self, folder: Path) -> None:
        self._database = folder / "example.sqlite3"
        self.children: dict[str, psutil.Process] = {}
        self.browser = httpx.Client(trust_env=False, follow_redirects=True)
        super().__init__(folder / "output", "demo", **environment_for(self._database))

    def wait_until_open(self) -> None:
        """Wait until both children are at work, and remember who they are."""
        self.wait_for_output("next run", PATIENCE)
        for child in psutil.Process(self.pid).children():
            (name,) = {"uvicorn", "runasyncscheduler"}.intersection(child.cmdline())
            self.children[name] = child
        address = re.search(r"http://127\.0\.0\.1:\d+", self.output)
        assert address
        self.browser.base_url = address[0]

    def press(self, path: str) -> httpx.Response:
        """Press a button of the page, whose form posts to `path`."""
        page = self.browser.get("/")
        assert f'formaction="{path}"' in page.text
        return self.browser.post(path, headers={"X-CSRFToken": self.browser.cookies["csrftoken"]})

    def ask(self, query: str) -> list[tuple[str, ...]]:
        """Return rows of the example's database."""
        with closing(sqlite3.connect(self._database)) as connection:
            return connection.execute(query).fetchall()

    def wait_for_run(self, job_id: str, status: str) -> None:
        """Wait until a run of the job has this status."""
        wait_until(lambda: (job_id, status) in self.ask(RUNS), PATIENCE)

    @property
    def has_children(self) -> bool:
        """True while one of the children lives."""
        return any(is_alive(child) for child in self.children.values())

    def end(self) -> None:
        """Kill what still runs, the children included, and close the browser."""
        super().end()
        for child in self.children.values():
            with suppress(psutil.NoSuchProcess):  # it has ended, as it should
                child.kill()
        self.browser.close()


def is_alive(process: psutil.Process) -> bool:
    """Return False also for a process that has ended and only waits to be reaped."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def opened(folder: Path) -> Iterator[Demo]:
    """Start a demo, wait until it is open, and leave nothing of it behind."""
    demo = Demo(folder)
    try:
        demo.wait_until_open()
        yield demo
    finally:
        demo.end()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo that the tests of its page share."""
    with opened(tmp_path_factory.mktemp("desk")) as demo:
        yield demo


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo of the test's own, to be ended."""
    with opened(tmp_path) as demo:
        yield demo


def test_its_jobs_run_by_themselves(desk: Demo) -> None:
    """Coroutines that talk to the web server and to the database, and a plain function."""
    jobs = ("read-stations", "compare-stations", "write-bulletin")

    for job_id in jobs:
        desk.wait_for_run(job_id, "succeeded")

    assert "Bulletin of" in desk.browser.get("/").text


def test_run_now_runs_the_job_that_fails(desk: Demo) -> None:
    """The button asks the scheduler's process, which records the error of the last attempt."""
    desk.press("/jobs/read-tide-gauge/run/")

    desk.wait_for_run("read-tide-gauge", "failed")

    assert "its float is stuck" in desk.browser.get("/").text


def test_the_page_schedules_a_balloon_that_rises(desk: Demo) -> None:
    """An async view stores a one-off job, and the job reaches its end."""
    page = desk.press("/stations/harbour/balloon/")

    assert "Balloon from Harbour" in page.text
    desk.wait_for_run("balloon-harbour", "succeeded")
    assert ("balloon-harbour",) not in desk.ask(JOBS)


def test_a_balloon_that_is_called_off_never_rises(desk: Demo) -> None:
    """Another view removes the job before its time."""
    desk.press("/stations/castle/balloon/")

    page = desk.press("/jobs/balloon-castle/remove/")

    assert "Balloon from Castle" not in page.text
    assert ("balloon-castle",) not in desk.ask(JOBS)
    assert "balloon-castle" not in [job_id for job_id, _ in desk.ask(RUNS)]


def test_a_slow_run_is_cancelled_from_the_page(desk: Demo) -> None:
    """The web process asks, the scheduler's process cancels."""
    desk.press("/jobs/compute-forecast/run/")
    desk.wait_for_run("compute-forecast", "running")
    ((pk,),) = desk.ask(
        "SELECT id FROM async_apscheduler_djangojobexecution"
        " WHERE job_id = 'compute-forecast' AND status = 'running'"
    )

    desk.press(f"/runs/{pk}/cancel/")

    desk.wait_for_run("compute-forecast", "cancelled")


def test_a_closed_station_comes_with_the_job_that_reopens_it(desk: Demo) -> None:
    """Both are stored in one transaction; the job, run now, opens the station."""
    page = desk.press("/stations/hill/repair/")
    assert "Reopen Hill" in page.text
    assert desk.ask("SELECT slug FROM weather_station WHERE NOT is_open") == [("hill",)]

    desk.press("/jobs/reopen-hill/run/")

    wait_until(lambda: not desk.ask("SELECT 1 FROM weather_station WHERE NOT is_open"), PATIENCE)


def test_the_demo_login_opens_the_admin(desk: Demo) -> None:
    """Both lists answer and show the jobs."""
    desk.wait_for_run("read-stations", "succeeded")
    desk.browser.get("/admin/login/")
    login = {"username": "demo", "password": "demo", "next": "/admin/"}
    token = {"csrfmiddlewaretoken": desk.browser.cookies["csrftoken"]}
    assert "Log out" in desk.browser.post("/admin/login/", data={**login, **token}).text

    lists = [
        desk.browser.get(f"/admin/async_apscheduler/{name}/")
        for name in ("djangojob", "djangojobexecution")
    ]

    assert [page.status_code for page in lists] == [200, 200]
    assert all("read-stations" in page.text for page in lists)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(demo: Demo, number: signal.Signals) -> None:
    """Both children stop, the scheduler after saying so, and the exit code is 0."""
    demo.send(number)

    assert demo.wait(PATIENCE) == 0
    assert "Stopping" in demo.output
    assert not demo.has_children


@pytest.mark.parametrize("name", ["uvicorn", "runasyncscheduler"])
def test_when_one_child_dies_it_stops_the_other_and_fails(demo: Demo, name: str) -> None:
    """It names who died; an exit code that is not 0 tells scripts."""
    demo.children[name].kill()

    assert demo.wait(PATIENCE) == 1
    assert "ended by itself: killed by SIGKILL" in demo.output
    assert not demo.has_children


def test_kill_9_of_the_parent_leaves_no_child(demo: Demo) -> None:
    """The children notice that their parent is gone and end."""
    demo.send(signal.SIGKILL)
    demo.wait()

    wait_until(lambda: not demo.has_children, PATIENCE)


def test_a_port_that_is_taken_is_refused_by_name(desk: Demo, tmp_path: Path) -> None:
    """It says why and what to do before it touches the database."""
    database = tmp_path / "untouched.sqlite3"
    port = str(desk.browser.base_url.port)

    refused = subprocess.run(
        [sys.executable, ROOT / "example_asgi" / "manage.py", "demo", "--port", port],
        cwd=tmp_path,
        env={**os.environ, **environment_for(database)},
        capture_output=True,
        text=True,
    )

    assert refused.returncode == 1
    assert f"Port {port} cannot be used" in refused.stderr
    assert not database.exists()
