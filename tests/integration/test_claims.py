"""How much a node claims at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger
from django.db import connection

from async_apscheduler.engine.claims import MAX_BATCH, MIN_BATCH, Claims
from async_apscheduler.engine.nodes import Node
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.models import DjangoJob
from async_apscheduler.models.scheduling import job_values
from tests.support import committed_data
from tests.testapp import work

pytestmark = committed_data

PEERS = 5
FAIR = MAX_BATCH // PEERS
JOBS = 4 * FAIR + FAIR // 2


@pytest.fixture
def node() -> Iterator[Node]:
    """One of five."""
    node = Node("one of five", 1000)
    node.join()
    node.peers = PEERS
    yield node
    node.leave()


def claim(claims: Claims, now: datetime) -> int:
    """Claim as much as is to be claimed at once; return how many runs that were."""
    size = claims.batch_size
    return len(claims.claim(now, ["default"], room=size, active=0, pending=False).runs)


def test_a_node_takes_its_share_first_and_more_while_there_is_enough(node: Node) -> None:
    """On SQLite, where writers do not queue, it always lets the others go first."""
    due = datetime.now(UTC) + timedelta(minutes=1)
    trigger = IntervalTrigger(hours=1, start_date=due, timezone=UTC)
    DjangoJob.objects.bulk_create(
        DjangoJob(**job_values(work.mark, trigger, id=f"job-{n}", args=None, kwargs=None))
        for n in range(JOBS)
    )
    store = DjangoJobStore()
    store.start(AsyncIOScheduler(timezone=UTC), "default")
    claims = Claims(store, node, "default")

    claimed = [claim(claims, due) for _ in range(3)]
    claimed.append(claims.batch_size)

    if connection.vendor == "sqlite":
        assert claimed == [MIN_BATCH] * 4
    else:
        assert claimed == [FAIR, 2 * FAIR, JOBS - 3 * FAIR, FAIR]
