"""The decorators that people put on their functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar, overload

from apscheduler.triggers.base import BaseTrigger

from async_apscheduler.exceptions import InvalidJobError, InvalidJobIdError, InvalidTriggerError
from async_apscheduler.references import reference_to
from async_apscheduler.registry._declarations import Declaration, registry
from async_apscheduler.registry._options import UNSET, given

F = TypeVar("F", bound=Callable[..., Any])


def scheduled_job(
    trigger: str | BaseTrigger,
    expression: str | None = None,
    *,
    id: str | None = None,  # APScheduler's word
    args: Iterable[Any] = UNSET,
    kwargs: Mapping[str, Any] = UNSET,
    name: str = UNSET,
    executor: str = UNSET,
    coalesce: bool = UNSET,
    max_instances: int = UNSET,
    misfire_grace_time: float | timedelta | None = UNSET,
    next_run_time: datetime | None = UNSET,
    timeout: float | timedelta | None = UNSET,
    max_attempts: int = UNSET,
    retry_delay: float | timedelta = UNSET,
    retry_on_lost: bool = UNSET,
    **trigger_args: Any,
) -> Callable[[F], F]:
    """Declare a job that calls the decorated function, which stays as it is.

    `trigger` and what remains in `trigger_args` are those of APScheduler's `add_job`; "crontab"
    takes its `expression` as the second argument. `id` is by default the function's reference,
    "package.module:name". `next_run_time=None` begins paused. `misfire_grace_time`, `timeout` and
    `retry_delay` are seconds or a timedelta. An option that is not given is that of `@job`, or else
    the default. Raises InvalidJobError where it is written, also if the id is taken.
    """
    if not isinstance(trigger, (str, BaseTrigger)):
        raise InvalidTriggerError(
            f'@scheduled_job takes a trigger first, as in @scheduled_job("interval", minutes=5), '
            f"not {trigger!r}."
        )
    if expression is not None:
        if trigger != "crontab":
            raise InvalidTriggerError(
                f"Only the trigger 'crontab' takes an expression; give {expression!r} to "
                f"{trigger!r} by name."
            )
        trigger_args["expression"] = expression
    if id is not None and (not isinstance(id, str) or not id):
        raise InvalidJobIdError(f"The id of a job must be a text that is not empty, not {id!r}.")
    arguments = given({"args": args, "kwargs": kwargs})
    options = given(
        {
            "name": name,
            "executor": executor,
            "coalesce": coalesce,
            "max_instances": max_instances,
            "misfire_grace_time": misfire_grace_time,
            "next_run_time": next_run_time,
            "timeout": timeout,
            "max_attempts": max_attempts,
            "retry_delay": retry_delay,
            "retry_on_lost": retry_on_lost,
        }
    )

    def declare(func: F) -> F:
        reference = reference_to(func)
        registry.declare(
            Declaration(
                id=reference if id is None else id,
                reference=reference,
                func=func,
                trigger=trigger,
                trigger_args=registry.shared(trigger_args),
                args=arguments.get("args"),
                kwargs=arguments.get("kwargs"),
                options=registry.shared(options),
            )
        )
        return func

    return declare


@overload
def job(func: F, /) -> F: ...
@overload
def job(
    *,
    name: str = ...,
    executor: str = ...,
    coalesce: bool = ...,
    max_instances: int = ...,
    misfire_grace_time: float | timedelta | None = ...,
    timeout: float | timedelta | None = ...,
    max_attempts: int = ...,
    retry_delay: float | timedelta = ...,
    retry_on_lost: bool = ...,
) -> Callable[[F], F]: ...
def job(
    func: F | None = None,
    /,
    *,
    name: str = UNSET,
    executor: str = UNSET,
    coalesce: bool = UNSET,
    max_instances: int = UNSET,
    misfire_grace_time: float | timedelta | None = UNSET,
    timeout: float | timedelta | None = UNSET,
    max_attempts: int = UNSET,
    retry_delay: float | timedelta = UNSET,
    retry_on_lost: bool = UNSET,
) -> F | Callable[[F], F]:
    """Give a function options that each of its jobs has, and offer it in the admin's form.

    Works as `@job` and as `@job(timeout=30)`; the function stays as it is. The options are those of
    `scheduled_job()`; what a job says itself goes before. Raises InvalidJobError.
    """
    options = given(
        {
            "name": name,
            "executor": executor,
            "coalesce": coalesce,
            "max_instances": max_instances,
            "misfire_grace_time": misfire_grace_time,
            "timeout": timeout,
            "max_attempts": max_attempts,
            "retry_delay": retry_delay,
            "retry_on_lost": retry_on_lost,
        }
    )

    def note(func: F) -> F:
        registry.set_options(reference_to(func), options)
        return func

    if func is None:
        return note
    if not callable(func):
        raise InvalidJobError(
            f"@job takes its options by name, as in @job(timeout=30), not {func!r}."
        )
    return note(func)
