"""Whether a trigger will fire, and when first; answered in bounded time."""

from __future__ import annotations

from calendar import isleap
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, BaseCombiningTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler.exceptions import InvalidTriggerError
from async_apscheduler.triggers._combining import bounded, first_fire_from, next_fire
from async_apscheduler.triggers._moments import in_utc, on_the_clock
from async_apscheduler.triggers.crontab import CrontabTrigger

MINIMUM_INTERVAL = timedelta(milliseconds=10)
"""A shorter interval would keep a scheduler busy with nothing else."""

MAX_PARTS, MAX_AGREEING = 500, 20
"""Triggers in one `or`, and in one `and`, those inside of them included."""

_BUILT_IN = (DateTrigger, IntervalTrigger, CronTrigger, CrontabTrigger, CalendarIntervalTrigger)


def check_trigger(trigger: BaseTrigger, *, now: datetime) -> datetime | None:
    """Return the first fire of `trigger` from `now` on, or None if its end has passed.

    A date in the past is returned as it is: it is due at once. Raises InvalidTriggerError if the
    trigger can never fire, fires more often than every MINIMUM_INTERVAL, or cannot be asked.
    """
    trigger = bounded(trigger)
    try:
        _check(trigger, now)
        first = _first_fire(trigger, now)
    except InvalidTriggerError:
        raise
    except Exception as error:  # a trigger may be the user's code
        raise InvalidTriggerError(
            f"The trigger {trigger} fails with {type(error).__name__}: {error}."
        ) from error
    if first is None and not _may_have_ended(trigger):
        raise InvalidTriggerError(
            f"The trigger {trigger} never fires from {now.isoformat()} on. Correct its fields."
        )
    return first


def check_pace(trigger: Any) -> None:
    """Raise InvalidTriggerError if an interval, perhaps inside another trigger, is too short.

    The trigger is not asked for its fires, so this costs next to nothing.
    """
    if isinstance(trigger, BaseCombiningTrigger):
        for part in trigger.triggers:
            check_pace(part)
    elif isinstance(trigger, IntervalTrigger) and trigger.interval < MINIMUM_INTERVAL:
        raise InvalidTriggerError(
            f"The interval {trigger.interval} is too short; the shortest is "
            f"{MINIMUM_INTERVAL.total_seconds()} s. Let one run do the work of many."
        )


def _first_fire(trigger: BaseTrigger, now: datetime) -> datetime | None:
    if isinstance(trigger, DateTrigger):
        return trigger.run_date  # type: ignore[no-any-return]  # untyped
    if isinstance(trigger, CalendarIntervalTrigger):
        # Asked without a previous fire, it returns its start even if that has long passed.
        return first_fire_from(trigger, now)
    first = trigger.get_next_fire_time(None, now)
    if first is None or isinstance(trigger, (*_BUILT_IN, BaseCombiningTrigger)):
        return first and on_the_clock(first)
    if not isinstance(first, datetime) or first.tzinfo is None:
        raise InvalidTriggerError(
            f"The trigger {trigger} returned {first!r}; it must return an aware datetime or None."
        )
    next_fire(trigger, first, max(first, now, key=in_utc))  # raises if it does not move on
    return first


def _check(trigger: Any, now: datetime) -> None:
    """Raise InvalidTriggerError for what would hang or flood a scheduler, or can never come."""
    if isinstance(trigger, BaseCombiningTrigger):
        _check_number(trigger)
        _check_parts(trigger, now)
    elif isinstance(trigger, IntervalTrigger):
        # An interval that was given no start has one interval from now; then its end may just be
        # near, as it will be for each declared job at its last deploy.
        if in_utc(trigger.start_date) > in_utc(now) + trigger.interval:
            _check_order(trigger)
        check_pace(trigger)
    elif isinstance(trigger, CronTrigger):
        _check_order(trigger)
        if not _has_a_day(trigger):
            raise InvalidTriggerError(
                f"The trigger {trigger} can never fire: no day of any year fits it."
            )
    elif isinstance(trigger, CrontabTrigger):
        _check_order(trigger)
    elif isinstance(trigger, CalendarIntervalTrigger):
        _check_steps(trigger)


def _check_number(trigger: Any) -> None:
    most = MAX_AGREEING if isinstance(trigger, AndTrigger) else MAX_PARTS
    number = _parts_of(trigger)
    if number > most:
        raise InvalidTriggerError(
            f"A trigger is made of {number} others; at most {most} can be looked at in time. Make "
            "several jobs of it."
        )


def _parts_of(trigger: Any) -> int:
    if not isinstance(trigger, BaseCombiningTrigger):
        return 1
    return sum(map(_parts_of, trigger.triggers))


def _check_parts(trigger: Any, now: datetime) -> None:
    for part in trigger.triggers:
        _check(part, now)
        if isinstance(trigger, AndTrigger) and getattr(part, "jitter", None):
            raise InvalidTriggerError(
                f"{part} has a jitter, so it never agrees with the other parts of {trigger}. Give "
                "the jitter to the 'and' trigger."
            )


def _check_order(trigger: Any) -> None:
    start, end = trigger.start_date, trigger.end_date
    if start is not None and end is not None and in_utc(end) < in_utc(start):
        raise InvalidTriggerError(
            f"The trigger {trigger} can never fire: it ends ({end.isoformat()}) before it starts "
            f"({start.isoformat()})."
        )


def _check_steps(trigger: Any) -> None:
    """Refuse steps backwards, and out of the calendar: there upstream's search never ends."""
    steps = (trigger.years, trigger.months, trigger.weeks, trigger.days)
    years = trigger.years + trigger.months / 12 + (trigger.weeks * 7 + trigger.days) / 365
    if min(steps) < 0 or years > 1000:
        raise InvalidTriggerError(
            f"The trigger {trigger} must step forward, and by a thousand years at most."
        )


def _may_have_ended(trigger: Any) -> bool:
    """Return True if having no fire left need not be a mistake."""
    if isinstance(trigger, BaseCombiningTrigger):
        return any(_may_have_ended(part) for part in trigger.triggers)
    if isinstance(trigger, DateTrigger) or not isinstance(trigger, _BUILT_IN):
        return True
    return trigger.end_date is not None


def _has_a_day(trigger: Any) -> bool:
    """Return True if some day fits the date fields of a cron trigger.

    APScheduler tries each year up to 9999 for a 30 February. But a year is one of 21 kinds: leap or
    not, the weekday of its first day and (for the ISO weeks) whether the year before was leap.
    """
    fields = {field.name: field for field in trigger.fields}
    days = [fields[name] for name in ("month", "day", "week", "day_of_week")]
    tried: set[tuple[bool, int, bool]] = set()
    for year in range(1970, 10_000):
        first = datetime(year, 1, 1, tzinfo=UTC)
        kind = (isleap(year), first.weekday(), isleap(year - 1))
        if kind in tried or not _fits([fields["year"]], first):
            continue
        if any(_fits(days, first + timedelta(n)) for n in range(366 if isleap(year) else 365)):
            return True
        tried.add(kind)
        if len(tried) == 21:
            return False
    return False


def _fits(fields: list[Any], day: datetime) -> bool:
    return all(field.get_next_value(day) == field.get_value(day) for field in fields)
