"""What every test gets: a watched event loop, closed connections, and rounds that repeat nothing.

A test fails when anything blocks its event loop (see tests/blocking.py), unless it says why that
is its point: `@pytest.mark.may_block("the watchdog must see a blocked loop")`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.db import connections

from async_apscheduler.registry import Registry, registry
from tests.blocking import UNSEEN, watched_loops
from tests.databases import Vendor

UNIT_TESTS = Path(__file__).parent / "unit"
HAS_FAILED = pytest.StashKey[bool]()


@pytest.fixture(autouse=True)
def loops_are_not_blocked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test when it, or what it started in this process, blocked a running loop."""
    if request.node.get_closest_marker("may_block"):
        yield
        return
    with watched_loops() as caught:
        yield
    if caught and HAS_FAILED not in request.node.stash:
        pytest.fail("The event loop was blocked: " + "\n".join(caught), pytrace=False)


@pytest.fixture(autouse=True)
def connections_of_the_shared_thread_are_closed() -> Iterator[None]:
    """Close what `await Model.objects...` opened in the thread that asgiref keeps for it.

    No request ends there, so Django never closes them, and an open connection keeps PostgreSQL
    from dropping the test database.
    """
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def isolated_registry() -> Iterator[Registry]:
    """The registry of declarations, empty; what it held before is back after the test."""
    with registry.isolated() as empty:
        yield empty


@pytest.fixture
def database() -> Vendor:
    """Which database this round runs on: "sqlite", "postgresql" or "mariadb"."""
    vendor: Vendor = settings.DATABASE_VENDOR
    return vendor


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember a failure, so that no fixture reports the same one a second time."""
    report = yield
    if report.failed:
        item.stash[HAS_FAILED] = True
    return report


def pytest_report_header() -> str:
    """Say it when a whole kind of defect cannot be seen."""
    return f"Blocked event loops go unseen: {UNSEEN}" if UNSEEN else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of the rounds after the first what does not depend on the database."""
    if os.environ.get("TEST_ROUND") != "later":
        return
    done = [item for item in items if _does_not_depend_on_the_database(item)]
    config.hook.pytest_deselected(items=done)
    items[:] = [item for item in items if item not in done]


def _does_not_depend_on_the_database(item: pytest.Item) -> bool:
    return UNIT_TESTS in item.path.parents or item.get_closest_marker("once") is not None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Leave the numbers of this round for tests/rounds.py."""
    if not (tally := os.environ.get("TEST_TALLY")):
        return
    outcomes = {name: len(reports) for name, reports in terminalreporter.stats.items()}
    counts = {
        "passed": outcomes.get("passed", 0),
        "failed": outcomes.get("failed", 0) + outcomes.get("error", 0),
        "skipped": outcomes.get("skipped", 0) + outcomes.get("xfailed", 0),
    }
    Path(tally).write_text(json.dumps(counts))
