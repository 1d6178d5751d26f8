"""How much a node claims at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from zoneinfo import ZoneInfo

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger
from django.db import connection
from django.test.utils import CaptureQueriesContext

from async_apscheduler.engine.claims import FIRST_BATCH, LEAD, LONGEST_LEAD, MIN_BATCH, Claims
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.outlook import Lookout
from async_apscheduler.engine.passes import Pass
from async_apscheduler.engine.second_look import still_wanted
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.models import DjangoJob, DjangoJobExecution
from async_apscheduler.models.scheduling import job_values
from tests.databases import Vendor
from tests.support import committed_data
from tests.testapp import work

pytestmark = committed_data

PEERS = 5
FAIR = FIRST_BATCH // PEERS
JOBS = 4 * FAIR + FAIR // 2


@pytest.fixture
def node() -> Iterator[Node]:
    """One of five."""
    node = Node("one of five", 1000)
    node.join()
    node.peers = PEERS
    yield node
    node.leave()


def add_jobs(number: int, due: datetime) -> None:
    """Add jobs that are due at that time."""
    trigger = IntervalTrigger(hours=1, start_date=due, timezone=UTC)
    DjangoJob.objects.bulk_create(
        DjangoJob(**job_values(work.mark, trigger, id=f"job-{n}", args=None, kwargs=None))
        for n in range(number)
    )


def claim(claims: Claims, now: datetime, *, room: int | None = None) -> int:
    """Claim as much as is to be claimed at once; return how many runs that were."""
    room = claims.batch_size if room is None else room
    return len(claims.claim(now, ["default"], room=room, active=0, pending=False).runs)


def test_a_node_takes_its_share_first_and_more_while_there_is_enough(node: Node) -> None:
    """On SQLite, where writers do not queue, it always lets the others go first."""
    due = datetime.now(UTC) + timedelta(minutes=1)
    add_jobs(JOBS, due)
    store = DjangoJobStore()
    store.start(AsyncIOScheduler(timezone=UTC), "default")
    claims = Claims(store, node, "default")

    claimed = [claim(claims, due) for _ in range(3)]
    claimed.append(claims.batch_size)

    if connection.vendor == "sqlite":
        assert claimed == [MIN_BATCH] * 4
    else:
        assert claimed == [FAIR, 2 * FAIR, JOBS - 3 * FAIR, FAIR]


@pytest.fixture
def claims(node: Node) -> Claims:
    """Those of a node that is alone."""
    node.peers = 1
    store = DjangoJobStore()
    store.start(AsyncIOScheduler(timezone=UTC), "default")
    return Claims(store, node, "default")


def test_the_more_are_due_soon_the_earlier_they_are_claimed(claims: Claims) -> None:
    """Within limits: a few need no more than a moment, and none are claimed long before."""
    upcoming = claims._decoded

    leads = []
    for upcoming.upcoming in (0, 10, 600, 700, 10_000):
        leads.append(claims.lead)

    assert leads[0] == leads[1] == LEAD
    assert LEAD < leads[2] < leads[3] < LONGEST_LEAD
    assert leads[4] == LONGEST_LEAD


def test_a_claim_is_no_larger_than_the_time_for_it_allows(claims: Claims) -> None:
    """A few are always claimed, or a scheduler with much to start would claim nothing any more."""
    claims._pace = 0.01

    assert claims.feasible(timedelta(seconds=10)) == 1000
    assert claims.feasible(timedelta(seconds=0.1)) == MIN_BATCH
    assert claims.feasible(timedelta(seconds=-1)) == MIN_BATCH


def test_how_fast_claims_are_is_seen_from_those_of_many(claims: Claims) -> None:
    """One run alone takes nearly as long as fifty do."""
    due = datetime.now(UTC) + timedelta(minutes=1)
    add_jobs(1 + MIN_BATCH, due)
    claims._pace = 1000.0

    assert claim(claims, due, room=1) == 1
    assert claims._pace == 1000
    assert claim(claims, due) == MIN_BATCH
    assert claims._pace < 1


def words_of(message: str) -> list[str]:
    """Return what each statement of a message does, apart from its transaction."""
    words = [statement.split()[0] for statement in message.split("; ")]
    return [word for word in words if word not in ("BEGIN", "COMMIT")]


@pytest.mark.parametrize("number", [1, MIN_BATCH])
def test_a_claim_is_a_few_statements_however_many_are_due(
    claims: Claims, database: Vendor, number: int
) -> None:
    """A sign of life, what is due, what of it is running, the new runs, and the next times.

    In one transaction, without another inside it, and in three messages where the driver can.
    """
    due = datetime.now(UTC) + timedelta(minutes=1)
    add_jobs(number, due)
    claims.load_ahead(due, ["default"])

    with CaptureQueriesContext(connection) as queries:
        assert claim(claims, due) == number

    messages = [words for query in queries if (words := words_of(query["sql"]))]
    together = [["UPDATE", "SELECT"], ["SELECT"], ["INSERT", "UPDATE"]]
    alone = [[word] for word in chain.from_iterable(together)]
    assert messages == (together if database == "postgresql" else alone)


def test_times_that_a_clock_shows_twice_are_two(claims: Claims) -> None:
    """When clocks are set back half past three comes twice, and Python takes both for the same."""
    zone = ZoneInfo("Europe/Helsinki")
    due = datetime(2026, 10, 25, 2, 30, tzinfo=zone)
    for hours in (1, 2):
        trigger = IntervalTrigger(hours=hours, start_date=due, timezone=zone)
        job_id = f"every {hours}"
        job = DjangoJob(**job_values(work.mark, trigger, id=job_id, args=None, kwargs=None))
        job.next_run_time = due
        job.save()
    due = due.astimezone(UTC)

    claimed = claims.claim(due - LEAD / 2, ["default"], room=10, active=0, pending=False)

    assert dict(DjangoJob.objects.values_list("pk", "next_run_time")) == {
        f"every {hours}": due + timedelta(hours=hours) for hours in (1, 2)
    }
    assert len(claimed.runs) == 2
    assert still_wanted(claimed.runs) == claimed.runs


def test_a_late_fire_that_a_clock_shows_twice_is_known_if_it_has_been(claims: Claims) -> None:
    """A scheduler that was away when clocks were set back runs nothing twice, and goes on."""
    zone = ZoneInfo("Europe/Helsinki")
    missed = datetime(2026, 10, 25, 3, 0, tzinfo=zone)
    trigger = IntervalTrigger(minutes=10, start_date=missed, timezone=zone)
    job = DjangoJob(**job_values(work.mark, trigger, id="job", args=None, kwargs=None))
    job.next_run_time = missed
    job.save()
    last = missed.astimezone(UTC) + timedelta(minutes=90)
    DjangoJobExecution.objects.create(job_id="job", run_time=last, status="succeeded")

    assert claim(claims, last + timedelta(minutes=1)) == 0

    assert DjangoJob.objects.get().next_run_time == last + timedelta(minutes=10)


@pytest.mark.parametrize("seconds_left", [None, 60, 0.001])
def test_a_pass_is_over_when_its_lane_is_needed(claims: Claims, seconds_left: float | None) -> None:
    """It claims what there is time for, and goes on with the rest at once."""
    due = datetime.now(UTC) + timedelta(minutes=1)
    add_jobs(2 * MIN_BATCH, due)
    until = None if seconds_left is None else due + timedelta(seconds=seconds_left)
    work = Pass(claims, Lookout(claims._node))
    work.work(due, ["default"], active=0, room=0)  # it looks

    result = work.work(due, ["default"], active=0, room=1000, until=until)

    if seconds_left == 0.001:
        assert (len(result.claimed.runs), result.next_at) == (MIN_BATCH, due)
    else:
        assert len(result.claimed.runs) == 2 * MIN_BATCH
