"""What a node sees when it looks whether there is something to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.outlook import NOTHING, Lookout, Outlook
from async_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerNode, Status
from tests.testapp import work

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
NOW = datetime.now(UTC)
THEN = NOW + 10 * MINUTE
KNOWN = Outlook(THEN, THEN, runs_wait=False, cancel_requested=False)


@pytest.fixture
def lookout() -> Lookout:
    """That of a scheduler that has joined."""
    node = Node("this", capacity=100)
    node.join()
    return Lookout(node)


def add_job(next_run_time: datetime | None, **options: Any) -> None:
    """Add a job that fires next at that time; without one it is paused."""
    trigger = {"trigger": "interval", "hours": 1}
    DjangoJob.objects.schedule(work.mark, next_run_time=next_run_time, **trigger, **options)


def add_run(available_at: datetime | None, status: Status = Status.PENDING) -> None:
    """Add a run that may begin at that time."""
    DjangoJobExecution.objects.create(
        job_id="job", run_time=NOW, status=status, available_at=available_at
    )


def add_job_of_another_environment() -> None:
    """Add one that this scheduler must not run."""
    add_job(NOW, id="elsewhere")
    DjangoJob.objects.filter(pk="elsewhere").update(environment="elsewhere")


def lose_all_nodes() -> None:
    """Declare every scheduler lost."""
    SchedulerNode.objects.update(state=SchedulerNode.State.LOST)


@pytest.mark.parametrize(
    "happens",
    [
        lambda: add_job(THEN - MINUTE),
        lambda: add_job(NOW - MINUTE),
        lambda: add_run(None),
        lambda: add_run(THEN - MINUTE),
        lose_all_nodes,
    ],
)
def test_what_is_to_be_done_sooner_than_was_known_is_news(
    lookout: Lookout, happens: Callable[[], None]
) -> None:
    """And so is that the others have given this node up."""
    assert not lookout.finds_news(["default"], KNOWN)

    happens()

    assert lookout.finds_news(["default"], KNOWN)


@pytest.mark.parametrize(
    "happens",
    [
        lambda: add_job(THEN),
        lambda: add_job(THEN + MINUTE),
        lambda: add_job(None),
        lambda: add_job(NOW, executor="another"),
        add_job_of_another_environment,
        lambda: add_run(THEN + MINUTE),
        lambda: add_run(None, Status.RUNNING),
    ],
)
def test_what_changes_nothing_before_the_time_that_is_known_is_none(
    lookout: Lookout, happens: Callable[[], None]
) -> None:
    """Then the scheduler looks anyway."""
    happens()

    assert not lookout.finds_news(["default"], KNOWN)


@pytest.mark.parametrize("happens", [lambda: add_job(THEN), lambda: add_run(THEN)])
def test_where_nothing_was_known_everything_is_news(
    lookout: Lookout, happens: Callable[[], None]
) -> None:
    """However far ahead it lies."""
    assert not lookout.finds_news(["default"], NOTHING)

    happens()

    assert lookout.finds_news(["default"], NOTHING)
