"""Bring the rows in line with what ``@scheduled_job`` declares in code.

Each declared job remembers what the code said last time. Only what has changed in the code since
is written, so that a pause, a pending run and an edit made in the admin survive a deploy. A job
that left the code is removed, its history stays. Jobs of other sources are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, transaction

from async_apscheduler.conf import get_settings
from async_apscheduler.models.bulk import update_each
from async_apscheduler.models.changes import JobChange, without_secrets
from async_apscheduler.models.declared import DECLARED_FIELDS, DeclaredJob, declared_jobs
from async_apscheduler.models.executions import DjangoJobExecution
from async_apscheduler.models.jobs import EDITED_FIELDS, DjangoJob
from async_apscheduler.models.notices import send_notice, work_for
from async_apscheduler.registry import Declaration

CODE = "by the code"
"""Who changed a job, in the audit trail."""

WRITTEN_FIELDS = (*DECLARED_FIELDS, *EDITED_FIELDS, "declaration")
"""Columns that a change in the code may touch."""

BATCH = 200
"""Rows in one statement: databases limit its parameters, and MariaDB its length."""

ATTEMPTS = 5
"""How often to begin anew because other nodes have stored the same new jobs at the same time."""


@dataclass(slots=True)
class Synchronised:
    """What synchronise() did and found: ids by kind."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    conflicting: list[str] = field(default_factory=list)
    """Declared ids that a job of another source or environment has; there the code has no say."""

    over: list[str] = field(default_factory=list)
    """Declared ids whose trigger has no fire left, so that they have no row."""


def synchronise(declarations: Iterable[Declaration]) -> Synchronised:
    """Store new declarations, apply changed ones, remove those that are gone, all or nothing.

    A declaration that will not fire any more, such as a date that has passed, gets no row; a row
    that is there stays until its last run is over. Raises InvalidJobError if a declaration cannot
    be scheduled.
    """
    synchronisation = _Synchronisation(declared_jobs(declarations))
    for _ in range(ATTEMPTS - 1):
        try:
            return synchronisation.run()
        except IntegrityError:
            continue
    return synchronisation.run()


@dataclass(slots=True)
class _Findings:
    """How the rows differ from the code: ids by kind."""

    conflicting: list[str]
    gone: list[str]
    new: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def are_in_line(self) -> bool:
        """True if there is nothing to write."""
        return not (self.new or self.changed or self.gone)


class _Synchronisation:
    """Compares, and if need be locks, compares again and writes."""

    def __init__(self, jobs: dict[str, DeclaredJob]) -> None:
        self._jobs = jobs
        self._database = DjangoJob.objects.db
        self._rows = DjangoJob.objects.using(self._database)
        self._environment = get_settings().environment
        self._trail: list[JobChange] = []

    def run(self) -> Synchronised:
        """Do it once. Raises IntegrityError if another node stores a new job at the same time."""
        found = self._compare(self._mine())
        if found.are_in_line:
            return Synchronised(conflicting=found.conflicting, over=found.over)
        self._trail = []
        with transaction.atomic(using=self._database):
            # Writing first takes SQLite's write lock before anything is read, so that nodes which
            # start together wait for each other instead of failing. Where rows are locked, nodes
            # lock, and then insert, in the order of ids, so that no two wait for each other.
            self._rows.hold("")
            found = self._compare(self._mine().select_for_update())
            self._remove(found.gone)
            changed, ended = self._change(found.changed)
            self._remove(ended)
            self._add(found.new)
            JobChange.objects.using(self._database).bulk_create(self._trail, batch_size=BATCH)
            send_notice(self._database, work_for(self._environment))
        return Synchronised(
            added=found.new,
            changed=changed,
            removed=found.gone,
            conflicting=found.conflicting,
            over=found.over + ended,
        )

    def _mine(self) -> Any:
        """Return the rows that the code has a say in, in the order in which they are locked."""
        declared = self._rows.filter(source=DjangoJob.Source.DECLARED)
        return declared.filter(environment=self._environment).order_by("pk")

    def _compare(self, mine: Any) -> _Findings:
        snapshots = dict(mine.values_list("pk", "declaration"))
        gone = [job_id for job_id in snapshots if job_id not in self._jobs]
        more, others = self._look_up([job_id for job_id in self._jobs if job_id not in snapshots])
        snapshots.update(more)
        found = _Findings(gone=gone, conflicting=sorted(others))
        for job_id, job in self._jobs.items():
            if job_id in others:
                continue
            if job_id not in snapshots:
                (found.over if job.is_over else found.new).append(job_id)
            elif snapshots[job_id] != job.snapshot:
                found.changed.append(job_id)
        return found

    def _look_up(self, ids: list[str]) -> tuple[dict[str, Any], set[str]]:
        """Return the snapshots of rows that are ours after all, and the ids that belong to others.

        Ours are those that another node has added while this one waited for its locks.
        """
        ours: dict[str, Any] = {}
        others: set[str] = set()
        for some in _batches(ids):
            for row in self._rows.filter(pk__in=some).defer("args", "kwargs"):
                if row.source == DjangoJob.Source.DECLARED and row.environment == self._environment:
                    ours[row.pk] = row.declaration
                else:
                    others.add(row.pk)
        return ours, others

    def _remove(self, ids: list[str]) -> None:
        runs = DjangoJobExecution.objects.using(self._database)
        for some in _batches(ids):
            rows = self._rows.filter(pk__in=some)
            removed = list(rows)
            self._trail += [
                _change_of(row, JobChange.Action.REMOVED, before=_audited(row)) for row in removed
            ]
            rows.delete()
            runs.cancel_removed(removed)

    def _change(self, ids: list[str]) -> tuple[list[str], list[str]]:
        """Apply the code; return the ids of changed jobs, and of those whose new trigger is over.

        The rows of the latter are left as they are.
        """
        changed: list[str] = []
        over: list[str] = []
        written = []
        for some in _batches(ids):
            for row in self._rows.filter(pk__in=some):
                before, version = _audited(row), row.version
                if not _apply(row, self._jobs[row.pk]):
                    over.append(row.pk)
                    continue
                written.append({name: getattr(row, name) for name in ("id", *WRITTEN_FIELDS)})
                if row.version != version:
                    changed.append(row.pk)
                    self._trail.append(_change_between(row, before, _audited(row)))
        update_each(DjangoJob, self._database, written, key="id")
        return changed, over

    def _add(self, ids: list[str]) -> None:
        rows = [DjangoJob(**self._jobs[job_id].new_row()) for job_id in sorted(ids)]
        self._rows.bulk_create(rows, batch_size=BATCH)
        self._trail += [
            _change_of(row, JobChange.Action.ADDED, after={"trigger": row.trigger}) for row in rows
        ]


def _apply(row: DjangoJob, job: DeclaredJob) -> bool:
    """Put what changed in the code into the row; return False if it has nothing to wait for."""
    changed = job.changes(row)
    row.declaration = job.snapshot
    if not changed:
        return True  # somebody has brought the row in line already
    for name, value in changed.items():
        setattr(row, name, value)
    row.version += 1
    if row.status == DjangoJob.Status.QUARANTINED:  # it gets another try
        row.next_run_time, row.held_run_time, row.error = row.held_run_time, None, ""
        row.lost_runs = 0
        paused = row.next_run_time is None
        row.status = DjangoJob.Status.PAUSED if paused else DjangoJob.Status.SCHEDULED
    if "trigger" not in changed or row.status == DjangoJob.Status.PAUSED:
        return True
    if not row.is_due(datetime.now(UTC)):  # a fire that a deploy made late still becomes a run
        row.next_run_time = job.first_run_time
    return row.next_run_time is not None


def _audited(row: DjangoJob) -> dict[str, Any]:
    moment = row.next_run_time
    return {
        **{name: getattr(row, name) for name in (*DECLARED_FIELDS, "trigger", "status")},
        "next_run_time": moment.isoformat() if moment else None,
    }


def _change_between(row: DjangoJob, before: dict[str, Any], after: dict[str, Any]) -> JobChange:
    changed = [name for name in after if after[name] != before[name]]
    return _change_of(
        row,
        JobChange.Action.CHANGED,
        before={name: before[name] for name in changed},
        after={name: after[name] for name in changed},
    )


def _change_of(row: DjangoJob, action: JobChange.Action, **sides: dict[str, Any]) -> JobChange:
    """Return a line of the audit trail. `sides` are `before` and `after`."""
    shown = {side: without_secrets(fields, func=row.func) for side, fields in sides.items()}
    return JobChange(job_id=row.pk, action=action, changed_by=CODE, **shown)


def _batches(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]
