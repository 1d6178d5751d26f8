"""An APScheduler job and its row: one from the other, checked on the way in and on the way out."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, tzinfo
from functools import partial
from inspect import isclass, ismethod
from typing import TYPE_CHECKING, Any

from apscheduler.job import Job
from apscheduler.triggers.base import BaseTrigger

from async_apscheduler import codec, triggers
from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import (
    AsyncAPSchedulerError,
    InvalidJobError,
    UnreadableJobError,
    UnresolvableReferenceError,
)
from async_apscheduler.models.limits import (
    MAX_EXECUTOR_LENGTH,
    MAX_NAME_LENGTH,
    MAX_REFERENCE_LENGTH,
    check_job_id,
    check_numbers,
    check_text,
    moment_in_utc,
)
from async_apscheduler.references import reference_to, resolve

if TYPE_CHECKING:
    from async_apscheduler.models.jobs import DjangoJob

JOB_FIELDS = (
    "id",
    "name",
    "func",
    "args",
    "kwargs",
    "trigger",
    "executor",
    "coalesce",
    "max_instances",
    "misfire_grace_time",
    "next_run_time",
)
"""The columns that hold what APScheduler calls the state of a job."""

RUN_OPTIONS: dict[str, Any] = {
    "timeout": None,
    "max_attempts": 1,
    "retry_delay": 0.0,
    "retry_on_lost": False,
}
"""Options of a job that APScheduler's Job has no place for, with their defaults."""


def resolve_function(func: Callable[..., Any] | str) -> Callable[..., Any]:
    """Return the function that a job shall call, from itself or from a textual reference.

    Raises ReferenceNotAllowedError before anything is imported.
    """
    if isinstance(func, str):
        return resolve(func)
    if not callable(func):
        raise InvalidJobError(
            f"The function of a job must be callable or a reference like 'app.jobs:name', not "
            f"{func!r}."
        )
    return func


class _Zone:
    """What Job asks of its scheduler when a job is built without one."""

    def __init__(self, timezone: tzinfo) -> None:
        self.timezone = timezone


def build_job(
    func: Callable[..., Any] | str,
    trigger: BaseTrigger,
    *,
    args: Iterable[Any] | None,
    kwargs: Mapping[str, Any] | None,
    **options: Any,
) -> Job:
    """Return an APScheduler job, checked by APScheduler's own rules.

    `options` are further arguments of Job. Raises InvalidJobError with APScheduler's reason.
    """
    try:
        return Job(
            _Zone(get_settings().time_zone),
            func=resolve_function(func),
            trigger=trigger,
            args=tuple(args) if args is not None else (),
            kwargs=dict(kwargs) if kwargs is not None else {},
            **options,
        )
    except (TypeError, ValueError) as error:
        if isinstance(error, AsyncAPSchedulerError):
            raise
        raise InvalidJobError(f"This job cannot be scheduled: {error}") from error


def row_values(job: Job, *, serializer: str | None = None) -> dict[str, Any]:
    """Return the columns of JOB_FIELDS for an APScheduler job.

    Raises InvalidJobError or one of its subclasses for whatever cannot be stored.
    """
    check_job_id(job.id)
    check_text(job.id, "name", job.name, MAX_NAME_LENGTH)
    check_text(job.id, "executor", job.executor, MAX_EXECUTOR_LENGTH)
    func, arguments = job.func, tuple(job.args)
    reference = _reference_of(job)
    if ismethod(func) and not isclass(func.__self__):
        arguments = (func.__self__, *arguments)  # as upstream: the instance travels along
    args, kwargs = codec.encode_arguments(
        arguments, job.kwargs, names=_parameter_names(func, arguments), serializer=serializer
    )
    values = {
        "id": job.id,
        "name": job.name,
        "func": reference,
        "args": args,
        "kwargs": kwargs,
        "trigger": trigger_json(job.trigger, serializer=serializer),
        "executor": job.executor,
        "coalesce": job.coalesce,
        "max_instances": job.max_instances,
        "misfire_grace_time": job.misfire_grace_time,
        "next_run_time": moment_in_utc(job.id, job.next_run_time),
    }
    check_numbers(job.id, values)
    return values


def trigger_json(trigger: BaseTrigger, *, serializer: str | None = None) -> dict[str, Any]:
    """Return a trigger as readable JSON. Raises InvalidTriggerError."""
    triggers.check_pace(trigger)
    encode = partial(codec.encode_value, name="the state of the trigger", serializer=serializer)
    return triggers.trigger_to_json(trigger, encode=encode)


def restore_trigger(data: Any, *, serializer: str | None = None) -> BaseTrigger:
    """Return the trigger that trigger_json() was given. Raises InvalidTriggerError."""
    decode = partial(codec.decode_value, serializer=serializer)
    trigger = triggers.trigger_from_json(data, decode=decode)
    triggers.check_pace(trigger)  # whoever may edit a row could otherwise keep all schedulers busy
    return trigger


def restore_job(
    row: DjangoJob | Any,
    *,
    scheduler: Any = None,
    alias: str | None = None,
    serializer: str | None = None,
) -> Job:
    """Return the APScheduler job of a row, or of anything that has its JOB_FIELDS and `pk`.

    Raises UnreadableJobError, with the reason, whatever is wrong with the row or its function.
    """
    try:
        job = object.__new__(Job)
        job.func = resolve(row.func)
        job.args, job.kwargs = codec.decode_arguments(row.args, row.kwargs, serializer=serializer)
        job.trigger = restore_trigger(row.trigger, serializer=serializer)
    except (Exception, SystemExit, CancelledError) as error:  # its classes may raise anything
        raise UnreadableJobError(row.pk, _sentence(error)) from error
    job._scheduler, job._jobstore_alias = scheduler, alias
    job.id, job.func_ref, job.name, job.executor = row.pk, row.func, row.name, row.executor
    job.coalesce, job.max_instances = row.coalesce, row.max_instances
    job.misfire_grace_time = row.misfire_grace_time
    job.next_run_time = _in_zone(row.next_run_time, job.trigger)
    return job


def _reference_of(job: Job) -> str:
    """Return a reference that leads to the job's function, checked as it will be at load.

    For an instance, and for what functools.lru_cache makes, APScheduler's own names their class.
    """
    reference: str = job.func_ref
    if not reference or not leads_to(job.func, reference):
        reference = reference_to(job.func)
        resolve(reference)
    if len(reference) > MAX_REFERENCE_LENGTH:
        raise InvalidJobError(
            f"The function reference {reference[:80]!r}... of job {job.id!r} has "
            f"{len(reference)} characters; at most {MAX_REFERENCE_LENGTH} can be stored."
        )
    return reference


def leads_to(func: Callable[..., Any], reference: str) -> bool:
    """Return True if the function is what its reference names. Raises ReferenceNotAllowedError."""
    try:
        found = resolve(reference)
    except UnresolvableReferenceError:
        return False
    return found is func or (ismethod(func) and (found == func or found is func.__func__))


def _in_zone(moment: datetime | None, trigger: BaseTrigger) -> datetime | None:
    """Return `moment` in the trigger's own zone, as APScheduler hands times out."""
    zone = getattr(trigger, "timezone", None) or getattr(
        getattr(trigger, "run_date", None), "tzinfo", None
    )
    if moment is None or not isinstance(zone, tzinfo):
        return moment
    try:
        return moment.astimezone(zone)
    except OverflowError:  # in the first and the last hours that Python can name
        return moment


def _sentence(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if not isinstance(error, AsyncAPSchedulerError):
        text = f"{type(error).__name__}: {text}"
    return text if text.endswith(".") else f"{text}."


def _parameter_names(func: Callable[..., Any], arguments: tuple[Any, ...]) -> list[str]:
    """Return the names of the parameters that the positional arguments go to."""
    function = func.__func__ if ismethod(func) else func
    code = getattr(function, "__code__", None)
    names = list(code.co_varnames[: code.co_argcount]) if code is not None else []
    if ismethod(func) and isclass(func.__self__):
        names = names[1:]
    return [
        names[index] if index < len(names) else f"args[{index}]" for index in range(len(arguments))
    ]
