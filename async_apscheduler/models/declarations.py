"""Bring the rows in line with what ``@scheduled_job`` declares in code.

Each declared job remembers what the code said last time. Only what has changed in the code since
is written, so that a pause, a pending run and an edit made in the admin survive a deploy. A job
that left the code is removed, its history stays. Jobs of other sources are never touched. Where
the digest of a declaration is the one of last time, nothing has changed, and nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, transaction

from async_apscheduler.conf import get_settings
from async_apscheduler.models.bulk import insert_each, update_each
from async_apscheduler.models.changes import JobChange, without_secrets
from async_apscheduler.models.declared import DECLARED_FIELDS, DeclaredJob
from async_apscheduler.models.digests import Digests
from async_apscheduler.models.executions import DjangoJobExecution
from async_apscheduler.models.jobs import EDITED_FIELDS, DjangoJob
from async_apscheduler.models.notices import send_notice, work_for
from async_apscheduler.registry import Declaration

CODE = "by the code"
"""Who changed a job, in the audit trail."""

WRITTEN_FIELDS = (*DECLARED_FIELDS, *EDITED_FIELDS, "declaration", "declaration_digest")
"""Columns that a change in the code may touch."""

BATCH = 200
"""Rows in one statement: databases limit its parameters, and MariaDB its length."""

PAGE = 10_000
"""Rows that are read at once."""

MAX_KEPT = 1000
"""Declarations of which it is kept what they mean; of more, it is found out when it is needed."""

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
    synchronisation = _Synchronisation({each.id: each for each in declarations})
    for _ in range(ATTEMPTS - 1):
        try:
            return synchronisation.run()
        except IntegrityError:
            continue
    return synchronisation.run()


@dataclass(slots=True)
class _Findings:
    """How the rows differ from the code: ids by kind."""

    conflicting: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def are_in_line(self) -> bool:
        """True if there is nothing to write."""
        return not (self.new or self.changed or self.gone)


class _Synchronisation:
    """Compares, and if need be locks, compares again and writes.

    There may be 100,000 jobs: neither the rows nor what declarations mean are in memory at once.
    """

    def __init__(self, declarations: dict[str, Declaration]) -> None:
        self._declarations = declarations
        self._began_at = datetime.now(UTC)
        self._digests = Digests()
        self._jobs: dict[str, DeclaredJob] = {}
        self._are_over: dict[str, bool] = {}
        self._database = DjangoJob.objects.db
        self._rows = DjangoJob.objects.using(self._database)
        self._environment = get_settings().environment

    def run(self) -> Synchronised:
        """Do it once. Raises IntegrityError if another node stores a new job at the same time."""
        found = self._compare(self._mine())
        if found.are_in_line:
            return Synchronised(conflicting=found.conflicting, over=found.over)
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
            send_notice(self._database, work_for(self._environment))
        return Synchronised(
            added=found.new,
            changed=changed,
            removed=found.gone,
            conflicting=found.conflicting,
            over=found.over + ended,
        )

    def _job(self, job_id: str) -> DeclaredJob:
        """Return what a declaration means. Raises InvalidJobError."""
        job = self._jobs.get(job_id)
        if job is None:
            job = DeclaredJob(self._declarations[job_id], began_at=self._began_at)
            if len(self._jobs) < MAX_KEPT:
                self._jobs[job_id] = job
        return job

    def _is_over(self, job_id: str) -> bool:
        if job_id not in self._are_over:
            self._are_over[job_id] = self._job(job_id).is_over
        return self._are_over[job_id]

    def _digest(self, job_id: str) -> str:
        return self._digests.of(self._declarations[job_id])

    def _mine(self) -> Any:
        """Return the rows that the code has a say in, in the order in which they are locked."""
        declared = self._rows.filter(source=DjangoJob.Source.DECLARED)
        return declared.filter(environment=self._environment).order_by("pk")

    def _compare(self, mine: Any) -> _Findings:
        found = _Findings()
        without_row = dict(self._declarations)
        for page in _pages(mine):
            known = [row for row in page if without_row.pop(row[0], None)]
            found.gone += [job_id for job_id, _ in page if job_id not in self._declarations]
            found.changed += self._changed(
                [job_id for job_id, digest in known if not digest or digest != self._digest(job_id)]
            )
        for some in _batches(list(without_row)):
            ours, others = self._look_up(some)
            found.changed += self._changed(ours)
            found.conflicting += others
            for job_id in some:
                if job_id not in ours and job_id not in others:
                    (found.over if self._is_over(job_id) else found.new).append(job_id)
        found.conflicting.sort()
        return found

    def _look_up(self, ids: list[str]) -> tuple[list[str], list[str]]:
        """Return ids of rows that are ours after all, and those that belong to others.

        Ours are those that another node has added while this one waited for its locks.
        """
        ours: list[str] = []
        others: list[str] = []
        rows = self._rows.filter(pk__in=ids).values_list("pk", "source", "environment")
        for job_id, source, environment in rows:
            is_ours = source == DjangoJob.Source.DECLARED and environment == self._environment
            (ours if is_ours else others).append(job_id)
        return ours, others

    def _changed(self, ids: list[str]) -> list[str]:
        """Return the ids of rows that do not say what the code says; give the others its digest."""
        changed: list[str] = []
        for some in _batches(ids):
            same = {}
            rows = self._rows.filter(pk__in=some).order_by("pk")
            for job_id, snapshot in rows.values_list("pk", "declaration"):
                if snapshot != self._job(job_id).snapshot:
                    changed.append(job_id)
                elif self._digest(job_id):
                    same[job_id] = snapshot
            if same:
                self._store_digests(same)
        return changed

    def _store_digests(self, snapshots: dict[str, Any]) -> None:
        """Do so for rows that were like this, unless other code has changed them since."""
        with transaction.atomic(using=self._database):
            self._rows.hold("")  # see run()
            rows = self._rows.filter(pk__in=list(snapshots)).order_by("pk").select_for_update()
            digests = [
                {"id": job_id, "declaration_digest": self._digest(job_id)}
                for job_id, snapshot in rows.values_list("pk", "declaration")
                if snapshot == snapshots[job_id]
            ]
            update_each(DjangoJob, self._database, digests, key="id")

    def _remove(self, ids: list[str]) -> None:
        runs = DjangoJobExecution.objects.using(self._database)
        for some in _batches(ids):
            rows = self._rows.filter(pk__in=some)
            removed = list(rows)
            rows.delete()
            runs.cancel_removed(removed)
            self._record(
                [_change_of(row, JobChange.Action.REMOVED, before=_audited(row)) for row in removed]
            )

    def _change(self, ids: list[str]) -> tuple[list[str], list[str]]:
        """Apply the code; return the ids of changed jobs, and of those whose new trigger is over.

        The rows of the latter are left as they are.
        """
        changed: list[str] = []
        over: list[str] = []
        for some in _batches(ids):
            written, changes = [], []
            for row in self._rows.filter(pk__in=some):
                before, version = _audited(row), row.version
                if not _apply(row, self._job(row.pk)):
                    over.append(row.pk)
                    continue
                row.declaration_digest = self._digest(row.pk)
                written.append({name: getattr(row, name) for name in ("id", *WRITTEN_FIELDS)})
                if row.version != version:
                    changed.append(row.pk)
                    changes.append(_change_between(row, before, _audited(row)))
            update_each(DjangoJob, self._database, written, key="id")
            self._record(changes)
        return changed, over

    def _add(self, ids: list[str]) -> None:
        for some in _batches(sorted(ids)):
            rows = [
                DjangoJob(**self._job(job_id).new_row(), declaration_digest=self._digest(job_id))
                for job_id in some
            ]
            insert_each(DjangoJob, self._database, rows)
            self._record(
                [
                    _change_of(row, JobChange.Action.ADDED, after={"trigger": row.trigger})
                    for row in rows
                ]
            )

    def _record(self, changes: list[JobChange]) -> None:
        """Add lines to the audit trail."""
        insert_each(JobChange, self._database, changes)


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


def _pages(rows: Any) -> Iterator[list[tuple[str, str]]]:
    """Yield the ids and digests of rows in the order of ids, some thousands at a time."""
    last = ""
    while page := list(rows.filter(pk__gt=last).values_list("pk", "declaration_digest")[:PAGE]):
        yield page
        if len(page) < PAGE:
            return
        last = page[-1][0]


def _batches(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]
