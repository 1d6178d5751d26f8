"""Bring the rows in line with what ``@scheduled_job`` declares in code.

Each declared job remembers what the code said last time. Only what has changed in the code since
is written, so that a pause, a pending run and an edit made in the admin survive a deploy. A job
that left the code is removed, its history stays. Jobs of other sources are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from async_apscheduler import codec, triggers
from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import InvalidJobError
from async_apscheduler.models.changes import JobChange, record_change
from async_apscheduler.models.jobs import DjangoJob
from async_apscheduler.models.loading import restore_trigger
from async_apscheduler.models.scheduling import first_run_time, job_values, triggers_agree
from async_apscheduler.registry import Declaration
from async_apscheduler.registry._options import UNSET

CODE = "by the code"
"""Who changed a job, in the audit trail."""

DECLARED_FIELDS = (
    "name",
    "func",
    "args",
    "kwargs",
    "executor",
    "coalesce",
    "max_instances",
    "misfire_grace_time",
    "timeout",
    "max_attempts",
    "retry_delay",
    "retry_on_lost",
)
"""Columns that follow the code; the trigger does too, with rules of its own."""


@dataclass(slots=True)
class Synchronised:
    """What synchronise() did: ids by kind."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    conflicting: list[str] = field(default_factory=list)
    """Declared ids that a job of another source or environment has; there the code has no say."""


def synchronise(declarations: Iterable[Declaration]) -> Synchronised:
    """Store new declarations, apply changed ones, remove those that are gone, all or nothing.

    Raises InvalidJobError if a declaration cannot be scheduled.
    """
    wanted = {declaration.id: declaration for declaration in declarations}
    database = DjangoJob.objects.db
    environment = get_settings().environment
    result = Synchronised()
    with transaction.atomic(using=database):
        jobs = DjangoJob.objects.using(database)
        declared = jobs.filter(environment=environment, source=DjangoJob.Source.DECLARED)
        result.removed.extend(_remove(database, declared.exclude(pk__in=list(wanted))))
        rows = jobs.filter(pk__in=list(wanted)).order_by("pk").select_for_update()
        stored = {row.pk: row for row in rows}
        for job_id, declaration in wanted.items():
            row = stored.get(job_id)
            if row is None:
                if _add(database, declaration):
                    result.added.append(job_id)
            elif row.source != DjangoJob.Source.DECLARED or row.environment != environment:
                result.conflicting.append(job_id)
            elif _apply(database, row, declaration):
                result.changed.append(job_id)
    return result


def _remove(database: str, gone: Any) -> list[str]:
    # Writing first takes SQLite's write lock before anything is read, so that nodes which start
    # together wait for each other instead of failing.
    gone.update(version=F("version"))
    ids = list(gone.values_list("pk", flat=True))
    gone.delete()
    for job_id in ids:
        record_change(database, job_id, JobChange.Action.REMOVED, by=CODE)
    return ids


def _add(database: str, declaration: Declaration) -> bool:
    """Insert the row; return False if its fires are over, or if another node was faster."""
    first = declaration.options.get("next_run_time", UNSET)
    values = _values(declaration, next_run_time=first)
    if first is UNSET and _is_over(database, values):
        return False
    row = DjangoJob(
        **values, source=DjangoJob.Source.DECLARED, declaration=_snapshot(declaration, values)
    )
    try:
        with transaction.atomic(using=database):
            row.save(using=database, force_insert=True)
    except IntegrityError:
        if DjangoJob.objects.using(database).filter(pk=row.pk).exists():
            return False
        raise
    record_change(database, row.pk, JobChange.Action.ADDED, by=CODE, after={"trigger": row.trigger})
    return True


def _is_over(database: str, values: dict[str, Any]) -> bool:
    """Return True if the job has no fire left, or if its only one lies behind it.

    A date that has passed is due at once, but the row of a job goes with its last run. So that
    the run is not repeated at each start, the audit trail tells whether the job was there before.
    """
    first = values["next_run_time"]
    if first is None or first > timezone.now():
        return first is None
    added = JobChange.objects.using(database).filter(
        job_id=values["id"], action=JobChange.Action.ADDED, changed_by=CODE
    )
    return any(change.after.get("trigger") == values["trigger"] for change in added)


def _apply(database: str, row: DjangoJob, declaration: Declaration) -> bool:
    """Write what changed in the code since the last time; return True if something did."""
    values = _values(declaration)
    now_declared = _snapshot(declaration, values)
    last_declared = row.declaration or {}
    changed = {
        name: values[name]
        for name in DECLARED_FIELDS
        if now_declared[name] != last_declared.get(name, UNSET)
    }
    if not triggers_agree(last_declared.get("trigger"), now_declared["trigger"]):
        changed["trigger"] = values["trigger"]
    if not changed:
        return False
    before = {name: getattr(row, name) for name in changed}
    for name, value in changed.items():
        setattr(row, name, value)
    row.declaration = now_declared
    row.version += 1
    _fit_schedule(row, trigger_changed="trigger" in changed)
    row.save(using=database)
    record_change(database, row.pk, JobChange.Action.CHANGED, by=CODE, before=before, after=changed)
    return True


def _fit_schedule(row: DjangoJob, *, trigger_changed: bool) -> None:
    """Recompute the next run time of a new trigger, and give a quarantined job another try."""
    if row.status == DjangoJob.Status.QUARANTINED:
        row.next_run_time, row.held_run_time, row.error = row.held_run_time, None, ""
        paused = row.next_run_time is None
        row.status = DjangoJob.Status.PAUSED if paused else DjangoJob.Status.SCHEDULED
    if trigger_changed and row.status == DjangoJob.Status.SCHEDULED:
        row.next_run_time = first_run_time(restore_trigger(row.trigger), timezone.now())


def _values(declaration: Declaration, *, next_run_time: Any = UNSET) -> dict[str, Any]:
    options = dict(declaration.options)
    arguments = {"args": options.pop("args", None), "kwargs": options.pop("kwargs", None)}
    options.pop("next_run_time", None)
    try:
        trigger = triggers.create_trigger(
            declaration.trigger, dict(declaration.trigger_args), timezone=get_settings().time_zone
        )
        return job_values(
            declaration.func,
            trigger,
            id=declaration.id,
            next_run_time=next_run_time,
            **arguments,
            **options,
        )
    except InvalidJobError as error:
        raise type(error)(
            f"The job {declaration.id!r}, declared for {declaration.reference}, cannot be "
            f"scheduled. {error}"
        ) from error


def _snapshot(declaration: Declaration, values: dict[str, Any]) -> dict[str, Any]:
    """Return what the code says, as JSON that compares equal while the code stays the same."""
    snapshot = {name: values[name] for name in DECLARED_FIELDS}
    snapshot["trigger"] = _words_of(declaration) or values["trigger"]
    return snapshot


def _words_of(declaration: Declaration) -> dict[str, Any] | None:
    """Return the trigger as it is written in the code; None if it has no words, but objects."""
    if not isinstance(declaration.trigger, str):
        return None
    words = {
        name: str(value) if isinstance(value, tzinfo) else value
        for name, value in declaration.trigger_args.items()
    }
    try:
        arguments = codec.encode_value(words, name="the trigger", serializer="json")
    except InvalidJobError:
        return None
    return {"alias": declaration.trigger, "arguments": arguments}
