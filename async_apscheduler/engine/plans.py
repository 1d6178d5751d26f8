"""Decide what becomes of the due fires of a job; no database, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from apscheduler.job import Job

from async_apscheduler.models import Reason
from async_apscheduler.triggers import fire_times

MAX_BURST = 100
"""How many late fires of a job without coalescing become runs; older ones count as missed."""

SHORTEST_PERIOD = timedelta(milliseconds=500)
"""Between two fires of a job that is claimed before its time: safely more than any such lead."""


@dataclass(slots=True)
class Plan:
    """What becomes of the due fires of a job."""

    start: list[datetime] = field(default_factory=list)
    """Scheduled times of the runs that begin now."""

    wait: list[datetime] = field(default_factory=list)
    """Scheduled times of the runs that begin when an earlier one has ended."""

    skipped: list[tuple[datetime, Reason, int]] = field(default_factory=list)
    """Fires that do not become runs: the first one's time, why, and how many."""

    next_run_time: datetime | None = None
    """The job's next fire; None if there is none."""

    @property
    def is_easy_to_undo(self) -> bool:
        """True for one run of a job that fires again, and nothing else.

        Not so soon that the next fire might be claimed before this run begins.
        """
        is_one = len(self.start) == 1 and not self.wait and not self.skipped
        if not is_one or self.next_run_time is None:
            return False
        return self.next_run_time - self.start[0] >= SHORTEST_PERIOD


def plan_fires(job: Job, now: datetime, *, active: int, room: int) -> Plan:
    """Apply the job's coalesce, misfire and overlap rules to its fires up to `now`.

    `active` is how many runs of the job are going on, on all nodes; `room` how many more this node
    can take. The job's `next_run_time` must not be after `now`.
    """
    due = fire_times(job.trigger, job.next_run_time, now, limit=MAX_BURST)
    plan = Plan(next_run_time=due.next)
    candidates = due.recent[-1:] if job.coalesce else due.recent[-MAX_BURST:]
    folded = due.count - len(candidates)
    if folded:
        reason = Reason.COALESCED if job.coalesce else Reason.MISSED
        plan.skipped.append((job.next_run_time, reason, folded))
    candidates = _drop_missed(job, candidates, now, plan)
    free = job.max_instances - active
    if free <= 0:
        _fold(plan, candidates, Reason.OVERLAP)
    else:
        begin = max(0, min(free, room))
        plan.start, plan.wait = candidates[:begin], candidates[begin:]
    return plan


def _drop_missed(job: Job, candidates: list[datetime], now: datetime, plan: Plan) -> list[datetime]:
    if job.misfire_grace_time is None:
        return candidates
    limit = now - timedelta(seconds=job.misfire_grace_time)
    _fold(plan, [moment for moment in candidates if moment < limit], Reason.MISSED)
    return [moment for moment in candidates if moment >= limit]


def _fold(plan: Plan, moments: list[datetime], reason: Reason) -> None:
    """Note skipped fires as one, together with the fires that were folded before them.

    A row is unique for a job and a time, and one reason says enough: the last one.
    """
    if not moments:
        return
    first, count = moments[0], len(moments)
    if plan.skipped:
        earlier, _, folded = plan.skipped.pop()
        first, count = earlier, count + folded
    plan.skipped.append((first, reason, count))
