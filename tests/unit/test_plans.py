"""What becomes of due fires: coalesce, misfire and overlap rules, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.job import Job
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler.engine.backoff import FIRST, LONGEST, Backoff
from async_apscheduler.engine.plans import MAX_BURST, Plan, plan_fires
from async_apscheduler.models import Reason

START = datetime(2026, 1, 1, tzinfo=UTC)


def minutes(number: float) -> datetime:
    """Return the moment so many minutes after the start."""
    return START + timedelta(minutes=number)


def job(**options: Any) -> Job:
    """Return a job that fires every minute from the start on, not yet run."""
    made = object.__new__(Job)
    defaults = {
        "id": "job",
        "trigger": IntervalTrigger(minutes=1, start_date=START, timezone=UTC),
        "next_run_time": START,
        "coalesce": True,
        "misfire_grace_time": None,
        "max_instances": 1,
    }
    for name, value in (defaults | options).items():
        setattr(made, name, value)
    return made


def plan(made: Job, now: datetime, *, active: int = 0, room: int = 10) -> Plan:
    """Plan the job's fires."""
    return plan_fires(made, now, active=active, room=room)


def test_one_due_fire_starts() -> None:
    """On time there is one run, and the next fire is known."""
    result = plan(job(), minutes(0.5))

    assert result == Plan(start=[START], next_run_time=minutes(1))


def test_late_fires_coalesce_into_the_last() -> None:
    """The last fire runs; the others are counted in one row."""
    result = plan(job(), minutes(3))

    assert result.start == [minutes(3)]
    assert result.skipped == [(START, Reason.COALESCED, 3)]
    assert result.next_run_time == minutes(4)


def test_late_fires_without_coalescing_start_as_far_as_instances_allow() -> None:
    """The others wait for the first ones to end."""
    result = plan(job(coalesce=False, max_instances=2), minutes(3))

    assert result.start == [START, minutes(1)]
    assert result.wait == [minutes(2), minutes(3)]
    assert result.skipped == []


def test_a_burst_is_bounded() -> None:
    """Beyond MAX_BURST late fires the older ones count as missed."""
    result = plan(job(coalesce=False), minutes(1000))

    assert len(result.start + result.wait) == MAX_BURST
    assert result.skipped == [(START, Reason.MISSED, 1001 - MAX_BURST)]
    assert result.wait[-1] == minutes(1000)


@pytest.mark.parametrize(("seconds_late", "runs"), [(30, True), (31, False)])
def test_the_grace_time_is_inclusive(seconds_late: int, runs: bool) -> None:
    """As upstream: exactly at the limit a run still starts."""
    made = job(misfire_grace_time=30)

    result = plan(made, START + timedelta(seconds=seconds_late))

    assert bool(result.start) is runs
    assert result.skipped == ([] if runs else [(START, Reason.MISSED, 1)])


def test_a_missed_run_and_the_coalesced_fires_before_it_fold_into_one_row() -> None:
    """One row says what became of all of them."""
    made = job(misfire_grace_time=10)

    result = plan(made, minutes(2.5))

    assert result.start == []
    assert result.skipped == [(START, Reason.MISSED, 3)]


def test_at_max_instances_the_fire_is_skipped() -> None:
    """Overlap is not a wait: the fire is over."""
    result = plan(job(), minutes(0), active=1)

    assert result.start == result.wait == []
    assert result.skipped == [(START, Reason.OVERLAP, 1)]
    assert result.next_run_time == minutes(1)


def test_what_the_node_has_no_room_for_waits_for_any_node() -> None:
    """A full node leaves the run pending."""
    result = plan(job(), minutes(0), room=0)

    assert (result.start, result.wait) == ([], [START])


def test_a_one_off_job_has_no_next_fire() -> None:
    """After its only fire nothing follows."""
    made = job(trigger=DateTrigger(START), next_run_time=START)

    result = plan(made, minutes(5))

    assert result == Plan(start=[START], next_run_time=None)


@pytest.mark.parametrize(("seconds", "is_easy"), [(60, True), (0.4, False)])
def test_only_a_claim_before_the_next_fire_is_easy_to_undo(seconds: float, is_easy: bool) -> None:
    """Where the next fire may be claimed before this one has begun it is not."""
    trigger = IntervalTrigger(seconds=seconds, start_date=START, timezone=UTC)

    assert plan(job(trigger=trigger), START).is_easy_to_undo == is_easy


def test_a_claim_that_does_more_than_begin_one_run_is_not_easy_to_undo() -> None:
    """Neither the only run of a job, nor one that waits or was skipped."""
    once = job(trigger=DateTrigger(START), next_run_time=START)

    assert not plan(once, minutes(0)).is_easy_to_undo
    assert not plan(job(), minutes(0), room=0).is_easy_to_undo
    assert not plan(job(), minutes(0), active=1).is_easy_to_undo


def test_a_year_of_missed_seconds_is_counted_without_stepping() -> None:
    """31 million fires of a one-second interval fold into a row."""
    trigger = IntervalTrigger(seconds=1, start_date=START, timezone=UTC)
    year = timedelta(days=365)

    result = plan(job(trigger=trigger), START + year)

    assert result.start == [START + year]
    assert result.skipped == [(START, Reason.COALESCED, 365 * 86_400)]


def test_backoff_doubles_up_to_its_limit_and_starts_anew() -> None:
    """A success resets it, and says whether it ended a series of failures."""
    backoff = Backoff()

    delays = [backoff.failed() for _ in range(8)]

    assert delays[:3] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert delays[-1] == LONGEST
    assert backoff.succeeded() is True
    assert backoff.succeeded() is False
    assert backoff.failed() == FIRST
