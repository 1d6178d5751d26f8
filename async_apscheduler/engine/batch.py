"""What one pass is about to write, collected first and then written in a few statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from async_apscheduler._database import send_together
from async_apscheduler.context import RunContext
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.plans import Plan
from async_apscheduler.engine.runs import LoadedJob, Run, Skipped
from async_apscheduler.exceptions import UnreadableJobError
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Reason, Status

NEW_ROW = {"reason": "", "fires": 1, "started_at": None, "finished_at": None}
"""The columns of a new row that only some rows need; all must name the same."""


@dataclass(slots=True)
class Claimed:
    """The outcome of a pass."""

    runs: list[Run] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    quarantined: list[UnreadableJobError] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    """Ids of jobs without a further fire, whose rows are gone."""

    @property
    def is_empty(self) -> bool:
        """True if there was nothing that this node could take."""
        return not (self.runs or self.skipped or self.quarantined)


class Batch:
    """What one pass is about to write, and what it will start."""

    def __init__(self, node: Node, alias: str, now: datetime, *, careful: bool) -> None:
        self.now = now
        self.claimed = Claimed()
        self.unreadable: list[int] = []
        self._node_id = node.id
        self._alias = alias
        self._careful = careful
        self._taken: list[Run] = []
        self._new: list[tuple[dict[str, Any], Run | None]] = []
        self._next: dict[str, datetime] = {}
        self._exhausted: list[str] = []

    def take(self, pk: int, loaded: LoadedJob, run_time: datetime, attempt: int) -> None:
        """Take a pending run, whose row is there."""
        run = self._run(loaded, run_time, pk=pk, attempt=attempt)
        self._taken.append(run)
        self.claimed.runs.append(run)

    def add(self, loaded: LoadedJob, plan: Plan) -> None:
        """Add what was decided for a due job."""
        job_id = loaded.job.id
        keep_row = bool(plan.wait) or loaded.may_run_again
        next_run_time = plan.next_run_time
        if next_run_time is not None:
            # In its own zone it may equal another an hour later, where clocks are set back.
            next_run_time = self._next[job_id] = next_run_time.astimezone(UTC)
        else:
            (self._exhausted if keep_row else self.claimed.removed).append(job_id)
        for run_time in plan.start:
            run = self._run(loaded, run_time)
            run.next_run_time = next_run_time
            self._add_row(job_id, run_time, run, status=Status.RUNNING, started_at=self.now)
            self.claimed.runs.append(run)
        for run_time in plan.wait:
            self._add_row(job_id, run_time, None, status=Status.PENDING)
        for run_time, reason, fires in plan.skipped:
            self._add_row(
                job_id,
                run_time,
                None,
                status=Status.SKIPPED,
                reason=reason,
                fires=fires,
                finished_at=self.now,
            )
            self.claimed.skipped.append(Skipped(job_id, self._alias, run_time, reason, fires))

    def write(self) -> None:
        """Write it all, in a constant number of statements."""
        if self._careful:
            self._leave_out_known()
        if self.unreadable:
            DjangoJobExecution.objects.filter(pk__in=self.unreadable).update(
                status=Status.CANCELLED, reason=Reason.UNREADABLE, finished_at=self.now
            )
        if self._exhausted:
            DjangoJob.objects.filter(pk__in=self._exhausted).update(next_run_time=None)
        if self.claimed.removed:
            DjangoJob.objects.filter(pk__in=self.claimed.removed).delete()
        self._write_runs()

    def _write_runs(self) -> None:
        """Write the runs that begin, and when the jobs that were due fire next."""
        runs, jobs = DjangoJobExecution.objects.all(), DjangoJob.objects.all()
        rows = [row for row, _ in self._new]
        insertions = runs.insertions(rows)
        taking = runs.taking(self._node_id, [run.context.id for run in self._taken], self.now)
        answers = send_together(runs.db, [*insertions, *taking, *jobs.advances(self._next)])
        if not rows:
            return
        keys = runs.keys_of_claimed(self._node_id, rows, answers[: len(insertions)])
        for _, run in self._new:
            if run is not None:
                run.context.id = keys[run.job.id, run.run_time]

    def _leave_out_known(self) -> None:
        """Drop what has a row already: that fire has been dealt with.

        Only the row of a fire that an edit had dropped gives way: its job is back at that time.
        """
        job_ids = {row["job_id"] for row, _ in self._new}
        earliest = min((row["run_time"] for row, _ in self._new), default=self.now)
        rows = DjangoJobExecution.objects.filter(job_id__in=job_ids, run_time__gte=earliest)
        wanted = {(row["job_id"], row["run_time"]) for row, _ in self._new}
        back = {fire: pk for fire, pk in rows.dropped().keys_by_fire().items() if fire in wanted}
        DjangoJobExecution.objects.filter(pk__in=back.values()).delete()
        known = rows.keys_by_fire()
        new = [
            (row, run) for row, run in self._new if (row["job_id"], row["run_time"]) not in known
        ]
        kept = {id(run) for _, run in new}
        dropped = {id(run) for _, run in self._new} - kept
        self.claimed.runs = [run for run in self.claimed.runs if id(run) not in dropped]
        self._new = new

    def _add_row(self, job_id: str, run_time: datetime, run: Run | None, **fields: Any) -> None:
        node_id = self._node_id if run is not None else None
        row = {"job_id": job_id, "run_time": run_time.astimezone(UTC), "node_id": node_id}
        row |= NEW_ROW | fields
        self._new.append((row, run))

    def _run(
        self, loaded: LoadedJob, run_time: datetime, *, pk: int | None = None, attempt: int = 1
    ) -> Run:
        context = RunContext(
            id=pk, job_id=loaded.job.id, scheduled_at=run_time.astimezone(UTC), attempt=attempt
        )
        return Run(
            loaded=loaded,
            context=context,
            jobstore=self._alias,
            node_id=self._node_id,
            started_at=self.now,
        )
